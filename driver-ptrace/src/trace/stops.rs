//! What is done at a stop, by its kind, and how a thread goes on from it.

use driver_api::event::{EventKind, Header};
use libc::pid_t;

use super::capture::PtraceCapture;
use super::restart;
use crate::events::Sink;
use crate::tracee::{Gone, InterruptStop, Resumption, RunUntil, SignalStop, Stop, Wait};

/// How many generations of ancestors [`PtraceCapture::is_near`] looks at.
const GENERATIONS: usize = 16;
/// A child that has not stopped more often than this has hardly begun.
const YOUNG: u32 = 4;

impl PtraceCapture {
    /// Handles what the waiter has reported.
    pub(super) fn handle(&mut self, wait: Wait, sink: Sink) {
        match wait {
            Wait::Stopped(stop) => self.stopped(stop, sink),
            Wait::Ended { tid, status } => self.ended(tid, status, sink),
        }
    }

    pub(super) fn stopped(&mut self, stop: Stop, sink: Sink) {
        let Some(thread) = self.tracees.get_mut(stop.tid()) else {
            self.pending_birth(stop, sink);
            return;
        };
        thread.stops = thread.stops.saturating_add(1);
        let stop = if thread.pending_restart.is_some() {
            match self.settle_restart(stop, sink) {
                Some(stop) => stop,
                None => return,
            }
        } else {
            stop
        };
        // the end of a thread that is gone will be reported
        let _: Result<(), Gone> = self.stopped_as(stop, sink);
    }

    fn stopped_as(&mut self, stop: Stop, sink: Sink) -> Result<(), Gone> {
        match stop {
            Stop::Syscall(stop) => self.at_boundary(stop, sink)?,
            Stop::Seccomp(stop) => self.at_filter(stop, sink)?,
            Stop::Birth(stop) => self.born(stop, sink)?,
            Stop::Exec(stop) => self.executed(stop, sink)?,
            Stop::Signal(stop) => {
                self.make_again_before(&stop);
                self.resume(stop.deliver());
            }
            Stop::Group(stop) => {
                if let Some(thread) = self.tracees.get_mut(stop.tid()) {
                    thread.was_stopped = true;
                }
                stop.listen();
            }
            Stop::Interrupt(stop) => {
                self.make_again_after(&stop);
                self.resume(stop.into());
            }
            Stop::Exit(stop) => self.dies(stop, sink)?,
            Stop::Unexpected(stop) => {
                self.resume(stop.into());
            }
        }
        Ok(())
    }

    /// In a stop that may be by an interruption of lanner's: has the call that it interrupted made again. Not if the
    /// thread comes out of a stop by SIGSTOP or its like, which interrupts calls without a tracer, too.
    pub(super) fn make_again_after(&self, stop: &InterruptStop) -> bool {
        let thread = self.tracees.get(stop.tid());
        !thread.is_some_and(|thread| thread.was_stopped) && restart::after_interruption(stop)
    }

    /// Before a signal is delivered: has the call that it interrupted made again, if it would not have been
    /// interrupted without a tracer.
    pub(super) fn make_again_before(&mut self, stop: &SignalStop) -> bool {
        let is_cont = stop.signal() == libc::SIGCONT;
        let Some(thread) = self.tracees.get_mut(stop.tid()) else {
            return false;
        };
        if !is_cont {
            thread.was_stopped = false;
        }
        !thread.was_stopped && restart::before_signal(stop)
    }

    /// Resumes a thread that is in a call.
    pub(super) fn resume_inside(&mut self, resumption: Resumption) {
        let tid = resumption.tid();
        let until = self.resume(resumption);
        if let Some(thread) = self.tracees.get_mut(tid) {
            thread.inside = until == RunUntil::CallBoundary;
        }
    }

    /// Resumes a thread, to the exit stop of its call if that is needed. Returns how far it runs.
    pub(super) fn resume(&mut self, resumption: Resumption) -> RunUntil {
        let tid = resumption.tid();
        let thread = self.tracees.get(tid);
        let is_pending = thread.is_some_and(|thread| thread.pending_restart.is_some());
        let call = thread.and_then(|thread| thread.call.as_ref());
        let until = if call.is_some() || is_pending || self.stops_every_call(tid) {
            RunUntil::CallBoundary
        } else {
            RunUntil::Event
        };
        let pinning = call.map(|call| call.pinning).unwrap_or_default();
        let resident = self.pinner.resident();
        let near = resident.is_some_and(|resident| self.is_near(tid, resident));
        self.pinner.resume(resumption, until, pinning, near);
        until
    }

    /// Whether a thread stops at every call: because all do, or because it has a filter of its own.
    pub(super) fn stops_every_call(&self, tid: pid_t) -> bool {
        let thread = self.tracees.get(tid);
        self.coverage.stops_every_call() || thread.is_some_and(|thread| thread.has_own_filter)
    }

    /// Whether a thread may be woken on the CPU of another one, the resident. It may if it is the resident itself
    /// or a descendant, for which the resident mostly waits; if the resident is gone, or is its child that has
    /// hardly begun.
    fn is_near(&self, tid: pid_t, resident: pid_t) -> bool {
        if tid == resident {
            return true;
        }
        let Some(other) = self.tracees.get(resident) else {
            return true;
        };
        let mut parent = tid;
        for _ in 0..GENERATIONS {
            parent = match self.tracees.get(parent) {
                Some(thread) => thread.parent,
                None => break,
            };
            if parent == resident {
                return true;
            }
        }
        other.parent == tid && other.stops <= YOUNG
    }

    /// A thread has ended. waitpid(2) reports each thread, except for a first thread whose id another one took by
    /// exec. It costs no stop, unlike PTRACE_EVENT_EXIT.
    pub(super) fn ended(&mut self, tid: pid_t, status: i32, sink: Sink) {
        if !self.tracees.contains(tid) {
            self.tracees.keep_end(tid, status);
            return;
        }
        self.adopt_orphans_of(tid, sink);
        self.life.note_end(tid.unsigned_abs(), status);
        let header = Header {
            ret: i64::from(status),
            ..self.header(EventKind::Exit, tid)
        };
        let parent = self.tracees.remove(tid).map(|thread| thread.parent);
        let parent_is_traced = parent.is_some_and(|parent| self.tracees.contains(parent));
        self.pinner.ended(tid, parent_is_traced);
        if libc::WIFSIGNALED(status) {
            self.tracees.note_killed(header);
        }
        self.events.builder.begin(&header);
        self.deliver(sink);
    }
}
