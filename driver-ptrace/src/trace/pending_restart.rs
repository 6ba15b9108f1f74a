//! Calls that a signal has interrupted: whether they end with EINTR or are made again shows later.
//!
//! At its exit stop such a call returns a request to be made again (ERESTARTSYS and its kin,
//! include/linux/errno.h). When a signal is delivered then, the kernel writes the result of the call into the
//! frame of the handler: EINTR, or, if the call is made again, the place of the call itself. So the thread is
//! single-stepped into its handler, where lanner looks at the frame. The event was made at the exit stop. It is
//! delivered if the call has ended with EINTR; else it is dropped, and the call ends another time.

use libc::pid_t;

use super::capture::PtraceCapture;
use super::restart;
use super::tracees::Call;
use crate::events::Sink;
use crate::threads;
use crate::tracee::Stop;

/// include/linux/errno.h. ERESTARTNOINTR never ends with EINTR.
const ERESTARTSYS: i64 = -512;
const ERESTARTNOINTR: i64 = -513;
const ERESTARTNOHAND: i64 = -514;
const ERESTART_RESTARTBLOCK: i64 = -516;
pub(super) const EINTR: i64 = -(libc::EINTR as i64);

/// A call that has returned a request to be made again.
#[derive(Debug)]
pub(crate) struct PendingRestart {
    call: Call,
    /// Its event, in case it ends with EINTR.
    event: Vec<u8>,
    /// What it returned.
    ret: i64,
    /// The thread is being stepped into a handler.
    stepping: bool,
}

/// Whether a return value leaves open how the call ends.
pub(super) fn is_pending(call: &Call, ret: i64) -> bool {
    match ret {
        ERESTARTSYS | ERESTARTNOINTR | ERESTARTNOHAND | ERESTART_RESTARTBLOCK => true,
        EINTR => restart::may_be_made_again(call.call.name),
        _ => false,
    }
}

impl PendingRestart {
    /// None: the call is sure to be made again.
    pub(super) fn new(call: Call, event: Vec<u8>, ret: i64) -> Option<Self> {
        (ret != ERESTARTNOINTR).then_some(Self {
            call,
            event,
            ret,
            stepping: false,
        })
    }

    /// Hands over the event of a call that is not made again.
    pub(super) fn deliver(self, capture: &mut PtraceCapture, sink: Sink) {
        capture.deliver_kept(&self.event, sink);
    }

    /// Whether a stop by SIGTRAP is the end of a step into a handler.
    pub(super) fn is_stepping(&self) -> bool {
        self.stepping
    }
}

impl PtraceCapture {
    /// Looks at a stop of a thread with a pending restart. Returns the stop if there is more to do with it.
    pub(super) fn settle_restart(&mut self, stop: Stop, sink: Sink) -> Option<Stop> {
        let tid = stop.tid();
        let Some(mut pending) = self.take_pending_restart(tid) else {
            return Some(stop);
        };
        match stop {
            Stop::Signal(stop) if stop.signal() == libc::SIGTRAP && pending.stepping => {
                if stop.result_behind_handler() == Some(EINTR) {
                    self.deliver_kept(&pending.event, sink);
                }
                self.resume(stop.suppress());
                None
            }
            Stop::Signal(stop) => {
                if pending.ret == EINTR {
                    if !self.make_again_before(&stop) {
                        self.deliver_kept(&pending.event, sink);
                        return Some(Stop::Signal(stop));
                    }
                    pending.ret = ERESTARTNOHAND;
                }
                if !threads::catches(tid.unsigned_abs(), stop.signal()) {
                    // the next signal may have a handler; if this one ends the process, the call has no end
                    self.keep_pending_restart(tid, pending);
                    return Some(Stop::Signal(stop));
                }
                pending.stepping = true;
                self.keep_pending_restart(tid, pending);
                stop.step_into_handler();
                None
            }
            // another call begins, or this one again
            Stop::Syscall(stop) => {
                if pending.ret == EINTR {
                    self.deliver_kept(&pending.event, sink);
                } else {
                    self.keep_pending_restart(tid, pending);
                }
                Some(Stop::Syscall(stop))
            }
            Stop::Interrupt(stop) => {
                if pending.ret != EINTR {
                    self.keep_pending_restart(tid, pending);
                } else if self.make_again_after(&stop) {
                    pending.ret = ERESTARTNOHAND;
                    self.keep_pending_restart(tid, pending);
                } else {
                    self.deliver_kept(&pending.event, sink);
                }
                Some(Stop::Interrupt(stop))
            }
            stop @ (Stop::Seccomp(_) | Stop::Group(_)) => {
                self.keep_pending_restart(tid, pending);
                Some(stop)
            }
            // it has ended like this, as far as anybody can know
            stop @ Stop::Exit(_) => {
                self.deliver_kept(&pending.event, sink);
                Some(stop)
            }
            // the thread has gone on to another call
            stop @ (Stop::Birth(_) | Stop::Exec(_) | Stop::Unexpected(_)) => Some(stop),
        }
    }

    pub(super) fn take_pending_restart(&mut self, tid: pid_t) -> Option<PendingRestart> {
        self.tracees.get_mut(tid)?.pending_restart.take()
    }

    fn keep_pending_restart(&mut self, tid: pid_t, pending: PendingRestart) {
        if let Some(thread) = self.tracees.get_mut(tid) {
            thread.pending_restart = Some(pending);
        }
    }

    /// A call begins while one is pending. If it is restart_syscall(2), the pending call goes on, and is returned.
    pub(super) fn continued_call(&mut self, tid: pid_t, name: &str, sink: Sink) -> Option<Call> {
        let pending = self.take_pending_restart(tid)?;
        if pending.ret == EINTR {
            self.deliver_kept(&pending.event, sink);
        }
        (pending.ret == ERESTART_RESTARTBLOCK && name == "restart_syscall").then_some(pending.call)
    }
}
