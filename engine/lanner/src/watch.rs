//! What `lanner trace` and `lanner record` share: a source, a consumer, and a report at the end.

use std::process::ExitCode;

use driver_api::error::Chain;
use driver_api::request::Omit;
use driver_api::selection::Selection;
use driver_api::support::Gap;
use session::{Consumer, EventSource, Notice, Observer, OpenedSource, SourceConfig};

use super::{Failure, report, say, signals};

/// Tells the signal handlers which process signals are meant for.
#[derive(Debug)]
pub(crate) struct CommandSignals;

impl Observer for CommandSignals {
    fn notice(&self, _: &Notice<'_>) {}

    fn command_began(&self, pid: u32) {
        signals::begun(pid);
    }

    fn command_ended(&self) {
        signals::ended();
    }
}

/// Reports which driver captures, and what it cannot do here.
pub(crate) fn tell_driver(reason: &str, gaps: &[Gap]) {
    say(reason);
    for gap in gaps {
        say(&format!("gap: {}: {}", gap.what, gap.why));
    }
}

/// Opens the source and feeds its events to a consumer. The consumer is made after the source is open, so that a source
/// that fails leaves nothing behind. `finish` gets it at the end. `quiet`: the driver and its gaps are not reported.
pub(crate) fn watch<C: Consumer>(
    config: &SourceConfig,
    quiet: bool,
    selection: &Selection,
    omit: Omit,
    consumer: impl FnOnce(&OpenedSource) -> Result<C, Failure>,
    finish: impl FnOnce(C) -> Result<(), Failure>,
) -> Result<ExitCode, Failure> {
    let control = signals::watch(config, false, Box::new(CommandSignals))?;
    let mut source = config
        .open(selection, omit)
        .map_err(|error| Failure::usage(Chain(&error)))?;
    let mut consumer = consumer(&source)?;
    if source.is_live() && !quiet {
        tell_driver(&source.driver.reason, &source.gaps);
    }
    let ended = session::watch(&mut source, &mut consumer, &control);
    report::capture(&source.stats());
    let written = finish(consumer);
    let status = ended.map_err(|error| Failure::broken(Chain(&error)))?;
    written?;
    Ok(report::exit_code(status))
}
