//! `lanner plugins`: lists plugins (`list`), checks that one keeps to the ABI (`check`), and writes a new one (`new`).

mod check;
mod list;
mod new;

use std::process::ExitCode;

use super::Failure;
use super::args::{PluginArgs, PluginVerb};

pub(crate) fn plugins(args: PluginArgs) -> Result<ExitCode, Failure> {
    match args.verb {
        None => list::list(&args.list),
        Some(PluginVerb::List(args)) => list::list(&args),
        Some(PluginVerb::Check(args)) => check::check(&args),
        Some(PluginVerb::New(args)) => new::new(&args),
    }
}
