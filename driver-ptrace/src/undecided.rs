//! Calls that a signal has interrupted: whether they end with EINTR or are made again is known later.
//!
//! At its exit stop such a call returns a request to be made again (ERESTARTSYS and its kin,
//! include/linux/errno.h). When a signal is delivered then, the kernel writes the call's result into the frame
//! of the handler: EINTR, or the place of the call itself. So the thread steps into its handler, where the frame
//! is looked at. The event was made at the exit stop and is delivered, or is forgotten: then the call ends
//! another time.

use std::ffi::c_int;

use libc::pid_t;

use crate::capture::{Call, PtraceCapture};
use crate::facts;
use crate::outbox::Sink;
use crate::restart;
use crate::stops::EVENT_STOP;
use crate::tracee::Stopped;

/// include/linux/errno.h; ERESTARTNOINTR (513) never ends with EINTR.
const ERESTARTSYS: i64 = -512;
const ERESTARTNOINTR: i64 = -513;
const ERESTARTNOHAND: i64 = -514;
const ERESTART_RESTARTBLOCK: i64 = -516;
pub(crate) const EINTR: i64 = -libc::EINTR as i64;

/// A call that has returned, nobody knows with what.
#[derive(Debug)]
pub(crate) struct Undecided {
    call: Call,
    /// Its event, should it end with EINTR.
    event: Vec<u8>,
    /// What it returned.
    ret: i64,
    /// The thread steps into a handler.
    stepping: bool,
}

/// Whether a return value leaves open how the call ends.
pub(crate) fn is_open(call: &Call, ret: i64) -> bool {
    match ret {
        ERESTARTSYS | ERESTARTNOINTR | ERESTARTNOHAND | ERESTART_RESTARTBLOCK => true,
        EINTR => restart::may_be_made_again(call.call.name),
        _ => false,
    }
}

impl Undecided {
    pub(crate) fn new(call: Call, event: Vec<u8>, ret: i64) -> Option<Self> {
        (ret != ERESTARTNOINTR).then_some(Self {
            call,
            event,
            ret,
            stepping: false,
        })
    }

    /// Whether a stop by SIGTRAP is the end of our step.
    pub(crate) fn stepping(&self) -> bool {
        self.stepping
    }

    /// The call that restart_syscall(2) goes on with.
    pub(crate) fn resumed(self) -> Option<Call> {
        (self.ret == ERESTART_RESTARTBLOCK).then_some(self.call)
    }
}

impl PtraceCapture {
    /// Looks at a stop of a thread whose call is undecided. Gives the stop back where it is not dealt with.
    pub(crate) fn decide(
        &mut self,
        stopped: Stopped,
        event: c_int,
        signal: c_int,
        sink: Sink,
    ) -> Option<Stopped> {
        let tid = stopped.tid();
        let Some(mut open) = self.take_undecided(tid) else {
            return Some(stopped);
        };
        match (event, signal) {
            (0, libc::SIGTRAP) if open.stepping => {
                if stopped.result_behind_handler() == Some(EINTR) {
                    self.deliver_kept(&open.event, sink);
                }
                self.resume(stopped, 0);
                return None;
            }
            // another call begins, or this one again
            (0, s) if s == libc::SIGTRAP | 0x80 => {
                if open.ret == EINTR {
                    self.deliver_kept(&open.event, sink);
                } else {
                    self.keep_undecided(tid, open);
                }
            }
            (libc::PTRACE_EVENT_SECCOMP, _) => self.keep_undecided(tid, open),
            (0, signal) => {
                if open.ret == EINTR {
                    if !restart::before_signal(&stopped, signal) {
                        self.deliver_kept(&open.event, sink);
                        return Some(stopped);
                    }
                    open.ret = ERESTARTNOHAND;
                }
                if !facts::catches(tid.unsigned_abs(), signal) {
                    // the next signal may have a handler; an end ends this as well
                    self.keep_undecided(tid, open);
                } else {
                    open.stepping = true;
                    self.keep_undecided(tid, open);
                    stopped.step(signal);
                    return None;
                }
            }
            (EVENT_STOP, libc::SIGTRAP) if open.ret == EINTR => {
                if restart::after_interruption(&stopped) {
                    open.ret = ERESTARTNOHAND;
                    self.keep_undecided(tid, open);
                } else {
                    self.deliver_kept(&open.event, sink);
                }
            }
            (EVENT_STOP, _) => self.keep_undecided(tid, open),
            _ => {}
        }
        Some(stopped)
    }

    pub(crate) fn take_undecided(&mut self, tid: pid_t) -> Option<Undecided> {
        self.threads.get_mut(&tid)?.undecided.take()
    }

    fn keep_undecided(&mut self, tid: pid_t, open: Undecided) {
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.undecided = Some(open);
        }
    }

    /// A call that begins behind an undecided one. restart_syscall(2) is the same call, and goes on.
    pub(crate) fn goes_on(&mut self, tid: pid_t, name: &str, sink: Sink) -> Option<Call> {
        let open = self.take_undecided(tid)?;
        if open.ret == EINTR {
            self.deliver_kept(&open.event, sink);
        }
        open.resumed().filter(|_| name == "restart_syscall")
    }
}
