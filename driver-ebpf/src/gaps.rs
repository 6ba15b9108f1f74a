//! What both eBPF drivers need of a host, and what neither can capture.

use std::{fs, io};

use libc::{EINVAL, ENOSYS};

use driver_api::driver::{Driver, OpenError};
use driver_api::fix::Fix;
use driver_api::host::{Host, Trial, capability};
use driver_api::support::{Gap, Support};

/// What this host lacks that both drivers need.
pub fn missing(host: &Host) -> Vec<Gap> {
    let mut missing = Vec::new();
    if !host.may_trace_with_bpf() {
        let lacks: Vec<&str> = [
            (capability::BPF, "CAP_BPF"),
            (capability::PERFMON, "CAP_PERFMON"),
        ]
        .into_iter()
        .filter_map(|(number, name)| (!host.has(number)).then_some(name))
        .collect();
        // CAP_BPF and CAP_PERFMON came with it
        let needed = if older_than(&host.release, (5, 8)) {
            vec![capability::SYS_ADMIN]
        } else {
            vec![capability::BPF, capability::PERFMON]
        };
        let gap = Gap::new(
            "loading BPF programs",
            format!(
                "{} {} not effective, nor is CAP_SYS_ADMIN",
                lacks.join(" and "),
                if lacks.len() > 1 { "are" } else { "is" }
            ),
            "run as root, or give lanner both: setcap cap_bpf,cap_perfmon+ep, or AmbientCapabilities=CAP_BPF \
             CAP_PERFMON in its systemd unit (before Linux 5.8: CAP_SYS_ADMIN)",
        );
        missing.push(gap.fixed_by(Fix::Capabilities(needed)));
    }
    if host.lockdown.as_deref() == Some("confidentiality") {
        missing.push(Gap::new(
            "reading kernel memory",
            "the kernel is locked down for confidentiality",
            "boot with lockdown=integrity or none",
        ));
    }
    let locked = host.locked_memory.filter(|_| host.locks_bpf_memory);
    if let (Trial::Refused(errno), None, true) = (host.bpf, locked, missing.is_empty()) {
        missing.push(refused(errno));
    }
    if let Some(limit) = locked {
        let gap = Gap::new(
            "memory for BPF maps",
            format!(
                "this kernel counts it against RLIMIT_MEMLOCK, which is {} KiB here",
                limit / 1024
            ),
            "ulimit -l unlimited, LimitMEMLOCK=infinity in a systemd unit, or CAP_SYS_RESOURCE",
        );
        missing.push(gap.fixed_by(Fix::LOCKED_MEMORY));
    }
    missing
}

/// bpf(2) is refused with this number, though lanner has the capabilities.
fn refused(errno: i32) -> Gap {
    let error = io::Error::from_raw_os_error(errno);
    let (why, remedy) = match errno {
        ENOSYS => (
            "this kernel has no bpf(2), or a seccomp profile hides it",
            "use a kernel with CONFIG_BPF_SYSCALL, or allow the call bpf in the container's profile",
        ),
        EINVAL => (
            "this kernel takes no programs for tracepoints",
            "use a kernel with CONFIG_BPF_EVENTS, which needs CONFIG_KPROBE_EVENTS or CONFIG_UPROBE_EVENTS",
        ),
        _ => (
            "bpf(2) is refused, though lanner has the capabilities: those of a user namespace do not suffice, and a seccomp \
             profile or a security module can forbid the call",
            "run lanner outside of user namespaces, as root or with capabilities of the host, and allow the call bpf in the \
             container's profile",
        ),
    };
    Gap::new("BPF maps and programs", format!("{why} ({error})"), remedy)
}

/// Whether a kernel is older than a version: major and minor number. A release that is no version is not.
#[must_use]
pub fn older_than(release: &str, version: (u32, u32)) -> bool {
    let mut numbers = release.split(['.', '-']).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) < version,
        _ => false,
    }
}

#[test]
fn a_release_is_compared_with_a_version() {
    let before = ["4.14.0", "5.7.19-generic", "5.7-rc1"];
    assert!(before.iter().all(|release| older_than(release, (5, 8))));
    let since = ["5.8.0", "5.10.0-9-amd64", "6.18.5", "10.0", ""];
    assert!(!since.iter().any(|release| older_than(release, (5, 8))));
}

/// The gaps of a driver on this host, after a trial. If the user named the driver, nothing was tried yet. It is tried here, so
/// that the reasons equal those of `lanner drivers`.
///
/// # Errors
///
/// The driver cannot be used here.
pub fn tried_out(driver: &dyn Driver, host: &Host) -> Result<Vec<Gap>, OpenError> {
    let mut host = host.clone();
    driver.try_out(&mut host);
    match driver.probe(&host) {
        Support::Usable(gaps) => Ok(gaps),
        Support::Unusable(gaps) => Err(OpenError::Unusable {
            driver: driver.name(),
            gaps,
        }),
    }
}

/// Capabilities that loading and attaching programs needs, and the running capture does not.
///
/// It reads and writes maps, for which kernels before 5.19 demand CAP_BPF each time, and those before 5.8, which
/// have no CAP_BPF, CAP_SYS_ADMIN.
pub fn capabilities_to_open(host: &Host) -> u64 {
    if host.has(capability::BPF) {
        1 << capability::PERFMON | 1 << capability::SYS_ADMIN
    } else {
        0
    }
}

/// The gap of a kernel where submitted operations of io_uring cannot be seen. None: no program can submit any.
pub fn operations() -> Option<Gap> {
    let disabled = fs::read_to_string("/proc/sys/kernel/io_uring_disabled");
    if disabled.is_ok_and(|level| level.trim() == "2") {
        return None;
    }
    // SAFETY: io_uring_setup(2) with NULL fails before it makes a ring.
    let made = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, 0) };
    let absent = made < 0 && io::Error::last_os_error().raw_os_error() == Some(ENOSYS);
    (!absent).then(|| {
        Gap::operations(
            "the kernel has no tracepoint for submitted operations, or refuses the program there, or lanner did not \
             find its rings in the kernel's memory",
        )
    })
}

/// The gap of a kernel where the entries of calls that replace the size of a buffer cannot be seen.
pub fn rooms() -> Gap {
    Gap::new(
        "the size of a buffer for an address that the kernel writes",
        "accept, getsockname, recvfrom and others replace it by the size that the address would need, and on this kernel \
         lanner cannot see the functions of these calls: a longer address is shown as far as the kernel's own name of the \
         socket or the name's end confirms it, and an abstract name that nothing confirms up to 14 bytes",
        "use a kernel where functions can be probed (CONFIG_KPROBES, CONFIG_FUNCTION_TRACER)",
    )
}

/// Gaps of both drivers on every host.
pub fn always(host: &Host) -> Vec<Gap> {
    let mut gaps = vec![namespaces()];
    gaps.extend(memory());
    gaps.extend(lookups());
    gaps.extend([own_programs(), submitted()]);
    gaps.extend(host.preemptible.then(preempted));
    gaps
}

/// Ids as the kernel's programs see them.
fn namespaces() -> Gap {
    Gap::new(
        "process ids inside a PID namespace",
        "programs in the kernel see the ids of the initial PID namespace",
        "run lanner in the host's PID namespace",
    )
}

/// Memory of programs that is read too early, too late, or in part.
fn memory() -> Vec<Gap> {
    vec![
        Gap::new(
            "arguments of an exec that were never read before the call",
            "memory that is not resident at the entry of execve cannot be captured there; \
             the facts argv and env of a successful exec have it",
            "",
        ),
        Gap::new(
            "the size of a buffer for an address, of some calls",
            "accept, getsockname, recvfrom and others replace it by the size that the address would need. Of a call that \
             began before the capture, and where the size was never read before the call, only the replaced size is known: \
             a longer address is shown as far as the kernel's own name of the socket or the name's end confirms it, \
             and an abstract name that nothing confirms up to 14 bytes",
            "",
        ),
        Gap::new(
            "all strings of a very long argument vector",
            "programs in the kernel look at a bounded number of them, and mark the rest as truncated; \
             the facts argv and env of a successful exec are bounded by bytes alone",
            "",
        ),
        Gap::changed_memory(
            "memory that a parameter points to is read when the call returns, but for paths of opens and programs, which \
             the kernel knows: another thread can have changed it since the kernel read it",
            "",
        ),
    ]
}

/// What is looked up after the call, or nowhere.
fn lookups() -> Vec<Gap> {
    vec![
        Gap::new(
            "descriptors that another process has passed on",
            "lanner looks in /proc for what came over a socket: if the process has ended by then, that is not known. A file \
             that a seccomp listener puts in the place of another is known once the listener's call returns: with \
             SECCOMP_ADDFD_FLAG_SEND, the process can have used it by then, and it is taken for the other one",
            "use ptrace",
        ),
        Gap::new(
            "the file behind a descriptor that other threads replace at once",
            "it is looked up when the call that opened it returns: until then, a thread or process that shares the descriptors \
             can put another file in its place; kernel.path_in_doubt says where that can have happened",
            "",
        ),
        Gap::named_files(),
        Gap::new(
            "terminals that no call names",
            "a session can get its terminal from /dev/console, from ioctl(TIOCGPTPEER), or from a descriptor that came over a \
             socket: /proc is asked when a rule asks, and if the process has ended by then, proc.tty is not known",
            "",
        ),
        Gap::own_roots(),
        Gap::relative_sockets(),
        Gap::kernel_files(),
        Gap::arriving_signals(),
        Gap::name_by_file(),
    ]
}

/// What a privileged program can do to the capture.
fn own_programs() -> Gap {
    Gap::new(
        "lanner's own programs and maps",
        "who may call bpf(2) can detach or change them, after which events are missing; if no event arrives any more, \
         the heartbeat of a lanner that captures the host says so, but it makes one call alone, and a change that \
         leaves that call is not noticed",
        "let no program that is watched have CAP_BPF or CAP_SYS_ADMIN; the default rule \"BPF used\" reports who calls \
         bpf(2)",
    )
}

/// What is not known about operations of io_uring.
fn submitted() -> Gap {
    let gap = Gap::new(
        "results, descriptors and resolved paths of operations of io_uring",
        "an operation is captured when it is submitted, from the request in the program's memory, which another thread \
         can change meanwhile; what a ring opened or closed is looked up in /proc when it is used",
        Gap::DISABLE_IO_URING,
    );
    gap.fixed_by(Gap::NO_IO_URING)
}

/// Calls on a kernel that preempts programs.
fn preempted() -> Gap {
    Gap::new(
        "calls that are made while a program is preempted",
        "if this kernel preempts a program in the middle of a call, it does not run that program for another \
         thread on the same CPU until it has ended: such calls are counted as lost, cause nested",
        "boot with preempt=lazy (Linux 6.13), or preempt=none or voluntary, which make that rare or impossible",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_opens_maps_is_kept() {
        use capability::{BPF, PERFMON, SYS_ADMIN};
        let with = |capabilities: &[u32]| Host {
            capabilities: capabilities.iter().fold(0, |set, cap| set | 1 << cap),
            ..Host::default()
        };
        let loaded = 1 << PERFMON | 1 << SYS_ADMIN;
        assert_eq!(
            capabilities_to_open(&with(&[BPF, PERFMON, SYS_ADMIN])),
            loaded
        );
        // before CAP_BPF, CAP_SYS_ADMIN opens maps
        assert_eq!(capabilities_to_open(&with(&[SYS_ADMIN])), 0);
    }

    #[test]
    fn the_capability_that_is_missing_is_named() {
        let with = |capabilities: &[u32]| Host {
            capabilities: capabilities.iter().fold(0, |set, cap| set | 1 << cap),
            ..Host::default()
        };
        let why = |host: &Host| missing(host).first().map(|gap| gap.why.clone());
        let one = why(&with(&[capability::BPF])).unwrap_or_default();
        assert!(one.starts_with("CAP_PERFMON is not"), "{one}");
        let both = why(&with(&[])).unwrap_or_default();
        assert!(
            both.starts_with("CAP_BPF and CAP_PERFMON are not"),
            "{both}"
        );
        assert_eq!(why(&with(&[capability::SYS_ADMIN])), None);
        assert_eq!(why(&with(&[capability::BPF, capability::PERFMON])), None);
    }

    #[test]
    fn a_refused_bpf_call_is_a_gap_with_its_reason() {
        let host = |bpf| Host {
            capabilities: 1 << capability::SYS_ADMIN,
            bpf,
            ..Host::default()
        };
        assert_eq!(missing(&host(Trial::Works)), []);
        assert_eq!(missing(&host(Trial::Untried)), []);
        for (errno, why, remedy) in [
            (libc::EPERM, "user namespace", "container's profile"),
            (libc::EACCES, "security module", "container's profile"),
            (ENOSYS, "no bpf(2)", "CONFIG_BPF_SYSCALL"),
            (EINVAL, "tracepoints", "CONFIG_BPF_EVENTS"),
        ] {
            let gaps = missing(&host(Trial::Refused(errno)));
            assert_eq!(gaps.len(), 1, "{gaps:?}");
            assert!(gaps[0].why.contains(why), "{gaps:?}");
            assert!(gaps[0].remedy.contains(remedy), "{gaps:?}");
            // what explains it is named alone
            let locked = Host {
                locked_memory: Some(65536),
                locks_bpf_memory: true,
                ..host(Trial::Refused(errno))
            };
            let gaps = missing(&locked);
            assert_eq!(gaps.len(), 1, "{gaps:?}");
            assert!(gaps[0].why.contains("64 KiB"), "{gaps:?}");
        }
    }

    #[test]
    fn a_kernel_that_may_preempt_programs_has_one_gap_more() {
        let gaps = |preemptible| {
            always(&Host {
                preemptible,
                ..Host::default()
            })
        };
        assert_eq!(gaps(true).len(), gaps(false).len() + 1);
    }

    #[test]
    fn a_limit_on_locked_memory_matters_only_where_bpf_memory_counts() {
        let host = |locked_memory, locks_bpf_memory| Host {
            capabilities: u64::MAX,
            locked_memory,
            locks_bpf_memory,
            ..Host::default()
        };
        assert_eq!(missing(&host(Some(65536), false)), []);
        assert_eq!(missing(&host(None, true)), []);
        let gaps = missing(&host(Some(65536), true));
        assert_eq!(gaps.len(), 1);
        assert!(gaps[0].why.contains("64 KiB"), "{gaps:?}");
        assert!(gaps[0].remedy.contains("CAP_SYS_RESOURCE"), "{gaps:?}");
    }
}
