//! What trace mode needs of a host, and what it cannot do.

use driver_api::fix::Fix;
use driver_api::host::{Host, Trial, capability};
use driver_api::support::{Gap, Support};

use crate::guard;
use crate::hiding;
use crate::reader;

/// What this mode could do on a host.
pub(super) fn support(host: &Host) -> Support {
    let missing = missing(host);
    if missing.is_empty() {
        Support::Usable(gaps(host))
    } else {
        Support::Unusable(missing)
    }
}

fn missing(host: &Host) -> Vec<Gap> {
    let mut missing = Vec::new();
    if !host.seccomp {
        missing.push(Gap::new(
            "seccomp filters",
            "the kernel was built without them",
            "use a kernel with CONFIG_SECCOMP_FILTER",
        ));
    }
    if host.ptrace_scope == Some(3) {
        missing.push(Gap::new(
            "ptrace",
            "kernel.yama.ptrace_scope is 3, which forbids it to everybody until the next boot",
            "boot with another value",
        ));
    }
    if host.ptrace_scope == Some(2) && !host.has(capability::SYS_PTRACE) {
        missing.push(
            Gap::new(
                "ptrace",
                "kernel.yama.ptrace_scope is 2, which keeps it for CAP_SYS_PTRACE",
                "sysctl kernel.yama.ptrace_scope=1, or CAP_SYS_PTRACE",
            )
            .fixed_by(Fix::ptrace_scope("1"))
            .fixed_by(Fix::Capabilities(vec![capability::SYS_PTRACE])),
        );
    }
    if let (Trial::Refused(errno), true) = (host.ptrace, missing.is_empty()) {
        let error = std::io::Error::from_raw_os_error(errno);
        missing.push(Gap::new(
            "ptrace",
            format!("a seccomp profile or a security module forbids ptrace here ({error})"),
            "allow the calls ptrace and process_vm_readv in the container's profile",
        ));
    }
    if let Trial::Refused(errno) = host.timers {
        let error = std::io::Error::from_raw_os_error(errno);
        missing.push(Gap::new(
            "timers",
            format!("timer_create(2) makes none here ({error})"),
            "use a kernel with CONFIG_POSIX_TIMERS, and allow timer_create in the container's profile",
        ));
    }
    missing
}

fn gaps(host: &Host) -> Vec<Gap> {
    let mut gaps = [reach(), facts(), filters(), lookups(), side_effects()].concat();
    gaps.extend(guard::gaps(host));
    gaps.extend(setuid(host));
    gaps.extend(attaching(host));
    gaps
}

/// Processes, memory and operations that ptrace(2) does not reach.
fn reach() -> Vec<Gap> {
    vec![
        Gap::new(
            "the whole host",
            "ptrace follows processes that lanner has started or attached to",
            "use an eBPF driver for the whole host",
        ),
        Gap::new(
            "speed on a process that is attached to",
            "a running process cannot be given a seccomp filter, so it stops at every call",
            "start it through lanner (-- COMMAND)",
        ),
        Gap::new(
            "children made with CLONE_UNTRACED",
            "the kernel reports them to no tracer; below a command their captured calls fail with ENOSYS",
            "use an eBPF driver",
        ),
        hiding::gap(),
        reader::gap(),
        Gap::operations(
            "they are no system calls, so neither ptrace nor seccomp sees them: only io_uring_setup and \
             io_uring_enter are",
        ),
    ]
}

/// Facts that the kernel does not give a tracer.
fn facts() -> Vec<Gap> {
    vec![
        Gap::new(
            "cgroup ids",
            "the kernel gives them to programs in the kernel alone",
            "",
        ),
        Gap::new(
            "the layer of a program in an overlay file system",
            "it is looked up in the mounts when a rule asks, and is unknown if the process has ended by then",
            "use ebpf-core",
        ),
        Gap::new(
            "whether an open has created its file",
            "the kernel does not tell a tracer; evt.is_open_create is true for each O_CREAT that succeeds",
            "use ebpf-core",
        ),
        Gap::new(
            "the CPU of an event",
            "it is the CPU on which lanner saw the stop",
            "",
        ),
    ]
}

/// What seccomp filters other than lanner's do to it.
fn filters() -> Vec<Gap> {
    vec![
        Gap::new(
            "calls that a seccomp filter around lanner refuses or answers",
            "a filter that lanner itself runs under, such as a container's profile, goes before the stop for a \
             tracer; a filter that the command adds does not",
            "use an eBPF driver",
        ),
        Gap::new(
            "speed of programs with a seccomp filter of their own",
            "their filter could answer before lanner's, so that they stop at every call from then on",
            "use an eBPF driver",
        ),
    ]
}

/// What is looked up after the call, or nowhere.
fn lookups() -> Vec<Gap> {
    vec![
        Gap::new(
            "the path behind a descriptor that other threads replace at once",
            "it is looked up when the call has returned: until then another thread, or a process that shares the \
             descriptors, can put another file in its place",
            "use an eBPF driver",
        ),
        Gap::changed_memory(
            "memory that a parameter points to is read when the call returns: another thread can have changed it since \
             the kernel read it",
            "",
        ),
        Gap::named_files(),
        Gap::own_roots(),
        Gap::relative_sockets(),
        Gap::kernel_files(),
        Gap::arriving_signals(),
        Gap::new(
            "both ends of some sockets before Linux 5.6",
            "lanner cannot duplicate the descriptor there (pidfd_getfd). It asks sock_diag(7) for the other end of a Unix \
             socket, which needs CONFIG_UNIX_DIAG and knows only sockets in lanner's own network namespace. A TCP socket \
             that is bound, and neither connected nor listening, is in no table of the kernel",
            "use Linux 5.6 or later, or an eBPF driver",
        ),
    ]
}

/// What programs notice of their tracer.
fn side_effects() -> Vec<Gap> {
    vec![
        Gap::new(
            "the CPU affinity in /proc/PID/status",
            "a busy command's threads are pinned to lanner's CPU for moments: other processes may see that, and \
             the command itself if it opened the file before",
            "",
        ),
        Gap::new(
            "debuggers below a command",
            "a process has one tracer, and that is lanner: gdb and strace get EPERM",
            "use an eBPF driver",
        ),
        Gap::new(
            "ignored signals while epoll_wait, sigtimedwait or the like wait with a limit",
            "the kernel wakes a traced program for them, and the call ends with EINTR",
            "use an eBPF driver",
        ),
        Gap::new(
            "a command that outlives its capture",
            "under its filter, calls without a tracer would fail, so that the command ends with lanner",
            "attach to it instead (-p PID)",
        ),
    ]
}

/// What a filter and a tracer without privilege take from setuid programs.
fn setuid(host: &Host) -> Option<Gap> {
    let gap = Gap::new(
        "the privilege of setuid programs",
        "without CAP_SYS_ADMIN a seccomp filter demands no_new_privs, and without CAP_SYS_PTRACE the \
         kernel gives a traced program no privilege",
        "give lanner CAP_SYS_ADMIN and CAP_SYS_PTRACE, or use an eBPF driver",
    );
    let needed = [capability::SYS_ADMIN, capability::SYS_PTRACE];
    let lacks = needed.iter().any(|one| !host.has(*one));
    lacks.then(|| gap.fixed_by(Fix::Capabilities(needed.to_vec())))
}

/// What Yama's setting forbids.
fn attaching(host: &Host) -> Option<Gap> {
    let gap = Gap::new(
        "attaching to running processes",
        "kernel.yama.ptrace_scope allows it to ancestors or to CAP_SYS_PTRACE alone",
        "sysctl kernel.yama.ptrace_scope=0, or CAP_SYS_PTRACE",
    );
    (host.ptrace_scope == Some(1) && !host.has(capability::SYS_PTRACE)).then(|| {
        gap.fixed_by(Fix::ptrace_scope("0"))
            .fixed_by(Fix::Capabilities(vec![capability::SYS_PTRACE]))
    })
}
