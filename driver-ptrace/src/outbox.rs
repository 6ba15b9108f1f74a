//! What every capture of this driver does with a finished event: hands it over, or keeps it for a sink that has
//! had enough.

use std::collections::VecDeque;

use driver_api::driver::Flow;
use driver_api::event::{Abi, Event, EventBuilder};
use driver_api::plan::Plan;
use driver_api::request::Limits;
use driver_api::stats::Stats;
use driver_api::table::{SYSCALLS, Syscall};

/// Takes the events.
pub(crate) type Sink<'a> = &'a mut dyn FnMut(Event<'_>) -> Flow;

/// The capture plans of this machine's own calls, made once.
#[derive(Debug)]
pub(crate) struct Plans {
    pub(crate) limits: Limits,
    /// By the call's place in the table.
    native: Vec<Plan>,
}

impl Plans {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            native: SYSCALLS
                .iter()
                .map(|call| Plan::of(call, Abi::NATIVE, 0, &limits))
                .collect(),
        }
    }

    /// How to capture a call that came by this ABI and number.
    pub(crate) fn of(&self, call: &Syscall, abi: Abi, nr: u32) -> Plan {
        if abi == Abi::NATIVE {
            self.native.get(call.index()).copied().unwrap_or_default()
        } else {
            Plan::of(call, abi, nr, &self.limits)
        }
    }
}

/// The way out.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// Where the next event is made.
    pub(crate) builder: EventBuilder,
    /// The sink wants nothing more from this poll: events wait for the next.
    pub(crate) halted: bool,
    waiting: VecDeque<Vec<u8>>,
    pub(crate) stats: Stats,
}

impl Outbox {
    /// Hands over the event in the builder, or keeps it for the next poll.
    pub(crate) fn deliver(&mut self, sink: Sink) {
        match self.builder.finish() {
            Ok(event) if self.halted => {
                self.stats.pending += u64::from(event.header().len);
                self.waiting.push_back(event.to_vec());
            }
            Ok(event) => {
                self.stats.captured += 1;
                self.halted = sink(event) == Flow::Stop;
            }
            Err(error) => {
                self.stats.malformed += 1;
                tracing::warn!("built {error}");
            }
        }
    }

    /// Whether events are kept.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// A poll begins: what was kept goes first. The number of events captured before it.
    pub(crate) fn begin(&mut self, sink: Sink) -> u64 {
        let before = self.stats.captured;
        self.halted = false;
        while !self.halted
            && let Some(bytes) = self.waiting.pop_front()
        {
            self.stats.pending = self.stats.pending.saturating_sub(bytes.len() as u64);
            if let Ok(event) = Event::parse(&bytes) {
                self.stats.captured += 1;
                self.halted = sink(event) == Flow::Stop;
            }
        }
        before
    }

    /// How many events were captured since then.
    pub(crate) fn since(&self, before: u64) -> usize {
        usize::try_from(self.stats.captured - before).unwrap_or(usize::MAX)
    }
}
