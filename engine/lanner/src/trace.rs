//! `lanner trace`: prints events, one line each.

use std::process::ExitCode;

use driver_api::error::Chain;
use session::{EventPrinter, EventSelection};

use super::Failure;
use super::args::TraceArgs;
use super::lines::Lines;
use super::watch::watch;

pub(crate) fn trace(args: &TraceArgs) -> Result<ExitCode, Failure> {
    let wanted = selection(&args.events)?;
    let (calls, omit) = EventPrinter::needs(&wanted, args.json);
    let place = args.output.as_ref();
    let place = place.map_or_else(
        || "standard output".to_owned(),
        |path| path.display().to_string(),
    );
    watch(
        &args.source,
        &calls,
        omit,
        |source| {
            let to = Box::new(Lines::open(args.output.as_deref())?);
            Ok(EventPrinter::new(wanted, args.json, source, to))
        },
        |printer| {
            let failed = |error| Failure::broken(format!("cannot write to {place}: {error}"));
            printer.finish().map_err(failed)
        },
    )
}

/// The events that `-e` names.
pub(super) fn selection(names: &[String]) -> Result<EventSelection, Failure> {
    EventSelection::named(names).map_err(|error| Failure::usage(format!("-e: {}", Chain(&error))))
}
