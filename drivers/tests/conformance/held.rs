//! Clauses 21 and 22: what a consumer does not need, and what it can look up itself while a process is held.

use std::fs;
use std::time::Duration;

use driver_api::driver::{Flow, Polled};
use driver_api::event::{EventKind, Fact};
use driver_api::request::{Limits, Omit, Target};
use proc_pid::{Stat, State};

use crate::Case;
use crate::stage::{Kept, Outcome, Stage, actor, calls, check, request, said, same, to_the_end};

pub(crate) const CASES: &[Case] = &[
    (
        &[21],
        "a held process does not run while the sink has its event",
        stands_still,
    ),
    (
        &[21],
        "what a consumer looks up itself is left out where processes are held",
        left_out,
    ),
    (
        &[22],
        "events without facts are otherwise the same",
        without_facts,
    ),
];

fn stands_still(stage: &Stage) -> Outcome {
    let names = ["openat", "close"];
    let mut capture = stage.must_open(&request(Target::Command(actor("threads", &[])), &names))?;
    if !capture.holds() {
        return Ok(Some("it does not hold processes".to_owned()));
    }
    let (mut seen, mut running) = (0, Vec::new());
    loop {
        let polled = capture.poll(Duration::from_millis(50), &mut |event| {
            if event.kind() == EventKind::Syscall {
                seen += 1;
                let state = Stat::of(event.header().tid).ok().map(|stat| stat.state());
                if state != Some(State::TracingStop) {
                    running.push(state);
                }
            }
            Flow::Continue
        });
        if let Polled::Ended(_) = polled.map_err(said)? {
            break;
        }
    }
    check(seen >= 200, || format!("only {seen} calls were seen"))?;
    same("threads that did not stand still", &running, &Vec::new())?;
    Ok(None)
}

fn left_out(stage: &Stage) -> Outcome {
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let mark = folder.path().join("mark");
    let mark = mark.to_str().unwrap_or_default();
    let mut wanted = request(
        Target::Command(actor("mark", &[mark])),
        &["openat", "write"],
    );
    wanted.limits.omit.if_held = calls(&["write"]);
    let mut capture = stage.must_open(&wanted)?;
    let holds = capture.holds();
    // a later selection leaves it out as well
    let again = capture.select(&calls(&["openat", "write"]).into());
    again.map_err(said)?;
    let (events, _) = to_the_end(capture.as_mut())?;
    let count = |name: &str| events.iter().filter(|e| e.name() == name).count();
    check(count("openat") > 0, || "no openat was delivered".to_owned())?;
    same("write is left out", &(count("write") == 0), &holds)?;
    Ok(None)
}

fn without_facts(stage: &Stage) -> Outcome {
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let folder = folder.path().to_str().unwrap_or_default();
    let omitting = |scene: &str, args: &[&str], names: &[&str]| {
        let mut wanted = request(Target::Command(actor(scene, args)), names);
        wanted.limits = Limits {
            omit: Omit {
                facts: true,
                ..Omit::NOTHING
            },
            ..Limits::default()
        };
        to_the_end(stage.must_open(&wanted)?.as_mut())
    };
    let opened = |events: &[Kept]| -> Vec<(Option<String>, i64)> {
        let opens = events.iter().filter(|e| e.name() == "openat");
        opens.map(|e| (e.text(1), e.header().ret)).collect()
    };
    let (with, _) = stage.watch("resolved", &[folder], &["openat"])?;
    fs::read_dir(folder)
        .map_err(|e| e.to_string())?
        .flatten()
        .for_each(|entry| {
            let path = entry.path();
            let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
        });
    let (without, _) = omitting("resolved", &[folder], &["openat"])?;
    check(opened(&with).len() > 4, || "hardly any openat".to_owned())?;
    same("the calls", &opened(&without), &opened(&with))?;
    let (events, status) = omitting("exec", &[], &["execve"])?;
    same("status", &status, &Some(7 << 8))?;
    let execs: Vec<&Kept> = events
        .iter()
        .filter(|e| e.kind() == EventKind::Exec)
        .collect();
    same("execs", &execs.len(), &2)?;
    for exec in execs {
        let event = exec.event();
        check(event.fact(Fact::Comm).is_some(), || "no comm".to_owned())?;
        let arguments = event.argument(1).or(event.fact(Fact::Argv));
        check(arguments.is_some(), || "no arguments".to_owned())?;
    }
    Ok(None)
}
