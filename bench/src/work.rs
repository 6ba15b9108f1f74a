//! Real work under rules: how much longer it takes with each driver, and how much CPU time lanner uses. Beside it strace,
//! which stops at the calls that the default rules select and judges nothing.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::args::Options;
use crate::goals::Goals;
use crate::replay::{self, Rules, Set};
use crate::report::{Report, Table, percent};
use crate::samples::{Sample, Samples, median, shuffled};
use crate::tracer::host_drivers;
use crate::unprivileged::{lanner, notify_options, words};
use crate::workshop::{Affinity, Load, Workshop, look_up};
use crate::{Error, Part, Result, say};

const ALONE: &str = "alone";
const STRACE: &str = "strace --seccomp-bpf";
const DEFAULT: &str = "default rules";

/// Who watches a load, and how.
struct Contestant {
    name: String,
    how: How,
}

enum How {
    /// It starts the load. If it is empty, the load runs alone.
    Around(Vec<OsString>),
    /// It watches the whole host.
    Beside(Vec<OsString>),
}

/// The share of its time in which a load's watcher used a CPU, in percent, by load and contestant, one for each round.
type Shares = BTreeMap<(Load, String), Vec<f64>>;

/// Measures, and adds the results to the report and the goals.
pub(crate) fn measure(part: Part<'_>) -> Result<()> {
    let Part {
        options,
        workshop,
        report,
        goals,
    } = part;
    let lanner = match lanner(options) {
        Ok(lanner) => lanner,
        Err(why) => {
            report.failed("real work under rules", &why);
            return Ok(());
        }
    };
    let folder = tempfile::tempdir().map_err(Error::failed("make a folder"))?;
    let sets = replay::sets(report);
    let mut all = contestants(options, &lanner, folder.path(), &sets, report)?;
    all.retain(|contestant| contestant.name == ALONE || options.wants(&contestant.name));
    let mut samples = Samples::default();
    let mut shares = Shares::new();
    let loads: Vec<Load> = Load::WORK
        .into_iter()
        .filter(|load| options.wants_load(load.key()) && workshop.has(*load))
        .collect();
    for round in 0..options.rounds() {
        say(&format!(
            "work, round {} of {}",
            round + 1,
            options.rounds()
        ));
        for contestant in shuffled(all.iter().collect(), round) {
            let watched = watch(options, workshop, contestant, &loads);
            match watched {
                Ok(measured) => {
                    for (load, ns, share) in measured {
                        let counters = None;
                        samples.add(load, &contestant.name, round, Sample { ns, counters });
                        let key = (load, contestant.name.clone());
                        shares.entry(key).or_default().push(share);
                    }
                }
                Err(why) if contestant.name == ALONE => return Err(why),
                Err(why) if round == 0 => report.failed(&contestant.name, &why),
                Err(why) => say(&format!("left out: {}: {why}", contestant.name)),
            }
        }
    }
    lay_out(&samples, &shares, &all, &loads, report);
    compare(&samples, &loads, goals);
    Ok(())
}

/// The file of a set of rules.
fn file(folder: &Path, set: &Set) -> Result<PathBuf> {
    let path = folder.join(format!("{}.yaml", set.name.replace(' ', "-")));
    fs::write(&path, &set.text).map_err(Error::failed("write the rules"))?;
    Ok(path)
}

fn contestants(
    options: &Options,
    lanner: &Path,
    folder: &Path,
    sets: &[Set],
    report: &mut Report,
) -> Result<Vec<Contestant>> {
    let mut all = vec![Contestant {
        name: ALONE.to_owned(),
        how: How::Around(Vec::new()),
    }];
    if let Some(strace) = look_up("strace") {
        match traced(lanner, sets) {
            Ok(calls) => {
                let options = format!("-f --seccomp-bpf -o /dev/null -e trace={calls}");
                all.push(Contestant {
                    name: STRACE.to_owned(),
                    how: How::Around(words(&strace, &options)),
                });
            }
            Err(why) => report.failed(STRACE, &why),
        }
    } else {
        report.left_out(STRACE, "it is not installed");
    }
    let notify = notify_options(options, lanner);
    for set in sets {
        let file = file(folder, set)?;
        let run = |options: &str| {
            let mut all = words(lanner, &format!("run {options} -r"));
            all.push(file.as_os_str().to_owned());
            all
        };
        let around = |options: &str| {
            let mut all = run(options);
            all.push("--".into());
            How::Around(all)
        };
        let mut add = |what: &str, how| {
            all.push(Contestant {
                name: format!("{what}, {}", set.name),
                how,
            });
        };
        if nix::unistd::geteuid().is_root() {
            for driver in host_drivers() {
                add(driver, How::Beside(run(&format!("--driver {driver}"))));
            }
        }
        add("ptrace", around("--driver ptrace"));
        if let Some(notify) = &notify {
            add("ptrace, notify mode", around(notify));
        }
    }
    if !nix::unistd::geteuid().is_root() {
        report.left_out("real work under eBPF drivers", "it needs root");
    }
    Ok(all)
}

/// The calls of the default rules, as strace wants them. It ignores names that it does not know.
fn traced(lanner: &Path, sets: &[Set]) -> Result<String> {
    let plugin = replay::plugin(lanner)?;
    let set = sets.iter().find(|set| set.name == DEFAULT);
    let rules = Rules::open(&plugin, &set.ok_or("there are no default rules")?.text)?;
    let calls = rules.selection();
    let names: Vec<String> = calls.iter().map(|call| format!("?{}", call.name)).collect();
    Ok(names.join(","))
}

/// Runs all loads under a contestant. For each: the time of one iteration, and the CPU share of the contestant.
fn watch(
    options: &Options,
    workshop: &Workshop,
    contestant: &Contestant,
    loads: &[Load],
) -> Result<Vec<(Load, f64, f64)>> {
    let (wrapper, watcher) = match &contestant.how {
        How::Around(wrapper) => (wrapper.as_slice(), None),
        How::Beside(command) => (&[][..], Some(Watcher::start(command)?)),
    };
    let mut measured = Vec::new();
    for load in loads {
        let before = watcher.as_ref().map(Watcher::cpu_ns);
        let iterations = load.iterations(options.quick);
        let ran = workshop.run(*load, iterations, Affinity::Anywhere, wrapper)?;
        let used = match (&watcher, before) {
            (Some(watcher), Some(before)) => watcher.cpu_ns().saturating_sub(before),
            _ if wrapper.is_empty() => 0,
            _ => ran.parent_ns,
        };
        measured.push((*load, ran.each(), 100.0 * used as f64 / ran.ns as f64));
    }
    Ok(measured)
}

/// A lanner that watches the whole host. Dropping it stops it.
struct Watcher(Child);

impl Watcher {
    /// Returns when it has begun to watch.
    fn start(command: &[OsString]) -> Result<Self> {
        let (program, arguments) = command.split_first().ok_or("nothing to run")?;
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(Error::failed("start lanner"))?;
        let stderr = child.stderr.take();
        let watcher = Self(child);
        let mut said = String::new();
        let mut lines = BufReader::new(stderr.ok_or("lanner has no standard error")?);
        while !said.contains("driver ") {
            said.clear();
            let read = lines.read_line(&mut said);
            if read.map_err(Error::failed("read from lanner"))? == 0 {
                return Err(Error::unexpected("lanner has ended early"));
            }
        }
        // it must not stop because nothing reads what it prints
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        Ok(watcher)
    }

    /// The CPU time of all its threads so far, in nanoseconds.
    fn cpu_ns(&self) -> u64 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.0.id()));
        let threads = tasks.into_iter().flatten().flatten();
        let times = threads.filter_map(|thread| {
            // Documentation/scheduler/sched-stats.rst
            let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        });
        times.sum()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.0.id().cast_signed()), Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

fn slower(samples: &Samples, load: Load, name: &str) -> Option<f64> {
    let added = samples.added(load, name, ALONE)?;
    Some(100.0 * added / samples.time(load, ALONE)?)
}

fn lay_out(
    samples: &Samples,
    shares: &Shares,
    all: &[Contestant],
    loads: &[Load],
    report: &mut Report,
) {
    let mut columns = vec![String::new()];
    for load in loads {
        columns.push(format!("{}: slower by", load.name()));
        columns.push("CPU".to_owned());
    }
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let mut table = Table::new(
        "real work: how much longer it takes, and the CPU time of the watcher as a part of the work's time",
        &columns,
    );
    for contestant in all.iter().filter(|contestant| contestant.name != ALONE) {
        let mut row = vec![contestant.name.clone()];
        for load in loads {
            let share = shares.get(&(*load, contestant.name.clone()));
            row.push(percent(slower(samples, *load, &contestant.name)));
            row.push(percent(share.and_then(|all| median(all.clone()))));
        }
        table.row(row);
    }
    report.lead(table);
}

fn compare(samples: &Samples, loads: &[Load], goals: &mut Goals) {
    let name = format!("ptrace, {DEFAULT}");
    for load in loads
        .iter()
        .filter(|load| matches!(load, Load::Build | Load::Python))
    {
        goals.at_most(
            &format!("ptrace, default rules, {}: slower than alone", load.name()),
            8.0,
            slower(samples, *load, &name),
            " %",
        );
    }
}
