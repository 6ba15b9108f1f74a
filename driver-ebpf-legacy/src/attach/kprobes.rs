//! Probes on kernel functions: by the perf PMU of kprobes where there is one (since Linux 4.17), otherwise by name, in
//! the file `kprobe_events` of tracefs. Probes by name outlive their maker. A capture removes its own when it ends, and
//! the next one removes those that a killed lanner left.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use driver_api::error::Chain;

use super::KprobeError;
use super::tracefs::{Tracefs, TracefsError};
use crate::kernel::{Feature, Features};
use crate::sys;

/// Holds the number of the PMU.
const PMU: &str = "/sys/bus/event_source/devices/kprobe/type";
/// Lists the probes that have names; in tracefs.
const EVENTS: &str = "kprobe_events";
/// The names of our probes begin with this. A process id, `_` and a number follow.
const GROUP: &str = "lanner/e";

/// How kernel functions are probed here.
#[derive(Debug)]
pub(crate) enum Kprobes {
    /// By the PMU of this number.
    Pmu(u32),
    /// By name.
    Named(NamedProbes),
}

impl Kprobes {
    /// Finds out which way this kernel offers.
    pub(crate) fn new(features: Features) -> Result<Self, KprobeError> {
        if features.hides(Feature::Kprobes) {
            return Err(KprobeError::Hidden(Feature::Kprobes));
        }
        let number = fs::read_to_string(PMU)
            .ok()
            .and_then(|text| text.trim().parse().ok());
        if let Some(number) = number.filter(|_| !features.hides(Feature::KprobePmu)) {
            return Ok(Self::Pmu(number));
        }
        let tracefs = Tracefs::open(features)?;
        remove_left_behind(&tracefs);
        Ok(Self::Named(NamedProbes {
            tracefs,
            names: Vec::new(),
        }))
    }

    /// Opens the entry of a function. `cpu` is one that is online.
    pub(crate) fn open(&mut self, cpu: u32, function: &str) -> Result<OwnedFd, KprobeError> {
        match self {
            Self::Pmu(number) => CString::new(function)
                .map_err(io::Error::from)
                .and_then(|name| sys::open_function(cpu, *number, &name))
                .map_err(|source| KprobeError::Open {
                    function: function.to_owned(),
                    source,
                }),
            Self::Named(probes) => probes.open(cpu, function),
        }
    }
}

/// Probes that have names in tracefs. Drop them after the perf events that use them: a probe in use cannot be removed.
#[derive(Debug)]
pub(crate) struct NamedProbes {
    tracefs: Tracefs,
    names: Vec<String>,
}

impl NamedProbes {
    fn open(&mut self, cpu: u32, function: &str) -> Result<OwnedFd, KprobeError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "{GROUP}{}_{}",
            process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        self.tracefs
            .append(EVENTS, &format!("p:{name} {function}"))?;
        self.names.push(name.clone());
        sys::open_tracepoint(cpu, self.tracefs.id(&name)?).map_err(|source| KprobeError::Open {
            function: function.to_owned(),
            source,
        })
    }
}

impl Drop for NamedProbes {
    fn drop(&mut self) {
        for name in &self.names {
            if let Err(error) = remove(&self.tracefs, name) {
                tracing::debug!("the probe {name} stays in {EVENTS}: {}", Chain(&error));
            }
        }
    }
}

fn remove(tracefs: &Tracefs, name: &str) -> Result<(), TracefsError> {
    tracefs.append(EVENTS, &format!("-:{name}"))
}

/// Removes the probes of lanners that no longer run. One that is still in use stays: the kernel answers EBUSY.
fn remove_left_behind(tracefs: &Tracefs) {
    let text = tracefs.read(EVENTS).unwrap_or_default();
    let alive = |pid: u32| Path::new("/proc").join(pid.to_string()).exists();
    for name in left_behind(&text, alive) {
        match remove(tracefs, name) {
            Ok(()) => tracing::info!("removed the probe {name}, which a killed lanner had left"),
            Err(error) => {
                tracing::debug!("the probe {name} cannot be removed: {}", Chain(&error));
            }
        }
    }
}

/// The probes in the lines of `kprobe_events` (`p:lanner/e123_0 SyS_execve`) whose makers are not alive.
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
    use test_support::{is_root, lacking, skipped};

    use super::*;

    #[test]
    fn only_the_probes_of_lanners_that_no_longer_run_are_removed() {
        let events = "p:lanner/e12_0 SyS_execve\np:lanner/e13_1 SyS_exit\np:kprobes/e12_0 do_exit\np:lanner/x 0\n";
        assert_eq!(left_behind(events, |pid| pid == 13), ["lanner/e12_0"]);
    }

    #[test]
    fn a_named_probe_is_removed_with_its_owner_and_one_that_was_left_behind_by_the_next() {
        if !is_root() {
            skipped("probes need root");
            return;
        }
        let listed =
            |tracefs: &Tracefs, name: &str| tracefs.read(EVENTS).expect("probes").contains(name);
        let new = || NamedProbes {
            tracefs: Tracefs::open(Features::ALL).expect("tracefs"),
            names: Vec::new(),
        };
        if new().tracefs.read(EVENTS).is_err() {
            lacking("kprobes");
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
        // no process has this id (PID_MAX_LIMIT is 2^22)
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
