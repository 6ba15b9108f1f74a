//! The running capture of notify mode: waits for notifications and for the ends of processes, and hands the events
//! that are made of them to the sink. [`calls`](super::calls) and [`family`](super::family) make the events.

use std::sync::Arc;
use std::time::{Duration, Instant};

use driver_api::driver::{Capture, CaptureError, CommandState, Flow, Polled};
use driver_api::error::Cause;
use driver_api::event::Event;
use driver_api::request::{Request, SyscallSet};
use driver_api::selection::Selection;
use driver_api::stats::Stats;
use driver_start::Held;
use libc::pid_t;

use super::launch::ListenerChannel;
use super::listener::Listener;
use super::processes::Processes;
use super::receiver::Receiver;
use super::watchdog::Watchdog;
use crate::events::{self, Events, Sink};
use crate::threads::{self, Owner};

/// How long a poll that has events waits for more.
const LINGER: Duration = Duration::from_millis(5);
/// How long a wait may be if ends have to be looked for, or are about to come.
const LOOK: Duration = Duration::from_millis(20);
/// How long no process may be known before that is taken for the end, on kernels that do not report it.
const LAST_LOOK: Duration = Duration::from_millis(200);
/// How long processes may take to die.
const TO_LEAVE: Duration = Duration::from_secs(2);

/// What exists once the command runs.
#[derive(Debug)]
struct Running {
    listener: Arc<Listener>,
    receiver: Receiver,
    watchdog: Option<Arc<Watchdog>>,
    /// The kernel reports when no process uses the filter any more. Known from another feature, which is newer.
    reports_end: bool,
}

/// One capture of a command.
#[derive(Debug)]
pub(crate) struct NotifyCapture {
    driver: &'static str,
    pub(super) command: Held,
    /// The way to the listener. None: it was taken.
    channel: Option<ListenerChannel>,
    running: Option<Running>,
    pub(super) processes: Processes,
    /// The command has executed its program. Events before that are of lanner's own code.
    pub(super) launched: bool,
    pub(super) status: Option<i32>,
    ended: bool,
    /// Since when no process is known.
    deserted: Option<Instant>,
    /// The calls that the filter asks about.
    filtered: SyscallSet,
    pub(super) selection: Selection,
    pub(super) events: Events,
    /// No program can forbid lanner to read its memory.
    pub(super) reads_everything: bool,
    /// Once lanner has a notification, only a fatal signal ends its thread's wait.
    pub(super) waits_firmly: bool,
}

impl NotifyCapture {
    pub(crate) fn new(
        driver: &'static str,
        command: Held,
        channel: ListenerChannel,
        request: &Request,
        reads_everything: bool,
    ) -> std::io::Result<Self> {
        let selection = request.selection.with_multiplexers();
        Ok(Self {
            driver,
            command,
            channel: Some(channel),
            running: None,
            processes: Processes::new()?,
            launched: false,
            status: None,
            ended: false,
            deserted: None,
            filtered: super::filtered_calls(selection.calls()),
            selection,
            events: Events::new(request.limits),
            reads_everything,
            waits_firmly: super::launch::can_wait_firmly(),
        })
    }

    /// Hands over the event that was made, or keeps it for the next poll.
    pub(super) fn deliver(&mut self, sink: Sink) {
        if self.launched {
            self.events.deliver(sink);
        }
    }

    /// Whether the thread of a notification still waits.
    pub(super) fn is_valid(&self, id: u64) -> bool {
        let listener = self.running.as_ref().map(|running| &running.listener);
        listener.is_some_and(|listener| listener.is_valid(id))
    }

    /// Has the call of a waiting thread return a result without being made. No result: lets the thread make it. False: the
    /// thread does not wait any more.
    pub(super) fn answer(&self, id: u64, result: Option<i32>) -> bool {
        let Some(running) = &self.running else {
            return false;
        };
        let listener = &running.listener;
        match result {
            None => listener.answer(id).is_ok(),
            Some(result) => listener.finish(id, result).is_ok(),
        }
    }

    /// Follows a thread, and its process, which from then on dies with lanner.
    pub(super) fn add(&mut self, tid: pid_t, tgid: pid_t, owner: Owner) {
        if let Some(watchdog) = self.watchdog().filter(|_| !self.processes.has(tgid)) {
            watchdog.add(tgid);
        }
        self.processes.add(tid, tgid, owner);
    }

    /// A process has ended.
    pub(super) fn remove(&mut self, tgid: pid_t) {
        if let Some(watchdog) = self.watchdog() {
            watchdog.remove(tgid);
        }
        self.processes.remove(tgid);
    }

    fn watchdog(&self) -> Option<&Watchdog> {
        self.running.as_ref()?.watchdog.as_deref()
    }

    fn failure(&self, step: &str, source: impl Into<Cause>) -> CaptureError {
        CaptureError {
            driver: self.driver,
            step: step.to_owned(),
            source: source.into(),
        }
    }

    /// Releases the command and takes its listener, the first time.
    fn begin(&mut self) -> Result<(), CaptureError> {
        let Some(channel) = self.channel.take() else {
            return Ok(());
        };
        let opened = self.command.open_gate();
        opened.map_err(|error| self.failure("start the command", error))?;
        let pid = self.command.pid().cast_signed();
        let listener = match channel.take_listener() {
            Ok(listener) => listener,
            Err(error) => {
                self.ended = true;
                kill(pid);
                // an errno of the filter says more than that no listener came
                let refused = self.command.outcome().err().map(Cause::from);
                self.wait_for_command();
                let refused = refused.unwrap_or_else(|| error.into());
                return Err(self.failure("put its filter into the command", refused));
            }
        };
        let reports_end = listener.wake_on_one_cpu();
        let watchdog = Watchdog::new(&listener, pid);
        let watchdog = watchdog.inspect_err(|error| tracing::warn!("no watchdog: {error}"));
        let watchdog = watchdog.ok().map(Arc::new);
        let listener = Arc::new(listener);
        let receiver = Receiver::new(Arc::clone(&listener), watchdog.clone());
        let receiver = receiver.map_err(|error| {
            self.ended = true;
            kill(pid);
            self.failure("receive calls on a thread", error)
        })?;
        self.running = Some(Running {
            listener,
            receiver,
            watchdog,
            reports_end,
        });
        self.add(pid, pid, threads::owner(pid.unsigned_abs()));
        Ok(())
    }

    /// Waits for the end of the command, which is near, but not for ever.
    fn wait_for_command(&mut self) {
        let begin = Instant::now();
        while self.status.is_none() && begin.elapsed() < TO_LEAVE {
            self.status = self.command.status();
            if self.status.is_none() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    /// No process is left.
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

    /// Delivers the ends of processes. `now`: looks for ends that no pidfd reports, even if it was done just before.
    pub(super) fn report_ends(&mut self, now: bool, sink: Sink) {
        for tgid in self.processes.ended(now) {
            self.process_ended(tgid, sink);
        }
    }

    /// Whether the capture is over. `deserted`: the kernel says that no process uses the filter.
    fn is_over(&mut self, deserted: bool) -> bool {
        if !self.processes.is_empty() {
            // threads stop using the filter a moment before their process ends
            self.deserted = None;
            return false;
        }
        let since = *self.deserted.get_or_insert_with(Instant::now);
        let reports_end = self.running.as_ref().is_some_and(|r| r.reports_end);
        // An orphan that was never seen uses the filter until it is reaped, and the first process of a PID namespace
        // has to do that.
        reap_orphans();
        deserted || (!reports_end && since.elapsed() > LAST_LOOK)
    }

    /// How long to wait.
    fn patience(&self, left: Duration) -> Duration {
        if self.processes.is_empty() || self.processes.lacks_pidfds() {
            left.min(LOOK)
        } else {
            left
        }
    }

    /// Waits once and handles what comes. False: the capture is over.
    fn step(&mut self, left: Duration, sink: Sink) -> bool {
        let patience = self.patience(left);
        let Some(running) = self.running.as_ref() else {
            return false;
        };
        let ready = running.receiver.wait(Some(self.processes.ends()), patience);
        let call = ready.call.then(|| running.receiver.next()).flatten();
        // an end that the parent has seen is delivered before what the parent does next
        if ready.other || self.processes.lacks_pidfds() {
            self.report_ends(false, sink);
        }
        if let Some(call) = call {
            self.notified(&call, sink);
            if let Some(watchdog) = self.watchdog() {
                watchdog.forget_waiting(call.tid);
            }
        }
        if ready.deserted && !ready.other {
            // the pidfds are about to report the last ends
            std::thread::sleep(Duration::from_micros(100));
        }
        if (ready.deserted || self.processes.is_empty()) && self.is_over(ready.deserted) {
            return false;
        }
        true
    }

    /// Ends the command and all its descendants: without answers their calls would fail.
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
            let ready = running.receiver.wait(None, LOOK);
            while let Some(call) = running.receiver.next() {
                if call.tid > 0 {
                    kill(call.tid);
                }
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
                && (ready.deserted || !running.reports_end);
        }
    }
}

fn kill(pid: pid_t) {
    // SAFETY: kill(2) takes numbers. The process waits for lanner's answer, or is a child that was not waited for: no
    // other process has its id.
    unsafe { libc::kill(pid, libc::SIGKILL) };
}

fn reap_orphans() {
    // SAFETY: waitpid(2) gets no memory. The first process of a PID namespace becomes the parent of all orphans
    // (pid_namespaces(7)), and has to wait for each.
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
        let before = self.events.begin_poll(sink);
        if self.ended && self.events.since(before) == 0 {
            return Ok(Polled::Ended(self.status));
        }
        self.begin()?;
        let mut until = events::deadline(timeout);
        let mut lingers = false;
        while !self.events.is_halted() && !self.ended {
            let now = Instant::now();
            if !lingers && self.events.since(before) > 0 {
                lingers = true;
                until = until.min(now + LINGER);
            }
            if !self.step(until.saturating_duration_since(now), sink) {
                // the last events go first: the next poll reports the end
                if self.events.since(before) > 0 || self.events.is_waiting() {
                    break;
                }
                return self.end();
            }
            if now >= until {
                break;
            }
        }
        Ok(Polled::Events(self.events.since(before)))
    }

    fn command(&mut self) -> Option<CommandState> {
        self.launched.then(|| CommandState {
            pid: self.command.pid(),
            // known when its end has been delivered
            status: self.status,
        })
    }

    fn select(&mut self, selection: &Selection) -> Result<(), CaptureError> {
        let selection = selection.with_multiplexers();
        let asked = selection.calls().without(&super::unfailing_calls());
        if self.filtered.union(&asked) != self.filtered {
            return Err(self.failure(
                "widen the selection",
                "notify mode's filter stays as it was when the command was started; select all that will be \
                  wanted from the start, or use trace mode",
            ));
        }
        self.selection = selection;
        Ok(())
    }

    fn stats(&self) -> Stats {
        self.events.stats()
    }
}

impl Drop for NotifyCapture {
    fn drop(&mut self) {
        self.kill_all();
    }
}
