//! What both eBPF drivers demand, and what neither can give.

use driver_api::host::Host;
use driver_api::support::Gap;

/// What this host lacks without which neither driver can run.
pub fn missing(host: &Host) -> Vec<Gap> {
    let mut missing = Vec::new();
    if !host.may_trace_with_bpf() {
        missing.push(Gap::new(
            "loading BPF programs",
            "neither CAP_SYS_ADMIN nor CAP_BPF with CAP_PERFMON is effective",
            "run as root, or give lanner CAP_BPF and CAP_PERFMON (before Linux 5.8: CAP_SYS_ADMIN)",
        ));
    }
    if host.lockdown.as_deref() == Some("confidentiality") {
        missing.push(Gap::new(
            "reading kernel memory",
            "the kernel is locked down for confidentiality",
            "boot with lockdown=integrity or none",
        ));
    }
    missing
}

/// Gaps of both drivers on every kernel.
pub fn always() -> Vec<Gap> {
    vec![
        Gap::interrupted_calls(),
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
        Gap::new(
            "all strings of a very long argument vector",
            "programs in the kernel look at a bounded number of them, and mark the rest as truncated; \
             the facts argv and env of a successful exec are bounded by bytes alone",
            "",
        ),
    ]
}
