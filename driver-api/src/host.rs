//! What is known about the host, as plain data, so that probing can be tested without a kernel.

use std::path::PathBuf;

/// Facts about the host and about ourselves. Gathered by the `drivers` crate; tests make them up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Host {
    /// `uname -r`.
    pub release: String,
    /// The kernel was built so that it can preempt its own code (`uname -v` says so).
    pub preemptible: bool,
    /// `uname -m`.
    pub machine: String,
    /// Effective user id.
    pub euid: u32,
    /// Effective capabilities, bit by number (capabilities(7)).
    pub capabilities: u64,
    /// A kernel BTF file can be read.
    pub btf: bool,
    /// A file with the kernel's types that the user has named, for kernels without their own.
    pub btf_file: Option<PathBuf>,
    /// Mount point of tracefs, where it can be read.
    pub tracefs: Option<PathBuf>,
    /// `kernel.perf_event_paranoid`.
    pub perf_event_paranoid: Option<i64>,
    /// `kernel.unprivileged_bpf_disabled`.
    pub unprivileged_bpf_disabled: Option<i64>,
    /// Bytes that RLIMIT_MEMLOCK lets us lock, where we cannot raise it; none: as many as we like.
    pub locked_memory: Option<u64>,
    /// The kernel counts BPF memory against that limit, as it did before Linux 5.11.
    pub locks_bpf_memory: bool,
    /// The kernel has no BPF ring buffer (Linux 5.8); false also where we may not ask.
    pub lacks_ring_buffer: bool,
    /// `kernel.yama.ptrace_scope`; none: no Yama.
    pub ptrace_scope: Option<i64>,
    /// The kernel knows seccomp filters.
    pub seccomp: bool,
    /// `/sys/kernel/security/lockdown`'s choice.
    pub lockdown: Option<String>,
    /// `TracerPid` of our own process: somebody already traces us.
    pub traced: bool,
    /// `NoNewPrivs` of our own process.
    pub no_new_privs: bool,
    /// Tracing a child by ptrace(2).
    pub ptrace: Trial,
    /// Answering a child's call by seccomp user notification.
    pub notify: Trial,
}

/// What came of trying something for real, as a container's profile shows nowhere else.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Trial {
    /// Nobody has tried.
    #[default]
    Untried,
    /// It works.
    Works,
    /// The kernel refused, with this errno.
    Refused(i32),
}

/// Numbers of the capabilities that drivers ask for (include/uapi/linux/capability.h).
pub mod capability {
    /// CAP_IPC_LOCK
    pub const IPC_LOCK: u32 = 14;
    /// CAP_SYS_PTRACE
    pub const SYS_PTRACE: u32 = 19;
    /// CAP_SYS_ADMIN
    pub const SYS_ADMIN: u32 = 21;
    /// CAP_SYS_RESOURCE
    pub const SYS_RESOURCE: u32 = 24;
    /// CAP_PERFMON
    pub const PERFMON: u32 = 38;
    /// CAP_BPF
    pub const BPF: u32 = 39;
}

impl Host {
    /// Whether a capability is effective.
    pub fn has(&self, capability: u32) -> bool {
        self.capabilities & (1 << capability) != 0
    }

    /// Whether BPF programs may be loaded and attached: CAP_SYS_ADMIN, or CAP_BPF with CAP_PERFMON.
    pub fn may_trace_with_bpf(&self) -> bool {
        self.has(capability::SYS_ADMIN)
            || (self.has(capability::BPF) && self.has(capability::PERFMON))
    }
}
