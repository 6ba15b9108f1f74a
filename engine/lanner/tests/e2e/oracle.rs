//! strace as the oracle: what lanner prints as text is what strace prints.
//!
//! What differs on purpose is said, and evened out, in `neutral.rs`. Calls that a kernel restarts (strace
//! prints `? ERESTARTSYS`) and calls that a dying thread never returned from are not events; addresses, which
//! differ from run to run, are masked.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use test_support::skipped;

use crate::lanner::{run, stderr, usable};
use crate::neutral;
use crate::normal::{Births, Story, assert_same, mask};
use crate::scenes;

const CHILD_CALLS: [&str; 4] = ["clone(", "clone3(", "fork(", "vfork("];

#[test]
fn strace_tells_the_same_story() {
    let folder = tempfile::tempdir().expect("a folder");
    let drivers = usable();
    for scene in scenes::chosen(folder.path()) {
        if !scene.can_run() {
            skipped(&format!("{}: its program is not installed", scene.name));
            continue;
        }
        let events = scene.events();
        let oracle = || {
            let files = tempfile::tempdir().expect("a folder");
            strace(&scene.command(), &events, files.path())
        };
        let expected = oracle();
        for driver in &drivers {
            let found = lanner(driver, &events, &scene.command());
            assert_same(scene.name, ("strace", driver), (&expected, &found), oracle);
        }
        eprintln!(
            "{}: {} threads, {} calls",
            scene.name,
            expected.len(),
            expected.values().map(Vec::len).sum::<usize>()
        );
    }
}

/// A thread's lines, by its id.
type Lines = BTreeMap<u64, Vec<String>>;

fn strace(command: &[String], events: &str, folder: &Path) -> Story {
    let status = Command::new("strace")
        .args([
            "-f",
            "-ff",
            "-s",
            "4096",
            "-e",
            "abbrev=execve,execveat",
            "-e",
        ])
        .arg(format!("trace={events}"))
        .args(["-e", "signal=none", "-o"])
        .arg(folder.join("out"))
        .arg("--")
        .args(command)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("strace can be run");
    assert!(status.code().is_some());
    let lines: Lines = fs::read_dir(folder)
        .expect("strace wrote files")
        .flatten()
        .map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            let tid = name
                .rsplit('.')
                .next()
                .and_then(|tid| tid.parse().ok())
                .expect("out.TID");
            let text = fs::read_to_string(entry.path()).expect("a text");
            let calls = text
                .lines()
                .filter(|line| {
                    !["+++", "---", "strace: [", "[ "]
                        .iter()
                        .any(|mark| line.starts_with(mark))
                })
                .filter(|line| !line.contains(" = ? E") && !line.ends_with("<unfinished ...>"))
                .map(str::to_owned)
                .collect();
            (tid, calls)
        })
        .collect();
    told(&lines)
}

fn lanner(driver: &str, events: &str, command: &[String]) -> Story {
    let mut args = vec![
        "trace",
        "--driver",
        driver,
        "--buffer",
        "64M",
        "--snaplen",
        "4096",
        "-e",
        events,
        "--",
    ];
    args.extend(command.iter().map(String::as_str));
    let output = run(&args);
    let mut lines = Lines::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        // PID/TID COMM call(...) = ...; the command's own output is among the lines
        let Some((ids, rest)) = line.split_once(' ') else {
            continue;
        };
        let Some((_, tid)) = ids.split_once('/') else {
            continue;
        };
        let (Ok(tid), Some((_, call))) = (tid.parse(), rest.split_once('\t')) else {
            continue;
        };
        // `-e mmap` selects mmap2 of 32-bit programs, too; strace takes the kernel's names
        let is_call_of_32_bit = |(name, _): (&str, &str)| {
            driver_api::table::by_name(name).is_some_and(|call| {
                call.event_type().name != name && !events.split(',').any(|event| event == name)
            })
        };
        if !call.split_once('(').is_some_and(is_call_of_32_bit) {
            lines.entry(tid).or_default().push(call.to_owned());
        }
    }
    assert!(
        !lines.is_empty() && !stderr(&output).contains(" lost ("),
        "driver {driver} printed {} threads: {}",
        lines.len(),
        stderr(&output)
    );
    told(&lines)
}

/// Names threads by their births, which the results of clone and its kin tell, and masks what is random.
fn told(lines: &Lines) -> Story {
    let mut births = Births::default();
    // the first has no parent here; ids begin again at their end
    let children: Vec<u64> = lines
        .values()
        .flatten()
        .filter_map(|line| child_of(line))
        .collect();
    births.root(
        *lines
            .keys()
            .find(|tid| !children.contains(tid))
            .expect("a thread"),
    );
    let mut waiting: Vec<u64> = lines.keys().copied().collect();
    // parents before children: the parent, whose name is known, reports its child's id
    while let Some(at) = waiting.iter().position(|tid| births.name(*tid).is_some()) {
        let tid = waiting.remove(at);
        for line in &lines[&tid] {
            if let Some(child) = child_of(line) {
                births.born(tid, child);
            }
        }
    }
    assert!(
        waiting.is_empty(),
        "threads {waiting:?} of {:?} have no parent",
        lines
            .iter()
            .map(|(tid, calls)| (tid, calls.first()))
            .take(3)
            .collect::<Vec<_>>()
    );
    lines
        .iter()
        .filter_map(|(tid, calls)| {
            let name = births.name(*tid)?.clone();
            Some((
                name,
                calls.iter().map(|call| neutral(call, &births)).collect(),
            ))
        })
        .collect()
}

/// The child that a call of the clone family made.
fn child_of(line: &str) -> Option<u64> {
    let born = CHILD_CALLS.iter().any(|call| line.starts_with(call));
    born.then(|| line.rsplit(" = ").next()?.parse().ok())?
}

fn neutral(line: &str, births: &Births) -> String {
    let mut line = line.split_whitespace().collect::<Vec<_>>().join(" ");
    if CHILD_CALLS.iter().any(|call| line.starts_with(call))
        && let Some((call, ret)) = line.rsplit_once(" = ")
        && let Some(name) = ret.parse().ok().and_then(|tid| births.name(tid))
    {
        // what the kernel wrote to parent_tid is the same id again
        line = format!(
            "{} = thread {name}",
            call.replace(&format!("[{ret}]"), "[TID]")
        );
    }
    mask(&neutral::line(&line), births)
}
