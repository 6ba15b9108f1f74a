//! `lanner record` writes the events of a source to a file, and `lanner convert` those of a file to another one.

use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use driver_api::driver::Flow;
use driver_api::event::Event;
use driver_api::request::{Omit, SyscallSet};

use super::args::{ConvertArgs, FileFormat, RecordArgs};
use super::trace::Wanted;
use super::watch::{Ending, watch, watch_source};
use super::{Failure, say};
use session::{Consumer, OpenedSource, RecordingFile, RecordingFormat, SourceConfig};

/// How often what was recorded goes to the file: what a killed lanner loses.
const FLUSH: Duration = Duration::from_secs(1);

pub(crate) fn record(args: &RecordArgs) -> Result<ExitCode, Failure> {
    let wanted = Wanted::new(&args.events)?;
    let selection: SyscallSet = wanted.calls.union(&inspect::needed());
    let format = FileFormat::of(args.format, &args.output);
    watch(&args.source, &selection, Omit::NOTHING, |source| {
        Recorder::begin(source, &args.output, format, "recorded")
    })
}

/// `lanner convert`.
pub(crate) fn convert(args: &ConvertArgs) -> Result<ExitCode, Failure> {
    let same = |one: &Path| std::fs::canonicalize(one).ok();
    if same(&args.to).is_some_and(|to| Some(to) == same(&args.from)) {
        return Err(Failure::usage(
            "the file to write is the one to read; name another one",
        ));
    }
    let format = FileFormat::of(args.format, &args.to);
    let source = SourceConfig {
        replay: Some(args.from.clone()),
        ..SourceConfig::default()
    };
    watch_source(&source, &SyscallSet::all(), Omit::NOTHING, |source| {
        Recorder::begin(source, &args.to, format, "written")
    })
}

struct Recorder {
    writer: RecordingFile,
    /// What was done with the events, for the report at the end.
    done: &'static str,
    flushed: Instant,
    /// Why the file cannot be written any more.
    failed: Option<io::Error>,
}

impl Recorder {
    fn begin(
        source: &OpenedSource,
        path: &Path,
        format: RecordingFormat,
        done: &'static str,
    ) -> Result<Self, Failure> {
        let failed = |error: io::Error| format!("cannot write {}: {error}", path.display());
        let file = recording::create(path).map_err(|error| Failure::usage(failed(error)))?;
        let writer = RecordingFile::of_source(file, format, source)
            .map_err(|error| Failure::broken(failed(error)))?;
        Ok(Self {
            writer,
            done,
            flushed: Instant::now(),
            failed: None,
        })
    }

    fn note(&mut self, written: io::Result<()>) -> Flow {
        match written {
            Ok(()) => Flow::Continue,
            Err(error) => {
                self.failed.get_or_insert(error);
                Flow::Stop
            }
        }
    }
}

impl Consumer for Recorder {
    fn event(&mut self, event: &Event<'_>) -> Flow {
        let written = self.writer.event(event);
        self.note(written)
    }

    fn idle(&mut self) -> Flow {
        if self.flushed.elapsed() < FLUSH {
            return Flow::Continue;
        }
        self.flushed = Instant::now();
        let written = self.writer.flush();
        self.note(written)
    }
}

impl Ending for Recorder {
    fn end(mut self) -> Result<(), Failure> {
        if self.failed.is_none() {
            let written = self.writer.finish();
            self.note(written);
        }
        match self.failed {
            None => {
                say(&format!("{} events {}", self.writer.events(), self.done));
                Ok(())
            }
            Some(error) => Err(Failure::broken(format!(
                "the recording is not whole, because it could not be written: {error}"
            ))),
        }
    }
}
