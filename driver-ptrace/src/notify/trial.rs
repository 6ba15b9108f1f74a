//! Tries out, in a child, whether a call can be answered by notification, and whether ptrace may be used: no
//! file says what a container's profile forbids.

use std::io;
use std::time::Duration;

use driver_api::host::Trial;
use libc::{c_int, pid_t};

use super::launch::{self, Way};
use crate::tracee;

/// A trial that takes longer has hung: its child ends.
const SECONDS: u32 = 5;
/// Status of a child that was not refused anything, but did not get what it should.
const FAILED: i32 = 255;

/// Whether a child of ours can be traced.
pub(crate) fn ptrace() -> Trial {
    in_child(|| {
        // SAFETY: numbers; the grandchild only waits to be killed.
        unsafe {
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
            status_of(seized)
        }
    })
}

/// Whether a child's call can be answered.
pub(crate) fn notify(privileged: bool) -> Trial {
    // made here, as a child must not allocate
    let Some(call) = driver_api::table::by_name("getppid") else {
        return Trial::Refused(libc::ENOSYS);
    };
    let filter = super::program(&[call].into_iter().collect());
    in_child(|| {
        let Ok(way) = Way::new() else { return FAILED };
        // SAFETY: numbers; the grandchild makes one call and ends.
        unsafe {
            let child = libc::fork();
            if child == 0 {
                libc::alarm(SECONDS);
                let refused = launch::install(&filter, privileged, way.their_end()).err();
                if let Some(errno) = refused {
                    libc::_exit(errno);
                }
                let answered = libc::syscall(libc::SYS_getppid) > 0;
                libc::_exit(if answered { 0 } else { FAILED });
            }
            if child < 0 {
                return FAILED;
            }
            let answered = way.take().and_then(|listener| {
                listener.wait(None, Duration::from_secs(1));
                let call = listener.receive().ok_or_else(io::Error::last_os_error)?;
                listener.answer(call.id)
            });
            if answered.is_err() {
                // without a listener its call fails, and with one it may wait: it has told what it can
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
                // refused in the grandchild
                _ if ended && libc::WIFEXITED(status) && libc::WEXITSTATUS(status) != 0 => {
                    libc::WEXITSTATUS(status)
                }
                Ok(()) => FAILED,
                Err(error) => error.raw_os_error().unwrap_or(FAILED),
            }
        }
    })
}

fn status_of(result: io::Result<()>) -> i32 {
    match result {
        Ok(()) => 0,
        Err(error) => error.raw_os_error().unwrap_or(FAILED),
    }
}

/// Waits a little for a child. False: it is still there.
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

/// What a child came to: a profile can kill whoever tries, which must not be us.
fn in_child(attempt: impl FnOnce() -> i32) -> Trial {
    // SAFETY: the child calls async-signal-safe functions, and none that allocates.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            libc::alarm(SECONDS);
            libc::_exit(attempt());
        }
        if child < 0 {
            return Trial::Untried;
        }
        let mut status: c_int = 0;
        while libc::waitpid(child, &raw mut status, libc::__WALL) < 0 {
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
}
