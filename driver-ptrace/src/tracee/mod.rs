//! Traced threads as types: what ptrace(2) allows depends on the state of a thread, and the types follow it.
//!
//! A running tracee is only its id: it can be [`interrupt`]ed, nothing else. [`wait`] is the one place that makes
//! a stop: it decodes the wait status once, into a [`Stop`] with one guard type for each kind. A guard offers the
//! requests that its kind of stop allows, and resuming consumes it. A thread can be killed in any stop; a request
//! then fails with ESRCH, and the answer is the value [`Gone`].
//!
//! [`stop`] has the guards, [`position`] finds out where in a call a thread is, [`registers`] reads and writes
//! what the architectures have in different places.

mod position;
#[cfg_attr(target_arch = "x86_64", path = "registers_x86_64.rs")]
#[cfg_attr(target_arch = "aarch64", path = "registers_aarch64.rs")]
mod registers;
mod stop;

use std::ffi::c_int;
use std::io;

use libc::{c_long, c_void, pid_t};

pub(crate) use position::{Boundary, EnteredCall};
pub(crate) use registers::InterruptedCall;
pub(crate) use stop::{
    BirthKind, BirthStop, ExecStop, ExitStop, InterruptStop, Resumption, ReturnPath, RunUntil,
    SeccompStop, SignalStop, Stop, SyscallStop, Wait,
};

/// The options of a thread in an attached process (ptrace(2)). Without TRACESECCOMP: a filter of the program's own
/// that answers SECCOMP_RET_TRACE makes the call fail with ENOSYS, as it does without a tracer.
pub(crate) const ATTACHED: c_long = (libc::PTRACE_O_TRACESYSGOOD
    | libc::PTRACE_O_TRACEFORK
    | libc::PTRACE_O_TRACEVFORK
    | libc::PTRACE_O_TRACECLONE
    | libc::PTRACE_O_TRACEEXEC
    | libc::PTRACE_O_TRACEEXIT) as c_long;

/// The options of a command: in addition, the stops of its filter, and its end with lanner's. Under the filter it
/// cannot run without a tracer.
const STARTED: c_long =
    ATTACHED | (libc::PTRACE_O_TRACESECCOMP | libc::PTRACE_O_EXITKILL) as c_long;

/// The options of a command that has not run yet: it does not stop when it is killed, so that any thread can end it.
pub(crate) const HELD: c_long = STARTED & !(libc::PTRACE_O_TRACEEXIT as c_long);

/// The thread has vanished: SIGKILL takes it from any stop. [`wait`] reports its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gone;

/// The calling thread has no child and no tracee to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoTracees;

/// Attaches to a thread without stopping it.
pub(crate) fn seize(tid: pid_t, options: c_long) -> io::Result<()> {
    request(libc::PTRACE_SEIZE, tid, 0, options as usize)
}

/// Asks a running tracee to stop. Of a tracee in a stop, the interruption comes when it is resumed.
pub(crate) fn interrupt(tid: pid_t) -> Result<(), Gone> {
    request(libc::PTRACE_INTERRUPT, tid, 0, 0).map_err(|_| Gone)
}

/// Waits for the next stop or end of a tracee or child of the calling thread (waitpid(2)). Children of other
/// threads are left alone.
///
/// With `block`, returns `None` only if a signal handler has interrupted the wait; without it, also if no tracee
/// has stopped.
pub(crate) fn wait(block: bool) -> Result<Option<Wait>, NoTracees> {
    wait_as(-1, if block { 0 } else { libc::WNOHANG })
}

/// Takes a stop or the end of one tracee, if it has one to report.
pub(crate) fn wait_for(tid: pid_t) -> Result<Option<Wait>, NoTracees> {
    wait_as(tid, libc::WNOHANG)
}

fn wait_as(tid: pid_t, flags: c_int) -> Result<Option<Wait>, NoTracees> {
    let mut status: c_int = 0;
    // SAFETY: the kernel writes one int.
    let tid = unsafe {
        libc::waitpid(
            tid,
            &raw mut status,
            flags | libc::__WALL | libc::__WNOTHREAD,
        )
    };
    match tid {
        0 => Ok(None),
        -1 if io::Error::last_os_error().raw_os_error() == Some(libc::ECHILD) => Err(NoTracees),
        -1 => Ok(None),
        tid => Ok(Some(Wait::decode(tid, status))),
    }
}

/// The type of the numbers of requests, in which the C libraries differ.
#[cfg(target_env = "musl")]
pub(crate) type Request = libc::c_int;
#[cfg(not(target_env = "musl"))]
pub(crate) type Request = libc::c_uint;

/// A ptrace request whose arguments are numbers.
fn request(what: Request, tid: pid_t, addr: usize, data: usize) -> io::Result<()> {
    // SAFETY: the callers make only requests to which the kernel passes no memory of ours: `addr` and `data` are
    // numbers, or offsets in the tracee. The kernel checks that `tid` is a tracee.
    let result = unsafe { libc::ptrace(what, tid, addr as *mut c_void, data as *mut c_void) };
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
