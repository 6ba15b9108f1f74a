//! Tries in a child whether a call can be answered by notification, and whether ptrace may be used: no file says what
//! a container's profile forbids, and a profile can kill the process that tries.

use std::io;
use std::time::Duration;

use driver_api::host::Trial;
use libc::{c_int, pid_t};

use super::launch::{self, ListenerChannel};
use crate::{guard, tracee};

/// A trial that takes longer hangs: its child ends.
const SECONDS: u32 = 5;
/// The status of a child that was not refused anything, but did not get what it should.
const FAILED: i32 = 255;

/// Whether a child of ours can be traced.
pub(crate) fn ptrace() -> Trial {
    // SAFETY: the closure calls only async-signal-safe functions, and does not allocate.
    unsafe {
        in_child(|| {
            let child = libc::fork();
            if child == 0 {
                libc::alarm(SECONDS);
                libc::pause();
                libc::_exit(0);
            }
            if child < 0 {
                return FAILED;
            }
            let seized = tracee::seize(child, tracee::STARTED);
            libc::kill(child, libc::SIGKILL);
            libc::waitpid(child, std::ptr::null_mut(), libc::__WALL);
            status_of(&seized)
        })
    }
}

/// Whether a call of a child of ours can be answered.
pub(crate) fn notify(privileged: bool) -> Trial {
    // made here, because a child must not allocate
    let Some(call) = driver_api::table::by_name("getppid") else {
        return Trial::Refused(libc::ENOSYS);
    };
    let filter = super::program(&[call].into_iter().collect());
    // SAFETY: the closure calls only async-signal-safe functions, and does not allocate.
    unsafe {
        in_child(|| {
            let Ok(channel) = ListenerChannel::new() else {
                return FAILED;
            };
            let child = libc::fork();
            if child == 0 {
                libc::alarm(SECONDS);
                let refused = launch::install(&filter, privileged, channel.their_end()).err();
                if let Some(errno) = refused {
                    libc::_exit(errno);
                }
                let answered = libc::syscall(libc::SYS_getppid) > 0;
                libc::_exit(if answered { 0 } else { FAILED });
            }
            if child < 0 {
                return FAILED;
            }
            let answered = channel.take_listener().and_then(|listener| {
                listener.wait(None, Duration::from_secs(1));
                let call = listener.receive().ok_or_else(io::Error::last_os_error)?;
                listener.answer(call.id)
            });
            if answered.is_err() {
                // The child's call fails if there is no listener, and may wait if there is one: its alarm ends this.
                libc::alarm(1);
            }
            let mut status: c_int = 0;
            let ended = wait(child, &mut status);
            if !ended {
                libc::kill(child, libc::SIGKILL);
                libc::waitpid(child, std::ptr::null_mut(), libc::__WALL);
            }
            match answered {
                Ok(()) if ended && status == 0 => 0,
                // the child was refused its filter
                _ if ended && libc::WIFEXITED(status) && libc::WEXITSTATUS(status) != 0 => {
                    libc::WEXITSTATUS(status)
                }
                answered => match status_of(&answered) {
                    0 => FAILED,
                    errno => errno,
                },
            }
        })
    }
}

/// The status that says how a call has ended: 0, or its errno.
fn status_of(result: &io::Result<()>) -> i32 {
    match result {
        Ok(()) => 0,
        Err(error) => error.raw_os_error().unwrap_or(FAILED),
    }
}

/// Waits a tenth of a second for a child. False: it has not ended.
fn wait(child: pid_t, status: &mut c_int) -> bool {
    for _ in 0..100 {
        // SAFETY: the kernel writes one int.
        if unsafe { libc::waitpid(child, &raw mut *status, libc::WNOHANG | libc::__WALL) } == child
        {
            return true;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    false
}

/// Runs `attempt` in a child. Its result is the child's exit status: 0, an errno, or [`FAILED`].
///
/// # Safety
///
/// `attempt` runs in a fork of a process that may have other threads: it must call only async-signal-safe functions
/// (signal-safety(7)), and must not allocate, take a lock or panic.
unsafe fn in_child(attempt: impl FnOnce() -> i32) -> Trial {
    // SAFETY: by this function's contract; fork(2), alarm(2) and _exit(2) take numbers.
    let child = unsafe {
        let child = libc::fork();
        if child == 0 {
            libc::alarm(SECONDS);
            guard::let_in();
            libc::_exit(attempt());
        }
        child
    };
    if child < 0 {
        return Trial::Untried;
    }
    let mut status: c_int = 0;
    // SAFETY: the kernel writes one int.
    while unsafe { libc::waitpid(child, &raw mut status, libc::__WALL) } < 0 {
        if io::Error::last_os_error().raw_os_error() != Some(libc::EINTR) {
            return Trial::Untried;
        }
    }
    match status {
        0 => Trial::Works,
        status if libc::WIFEXITED(status) && libc::WEXITSTATUS(status) != FAILED => {
            Trial::Refused(libc::WEXITSTATUS(status))
        }
        _ => Trial::Refused(libc::EPERM),
    }
}
