//! The running capture: waits for stops, hands the events made of them to the sink, changes the
//! selection while all runs. [`stops`](crate::stops) makes the events.

use std::collections::HashMap;
use std::ffi::c_int;
use std::hash::{BuildHasherDefault, Hasher};
use std::time::{Duration, Instant};

use driver_api::driver::{Capture, CaptureError, CommandState, Flow, Polled};
use driver_api::error::Cause;
use driver_api::event::{Abi, Event, Header, layout};
use driver_api::request::{Limits, SyscallSet};
use driver_api::stats::Stats;
use driver_api::table::Syscall;
use driver_start::Held;
use libc::pid_t;

use crate::NAME;
use crate::cpu::{Follower, Stay};
use crate::facts::{self, Owner};
use crate::outbox::{Outbox, Plans, Sink};
use crate::undecided::Undecided;
use crate::wait::Waiter;

/// How long a child's first stop may wait for its parent's word of the birth. A parent that is killed
/// meanwhile never gives it.
pub(crate) const OVERDUE: Duration = Duration::from_millis(200);
/// How long to look for a tracee nobody told of, when all known ones are gone but children remain.
const LAST_LOOK: Duration = Duration::from_millis(100);
/// How long a poll that has events waits for more: the consumer's own work between two polls is spread
/// over many stops, and an event is no older than this when the consumer gets to it.
const LINGER: Duration = Duration::from_millis(5);
/// An end that nobody asked for: of a child that was never a tracee.
const FORGOTTEN: Duration = Duration::from_secs(5);

/// A traced thread.
#[derive(Debug)]
pub(crate) struct Thread {
    pub(crate) tgid: u32,
    pub(crate) owner: Owner,
    /// The thread that made it; 0: one that was not followed.
    pub(crate) parent: pid_t,
    /// How often it has stopped.
    pub(crate) stops: u32,
    /// The call it is in, from its entry stop to its exit stop.
    pub(crate) call: Option<Call>,
    /// Whether its ids of other threads are ours: it is in our PID namespace. None: not asked for yet.
    pub(crate) numbered: Option<bool>,
    /// Where the thread stands between PTRACE_SYSCALL's stops, for kernels that cannot say.
    pub(crate) inside: bool,
    /// A call that a signal has interrupted.
    pub(crate) undecided: Option<Undecided>,
}

/// Threads by their ids, which are looked up many times a stop.
pub(crate) type Threads = HashMap<pid_t, Thread, BuildHasherDefault<IdHasher>>;

/// Spreads ids, which the kernel gives out one after another: nobody can choose them so as to collide.
#[derive(Debug, Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        // Fibonacci hashing: the table takes its bits from both ends
        self.0 = (self.0 ^ number)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(20);
    }

    fn write_i32(&mut self, id: i32) {
        self.write_u64(u64::from(id.cast_unsigned()));
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// A call between entry and exit.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) call: &'static Syscall,
    pub(crate) abi: Abi,
    pub(crate) nr: u32,
    pub(crate) args: [u64; 6],
    /// Where the thread may run meanwhile.
    pub(crate) stay: Stay,
    /// Of an exec: the event begun at its entry, as its memory is gone afterwards.
    pub(crate) exec: Option<Vec<u8>>,
}

/// A thread whose birth was not told yet: its first stop, its end.
#[derive(Debug)]
pub(crate) struct Early {
    pub(crate) stop: Option<c_int>,
    pub(crate) end: Option<c_int>,
    since: Instant,
}

/// How calls are stopped at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// A filter stops at the selected ones.
    Filter,
    /// Every call stops, twice: an attached process has no filter, or the selection has grown.
    Every,
}

/// One capture of the ptrace driver.
#[derive(Debug)]
pub(crate) struct PtraceCapture {
    pub(crate) waiter: Waiter,
    pub(crate) follower: Follower,
    pub(crate) threads: Threads,
    pub(crate) early: HashMap<pid_t, Early>,
    /// The thread that was killed last, as its exit event had it, and when.
    pub(crate) killed: Option<(Header, Instant)>,
    /// A stop on another CPU is about to come: a parent's, whose child has ended.
    pub(crate) expected: bool,
    pub(crate) command: Option<Held>,
    /// The command has executed its program.
    pub(crate) launched: bool,
    pub(crate) status: Option<c_int>,
    ended: bool,
    /// Since when no thread is known.
    deserted: Option<Instant>,
    pub(crate) mode: Mode,
    filtered: SyscallSet,
    pub(crate) selection: SyscallSet,
    pub(crate) plans: Plans,
    pub(crate) out: Outbox,
    pub(crate) scratch: Vec<u8>,
}

impl PtraceCapture {
    /// For a command that is seized already and has its filter, or for none.
    pub(crate) fn new(
        waiter: Waiter,
        mode: Mode,
        command: Option<Held>,
        selection: SyscallSet,
        limits: Limits,
    ) -> Self {
        let mut capture = Self {
            waiter,
            follower: Follower::new(command.is_some()),
            threads: Threads::default(),
            early: HashMap::new(),
            killed: None,
            expected: false,
            launched: command.is_none(),
            command,
            status: None,
            ended: false,
            deserted: None,
            mode,
            filtered: selection,
            selection,
            plans: Plans::new(limits),
            out: Outbox::default(),
            scratch: Vec::with_capacity(layout::MAX),
        };
        if let Some(command) = &capture.command {
            let pid = command.pid();
            capture.adopt(pid as pid_t, pid);
        }
        capture
    }

    /// Follows a thread that is seized already.
    pub(crate) fn adopt(&mut self, tid: pid_t, tgid: u32) {
        let thread = Thread {
            tgid,
            owner: facts::owner(tid.unsigned_abs()),
            parent: 0,
            stops: 0,
            call: None,
            inside: false,
            numbered: None,
            undecided: None,
        };
        self.threads.insert(tid, thread);
    }

    /// Keeps what came of a thread before its birth was told.
    pub(crate) fn too_early(&mut self, tid: pid_t) -> &mut Early {
        self.early.entry(tid).or_insert_with(|| Early {
            stop: None,
            end: None,
            since: Instant::now(),
        })
    }

    /// Hands over the event in the builder, or keeps it for the next poll. What comes before the
    /// command's program is lanner's own.
    pub(crate) fn deliver(&mut self, sink: Sink) {
        if !self.launched {
            return;
        }
        self.out.deliver(sink);
    }

    /// Hands over an event that was made before.
    pub(crate) fn deliver_kept(&mut self, bytes: &[u8], sink: Sink) {
        if let Ok(event) = Event::parse(bytes) {
            self.out.builder.begin(event.header());
            event
                .attachments()
                .for_each(|attachment| self.out.builder.attach_copy(&attachment));
            self.deliver(sink);
        }
    }

    /// Opens the gate, the first time.
    fn begin(&mut self) -> Result<(), CaptureError> {
        match self.command.as_mut().filter(|command| command.held()) {
            Some(command) => command
                .open_gate()
                .map_err(|error| failure("start the command", error)),
            None => Ok(()),
        }
    }

    /// All tracees are gone.
    fn end(&mut self) -> Result<Polled, CaptureError> {
        if !self.ended {
            self.ended = true;
            self.follower.leave();
            self.threads.clear();
            self.early.clear();
            if !self.launched
                && let Some(Err(error)) = self.command.as_mut().map(Held::outcome)
            {
                return Err(failure("start the command", error));
            }
        }
        Ok(Polled::Ended(self.status))
    }

    /// Whether there is nobody left, as far as anybody told.
    fn is_deserted(&mut self) -> bool {
        let deserted =
            self.threads.is_empty() && self.early.values().all(|early| early.stop.is_none());
        if !deserted {
            self.deserted = None;
        } else if self.deserted.is_none() {
            self.deserted = Some(Instant::now());
        }
        deserted
    }

    /// Threads whose parents died before they could tell of them.
    fn adopt_overdue(&mut self, sink: Sink) {
        if self.early.is_empty() {
            return;
        }
        self.early
            .retain(|_, early| early.stop.is_some() || early.since.elapsed() < FORGOTTEN);
        let nobody = self.threads.is_empty();
        let overdue: Vec<pid_t> = self
            .early
            .iter()
            .filter(|(_, early)| {
                early.stop.is_some() && (nobody || early.since.elapsed() > OVERDUE)
            })
            .map(|(tid, _)| *tid)
            .collect();
        for tid in overdue {
            self.foundling(tid, None, sink);
        }
    }

    /// How long to wait for the next stop.
    fn patience(&mut self, left: Duration) -> Duration {
        let mut patience = left;
        if self.is_deserted() {
            patience = patience.min(LAST_LOOK);
        }
        if self.early.values().any(|early| early.stop.is_some()) {
            patience = patience.min(OVERDUE);
        }
        if let Some(kept) = self.follower.patience() {
            patience = patience.min(kept);
        }
        patience
    }
}

pub(crate) fn failure(step: &str, source: impl Into<Cause>) -> CaptureError {
    CaptureError {
        driver: NAME,
        step: step.to_owned(),
        source: source.into(),
    }
}

impl Capture for PtraceCapture {
    fn poll(
        &mut self,
        timeout: Duration,
        sink: &mut dyn FnMut(Event<'_>) -> Flow,
    ) -> Result<Polled, CaptureError> {
        let before = self.out.begin(sink);
        if self.ended && self.out.stats.captured == before {
            return Ok(Polled::Ended(self.status));
        }
        if !self.ended && !self.waiter.is_ours() {
            return Err(failure(
                "wait for its tracees",
                "only the thread that opened the driver can poll it",
            ));
        }
        self.begin()?;
        let mut until = Instant::now() + timeout;
        let mut lingers = false;
        let mut end = None;
        while !self.out.halted && !self.ended {
            self.adopt_overdue(sink);
            let now = Instant::now();
            if !lingers && self.out.stats.captured > before {
                lingers = true;
                until = until.min(now + LINGER);
            }
            let patience = self.patience(until.saturating_duration_since(now));
            let soon = self.expected && !patience.is_zero();
            self.expected = false;
            let stop = match soon.then(|| self.waiter.soon()) {
                Some(Ok(Some(stop))) => Ok(Some(stop)),
                _ => self.waiter.next(patience),
            };
            match stop {
                Ok(Some((tid, status))) => {
                    self.follower.seen(tid, now);
                    self.handle(tid, status, sink);
                    // a busy tracee must not keep the caller from its other duties
                    if now >= until {
                        break;
                    }
                }
                // the last events first: the end is told by the next poll
                Err(_) if self.out.stats.captured > before => break,
                Err(_) => {
                    end = Some(self.end());
                    break;
                }
                // children of this thread that are not tracees are nothing to wait for
                Ok(None)
                    if self
                        .deserted
                        .is_some_and(|since| since.elapsed() >= LAST_LOOK) =>
                {
                    if self.out.stats.captured == before {
                        end = Some(self.end());
                    }
                    break;
                }
                Ok(None) => {
                    self.follower.idle();
                    if Instant::now() >= until {
                        break;
                    }
                }
            }
        }
        self.waiter.rest();
        end.unwrap_or_else(|| Ok(Polled::Events(self.out.since(before))))
    }

    fn command(&mut self) -> Option<CommandState> {
        let command = self.command.as_ref().filter(|command| !command.held())?;
        Some(CommandState {
            pid: command.pid(),
            status: self.status,
        })
    }

    fn holds(&self) -> bool {
        true
    }

    fn select(&mut self, selection: &SyscallSet) -> Result<(), CaptureError> {
        self.selection = selection.without(&self.plans.limits.omit.if_held);
        // a filter that is installed stays; what it lets pass can only be had by stopping at every call
        if self.filtered.union(&self.selection) != self.filtered && self.mode == Mode::Filter {
            if !self.waiter.is_ours() {
                return Err(failure(
                    "widen the selection",
                    "only the thread that opened the driver can",
                ));
            }
            self.mode = Mode::Every;
            self.settle();
        }
        Ok(())
    }

    fn stats(&self) -> Stats {
        self.out.stats
    }
}

impl Drop for PtraceCapture {
    fn drop(&mut self) {
        if self.waiter.is_ours() {
            self.follower.leave();
        }
        if self.command.is_some() {
            self.kill_all();
        } else {
            self.leave();
        }
    }
}
