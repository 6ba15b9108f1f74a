//! Makes events and hands them to the sink; keeps those for which the sink has no more room in this poll.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use driver_api::driver::Flow;
use driver_api::event::{
    Abi, Encoding, Event, EventBuilder, EventKind, Fact, Flags, Header, Loss, Part, Status, layout,
};
use driver_api::plan::Plan;
use driver_api::request::Limits;
use driver_api::stats::Stats;
use driver_api::table::{SYSCALLS, Syscall};
use driver_start::monotonic_ns;
use libc::pid_t;

use crate::interpret::{self, Rooms};
use crate::memory::Memory;
use crate::threads::Owner;

/// Takes the events.
pub(crate) type Sink<'a> = &'a mut dyn FnMut(Event<'_>) -> Flow;

/// The header of an event of now. A thread whose owner is not known has all ones for its ids.
pub(crate) fn header(kind: EventKind, tid: pid_t, tgid: u32, owner: Option<Owner>) -> Header {
    Header {
        kind: kind as u8,
        abi: Abi::NATIVE as u8,
        cpu: current_cpu(),
        time_ns: monotonic_ns(),
        tgid,
        tid: tid.unsigned_abs(),
        uid: owner.map_or(u32::MAX, |owner| owner.uid),
        gid: owner.map_or(u32::MAX, |owner| owner.gid),
        ..Header::default()
    }
}

/// When a poll that begins now is over. A timeout that no clock can hold counts as a day.
pub(crate) fn deadline(timeout: Duration) -> Instant {
    const DAY: Duration = Duration::from_hours(24);
    let now = Instant::now();
    now.checked_add(timeout).unwrap_or(now + DAY)
}

/// lanner's CPU: mostly the one where the thread stopped. The probe names this gap.
fn current_cpu() -> u16 {
    // SAFETY: sched_getcpu(3) has no effect.
    u16::try_from(unsafe { libc::sched_getcpu() }).unwrap_or(u16::MAX)
}

/// The capture plans of this machine's native calls, made once.
#[derive(Debug)]
struct Plans {
    limits: Limits,
    /// By the call's index in the table.
    native: Vec<Plan>,
}

impl Plans {
    fn new(limits: Limits) -> Self {
        Self {
            limits,
            native: SYSCALLS
                .iter()
                .map(|call| Plan::of(call, Abi::NATIVE, 0, &limits))
                .collect(),
        }
    }

    fn of(&self, call: &Syscall, abi: Abi, nr: u32) -> Plan {
        if abi == Abi::NATIVE {
            self.native.get(call.index()).copied().unwrap_or_default()
        } else {
            Plan::of(call, abi, nr, &self.limits)
        }
    }
}

/// Where a capture's events are made, and where they wait.
#[derive(Debug)]
pub(crate) struct Events {
    /// The event that is being made.
    pub(crate) builder: EventBuilder,
    plans: Plans,
    /// Holds what is read of one attachment.
    scratch: Vec<u8>,
    /// The sink wants no more events in this poll.
    halted: bool,
    waiting: VecDeque<Vec<u8>>,
    stats: Stats,
    /// The losses that were delivered, by cause.
    reported: [u64; Loss::CAUSES],
    /// The last process whose memory lanner was not allowed to read; 0: none.
    unreadable: u32,
}

impl Events {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            builder: EventBuilder::default(),
            plans: Plans::new(limits),
            scratch: Vec::with_capacity(layout::MAX),
            halted: false,
            waiting: VecDeque::new(),
            stats: Stats::default(),
            reported: [0; Loss::CAUSES],
            unreadable: 0,
        }
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.plans.limits
    }

    pub(crate) fn stats(&self) -> Stats {
        self.stats
    }

    /// How to capture a call that came by this ABI and number.
    pub(crate) fn plan_of(&self, call: &Syscall, abi: Abi, nr: u32) -> Plan {
        self.plans.of(call, abi, nr)
    }

    /// Begins the event of a call and attaches what its plan names. The plan is followed as if the call had
    /// returned `ret`. `rooms`: what was found at the call's entry.
    pub(crate) fn begin_call(
        &mut self,
        header: &Header,
        ret: i64,
        plan: &Plan,
        memory: &Memory,
        rooms: Option<&Rooms>,
    ) {
        let seen = if rooms.is_some() { Flags::ROOM_SEEN } else { 0 };
        self.builder.begin(&Header {
            flags: header.flags | seen,
            ..*header
        });
        let seen = Header { ret, ..*header };
        interpret::follow(
            &mut self.builder,
            plan,
            &seen,
            memory,
            &mut self.scratch,
            &self.plans.limits,
            rooms,
        );
        if memory.was_denied() {
            self.note_unreadable(header.tgid);
        }
    }

    /// Says how long the call of the event took, if that is known.
    pub(crate) fn say_took(&mut self, took_ns: Option<u64>) {
        let Some(ns) = took_ns else { return };
        self.builder.attach(
            Fact::Took as u8,
            Part::None,
            Status::Whole,
            Encoding::Raw,
            size_of_val(&ns) as u64,
            &ns.to_ne_bytes(),
        );
    }

    /// An event lacks its memory, because lanner may not read that of its process.
    fn note_unreadable(&mut self, tgid: u32) {
        self.stats.lost[Loss::Fault as usize] += 1;
        if self.unreadable != tgid {
            self.unreadable = tgid;
            tracing::warn!(
                "lanner may not read the memory of process {tgid}, whose program is not readable or has changed its \
                 user: its events lack memory and facts, and are counted as lost; give lanner CAP_SYS_PTRACE"
            );
        }
    }

    /// Delivers the losses that were not delivered yet.
    fn report_losses(&mut self, sink: Sink) {
        for (at, cause) in Loss::ALL.into_iter().enumerate() {
            let new = self.stats.lost[at] - self.reported[at];
            if new == 0 || self.halted {
                continue;
            }
            self.reported[at] = self.stats.lost[at];
            let mut args = [0; 6];
            // what is lost is memory, and no event
            args[..3].copy_from_slice(&[new, cause as u64, layout::LOST_CALLS]);
            self.builder.begin(&Header {
                kind: EventKind::Lost as u8,
                time_ns: monotonic_ns(),
                args,
                ..Header::default()
            });
            self.deliver(sink);
        }
    }

    /// Begins an event with the attachments of another one.
    pub(crate) fn begin_from(&mut self, header: &Header, event: &Event<'_>) {
        self.builder.begin(header);
        event
            .attachments()
            .for_each(|attachment| self.builder.attach_copy(&attachment));
    }

    /// The string at an address, without its NUL; as much as can be read and is not longer than `limit`.
    pub(crate) fn read_string(&mut self, memory: &Memory, at: u64, limit: usize) -> &[u8] {
        self.scratch.clear();
        memory.string(at, limit, &mut self.scratch);
        &self.scratch
    }

    /// The event that was made, to be delivered later. None: it is malformed.
    pub(crate) fn take(&mut self) -> Option<Vec<u8>> {
        self.builder.finish().ok().map(|event| event.to_vec())
    }

    /// Hands over the event that was made, or keeps it for the next poll.
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

    /// Has all events wait for the next poll.
    pub(crate) fn halt(&mut self) {
        self.halted = true;
    }

    /// Whether the sink wants no more events in this poll.
    pub(crate) fn is_halted(&self) -> bool {
        self.halted
    }

    /// Whether events wait for the next poll.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Begins a poll with the events that have waited. Returns the number of events captured before it, for
    /// [`since`](Self::since).
    pub(crate) fn begin_poll(&mut self, sink: Sink) -> u64 {
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
        self.report_losses(sink);
        before
    }

    /// The number of events captured since the total was `before`.
    pub(crate) fn since(&self, before: u64) -> usize {
        usize::try_from(self.stats.captured - before).unwrap_or(usize::MAX)
    }
}
