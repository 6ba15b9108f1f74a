//! What is known about the host, as plain data, so that tests can probe without a kernel.

use std::path::PathBuf;

/// Facts about the host and about lanner's own process. The `drivers` crate gathers them; tests make them up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Host {
    /// `uname -r`.
    pub release: String,
    /// The kernel was built to preempt its own code (`PREEMPT` in `uname -v`).
    pub preemptible: bool,
    /// `uname -m`.
    pub machine: String,
    /// Effective user id.
    pub euid: u32,
    /// Effective capabilities, bit by number (capabilities(7)).
    pub capabilities: u64,
    /// `/sys/kernel/btf/vmlinux` can be read.
    pub btf: bool,
    /// A file with the kernel's types that the user has named, for kernels that do not have their own.
    pub btf_file: Option<PathBuf>,
    /// Whether lanner can make a BPF map and load a program for tracepoints (bpf(2)). Not tried without the capabilities
    /// for it, which the initial user namespace alone can give.
    pub bpf: Trial,
    /// Whether lanner can open a perf event for the output of programs on a CPU (perf_event_open(2)).
    pub perf_events: Trial,
    /// The kernel has no raw tracepoints (Linux 4.17). Also false if that was not tried, or lanner may not load programs to
    /// find out.
    pub lacks_raw_tracepoints: bool,
    /// Why lanner cannot read the ids of tracepoints, though it needs them. None: it can, needs none, or has not tried.
    pub no_tracefs: Option<String>,
    /// `kernel.perf_event_paranoid`.
    pub perf_event_paranoid: Option<i64>,
    /// The hard limit RLIMIT_MEMLOCK in bytes. None: it is unlimited, or lanner may raise it.
    pub locked_memory: Option<u64>,
    /// The kernel counts BPF memory against that limit, as kernels before 5.11 do.
    pub locks_bpf_memory: bool,
    /// The kernel has no BPF ring buffer (Linux 5.8). Also false if lanner may not make maps to find out.
    pub lacks_ring_buffer: bool,
    /// The CPUs that can come online. 0: unknown.
    pub cpus: usize,
    /// The bytes of memory of the whole host. None: unknown.
    pub memory: Option<u64>,
    /// The bytes of memory that lanner's cgroups still allow. None: none of them has a limit.
    pub memory_left: Option<u64>,
    /// `kernel.yama.ptrace_scope`. None: the kernel has no Yama.
    pub ptrace_scope: Option<i64>,
    /// The kernel has seccomp filters.
    pub seccomp: bool,
    /// The choice in `/sys/kernel/security/lockdown`.
    pub lockdown: Option<String>,
    /// Another process traces lanner (`TracerPid` of its status).
    pub traced: bool,
    /// `NoNewPrivs` of lanner's status.
    pub no_new_privs: bool,
    /// Whether lanner can trace a child by ptrace(2).
    pub ptrace: Trial,
    /// Whether lanner can answer a child's call by seccomp user notification (seccomp_unotify(2)).
    pub notify: Trial,
    /// Whether lanner can make a timer that sends a signal (timer_create(2)). Kernels without CONFIG_POSIX_TIMERS cannot.
    pub timers: Trial,
}

/// The result of trying something. What a container's seccomp profile forbids is visible in no file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Trial {
    /// It was not tried.
    #[default]
    Untried,
    /// It works.
    Works,
    /// The kernel refused, with this errno.
    Refused(i32),
}

/// Numbers of the capabilities that drivers ask for (include/uapi/linux/capability.h).
pub mod capability {
    /// CAP_DAC_READ_SEARCH
    pub const DAC_READ_SEARCH: u32 = 2;
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
