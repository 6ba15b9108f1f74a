//! `lanner trace`: shows events, or reports about them. The library `look` does the work.

use std::process::ExitCode;

use driver_api::error::Chain;
use look::{Plan, TraceError};

use super::lines::{Destination, Lines};
use super::watch::watch;
use super::{Failure, say};
use command_line::TraceArgs;

pub(crate) fn trace(args: &TraceArgs) -> Result<ExitCode, Failure> {
    let plan = Plan::new(&args.request()).map_err(|error| Failure::usage(Chain(&error)))?;
    let (selection, omit) = plan.selection();
    let destination = match &args.output {
        Some(path) => Destination::File(path),
        None if args.says_on_stderr() => Destination::Stderr,
        None => Destination::Stdout,
    };
    let failed = |error| match error {
        TraceError::Write(error) => {
            Failure::broken(format!("cannot write to {destination}: {error}"))
        }
        error @ TraceError::Condition(_) => Failure::broken(error),
    };
    watch(
        &args.source().config(),
        args.quiet > 0,
        &selection,
        omit,
        |source| {
            if args.durations && !source.times {
                say("-T: how long calls took is not known here");
            }
            let to = Box::new(Lines::open(destination)?);
            Ok(plan.consumer(source, to))
        },
        |trace| trace.end().map_err(failed),
    )
}
