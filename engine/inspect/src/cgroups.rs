//! When a process's cgroups are read: at the start, after exec, after a change of namespaces or root, when the
//! cgroup id of its events changes (cgroup v2), and after it has opened a file that moves processes (`movers`). Otherwise a
//! process has its parent's.
//!
//! A recording says it with events that have the fact [`Fact::Cgroups`]: [`Inspector::synthesize`] makes those of the start,
//! and [`CgroupReader`] those of later cgroups.

use std::collections::HashMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use driver_api::event::{Event, EventBuilder, EventKind, Fact, Flags, Header};
use driver_api::table;

use super::Inspector;
use super::containers::Cgroups;
use super::follow::Call;
use super::movers::{Movers, moves, opens};
use super::proc_fs::ProcFs;
use super::process::Process;
use super::process_table::ProcessKey;
use super::report::Report;

/// The most cgroup ids that are remembered.
const MAX_IDS: usize = 4096;

/// The cgroups that a state knows, for a state that follows the same events and has no /proc.
#[derive(Debug, Clone, Default)]
pub struct KnownCgroups {
    /// By the ids of processes.
    by_pid: Vec<(u32, Arc<Cgroups>)>,
    /// By the ids in events.
    by_id: Vec<(u64, Arc<Cgroups>)>,
}

impl Inspector {
    /// The cgroups of processes and events.
    #[must_use]
    pub fn cgroups(&self) -> KnownCgroups {
        let of = |key| {
            let process = self.processes.get(key)?;
            Some((process.pid, Arc::clone(&process.cgroups)))
        };
        let by_id = self.cgroups_with_ids();
        KnownCgroups {
            by_pid: self.processes.keys().filter_map(of).collect(),
            by_id: by_id.map(|(id, group)| (id, Arc::clone(group))).collect(),
        }
    }

    /// Cgroups with their ids, where an id stands for one set of cgroups. On a host with hierarchies of version 1 it does not,
    /// so this gives none.
    pub(super) fn cgroups_with_ids(&self) -> impl Iterator<Item = (u64, &Arc<Cgroups>)> {
        // a capture file names only ids that stand for one set
        let all = self.proc_fs.is_none();
        let known = self.cgroups_by_id.iter();
        let known = known.filter(move |(_, group)| all || is_unified(group));
        known.map(|(id, group)| (*id, group))
    }

    /// Gives the processes of this state the cgroups that another one knows.
    pub fn learn_cgroups(&mut self, known: &KnownCgroups) {
        for (pid, group) in &known.by_pid {
            let key = self.processes.key(*pid);
            if let Some(process) = key.and_then(|key| self.processes.get_mut(key))
                && process.cgroups.text.is_empty()
                && !group.text.is_empty()
            {
                process.cgroups = self.containers.group(&group.text, *pid);
            }
        }
        for (id, group) in &known.by_id {
            let group = self.containers.group(&group.text, 0);
            self.cgroups_by_id.insert(*id, group);
        }
    }
}

impl Inspector {
    /// Reads the cgroups of an event's process again if the event has another cgroup id than before.
    #[inline]
    pub(super) fn follow_cgroup(&mut self, header: &Header, key: ProcessKey) {
        if header.cgroup == 0 {
            return;
        }
        let known = self.processes.get(key).map(|process| process.cgroup_id);
        if known.is_some_and(|known| known != header.cgroup) {
            self.note_cgroup(header, key, known == Some(0));
        }
    }

    #[cold]
    fn note_cgroup(&mut self, header: &Header, key: ProcessKey, first: bool) {
        let Some(process) = self.processes.get_mut(key) else {
            return;
        };
        process.cgroup_id = header.cgroup;
        if self.recorded.is_some() {
            self.take_recorded_cgroups(header, key);
            return;
        }
        let read = !process.cgroups.text.is_empty();
        let unified = is_unified(&process.cgroups);
        if let Some(known) = self.cgroups_by_id.get(&header.cgroup)
            && (unified || self.proc_fs.is_none())
        {
            // the process may have left it again, or be gone
            let known = Arc::clone(known);
            self.put_into(key, known);
            return;
        }
        if self.proc_fs.is_none() {
            return;
        }
        if !(first && read) {
            self.look_at_cgroups(key);
        }
        self.remember_cgroup(header.cgroup, key);
    }

    /// Remembers which cgroups an id means. The process may have moved on meanwhile, so the id is checked: it is the
    /// inode number of the cgroup's directory.
    fn remember_cgroup(&mut self, id: u64, key: ProcessKey) {
        let Some(process) = self.processes.get(key) else {
            return;
        };
        if let Some(known) = self.cgroups_by_id.get(&id) {
            if process.cgroups.text.is_empty() {
                let known = Arc::clone(known);
                self.put_into(key, known);
            }
            return;
        }
        if self.proc_fs.is_some() && is_id_of(id, &process.cgroups.text) {
            if self.cgroups_by_id.len() >= MAX_IDS {
                self.cgroups_by_id
                    .retain(|_, cgroups| Arc::strong_count(cgroups) > 2);
                if self.cgroups_by_id.len() >= MAX_IDS {
                    self.cgroups_by_id.clear();
                }
            }
            self.cgroups_by_id.insert(id, process.cgroups.clone());
        }
    }

    /// Reads the cgroups after exec, because they may have been set between fork and exec. With cgroup v2 alone this is
    /// not necessary if the event has the id that is known already.
    pub(super) fn look_at_cgroups_after_exec(&mut self, header: &Header, key: ProcessKey) {
        if self.recorded.is_some() {
            self.take_recorded_cgroups(header, key);
            return;
        }
        if self.is_replay() {
            self.follow_cgroup(header, key);
            return;
        }
        let Some(process) = self.processes.get(key) else {
            return;
        };
        if is_unified(&process.cgroups) && header.cgroup != 0 && header.cgroup == process.cgroup_id
        {
            if let Some(container) = &process.cgroups.container {
                container.seen(header.tgid);
            }
            return;
        }
        self.look_at_cgroups(key);
        if header.cgroup != 0 {
            if let Some(process) = self.processes.get_mut(key) {
                process.cgroup_id = header.cgroup;
            }
            self.remember_cgroup(header.cgroup, key);
        }
    }

    /// Reads the cgroups of a process. An ended process keeps those that it had.
    pub(super) fn look_at_cgroups(&mut self, key: ProcessKey) {
        let Some(process) = self.processes.get(key) else {
            return;
        };
        let pid = process.pid;
        let Some(text) = self
            .proc_fs
            .as_ref()
            .filter(|_| self.programs)
            .and_then(|proc_fs| proc_fs.cgroups(pid))
        else {
            return;
        };
        if !text.is_empty() && *text != *process.cgroups.text {
            self.movers.forget(pid);
            let group = self.containers.group(&text, pid);
            self.put_into(key, group);
        }
        let process = self.processes.get(key);
        if let Some(container) = process.and_then(|process| process.cgroups.container.as_ref()) {
            container.seen(pid);
        }
    }

    /// A process has opened a file to write into it. If that file moves processes, /proc has to be asked for a while.
    pub(super) fn open_cgroup(&mut self, call: &Call<'_, '_>, path: &[u8]) {
        if self.proc_fs.is_none() || !moves(path) {
            return;
        }
        let process = self.processes.get(call.key);
        // the ids in its events say everything
        let is_told =
            process.is_some_and(|process| process.cgroup_id != 0 && is_unified(&process.cgroups));
        if !is_told {
            self.movers.note(call.event.header().tgid);
            self.look_at_cgroups(call.key);
        }
    }

    /// The process is in these cgroups.
    fn put_into(&mut self, key: ProcessKey, group: Arc<Cgroups>) {
        if let Some(process) = self.processes.get_mut(key)
            && process.cgroups.text != group.text
        {
            process.cgroups = group;
            self.moved.push(key);
        }
    }

    /// Puts processes whose events had this id before it was known what it means into these cgroups.
    fn put_all_into(&mut self, id: u64, group: &Arc<Cgroups>) {
        let has_id = |key: &ProcessKey| {
            let process = self.processes.get(*key);
            process.is_some_and(|process| process.cgroup_id == id)
        };
        let keys: Vec<ProcessKey> = self.processes.keys().filter(has_id).collect();
        for key in keys {
            self.put_into(key, Arc::clone(group));
        }
    }

    /// Whether the last event showed that processes are in other cgroups than before.
    #[inline]
    #[must_use]
    pub fn has_moved(&self) -> bool {
        !self.moved.is_empty()
    }

    /// Gives `sink` an event for each process whose cgroups have changed with the last event. A recording has them in front
    /// of that event.
    pub fn report_moved(&self, time_ns: u64, sink: &mut dyn FnMut(&Event<'_>)) {
        let mut builder = EventBuilder::new();
        for process in self.moved() {
            let report = Report {
                fact: Fact::Cgroups,
                text: &process.cgroups.text,
                pid: process.pid,
                cgroup: process.cgroup_id,
                time_ns,
            };
            if let Some(event) = report.event(&mut builder) {
                sink(&event);
            }
        }
    }

    /// The processes whose cgroups have changed with the last event.
    pub fn moved(&self) -> impl Iterator<Item = &Process> {
        self.moved.iter().filter_map(|key| self.process(*key))
    }
}

/// Whether a host has cgroup v2 alone, so that an id says everything.
fn is_unified(group: &Cgroups) -> bool {
    group.text.starts_with(b"0::")
}

impl Inspector {
    /// Takes the cgroups that a capture file gave this id. 0: the file does not say, so the process keeps those that it has.
    fn take_recorded_cgroups(&mut self, header: &Header, key: ProcessKey) {
        let text = self
            .recorded
            .as_ref()
            .and_then(|recorded| recorded.cgroups(header.cgroup));
        if let Some(text) = text
            && let Some(process) = self.processes.get_mut(key)
        {
            process.cgroup_id = header.cgroup;
            let group = self.containers.group(&text, header.tgid);
            self.put_into(key, group);
        }
    }
}

impl Inspector {
    /// Whether all that is known comes from events.
    #[inline]
    pub(super) fn is_replay(&self) -> bool {
        self.proc_fs.is_none()
    }

    /// Takes the fact of an event that a recording has only for this fact (see `report`). Returns whether it is such an event.
    pub(super) fn take_report(&mut self, event: &Event<'_>) -> bool {
        if !event.has(Flags::UNSELECTED) {
            return false;
        }
        let Some(text) = event.fact(Fact::Cgroups) else {
            // the source of containers has taken what it says
            return event.fact(Fact::Container).is_some() || self.take_users(event);
        };
        let header = event.header();
        let group = self.containers.group(text.bytes, header.tgid);
        // beside hierarchies of version 1, processes of one id can be in several groups
        let says_all = header.tgid == 0 || is_unified(&group);
        if header.cgroup != 0 && says_all && self.cgroups_by_id.len() < MAX_IDS {
            self.cgroups_by_id.insert(header.cgroup, Arc::clone(&group));
            self.put_all_into(header.cgroup, &group);
        }
        let key = self.processes.key(header.tgid);
        if let Some(key) = key
            && let Some(process) = self.processes.get_mut(key)
        {
            process.cgroup_id = header.cgroup;
            self.put_into(key, group);
        }
        true
    }
}

/// Reads the cgroups of processes whose events are recorded, as the events have only the ids of cgroups.
#[derive(Debug)]
pub struct CgroupReader {
    proc_fs: ProcFs,
    /// How often each id was looked up.
    known: HashMap<u64, u8>,
    /// Whether this host has cgroup v2 alone, so that an id says everything.
    unified: bool,
    movers: Movers,
    builder: EventBuilder,
}

impl CgroupReader {
    /// A process may have left the cgroup, or be gone, when it is asked.
    const TRIES: u8 = 4;

    /// Reads this procfs.
    #[must_use]
    pub fn new(proc_root: &Path) -> Self {
        Self {
            proc_fs: ProcFs::new(proc_root),
            known: HashMap::new(),
            unified: false,
            movers: Movers::default(),
            builder: EventBuilder::new(),
        }
    }

    /// What a recording has to say about cgroups before this event. `None`: nothing that it has not said yet.
    pub fn before(&mut self, event: &Event<'_>) -> Option<Event<'_>> {
        let header = event.header();
        let (id, pid) = (header.cgroup, header.tgid);
        let is_known = || {
            self.known
                .get(&id)
                .is_some_and(|tries| *tries >= Self::TRIES)
        };
        let says_all = self.unified && id != 0;
        let mut looks = self.movers.is_due(pid);
        if let EventKind::Syscall = event.kind()
            && !says_all
            && opens(event, table::of_number(event.abi(), header.nr))
        {
            self.movers.note(pid);
            looks = true;
        }
        let is_new = match event.kind() {
            EventKind::Syscall => looks || id != 0 && !is_known(),
            // without an id that says everything: a process enters its cgroups before exec
            EventKind::Exec => !(says_all && is_known()),
            EventKind::Fork | EventKind::Signal | EventKind::Lost => false,
            EventKind::Exit => {
                self.movers.forget(pid);
                false
            }
        };
        if !is_new || event.has(Flags::UNSELECTED) && !looks {
            return None;
        }
        let text = self.proc_fs.cgroups(pid).filter(|text| !text.is_empty());
        let is_its = text.as_ref().is_some_and(|text| is_id_of(id, text));
        if let Some(text) = &text {
            self.unified = text.starts_with(b"0::");
        }
        if id != 0 {
            if self.known.len() >= MAX_IDS {
                self.known.clear();
            }
            let tries = self.known.entry(id).or_default();
            *tries = if is_its {
                Self::TRIES
            } else {
                tries.saturating_add(1)
            };
        }
        let report = Report {
            fact: Fact::Cgroups,
            text: &text?,
            pid,
            cgroup: if is_its { id } else { 0 },
            time_ns: header.time_ns,
        };
        report.event(&mut self.builder)
    }
}

/// Whether an id belongs to these cgroups' v2 cgroup.
fn is_id_of(id: u64, text: &[u8]) -> bool {
    let mut lines = text.split(|&b| b == b'\n');
    let Some(path) = lines.find_map(|line| line.strip_prefix(b"0::/")) else {
        return false;
    };
    let path = Path::new(std::ffi::OsStr::from_bytes(path));
    ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
        .iter()
        .any(|root| {
            let found = fs::metadata(Path::new(root).join(path));
            found.is_ok_and(|found| found.ino() == id)
        })
}
