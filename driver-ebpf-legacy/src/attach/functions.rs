//! Probes on functions of the kernel: by the perf PMU of kprobes where there is one (since 4.17), else by name, in
//! the file `kprobe_events` of tracefs. Those with names outlive their maker, so they are removed when a capture ends,
//! and whoever comes next removes what one that was killed has left.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use super::lacks;
use super::tracefs::Tracefs;
use crate::sys;

const PMU: &str = "/sys/bus/event_source/devices/kprobe/type";
const EVENTS: &str = "kprobe_events";
/// The names of our probes begin so: `lanner/e`, process id, `_`, number.
const GROUP: &str = "lanner/e";

/// How functions are probed here.
#[derive(Debug)]
pub(crate) enum Functions {
    Pmu(u32),
    Named(NamedProbes),
}

impl Functions {
    /// Finds out which way there is.
    pub(crate) fn new() -> Result<Self, String> {
        if lacks("kprobes") {
            return Err("LANNER_LEGACY_WITHOUT has kprobes".to_owned());
        }
        let number = fs::read_to_string(PMU)
            .ok()
            .and_then(|text| text.trim().parse().ok());
        if let Some(number) = number.filter(|_| !lacks("kprobe_pmu")) {
            return Ok(Self::Pmu(number));
        }
        let tracefs = Tracefs::open()?;
        remove_left_behind(&tracefs);
        Ok(Self::Named(NamedProbes {
            tracefs,
            names: Vec::new(),
        }))
    }

    /// Opens the entry of a function.
    pub(crate) fn open(&mut self, cpu: u32, function: &str) -> io::Result<OwnedFd> {
        match self {
            Self::Pmu(number) => sys::open_function(cpu, *number, &CString::new(function)?),
            Self::Named(probes) => probes.open(cpu, function),
        }
    }
}

/// Probes that have names in tracefs. To be dropped after what was opened: one that is used cannot be removed.
#[derive(Debug)]
pub(crate) struct NamedProbes {
    tracefs: Tracefs,
    names: Vec<String>,
}

impl NamedProbes {
    fn open(&mut self, cpu: u32, function: &str) -> io::Result<OwnedFd> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "{GROUP}{}_{}",
            process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        self.tracefs
            .append(EVENTS, &format!("p:{name} {function}"))?;
        self.names.push(name.clone());
        sys::open_tracepoint(cpu, self.tracefs.id(&name)?)
    }
}

impl Drop for NamedProbes {
    fn drop(&mut self) {
        for name in &self.names {
            if let Err(error) = self.tracefs.append(EVENTS, &format!("-:{name}")) {
                tracing::debug!("the probe {name} stays in {EVENTS}: {error}");
            }
        }
    }
}

/// Removes the probes of processes that are gone. One that is used still stays: the kernel answers EBUSY.
fn remove_left_behind(tracefs: &Tracefs) {
    let text = tracefs.read(EVENTS).unwrap_or_default();
    for name in left_behind(&text, |pid| {
        Path::new("/proc").join(pid.to_string()).exists()
    }) {
        match tracefs.append(EVENTS, &format!("-:{name}")) {
            Ok(()) => {
                tracing::info!("removed the probe {name}, which a lanner that was killed had left");
            }
            Err(error) => tracing::debug!("the probe {name} cannot be removed: {error}"),
        }
    }
}

/// Names of probes in the lines of `kprobe_events` (`p:lanner/e123_0 SyS_execve`) whose makers are not alive.
fn left_behind(events: &str, alive: impl Fn(u32) -> bool) -> Vec<&str> {
    let names = events
        .lines()
        .filter_map(|line| line.split_once(':')?.1.split(' ').next());
    names
        .filter(|name| {
            let pid = name
                .strip_prefix(GROUP)
                .and_then(|rest| rest.split_once('_')?.0.parse().ok());
            pid.is_some_and(|pid| !alive(pid))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_probes_of_lanners_that_are_gone_are_removed() {
        let events = "p:lanner/e12_0 SyS_execve\np:lanner/e13_1 SyS_exit\np:kprobes/e12_0 do_exit\np:lanner/x 0\n";
        assert_eq!(left_behind(events, |pid| pid == 13), ["lanner/e12_0"]);
    }

    #[test]
    fn a_named_probe_goes_with_its_owner_and_one_that_was_left_behind_goes_later() {
        if !nix::unistd::geteuid().is_root() {
            println!("skipped: probes need root");
            return;
        }
        let listed =
            |tracefs: &Tracefs, name: &str| tracefs.read(EVENTS).expect("probes").contains(name);
        let new = || NamedProbes {
            tracefs: Tracefs::open().expect("tracefs"),
            names: Vec::new(),
        };
        if new().tracefs.read(EVENTS).is_err() {
            println!("skipped: this kernel has no kprobes");
            return;
        }
        let mut probes = new();
        let event = probes.open(0, "do_exit").expect("a probe");
        let name = probes.names[0].clone();
        assert!(listed(&probes.tracefs, &name));
        drop(event);
        drop(probes);
        let mut probes = new();
        assert!(!listed(&probes.tracefs, &name));
        // of a process id that no process has (PID_MAX_LIMIT is 2^22)
        let stale = format!("{GROUP}99999999_7");
        probes
            .tracefs
            .append(EVENTS, &format!("p:{stale} do_exit"))
            .expect("a probe");
        assert!(listed(&probes.tracefs, &stale));
        remove_left_behind(&probes.tracefs);
        assert!(!listed(&probes.tracefs, &stale));
        assert!(probes.open(0, "there_is_no_such_function").is_err());
    }
}
