//! Clauses 6, 7, 9, 11, 12 and 14: which events are delivered, and in which order. [`memory`](crate::memory) and
//! [`exec`](crate::exec) look into them.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::Duration;

use driver_api::event::{Abi, EventKind, Flags, Loss};
use driver_api::request::Target;

use crate::Case;
use crate::stage::{Kept, Outcome, Stage, actor, check, named, poll, request, same, to_the_end};

pub(crate) const CASES: &[Case] = &[
    (
        &[6],
        "a thread's calls come in their order",
        threads_in_order,
    ),
    (
        &[6, 11],
        "a fork comes before the child's first event",
        fork_before_child,
    ),
    (
        &[7],
        "a call that a signal handler ends is delivered, one that is made again is not",
        interrupted,
    ),
    (
        &[7],
        "a call is delivered once, whole, when it returns",
        once_and_whole,
    ),
    (
        &[7],
        "a call that does not return is delivered at its entry",
        entry_of_exit,
    ),
    (
        &[9],
        "the clone family is delivered to the parent alone",
        clone_in_parent,
    ),
    (&[11], "every thread's exit is delivered", exits),
    (&[12], "nothing else is delivered", nothing_else),
    (&[14], "losses are counted and delivered", losses),
];

fn ours(event: &Kept) -> Option<String> {
    event
        .text(1)
        .filter(|path| path.starts_with("/nonexistent/"))
}

fn threads_in_order(stage: &Stage) -> Outcome {
    let (events, _) = stage.watch("threads", &[], &["openat"])?;
    let mut by_thread: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for event in named(&events, "openat") {
        if let Some(path) = ours(event) {
            by_thread.entry(event.header().tid).or_default().push(path);
        }
    }
    same("threads", &by_thread.len(), &4)?;
    for paths in by_thread.values() {
        let thread = paths[0].split('/').nth(2).unwrap_or_default();
        let expected: Vec<String> = (0..50)
            .map(|at| format!("/nonexistent/{thread}/{at}"))
            .collect();
        same("order of a thread", paths, &expected)?;
    }
    let times: Vec<u64> = events.iter().map(|e| e.header().time_ns).collect();
    check(times.iter().all(|t| *t > 0), || {
        "an event has no time".to_owned()
    })?;
    Ok(None)
}

fn fork_before_child(stage: &Stage) -> Outcome {
    let (events, _) = stage.watch("forks", &[], &["openat"])?;
    let mut born = BTreeSet::new();
    let mut children = 0;
    let root = events.first().ok_or("no events")?.header().tgid;
    for event in &events {
        let header = event.header();
        if event.kind() == EventKind::Fork {
            born.insert(u32::try_from(header.args[0]).unwrap_or(0));
            same("tgid of a forked process", &header.args[1], &header.args[0])?;
        } else if header.tgid != root {
            check(born.contains(&header.tid), || {
                format!("{event:?} came before its fork")
            })?;
            children += 1;
        }
    }
    same("children", &born.len(), &20)?;
    check(children >= 40, || {
        format!("{children} events of the children")
    })?;
    Ok(None)
}

fn interrupted(stage: &Stage) -> Outcome {
    let (events, status) = stage.watch("interrupted", &[], &["read", "clock_nanosleep"])?;
    same("status", &status, &Some(0))?;
    // what comes before belongs to the program's start
    let pipe = named(&events, "read").last();
    let pipe = pipe.ok_or("no read")?.header().args[0];
    let all: Vec<&Kept> = events
        .iter()
        .filter(|event| match event.name() {
            "read" => event.header().args[0] == pipe && event.header().args[2] == 8,
            name => name == "clock_nanosleep",
        })
        .collect();
    if stage.entry_only() {
        return check(all.len() >= 3, || format!("{} calls", all.len())).map(|()| None);
    }
    let found: Vec<(&str, i64)> = all
        .iter()
        .map(|event| (event.name(), event.header().ret))
        .collect();
    let eintr = -i64::from(libc::EINTR);
    let expected = [("read", eintr), ("clock_nanosleep", eintr), ("read", 1)];
    same("calls", &found, &expected.to_vec())?;
    check(all.iter().all(|event| event.header().flags == 0), || {
        "an event has flags".to_owned()
    })?;
    let left = all[1]
        .event()
        .argument(3)
        .ok_or("what is left of the time")?;
    same("bytes of what is left", &left.bytes.len(), &16)?;
    Ok(None)
}

fn once_and_whole(stage: &Stage) -> Outcome {
    let (events, _) = stage.watch("opens", &[], &["openat"])?;
    let opens: Vec<&Kept> = named(&events, "openat")
        .filter(|e| ours(e).is_some())
        .collect();
    same("calls", &opens.len(), &100)?;
    for (at, event) in opens.iter().enumerate() {
        let header = event.header();
        same("path", &ours(event), &Some(format!("/nonexistent/{at}")))?;
        if stage.entry_only() {
            check(event.event().has(Flags::ENTRY), || {
                "it is not marked ENTRY".to_owned()
            })?;
        } else {
            same("ret", &header.ret, &-i64::from(libc::ENOENT))?;
            same("flags", &header.flags, &0)?;
        }
        same("nr", &i64::from(header.nr), &libc::SYS_openat)?;
        same("abi", &event.event().abi(), &Abi::NATIVE)?;
        same("dirfd", &(header.args[0] as u32), &(libc::AT_FDCWD as u32))?;
        same("flags", &(header.args[2] as u32), &(libc::O_RDONLY as u32))?;
        same("mode", &(header.args[3] as u32), &0)?;
        // SAFETY: these calls have no arguments and always succeed.
        let (uid, gid) = unsafe { (libc::getuid(), libc::getgid()) };
        same("uid", &header.uid, &uid)?;
        same("gid", &header.gid, &gid)?;
    }
    Ok(None)
}

fn entry_of_exit(stage: &Stage) -> Outcome {
    if let Some(gap) = stage.leaves_alone("exit_group") {
        return gap;
    }
    let (events, status) = stage.watch("exit", &["7"], &["exit_group"])?;
    same("status", &status, &Some(7 << 8))?;
    let exits: Vec<&Kept> = named(&events, "exit_group").collect();
    same("calls", &exits.len(), &1)?;
    same("argument", &exits[0].header().args[0], &7)?;
    check(exits[0].event().has(Flags::NORETURN), || {
        "it is not marked NORETURN".to_owned()
    })?;
    Ok(None)
}

fn clone_in_parent(stage: &Stage) -> Outcome {
    if stage.leaves_alone("clone3").is_some() {
        let (events, _) = stage.watch("forks", &[], &["clone", "clone3", "fork", "vfork"])?;
        let born = events
            .iter()
            .filter(|e| e.kind() == EventKind::Fork)
            .count();
        same("children", &born, &20)?;
        let calls = events
            .iter()
            .filter(|e| e.kind() == EventKind::Syscall)
            .count();
        same("calls", &calls, &0)?;
        return Ok(Some("gap: calls that must not fail".to_owned()));
    }
    let (events, _) = stage.watch("forks", &[], &["clone", "clone3", "fork", "vfork"])?;
    let clones: Vec<&Kept> = events
        .iter()
        .filter(|e| e.kind() == EventKind::Syscall)
        .collect();
    same("calls", &clones.len(), &20)?;
    let root = clones[0].header().tgid;
    check(
        clones
            .iter()
            .all(|e| e.header().tgid == root && e.header().ret > 0),
        || "a clone was delivered in a child".to_owned(),
    )?;
    let born: Vec<i64> = events
        .iter()
        .filter(|e| e.kind() == EventKind::Fork)
        .map(|e| e.header().args[0] as i64)
        .collect();
    same(
        "children",
        &clones.iter().map(|e| e.header().ret).collect::<Vec<_>>(),
        &born,
    )?;
    Ok(None)
}

fn exits(stage: &Stage) -> Outcome {
    let (events, _) = stage.watch("threads", &[], &["openat"])?;
    let ids = |kind: EventKind, id: fn(&Kept) -> u32| -> Vec<u32> {
        let mut ids: Vec<u32> = events.iter().filter(|e| e.kind() == kind).map(id).collect();
        ids.sort_unstable();
        ids
    };
    let mut born = ids(EventKind::Fork, |e| e.header().args[0] as u32);
    let root = events.first().ok_or("no events")?.header().tgid;
    check(
        events
            .iter()
            .filter(|e| e.kind() == EventKind::Fork)
            .all(|e| e.header().args[1] as u32 == root),
        || "a thread has another tgid".to_owned(),
    )?;
    born.push(root);
    born.sort_unstable();
    same(
        "threads that ended",
        &ids(EventKind::Exit, |e| e.header().tid),
        &born,
    )?;
    let (events, _) = stage.watch("forks", &[], &["openat"])?;
    let codes: BTreeSet<i64> = events
        .iter()
        .filter(|e| e.kind() == EventKind::Exit)
        .map(|e| e.header().ret >> 8)
        .collect();
    check((0..20).all(|code| codes.contains(&code)), || {
        format!("exit codes {codes:?}")
    })?;
    Ok(None)
}

fn nothing_else(stage: &Stage) -> Outcome {
    let stop = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                // a process of our own that is no target, beside our own calls
                let _ = std::process::Command::new("/bin/true").status();
            }
        });
        let result = stage.watch("forks", &[], &["openat"]);
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        let (events, _) = result?;
        let root = events.first().ok_or("no events")?.header().tgid;
        let mut family = BTreeSet::from([root]);
        for event in events
            .iter()
            .filter(|event| event.kind() != EventKind::Lost)
        {
            let header = event.header();
            check(family.contains(&header.tgid), || {
                format!("an event of process {}: {event:?}", header.tgid)
            })?;
            if event.kind() == EventKind::Fork {
                family.insert(header.args[1] as u32);
            }
            check(matches!(event.name(), "" | "openat" | "execve"), || {
                format!("a {}", event.name())
            })?;
        }
        check(!family.contains(&std::process::id()), || {
            "our own process is among them".to_owned()
        })?;
        Ok(None)
    })
}

fn losses(stage: &Stage) -> Outcome {
    let loses = stage.driver.serves().host;
    let storm: u64 = if loses { 400_000 } else { 20_000 };
    let mut request = request(
        Target::Command(actor("storm", &[&storm.to_string()])),
        &["personality"],
    );
    request.buffer = 1 << 16;
    let mut capture = stage.must_open(&request)?;
    let mut events = Vec::new();
    poll(capture.as_mut(), &mut events, Duration::from_millis(50))?;
    // the consumer sleeps; drivers that hold processes make the command wait meanwhile
    thread::sleep(Duration::from_millis(500));
    let (rest, status) = to_the_end(capture.as_mut())?;
    same("status", &status, &Some(0))?;
    events.extend(rest);
    let stats = capture.stats();
    let calls = named(&events, "personality").count() as u64;
    let reported: u64 = events
        .iter()
        .filter(|e| e.kind() == EventKind::Lost)
        .map(|e| e.header().args[0])
        .sum();
    same(
        "losses as events and as counters",
        &reported,
        &stats.lost_total(),
    )?;
    // some of what was lost are births and ends of processes, and a run that the kernel skipped need not have made an
    // event
    let seen = calls + stats.lost_total();
    let most = storm + 16 + stats.lost[Loss::Nested as usize];
    check((storm..most).contains(&seen), || {
        format!("{calls} calls and {} losses of {storm}", stats.lost_total())
    })?;
    if loses {
        check(stats.lost_total() > 0, || {
            "nothing was lost in a buffer of 64 KiB: the case tests nothing".to_owned()
        })?;
    } else {
        same(
            "losses of a driver that makes the command wait",
            &stats.lost_total(),
            &0,
        )?;
    }
    Ok(Some(format!("{} of {storm} lost", stats.lost_total())))
}
