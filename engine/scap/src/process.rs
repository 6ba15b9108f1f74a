//! The processes of a capture, as far as events need it: which process a thread belongs to, and what a process has before
//! an event changes it. The state that rules see is the inspector's.

use std::collections::HashMap;

use driver_api::event::Ids;

/// An id that the capture does not have.
pub(crate) const UNKNOWN: u32 = u32::MAX;

/// What is known of a process.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    pub(crate) ids: Ids,
    pub(crate) cgroup: u64,
    /// Its children may be in another pid namespace.
    pub(crate) other_children: bool,
    threads: u32,
}

impl Process {
    /// A process about which nothing is known.
    pub(crate) fn unknown() -> Self {
        Self {
            ids: Ids {
                pgid: UNKNOWN,
                sid: UNKNOWN,
                loginuid: UNKNOWN,
                uid: UNKNOWN,
                euid: UNKNOWN,
                gid: UNKNOWN,
                egid: UNKNOWN,
                ..Ids::default()
            },
            cgroup: 0,
            other_children: false,
            threads: 0,
        }
    }
}

impl Process {
    /// A process without threads.
    pub(crate) fn new(ids: Ids, cgroup: u64) -> Self {
        Self {
            ids,
            cgroup,
            other_children: false,
            threads: 0,
        }
    }

    /// A copy without threads.
    pub(crate) fn as_new(&self) -> Self {
        Self {
            other_children: false,
            threads: 0,
            ..self.clone()
        }
    }
}

/// A thread.
#[derive(Debug, Clone, Copy)]
struct Thread {
    pid: u32,
    /// Its ids, if an event said them and those of its process are not known.
    ids: Option<(u32, u32)>,
}

/// The processes that live.
#[derive(Debug, Default)]
pub(crate) struct Processes {
    of_thread: HashMap<u32, Thread>,
    by_pid: HashMap<u32, Process>,
}

impl Processes {
    /// The process that a thread belongs to.
    pub(crate) fn pid(&self, tid: u32) -> Option<u32> {
        self.of_thread.get(&tid).map(|thread| thread.pid)
    }

    /// Real user and group id of a thread.
    pub(crate) fn ids(&self, tid: u32) -> (u32, u32) {
        let Some(thread) = self.of_thread.get(&tid) else {
            return (UNKNOWN, UNKNOWN);
        };
        let of_process = self.by_pid.get(&thread.pid).map(|process| process.ids);
        match of_process.filter(|ids| ids.uid != UNKNOWN) {
            Some(ids) => (ids.uid, ids.gid),
            None => thread.ids.unwrap_or((UNKNOWN, UNKNOWN)),
        }
    }

    /// An event said the ids of a thread.
    pub(crate) fn thread_ids(&mut self, tid: u32, uid: u32, gid: u32) {
        if let Some(thread) = self.of_thread.get_mut(&tid) {
            thread.ids = Some((uid, gid));
        }
    }

    pub(crate) fn get(&self, pid: u32) -> Option<&Process> {
        self.by_pid.get(&pid)
    }

    pub(crate) fn get_mut(&mut self, pid: u32) -> Option<&mut Process> {
        self.by_pid.get_mut(&pid)
    }

    /// Adds a thread. `process` is what its process has if that is new.
    pub(crate) fn add(&mut self, tid: u32, pid: u32, process: impl FnOnce() -> Process) {
        match self.of_thread.insert(tid, Thread { pid, ids: None }) {
            Some(before) if before.pid == pid => return,
            Some(before) => self.drop_one(before.pid),
            None => {}
        }
        let process = self.by_pid.entry(pid).or_insert_with(process);
        process.threads = process.threads.saturating_add(1);
    }

    /// Removes a thread.
    pub(crate) fn remove(&mut self, tid: u32) {
        if let Some(thread) = self.of_thread.remove(&tid) {
            self.drop_one(thread.pid);
        }
    }

    fn drop_one(&mut self, pid: u32) {
        if let Some(process) = self.by_pid.get_mut(&pid) {
            process.threads = process.threads.saturating_sub(1);
            if process.threads == 0 {
                self.by_pid.remove(&pid);
            }
        }
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.of_thread.clear();
        self.by_pid.clear();
    }
}

/// An id of a capture, which has 64 bits for each.
pub(crate) fn id(value: i64) -> Option<u32> {
    u32::try_from(value).ok().filter(|id| *id != UNKNOWN)
}
