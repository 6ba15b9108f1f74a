//! Clauses 15 to 20: polling, selecting, ending, and leaving no trace.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command as StdCommand};
use std::thread;
use std::time::{Duration, Instant};

use driver_api::driver::{Flow, Polled};
use driver_api::error::Chain;
use driver_api::event::EventKind;
use driver_api::predicate::{Clause, Outcome as Ended, Predicate};
use driver_api::request::Target;
use driver_api::selection::Selection;
use driver_api::table::by_name;

use crate::Case;
use crate::actor::STEADY;
use crate::stage::{
    Kept, Outcome, PATIENCE, Stage, actor, calls, check, poll, request, said, same, to_the_end,
    until,
};

/// How the paths begin that the scene `steady` opens; the numbers of the thread and of the call follow.
const STEADY_PATH: &str = "/nonexistent/";

pub(crate) const CASES: &[Case] = &[
    (&[15], "poll keeps to its timeout", poll_timeout),
    (
        &[15],
        "a poll leaves what waits to the next one when its time is over",
        poll_takes_turns,
    ),
    (&[16], "a sink can stop and go on", stop_and_go_on),
    (&[17], "a selection can be replaced", reselect),
    (
        &[7, 17],
        "no call of both selections is lost while one replaces the other",
        reselect_while_busy,
    ),
    (
        &[18],
        "the end is reported with the status, at every later poll too",
        end_is_told,
    ),
    (
        &[5, 11, 19],
        "a running process is followed, and left unharmed",
        attach_and_leave,
    ),
    (
        &[18],
        "with processes, the end comes when they are gone",
        attached_end,
    ),
    (&[19], "a command that was not run ends", unrun_command_ends),
    (
        &[20],
        "a command sees what it would see alone",
        surroundings,
    ),
];

fn start(scene: &str, args: &[&str]) -> Result<Child, String> {
    let command = actor(scene, args);
    let mut std_command = StdCommand::new(command.program);
    // SAFETY: the closure does nothing. With it, std does not use the C library's posix_spawn, which starts programs
    // with two real-time signals ignored.
    unsafe { std_command.pre_exec(|| Ok(())) };
    std_command
        .args(&command.args[1..])
        .spawn()
        .map_err(|error| format!("start the actor: {error}"))
}

fn poll_timeout(stage: &Stage) -> Outcome {
    if let Some(outcome) = stage.no_pids() {
        return outcome;
    }
    let mut sleeper = StdCommand::new("sleep")
        .arg("30")
        .spawn()
        .map_err(|e| e.to_string())?;
    // its own start makes calls, too
    thread::sleep(Duration::from_millis(300));
    let result = (|| {
        let mut capture =
            stage.must_open(&request(Target::Pids(vec![sleeper.id()]), &["openat"]))?;
        let mut events = Vec::new();
        let begin = Instant::now();
        for _ in 0..5 {
            same(
                "poll",
                &poll(capture.as_mut(), &mut events, Duration::from_millis(50))?,
                &Polled::Events(0),
            )?;
        }
        let took = begin.elapsed();
        check(took < Duration::from_secs(3), || {
            format!("five polls of 50 ms took {took:?}")
        })
    })();
    let _ = sleeper.kill();
    let _ = sleeper.wait();
    result.map(|()| None)
}

/// The sink is slower than the command, so that events pile up.
fn poll_takes_turns(stage: &Stage) -> Outcome {
    const SLOW: Duration = Duration::from_millis(10);
    let mut capture =
        stage.must_open(&request(Target::Command(actor("opens", &[])), &["openat"]))?;
    let (mut opens, mut most) = (0, 0);
    let begin = Instant::now();
    loop {
        let mut taken: u32 = 0;
        let polled = capture
            .poll(Duration::from_millis(50), &mut |event| {
                thread::sleep(SLOW);
                taken += 1;
                let path = event.argument(1).map(|a| a.bytes.to_vec());
                opens += usize::from(path.is_some_and(|path| path.starts_with(b"/nonexistent/")));
                Flow::Continue
            })
            .map_err(said)?;
        most = most.max(taken);
        if matches!(polled, Polled::Ended(_)) {
            break;
        }
        check(begin.elapsed() < PATIENCE, || "no end".to_owned())?;
    }
    same("opens", &opens, &100)?;
    // the time is over after five events of this sink; a few more pass before the clock is looked at
    check(most < 30, || format!("one poll handed over {most} events"))?;
    Ok(None)
}

fn stop_and_go_on(stage: &Stage) -> Outcome {
    let mut capture =
        stage.must_open(&request(Target::Command(actor("opens", &[])), &["openat"]))?;
    let mut paths = Vec::new();
    let begin = Instant::now();
    loop {
        let mut taken = 0;
        let polled = capture
            .poll(Duration::from_millis(50), &mut |event| {
                taken += 1;
                if let Some(path) = event
                    .argument(1)
                    .filter(|a| a.bytes.starts_with(b"/nonexistent/"))
                {
                    paths.push(String::from_utf8_lossy(path.bytes).into_owned());
                }
                Flow::Stop
            })
            .map_err(said)?;
        check(taken <= 1, || {
            format!("{taken} events after the sink had said stop")
        })?;
        if matches!(polled, Polled::Ended(_)) {
            break;
        }
        check(begin.elapsed() < Duration::from_secs(30), || {
            "no end".to_owned()
        })?;
    }
    same(
        "calls",
        &paths,
        &(0..100)
            .map(|at| format!("/nonexistent/{at}"))
            .collect::<Vec<_>>(),
    )?;
    Ok(None)
}

fn reselect(stage: &Stage) -> Outcome {
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let end = folder.path().join("end");
    let command = actor("ticks", &[end.to_str().unwrap_or_default()]);
    let mut capture = stage.must_open(&request(Target::Command(command), &["personality"]))?;
    let mut events = Vec::new();
    until(capture.as_mut(), &mut events, |events| {
        events.iter().filter(|e| e.name() == "personality").count() >= 5
    })?;
    check(!events.iter().any(|e| e.name() == "openat"), || {
        "openat before it was selected".to_owned()
    })?;
    let selected = capture.select(&calls(&["openat"]).into());
    if let (Err(error), true) = (&selected, stage.entry_only()) {
        // the filter of a command cannot be replaced; a selection within it can be
        let text = Chain(error).to_string();
        check(text.contains("from the start"), || text)?;
        let narrower = capture.select(&calls(&[]).into());
        narrower.map_err(said)?;
        fs::write(&end, b"").map_err(|e| e.to_string())?;
        let (events, status) = to_the_end(capture.as_mut())?;
        same("status", &status, &Some(0))?;
        let after = events.iter().filter(|e| e.name() == "personality").count();
        same("personality after it was deselected", &after, &0)?;
        return Ok(Some("gap: a wider selection".to_owned()));
    }
    selected.map_err(said)?;
    // events that were captured before the selection changed
    poll(capture.as_mut(), &mut Vec::new(), Duration::from_millis(20))?;
    poll(capture.as_mut(), &mut Vec::new(), Duration::from_millis(20))?;
    let mut events = Vec::new();
    until(capture.as_mut(), &mut events, |events| {
        events.iter().filter(|e| e.name() == "openat").count() >= 5
    })?;
    check(!events.iter().any(|e| e.name() == "personality"), || {
        "personality after it was deselected".to_owned()
    })?;
    fs::write(&end, b"").map_err(|e| e.to_string())?;
    let (_, status) = to_the_end(capture.as_mut())?;
    same("status", &status, &Some(0))?;
    Ok(None)
}

/// Four threads make calls without a pause, so that some are in the middle of one whenever the selection changes.
fn reselect_while_busy(stage: &Stage) -> Outcome {
    const ROUNDS: usize = 6;
    let open = by_name("openat").ok_or("the table has no openat")?;
    let failed = Clause {
        outcome: Ended::FAILED,
        tests: [None; 2],
    };
    let failed = Predicate::of(open, &[failed]).map_err(said)?;
    let mut narrow = Selection::default();
    narrow.add(open, &failed);
    let wide = Selection::from(calls(&["openat", "personality"]));
    for round in 0..ROUNDS {
        let mut asked = request(Target::Command(actor("steady", &[])), &[]);
        // the filter of a command cannot be replaced there
        asked.selection = if stage.entry_only() { &wide } else { &narrow }.clone();
        let mut capture = stage.must_open(&asked)?;
        let mut events = Vec::new();
        let is_ours = |event: &Kept| {
            event
                .text(1)
                .is_some_and(|path| path.starts_with(STEADY_PATH))
        };
        until(capture.as_mut(), &mut events, |events| {
            events.iter().filter(|event| is_ours(event)).count() > 4 * round
        })?;
        let mut begin = Instant::now();
        for selection in [&wide, &narrow].into_iter().cycle() {
            capture.select(selection).map_err(said)?;
            let before = events.len();
            let wait = Duration::from_millis(1);
            if let Polled::Ended(_) = poll(capture.as_mut(), &mut events, wait)? {
                break;
            }
            if events.len() > before {
                begin = Instant::now();
            }
            check(begin.elapsed() < PATIENCE, || "no end".to_owned())?;
        }
        let lost: Vec<_> = events
            .iter()
            .filter(|e| e.kind() == EventKind::Lost)
            .collect();
        check(lost.is_empty(), || format!("round {round}: {lost:?}"))?;
        for thread in 0..4 {
            let prefix = format!("{STEADY_PATH}{thread}/");
            let found: Vec<usize> = events
                .iter()
                .filter_map(|event| event.text(1)?.strip_prefix(&prefix)?.parse().ok())
                .collect();
            let odd = (0..STEADY).find(|at| found.get(*at) != Some(at));
            check(found.len() == STEADY && odd.is_none(), || {
                format!(
                    "round {round}, thread {thread}: {} calls of {STEADY}, first odd one {odd:?}",
                    found.len()
                )
            })?;
        }
    }
    Ok(None)
}

fn end_is_told(stage: &Stage) -> Outcome {
    let mut capture = stage.must_open(&request(
        Target::Command(actor("exit", &["7"])),
        &["openat"],
    ))?;
    let (_, status) = to_the_end(capture.as_mut())?;
    same("status", &status, &Some(7 << 8))?;
    for _ in 0..3 {
        let again = poll(capture.as_mut(), &mut Vec::new(), Duration::from_millis(10))?;
        same("a later poll", &again, &Polled::Ended(Some(7 << 8)))?;
    }
    Ok(None)
}

fn attach_and_leave(stage: &Stage) -> Outcome {
    beside_ticks(stage, |child, _| {
        let mut capture = stage.must_open(&request(Target::Pids(vec![child.id()]), &["openat"]))?;
        let mut events = Vec::new();
        until(capture.as_mut(), &mut events, |events| {
            events
                .iter()
                .filter(|e| e.text(1).as_deref() == Some("/nonexistent/tick"))
                .count()
                >= 5
        })?;
        check(events.iter().all(|e| e.header().tgid == child.id()), || {
            "an event of another process".to_owned()
        })?;
        drop(capture);
        check(
            child.try_wait().map_err(|e| e.to_string())?.is_none(),
            || "it ended with the capture".to_owned(),
        )
    })
}

fn attached_end(stage: &Stage) -> Outcome {
    beside_ticks(stage, |child, end| {
        let mut capture = stage.must_open(&request(Target::Pids(vec![child.id()]), &["openat"]))?;
        poll(capture.as_mut(), &mut Vec::new(), Duration::from_millis(50))?;
        fs::write(end, b"").map_err(|e| e.to_string())?;
        let (_, status) = to_the_end(capture.as_mut())?;
        same("status", &status, &None)
    })
}

/// Runs `body` while a process plays the scene `ticks`, which ends when there is a file at the given path. It must have come to
/// its end unharmed afterwards.
fn beside_ticks(
    stage: &Stage,
    body: impl FnOnce(&mut Child, &Path) -> Result<(), String>,
) -> Outcome {
    if let Some(outcome) = stage.no_pids() {
        return outcome;
    }
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let end = folder.path().join("end");
    let mut child = start("ticks", &[end.to_str().unwrap_or_default()])?;
    thread::sleep(Duration::from_millis(100));
    let result = body(&mut child, &end);
    fs::write(&end, b"").map_err(|e| e.to_string())?;
    // if the tracer is the parent, it has waited for the child already
    let _ = child.wait();
    result?;
    check(folder.path().join("end.done").exists(), || {
        "the process was harmed".to_owned()
    })?;
    Ok(None)
}

fn unrun_command_ends(stage: &Stage) -> Outcome {
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let mark = folder.path().join("mark");
    let capture = stage.must_open(&request(
        Target::Command(actor("mark", &[mark.to_str().unwrap_or_default()])),
        &["openat"],
    ))?;
    drop(capture);
    thread::sleep(Duration::from_millis(100));
    check(!mark.exists(), || {
        "the command was run by dropping the capture".to_owned()
    })?;
    let children = fs::read_to_string(format!("/proc/self/task/{0}/children", std::process::id()))
        .unwrap_or_default();
    same("children that are left", &children.trim(), &"")?;
    Ok(None)
}

fn surroundings(stage: &Stage) -> Outcome {
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let (alone, watched) = (folder.path().join("alone"), folder.path().join("watched"));
    // SAFETY: this binary has no other thread that reads the environment.
    unsafe { std::env::set_var("LANNER_TEST", "kept") };
    let mut child = start("surroundings", &[alone.to_str().unwrap_or_default()])?;
    child.wait().map_err(|e| e.to_string())?;
    let (_, status) = stage.watch(
        "surroundings",
        &[watched.to_str().unwrap_or_default()],
        &["openat"],
    )?;
    same("status", &status, &Some(0))?;
    let read = |path| fs::read_to_string(path).map_err(|e| e.to_string());
    same("what it sees", &read(watched)?, &read(alone)?)?;
    Ok(None)
}
