//! `lanner trace`: shows events, or reports about them. The library `look` does the work.

use std::process::ExitCode;

use driver_api::driver::Flow;
use driver_api::error::Chain;
use driver_api::event::Event;
use look::{Plan, Trace, TraceError};

use super::args::TraceArgs;
use super::lines::Lines;
use super::watch::{Ending, watch};
use super::{Failure, say};
use session::Consumer;

pub(crate) fn trace(args: &TraceArgs) -> Result<ExitCode, Failure> {
    let plan = Plan::new(&args.request()).map_err(|error| Failure::usage(Chain(&error)))?;
    let (selection, omit) = plan.selection();
    if args.durations {
        say("-T: no driver reports when a call began, so the time in calls is not known");
    }
    watch(&args.source(), args.quiet > 0, &selection, omit, |source| {
        let mut to = Lines::open(args.output.as_deref())?;
        let name = to.to_string();
        let trace = plan.consumer(source, Box::new(move |text| to.write(text)));
        Ok(Traced { trace, name })
    })
}

/// A trace, and where it goes.
struct Traced {
    trace: Trace,
    name: String,
}

impl Consumer for Traced {
    fn event(&mut self, event: &Event<'_>) -> Flow {
        self.trace.event(event)
    }

    fn idle(&mut self) -> Flow {
        self.trace.idle()
    }
}

impl Ending for Traced {
    fn end(self) -> Result<(), Failure> {
        self.trace.end().map_err(|error| match error {
            TraceError::Write(error) => {
                Failure::broken(format!("cannot write to {}: {error}", self.name))
            }
            error @ TraceError::Condition(_) => Failure::broken(error),
        })
    }
}
