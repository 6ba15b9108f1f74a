//! Clause 24: how long calls take.

use std::fs;
use std::io::Write as _;
use std::process::{Child, ChildStdin, Command as StdCommand, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use driver_api::driver::Capture;
use driver_api::error::Chain;
use driver_api::event::{EventKind, Flags};
use driver_api::request::{Request, Target};
use driver_api::support::Gap;

use crate::Case;
use crate::actor::quiet_call;
use crate::stage::{
    Kept, Outcome, PATIENCE, Stage, actor, calls, check, named, request, same, to_the_end, until,
};

pub(crate) const CASES: &[Case] = &[
    (
        &[24],
        "calls have the time that they took, in every thread",
        each_call,
    ),
    (&[24], "without times, no event has one", unasked),
    (
        &[24],
        "calls that handlers interrupt have the time of their last run",
        interrupted,
    ),
    (
        &[24],
        "the time of a call that runs already is not known",
        running_already,
    ),
    (
        &[17, 24],
        "times are added to a selection, or that is refused",
        added,
    ),
];

/// Calls that the scenes make, and the calls of the program's start and end.
const CALLS: [&str; 6] = [
    "clock_nanosleep",
    "personality",
    "openat",
    "read",
    "execve",
    "exit_group",
];

/// Threads of the scene `times`.
const THREADS: u32 = 4;
/// The shortest sleep of it, in milliseconds.
const SHORTEST: u32 = 20;

fn sleep(ms: u32) {
    let time = libc::timespec {
        tv_sec: 0,
        tv_nsec: i64::from(ms) * 1_000_000,
    };
    // SAFETY: clock_nanosleep(2) reads the time, and writes nothing without a second one.
    unsafe {
        libc::syscall(
            libc::SYS_clock_nanosleep,
            libc::CLOCK_MONOTONIC,
            0,
            &raw const time,
            0_usize,
        )
    };
}

/// Sleeps in several threads at once, for times that differ, and makes short calls in between.
pub(crate) fn act() {
    quiet_call();
    sleep(SHORTEST);
    quiet_call();
    let sleeper = |at: u32| {
        move || {
            for _ in 0..3 {
                sleep(SHORTEST * at);
                quiet_call();
            }
        }
    };
    let threads: Vec<_> = (1..=THREADS).map(|at| thread::spawn(sleeper(at))).collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().expect("the thread ends"));
}

/// Reads two bytes from standard input, one with each call.
pub(crate) fn read_twice() {
    let mut byte = [0_u8; 1];
    for _ in 0..2 {
        // SAFETY: read(2) writes at most the byte that it is given.
        unsafe { libc::syscall(libc::SYS_read, 0, byte.as_mut_ptr(), 1_usize) };
    }
}

fn with_times(mut request: Request) -> Request {
    request.selection = request.selection.with_times(true);
    request
}

/// Opens with times. The second value: the driver gives them here.
fn open(stage: &Stage, request: &Request) -> Result<(Box<dyn Capture>, bool), String> {
    let opened = stage
        .open(request)
        .map_err(|error| Chain(&error).to_string())?;
    let has_gap = opened.gaps.iter().any(|gap| gap.what == Gap::TIMES);
    if stage.entry_only() && request.selection.times() {
        check(has_gap, || {
            "a driver that sees entries alone names no gap".to_owned()
        })?;
    }
    Ok((opened.capture, !has_gap))
}

/// The calls of a thread do not overlap: each was entered after the event before it. `from_ns`: when the capture began.
fn follow_each_other(events: &[Kept], from_ns: u64) -> Result<(), String> {
    for (at, kept) in events.iter().enumerate() {
        let header = kept.header();
        let Some(took) = kept.event().took_ns() else {
            continue;
        };
        let mut before = events[..at].iter().rev();
        let last = before.find(|one| one.header().tid == header.tid);
        let earliest = last.map_or(from_ns, |one| one.header().time_ns.max(from_ns));
        check(
            header
                .time_ns
                .checked_sub(took)
                .is_some_and(|entered| entered >= earliest),
            || {
                format!(
                    "{} took {took} ns until {}, but its thread had an event at {earliest}",
                    kept.name(),
                    header.time_ns
                )
            },
        )?;
    }
    Ok(())
}

fn now_ns() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: clock_gettime(2) writes the structure that it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}

/// No event has a time.
fn none_has(events: &[Kept]) -> Result<(), String> {
    let with = events.iter().find(|one| one.event().took_ns().is_some());
    check(with.is_none(), || format!("{with:?} has a time"))
}

fn each_call(stage: &Stage) -> Outcome {
    let from_ns = now_ns();
    let wanted = with_times(request(Target::Command(actor("times", &[])), &CALLS));
    let (mut capture, gives) = open(stage, &wanted)?;
    let (events, status) = to_the_end(capture.as_mut())?;
    same("status", &status, &Some(0))?;
    if !gives {
        return none_has(&events).map(|()| Some("gap: times".to_owned()));
    }
    for kept in &events {
        let (event, took) = (kept.event(), kept.event().took_ns());
        let returns = match event.kind() {
            EventKind::Syscall | EventKind::Exec => !event.has(Flags::NORETURN),
            EventKind::Fork | EventKind::Exit | EventKind::Signal | EventKind::Lost => false,
        };
        // the first exec is the command's own: it may have been entered before the capture began
        let may_lack = event.kind() == EventKind::Exec;
        check(
            took.is_some() == returns || (took.is_none() && may_lack),
            || {
                format!(
                    "{} of kind {:?} has the time {took:?}",
                    kept.name(),
                    event.kind()
                )
            },
        )?;
    }
    follow_each_other(&events, from_ns)?;
    let mut sleeps = 0;
    for kept in named(&events, "clock_nanosleep") {
        let event = kept.event();
        let asked = event.argument(2).ok_or("a sleep without its time")?;
        let ns = asked.bytes.get(8..16).and_then(|ns| ns.try_into().ok());
        let ns = ns.map(u64::from_ne_bytes).ok_or("half a time")?;
        let took = event.took_ns().unwrap_or(0);
        check(took >= ns, || format!("a sleep of {ns} ns took {took} ns"))?;
        sleeps += 1;
    }
    same("sleeps", &sleeps, &(1 + 3 * THREADS))?;
    Ok(None)
}

fn unasked(stage: &Stage) -> Outcome {
    let (events, status) = stage.watch("times", &[], &CALLS)?;
    same("status", &status, &Some(0))?;
    check(named(&events, "clock_nanosleep").next().is_some(), || {
        "no sleep".to_owned()
    })?;
    none_has(&events).map(|()| None)
}

fn interrupted(stage: &Stage) -> Outcome {
    let from_ns = now_ns();
    let target = Target::Command(actor("interrupted", &[]));
    let wanted = with_times(request(target, &["read", "clock_nanosleep"]));
    let (mut capture, gives) = open(stage, &wanted)?;
    let (events, status) = to_the_end(capture.as_mut())?;
    same("status", &status, &Some(0))?;
    if !gives {
        return none_has(&events).map(|()| Some("gap: times".to_owned()));
    }
    follow_each_other(&events, from_ns)?;
    let ended: Vec<&Kept> = events
        .iter()
        .filter(|one| {
            one.kind() == EventKind::Syscall && one.header().ret == -i64::from(libc::EINTR)
        })
        .collect();
    same("calls that a handler ended", &ended.len(), &2)?;
    check(
        ended.iter().all(|one| one.event().took_ns().is_some()),
        || format!("one has no time: {ended:?}"),
    )?;
    let last = named(&events, "read").last().ok_or("no read")?;
    check(last.event().took_ns().is_some(), || {
        "the read that was made again has no time".to_owned()
    })?;
    Ok(None)
}

/// A process that waits for a byte.
struct Reader(Child);

impl Reader {
    fn start() -> Result<Self, String> {
        let command = actor("read-twice", &[]);
        let child = StdCommand::new(command.program)
            .args(&command.args[1..])
            .stdin(Stdio::piped())
            .spawn()
            .map_err(|error| format!("start the actor: {error}"))?;
        let reader = Self(child);
        reader.wait()?;
        Ok(reader)
    }

    /// Waits until it is in the read.
    fn wait(&self) -> Result<(), String> {
        let call = format!("{} 0x0 ", libc::SYS_read);
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            let is = fs::read_to_string(format!("/proc/{}/syscall", self.0.id()));
            if is.is_ok_and(|is| is.starts_with(&call)) {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Err("the actor does not read".to_owned())
    }

    fn give(&mut self) -> Result<(), String> {
        let to: Option<&mut ChildStdin> = self.0.stdin.as_mut();
        to.ok_or("no pipe")?
            .write_all(b"x")
            .map_err(|error| error.to_string())
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn running_already(stage: &Stage) -> Outcome {
    if let Some(outcome) = stage.no_pids() {
        return outcome;
    }
    let mut reader = Reader::start()?;
    let from_ns = now_ns();
    let target = Target::Pids(vec![reader.0.id()]);
    let (mut capture, gives) = open(stage, &with_times(request(target, &["read"])))?;
    reader.give()?;
    let mut events = Vec::new();
    until(capture.as_mut(), &mut events, |all| {
        named(all, "read").next().is_some()
    })?;
    reader.give()?;
    until(capture.as_mut(), &mut events, |_| false)?;
    if !gives {
        return none_has(&events).map(|()| Some("gap: times".to_owned()));
    }
    let reads: Vec<&Kept> = named(&events, "read")
        .filter(|one| one.header().args[0] == 0)
        .collect();
    let last = reads.last().ok_or("no read")?;
    check(last.event().took_ns().is_some(), || {
        "a read that was entered later has no time".to_owned()
    })?;
    // a driver that stops processes makes the kernel make the call again
    if !capture.holds() {
        same("reads", &reads.len(), &2)?;
        same("the first one's time", &reads[0].event().took_ns(), &None)?;
    }
    follow_each_other(&events, from_ns).map(|()| None)
}

fn added(stage: &Stage) -> Outcome {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let end = folder.path().join("end");
    let scene = actor("ticks", &[&end.to_string_lossy()]);
    let (mut capture, _) = open(stage, &request(Target::Command(scene), &["personality"]))?;
    let mut events = Vec::new();
    until(capture.as_mut(), &mut events, |all| all.len() > 5)?;
    let from_ns = now_ns();
    let taken = capture
        .select(&driver_api::selection::Selection::from(calls(&["personality"])).with_times(true));
    let before = events.len();
    until(capture.as_mut(), &mut events, |all| all.len() > before + 20)?;
    fs::write(&end, b"").map_err(|error| error.to_string())?;
    to_the_end(capture.as_mut())?;
    let (early, late) = events.split_at(before);
    none_has(early)?;
    match taken {
        Ok(()) if stage.entry_only() => none_has(late).map(|()| None),
        Ok(()) => {
            let timed = late.iter().any(|one| one.event().took_ns().is_some());
            check(timed, || "no event has a time".to_owned())?;
            follow_each_other(late, from_ns).map(|()| None)
        }
        Err(error) => {
            let text = Chain(&error).to_string();
            check(text.contains("restart"), || {
                format!("what to do is not said: {text}")
            })?;
            none_has(late).map(|()| Some("refused".to_owned()))
        }
    }
}
