//! Gathers the facts about the host that probing needs. Nothing here changes anything.

use std::fs;
use std::path::{Path, PathBuf};

use driver_api::host::Host;

/// The host as it is now.
pub fn detect() -> Host {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let status = |key: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))
            .map(str::trim)
            .unwrap_or_default()
    };
    let (release, machine) = nix::sys::utsname::uname()
        .map(|name| {
            (
                name.release().to_string_lossy().into_owned(),
                name.machine().to_string_lossy().into_owned(),
            )
        })
        .unwrap_or_default();
    Host {
        release,
        machine,
        euid: nix::unistd::geteuid().as_raw(),
        capabilities: u64::from_str_radix(status("CapEff"), 16).unwrap_or(0),
        btf: fs::File::open("/sys/kernel/btf/vmlinux").is_ok(),
        btf_file: None,
        tracefs: tracefs(),
        perf_event_paranoid: number("/proc/sys/kernel/perf_event_paranoid"),
        unprivileged_bpf_disabled: number("/proc/sys/kernel/unprivileged_bpf_disabled"),
        ptrace_scope: number("/proc/sys/kernel/yama/ptrace_scope"),
        seccomp: Path::new("/proc/sys/kernel/seccomp").exists() || !status("Seccomp").is_empty(),
        lockdown: lockdown(),
        traced: status("TracerPid").parse::<u32>().is_ok_and(|pid| pid != 0),
        no_new_privs: status("NoNewPrivs") == "1",
        ..Host::default()
    }
}

/// The host with what no file tells: what a container's profile forbids is tried, in children that end. Costs
/// a millisecond; drivers do it themselves where they have to know.
pub fn try_out(host: &Host) -> Host {
    #[cfg(feature = "ptrace")]
    return driver_ptrace::try_out(host);
    #[cfg(not(feature = "ptrace"))]
    host.clone()
}

fn number(path: &str) -> Option<i64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The place where tracefs is mounted and can be read (Documentation/trace/ftrace.rst names two).
fn tracefs() -> Option<PathBuf> {
    ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"]
        .into_iter()
        .map(PathBuf::from)
        .find(|path| path.join("events").is_dir() && fs::read_dir(path.join("events")).is_ok())
}

/// The choice in brackets of "none [integrity] confidentiality".
fn lockdown() -> Option<String> {
    let text = fs::read_to_string("/sys/kernel/security/lockdown").ok()?;
    let (_, rest) = text.split_once('[')?;
    rest.split_once(']').map(|(choice, _)| choice.to_owned())
}
