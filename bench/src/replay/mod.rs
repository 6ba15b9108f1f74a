//! How fast state and rules are: recorded real events go through them again on one CPU.
//!
//! [`record`] makes the recording, [`stream`] plays it, [`allocations`] counts allocations, and [`live`] measures
//! `lanner run` itself.

mod allocations;
mod live;
mod record;
mod stream;

use std::fs;
use std::path::{Path, PathBuf};

use driver_api::request::SyscallSet;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use plugin_host::Plugin;

use crate::args::Options;
use crate::goals::Goals;
use crate::report::{Report, Table, number, time};
use crate::samples::median;
use crate::tracer::host_drivers;
use crate::{Error, Part, Result, say};

pub(crate) use stream::Rules;
use stream::{Pass, Stream, Through};

/// The least number of events in a recording.
const EVENTS: u64 = 2_000_000;
const DEFAULT: &str = include_str!("../../../rules/lanner_rules.yaml");

/// How many CPUs are simulated.
const CPUS: [usize; 4] = [1, 8, 64, 128];
/// The beginnings of rows.
const READ: &str = "that, read from rings of CPUs:";
const RECORDED: &str = "that, with the flight recorder";

/// A set of rules.
pub(crate) struct Set {
    pub(crate) name: &'static str,
    pub(crate) text: Vec<u8>,
}

/// The sets of rules that are measured: Falco's, if they are here, and the default rules.
pub(crate) fn sets(report: &mut Report) -> Vec<Set> {
    let mut sets = vec![Set {
        name: "default rules",
        text: DEFAULT.as_bytes().to_vec(),
    }];
    match reference() {
        Ok(text) => sets.insert(
            0,
            Set {
                name: "falco_rules.yaml",
                text,
            },
        ),
        Err(why) => report.failed("falco_rules.yaml", &why),
    }
    sets
}

/// The plugin of the rules, beside lanner.
pub(crate) fn plugin(lanner: &Path) -> Result<Plugin> {
    let folder = lanner.parent().unwrap_or(Path::new(".")).to_owned();
    plugin_host::find(&[folder], "rules-falco")
        .map_err(Error::failed("load the plugin of the rules"))
}

/// Falco's rules, which the tests use, too. A rule that uses a field that this lanner lacks is left out.
fn reference() -> Result<Vec<u8>> {
    let shared = std::env::var_os("LANNER_SHARED").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"),
        PathBuf::from,
    );
    let path = shared.join("reference/falco/falco_rules.yaml");
    let text = fs::read_to_string(&path).map_err(Error::failed(format!(
        "read {} (set LANNER_SHARED)",
        path.display()
    )))?;
    let mut out = String::with_capacity(text.len() * 2);
    for line in text.lines() {
        out.push_str(line);
        out.push('\n');
        if line.starts_with("- rule:") {
            out.push_str("  skip-if-unknown-filter: true\n");
        }
    }
    Ok(out.into_bytes())
}

/// Measures, and adds the results to the report and the goals.
pub(crate) fn measure(part: Part<'_>) -> Result<()> {
    let Part {
        options,
        workshop,
        report,
        goals,
    } = part;
    let lanner = match crate::unprivileged::lanner(options) {
        Ok(lanner) => lanner,
        Err(why) => {
            report.failed("replay", &why);
            return Ok(());
        }
    };
    let sets = sets(report);
    let folder = tempfile::tempdir().map_err(Error::failed("make a folder"))?;
    let file = match &options.recording {
        Some(file) => file.clone(),
        None => folder.path().join("events"),
    };
    if !file.exists()
        && let Err(why) = record::record(&lanner, &file, EVENTS, workshop)
    {
        report.failed("replay: the recording", &why);
        return Ok(());
    }
    throughput(
        options,
        workshop.load_cpu(),
        &lanner,
        &file,
        &sets,
        report,
        goals,
    )?;
    if nix::unistd::geteuid().is_root() {
        starts(options, &lanner, &sets, report, goals)
    } else {
        report.left_out("the start of lanner run", "it needs root");
        Ok(())
    }
}

/// One row of the table: what the events go through.
struct Row {
    name: String,
    passes: Vec<Pass>,
    events: u64,
}

impl Row {
    /// The nanoseconds of one event: the median of the passes.
    fn each(&self) -> f64 {
        let passes = self.passes.iter();
        let each = passes.map(|pass| pass.ns / self.events as f64).collect();
        median(each).unwrap_or(f64::NAN)
    }
}

fn throughput(
    options: &Options,
    cpu: usize,
    lanner: &Path,
    file: &Path,
    sets: &[Set],
    report: &mut Report,
    goals: &mut Goals,
) -> Result<()> {
    let plugin = plugin(lanner)?;
    let whole = Stream::read(file, SyscallSet::all())?;
    let mut rules = Vec::new();
    for set in sets {
        let opened = Rules::open(&plugin, &set.text)?;
        let selected = Stream::read(file, opened.selection())?;
        rules.push((set.name, opened, selected));
    }
    let before = sched_getaffinity(Pid::from_raw(0)).ok();
    pin(cpu);
    let mut rows: Vec<Row> = Vec::new();
    let mut add = |at: &mut usize, name: String, events: u64, pass: Pass| {
        if rows.len() <= *at {
            rows.push(Row {
                name,
                passes: Vec::new(),
                events,
            });
        }
        rows[*at].passes.push(pass);
        *at += 1;
    };
    let mut ring = stream::recorder();
    for round in 0..options.rounds() {
        say(&format!(
            "replay of {} events, round {} of {}",
            whole.events,
            round + 1,
            options.rounds()
        ));
        let mut at = 0;
        let pass = whole.pass(Through::Nothing)?;
        add(&mut at, "events alone".to_owned(), whole.events, pass);
        let pass = whole.pass(Through::State)?;
        add(&mut at, "state".to_owned(), whole.events, pass);
        for (name, rules, selected) in &mut rules {
            let count = rules.enabled();
            let pass = whole.pass(Through::Rules(rules))?;
            let what = format!("state, {name} ({count} rules)");
            add(&mut at, what, whole.events, pass);
            let pass = selected.pass(Through::Rules(rules))?;
            let what = format!("the same, only what {name} needs");
            add(&mut at, what, selected.events, pass);
            for cpus in CPUS {
                let pass = selected.pass(Through::Rings(rules, cpus))?;
                let what = format!("{READ} {cpus}, {name}");
                add(&mut at, what, selected.events, pass);
            }
            let pass = selected.pass(Through::Recorded(rules, &mut ring))?;
            let what = format!("{RECORDED}, {name}");
            add(&mut at, what, selected.events, pass);
        }
    }
    if let Some(before) = before {
        let _ = sched_setaffinity(Pid::from_raw(0), &before);
    }
    lay_out(&rows, report, goals);
    Ok(())
}

fn lay_out(rows: &[Row], report: &mut Report, goals: &mut Goals) {
    let mut table = Table::new(
        "a recording of a build, a web server and a shell, on one CPU",
        &[
            "",
            "events",
            "an event",
            "a second",
            "allocations/event",
            "matches",
        ],
    );
    for row in rows {
        let median = row.each();
        let millions = 1e3 / median;
        let last = row.passes.last().copied().unwrap_or_default();
        table.row(vec![
            row.name.clone(),
            number(Some(row.events)),
            time(Some(median)),
            format!("{millions:.2} million"),
            format!("{:.3}", last.allocations),
            last.matches.to_string(),
        ]);
        if row.name == "state" {
            goals.at_least(
                "replay, state alone, millions of events a second",
                8.0,
                Some(millions),
                "",
            );
        } else if row.name.starts_with("state, falco_rules.yaml") {
            goals.at_least(
                "replay, state and falco_rules.yaml, millions of events a second",
                4.0,
                Some(millions),
                "",
            );
            goals.at_most(
                "replay, state and falco_rules.yaml, allocations for an event",
                0.0,
                Some(last.allocations),
                "",
            );
        }
    }
    report.table(table);
    let of = |name: String| rows.iter().find(|row| row.name == name).map(Row::each);
    let name = "default rules";
    let one = of(format!("{READ} 1, {name}"));
    let recorded =
        of(format!("{RECORDED}, {name}")).zip(of(format!("the same, only what {name} needs")));
    goals.at_most(
        "replay, the flight recorder's part of reading, following and judging an event, default rules",
        5.0,
        one.zip(recorded)
            .map(|(whole, (with, without))| 100.0 * (with - without) / whole),
        " %",
    );
    goals.at_most(
        "replay, the rings of 64 CPUs instead of one, default rules",
        1.2,
        of(format!("{READ} 64, {name}"))
            .zip(one)
            .map(|(many, one)| many / one),
        " times",
    );
}

/// The time from the start of `lanner run` to its first event, and its memory then.
fn starts(
    options: &Options,
    lanner: &Path,
    sets: &[Set],
    report: &mut Report,
    goals: &mut Goals,
) -> Result<()> {
    let folder = tempfile::tempdir().map_err(Error::failed("make a folder"))?;
    let mut table = Table::new(
        "lanner run on the whole host",
        &["", "start to first event", "own memory", "resident"],
    );
    let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / 1_048_576.0);
    for set in sets {
        let path = folder.path().join("rules.yaml");
        fs::write(&path, &set.text).map_err(Error::failed("write the rules"))?;
        for driver in host_drivers() {
            let mut runs = Vec::new();
            for _ in 0..options.rounds() {
                match live::run(lanner, driver, &path) {
                    Ok(run) => runs.push(run),
                    Err(why) => {
                        report.failed(&format!("lanner run with {driver}"), &why);
                        break;
                    }
                }
            }
            runs.sort_by(|a, b| a.first_event_ns.total_cmp(&b.first_event_ns));
            let Some(run) = runs.get(runs.len() / 2) else {
                continue;
            };
            table.row(vec![
                format!("{driver}, {}", set.name),
                time(Some(run.first_event_ns)),
                mib(run.own),
                mib(run.resident),
            ]);
            if set.name == "falco_rules.yaml" && driver == "ebpf-core" {
                goals.at_most(
                    "core, start with falco_rules.yaml to the first event",
                    0.2,
                    Some(run.first_event_ns / 1e9),
                    " s",
                );
                goals.at_most(
                    "core, own memory with falco_rules.yaml",
                    40.0,
                    Some(run.own as f64 / 1_048_576.0),
                    " MiB",
                );
            }
        }
    }
    report.table(table);
    Ok(())
}

/// Pins this process to one CPU.
fn pin(cpu: usize) {
    let mut set = CpuSet::new();
    if set.set(cpu).is_ok() {
        let _ = sched_setaffinity(Pid::from_raw(0), &set);
    }
}
