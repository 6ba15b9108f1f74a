//! What neither eBPF driver can give.

use driver_api::host::Host;
use driver_api::support::Gap;

/// Gaps of both eBPF drivers on every kernel, and those that this host adds.
pub fn common(_: &Host) -> Vec<Gap> {
    vec![
        Gap::new(
            "process ids inside a PID namespace",
            "programs in the kernel see the ids of the initial PID namespace",
            "run lanner in the host's PID namespace",
        ),
        Gap::new(
            "arguments of an exec that were never read before the call",
            "memory that is not resident at the entry of execve cannot be captured there; \
             the facts argv and env of a successful exec have it",
            "",
        ),
    ]
}
