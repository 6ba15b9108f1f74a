//! `lanner plugins`: lists plugins (`list`), checks that one keeps to the ABI (`check`), and writes a new one (`new`).

mod check;
mod child;
mod list;
mod new;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use super::Failure;
use command_line::{PluginArgs, PluginVerb};

/// The program to start for another process of lanner. The link leads to the running program even if its file was replaced.
pub(crate) fn myself() -> io::Result<PathBuf> {
    let link = PathBuf::from("/proc/self/exe");
    if link.exists() {
        return Ok(link);
    }
    session::executable()
}

pub(crate) fn plugins(args: PluginArgs) -> Result<ExitCode, Failure> {
    match args.verb {
        None => list::list(&args.list),
        Some(PluginVerb::List(args)) => list::list(&args),
        Some(PluginVerb::Check(args)) => check::check(&args),
        Some(PluginVerb::New(args)) => new::new(&args),
    }
}
