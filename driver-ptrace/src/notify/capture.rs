//! The running capture of notify mode: waits for notifications and for the ends of processes, hands the
//! events made of them to the sink. [`calls`](super::calls) and [`family`](super::family) make the events.

use std::time::{Duration, Instant};

use driver_api::driver::{Capture, CaptureError, CommandState, Flow, Polled};
use driver_api::error::Cause;
use driver_api::event::{Event, layout};
use driver_api::request::{Limits, SyscallSet};
use driver_api::stats::Stats;
use driver_start::Held;
use libc::pid_t;

use super::launch::Way;
use super::listener::Listener;
use super::processes::Processes;
use super::watchdog::Watchdog;
use crate::facts::{self, Owner};

pub(super) use crate::outbox::Sink;
use crate::outbox::{Outbox, Plans};

/// How long a poll that has events waits for more.
const LINGER: Duration = Duration::from_millis(5);
/// How long a wait may be where ends are looked for, or are about to come.
const LOOK: Duration = Duration::from_millis(20);
/// How long nobody may be known before that is the end, on kernels that do not tell it.
const LAST_LOOK: Duration = Duration::from_millis(200);
/// How long members get to die.
const TO_LEAVE: Duration = Duration::from_secs(2);

/// What there is once the command runs.
#[derive(Debug)]
struct Running {
    listener: Listener,
    watchdog: Option<Watchdog>,
    /// The kernel tells when the filter has no user left: it is new enough for more than that.
    tells_end: bool,
}

/// One capture of a command.
#[derive(Debug)]
pub(crate) struct NotifyCapture {
    driver: &'static str,
    pub(super) command: Held,
    way: Option<Way>,
    running: Option<Running>,
    pub(super) processes: Processes,
    /// The command's own program runs: what comes before it is lanner's.
    pub(super) launched: bool,
    pub(super) status: Option<i32>,
    ended: bool,
    /// Since when nobody is known.
    deserted: Option<Instant>,
    /// What the filter asks about.
    filtered: SyscallSet,
    pub(super) selection: SyscallSet,
    pub(super) plans: Plans,
    pub(super) out: Outbox,
    pub(super) scratch: Vec<u8>,
}

impl NotifyCapture {
    pub(crate) fn new(
        driver: &'static str,
        command: Held,
        way: Way,
        selection: SyscallSet,
        limits: Limits,
    ) -> std::io::Result<Self> {
        Ok(Self {
            driver,
            command,
            way: Some(way),
            running: None,
            processes: Processes::new()?,
            launched: false,
            status: None,
            ended: false,
            deserted: None,
            filtered: super::needed(&selection),
            selection,
            plans: Plans::new(limits),
            out: Outbox::default(),
            scratch: Vec::with_capacity(layout::MAX),
        })
    }

    /// Hands over the event in the builder, or keeps it for the next poll.
    pub(super) fn deliver(&mut self, sink: Sink) {
        if !self.launched {
            return;
        }
        self.out.deliver(sink);
    }

    /// Whether the thread of a notification still waits.
    pub(super) fn is_valid(&self, id: u64) -> bool {
        let listener = self.running.as_ref().map(|running| &running.listener);
        listener.is_some_and(|listener| listener.is_valid(id))
    }

    /// Lets a thread go on. False: it does not wait any more.
    pub(super) fn answer(&self, id: u64) -> bool {
        let Some(running) = &self.running else {
            return false;
        };
        let answered = running.listener.answer(id).is_ok();
        if let Some(watchdog) = &running.watchdog {
            watchdog.note(0);
        }
        answered
    }

    /// Follows a thread, and its process, which then dies with us.
    pub(super) fn add(&mut self, tid: pid_t, tgid: pid_t, owner: Owner) {
        if let Some(watchdog) = self.watchdog().filter(|_| !self.processes.has(tgid)) {
            watchdog.join(tgid);
        }
        self.processes.add(tid, tgid, owner);
    }

    /// A process has ended.
    pub(super) fn remove(&mut self, tgid: pid_t) {
        if let Some(watchdog) = self.watchdog() {
            watchdog.leave(tgid);
        }
        self.processes.remove(tgid);
    }

    fn watchdog(&self) -> Option<&Watchdog> {
        self.running.as_ref()?.watchdog.as_ref()
    }

    /// Who has to die with us, too: whoever waits for our answer.
    pub(super) fn note(&self, tid: pid_t) {
        if let Some(watchdog) = self.watchdog() {
            watchdog.note(tid);
        }
    }

    fn failure(&self, step: &str, source: impl Into<Cause>) -> CaptureError {
        CaptureError {
            driver: self.driver,
            step: step.to_owned(),
            source: source.into(),
        }
    }

    /// Opens the gate, the first time.
    fn begin(&mut self) -> Result<(), CaptureError> {
        let Some(way) = self.way.take() else {
            return Ok(());
        };
        let opened = self.command.open_gate();
        opened.map_err(|error| self.failure("start the command", error))?;
        let pid = self.command.pid().cast_signed();
        let listener = match way.take() {
            Ok(listener) => listener,
            Err(error) => {
                self.ended = true;
                kill(pid);
                // an errno of the filter, where there is one, says more than that nothing came
                let refused = self.command.outcome().err().map(Cause::from);
                self.wait_for_command();
                let refused = refused.unwrap_or_else(|| error.into());
                return Err(self.failure("put its filter into the command", refused));
            }
        };
        let tells_end = listener.stay_near();
        let watchdog = Watchdog::new(&listener, pid);
        self.running = Some(Running {
            listener,
            watchdog: watchdog
                .inspect_err(|error| tracing::warn!("no watchdog: {error}"))
                .ok(),
            tells_end,
        });
        self.add(pid, pid, facts::owner(pid.unsigned_abs()));
        Ok(())
    }

    /// Waits for the command's end, which is near; not for ever.
    fn wait_for_command(&mut self) {
        let begin = Instant::now();
        while self.status.is_none() && begin.elapsed() < TO_LEAVE {
            self.status = self.command.status();
            if self.status.is_none() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    /// Nobody is left.
    fn end(&mut self) -> Result<Polled, CaptureError> {
        self.ended = true;
        self.wait_for_command();
        self.running = None;
        if !self.launched
            && let Err(error) = self.command.outcome()
        {
            return Err(self.failure("start the command", error));
        }
        Ok(Polled::Ended(self.status))
    }

    /// Tells the ends of processes; `now`: also of those that have to be looked for.
    pub(super) fn tell_ends(&mut self, now: bool, sink: Sink) {
        for tgid in self.processes.ended(now) {
            self.process_over(tgid, sink);
        }
    }

    /// Whether all is over; `deserted` is what the kernel says.
    fn is_over(&mut self, deserted: bool) -> bool {
        if !self.processes.is_empty() {
            // a thread leaves the filter a little before its process ends
            self.deserted = None;
            return false;
        }
        let since = *self.deserted.get_or_insert_with(Instant::now);
        let tells = self.running.as_ref().is_some_and(|r| r.tells_end);
        // an orphan that was never seen keeps the filter in use until it is reaped, which the first process of
        // a PID namespace has to do
        reap_orphans();
        deserted || (!tells && since.elapsed() > LAST_LOOK)
    }

    /// How long to wait.
    fn patience(&self, left: Duration) -> Duration {
        if self.processes.is_empty() || self.processes.has_strays() {
            left.min(LOOK)
        } else {
            left
        }
    }

    /// One wait, and what came of it. None: nothing.
    fn step(&mut self, left: Duration, sink: Sink) -> Option<bool> {
        let patience = self.patience(left);
        let running = self.running.as_ref()?;
        let ready = running.listener.wait(Some(self.processes.ends()), patience);
        let call = ready.call.then(|| running.listener.receive()).flatten();
        // an end that a parent has seen goes before what the parent does next
        if ready.other || self.processes.has_strays() {
            self.tell_ends(false, sink);
        }
        if let Some(call) = call {
            self.notified(&call, sink);
        }
        if ready.deserted && !ready.other {
            // the last ends are about to show
            std::thread::sleep(Duration::from_micros(100));
        }
        if (ready.deserted || self.processes.is_empty()) && self.is_over(ready.deserted) {
            return None;
        }
        Some(ready.call || ready.other)
    }

    /// Ends the command and all that came of it: without us their calls fail.
    fn kill_all(&mut self) {
        let Some(running) = self.running.take() else {
            return;
        };
        let begin = Instant::now();
        let mut done = false;
        while !done && begin.elapsed() < TO_LEAVE {
            for tgid in self.processes.all() {
                self.processes.kill(tgid);
            }
            let ready = running.listener.wait(None, LOOK);
            if ready.call
                && let Some(call) = running.listener.receive()
                && call.tid > 0
            {
                kill(call.tid);
            }
            if self.status.is_none() {
                self.status = self.command.status();
            }
            let ends = self.processes.ended(true);
            for tgid in ends {
                self.processes.remove(tgid);
            }
            done = self.status.is_some()
                && self.processes.is_empty()
                && (ready.deserted || !running.tells_end);
        }
    }
}

fn kill(pid: pid_t) {
    // SAFETY: takes numbers; the process waits for us, or is a child that nobody has waited for.
    unsafe { libc::kill(pid, libc::SIGKILL) };
}

fn reap_orphans() {
    // SAFETY: numbers; the first process of a PID namespace gets all orphans and waits for each.
    unsafe {
        if libc::getpid() == 1 {
            while libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG | libc::__WALL) > 0 {}
        }
    }
}

impl Capture for NotifyCapture {
    fn poll(
        &mut self,
        timeout: Duration,
        sink: &mut dyn FnMut(Event<'_>) -> Flow,
    ) -> Result<Polled, CaptureError> {
        let before = self.out.begin(sink);
        if self.ended && self.out.stats.captured == before {
            return Ok(Polled::Ended(self.status));
        }
        self.begin()?;
        let mut until = Instant::now() + timeout;
        let mut lingers = false;
        while !self.out.halted && !self.ended {
            let now = Instant::now();
            if !lingers && self.out.stats.captured > before {
                lingers = true;
                until = until.min(now + LINGER);
            }
            let Some(_) = self.step(until.saturating_duration_since(now), sink) else {
                // the last events first: the end is told by the next poll
                if self.out.stats.captured > before || self.out.is_waiting() {
                    break;
                }
                return self.end();
            };
            if now >= until {
                break;
            }
        }
        Ok(Polled::Events(self.out.since(before)))
    }

    fn command(&mut self) -> Option<CommandState> {
        self.launched.then(|| CommandState {
            pid: self.command.pid(),
            // known when its end has been told
            status: self.status,
        })
    }

    fn select(&mut self, selection: &SyscallSet) -> Result<(), CaptureError> {
        if self.filtered.union(selection) != self.filtered {
            return Err(self.failure(
                "widen the selection",
                "notify mode's filter stays as it was when the command was started; select all that will be \
                  wanted from the start, or use trace mode",
            ));
        }
        self.selection = *selection;
        Ok(())
    }

    fn stats(&self) -> Stats {
        self.out.stats
    }
}

impl Drop for NotifyCapture {
    fn drop(&mut self) {
        self.kill_all();
    }
}
