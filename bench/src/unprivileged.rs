//! The ptrace driver, beside strace and without a tracer. This needs no privilege.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::args::Options;
use crate::goals::Goals;
use crate::report::{Report, Table, ratio, time};
use crate::samples::{Sample, Samples, shuffled};
use crate::workshop::{Affinity, Load, Workshop, look_up};
use crate::{Error, Part, Result, say};

const ALONE: &str = "alone";
const ALONE_PINNED: &str = "alone, on one CPU";
const LANNER: &str = "lanner trace";
const LANNER_PINNED: &str = "lanner trace, on one CPU";
const NOTIFY: &str = "lanner trace, notify mode";
const STRACE: &str = "strace --seccomp-bpf";
const STRACE_PINNED: &str = "strace --seccomp-bpf, on one CPU";

/// Options that may select the notify mode. The first that works is used.
const NOTIFY_OPTIONS: [&str; 4] = [
    "--driver ptrace --mode notify",
    "--driver ptrace --ptrace-mode notify",
    "--driver ptrace --notify",
    "--driver ptrace-notify",
];

/// A command that runs a load.
struct Contestant {
    name: &'static str,
    /// The contestant that its added time is compared with.
    base: &'static str,
    wrapper: Vec<OsString>,
}

/// The lanner to be measured.
pub(crate) fn lanner(options: &Options) -> Result<PathBuf> {
    let path = match &options.lanner {
        Some(path) => path.clone(),
        None => env::current_exe()
            .map_err(Error::failed("find this program's own file"))?
            .with_file_name("lanner"),
    };
    if path.exists() {
        Ok(path)
    } else {
        Err(Error::unexpected(format!(
            "there is no {} (name one with --lanner)",
            path.display()
        )))
    }
}

pub(crate) fn words(program: &Path, options: &str) -> Vec<OsString> {
    let mut words = vec![program.as_os_str().to_owned()];
    words.extend(options.split_whitespace().map(OsString::from));
    words
}

/// The options with which this lanner captures in the notify mode.
pub(crate) fn notify_options(options: &Options, lanner: &Path) -> Option<String> {
    let works = |candidate: &str| {
        let mut wrapper = words(lanner, &format!("trace {candidate} -e openat --"));
        wrapper.push("/bin/true".into());
        let (program, arguments) = wrapper.split_first()?;
        let status = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .ok()?;
        status.success().then(|| candidate.to_owned())
    };
    match &options.notify {
        Some(given) => works(given),
        None => NOTIFY_OPTIONS.into_iter().find_map(works),
    }
}

/// The calls that are traced, and the iterations of a load under a tracer that stops at them.
fn traced(load: Load, quick: bool) -> (&'static str, u64) {
    match load {
        Load::Open => ("openat", if quick { 4000 } else { 8000 }),
        _ => (
            "execve,clone,clone3,fork,vfork",
            if quick { 150 } else { 300 },
        ),
    }
}

fn contestants(
    lanner: Option<&Path>,
    notify: Option<&str>,
    strace: Option<&Path>,
    taskset: Option<&Path>,
    calls: &str,
    cpu: usize,
) -> Vec<Contestant> {
    let plain = |name, wrapper| Contestant {
        name,
        base: ALONE,
        wrapper,
    };
    let pinned = |name, taskset: &Path, wrapper: Vec<OsString>| {
        let mut words = words(taskset, &format!("-c {cpu}"));
        words.extend(wrapper);
        Contestant {
            name,
            base: ALONE_PINNED,
            wrapper: words,
        }
    };
    let mut all = vec![plain(ALONE, Vec::new())];
    if let Some(taskset) = taskset {
        all.push(pinned(ALONE_PINNED, taskset, Vec::new()));
    }
    if let Some(lanner) = lanner {
        let trace = words(lanner, &format!("trace --driver ptrace -e {calls} --"));
        all.push(plain(LANNER, trace.clone()));
        if let Some(taskset) = taskset {
            all.push(pinned(LANNER_PINNED, taskset, trace));
        }
        if let Some(notify) = notify {
            all.push(plain(
                NOTIFY,
                words(lanner, &format!("trace {notify} -e {calls} --")),
            ));
        }
    }
    if let Some(strace) = strace {
        let options = format!("-f --seccomp-bpf -o /dev/null -e trace={calls}");
        let wrapper = words(strace, &options);
        all.push(plain(STRACE, wrapper.clone()));
        if let Some(taskset) = taskset {
            all.push(pinned(STRACE_PINNED, taskset, wrapper));
        }
    }
    all
}

/// `lanner trace` beside strace with the same selection.
pub(crate) fn measure_stops(part: Part<'_>) -> Result<()> {
    let Part {
        options,
        workshop,
        report,
        goals,
    } = part;
    let lanner = lanner(options)
        .map_err(|why| report.failed("lanner trace", &why))
        .ok();
    let strace = look_up("strace");
    let taskset = look_up("taskset");
    let notify = lanner
        .as_deref()
        .and_then(|lanner| notify_options(options, lanner));
    if strace.is_none() {
        report.left_out("strace", "it is not installed");
    }
    if taskset.is_none() {
        report.left_out(
            "tracers on one CPU with their tracees",
            "there is no taskset",
        );
    }
    if notify.is_none() {
        report.left_out(NOTIFY, "this lanner has no such option");
    }
    for load in [Load::Open, Load::ForkExec] {
        if !options.wants_load(load.key()) {
            continue;
        }
        let (calls, stopped) = traced(load, options.quick);
        let all = contestants(
            lanner.as_deref(),
            notify.as_deref(),
            strace.as_deref(),
            taskset.as_deref(),
            calls,
            workshop.load_cpu(),
        );
        // without a tracer a load is so much faster that it needs more iterations to be measured
        let iterations = |contestant: &Contestant| match contestant.name {
            ALONE | ALONE_PINNED => load.iterations(options.quick),
            _ => stopped,
        };
        let samples = rounds(options, workshop, &all, load, iterations, report)?;
        lay_out_stops(&samples, &all, load, calls, report);
        compare_stops(&samples, load, goals);
    }
    Ok(())
}

/// Measures every contestant once in each round. Each round has another order.
fn rounds(
    options: &Options,
    workshop: &Workshop,
    all: &[Contestant],
    load: Load,
    iterations: impl Fn(&Contestant) -> u64,
    report: &mut Report,
) -> Result<Samples> {
    let mut samples = Samples::default();
    let mut failed: Vec<&str> = Vec::new();
    for round in 0..options.rounds() {
        say(&format!(
            "ptrace, {}, round {} of {}",
            load.name(),
            round + 1,
            options.rounds()
        ));
        for contestant in shuffled(all.iter().collect(), round) {
            if failed.contains(&contestant.name) {
                continue;
            }
            let n = iterations(contestant);
            // if taskset is the wrapper, the load inherits its CPU
            match workshop.run(load, n, Affinity::Anywhere, &contestant.wrapper) {
                Ok(ran) => {
                    let sample = Sample {
                        ns: ran.each(),
                        counters: None,
                    };
                    samples.add(load, contestant.name, round, sample);
                }
                Err(why) if contestant.name == ALONE => return Err(why),
                Err(why) => {
                    report.failed(contestant.name, &why);
                    failed.push(contestant.name);
                }
            }
        }
    }
    Ok(samples)
}

fn lay_out_stops(
    samples: &Samples,
    all: &[Contestant],
    load: Load,
    calls: &str,
    report: &mut Report,
) {
    let mut table = Table::new(
        &format!("{}, ptrace, {calls} selected", load.name()),
        &[
            "",
            "one iteration",
            "added",
            "quartiles",
            "of strace",
            "of strace on one CPU",
        ],
    );
    for contestant in all {
        let (name, base) = (contestant.name, contestant.base);
        let added = (name != base)
            .then(|| samples.added(load, name, base))
            .flatten();
        let against = |other| added.and_then(|_| samples.ratio(load, (name, base), other));
        table.row(vec![
            name.to_owned(),
            time(samples.time(load, name)),
            time(added),
            samples
                .quartiles(load, name, base)
                .filter(|_| added.is_some())
                .map_or_else(String::new, |(low, high)| {
                    format!("{} to {}", time(Some(low)), time(Some(high)))
                }),
            ratio(against((STRACE, ALONE))),
            ratio(against((STRACE_PINNED, ALONE_PINNED))),
        ]);
    }
    report.table(table);
}

fn compare_stops(samples: &Samples, load: Load, goals: &mut Goals) {
    let against_pinned = |name| samples.ratio(load, (name, ALONE), (STRACE_PINNED, ALONE_PINNED));
    let name = load.name();
    goals.at_most(
        &format!("ptrace trace, {name}, both started plainly: of strace"),
        0.5,
        samples.ratio(load, (LANNER, ALONE), (STRACE, ALONE)),
        "",
    );
    goals.at_most(
        &format!("ptrace trace, {name}: of strace on its tracee's CPU"),
        if load == Load::Open { 0.8 } else { 0.9 },
        against_pinned(LANNER),
        "",
    );
    if load == Load::Open {
        goals.at_most(
            &format!("ptrace notify, {name}: of strace on its tracee's CPU"),
            0.5,
            against_pinned(NOTIFY),
            "",
        );
    }
}
