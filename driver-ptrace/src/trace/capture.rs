//! The running capture: waits for stops, has them made into events, and hands these to the sink.
//!
//! It is made of parts with one job each. What they do together at a stop is in [`stops`](super::stops).

use std::time::{Duration, Instant};

use driver_api::driver::{Capture, CaptureError, CommandState, Flow, Polled};
use driver_api::error::Cause;
use driver_api::event::{Event, EventKind, Header};
use driver_api::request::Limits;
use driver_api::selection::Selection;
use driver_api::stats::Stats;
use driver_start::Held;
use libc::pid_t;

use super::lifecycle::{LAST_LOOK, Lifecycle};
use super::pinning::CpuPinner;
use super::tracees::Tracees;
use super::waiter::Waiter;
use crate::NAME;
use crate::events::{self, Events, Sink};

/// How long a poll that has events waits for more: the consumer's own work between two polls is spread over many
/// stops. An event is at most this old when its poll returns.
const LINGER: Duration = Duration::from_millis(5);

/// Which calls stop, and which of them are wanted.
#[derive(Debug)]
pub(super) struct Coverage {
    pub(super) mode: Mode,
    /// The events that are delivered.
    pub(super) selection: Selection,
}

/// What makes calls stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mode {
    /// A filter stops these.
    Filter(Selection),
    /// Every call stops, at its entry and at its exit: an attached process has no filter, or the selection has
    /// grown beyond it.
    Every,
}

impl Coverage {
    pub(super) fn new(mode: Mode, selection: Selection) -> Self {
        Self { mode, selection }
    }

    /// Whether every call stops.
    pub(super) fn stops_every_call(&self) -> bool {
        self.mode == Mode::Every
    }

    /// Whether all calls of the selection stop.
    fn covers_selection(&self) -> bool {
        match &self.mode {
            Mode::Every => true,
            Mode::Filter(stopped) => stopped.covers(&self.selection.at_entry()),
        }
    }
}

/// One capture in trace mode.
#[derive(Debug)]
pub(crate) struct PtraceCapture {
    pub(super) waiter: Waiter,
    pub(super) pinner: CpuPinner,
    pub(super) tracees: Tracees,
    pub(super) life: Lifecycle,
    pub(super) coverage: Coverage,
    pub(super) events: Events,
    /// No program can forbid lanner to read its memory.
    pub(super) reads_everything: bool,
}

impl PtraceCapture {
    /// For a command that is seized already and has its filter, or for none.
    pub(super) fn new(
        waiter: Waiter,
        coverage: Coverage,
        command: Option<Held>,
        limits: Limits,
        reads_everything: bool,
    ) -> Self {
        let mut tracees = Tracees::default();
        if let Some(command) = &command {
            tracees.adopt(command.pid() as pid_t, command.pid());
        }
        Self {
            waiter,
            pinner: CpuPinner::new(command.is_some()),
            tracees,
            life: Lifecycle::new(command),
            coverage,
            events: Events::new(limits),
            reads_everything,
        }
    }

    /// The header of an event of a thread.
    pub(super) fn header(&self, kind: EventKind, tid: pid_t) -> Header {
        let thread = self.tracees.get(tid);
        let tgid = thread.map_or(tid.unsigned_abs(), |thread| thread.tgid);
        events::header(kind, tid, tgid, thread.map(|thread| thread.owner))
    }

    /// Hands over the event that was made, or keeps it for the next poll. Events from before the command's program
    /// are of lanner's own code, and are dropped.
    pub(super) fn deliver(&mut self, sink: Sink) {
        if self.life.is_launched() {
            self.events.deliver(sink);
        }
    }

    /// Hands over an event that was made before.
    pub(super) fn deliver_kept(&mut self, bytes: &[u8], sink: Sink) {
        if let Ok(event) = Event::parse(bytes)
            && self.coverage.selection.allows(&event)
        {
            self.events.begin_from(event.header(), &event);
            self.deliver(sink);
        }
    }

    /// All tracees are gone.
    fn end(&mut self) -> Result<Polled, CaptureError> {
        if !self.life.is_ended() {
            self.pinner.leave_home();
            self.tracees.clear();
            self.life.end().map_err(failed("start the command"))?;
        }
        Ok(Polled::Ended(self.life.status()))
    }

    /// How long to wait for the next stop.
    fn patience(&mut self, left: Duration) -> Duration {
        let deserted = self.tracees.is_deserted();
        self.life.set_deserted(deserted);
        [
            deserted.then_some(LAST_LOOK),
            self.tracees.patience(),
            self.pinner.patience(),
        ]
        .into_iter()
        .flatten()
        .fold(left, Duration::min)
    }
}

/// An error of a step that failed, for `map_err`.
fn failed<E: Into<Cause>>(step: &'static str) -> impl FnOnce(E) -> CaptureError {
    CaptureError::failed(NAME, step)
}

impl Capture for PtraceCapture {
    fn poll(
        &mut self,
        timeout: Duration,
        sink: &mut dyn FnMut(Event<'_>) -> Flow,
    ) -> Result<Polled, CaptureError> {
        let before = self.events.begin_poll(sink);
        if self.life.is_ended() && self.events.since(before) == 0 {
            return Ok(Polled::Ended(self.life.status()));
        }
        if !self.life.is_ended() && !self.waiter.is_ours() {
            return Err(failed("wait for its tracees")(
                "only the thread that opened the driver can poll it",
            ));
        }
        let released = self.life.release_command();
        released.map_err(failed("start the command"))?;
        let mut until = events::deadline(timeout);
        let mut lingers = false;
        let mut end = None;
        while !self.events.is_halted() && !self.life.is_ended() {
            self.adopt_overdue(sink);
            let now = Instant::now();
            if !lingers && self.events.since(before) > 0 {
                lingers = true;
                until = until.min(now + LINGER);
            }
            let patience = self.patience(until.saturating_duration_since(now));
            let soon = self.pinner.take_expected_stop() && !patience.is_zero();
            let waited = match soon.then(|| self.waiter.next_soon()) {
                Some(Ok(Some(wait))) => Ok(Some(wait)),
                _ => self.waiter.next(patience),
            };
            match waited {
                Ok(Some(wait)) => {
                    self.pinner.stopped(wait.tid(), now);
                    self.handle(wait, sink);
                    // a busy tracee must not keep the caller from its other work
                    if now >= until {
                        break;
                    }
                }
                // the last events go first: the next poll reports the end
                Err(_) if self.events.since(before) > 0 => break,
                Err(_) => {
                    end = Some(self.end());
                    break;
                }
                // lanner's children that are not tracees are nothing to wait for
                Ok(None) if self.life.is_abandoned() => {
                    if self.events.since(before) == 0 {
                        end = Some(self.end());
                    }
                    break;
                }
                Ok(None) => {
                    self.pinner.idle();
                    if Instant::now() >= until {
                        break;
                    }
                }
            }
        }
        self.waiter.rest();
        end.unwrap_or_else(|| Ok(Polled::Events(self.events.since(before))))
    }

    fn command(&mut self) -> Option<CommandState> {
        self.life.command_state()
    }

    fn holds(&self) -> bool {
        true
    }

    fn select(&mut self, selection: &Selection) -> Result<(), CaptureError> {
        let omitted = self.events.limits().omit.if_held;
        self.coverage.selection = selection.without(&omitted).with_multiplexers();
        // an installed filter stays; what it lets pass can only be had by stopping at every call
        if !self.coverage.covers_selection() {
            if !self.waiter.is_ours() {
                return Err(failed("widen the selection")(
                    "only the thread that opened the driver can",
                ));
            }
            self.coverage.mode = Mode::Every;
            self.settle();
        }
        Ok(())
    }

    fn stats(&self) -> Stats {
        self.events.stats()
    }
}

impl Drop for PtraceCapture {
    fn drop(&mut self) {
        if self.waiter.is_ours() {
            self.pinner.leave_home();
        }
        if self.life.has_command() {
            self.kill_all();
        } else {
            self.detach_all();
        }
    }
}
