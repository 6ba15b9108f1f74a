//! All processes, and their lineage. An ended process stays known while a known descendant needs it for its lineage,
//! and a little longer. The number of ended processes is limited.

use std::collections::VecDeque;

use super::hash::IdMap;
use super::process::Process;
use super::text::TextPool;

/// Identifies a process, living or ended. A process that gets the same pid later has another key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProcessKey {
    slot: u32,
    generation: u32,
}

/// How many ended processes are kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Retention {
    /// Those with known descendants.
    pub(super) ancestors: usize,
    /// Those without.
    pub(super) recent: usize,
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    /// In a free slot: memory for the next process.
    process: Option<Box<Process>>,
}

/// All known processes.
#[derive(Debug)]
pub(super) struct ProcessTable {
    slots: Vec<Slot>,
    free: Vec<u32>,
    by_pid: IdMap<u32, ProcessKey>,
    /// Ended processes without known children, oldest first. May contain stale keys.
    recent: VecDeque<ProcessKey>,
    /// Processes that ended while children were known, oldest first. May contain stale keys.
    ancestors: VecDeque<ProcessKey>,
    retention: Retention,
    living: usize,
    texts: TextPool,
}

impl ProcessTable {
    pub(super) fn new(retention: Retention) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            by_pid: IdMap::default(),
            recent: VecDeque::new(),
            ancestors: VecDeque::new(),
            retention,
            living: 0,
            texts: TextPool::default(),
        }
    }

    pub(super) fn living(&self) -> usize {
        self.living
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// The process that has this pid now, or had it last.
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

    /// A process to change, and the pool for its new texts.
    pub(super) fn edit(&mut self, key: ProcessKey) -> Option<(&mut Process, &mut TextPool)> {
        let slot = self.slots.get_mut(key.slot as usize)?;
        let process = slot.process.as_deref_mut();
        let process = process.filter(|_| slot.generation == key.generation)?;
        Some((process, &mut self.texts))
    }

    /// The processes that are known by their ids, those that have ended lately included.
    pub(super) fn keys(&self) -> impl Iterator<Item = ProcessKey> {
        self.by_pid.values().copied()
    }

    pub(super) fn living_keys(&self) -> Vec<ProcessKey> {
        let living = |key: &ProcessKey| self.get(*key).is_some_and(|process| !process.ended);
        self.by_pid.values().copied().filter(living).collect()
    }

    /// Adds a living process. If another process had its pid, the caller has ended it.
    pub(super) fn insert(&mut self, process: Process) -> ProcessKey {
        let pid = process.pid;
        self.add_child(process.parent);
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        let place = &mut self.slots[slot as usize];
        match &mut place.process {
            // the memory of a removed process is used again
            Some(former) => {
                let threads = std::mem::take(&mut former.threads);
                **former = process;
                if former.threads.is_empty() {
                    former.threads = threads;
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

    fn add_child(&mut self, parent: Option<ProcessKey>) {
        if let Some(parent) = parent.and_then(|parent| self.get_mut(parent)) {
            parent.children = parent.children.saturating_add(1);
        }
    }

    /// Sets the parent of a process that has none.
    pub(super) fn set_parent(&mut self, child: ProcessKey, parent: ProcessKey) {
        if child == parent {
            return;
        }
        let Some(process) = self.get_mut(child) else {
            return;
        };
        if process.parent.is_none() {
            process.parent = Some(parent);
            self.add_child(Some(parent));
        }
    }

    /// Marks a process as ended. It stays known for a while.
    pub(super) fn end(&mut self, key: ProcessKey) {
        let ends = |(process, _): &(&mut Process, &mut TextPool)| !process.ended;
        let Some((process, texts)) = self.edit(key).filter(ends) else {
            return;
        };
        process.ended = true;
        process.forget_threads(texts);
        process.threads.shrink();
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
        while self.recent.len() > self.retention.recent {
            let Some(oldest) = self.recent.pop_front() else {
                break;
            };
            self.remove(oldest);
        }
        if self.ancestors.len() > self.retention.ancestors {
            // most have been removed meanwhile, together with their last descendant
            let mut ancestors = std::mem::take(&mut self.ancestors);
            ancestors.retain(|key| self.get(*key).is_some_and(|process| process.children > 0));
            // only half of the limit is kept, so that this does not run for every process
            let surplus = ancestors.len().saturating_sub(self.retention.ancestors / 2);
            for key in ancestors.drain(..surplus) {
                self.remove(key);
            }
            ancestors.append(&mut self.ancestors);
            self.ancestors = ancestors;
        }
    }

    /// Removes an ended process. Its parent becomes recent if it has ended and has no other children.
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
        process.clear(&mut self.texts);
        if self.free.len() >= self.retention.recent {
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

    /// The parent's id as the kernel reports it: the creator or, if the creator has ended, the process that adopted the
    /// orphan. That is the nearest ancestor that is a subreaper (prctl(2), `PR_SET_CHILD_SUBREAPER`), or the first
    /// process of the namespace.
    pub(super) fn parent_pid(&self, process: &Process) -> u32 {
        let Some(creator) = process.parent.and_then(|key| self.get(key)) else {
            return process.ppid;
        };
        if !creator.ended || creator.pid != process.ppid {
            return process.ppid;
        }
        self.adopter_above(creator)
    }

    /// The process that adopts the children of one that ends.
    fn adopter_above(&self, ending: &Process) -> u32 {
        let adopts = |ancestor: &&Process| {
            !ancestor.ended && (ancestor.subreaper || ancestor.vpid == Some(1) || ancestor.pid == 1)
        };
        let above = ending.parent.into_iter().flat_map(|key| self.lineage(key));
        above
            .filter(adopts)
            .map(|found| found.pid)
            .next()
            .unwrap_or(1)
    }

    /// Who adopts the children of a thread that ends: another thread of its process, or a process above. 0: it has no children,
    /// or they end with it.
    pub(super) fn reaper(&self, key: ProcessKey, tid: u32) -> u32 {
        let Some(process) = self.get(key) else {
            return 0;
        };
        let has_children = || {
            let mut all = self.by_pid.values().filter_map(|key| self.get(*key));
            all.any(|other| other.parent == Some(key) && !other.ended)
        };
        if process.children == 0 || !has_children() {
            return 0;
        }
        let mut others = process.thread_ids().filter(|other| *other != tid);
        match others.next() {
            Some(other) => other,
            None if process.vpid == Some(1) => 0,
            None => self.adopter_above(process),
        }
    }

    /// A process and its ancestors. The process itself comes first.
    pub(super) fn lineage(&self, key: ProcessKey) -> impl Iterator<Item = &Process> {
        /// A deeper lineage is a cycle, which hostile events might create.
        const MAX_DEPTH: usize = 256;
        let first = self.get(key);
        let up = |process: &&Process| process.parent.and_then(|parent| self.get(parent));
        std::iter::successors(first, up).take(MAX_DEPTH)
    }
}

#[cfg(test)]
mod tests {
    use super::super::descriptor::{FileTables, FilesId};
    use super::*;

    const KEEP: Retention = Retention {
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
