//! strace as the oracle: what lanner prints as text is what strace prints.
//!
//! Deliberate differences: of a number that the call reads and writes (`[110 => 2]`), lanner has the
//! value at the call's return (`[2]`), and likewise no `=> {parent_tid=[..]}` behind clone3; calls that a kernel restarts (strace prints `? ERESTARTSYS`) and calls that a
//! dying thread never returned from are not events; addresses, which differ from run to run, are masked.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::lanner::{run, stderr, usable};
use crate::normal::{Births, Story, assert_same, mask};
use crate::scenes::{self, EVENTS};

const CHILD_CALLS: [&str; 4] = ["clone(", "clone3(", "fork(", "vfork("];

#[test]
fn strace_tells_the_same_story() {
    let folder = tempfile::tempdir().expect("a folder");
    let drivers = usable();
    for scene in scenes::all(folder.path()) {
        let expected = strace(
            &scene.command(),
            &folder.path().join(format!("{}.strace", scene.name)),
        );
        for driver in &drivers {
            let found = lanner(driver, &scene.command());
            assert_same(scene.name, ("strace", driver), (&expected, &found));
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

fn strace(command: &[String], folder: &Path) -> Story {
    fs::create_dir_all(folder).expect("a folder");
    let status = Command::new("strace")
        .args(["-f", "-ff", "-s", "4096", "-e"])
        .arg(format!("trace={}", EVENTS.replace(' ', "")))
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
                .filter(|line| !line.starts_with("+++") && !line.starts_with("---"))
                .filter(|line| !line.contains(" = ? E") && !line.ends_with("<unfinished ...>"))
                .map(str::to_owned)
                .collect();
            (tid, calls)
        })
        .collect();
    told(&lines)
}

fn lanner(driver: &str, command: &[String]) -> Story {
    let mut args = vec!["trace", "--driver", driver, "-e", EVENTS, "--"];
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
        lines.entry(tid).or_default().push(call.to_owned());
    }
    assert!(
        !lines.is_empty(),
        "driver {driver} printed nothing: {}",
        stderr(&output)
    );
    told(&lines)
}

/// Names threads by their births, which the results of clone and its kin tell, and masks what is random.
fn told(lines: &Lines) -> Story {
    let mut births = Births::default();
    births.root(*lines.keys().next().expect("a thread"));
    let mut waiting: Vec<u64> = lines.keys().copied().collect();
    // parents before children: a child's id is told by a parent whose name is known
    while let Some(at) = waiting.iter().position(|tid| births.name(*tid).is_some()) {
        let tid = waiting.remove(at);
        for line in &lines[&tid] {
            if CHILD_CALLS.iter().any(|call| line.starts_with(call))
                && let Some(child) = line.rsplit(" = ").next().and_then(|ret| ret.parse().ok())
            {
                births.born(tid, child);
            }
        }
    }
    assert!(waiting.is_empty(), "threads {waiting:?} have no parent");
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
    mask(&at_return(&line), births)
}

/// `[110 => 2]` is `[2]`, and what clone3 wrote is left out.
fn at_return(line: &str) -> String {
    let line = match (
        line.starts_with("clone3("),
        line.split_once("} => {"),
        line.rsplit_once("}, "),
    ) {
        (true, Some((before, _)), Some((_, after))) => format!("{before}}}, {after}"),
        _ => line.to_owned(),
    };
    let mut out = String::new();
    let mut rest = line.as_str();
    while let Some((before, after)) = rest.split_once(" => ") {
        match (before.rsplit_once('['), after.split_once(']')) {
            (Some((head, number)), Some((value, _))) if is_number(number) && is_number(value) => {
                out.push_str(head);
                out.push('[');
            }
            _ => {
                out.push_str(before);
                out.push_str(" => ");
            }
        }
        rest = after;
    }
    out + rest
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}
