//! What /proc says of a thread: its process, its parent, its ids, its tracer, its handlers.

use std::fs;

use crate::proc_dir::ProcDir;

/// The real and effective ids of a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) euid: u32,
    pub(crate) egid: u32,
}

/// The number after a key in /proc/TID/status.
fn status_number(tid: u32, key: &str) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{tid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.trim().parse().ok()
}

/// The process that a thread belongs to.
pub(crate) fn tgid(tid: u32) -> Option<u32> {
    status_number(tid, "Tgid:")
}

/// The process that made a thread, as long as it lives: of the first thread the parent process, of others their own.
pub(crate) fn parent(tid: u32) -> Option<u32> {
    match tgid(tid)? {
        group if group == tid => status_number(tid, "PPid:"),
        group => Some(group),
    }
}

/// Whether a thread is in lanner's PID namespace, and so has the same ids for other threads. It stays there for life.
pub(crate) fn is_in_our_pid_namespace(tid: u32) -> bool {
    let namespace = |tid| {
        let status = ProcDir::open(tid)?.status(c"ns/pid")?;
        Some((status.st_dev, status.st_ino))
    };
    let own = namespace(std::process::id());
    own.is_some() && own == namespace(tid)
}

/// Whether a thread has a handler for a signal.
pub(crate) fn catches(tid: u32, signal: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{tid}/status")).unwrap_or_default();
    let caught = status
        .lines()
        .find_map(|line| line.strip_prefix("SigCgt:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    caught.is_some_and(|caught| caught >> (signal - 1) & 1 == 1)
}

/// What can keep a thread from being attached to.
#[derive(Debug)]
pub(crate) struct TracingState {
    /// It has ended.
    pub(crate) gone: bool,
    /// Its tracer's thread; 0: none.
    pub(crate) tracer: i32,
}

pub(crate) fn tracing_state(tid: u32) -> TracingState {
    let status = fs::read_to_string(format!("/proc/{tid}/status")).unwrap_or_default();
    let word = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        line.and_then(|line| line.split_whitespace().next())
    };
    TracingState {
        gone: word("State:").is_none_or(|state| matches!(state, "Z" | "X")),
        tracer: word("TracerPid:")
            .and_then(|tracer| tracer.parse().ok())
            .unwrap_or(0),
    }
}

/// The ids of a thread; all ones if it is gone.
pub(crate) fn owner(tid: u32) -> Owner {
    let mut owner = Owner {
        uid: u32::MAX,
        gid: u32::MAX,
        euid: u32::MAX,
        egid: u32::MAX,
    };
    let status = fs::read_to_string(format!("/proc/{tid}/status")).unwrap_or_default();
    for line in status.lines() {
        let mut words = line.split_whitespace();
        let (key, mut numbers) = (words.next(), words.map_while(|word| word.parse().ok()));
        let mut next = || numbers.next().unwrap_or(u32::MAX);
        match key {
            Some("Uid:") => (owner.uid, owner.euid) = (next(), next()),
            Some("Gid:") => (owner.gid, owner.egid) = (next(), next()),
            _ => {}
        }
    }
    owner
}

/// The ids after an exec.
///
/// They are those before it, unless the program's file has the set-user-id or set-group-id bit. The folder of a
/// process that has run such a file belongs to root (proc(5)), whatever has become of the file meanwhile. Reading
/// its whole status would cost more.
pub(crate) fn owner_after_exec(tid: u32, dir: &ProcDir, before: Owner) -> Owner {
    let unchanged = dir
        .status(c"exe")
        .is_some_and(|file| file.st_mode & (libc::S_ISUID | libc::S_ISGID) == 0)
        && dir
            .status(c"")
            .is_some_and(|own| (own.st_uid, own.st_gid) == (before.euid, before.egid));
    if unchanged { before } else { owner(tid) }
}
