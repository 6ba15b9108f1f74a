//! `lanner trace`: prints events, one line each.

use std::io;
use std::process::ExitCode;

use driver_api::driver::Flow;
use driver_api::event::{Event, Flags, Kind};
use driver_api::request::{Omit, SyscallSet};
use driver_api::table::{self, SYSCALLS};

use super::Failure;
use super::args::TraceArgs;
use super::lines::Lines;
use super::watch::{Ending, watch};
use inspect::Inspector;
use session::Consumer;
use suggest::did_you_mean;

/// Names of events that are not system calls.
const START: &str = "procstart";
const EXIT: &str = "procexit";
/// How many bytes of output are held back at most.
const HELD_BACK: usize = 1 << 16;

pub(crate) fn trace(args: &TraceArgs) -> Result<ExitCode, Failure> {
    let wanted = Wanted::new(&args.events)?;
    // prctl sets the names of threads
    let selection = table::by_name("prctl")
        .into_iter()
        .collect::<SyscallSet>()
        .union(&wanted.calls);
    let omit = Omit {
        // a line of text does not show it
        facts: !args.json,
        ..Omit::NOTHING
    };
    watch(&args.source, &selection, omit, |source| {
        let mut inspector = Inspector::new(&inspect::Options {
            programs: false,
            ..source.inspect_options()
        });
        source.scan(&mut inspector);
        Ok(Printer {
            wanted,
            json: args.json,
            inspector,
            out: String::with_capacity(2 * HELD_BACK),
            to: Lines::open(args.output.as_deref())?,
            failed: None,
        })
    })
}

/// What the user asked for.
pub(super) struct Wanted {
    pub(super) calls: SyscallSet,
    starts: bool,
    exits: bool,
}

impl Wanted {
    pub(super) fn new(names: &[String]) -> Result<Self, Failure> {
        if names.is_empty() {
            return Ok(Self {
                calls: SyscallSet::all(),
                starts: true,
                exits: true,
            });
        }
        let mut wanted = Self {
            calls: SyscallSet::empty(),
            starts: false,
            exits: false,
        };
        for name in names {
            match name.trim() {
                START => wanted.starts = true,
                EXIT => wanted.exits = true,
                name => match table::by_name(name) {
                    Some(_) => table::of_type(name).for_each(|call| wanted.calls.insert(call)),
                    None => {
                        let known = SYSCALLS.iter().map(|call| call.name).chain([START, EXIT]);
                        let hint = did_you_mean(name, known);
                        return Err(Failure::usage(format!(
                            "-e: there is no event `{name}`{hint} (`lanner syscalls` lists the system calls; the \
                             others are {START} and {EXIT})"
                        )));
                    }
                },
            }
        }
        Ok(wanted)
    }

    fn wants(&self, event: &Event<'_>) -> bool {
        if event.has(Flags::UNSELECTED) {
            return false;
        }
        match event.kind() {
            Kind::Fork => self.starts,
            Kind::Exit => self.exits,
            Kind::Exec | Kind::Lost | Kind::Signal => true,
            Kind::Syscall => {
                let call = table::of_number(event.abi(), event.header().nr);
                self.calls.contains(call)
            }
        }
    }
}

struct Printer {
    wanted: Wanted,
    json: bool,
    inspector: Inspector,
    /// Lines that are held back.
    out: String,
    to: Lines,
    /// Why nothing can be written any more.
    failed: Option<io::Error>,
}

impl Consumer for Printer {
    fn event(&mut self, event: &Event<'_>) -> Flow {
        let seen = self.inspector.update(event);
        if self.wanted.wants(event) {
            let process = seen.process.and_then(|key| self.inspector.process(key));
            let name = process.map_or(&[][..], |process| process.thread_name(seen.tid));
            let ppid = process.map(|process| process.ppid);
            if self.json {
                let epoch_ns = seen.time_ns.cast_signed() - event.header().time_ns.cast_signed();
                decode::json::event(
                    &mut self.out,
                    event,
                    &decode::json::Context {
                        epoch_ns,
                        ppid,
                        comm: name,
                    },
                );
            } else {
                use std::fmt::Write;
                let header = event.header();
                let _ = write!(
                    self.out,
                    "{}/{} {}\t",
                    header.tgid,
                    header.tid,
                    name.escape_ascii()
                );
                decode::text::line(&mut self.out, event);
            }
            self.out.push('\n');
        }
        if self.out.len() >= HELD_BACK {
            self.idle()
        } else {
            Flow::Continue
        }
    }

    fn idle(&mut self) -> Flow {
        if !self.out.is_empty() && self.failed.is_none() {
            self.failed = self.to.write(self.out.as_bytes()).err();
            self.out.clear();
        }
        match self.failed {
            Some(_) => Flow::Stop,
            None => Flow::Continue,
        }
    }
}

impl Ending for Printer {
    fn end(mut self) -> Result<(), Failure> {
        self.idle();
        match self.failed {
            None => Ok(()),
            Some(error) => Err(Failure::broken(format!(
                "cannot write to {}: {error}",
                self.to
            ))),
        }
    }
}
