//! `lanner record`: writes the events of a capture to a file.

use std::io;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use driver_api::driver::Flow;
use driver_api::error::Chain;
use driver_api::event::Event;
use driver_api::request::{Omit, SyscallSet};

use super::args::RecordArgs;
use super::watch::{Ending, watch};
use super::{Failure, say};
use inspect::{Clock, Inspector};
use look::EventSet;
use recording::Writer;
use session::Consumer;

/// How often what was recorded goes to the file: what a killed lanner loses.
const FLUSH: Duration = Duration::from_secs(1);

pub(crate) fn record(args: &RecordArgs) -> Result<ExitCode, Failure> {
    let wanted = EventSet::parse(&args.events).map_err(|error| Failure::usage(Chain(&error)))?;
    let selection: SyscallSet = wanted.calls.union(&inspect::needed());
    let failed = |error: io::Error| format!("cannot write {}: {error}", args.output.display());
    watch(&args.source, false, &selection, Omit::NOTHING, |source| {
        let mut inspector = Inspector::new(&source.inspect_options());
        source.scan(&mut inspector);
        let mut writer = Writer::create(&args.output, Clock::host())
            .map_err(|error| Failure::usage(failed(error)))?;
        let mut error = None;
        inspector.synthesize(&mut |event| {
            if let Err(why) = writer.event(event) {
                error.get_or_insert(why);
            }
        });
        // the state is in the file before the first event comes
        match error.or_else(|| writer.flush().err()) {
            None => Ok(Recorder {
                writer,
                flushed: Instant::now(),
                failed: None,
            }),
            Some(error) => Err(Failure::broken(failed(error))),
        }
    })
}

struct Recorder {
    writer: Writer,
    flushed: Instant,
    /// Why the file cannot be written any more.
    failed: Option<io::Error>,
}

impl Recorder {
    fn done(&mut self, written: io::Result<()>) -> Flow {
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
        self.done(written)
    }

    fn idle(&mut self) -> Flow {
        if self.flushed.elapsed() < FLUSH {
            return Flow::Continue;
        }
        self.flushed = Instant::now();
        let written = self.writer.flush();
        self.done(written)
    }
}

impl Ending for Recorder {
    fn end(mut self) -> Result<(), Failure> {
        if self.failed.is_none() {
            let written = self.writer.finish();
            self.done(written);
        }
        match self.failed {
            None => {
                say(&format!("{} events recorded", self.writer.events()));
                Ok(())
            }
            Some(error) => Err(Failure::broken(format!(
                "the recording is not whole, because it could not be written: {error}"
            ))),
        }
    }
}
