//! `lanner syscalls`, `lanner fields`.

use std::process::ExitCode;

use session::reference::{self, Form};

use super::{Failure, print};
use command_line::ListArgs;

fn form(args: &ListArgs) -> Form {
    match (args.json, args.markdown) {
        (true, _) => Form::Json,
        (false, true) => Form::Markdown,
        (false, false) => Form::Text,
    }
}

pub(crate) fn syscalls(args: &ListArgs) -> Result<ExitCode, Failure> {
    print(reference::syscalls(form(args)).as_bytes())
}

pub(crate) fn fields(args: &ListArgs) -> Result<ExitCode, Failure> {
    print(reference::fields(form(args)).as_bytes())
}
