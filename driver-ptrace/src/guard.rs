//! Keeps the watched programs, which run as lanner's own user, away from lanner itself.

/// Makes lanner a process whose memory and descriptors no other process of its user may touch: ptrace(2),
/// /proc/PID/mem and pidfd_getfd(2) need CAP_SYS_PTRACE then. What it forks afterwards is the same, until an exec.
pub(crate) fn keep_others_out() {
    // SAFETY: this operation takes numbers.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) };
}

/// Lets lanner reach a child that it has just forked. For use between fork and exec: it does not allocate.
pub(crate) fn let_in() {
    // SAFETY: this operation takes numbers.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0) };
}
