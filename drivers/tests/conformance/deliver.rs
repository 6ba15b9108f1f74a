//! Clauses 6 to 14: what is delivered, in which order, and what is not.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::Duration;

use driver_api::error::Chain;
use driver_api::event::{Abi, Event, Fact, Flags, Kind, Layer, Loss, Status};
use driver_api::request::Target;
use driver_api::support::Gap;
use proc_pid::Capabilities;

use crate::Case;
use crate::actor::LONG;
use crate::stage::{Kept, Outcome, Stage, actor, check, poll, request, same, to_the_end};

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
    (&[8, 13], "memory is captured as the contract says", memory),
    (
        &[9],
        "the clone family is delivered to the parent alone",
        clone_in_parent,
    ),
    (&[10], "an exec is one event with its facts", exec),
    (
        &[10],
        "an exec by a thread bears the leader's id",
        exec_of_thread,
    ),
    (
        &[8, 10],
        "the path of an exec is told, resident or not",
        exec_from_cold_memory,
    ),
    (&[11], "every thread's exit is delivered", exits),
    (&[12], "nothing else is delivered", nothing_else),
    (&[13], "what is too long is marked", truncated),
    (&[7], "a descriptor's resolved path is a fact", resolved),
    (&[14], "losses are counted and delivered", losses),
];

fn named<'a>(events: &'a [Kept], name: &'a str) -> impl Iterator<Item = &'a Kept> {
    events.iter().filter(move |event| event.name() == name)
}

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
        if event.kind() == Kind::Fork {
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

fn memory(stage: &Stage) -> Outcome {
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let path = folder.path().join("file");
    let (events, _) = stage.watch(
        "memory",
        &[path.to_str().unwrap_or_default()],
        &["read", "openat"],
    )?;
    if stage.entry_only() {
        return memory_at_entry(&events);
    }
    let reads: Vec<&Kept> = named(&events, "read")
        .filter(|e| e.header().args[2] == 64)
        .collect();
    let good = reads
        .iter()
        .find(|e| e.header().ret == 12)
        .ok_or("the read of 12 bytes is missing")?;
    same("data", &good.text(1), &Some("twelve bytes".to_owned()))?;
    let bad = reads
        .iter()
        .find(|e| e.header().ret == -i64::from(libc::EBADF))
        .ok_or("the failed read is missing")?;
    check(bad.event().argument(1).is_none(), || {
        "a failed read has data".to_owned()
    })?;
    let faults: Vec<&Kept> = named(&events, "openat")
        .filter(|e| e.header().ret == -i64::from(libc::EFAULT))
        .collect();
    same("faulting calls", &faults.len(), &2)?;
    check(faults[0].event().argument(1).is_none(), || {
        "a null pointer has an attachment".to_owned()
    })?;
    let status = faults[1]
        .event()
        .argument(1)
        .map(|a| (a.status, a.bytes.len()));
    same(
        "attachment of a bad pointer",
        &status,
        &Some((Status::Fault, 0)),
    )?;
    Ok(None)
}

/// What the kernel has not written yet is not there; what the program has filled is.
fn memory_at_entry(events: &[Kept]) -> Outcome {
    let mut reads = named(events, "read").filter(|e| e.header().args[2] == 64);
    check(reads.all(|e| e.event().argument(1).is_none()), || {
        "a read that has not been made has data".to_owned()
    })?;
    let bad = |at: u64| {
        named(events, "openat")
            .find(|e| e.header().args[1] == at)
            .map(|e| e.event().argument(1).map(|a| (a.status, a.bytes.len())))
    };
    same("attachment of a null pointer", &bad(0), &Some(None))?;
    same(
        "attachment of a bad pointer",
        &bad(1),
        &Some(Some((Status::Fault, 0))),
    )?;
    Ok(Some("gap: what the kernel writes".to_owned()))
}

fn clone_in_parent(stage: &Stage) -> Outcome {
    let (events, _) = stage.watch("forks", &[], &["clone", "clone3", "fork", "vfork"])?;
    let clones: Vec<&Kept> = events
        .iter()
        .filter(|e| e.kind() == Kind::Syscall)
        .collect();
    same("calls", &clones.len(), &20)?;
    let root = clones[0].header().tgid;
    let entry_only = stage.entry_only();
    check(
        clones
            .iter()
            .all(|e| e.header().tgid == root && (entry_only || e.header().ret > 0)),
        || "a clone was delivered in a child".to_owned(),
    )?;
    let born: Vec<i64> = events
        .iter()
        .filter(|e| e.kind() == Kind::Fork)
        .map(|e| e.header().args[0] as i64)
        .collect();
    if entry_only {
        same("children", &born.len(), &20)?;
        return Ok(Some("gap: return values".to_owned()));
    }
    same(
        "children",
        &clones.iter().map(|e| e.header().ret).collect::<Vec<_>>(),
        &born,
    )?;
    Ok(None)
}

fn strings(event: &Event<'_>, fact: Fact) -> Vec<String> {
    let Some(attachment) = event.fact(fact) else {
        return Vec::new();
    };
    attachment
        .strings()
        .map(|s| String::from_utf8_lossy(s).into_owned())
        .collect()
}

fn exec(stage: &Stage) -> Outcome {
    let (events, status) = stage.watch("exec", &[], &["execve"])?;
    same("status", &status, &Some(7 << 8))?;
    let failed: Vec<&Kept> = named(&events, "execve")
        .filter(|e| e.kind() == Kind::Syscall)
        .collect();
    same("failed calls", &failed.len(), &1)?;
    same(
        "its path",
        &failed[0].text(0),
        &Some("/nonexistent/program".to_owned()),
    )?;
    if stage.entry_only() {
        check(failed[0].event().has(Flags::ENTRY), || {
            "the failed call is not marked ENTRY".to_owned()
        })?;
    } else {
        same(
            "its result",
            &failed[0].header().ret,
            &-i64::from(libc::ENOENT),
        )?;
    }
    let argv: Vec<String> = ["actor", "--actor", "exit", "7"].map(str::to_owned).into();
    let said = |event: &Event<'_>| -> Vec<String> {
        event
            .argument(1)
            .map(|a| {
                a.strings()
                    .map(|s| String::from_utf8_lossy(s).into_owned())
                    .collect()
            })
            .unwrap_or_default()
    };
    same("its argv", &said(&failed[0].event()), &argv)?;
    let execs: Vec<&Kept> = events.iter().filter(|e| e.kind() == Kind::Exec).collect();
    same("execs", &execs.len(), &2)?;
    let event = execs[1].event();
    let exe = std::env::current_exe().map_err(|e| e.to_string())?;
    let text = |fact| {
        event
            .fact(fact)
            .map(|a| String::from_utf8_lossy(&a.text()).into_owned())
    };
    same(
        "path",
        &execs[1].text(0),
        &Some("/proc/self/exe".to_owned()),
    )?;
    same("argv", &said(&event), &argv)?;
    same("fact exe", &text(Fact::Exe).as_deref(), &exe.to_str())?;
    same(
        "fact cwd",
        &text(Fact::Cwd).as_deref(),
        &std::env::current_dir().map_err(|e| e.to_string())?.to_str(),
    )?;
    same("fact argv", &strings(&event, Fact::Argv), &argv)?;
    same(
        "fact env",
        &strings(&event, Fact::Env),
        &vec!["LANNER_SCENE=exec".to_owned()],
    )?;
    same("fact comm", &text(Fact::Comm), &Some("exe".to_owned()))?;
    let ids = event.ids().ok_or("no ids")?;
    same("parent", &ids.ppid, &std::process::id())?;
    // SAFETY: these calls have no effect.
    let (uid, euid, sid, pgid) = unsafe {
        (
            libc::getuid(),
            libc::geteuid(),
            libc::getsid(0),
            libc::getpgid(0),
        )
    };
    same(
        "ids",
        &(ids.uid, ids.euid, ids.sid as i32, ids.pgid as i32),
        &(uid, euid, sid, pgid),
    )?;
    let without = program(stage, &event, &exe)?;
    check(!event.has(Flags::UNSELECTED), || {
        "a selected exec is marked UNSELECTED".to_owned()
    })?;
    let (events, _) = stage.watch("exec", &[], &["openat"])?;
    let unselected: Vec<&Kept> = events.iter().filter(|e| e.kind() == Kind::Exec).collect();
    same("execs that nobody selected", &unselected.len(), &2)?;
    check(
        unselected.iter().all(|e| e.event().has(Flags::UNSELECTED)),
        || "one is not marked UNSELECTED".to_owned(),
    )?;
    same(
        "failed execs that nobody selected",
        &named(&events, "execve")
            .filter(|e| e.kind() == Kind::Syscall)
            .count(),
        &0,
    )?;
    Ok(without)
}

/// Whether a file is of an overlay file system: statfs(2).
fn is_in_overlay(file: &std::path::Path) -> Result<bool, String> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(file.as_os_str().as_bytes()).map_err(|e| e.to_string())?;
    let mut found = std::mem::MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: the path is a C string; the kernel writes one struct statfs, of which all bit patterns are valid.
    let (error, found) = unsafe {
        let error = libc::statfs(path.as_ptr(), found.as_mut_ptr());
        (error, found.assume_init())
    };
    check(error == 0, || std::io::Error::last_os_error().to_string())?;
    Ok(found.f_type == libc::OVERLAYFS_SUPER_MAGIC)
}

/// The file and the capabilities of the actor, which are this process's.
fn program(stage: &Stage, event: &Event<'_>, exe: &std::path::Path) -> Outcome {
    use std::os::unix::fs::MetadataExt;
    let Some(program) = event.program() else {
        let support = stage.driver.probe(stage.host);
        let named = support.gaps().iter().any(|gap| gap.what == Gap::PROGRAM);
        check(named, || "no fact program, and no gap says so".to_owned())?;
        return Ok(Some("gap: a program's file".to_owned()));
    };
    let file = exe.metadata().map_err(|e| e.to_string())?;
    let ns = |s: i64, ns: i64| (s * 1_000_000_000 + ns).cast_unsigned();
    same(
        "the program's file",
        &(program.mode, program.uid, program.gid, program.mtime_ns),
        &(
            file.mode(),
            file.uid(),
            file.gid(),
            ns(file.mtime(), file.mtime_nsec()),
        ),
    )?;
    same(
        "whether it is in an overlay",
        &(program.layer != Layer::None as u32),
        &is_in_overlay(exe)?,
    )?;
    let own = proc_pid::Status::of_self().map_err(|e| Chain(&e).to_string())?;
    same(
        "what the program may do",
        &Some(Capabilities {
            inheritable: program.cap_inheritable,
            permitted: program.cap_permitted,
            effective: program.cap_effective,
        }),
        &own.capabilities(),
    )?;
    Ok(None)
}

fn exec_from_cold_memory(stage: &Stage) -> Outcome {
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let file = folder.path().join("path");
    let (events, status) = stage.watch(
        "exec-cold",
        &[file.to_str().unwrap_or_default()],
        &["execve"],
    )?;
    same("status", &status, &Some(7 << 8))?;
    let last = events
        .iter()
        .rfind(|e| e.kind() == Kind::Exec)
        .ok_or("no exec")?;
    same("path", &last.text(0), &Some("/proc/self/exe".to_owned()))?;
    Ok(None)
}

fn exec_of_thread(stage: &Stage) -> Outcome {
    let (events, status) = stage.watch("exec-thread", &[], &["execve", "exit_group"])?;
    same("status", &status, &Some(7 << 8))?;
    let last = events
        .iter()
        .rfind(|e| e.kind() == Kind::Exec)
        .ok_or("no exec")?
        .header();
    same("thread id", &last.tid, &last.tgid)?;
    let exit = named(&events, "exit_group")
        .last()
        .ok_or("no exit_group after the exec")?
        .header();
    same(
        "process that ends",
        &(exit.tgid, exit.tid),
        &(last.tgid, last.tid),
    )?;
    Ok(None)
}

fn exits(stage: &Stage) -> Outcome {
    let (events, _) = stage.watch("threads", &[], &["openat"])?;
    let ids = |kind: Kind, id: fn(&Kept) -> u32| -> Vec<u32> {
        let mut ids: Vec<u32> = events.iter().filter(|e| e.kind() == kind).map(id).collect();
        ids.sort_unstable();
        ids
    };
    let mut born = ids(Kind::Fork, |e| e.header().args[0] as u32);
    let root = events.first().ok_or("no events")?.header().tgid;
    check(
        events
            .iter()
            .filter(|e| e.kind() == Kind::Fork)
            .all(|e| e.header().args[1] as u32 == root),
        || "a thread has another tgid".to_owned(),
    )?;
    born.push(root);
    born.sort_unstable();
    same(
        "threads that ended",
        &ids(Kind::Exit, |e| e.header().tid),
        &born,
    )?;
    let (events, _) = stage.watch("forks", &[], &["openat"])?;
    let codes: BTreeSet<i64> = events
        .iter()
        .filter(|e| e.kind() == Kind::Exit)
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
        for event in events.iter().filter(|event| event.kind() != Kind::Lost) {
            let header = event.header();
            check(family.contains(&header.tgid), || {
                format!("an event of process {}: {event:?}", header.tgid)
            })?;
            if event.kind() == Kind::Fork {
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

fn truncated(stage: &Stage) -> Outcome {
    let (events, _) = stage.watch("write-long", &[], &["write", "openat"])?;
    let write = named(&events, "write")
        .find(|e| e.header().args[0] == 9999)
        .ok_or("the write is missing")?;
    let event = write.event();
    let data = event.argument(1).ok_or("the write has no data")?;
    same(
        "data",
        &(data.status, data.bytes.len(), data.full),
        &(Status::Truncated, 80, LONG as u64),
    )?;
    let open = named(&events, "openat")
        .find(|e| {
            e.header().ret == -i64::from(libc::ENAMETOOLONG)
                || e.text(1).is_some_and(|path| path.starts_with("/pppp"))
        })
        .ok_or("the openat of the long path is missing")?;
    let event = open.event();
    let path = event.argument(1).ok_or("it has no path")?;
    same(
        "path",
        &(path.status, path.bytes.len()),
        &(Status::Truncated, 4096),
    )?;
    Ok(None)
}

fn resolved(stage: &Stage) -> Outcome {
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let folder = folder.path().canonicalize().map_err(|e| e.to_string())?;
    let folder = folder.to_str().unwrap_or_default();
    let (events, _) = stage.watch("resolved", &[folder], &["openat"])?;
    if stage.entry_only() {
        check(
            events.iter().all(|e| e.event().fact(Fact::Path).is_none()),
            || "a descriptor that is not there yet has a path".to_owned(),
        )?;
        let said =
            |path: &str| named(&events, "openat").any(|e| e.text(1).as_deref() == Some(path));
        check(said(&format!("{folder}/deep/er/../file")), || {
            "what the program said is missing".to_owned()
        })?;
        return Ok(Some("gap: resolved paths".to_owned()));
    }
    let facts: Vec<(String, String)> = named(&events, "openat")
        .filter(|e| e.header().ret >= 0)
        .filter_map(|e| {
            let fact = e
                .event()
                .fact(Fact::Path)
                .map(|a| String::from_utf8_lossy(&a.text()).into_owned());
            Some((e.text(1)?, fact.unwrap_or_default()))
        })
        .collect();
    let fact_of = |path: &str| {
        facts
            .iter()
            .rfind(|(said, _)| said == path)
            .map(|(_, fact)| fact.as_str())
    };
    for (said, expected) in [
        ("link", "deep/file"),
        ("deep/er/../file", "deep/file"),
        ("deep", "deep"),
        ("deep/new", "deep/new"),
    ] {
        let expected = format!("{folder}/{expected}");
        same(
            said,
            &fact_of(&format!("{folder}/{said}")),
            &Some(expected.as_str()),
        )?;
    }
    let status = fact_of("/proc/self/status").unwrap_or_default();
    check(
        status.starts_with("/proc/") && status.ends_with("/status") && !status.contains("self"),
        || format!("the path of /proc/self/status is {status:?}"),
    )?;
    Ok(None)
}

fn losses(stage: &Stage) -> Outcome {
    let loses = stage.driver.serves().host;
    let storm: u64 = if loses { 400_000 } else { 20_000 };
    let mut request = request(
        Target::Command(actor("storm", &[&storm.to_string()])),
        &["getpid"],
    );
    request.buffer = 1 << 16;
    let mut capture = stage.must_open(&request)?;
    let mut events = Vec::new();
    poll(capture.as_mut(), &mut events, Duration::from_millis(50))?;
    // a consumer that sleeps; the ptrace driver makes the command wait meanwhile
    thread::sleep(Duration::from_millis(500));
    let (rest, status) = to_the_end(capture.as_mut())?;
    same("status", &status, &Some(0))?;
    events.extend(rest);
    let stats = capture.stats();
    let calls = named(&events, "getpid").count() as u64;
    let reported: u64 = events
        .iter()
        .filter(|e| e.kind() == Kind::Lost)
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
