//! The consumer: filters events, hands them to lines or an aggregation, and writes the text.

use std::fmt;
use std::io::Write;

use driver_api::driver::Flow;
use driver_api::event::Event;
use driver_api::request::SyscallSet;
use fields::template::Template;
use fields::{Fields, Scratch, View, time};
use inspect::{Inspector, Options, Seen};
use serde_json::json;
use session::{Consumer, OpenedSource};

use super::aggregate::Aggregate;
use super::condition::Condition;
use super::error::TraceError;
use super::event_set::EventSet;
use super::line::Lines;
use super::plan::{Plan, Show};

/// How many bytes of output are held back at most.
const HELD_BACK: usize = 1 << 16;

/// Takes the text, in whole lines.
pub type Sink = Box<dyn Write>;

/// What is written.
#[derive(Debug)]
enum Output {
    Lines(Lines),
    Json,
    Template(Template),
    Reports(Box<Reports>),
}

/// Reports about all events, and when they are due.
#[derive(Debug)]
struct Reports {
    aggregate: Box<Aggregate>,
    top: usize,
    json: bool,
    interval_ns: Option<u64>,
    /// When the next report is due, on the clock of events. None: no event has come yet.
    due_ns: Option<u64>,
}

/// Consumes events, and writes what a [`Plan`] says about them.
pub struct Trace {
    events: EventSet,
    condition: Option<Condition>,
    /// Only events that were selected are shown, not those around them.
    strict: bool,
    output: Output,
    is_live: bool,
    inspector: Inspector,
    fields: Fields,
    scratch: Scratch,
    /// Text that is held back.
    out: String,
    sink: Sink,
    /// Why nothing can be written any more.
    failed: Option<TraceError>,
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trace")
            .field("events", &self.events)
            .field("output", &self.output)
            .finish_non_exhaustive()
    }
}

impl Plan {
    /// A consumer for an opened source. `sink` takes the text.
    #[must_use]
    pub fn consumer(self, source: &OpenedSource, sink: Sink) -> Trace {
        let (_, omit) = self.selection();
        let mut inspector = Inspector::new(&Options {
            programs: self.has_fields(),
            held: source.holds() && omit.if_held != SyscallSet::empty(),
            ..source.inspect_options()
        });
        source.scan(&mut inspector);
        let mut trace = self.with_state(inspector, source.is_live(), sink);
        trace.fields = trace.fields.with_times(source.times);
        trace
    }

    /// A consumer with this state.
    pub(crate) fn with_state(self, inspector: Inspector, is_live: bool, sink: Sink) -> Trace {
        let is_lines = matches!(self.show, Show::Lines(_) | Show::Json);
        let messages = self.shows_messages();
        Trace {
            strict: !is_lines || self.condition.is_some(),
            events: self.events,
            condition: self.condition,
            fields: self.registry.fields().with_names(self.names),
            output: match self.show {
                Show::Lines(options) => Output::Lines(Lines::new(options, messages)),
                Show::Json => Output::Json,
                Show::Template(template) => Output::Template(template),
                Show::Aggregate {
                    aggregate,
                    top,
                    interval_ns,
                    json,
                } => Output::Reports(Box::new(Reports {
                    aggregate,
                    top,
                    json,
                    interval_ns,
                    due_ns: None,
                })),
            },
            is_live,
            inspector,
            scratch: Scratch::default(),
            out: String::with_capacity(2 * HELD_BACK),
            sink,
            failed: None,
        }
    }
}

impl Reports {
    /// Writes a report if one is due, and begins anew. An interval without events has none.
    fn pass(&mut self, now_ns: u64, inspector: &Inspector, out: &mut String) {
        let Some(interval) = self.interval_ns else {
            return;
        };
        let due = *self.due_ns.get_or_insert(now_ns.saturating_add(interval));
        if now_ns < due {
            return;
        }
        if !self.aggregate.is_empty() {
            self.report(Some(inspector.clock().epoch_ns(due)), out);
            self.aggregate.clear();
        }
        let passed = (now_ns - due) / interval;
        self.due_ns = Some(due.saturating_add(interval.saturating_mul(passed + 1)));
    }

    fn report(&self, at_ns: Option<u64>, out: &mut String) {
        if self.json {
            let mut report = self.aggregate.json(self.top);
            if let Some(at) = at_ns {
                report["until"] = json!(at);
            }
            out.push_str(&report.to_string());
            out.push('\n');
            return;
        }
        if let Some(at) = at_ns {
            time::clock_s(out, at);
            out.push('\n');
        }
        self.aggregate.text(out, self.top);
        if at_ns.is_some() {
            out.push('\n');
        }
    }
}

/// The clock of events, `CLOCK_MONOTONIC`, in nanoseconds.
fn now_ns() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: clock_gettime(2) writes the structure that it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    let (seconds, ns) = (now.tv_sec.cast_unsigned(), now.tv_nsec.cast_unsigned());
    seconds.saturating_mul(1_000_000_000).saturating_add(ns)
}

impl Trace {
    /// Looks at an event, or at one message of it. False: the condition does not hold.
    fn look(&mut self, event: &Event<'_>, seen: &Seen) -> bool {
        let view = View::new(&self.fields, &self.inspector, event, seen, &self.scratch);
        let holds = match &mut self.condition {
            None => true,
            Some(condition) => condition.matches(&view),
        };
        if holds {
            match &mut self.output {
                Output::Lines(lines) => {
                    lines.append(&mut self.out, event, seen, &self.inspector);
                }
                Output::Json => {
                    json_line(&mut self.out, event, seen, &self.inspector);
                }
                Output::Template(template) => {
                    template.render(&view, &mut self.out);
                    self.out.push('\n');
                }
                Output::Reports(reports) => reports.aggregate.add(event, &view),
            }
        }
        self.scratch.reset();
        holds
    }

    fn write(&mut self) {
        if !self.out.is_empty() && self.failed.is_none() {
            let written = self.sink.write_all(self.out.as_bytes());
            let written = written.and_then(|()| self.sink.flush());
            self.failed = written.err().map(TraceError::Write);
            self.out.clear();
        }
    }

    /// Writes what is left, and the last report.
    ///
    /// # Errors
    ///
    /// Not everything could be written, or the condition could not be asked.
    pub fn end(mut self) -> Result<(), TraceError> {
        if let Output::Reports(reports) = &self.output
            && (reports.interval_ns.is_none() || !reports.aggregate.is_empty())
        {
            let at = match (reports.interval_ns, reports.due_ns) {
                (Some(_), Some(due)) => Some(self.inspector.clock().epoch_ns(due)),
                _ => None,
            };
            reports.report(at, &mut self.out);
        }
        self.write();
        self.failed.map_or(Ok(()), Err)
    }
}

fn json_line(out: &mut String, event: &Event<'_>, seen: &Seen, inspector: &Inspector) {
    let process = seen.process.and_then(|key| inspector.process(key));
    let context = decode::json::Context {
        epoch_ns: seen.time_ns.cast_signed() - event.header().time_ns.cast_signed(),
        ppid: process.map(|process| process.ppid),
        comm: process.map_or(&[][..], |process| process.thread_name(seen.tid)),
    };
    decode::json::event(out, event, &context);
    out.push('\n');
}

impl Consumer for Trace {
    fn event(&mut self, event: &Event<'_>) -> Flow {
        let mut seen = self.inspector.update(event);
        let shown = if self.strict {
            self.events.has(event)
        } else {
            self.events.shows(event)
        };
        if !shown {
            return Flow::Continue;
        }
        if let Output::Reports(reports) = &mut self.output {
            reports.pass(event.header().time_ns, &self.inspector, &mut self.out);
        }
        // an event with several messages is shown once if the condition holds for one of them
        while !self.look(event, &seen) {
            if !self.inspector.next_message(event, &mut seen) {
                break;
            }
        }
        if self.out.len() >= HELD_BACK {
            self.idle()
        } else {
            Flow::Continue
        }
    }

    fn idle(&mut self) -> Flow {
        if let Output::Reports(reports) = &mut self.output
            && self.is_live
        {
            reports.pass(now_ns(), &self.inspector, &mut self.out);
        }
        self.write();
        if let Some(reason) = self.condition.as_ref().and_then(Condition::off)
            && self.failed.is_none()
        {
            self.failed = Some(TraceError::Condition(reason.to_owned()));
        }
        match self.failed {
            Some(_) => Flow::Stop,
            None => Flow::Continue,
        }
    }
}
