//! Processes and their lineage. A process that has ended stays known while a descendant that is known
//! needs it to tell where it comes from, and a little longer; how many do is bounded.

use std::collections::VecDeque;
use std::sync::Arc;

use super::containers::{self, Cgroups};
use super::descriptor::FilesId;
use super::hash::IdMap;
use super::program::{Capabilities, ProgramFile};
use super::text::{Room, Text};

/// A process, living or ended. Never refers to another process that was given the same pid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProcessKey {
    slot: u32,
    generation: u32,
}

/// A thread of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Thread {
    pub(super) tid: u32,
    /// Its name, where it is not the process's.
    pub(super) name: Option<Text>,
}

/// What is known of a process. Texts are as the kernel gave them.
#[derive(Debug, Clone)]
pub struct Process {
    /// Thread-group id.
    pub pid: u32,
    /// Thread-group id of the parent.
    pub ppid: u32,
    /// Id in its own pid namespace.
    pub vpid: Option<u32>,
    /// The process that made this one, even if another has adopted it since.
    pub parent: Option<ProcessKey>,
    /// Whether anything below was learnt, rather than only that the process exists.
    pub known: bool,
    /// The kernel's name of it (comm).
    pub name: Text,
    /// Resolved path of the executable; empty: not known.
    pub exe: Text,
    /// Arguments, each ended by NUL.
    pub args: Text,
    /// Environment, each ended by NUL.
    pub env: Text,
    /// Working directory; empty: not known.
    pub cwd: Text,
    /// Real user id.
    pub uid: u32,
    /// Effective user id.
    pub euid: u32,
    /// Real group id.
    pub gid: u32,
    /// Effective group id.
    pub egid: u32,
    /// Login user id; `u32::MAX`: none.
    pub loginuid: u32,
    /// Process group.
    pub pgid: u32,
    /// Session.
    pub sid: u32,
    /// Device number of the controlling terminal; 0: none.
    pub tty: u32,
    /// The executable is a memfd.
    pub memfd: bool,
    /// The executable's file; none: not known.
    pub file: Option<ProgramFile>,
    /// What the process is capable of; none: not known, and /proc may tell.
    pub capabilities: Option<Capabilities>,
    /// Its cgroups, and the container that they make.
    pub cgroups: Arc<Cgroups>,
    /// When it began, `CLOCK_MONOTONIC`; 0: not known.
    pub start_ns: u64,
    /// It has ended.
    pub ended: bool,
    /// /proc said all this at that time; 0: it was followed from its birth.
    pub(super) scanned_ns: u64,
    /// /proc was asked, and need not be asked again.
    pub(super) probed: bool,
    pub(super) threads: Vec<Thread>,
    pub(super) files: FilesId,
    /// The cgroup v2 id that came with its events; 0: none did.
    pub(super) cgroup_id: u64,
    /// It gets the orphans among its descendants (prctl(2), `PR_SET_CHILD_SUBREAPER`).
    pub(super) subreaper: bool,
    /// Its children are in another pid namespace (unshare(2), setns(2)).
    pub(super) children_elsewhere: bool,
    /// Known processes that have this one as parent.
    pub(super) children: u32,
}

impl Process {
    /// A process of which nothing is known but that it exists.
    pub(super) fn unknown(pid: u32, files: FilesId) -> Self {
        Self {
            pid,
            ppid: 0,
            vpid: None,
            parent: None,
            known: false,
            name: Text::default(),
            exe: Text::default(),
            args: Text::default(),
            env: Text::default(),
            cwd: Text::default(),
            uid: 0,
            euid: 0,
            gid: 0,
            egid: 0,
            loginuid: u32::MAX,
            pgid: 0,
            sid: 0,
            tty: 0,
            memfd: false,
            file: None,
            capabilities: None,
            cgroups: containers::unknown(),
            cgroup_id: 0,
            subreaper: false,
            children_elsewhere: false,
            start_ns: 0,
            ended: false,
            scanned_ns: 0,
            probed: false,
            threads: Vec::new(),
            files,
            children: 0,
        }
    }

    /// A child as fork makes it: everything but ids, threads and descriptors is its parent's.
    pub(super) fn child(&self, pid: u32, files: FilesId) -> Self {
        Self {
            pid,
            ppid: self.pid,
            vpid: None,
            parent: self.parent,
            known: self.known,
            name: self.name.clone(),
            exe: self.exe.clone(),
            args: self.args.clone(),
            env: self.env.clone(),
            cwd: self.cwd.clone(),
            cgroups: Arc::clone(&self.cgroups),
            // not a clone of all: that of the threads would take memory
            scanned_ns: 0,
            probed: false,
            ended: false,
            threads: Vec::new(),
            files,
            children: 0,
            subreaper: false,
            children_elsewhere: false,
            ..*self
        }
    }

    /// Gives back all that it has, but for the room of its threads.
    fn clear(&mut self, room: &mut Room) {
        for text in [
            &mut self.name,
            &mut self.exe,
            &mut self.args,
            &mut self.env,
            &mut self.cwd,
        ] {
            room.take(text);
        }
        self.forget_threads(room);
        self.cgroups = containers::unknown();
    }

    /// A thread has ended.
    pub(super) fn forget_thread(&mut self, tid: u32, room: &mut Room) {
        let ended = |thread: &mut Thread| thread.tid == tid;
        for mut thread in self.threads.extract_if(.., ended) {
            thread.name.iter_mut().for_each(|name| room.take(name));
        }
    }

    /// All have.
    pub(super) fn forget_threads(&mut self, room: &mut Room) {
        for mut thread in self.threads.drain(..) {
            thread.name.iter_mut().for_each(|name| room.take(name));
        }
    }

    /// How many threads it has.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.threads.len()
    }

    /// The arguments.
    pub fn args(&self) -> impl Iterator<Item = &[u8]> {
        strings(&self.args)
    }

    /// The environment.
    pub fn env(&self) -> impl Iterator<Item = &[u8]> {
        strings(&self.env)
    }

    /// The name of one of its threads.
    #[must_use]
    pub fn thread_name(&self, tid: u32) -> &[u8] {
        if tid == self.pid {
            return &self.name;
        }
        let thread = self.threads.iter().find(|thread| thread.tid == tid);
        thread
            .and_then(|thread| thread.name.as_deref())
            .unwrap_or(&self.name)
    }
}

fn strings(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let inner = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    inner.split(|&b| b == 0).filter(|_| !bytes.is_empty())
}

/// How many processes that have ended are kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keep {
    /// With descendants that are known.
    pub(super) ancestors: usize,
    /// Without.
    pub(super) recent: usize,
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    /// Of a slot that is free: room for the next.
    process: Option<Box<Process>>,
}

/// A process that has ended keeps room for so many threads, for the next.
const FEW_THREADS: usize = 16;

/// All processes that are known.
#[derive(Debug)]
pub(super) struct ProcessTable {
    slots: Vec<Slot>,
    free: Vec<u32>,
    by_pid: IdMap<u32, ProcessKey>,
    /// Ended without known children, oldest first. May hold keys that are gone.
    recent: VecDeque<ProcessKey>,
    /// Ended while children were known, oldest first. May hold keys that are gone.
    ancestors: VecDeque<ProcessKey>,
    keep: Keep,
    living: usize,
    room: Room,
}

impl ProcessTable {
    pub(super) fn new(keep: Keep) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            by_pid: IdMap::default(),
            recent: VecDeque::new(),
            ancestors: VecDeque::new(),
            keep,
            living: 0,
            room: Room::default(),
        }
    }

    pub(super) fn living(&self) -> usize {
        self.living
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// The process that has, or had last, this pid.
    pub(super) fn key(&self, pid: u32) -> Option<ProcessKey> {
        self.by_pid.get(&pid).copied()
    }

    pub(super) fn get(&self, key: ProcessKey) -> Option<&Process> {
        let slot = self.slots.get(key.slot as usize)?;
        slot.process
            .as_deref()
            .filter(|_| slot.generation == key.generation)
    }

    pub(super) fn get_mut(&mut self, key: ProcessKey) -> Option<&mut Process> {
        let slot = self.slots.get_mut(key.slot as usize)?;
        slot.process
            .as_deref_mut()
            .filter(|_| slot.generation == key.generation)
    }

    /// A process, and room for what it is to be told to have.
    pub(super) fn edit(&mut self, key: ProcessKey) -> Option<(&mut Process, &mut Room)> {
        let slot = self.slots.get_mut(key.slot as usize)?;
        let process = slot.process.as_deref_mut();
        let process = process.filter(|_| slot.generation == key.generation)?;
        Some((process, &mut self.room))
    }

    pub(super) fn living_keys(&self) -> Vec<ProcessKey> {
        let living = |key: &ProcessKey| self.get(*key).is_some_and(|process| !process.ended);
        self.by_pid.values().copied().filter(living).collect()
    }

    /// Adds a living process under its pid. The caller has ended a former one of that pid.
    pub(super) fn insert(&mut self, process: Process) -> ProcessKey {
        let pid = process.pid;
        self.hold(process.parent);
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        let place = &mut self.slots[slot as usize];
        match &mut place.process {
            // one that was forgotten
            Some(room) => {
                let threads = std::mem::take(&mut room.threads);
                **room = process;
                if room.threads.is_empty() {
                    room.threads = threads;
                }
            }
            None => place.process = Some(Box::new(process)),
        }
        let generation = place.generation;
        let key = ProcessKey { slot, generation };
        self.by_pid.insert(pid, key);
        self.living += 1;
        key
    }

    fn hold(&mut self, parent: Option<ProcessKey>) {
        if let Some(parent) = parent.and_then(|parent| self.get_mut(parent)) {
            parent.children = parent.children.saturating_add(1);
        }
    }

    /// Gives a process that had no parent one.
    pub(super) fn set_parent(&mut self, child: ProcessKey, parent: ProcessKey) {
        if child == parent {
            return;
        }
        let Some(process) = self.get_mut(child) else {
            return;
        };
        if process.parent.is_none() {
            process.parent = Some(parent);
            self.hold(Some(parent));
        }
    }

    /// A process has ended; it stays known for a while.
    pub(super) fn end(&mut self, key: ProcessKey) {
        let ends = |(process, _): &(&mut Process, &mut Room)| !process.ended;
        let Some((process, room)) = self.edit(key).filter(ends) else {
            return;
        };
        process.ended = true;
        process.forget_threads(room);
        process.threads.shrink_to(FEW_THREADS);
        let has_children = process.children > 0;
        self.living = self.living.saturating_sub(1);
        if has_children {
            self.ancestors.push_back(key);
        } else {
            self.recent.push_back(key);
        }
        self.shrink();
    }

    fn shrink(&mut self) {
        while self.recent.len() > self.keep.recent {
            let Some(oldest) = self.recent.pop_front() else {
                break;
            };
            self.remove(oldest);
        }
        if self.ancestors.len() > self.keep.ancestors {
            // Most have been forgotten in the meantime, with the last of their descendants.
            let mut ancestors = std::mem::take(&mut self.ancestors);
            ancestors.retain(|key| self.get(*key).is_some_and(|process| process.children > 0));
            // Room for some more, so that this is not done for every process.
            let surplus = ancestors.len().saturating_sub(self.keep.ancestors / 2);
            for key in ancestors.drain(..surplus) {
                self.remove(key);
            }
            ancestors.append(&mut self.ancestors);
            self.ancestors = ancestors;
        }
    }

    /// Forgets a process that has ended, and then its parent, if nobody else needs that.
    fn remove(&mut self, key: ProcessKey) {
        let Some(slot) = self.slots.get_mut(key.slot as usize) else {
            return;
        };
        if slot.generation != key.generation {
            return;
        }
        let Some(process) = &mut slot.process else {
            return;
        };
        slot.generation = slot.generation.wrapping_add(1);
        let (pid, parent) = (process.pid, process.parent);
        process.clear(&mut self.room);
        if self.free.len() >= self.keep.recent {
            slot.process = None;
        }
        self.free.push(key.slot);
        if self.by_pid.get(&pid) == Some(&key) {
            self.by_pid.remove(&pid);
        }
        let Some(parent_key) = parent else {
            return;
        };
        if let Some(parent) = self.get_mut(parent_key) {
            parent.children = parent.children.saturating_sub(1);
            if parent.ended && parent.children == 0 {
                self.recent.push_back(parent_key);
            }
        }
    }

    /// The parent that the kernel gives a process: who made it, or, when that has ended, the nearest of its
    /// ancestors that takes orphans (prctl(2), `PR_SET_CHILD_SUBREAPER`), or the first process of the namespace.
    pub(super) fn parent_pid(&self, process: &Process) -> u32 {
        let Some(maker) = process.parent.and_then(|key| self.get(key)) else {
            return process.ppid;
        };
        if !maker.ended || maker.pid != process.ppid {
            return process.ppid;
        }
        let adopts = |ancestor: &&Process| {
            !ancestor.ended && (ancestor.subreaper || ancestor.vpid == Some(1) || ancestor.pid == 1)
        };
        let above = maker.parent.into_iter().flat_map(|key| self.lineage(key));
        above
            .filter(adopts)
            .map(|found| found.pid)
            .next()
            .unwrap_or(1)
    }

    /// A process and its ancestors, itself first.
    pub(super) fn lineage(&self, key: ProcessKey) -> impl Iterator<Item = &Process> {
        /// Deeper is a cycle, which hostile events might make.
        const DEEPEST: usize = 256;
        let first = self.get(key);
        let up = |process: &&Process| process.parent.and_then(|parent| self.get(parent));
        std::iter::successors(first, up).take(DEEPEST)
    }
}

#[cfg(test)]
mod tests {
    use super::super::descriptor::FileTables;
    use super::*;

    const KEEP: Keep = Keep {
        ancestors: 64,
        recent: 8,
    };

    fn files() -> FilesId {
        FileTables::new(1, 1).create()
    }

    fn process(pid: u32, parent: Option<ProcessKey>) -> Process {
        Process {
            parent,
            ..Process::unknown(pid, files())
        }
    }

    #[test]
    fn an_ended_parent_stays_known_while_a_descendant_lives() {
        let mut table = ProcessTable::new(KEEP);
        let shell = table.insert(process(1, None));
        let daemon = table.insert(process(2, Some(shell)));
        table.end(shell);
        for pid in 100..1000 {
            let key = table.insert(process(pid, None));
            table.end(key);
        }
        let pids: Vec<u32> = table.lineage(daemon).map(|p| p.pid).collect();
        assert_eq!(pids, [2, 1]);
        table.end(daemon);
        for pid in 100..1000 {
            let key = table.insert(process(pid, None));
            table.end(key);
        }
        assert!(table.get(daemon).is_none());
        assert!(table.get(shell).is_none());
        assert!(table.len() <= KEEP.recent);
    }

    #[test]
    fn a_million_short_lived_processes_and_an_endless_chain_take_bounded_memory() {
        let mut table = ProcessTable::new(KEEP);
        let mut last = table.insert(process(1, None));
        for pid in 2..1_000_000 {
            let next = table.insert(process(pid, Some(last)));
            table.end(last);
            last = next;
        }
        assert!(
            table.len() <= KEEP.ancestors + KEEP.recent + 2,
            "{}",
            table.len()
        );
        assert!(table.ancestors.len() <= KEEP.ancestors + 1);
        assert_eq!(table.living(), 1);
        assert!(table.lineage(last).count() > 16);
    }

    #[test]
    fn a_pid_that_is_used_again_is_another_process() {
        let mut table = ProcessTable::new(KEEP);
        let first = table.insert(process(7, None));
        let child = table.insert(process(8, Some(first)));
        table.end(first);
        let second = table.insert(process(7, None));
        assert_eq!(table.key(7), Some(second));
        assert_eq!(table.get(child).unwrap().parent, Some(first));
        assert_ne!(first, second);
    }
}
