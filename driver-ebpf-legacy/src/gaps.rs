//! What this driver needs of a host, and what it cannot capture there.

use driver_api::fix::Fix;
use driver_api::host::{Host, Trial, capability};
use driver_api::support::Gap;
use driver_ebpf::gaps::{self, older_than};

use crate::offsets;

/// What keeps the driver from working on a host.
pub(crate) fn missing(host: &Host) -> Vec<Gap> {
    let mut missing = gaps::missing(host);
    missing.extend(no_tracefs(host));
    missing.extend(no_perf_events(host));
    missing
}

/// What the driver cannot do on a host where it works.
pub(crate) fn known(host: &Host) -> Vec<Gap> {
    let mut known = gaps::always(host);
    known.push(Gap::new(
        "cgroup ids of events",
        "the helper that returns them came with Linux 4.18, and this driver uses no helper newer than 4.14",
        "",
    ));
    known.push(Gap::program());
    known.extend(of_old_kernels(host));
    known.extend(small_perf_buffers(host));
    known
}

/// What the kernel of a host is too old for.
fn of_old_kernels(host: &Host) -> Vec<Gap> {
    let before = |version| older_than(&host.release, version);
    let mut gaps = Vec::new();
    if host.lacks_raw_tracepoints {
        gaps.push(offsets::births_gap());
        gaps.push(Gap::times(
            "the programs for that need raw tracepoints, which came with Linux 4.17",
            "use Linux 4.17 or later",
        ));
    }
    if before((4, 15)) {
        gaps.push(Gap::new(
            "a second capture at the same time",
            "before Linux 4.15 a tracepoint takes one BPF program: while another lanner captures by this driver, or another \
             program has one at raw_syscalls, opening fails",
            "use Linux 4.15 or later, or the driver ptrace",
        ));
    }
    if before((4, 19)) {
        gaps.push(offsets::created_gap());
    }
    // io_uring came with Linux 5.1
    if !before((5, 1)) && before((5, 5)) {
        gaps.push(Gap::operations(
            "the tracepoint for submitted operations came with Linux 5.5",
        ));
    }
    gaps
}

/// The gap of a host without raw tracepoints where lanner cannot read what the others need.
fn no_tracefs(host: &Host) -> Option<Gap> {
    let why = (host.no_tracefs.as_ref()).filter(|_| host.lacks_raw_tracepoints)?;
    let gap = Gap::new(
        "a tracefs that lanner can read",
        format!("without raw tracepoints (Linux 4.17), this driver finds tracepoints there: {why}"),
        "mount -t tracefs -o mode=755 tracefs /sys/kernel/tracing (remount,mode=755 if it is mounted), or give \
         lanner CAP_DAC_READ_SEARCH",
    );
    Some(
        gap.fixed_by(Fix::Mount {
            kind: "tracefs",
            options: "mode=755",
            at: "/sys/kernel/tracing",
        })
        .fixed_by(Fix::Capabilities(vec![capability::DAC_READ_SEARCH])),
    )
}

/// The gap of a host that limits the memory of perf buffers.
fn small_perf_buffers(host: &Host) -> Option<Gap> {
    // beside the limit, the kernel allows perf_event_mlock_kb for each CPU, 516 KiB by default (perf_mmap())
    let is_limited =
        !host.has(capability::IPC_LOCK) && host.perf_event_paranoid.is_none_or(|level| level > -1);
    let limit = host.locked_memory.filter(|_| is_limited)?;
    let gap = Gap::new(
        "perf buffers as large as asked for",
        format!(
            "beyond kernel.perf_event_mlock_kb they count against RLIMIT_MEMLOCK, which is {} KiB here: \
             they are made smaller until they fit",
            limit / 1024
        ),
        "ulimit -l unlimited, LimitMEMLOCK=infinity in a systemd unit, CAP_IPC_LOCK or CAP_SYS_RESOURCE",
    );
    Some(
        gap.fixed_by(Fix::LOCKED_MEMORY)
            .fixed_by(Fix::Capabilities(vec![capability::IPC_LOCK])),
    )
}

/// The gap of a host where no perf event can be opened.
fn no_perf_events(host: &Host) -> Option<Gap> {
    const WHAT: &str = "opening perf buffers";
    // kernels of Debian and Ubuntu then refuse; others know no level above 2
    let paranoid =
        host.perf_event_paranoid.is_some_and(|level| level > 2) && !host.has(capability::SYS_ADMIN);
    match host.perf_events {
        Trial::Works => None,
        Trial::Untried | Trial::Refused(_) if paranoid => {
            let gap = Gap::new(
                WHAT,
                "kernel.perf_event_paranoid is 3 or more, which CAP_PERFMON alone does not pass",
                "sysctl kernel.perf_event_paranoid=2, or give lanner CAP_SYS_ADMIN",
            );
            Some(
                gap.fixed_by(Fix::Sysctl {
                    name: "kernel.perf_event_paranoid",
                    value: "2",
                })
                .fixed_by(Fix::Capabilities(vec![capability::SYS_ADMIN])),
            )
        }
        Trial::Untried => None,
        // for the same reason
        Trial::Refused(_) if matches!(host.bpf, Trial::Refused(_)) => None,
        Trial::Refused(errno) => Some(Gap::new(
            WHAT,
            format!(
                "perf_event_open(2) is refused: a seccomp profile or a security module forbids it, or the kernel has no perf \
                 events ({})",
                std::io::Error::from_raw_os_error(errno)
            ),
            "allow the call perf_event_open in the container's profile, or use a kernel with CONFIG_PERF_EVENTS",
        )),
    }
}
