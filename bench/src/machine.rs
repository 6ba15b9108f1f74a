//! Describes the machine that was measured on.

use std::fs;
use std::process::Command;
use std::time::SystemTime;

/// What a reader has to know of it, in order.
pub(crate) fn describe() -> Vec<(&'static str, String)> {
    let host = drivers::host::detect();
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let cpu = value("/proc/cpuinfo", "model name").unwrap_or_else(|| host.machine.clone());
    let hypervisor = value("/proc/cpuinfo", "flags")
        .is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor"));
    let memory = value("/proc/meminfo", "MemTotal")
        .and_then(|text| text.split(' ').next()?.parse::<u64>().ok())
        .map_or_else(String::new, |kib| format!("{} MiB", kib >> 10));
    let kind = if hypervisor {
        ", a virtual machine"
    } else {
        ""
    };
    let mut facts = vec![
        (
            "date",
            humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        ),
        ("CPU", format!("{cpu} ({})", host.machine)),
        ("CPUs", format!("{cpus}{kind}")),
        ("memory", memory),
        ("kernel", host.release),
    ];
    for (name, options) in [
        ("bpftrace", "--version"),
        ("strace", "-V"),
        ("cc", "--version"),
    ] {
        if let Some(version) = first_line(name, options) {
            facts.push((name, version));
        }
    }
    facts
}

/// The value behind a key and a colon.
fn value(file: &str, key: &str) -> Option<String> {
    fs::read_to_string(file).ok()?.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == key).then(|| value.trim().to_owned())
    })
}

fn first_line(program: &str, option: &str) -> Option<String> {
    let output = Command::new(program).arg(option).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.lines().next()?.to_owned())
}
