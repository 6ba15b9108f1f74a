//! Gathers the facts about the host that probing needs.
//!
//! [`detect`] looks. [`try_out`] has the drivers try the rest: they make BPF maps and programs and open perf events, which
//! they close at once, and start children that end. Nothing remains of it.

use std::fs;
use std::path::Path;

use driver_api::driver::registered;
use driver_api::error::Chain;
use driver_api::host::{Host, capability};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use proc_pid::Status;

use crate::cgroup;

/// The buffer of each CPU if neither the user nor a limit of memory says otherwise.
const BUFFER: usize = 8 << 20;
/// The smallest buffer of a CPU that every driver takes.
const SMALLEST_BUFFER: usize = 1 << 16;

/// The host as it is now.
pub fn detect() -> Host {
    let status = Status::of_self().unwrap_or_else(|error| {
        tracing::warn!("no privilege is assumed: {}", Chain(&error));
        Status::parse(Vec::new())
    });
    let (release, machine, version) = nix::sys::utsname::uname()
        .map(|name| {
            (
                name.release().to_string_lossy().into_owned(),
                name.machine().to_string_lossy().into_owned(),
                name.version().to_string_lossy().into_owned(),
            )
        })
        .unwrap_or_default();
    let capabilities = status.capabilities().map_or(0, |sets| sets.effective);
    Host {
        release,
        // PREEMPT, PREEMPT_DYNAMIC, PREEMPT_RT, ... (init/Makefile)
        preemptible: version.contains("PREEMPT"),
        machine,
        euid: nix::unistd::geteuid().as_raw(),
        capabilities,
        locked_memory: locked_memory(capabilities),
        btf: fs::File::open("/sys/kernel/btf/vmlinux").is_ok(),
        btf_file: None,
        cpus: possible_cpus(),
        memory: memory(),
        memory_left: cgroup::memory_left(),
        perf_event_paranoid: number("/proc/sys/kernel/perf_event_paranoid"),
        ptrace_scope: number("/proc/sys/kernel/yama/ptrace_scope"),
        seccomp: Path::new("/proc/sys/kernel/seccomp").exists() || status.seccomp().is_some(),
        lockdown: lockdown(),
        traced: status.tracer().is_some(),
        no_new_privs: status.no_new_privs() == Some(true),
        ..Host::default()
    }
}

/// Buffers take at most the host's memory divided by this.
const PART: u64 = 32;

/// The bytes of buffer for each CPU: a power of two. All together take at most 1/32 of the host's memory, and half of what
/// lanner's cgroup allows beside what lanner needs for the rest.
pub fn fitting_buffer(host: &Host) -> usize {
    // measured on Linux 6.18: maps of BPF programs, some of which have a value for each CPU, and lanner's own state
    const NEEDED: u64 = 16 << 20;
    const NEEDED_BY_CPU: u64 = 4 << 20;
    let cpus = host.cpus.max(1) as u64;
    let left = host.memory_left;
    let spare = left.map(|left| left.saturating_sub(NEEDED + cpus * NEEDED_BY_CPU) / 2);
    let part = host.memory.map(|memory| memory / PART);
    let most = spare.into_iter().chain(part).min().unwrap_or(u64::MAX);
    let mut size = BUFFER;
    while size > SMALLEST_BUFFER && cpus.saturating_mul(size as u64) > most {
        size /= 2;
    }
    size
}

/// Why buffers are smaller than usual, and what that means, for a person. None: they are not.
pub fn shrunk_buffer(host: &Host) -> Option<String> {
    let size = fitting_buffer(host);
    if size == BUFFER {
        return None;
    }
    let without_cgroup = fitting_buffer(&Host {
        memory_left: None,
        ..host.clone()
    });
    let why = match (host.memory_left, host.memory) {
        (Some(left), _) if size < without_cgroup => {
            format!("the cgroup of lanner allows {} MiB more memory", left >> 20)
        }
        (_, Some(memory)) => format!(
            "the host has {} MiB of memory for {} possible CPUs",
            memory >> 20,
            host.cpus
        ),
        (_, None) => return None,
    };
    Some(format!(
        "{why}: buffers have {} KiB for each CPU instead of {} KiB; with more memory fewer events are lost under load, and \
         --buffer BYTES sets another size",
        size >> 10,
        BUFFER >> 10
    ))
}

/// The host with what only a try can answer, such as what a container's profile forbids: each driver tries what it
/// needs to know. This costs about a millisecond. [`open`](crate::open) does not need it:
/// drivers try by themselves when they are opened.
pub fn try_out(host: &Host) -> Host {
    let mut host = host.clone();
    for driver in registered() {
        driver.try_out(&mut host);
    }
    host
}

/// The hard limit of locked memory, up to which the soft one can be raised. None: it is unlimited, or lanner may raise it.
fn locked_memory(capabilities: u64) -> Option<u64> {
    if capabilities & (1 << capability::SYS_RESOURCE) != 0 {
        return None;
    }
    let (_, hard) = getrlimit(Resource::RLIMIT_MEMLOCK).ok()?;
    (hard != RLIM_INFINITY).then_some(hard)
}

/// The CPUs that can come online, for each of which there is a buffer. 0: unknown.
fn possible_cpus() -> usize {
    let possible = fs::read_to_string("/sys/devices/system/cpu/possible");
    possible
        .ok()
        .and_then(|text| count_cpus(&text))
        .unwrap_or_else(|| {
            // SAFETY: sysconf(3) takes a number.
            usize::try_from(unsafe { libc::sysconf(libc::_SC_NPROCESSORS_CONF) }).unwrap_or(0)
        })
}

/// The number of CPUs of a list such as `0-3,8` (Documentation/admin-guide/cputopology.rst).
fn count_cpus(list: &str) -> Option<usize> {
    let ranges = list.trim().split(',');
    ranges
        .map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
            last.checked_sub(first)?.checked_add(1)
        })
        .sum()
}

/// The bytes of the host's memory (sysinfo(2)).
fn memory() -> Option<u64> {
    let mut info = std::mem::MaybeUninit::<libc::sysinfo>::zeroed();
    // SAFETY: the kernel writes one struct, for which zeros are valid.
    let info = unsafe { (libc::sysinfo(info.as_mut_ptr()) == 0).then(|| info.assume_init())? };
    Some(info.totalram * u64::from(info.mem_unit))
}

fn number(path: &str) -> Option<i64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The choice in brackets of "none [integrity] confidentiality".
fn lockdown() -> Option<String> {
    let text = fs::read_to_string("/sys/kernel/security/lockdown").ok()?;
    let (_, rest) = text.split_once('[')?;
    rest.split_once(']').map(|(choice, _)| choice.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(cpus: usize, left: Option<u64>) -> Host {
        Host {
            cpus,
            memory_left: left,
            ..Host::default()
        }
    }

    #[test]
    fn lists_of_cpus_are_counted() {
        for (list, count) in [
            ("0\n", Some(1)),
            ("0-127\n", Some(128)),
            ("0-3,8,10-11", Some(7)),
        ] {
            assert_eq!(count_cpus(list), count, "{list}");
        }
        assert_eq!((count_cpus(""), count_cpus("3-1")), (None, None));
    }

    #[test]
    fn buffers_fit_into_what_the_cgroup_leaves() {
        const MIB: u64 = 1 << 20;
        for (cpus, left, kib) in [
            (2, None, 8192),
            (2, Some(1024 * MIB), 8192),
            (2, Some(56 * MIB), 8192),
            (2, Some(40 * MIB), 4096),
            (2, Some(22 * MIB), 64),
            (2, Some(0), 64),
            (64, Some(500 * MIB), 1024),
            (0, Some(100 * MIB), 8192),
        ] {
            let host = host(cpus, left);
            assert_eq!(fitting_buffer(&host), kib << 10, "{cpus} {left:?}");
            assert_eq!(shrunk_buffer(&host).is_some(), kib < 8192);
        }
        for (cpus, gib, kib) in [(2, 1, 8192), (64, 256, 8192), (64, 4, 2048), (128, 4, 1024)] {
            let host = Host {
                memory: Some(gib << 30),
                ..host(cpus, None)
            };
            assert_eq!(fitting_buffer(&host), kib << 10, "{cpus} {gib}");
            let said = shrunk_buffer(&host);
            assert_eq!(said.is_some(), kib < 8192);
            assert!(said.is_none_or(|said| said.contains("possible CPUs")));
            // what is scarcer decides
            let scarce = Host {
                memory_left: Some(22 * MIB),
                ..host
            };
            let said = shrunk_buffer(&scarce).expect("it is shrunk");
            assert!(said.contains("22 MiB"), "{said}");
        }
        let said = shrunk_buffer(&host(2, Some(22 * MIB))).expect("it is shrunk");
        assert!(said.contains("22 MiB") && said.contains("64 KiB"), "{said}");
    }
}
