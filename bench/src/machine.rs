//! Describes the machine, and how quiet it was during the run.

use std::fs;
use std::process::Command;
use std::time::SystemTime;

use nix::sys::resource::{UsageWho, getrusage};
use nix::unistd::{SysconfVar, sysconf};

/// The facts about the machine that a reader of the results needs, in order.
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

/// If others use more than this part of the CPUs, in percent, figures near their goals are not reliable.
const NOISY: f64 = 5.0;

/// Measures how much CPU time others use during the run.
#[derive(Debug)]
pub(crate) struct Quiet {
    before: Option<Jiffies>,
}

/// Clock ticks of all CPUs since boot (proc_stat(5)).
#[derive(Debug, Clone, Copy, PartialEq)]
struct Jiffies {
    all: f64,
    busy: f64,
    stolen: f64,
}

impl Quiet {
    pub(crate) fn new() -> Self {
        Self {
            before: jiffies(&fs::read_to_string("/proc/stat").unwrap_or_default()),
        }
    }

    /// Describes how quiet it was. CPU time that neither this process nor its children used was used by others.
    pub(crate) fn describe(&self) -> Option<(&'static str, String)> {
        let before = self.before?;
        let after = jiffies(&fs::read_to_string("/proc/stat").ok()?)?;
        let per_second = sysconf(SysconfVar::CLK_TCK).ok()?? as f64;
        let ours: f64 = [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN]
            .into_iter()
            .filter_map(|who| getrusage(who).ok())
            .flat_map(|usage| [usage.user_time(), usage.system_time()])
            .map(|time| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6)
            .sum();
        let all = after.all - before.all;
        if all <= 0.0 {
            return None;
        }
        let others = (after.busy - before.busy - ours * per_second).max(0.0);
        let others = 100.0 * others / all;
        let stolen = 100.0 * (after.stolen - before.stolen) / all;
        let advice = if others + stolen > NOISY {
            ": too much, measure again when the machine is quiet"
        } else {
            ""
        };
        Some((
            "disturbance",
            format!(
                "others used {others:.1} % of the CPUs during the run, the hypervisor took {stolen:.1} %{advice}"
            ),
        ))
    }
}

/// Parses the first line of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal.
fn jiffies(stat: &str) -> Option<Jiffies> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<f64> = line
        .split_whitespace()
        .take(8)
        .map_while(|word| word.parse().ok())
        .collect();
    let [user, nice, system, idle, iowait, irq, softirq, stolen] = ticks.try_into().ok()?;
    let busy = user + nice + system + irq + softirq;
    Some(Jiffies {
        all: busy + idle + iowait + stolen,
        busy,
        stolen,
    })
}

/// The value after a key and a colon.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_and_stolen_time_are_not_busy() {
        let found = jiffies("cpu  1 2 3 100 10 4 5 7 0 0\ncpu0 1 2 3\n");
        let expected = Jiffies {
            all: 132.0,
            busy: 15.0,
            stolen: 7.0,
        };
        assert_eq!(found, Some(expected));
        assert_eq!(jiffies("cpu 1 2"), None);
    }
}
