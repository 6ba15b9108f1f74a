//! Attaching to processes that run.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use driver_api::driver::Flow;
use driver_start::ThreadsError;
use libc::pid_t;

use super::capture::PtraceCapture;
use crate::tracee::{ATTACHED, interrupt, seize};
use crate::{memory, proc_dir, threads};

/// How long running threads may take to come to a stop. One that takes longer is asleep in the kernel, and stops
/// before it makes its next call.
const TO_STOP: Duration = Duration::from_millis(100);

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
        tracer: u32,
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
    /// Seizes all threads of these processes, until no new one is found, and has each stop at every call.
    ///
    /// # Errors
    ///
    /// A process does not exist, has ended, has another tracer, or the kernel does not allow lanner to trace it.
    pub(super) fn seize_all(&mut self, pids: &[u32]) -> Result<(), AttachError> {
        for pid in pids {
            driver_start::follow_threads(&[*pid], |tid| self.seize_one(*pid, tid))?;
            if proc_dir::has_descriptor(*pid, b"anon_inode:[userfaultfd]") {
                memory::expect_withheld_pages();
            }
            if !self.tracees.iter().any(|(_, thread)| thread.tgid == *pid)
                && threads::tracing_state(*pid).gone
            {
                return Err(AttachError::Ended { pid: *pid });
            }
        }
        self.settle();
        Ok(())
    }

    fn seize_one(&mut self, pid: u32, tid: u32) -> Result<(), AttachError> {
        let thread = tid as pid_t;
        if self.tracees.contains(thread) {
            return Ok(());
        }
        let error = match seize(thread, ATTACHED) {
            Ok(()) => {
                self.tracees.adopt(thread, pid);
                return Ok(());
            }
            Err(error) => error,
        };
        if error.raw_os_error() == Some(libc::ESRCH) {
            return Ok(());
        }
        let state = threads::tracing_state(tid);
        let own = self.waiter.thread().unsigned_abs();
        if state.gone || state.tracer == Some(own) {
            // It has ended; or a thread that was seized just before has made it, and is about to report the birth.
            return Ok(());
        }
        Err(match state.tracer {
            Some(tracer) => AttachError::Traced { pid, tracer },
            None => AttachError::Refused {
                pid,
                why: why_refused(threads::owner(pid).uid, own_uid(), ptrace_scope()),
                source: error,
            },
        })
    }

    /// Has every running thread stop once and go on in the mode that now holds. Events that are made meanwhile
    /// wait for the next poll.
    pub(super) fn settle(&mut self) {
        let mut awaited: HashSet<pid_t> = self
            .tracees
            .iter()
            // a thread in a captured call stops at its exit anyway
            .filter(|(_, thread)| thread.call.is_none())
            .map(|(tid, _)| tid)
            .filter(|tid| interrupt(*tid).is_ok())
            .collect();
        let begin = Instant::now();
        self.events.halt();
        while !awaited.is_empty() && begin.elapsed() < TO_STOP {
            match self.waiter.next(TO_STOP.saturating_sub(begin.elapsed())) {
                Ok(Some(wait)) => {
                    awaited.remove(&wait.tid());
                    self.handle(wait, &mut |_| Flow::Stop);
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

/// `kernel.yama.ptrace_scope`. None: the kernel has no Yama.
fn ptrace_scope() -> Option<u8> {
    let text = std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").ok()?;
    text.trim().parse().ok()
}

/// The likely reason why the kernel does not let lanner trace a process, and what would change that.
fn why_refused(owner: u32, own: u32, scope: Option<u8>) -> String {
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

#[cfg(test)]
mod tests {
    use super::why_refused;

    #[test]
    fn a_refusal_names_what_would_change_it() {
        assert!(why_refused(0, 1000, Some(1)).contains("user 0"));
        for scope in [1, 2, 3] {
            let why = why_refused(1000, 1000, Some(scope));
            assert!(why.contains(&format!("ptrace_scope is {scope}")), "{why}");
        }
        for scope in [None, Some(0)] {
            let why = why_refused(1000, 1000, scope);
            assert!(
                !why.contains("yama") && why.contains("CAP_SYS_PTRACE"),
                "{why}"
            );
        }
    }
}
