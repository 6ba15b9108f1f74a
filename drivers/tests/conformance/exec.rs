//! Clause 10: what is delivered of an exec.

use std::ffi::CString;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use driver_api::event::{Event, EventKind, Fact, Flags, Layer};
use driver_api::support::Gap;
use proc_pid::Capabilities;

use crate::stage::{Kept, Outcome, Stage, check, named, said, same};
use crate::{Case, actor};

pub(crate) const CASES: &[Case] = &[
    (&[10], "an exec is one event with its facts", exec),
    (
        &[10],
        "an exec by a thread bears the leader's id",
        exec_of_thread,
    ),
    (
        &[10],
        "an exec ends the calls of other threads",
        exec_among_busy_threads,
    ),
    (
        &[8, 10],
        "the path of an exec is reported, resident or not",
        exec_from_cold_memory,
    ),
];

fn exec(stage: &Stage) -> Outcome {
    let (events, status) = stage.watch("exec", &[], &["execve"])?;
    same("status", &status, &Some(7 << 8))?;
    let failed: Vec<&Kept> = named(&events, "execve")
        .filter(|e| e.kind() == EventKind::Syscall)
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
    let argv_of = |event: &Event<'_>| -> Vec<String> {
        event
            .argument(1)
            .map(|a| {
                a.strings()
                    .map(|s| String::from_utf8_lossy(s).into_owned())
                    .collect()
            })
            .unwrap_or_default()
    };
    same("its argv", &argv_of(&failed[0].event()), &argv)?;
    let execs: Vec<&Kept> = events
        .iter()
        .filter(|e| e.kind() == EventKind::Exec)
        .collect();
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
    same("argv", &argv_of(&event), &argv)?;
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
    let unselected: Vec<&Kept> = events
        .iter()
        .filter(|e| e.kind() == EventKind::Exec)
        .collect();
    same("execs that were not selected", &unselected.len(), &2)?;
    check(
        unselected.iter().all(|e| e.event().has(Flags::UNSELECTED)),
        || "one is not marked UNSELECTED".to_owned(),
    )?;
    same(
        "failed execs that were not selected",
        &named(&events, "execve")
            .filter(|e| e.kind() == EventKind::Syscall)
            .count(),
        &0,
    )?;
    Ok(without)
}

/// The file and the capabilities of the actor, which are this process's.
fn program(stage: &Stage, event: &Event<'_>, exe: &Path) -> Outcome {
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
    let own = proc_pid::Status::of_self().map_err(said)?;
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

/// Whether a file is of an overlay file system: statfs(2).
fn is_in_overlay(file: &Path) -> Result<bool, String> {
    let path = CString::new(file.as_os_str().as_bytes()).map_err(|e| e.to_string())?;
    let mut found = MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: the path is a C string; the kernel writes one struct statfs, for which all bit patterns are valid.
    let (error, found) = unsafe {
        let error = libc::statfs(path.as_ptr(), found.as_mut_ptr());
        (error, found.assume_init())
    };
    check(error == 0, || std::io::Error::last_os_error().to_string())?;
    Ok(found.f_type == libc::OVERLAYFS_SUPER_MAGIC)
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
        .rfind(|e| e.kind() == EventKind::Exec)
        .ok_or("no exec")?;
    same("path", &last.text(0), &Some("/proc/self/exe".to_owned()))?;
    Ok(None)
}

/// A call that ends with the exec of another thread says nothing about it.
fn exec_among_busy_threads(stage: &Stage) -> Outcome {
    let (events, status) = stage.watch("exec-busy", &[], &["execve", "openat"])?;
    same("status", &status, &Some(0))?;
    let exe = std::env::current_exe().map_err(|e| e.to_string())?;
    let execs: Vec<_> = events
        .iter()
        .filter(|e| e.kind() == EventKind::Exec)
        .skip(1)
        .collect();
    same("execs", &execs.len(), &actor::BUSY)?;
    for exec in execs {
        let text = |fact| {
            let event = exec.event();
            event
                .fact(fact)
                .map(|a| String::from_utf8_lossy(&a.text()).into_owned())
        };
        same("fact exe", &text(Fact::Exe).as_deref(), &exe.to_str())?;
        same("fact comm", &text(Fact::Comm).as_deref(), &Some("exe"))?;
    }
    let failed = named(&events, "execve").filter(|e| e.kind() == EventKind::Syscall);
    same("failed execs", &failed.count(), &actor::BUSY)?;
    Ok(None)
}

fn exec_of_thread(stage: &Stage) -> Outcome {
    // the last call before the end that every driver captures
    let last_call = if stage.leaves_alone("exit_group").is_some() {
        "openat"
    } else {
        "exit_group"
    };
    let (events, status) = stage.watch("exec-thread", &[], &["execve", last_call])?;
    same("status", &status, &Some(7 << 8))?;
    let last = events
        .iter()
        .rfind(|e| e.kind() == EventKind::Exec)
        .ok_or("no exec")?
        .header();
    same("thread id", &last.tid, &last.tgid)?;
    let exit = named(&events, last_call)
        .last()
        .ok_or("no call after the exec")?
        .header();
    same(
        "process that goes on",
        &(exit.tgid, exit.tid),
        &(last.tgid, last.tid),
    )?;
    Ok(None)
}
