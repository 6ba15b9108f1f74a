//! `lanner record`: writes the events of a capture to a file.

use std::process::ExitCode;

use driver_api::error::Chain;
use driver_api::request::Omit;
use look::EventSet;
use session::{EventRecorder, RecordError};

use super::args::RecordArgs;
use super::watch::watch;
use super::{Failure, say};

pub(crate) fn record(args: &RecordArgs) -> Result<ExitCode, Failure> {
    let wanted = EventSet::parse(&args.events).map_err(|error| Failure::usage(Chain(&error)))?;
    let calls = EventRecorder::needs(&wanted.calls);
    let failed = |error| match error {
        RecordError::File(error) => Failure::usage(format!("-o: {error}")),
        RecordError::Write(error) => {
            Failure::broken(format!("cannot write {}: {error}", args.output.display()))
        }
    };
    watch(
        &args.source,
        false,
        &calls,
        Omit::NOTHING,
        |source| EventRecorder::create(&args.output, source).map_err(failed),
        |recorder| match recorder.finish() {
            Ok(events) => {
                say(&format!("{events} events recorded"));
                Ok(())
            }
            Err(error) => Err(Failure::broken(format!(
                "the recording is not whole, because it could not be written: {}",
                Chain(&error)
            ))),
        },
    )
}
