//! `lanner record`: writes the events of a capture to a file.

use std::process::ExitCode;

use driver_api::driver::Flow;
use driver_api::event::Event;
use driver_api::request::{Omit, SyscallSet};

use super::args::RecordArgs;
use super::trace::Wanted;
use super::watch::watch;
use super::{Failure, say};
use inspect::{Clock, Inspector};
use recording::Writer;
use session::Consumer;

pub(crate) fn record(args: &RecordArgs) -> Result<ExitCode, Failure> {
    let wanted = Wanted::new(&args.events)?;
    let selection: SyscallSet = wanted.calls.union(&inspect::needed());
    let failed = |error: std::io::Error| {
        Failure::usage(format!("cannot write {}: {error}", args.output.display()))
    };
    watch(&args.source, &selection, Omit::NOTHING, |source| {
        let mut inspector = Inspector::new(&source.inspect_options());
        source.scan(&mut inspector);
        let mut writer = Writer::create(&args.output, Clock::host()).map_err(failed)?;
        let mut error = None;
        inspector.synthesize(&mut |event| {
            if let Err(why) = writer.event(event) {
                error.get_or_insert(why);
            }
        });
        error.map_or(Ok(Recorder { writer, bad: false }), |error| {
            Err(failed(error))
        })
    })
}

struct Recorder {
    writer: Writer,
    /// Set when the file cannot be written any more.
    bad: bool,
}

impl Recorder {
    fn done(&mut self, written: std::io::Result<()>) -> Flow {
        match written {
            Ok(()) => Flow::Continue,
            Err(error) => {
                if !std::mem::replace(&mut self.bad, true) {
                    say(&format!("the recording cannot be written: {error}"));
                }
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
        Flow::Continue
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let written = self.writer.flush();
        self.done(written);
        say(&format!("{} events recorded", self.writer.events()));
    }
}
