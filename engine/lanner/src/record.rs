//! `lanner record` writes the events of a source to a file, and `lanner convert` those of a file to another one.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::ExitCode;

use driver_api::error::Chain;
use driver_api::request::{Omit, SyscallSet};
use driver_api::selection::Selection;
use look::EventSet;
use session::{EventRecorder, OpenedSource, RecordError, RecordingFormat, SourceConfig};

use super::watch::watch;
use super::{Failure, lines, say, signals};
use command_line::{ConvertArgs, FileFormat, RecordArgs};

pub(crate) fn record(args: &RecordArgs) -> Result<ExitCode, Failure> {
    let wanted = EventSet::parse(&args.events).map_err(|error| Failure::usage(Chain(&error)))?;
    if let Some(source) = &args.source.replay {
        refuse_source(source, &args.output)?;
    }
    let calls = EventRecorder::needs(&wanted.calls);
    let format = FileFormat::of(args.format, &args.output);
    if args.times && format == RecordingFormat::Scap {
        return Err(Failure::usage(
            "--times: a capture (.scap) does not keep how long calls took; name a file that does not end in .scap, or \
             take --format lanner",
        ));
    }
    watch(
        &args.source.config(),
        false,
        &Selection::from(calls).with_times(args.times),
        Omit::NOTHING,
        |source| create(&args.output, format, source),
        |recorder| finish(recorder, "recorded"),
    )
}

pub(crate) fn convert(args: &ConvertArgs) -> Result<ExitCode, Failure> {
    refuse_source(&args.from, &args.to)?;
    let format = FileFormat::of(args.format, &args.to);
    let source = SourceConfig {
        replay: Some(args.from.clone()),
        ..SourceConfig::default()
    };
    watch(
        &source,
        false,
        &SyscallSet::all().into(),
        Omit::NOTHING,
        |source| create(&args.to, format, source),
        |recorder| finish(recorder, "written"),
    )
}

/// Refuses to write into the file that is read, whatever its name is: opening it for writing would empty it.
fn refuse_source(from: &Path, to: &Path) -> Result<(), Failure> {
    let file = |path: &Path| {
        let about = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
        Some((about.dev(), about.ino()))
    };
    let source = file(from);
    if source.is_some() && source == file(to) {
        return Err(Failure::usage(
            "the file to write is the one to read; name another one",
        ));
    }
    Ok(())
}

fn create(
    path: &Path,
    format: RecordingFormat,
    source: &OpenedSource,
) -> Result<EventRecorder, Failure> {
    lines::need_descriptor(path)?;
    EventRecorder::create(path, format, source, signals::ask_to_end).map_err(|error| match error {
        RecordError::File(error) => Failure::usage(Chain(&error)),
        RecordError::Write(error) => {
            Failure::broken(format!("cannot write {}: {error}", path.display()))
        }
    })
}

/// `done`: what was done with the events.
fn finish(recorder: EventRecorder, done: &str) -> Result<(), Failure> {
    match recorder.finish() {
        Ok(events) => {
            say(&format!("{events} events {done}"));
            Ok(())
        }
        Err(error) => Err(Failure::broken(format!(
            "the recording is not whole, because it could not be written: {}",
            Chain(&error)
        ))),
    }
}
