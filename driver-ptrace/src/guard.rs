//! Keeps the watched programs, which run as lanner's own user, away from lanner itself.

use driver_api::fix::Fix;
use driver_api::host::{Host, capability};
use driver_api::support::Gap;

/// What remains between lanner and the programs that it watches.
pub(crate) fn gaps(host: &Host) -> Vec<Gap> {
    let mut gaps = vec![Gap::new(
        "lanner's own process",
        "it runs as the user of the programs that it watches: they cannot read or change its memory, but they can \
         stop it, which stops them as well, or kill it, which ends them; a program with CAP_SYS_PTRACE can do more",
        "let no program that is watched have CAP_SYS_PTRACE; the default rules report such attempts",
    )];
    if !host.has(capability::SYS_PTRACE) {
        let gap = Gap::new(
            "programs that may not be read",
            "the kernel closes the memory and the descriptors of a program whose file is not readable (mode 0711), \
             and of one that has changed its user: their events lack memory and facts, and are counted as lost \
             (fault). prctl(PR_SET_DUMPABLE, 0) is answered without an effect",
            "give lanner CAP_SYS_PTRACE, or use an eBPF driver",
        );
        gaps.push(gap.fixed_by(Fix::Capabilities(vec![capability::SYS_PTRACE])));
    }
    gaps
}

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
