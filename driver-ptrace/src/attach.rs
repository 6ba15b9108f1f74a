//! How tracees come to a capture while they run, and how all of them leave it.

use std::collections::HashSet;
use std::ffi::c_int;
use std::time::{Duration, Instant};

use driver_api::driver::Flow;
use driver_start::{Held, ThreadsError};
use libc::pid_t;

use crate::capture::PtraceCapture;
use crate::facts;
use crate::restart;
use crate::stops::EVENT_STOP;
use crate::tracee::{ATTACHED, Stopped, interrupt, seize};
use crate::undecided::Undecided;

/// How long running threads get to come to a stop. One that does not is asleep in the kernel, and stops
/// before it makes its next call.
const TO_STOP: Duration = Duration::from_millis(100);
/// How long threads get to be detached or to die.
const TO_LEAVE: Duration = Duration::from_secs(2);

/// Why a process cannot be attached to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AttachError {
    /// Its threads cannot be listed.
    #[error(transparent)]
    Threads(#[from] ThreadsError),
    /// It is a zombie.
    #[error("process {pid} has ended: its parent has not waited for it yet")]
    Ended {
        /// Its id.
        pid: u32,
    },
    /// It has another tracer.
    #[error("cannot attach to process {pid}: it is traced by thread {tracer} already")]
    Traced {
        /// Its id.
        pid: u32,
        /// The tracer's thread id.
        tracer: pid_t,
    },
    /// The kernel refused.
    #[error("cannot attach to process {pid} ({why})")]
    Refused {
        /// Its id.
        pid: u32,
        /// The likely reason, and what would change it.
        why: String,
        /// What the kernel said.
        source: std::io::Error,
    },
}

impl PtraceCapture {
    /// Seizes all threads of these processes, until none is new, and has each stop at every call.
    pub(crate) fn seize_all(&mut self, pids: &[u32]) -> Result<(), AttachError> {
        for pid in pids {
            driver_start::follow_threads(&[*pid], |tid| self.seize_one(*pid, tid))?;
            if !self.threads.values().any(|thread| thread.tgid == *pid)
                && facts::tracing_state(*pid).gone
            {
                return Err(AttachError::Ended { pid: *pid });
            }
        }
        self.settle();
        Ok(())
    }

    fn seize_one(&mut self, pid: u32, tid: u32) -> Result<(), AttachError> {
        let thread = tid as pid_t;
        if self.threads.contains_key(&thread) {
            return Ok(());
        }
        let error = match seize(thread, ATTACHED) {
            Ok(()) => {
                self.adopt(thread, pid);
                return Ok(());
            }
            Err(error) => error,
        };
        if error.raw_os_error() == Some(libc::ESRCH) {
            return Ok(());
        }
        let state = facts::tracing_state(tid);
        if state.gone || state.tracer == self.waiter.thread() {
            // over; or born of a thread that was seized just before, whose word of it is on its way
            return Ok(());
        }
        Err(if state.tracer == 0 {
            AttachError::Refused {
                pid,
                why: why_not(facts::owner(pid).uid, own_uid(), ptrace_scope()),
                source: error,
            }
        } else {
            AttachError::Traced {
                pid,
                tracer: state.tracer,
            }
        })
    }

    /// Has every running thread stop once and go on in the mode that now holds. Events that are due
    /// meanwhile wait for the next poll.
    pub(crate) fn settle(&mut self) {
        let mut awaited: HashSet<pid_t> = self
            .threads
            .iter()
            // a thread in a captured call stops at its exit anyway
            .filter(|(_, thread)| thread.call.is_none())
            .map(|(tid, _)| *tid)
            .filter(|tid| interrupt(*tid).is_ok())
            .collect();
        let begin = Instant::now();
        self.out.halted = true;
        while !awaited.is_empty() && begin.elapsed() < TO_STOP {
            match self.waiter.next(TO_STOP.saturating_sub(begin.elapsed())) {
                Ok(Some((tid, status))) => {
                    awaited.remove(&tid);
                    self.handle(tid, status, &mut |_| Flow::Stop);
                }
                Ok(None) => {}
                Err(_) => break,
            }
        }
        self.waiter.rest();
    }

    /// Detaches from every thread, unharmed.
    pub(crate) fn leave(&mut self) {
        if !self.waiter.is_ours() && !self.threads.is_empty() {
            tracing::warn!(
                "dropped by a foreign thread: tracees are free when the tracer's thread ends"
            );
            return;
        }
        let mut left: HashSet<pid_t> = HashSet::new();
        let mut waiting: HashSet<pid_t> = HashSet::new();
        for (tid, early) in self.early.drain() {
            if early.stop.is_some() {
                Stopped::new(tid).detach(0);
                left.insert(tid);
            }
        }
        let stepping: HashSet<pid_t> = self
            .threads
            .iter()
            .filter(|(_, thread)| thread.undecided.as_ref().is_some_and(Undecided::stepping))
            .map(|(tid, _)| *tid)
            .collect();
        waiting.extend(self.threads.drain().map(|(tid, _)| tid));
        waiting.retain(|tid| interrupt(*tid).is_ok());
        self.until_empty(waiting, |waiting, stopped, status| {
            if let Some(child) = newborn(&stopped, status)
                && !left.contains(&child)
                && interrupt(child).is_ok()
            {
                waiting.insert(child);
            }
            let (signal, event) = (libc::WSTOPSIG(status), status >> 16);
            if (event, signal) == (0, libc::SIGTRAP | 0x80) {
                // in a call, which the interruption would end: it is made again in the stop to come, which
                // this one may have come instead of
                let _ = interrupt(stopped.tid());
                stopped.resume(false, 0);
                return;
            }
            match (event, signal) {
                (EVENT_STOP, libc::SIGTRAP) => restart::after_interruption(&stopped),
                (0, signal) => restart::before_signal(&stopped, signal),
                _ => false,
            };
            // a signal that was about to be delivered is; a group-stop goes on by itself
            let ours = signal == libc::SIGTRAP && stepping.contains(&stopped.tid());
            let pass_on = event == 0 && !ours;
            waiting.remove(&stopped.tid());
            left.insert(stopped.tid());
            stopped.detach(if pass_on { signal } else { 0 });
        });
    }

    /// Ends a command and all its descendants. Under their filter a call without a tracer fails with
    /// ENOSYS, so that they cannot go on (seccomp(2), SECCOMP_RET_TRACE).
    pub(crate) fn kill_all(&mut self) {
        if self.command.as_ref().is_some_and(Held::held) {
            // it has not run: dropping it kills it and waits for it, which nobody may do twice
            return;
        }
        let mut waiting: HashSet<pid_t> = self.threads.drain().map(|(tid, _)| tid).collect();
        waiting.extend(
            self.early
                .drain()
                .filter(|(_, early)| early.stop.is_some())
                .map(|(tid, _)| tid),
        );
        waiting.iter().for_each(|tid| kill(*tid));
        if !self.waiter.is_ours() {
            return;
        }
        self.until_empty(waiting, |waiting, stopped, status| {
            if let Some(child) = newborn(&stopped, status) {
                waiting.insert(child);
                kill(child);
            }
            waiting.insert(stopped.tid());
            kill(stopped.tid());
            stopped.resume(false, 0);
        });
    }

    /// Waits until no thread is waited for. A thread that ends is no longer; `at_stop` says who else.
    fn until_empty(
        &self,
        mut waiting: HashSet<pid_t>,
        mut at_stop: impl FnMut(&mut HashSet<pid_t>, Stopped, c_int),
    ) {
        let begin = Instant::now();
        while !waiting.is_empty() && begin.elapsed() < TO_LEAVE {
            match self.waiter.next(TO_LEAVE.saturating_sub(begin.elapsed())) {
                Ok(Some((tid, status))) if libc::WIFSTOPPED(status) => {
                    at_stop(&mut waiting, Stopped::new(tid), status);
                }
                Ok(Some((tid, _))) => {
                    waiting.remove(&tid);
                }
                Ok(None) => {}
                Err(_) => break,
            }
        }
        self.waiter.rest();
    }
}

fn own_uid() -> u32 {
    // SAFETY: getuid(2) always succeeds.
    unsafe { libc::getuid() }
}

/// `kernel.yama.ptrace_scope`; none: no Yama.
fn ptrace_scope() -> Option<u8> {
    let text = std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").ok()?;
    text.trim().parse().ok()
}

/// Why the kernel refuses to have a process traced, as far as can be told, and what would change that.
fn why_not(owner: u32, own: u32, scope: Option<u8>) -> String {
    match scope {
        _ if owner != own && own != 0 => format!(
            "it belongs to user {owner}, and lanner runs as {own}: run lanner as that user, or give it \
             CAP_SYS_PTRACE"
        ),
        Some(1) => "kernel.yama.ptrace_scope is 1, which allows it for descendants alone: start it through \
                    lanner (-- COMMAND), or sysctl kernel.yama.ptrace_scope=0, or give lanner CAP_SYS_PTRACE"
            .to_owned(),
        Some(2) => "kernel.yama.ptrace_scope is 2, which keeps it for CAP_SYS_PTRACE: give lanner that, or \
                    sysctl kernel.yama.ptrace_scope=0"
            .to_owned(),
        Some(3) => "kernel.yama.ptrace_scope is 3, which forbids it until the next boot".to_owned(),
        _ => "it has more privilege than lanner, is in another user namespace, is part of the kernel, or has \
              asked not to be traced: give lanner CAP_SYS_PTRACE"
            .to_owned(),
    }
}

/// The child, where this is the stop that tells of a birth.
fn newborn(stopped: &Stopped, status: c_int) -> Option<pid_t> {
    let births = [
        libc::PTRACE_EVENT_FORK,
        libc::PTRACE_EVENT_VFORK,
        libc::PTRACE_EVENT_CLONE,
    ];
    births
        .contains(&(status >> 16))
        .then(|| stopped.message().ok())?
        .and_then(|tid| pid_t::try_from(tid).ok())
        .filter(|tid| *tid > 0)
}

fn kill(tid: pid_t) {
    // SAFETY: kill(2) takes numbers. The thread is a tracee that nobody has waited for yet, so that its
    // id is still its own.
    unsafe { libc::kill(tid, libc::SIGKILL) };
}

#[cfg(test)]
mod tests {
    use super::why_not;

    #[test]
    fn a_refusal_names_what_would_change_it() {
        assert!(why_not(0, 1000, Some(1)).contains("user 0"));
        for scope in [1, 2, 3] {
            let why = why_not(1000, 1000, Some(scope));
            assert!(why.contains(&format!("ptrace_scope is {scope}")), "{why}");
        }
        for scope in [None, Some(0)] {
            let why = why_not(1000, 1000, scope);
            assert!(
                !why.contains("yama") && why.contains("CAP_SYS_PTRACE"),
                "{why}"
            );
        }
    }
}
