//! A recording in memory, which goes through state and rules.

use std::path::Path;
use std::time::Duration;

use driver_api::driver::{Capture, Flow, Polled};
use driver_api::event::{Event, Flags};
use driver_api::request::SyscallSet;
use driver_api::table;
use driver_ebpf_core::simulated::SimulatedRings;
use fields::{FieldRegistry, Fields, Scratch, View};
use inspect::{self, Clock, Inspector};
use plugin_host::{EventTypes, Plugin, RuleFile, RuleHost};
use recording::{Replay, Ring};

use super::allocations;
use crate::consume::cpu_ns;
use crate::{Error, Result};

/// The events of a recording, one after another.
pub(crate) struct Stream {
    bytes: Vec<u8>,
    /// The offset of the first captured event. The events before it describe the state at the start.
    start: usize,
    clock: Clock,
    /// The number of captured events.
    pub(crate) events: u64,
}

impl Stream {
    /// Reads the events of a recording that a driver with this selection would have delivered.
    pub(crate) fn read(path: &Path, selection: SyscallSet) -> Result<Self> {
        let mut replay =
            Replay::open(path, selection).map_err(Error::failed("open the recording"))?;
        let mut stream = Self {
            bytes: Vec::new(),
            start: 0,
            clock: replay.clock(),
            events: 0,
        };
        let mut begun = false;
        loop {
            let polled = replay.poll(Duration::ZERO, &mut |event| {
                begun |= !event.has(Flags::UNSELECTED);
                event.append_to(&mut stream.bytes);
                if begun {
                    stream.events += 1;
                } else {
                    stream.start = stream.bytes.len();
                }
                Flow::Continue
            });
            if polled.map_err(Error::failed("read the recording"))? == Polled::Ended(None) {
                return Ok(stream);
            }
        }
    }

    /// Calls `each` for the events between two offsets, as a driver calls its sink.
    fn play(&self, from: usize, to: usize, each: &mut dyn FnMut(&Event<'_>)) {
        let mut rest = &self.bytes[from..to];
        while let Ok(event) = Event::parse(rest) {
            let length = event.header().len as usize;
            each(&event);
            rest = &rest[length..];
        }
    }

    /// The first event at or after the middle.
    fn middle(&self) -> usize {
        let mut at = self.start;
        let half = self.start + (self.bytes.len() - self.start) / 2;
        while at < half {
            match Event::parse(&self.bytes[at..]) {
                Ok(event) => at += event.header().len as usize,
                Err(_) => break,
            }
        }
        at
    }
}

/// Bytes of all rings together.
const TOTAL: usize = 64 << 20;

/// Loaded rules.
pub(crate) struct Rules {
    host: RuleHost,
    fields: Fields,
}

impl Rules {
    pub(crate) fn open(plugin: &Plugin, text: &[u8]) -> Result<Self> {
        let registry = FieldRegistry::new("bench");
        let file = RuleFile {
            name: "rules".to_owned(),
            text: text.to_vec(),
        };
        let host = RuleHost::open(plugin, &registry, &[file], "")
            .map_err(Error::failed("load the rules"))?;
        Ok(Self {
            fields: registry.fields(),
            host,
        })
    }

    /// The number of rules that can match.
    pub(crate) fn enabled(&self) -> usize {
        self.host.rules().iter().filter(|rule| rule.enabled).count()
    }

    /// The calls that are captured for them.
    pub(crate) fn selection(&self) -> SyscallSet {
        match self.host.event_types() {
            EventTypes::All => SyscallSet::all(),
            EventTypes::Only(names) => names
                .iter()
                .filter_map(|name| table::by_name(name))
                .collect::<SyscallSet>()
                .union(&inspect::needed()),
        }
    }
}

/// The result of one pass.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pass {
    /// CPU time.
    pub(crate) ns: f64,
    /// Allocations for an event, in the second half.
    pub(crate) allocations: f64,
    pub(crate) matches: u64,
}

/// What events go through.
pub(crate) enum Through<'a> {
    /// Nothing: their headers are read, as a driver does.
    Nothing,
    State,
    Rules(&'a mut Rules),
    /// The rings of this many simulated CPUs, and rules.
    Rings(&'a mut Rules, usize),
    /// The flight recorder, and rules. The recorder's memory has been used before, as it is after the first seconds.
    Recorded(&'a mut Rules, &'a mut Ring),
}

/// A flight recorder with its default memory and time.
pub(crate) fn recorder() -> Ring {
    Ring::new(64 << 20, 10_000_000_000)
}

/// State and rules take an event.
fn judge(
    rules: &mut Rules,
    inspector: &mut Inspector,
    event: &Event<'_>,
    scratch: &mut Scratch,
    found: &mut Vec<u32>,
) {
    found.clear();
    let seen = inspector.update(event);
    if event.has(Flags::UNSELECTED) {
        return;
    }
    let view = View::new(&rules.fields, inspector, event, &seen, scratch);
    rules.host.on_event(&view, found);
    scratch.reset();
}

impl Stream {
    /// Plays all events. The time is that of the CPU, and does not include the events that describe the state at the start.
    pub(crate) fn pass(&self, through: Through<'_>) -> Result<Pass> {
        let mut inspector = Inspector::new(&inspect::Options {
            proc_root: None,
            containers: None,
            clock: self.clock,
            ..inspect::Options::default()
        });
        self.play(0, self.start, &mut |event| {
            inspector.update(event);
        });
        let mut scratch = Scratch::default();
        let mut found = Vec::new();
        let mut matches = 0;
        let mut sum = 0;
        let mut begun = false;
        let cpus = match through {
            Through::Rings(_, cpus) => Some(cpus),
            Through::Nothing | Through::State | Through::Rules(_) | Through::Recorded(..) => None,
        };
        let mut each: Box<dyn FnMut(&Event<'_>)> = match through {
            Through::Nothing => Box::new(|event| sum ^= event.header().ret),
            Through::State => Box::new(|event| {
                std::hint::black_box(inspector.update(event));
            }),
            Through::Recorded(rules, ring) => Box::new(|event| {
                let time_ns = event.header().time_ns;
                // what the pass before has left is of other times
                if ring.is_due(time_ns) || !begun {
                    begun = true;
                    ring.begin(time_ns, |sink| inspector.synthesize(sink));
                }
                ring.push(event);
                judge(rules, &mut inspector, event, &mut scratch, &mut found);
                matches += found.len() as u64;
            }),
            Through::Rules(rules) | Through::Rings(rules, _) => Box::new(|event| {
                judge(rules, &mut inspector, event, &mut scratch, &mut found);
                matches += found.len() as u64;
            }),
        };
        let middle = self.middle();
        let later = self.count(middle);
        if let Some(cpus) = cpus {
            let ns = self.through_rings(cpus, &mut each)?;
            drop(each);
            return Ok(Pass {
                ns,
                allocations: 0.0,
                matches,
            });
        }
        // not the wall clock: other programs run on this CPU, too
        let begin = cpu_ns()?;
        self.play(self.start, middle, &mut each);
        let before = allocations::count();
        self.play(middle, self.bytes.len(), &mut each);
        let ns = cpu_ns()?.saturating_sub(begin) as f64;
        let allocated = allocations::count() - before;
        drop(each);
        std::hint::black_box(sum);
        Ok(Pass {
            ns,
            allocations: allocated as f64 / later as f64,
            matches,
        })
    }

    /// Plays all events through the rings of a host with this many CPUs. Each CPU runs some of the threads. Returns the
    /// reader's time.
    fn through_rings(&self, cpus: usize, each: &mut dyn FnMut(&Event<'_>)) -> Result<f64> {
        let size = (TOTAL / cpus).next_power_of_two();
        let mut rings = SimulatedRings::new(cpus, size).map_err(Error::failed("make the rings"))?;
        let mut waiting = &self.bytes[self.start..];
        let mut ns = 0;
        while let Ok(first) = Event::parse(waiting) {
            let mut next = Some(first);
            while let Some(event) = next {
                let cpu = event.header().tid as usize % cpus;
                let (bytes, rest) = waiting.split_at(event.header().len as usize);
                if !rings.write(cpu, bytes) {
                    break;
                }
                waiting = rest;
                next = Event::parse(waiting).ok();
            }
            let begin = cpu_ns()?;
            rings.read(&mut |bytes| {
                if let Ok(event) = Event::parse(bytes) {
                    each(&event);
                }
                Flow::Continue
            });
            ns += cpu_ns()?.saturating_sub(begin);
        }
        Ok(ns as f64)
    }

    fn count(&self, from: usize) -> u64 {
        let mut count = 0;
        self.play(from, self.bytes.len(), &mut |_| count += 1);
        count
    }
}
