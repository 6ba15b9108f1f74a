//! What notify mode needs of a host, and what it cannot do.

use driver_api::event::Abi;
use driver_api::fix::Fix;
use driver_api::host::{Host, Trial, capability};
use driver_api::support::Gap;
use driver_api::table::SYSCALLS;

use crate::guard;
use crate::hiding;
use crate::reader;

/// What keeps this mode from working on a host.
pub(super) fn missing(host: &Host) -> Vec<Gap> {
    let mut missing = Vec::new();
    if !host.seccomp {
        missing.push(Gap::new(
            "seccomp filters",
            "the kernel was built without them",
            "use a kernel with CONFIG_SECCOMP_FILTER",
        ));
    }
    if let Trial::Refused(errno) = host.notify {
        let (why, remedy) = match errno {
            libc::EINVAL => (
                "the kernel cannot let a call go on after a notification, or has no notification at all",
                "use Linux 5.5 or later",
            ),
            libc::EBUSY => (
                "lanner itself runs under a filter that has a listener, and there can be one alone",
                "start lanner outside of that supervisor",
            ),
            _ => (
                "a seccomp profile forbids filters with notification",
                "allow the calls seccomp and ioctl in the container's profile",
            ),
        };
        let why = format!("{why} ({})", std::io::Error::from_raw_os_error(errno));
        missing.push(Gap::new("seccomp user notification", why, remedy));
    }
    missing
}

/// How long calls take.
pub(super) fn times() -> Gap {
    Gap::times(
        "a notification comes when a call is entered, and the kernel does not report when it returns",
        TRACE,
    )
}

/// What helps against nearly all gaps.
const TRACE: &str = "use trace mode, where ptrace is allowed";

/// What this mode cannot do.
pub(super) fn gaps(host: &Host) -> Vec<Gap> {
    let mut gaps = [
        before_the_call(),
        lookups(),
        processes(),
        signals(),
        targets(),
        listeners(),
    ]
    .concat();
    gaps.extend(guard::gaps(host));
    gaps.extend(setuid(host));
    gaps.extend(closed_memory(host));
    gaps
}

/// What is not there yet when a notification comes: before the call.
fn before_the_call() -> Vec<Gap> {
    vec![
        Gap::new(
            "return values",
            "a notification comes when a call is entered, and the kernel does not report how it ends: fields of \
             the result are absent, and rules that ask for them do not match",
            TRACE,
        ),
        times(),
        Gap::operations(
            "they are no system calls, so neither ptrace nor seccomp sees them: only io_uring_setup and \
             io_uring_enter are",
        ),
        Gap::new(
            "what the kernel writes into memory",
            "it is not there yet when the call is entered",
            TRACE,
        ),
        Gap::new(
            "resolved paths and ends of sockets",
            "a new descriptor is not there yet when the call is entered; of a connection or a message, the address that \
             the program passed is shown",
            TRACE,
        ),
    ]
}

/// What is looked up too late, or nowhere.
fn lookups() -> Vec<Gap> {
    vec![
        hiding::gap(),
        reader::gap(),
        Gap::own_roots(),
        Gap::relative_sockets(),
        Gap::kernel_files(),
        Gap::name_by_file(),
        Gap::changed_memory(
            "the kernel reads that memory again when it makes the call: it can differ from what was captured \
             (seccomp_unotify(2))",
            TRACE,
        ),
        Gap::program(),
        Gap::named_files(),
        Gap::new(
            "the ends of sockets",
            "they are looked up in /proc, of at most 500 sockets a second; beyond that a socket has its type alone. The \
             kernel lists a TCP socket there when it listens or connects: at listen(2) its port is not known yet",
            TRACE,
        ),
        Gap::arriving_signals(),
        Gap::new(
            "cgroup ids",
            "the kernel gives them to programs in the kernel alone",
            "",
        ),
    ]
}

/// Births, execs and exits.
fn processes() -> Vec<Gap> {
    vec![
        Gap::new(
            "the moment of births",
            "the calls that make processes and threads are left alone, so that a birth is reported when the child \
             makes its first call that the filter asks about, which glibc does at once; a child that makes none is \
             missed. Its parent is the first thread of a process, whichever has made it",
            TRACE,
        ),
        Gap::new(
            "the moment of an exec",
            "an exec is reported at the new program's first call, with the facts of that moment; a failed exec is \
             reported when its thread makes the next call",
            TRACE,
        ),
        Gap::new(
            "the exit status of descendants",
            "their parents may have waited for them before lanner looks; from Linux 6.15 on the kernel keeps it",
            "",
        ),
    ]
}

/// Signals during a call.
fn signals() -> Vec<Gap> {
    vec![
        Gap::new(
            "calls that must not fail",
            format!(
                "a signal ends a call with EINTR if it arrives before lanner has received the notification; calls \
                 that never end so, and whose callers count on that, are not captured: {}",
                unfailing().join(", ")
            ),
            TRACE,
        ),
        Gap::new(
            "calls that a signal ends with EINTR",
            "if a signal whose handler lacks SA_RESTART arrives within the microseconds before lanner has received \
             the notification, a captured call ends with EINTR, even one that otherwise never does: with a signal every \
             0.3 ms on two busy CPUs, 7 to 17 of 3,000 openat calls of one program, and 880 of 24,000 of eight programs at \
             once; before Linux 5.19, also while lanner handles the call",
            TRACE,
        ),
        Gap::new(
            "calls that are interrupted by a signal",
            "before Linux 5.19 a signal can interrupt a call that lanner has already seen; it is made again, and \
             seen twice",
            "use Linux 5.19 or later",
        ),
    ]
}

/// Processes that cannot be given a filter, and filters that cannot be changed.
fn targets() -> Vec<Gap> {
    vec![
        Gap::new(
            "running processes (-p)",
            "a running process cannot be given a seccomp filter",
            "start it through lanner (-- COMMAND)",
        ),
        Gap::new(
            "the whole host",
            "a filter is inherited by the children of a command alone",
            "use an eBPF driver for the whole host",
        ),
        Gap::new(
            "a wider selection while a command runs",
            "its filter is there for life",
            "select all calls from the start",
        ),
    ]
}

/// What a listener of notifications means for programs, and they for it.
fn listeners() -> Vec<Gap> {
    vec![
        Gap::new(
            "a command that outlives its capture",
            "without an answer its calls would fail with ENOSYS: if lanner is killed, a watchdog kills the command \
             and its descendants; if the watchdog is killed, too, their calls fail",
            "",
        ),
        Gap::new(
            "calls that a seccomp filter of the program's own refuses",
            "the refusal goes before the notification (seccomp(2))",
            TRACE,
        ),
        Gap::new(
            "programs that use seccomp notification themselves",
            "the kernel allows one listener in a tree of processes (EBUSY)",
            TRACE,
        ),
    ]
}

/// What a filter without CAP_SYS_ADMIN takes from setuid programs.
fn setuid(host: &Host) -> Option<Gap> {
    let gap = Gap::new(
        "the privilege of setuid programs below a command",
        "without CAP_SYS_ADMIN a seccomp filter demands no_new_privs",
        "give lanner CAP_SYS_ADMIN",
    );
    (!host.has(capability::SYS_ADMIN))
        .then(|| gap.fixed_by(Fix::Capabilities(vec![capability::SYS_ADMIN])))
}

/// What Yama's setting takes from lanner.
fn closed_memory(host: &Host) -> Option<Gap> {
    let gap =
        unreadable("kernel.yama.ptrace_scope forbids lanner to read another process's memory");
    match host.ptrace_scope {
        Some(3) => Some(gap),
        Some(2) if !host.has(capability::SYS_PTRACE) => Some(
            gap.fixed_by(Fix::ptrace_scope("1"))
                .fixed_by(Fix::Capabilities(vec![capability::SYS_PTRACE])),
        ),
        _ => None,
    }
}

/// The calls of this machine that this mode does not capture.
fn unfailing() -> Vec<&'static str> {
    let calls = SYSCALLS.iter().filter(|call| call.unfailing);
    let native = calls.filter(|call| call.number(Abi::NATIVE).is_some());
    native.map(|call| call.name).collect()
}

/// The gap of parameters that point to memory.
pub(super) fn unreadable(why: &str) -> Gap {
    Gap::new(
        "the memory that parameters point to",
        format!("{why}: their attachments say `fault`"),
        "allow process_vm_readv, or CAP_SYS_PTRACE with a kernel.yama.ptrace_scope below 3",
    )
}
