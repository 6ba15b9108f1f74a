//! What /proc says of a thread: its process, its parent, its ids, its tracer, its handlers.

use proc_pid::{Ids, SignalSet, State, Status};

use crate::proc_dir::ProcDir;

/// The real and effective ids of a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) euid: u32,
    pub(crate) egid: u32,
}

/// The process that a thread belongs to.
pub(crate) fn tgid(tid: u32) -> Option<u32> {
    Status::of(tid).ok()?.tgid()
}

/// The process that made a thread, as long as that process lives. For the first thread of a process, it is the parent process; for
/// other threads, it is their own process.
pub(crate) fn parent(tid: u32) -> Option<u32> {
    let status = Status::of(tid).ok()?;
    match status.tgid()? {
        group if group == tid => status.ppid(),
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
    let status = Status::of(tid).ok();
    let caught = status.and_then(|status| status.signals(SignalSet::Caught));
    caught.is_some_and(|caught| caught >> (signal - 1) & 1 == 1)
}

/// What can keep a thread from being attached to.
#[derive(Debug)]
pub(crate) struct TracingState {
    /// It has ended.
    pub(crate) gone: bool,
    /// The thread that traces it.
    pub(crate) tracer: Option<u32>,
}

pub(crate) fn tracing_state(tid: u32) -> TracingState {
    let status = Status::of(tid).ok();
    let state = status.as_ref().and_then(Status::state);
    TracingState {
        gone: state.is_none_or(State::has_ended),
        tracer: status.as_ref().and_then(Status::tracer),
    }
}

/// The ids of a thread; all ones if it is gone.
pub(crate) fn owner(tid: u32) -> Owner {
    let unknown = Ids {
        real: u32::MAX,
        effective: u32::MAX,
        saved: u32::MAX,
        file_system: u32::MAX,
    };
    let status = Status::of(tid).ok();
    let users = status.as_ref().and_then(Status::uids).unwrap_or(unknown);
    let groups = status.as_ref().and_then(Status::gids).unwrap_or(unknown);
    Owner {
        uid: users.real,
        gid: groups.real,
        euid: users.effective,
        egid: groups.effective,
    }
}

/// The ids after an exec.
///
/// They are those before it, unless the program's file has the set-user-id or set-group-id bit. The folder of a
/// process that has run such a file belongs to root (proc(5)), even if the file has changed meanwhile. Reading
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
