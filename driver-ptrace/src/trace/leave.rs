//! The end of a capture: attached processes are left unharmed, a command is killed.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use libc::pid_t;

use super::capture::PtraceCapture;
use super::pending_restart::PendingRestart;
use super::restart;
use super::tracees::Early;
use crate::tracee::{Resumption, RunUntil, Stop, Wait, interrupt};

/// How long threads may take to be detached or to die.
const TO_LEAVE: Duration = Duration::from_secs(2);

impl PtraceCapture {
    /// Detaches from every thread.
    pub(super) fn detach_all(&mut self) {
        if !self.waiter.is_ours() && !self.tracees.is_empty() {
            tracing::warn!(
                "the capture was dropped by another thread than the one that opened it: its processes are free when \
                 that thread ends"
            );
            return;
        }
        let mut detached: HashSet<pid_t> = HashSet::new();
        for (tid, early) in self.tracees.drain_pending() {
            if let Early::Stopped(stop) = early {
                stop.detach_without_signal();
                detached.insert(tid);
            }
        }
        let stepping: HashSet<pid_t> = self
            .tracees
            .iter()
            .filter(|(_, thread)| {
                let pending = thread.pending_restart.as_ref();
                pending.is_some_and(PendingRestart::is_stepping)
            })
            .map(|(tid, _)| tid)
            .collect();
        let waiting = self.tracees.drain().filter(|tid| interrupt(*tid).is_ok());
        let waiting = waiting.collect();
        self.until_empty(waiting, |waiting, stop| {
            if let Some(child) = newborn(&stop)
                && !detached.contains(&child)
                && interrupt(child).is_ok()
            {
                waiting.insert(child);
            }
            let tid = stop.tid();
            match stop {
                Stop::Syscall(stop) => {
                    // It is in a call, which the interruption would end. The call is made again in the stop that
                    // comes next. This stop may have come instead of that one, so that it is asked for again.
                    let _ = interrupt(tid);
                    Resumption::from(stop).go(RunUntil::Event);
                    return;
                }
                Stop::Interrupt(stop) => {
                    restart::after_interruption(&stop);
                    Resumption::from(stop).detach();
                }
                Stop::Signal(stop) => {
                    restart::before_signal(&stop);
                    // the end of a step into a handler is no signal of the program's
                    let ours = stop.signal() == libc::SIGTRAP && stepping.contains(&tid);
                    if ours {
                        stop.suppress()
                    } else {
                        stop.deliver()
                    }
                    .detach();
                }
                // a group-stop goes on without a tracer
                stop @ (Stop::Seccomp(_)
                | Stop::Birth(_)
                | Stop::Exec(_)
                | Stop::Exit(_)
                | Stop::Group(_)
                | Stop::Unexpected(_)) => stop.detach_without_signal(),
            }
            waiting.remove(&tid);
            detached.insert(tid);
        });
    }

    /// Ends a command and all its descendants. Under their filter, a call without a tracer fails with ENOSYS, so
    /// that they cannot go on (seccomp(2), SECCOMP_RET_TRACE).
    pub(super) fn kill_all(&mut self) {
        if self.life.holds_command() {
            // it has not run: dropping it kills it and waits for it, which must be done once
            return;
        }
        let mut waiting: HashSet<pid_t> = self.tracees.drain().collect();
        let pending = self.tracees.drain_pending();
        let stopped = pending.filter_map(|(tid, early)| match early {
            Early::Stopped(_) => Some(tid),
            Early::Ended { .. } => None,
        });
        waiting.extend(stopped);
        waiting.iter().for_each(|tid| kill(*tid));
        if !self.waiter.is_ours() {
            return;
        }
        self.until_empty(waiting, |waiting, stop| {
            if let Some(child) = newborn(&stop) {
                waiting.insert(child);
                kill(child);
            }
            waiting.insert(stop.tid());
            kill(stop.tid());
            stop.go_on_to_die();
        });
    }

    /// Waits until the set of threads is empty. A thread that ends is removed; `at_stop` decides about the others.
    fn until_empty(
        &self,
        mut waiting: HashSet<pid_t>,
        mut at_stop: impl FnMut(&mut HashSet<pid_t>, Stop),
    ) {
        let begin = Instant::now();
        while !waiting.is_empty() && begin.elapsed() < TO_LEAVE {
            match self.waiter.next(TO_LEAVE.saturating_sub(begin.elapsed())) {
                Ok(Some(Wait::Stopped(stop))) => at_stop(&mut waiting, stop),
                Ok(Some(Wait::Ended { tid, .. })) => {
                    waiting.remove(&tid);
                }
                Ok(None) => {}
                Err(_) => break,
            }
        }
        self.waiter.rest();
    }
}

/// The child, if the stop reports a birth.
fn newborn(stop: &Stop) -> Option<pid_t> {
    let Stop::Birth(stop) = stop else { return None };
    let child = stop.child().ok()?;
    pid_t::try_from(child).ok().filter(|tid| *tid > 0)
}

fn kill(tid: pid_t) {
    // SAFETY: kill(2) takes numbers. The thread is a tracee that was not waited for yet, so that no other thread
    // has its id.
    unsafe { libc::kill(tid, libc::SIGKILL) };
}
