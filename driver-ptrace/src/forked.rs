//! What a process does first that lanner forks and that executes no program. Nothing here allocates: after a fork, only
//! one of lanner's threads is left.

use std::ffi::CStr;
use std::os::fd::RawFd;
use std::ptr::null_mut;

use libc::c_uint;

use crate::guard;

/// How many descriptors are closed one by one if close_range(2) is missing.
const FEW: RawFd = 1024;

/// Makes the calling process independent of lanner: it has a name, takes no signals, and has no descriptors but these.
/// Negative ones are ignored.
pub(crate) fn settle<const N: usize>(name: &CStr, mut kept: [RawFd; N]) {
    kept.sort_unstable();
    guard::keep_others_out();
    // SAFETY: these calls take numbers, and memory of this function that outlives them.
    unsafe {
        // signals that a terminal or a supervisor sends to lanner's process group are not for this process
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::sigprocmask(libc::SIG_BLOCK, &raw const all, null_mut());
        libc::prctl(libc::PR_SET_NAME, name.as_ptr());
    }
    // a reader of a pipe that lanner writes to must see its end
    close_but(&kept);
}

/// Closes all descriptors but these, which are in ascending order; negative ones are ignored.
fn close_but(kept: &[RawFd]) {
    let mut from = 0;
    for end in kept
        .iter()
        .copied()
        .filter(|fd| *fd >= 0)
        .map(Some)
        .chain([None])
    {
        let to = end.map_or(c_uint::MAX, |fd| fd.cast_unsigned().wrapping_sub(1));
        let first: RawFd = from;
        if end != Some(first) {
            // SAFETY: the calls take numbers; this process uses none of these descriptors any more.
            unsafe {
                if libc::syscall(libc::SYS_close_range, first, to, 0) != 0 {
                    let last = end.unwrap_or(FEW.max(first));
                    (first..last).for_each(|fd| {
                        libc::close(fd);
                    });
                }
            }
        }
        from = end.map_or(first, |fd| fd + 1);
    }
}
