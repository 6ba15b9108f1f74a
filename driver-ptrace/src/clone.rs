//! The flags of calls that make threads and processes (clone(2)).

use libc::pid_t;

use crate::memory::Memory;

/// The child is a thread of the caller's process.
pub(crate) const THREAD: u64 = libc::CLONE_THREAD as u64;
/// The flags with which C libraries make a thread, as far as they say what the threads share.
pub(crate) const PTHREAD: u64 =
    THREAD | (libc::CLONE_VM | libc::CLONE_FS | libc::CLONE_FILES | libc::CLONE_SIGHAND) as u64;
/// The signal in the low byte of the flags, which events do not have.
const CSIGNAL: u64 = 0xff;

/// The flags of a clone or clone3 whose first argument is given. None: it is another call, or its memory cannot be
/// read.
pub(crate) fn flags(tid: pid_t, name: &str, first_arg: u64) -> Option<u64> {
    match name {
        "clone" => Some(first_arg),
        // the first member of struct clone_args
        "clone3" => Memory::new(tid, false)
            .exactly(first_arg)
            .map(u64::from_ne_bytes),
        _ => None,
    }
}

/// The flags as an event has them.
pub(crate) fn without_signal(flags: u64) -> u64 {
    flags & !CSIGNAL
}
