//! The state that follows from events: processes and their lineage, descriptors, users. A driver says what happened;
//! this crate keeps the state up to date; fields, which rules and templates read, are looked up in it.
//!
//! | file | holds |
//! |---|---|
//! | `process`, `process_table` | a process; all processes and their lineage |
//! | `descriptor`, `sockets` | descriptors; addresses of sockets |
//! | `net_table`, `unix_peers` | sockets that were made before lanner looked |
//! | `effects` | the effect of each call on the state, and so which calls the state needs |
//! | `follow` | applies the effects; descriptors |
//! | `endpoints` | applies the effects on sockets |
//! | `entries` | calls that are reported when they are entered |
//! | `attributes`, `terminals` | applies the effects on a process itself: directory, ids, names; its terminal |
//! | `fd_passing` | descriptors that are passed or taken, or whose opening was missed |
//! | `supervisors` | descriptors that a seccomp listener puts into a process |
//! | `life` | fork, exec, exit |
//! | `strangers` | threads of capture files that do not say their process |
//! | `resync` | what happens after events were lost |
//! | `threads`, `directories`, `kcmp` | what the kernel keeps for each thread; working directories; what threads share |
//! | `user_ids` | changes of user ids, and what they do to capabilities |
//! | `pool`, `text` | reuse of the memory of closed descriptors and of processes' texts |
//! | `fd_check` | compares the descriptors of a stopped thread with /proc |
//! | `thread_list` | the threads of a process |
//! | `fill` | takes state from /proc, at the start and for missed processes |
//! | `proc_fs` | reads /proc |
//! | `patient` | reads that a process can hold up |
//! | `synthesize` | writes the state as events, for recordings |
//! | `containers` | which container a process is in, and what its runtime says about it |
//! | `cgroups` | when a process's cgroups are read |
//! | `program` | files and capabilities of executables |
//! | `users` | names of users and groups, also those of containers |
//! | `movers` | processes that may be about to move to other cgroups |
//! | `report` | events of recordings that are there for one fact alone |
//! | `recorded` | users and cgroups that a capture file names |
//! | `clock`, `hash` | wall clock; a fast hasher |
//! | `path`, `real_path` | paths without file access; where a path leads, links included |
//! | `testing` | makes events for tests |
//!
//! The event path calls [`Inspector::update`] once for each event, in order, before rules see it. The result ([`Seen`])
//! is what is specific to this event. Some effects would hide from a rule what the event is about: the name of a
//! descriptor that is closed, the environment of a process that ends. What they remove is kept until the next event.

mod attributes;
mod cgroups;
mod clock;
pub mod containers;
mod descriptor;
mod directories;
mod effects;
mod endpoints;
mod entries;
mod fd_check;
mod fd_passing;
mod fill;
mod follow;
mod hash;
mod kcmp;
mod life;
mod movers;
mod net_table;
pub mod path;
mod patient;
mod pool;
mod proc_fs;
mod process;
mod process_table;
mod program;
mod real_path;
mod recorded;
mod report;
mod resync;
mod sockets;
mod strangers;
mod supervisors;
mod synthesize;
mod terminals;
mod text;
mod thread_list;
mod threads;
mod unix_peers;
mod user_ids;
mod users;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use driver_api::event::{Event, EventKind, Flags};
use driver_api::table::{self, Syscall};

pub use cgroups::{CgroupReader, KnownCgroups};
pub use clock::Clock;
pub use containers::{Cgroups, Container, ContainerSource, Metadata, Runtime};
pub use descriptor::{Connection, Descriptor, DescriptorKind, FileId, Role, Socket};
pub use effects::{
    OpenFlags, is_chdir, looked_up, makes_connection, needed, needed_events, omitted_if_held,
    open_flags, socket_data,
};
pub use fd_passing::pidfd_target;
pub use follow::{AT_FDCWD, fd_in, flags_of_open};
pub use patient::read as read_patiently;
pub use process::{Credentials, Process};
pub use process_table::ProcessKey;
pub use program::{Capabilities, ProgramFile};
pub use recorded::Recorded;
pub use report::Report;
pub use sockets::ends;
pub use text::Text;
pub use users::{User, Users};

use containers::Containers;
use descriptor::FileTables;
use directories::Directories;
use hash::IdMap;
use movers::Movers;
use proc_fs::ProcFs;
use process_table::{ProcessTable, Retention};

/// Where the state comes from, and its limits.
#[derive(Debug, Clone)]
pub struct Options {
    /// The procfs to read. None: state comes from events alone.
    pub proc_root: Option<PathBuf>,
    /// The directory of `passwd` and `group`.
    pub etc: PathBuf,
    /// The wall clock.
    pub clock: Clock,
    /// Where information about containers comes from, beyond their cgroups. None: there is no source.
    pub containers: Option<Arc<dyn ContainerSource>>,
    /// Users and cgroups of the host that a capture file was made on. None: users are those of [`etc`](Self::etc), until an
    /// event of a recording says others.
    pub recorded: Option<Arc<Recorded>>,
    /// Events are of another host, or of another time, than [`etc`](Self::etc).
    pub elsewhere: bool,
    /// The most descriptors of one process.
    pub max_descriptors: usize,
    /// The most descriptors of all processes together.
    pub max_all_descriptors: usize,
    /// The most ended processes that are kept because descendants need their lineage.
    pub max_ancestors: usize,
    /// The most ended processes without descendants that are kept for a while.
    pub max_recent: usize,
    /// Whether the driver stops a thread while its event is inspected. Then closing is not captured; instead,
    /// descriptors that an event names are compared with /proc.
    pub held: bool,
    /// Whether to look up files and capabilities of programs, and containers. If no rule or template needs them, false
    /// saves several reads of /proc per exec.
    pub programs: bool,
}

impl Default for Options {
    /// The state of this host. Limits: 131072 descriptors per process, a million in all; 16384 ended ancestors, 1024
    /// other ended processes.
    fn default() -> Self {
        Self {
            proc_root: Some(PathBuf::from("/proc")),
            etc: PathBuf::from("/etc"),
            clock: Clock::host(),
            containers: None,
            recorded: None,
            elsewhere: false,
            max_descriptors: 131_072,
            max_all_descriptors: 1_000_000,
            max_ancestors: 16384,
            max_recent: 1024,
            held: false,
            programs: true,
        }
    }
}

/// What the state says about one event.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Number of the event, counted from 1.
    pub number: u64,
    /// When it happened, in nanoseconds since the epoch.
    pub time_ns: u64,
    /// The call. None: the event is not a call, or the table does not have the call.
    pub call: Option<&'static Syscall>,
    /// The process of the event.
    pub process: Option<ProcessKey>,
    /// The thread.
    pub tid: u32,
    /// The descriptor that the event is about.
    pub fd: Option<i32>,
    /// Nanoseconds since the first event.
    pub since_start_ns: u64,
    /// Nanoseconds since the previous event.
    pub since_last_ns: u64,
    /// The index of the message that the event is about, if the call sends or receives several.
    pub message: u8,
    /// Whether the event changed the descriptor's name.
    pub name_changed: bool,
    /// What the descriptor refers to, if the process's table does not say it (any more).
    kept: Option<Arc<Descriptor>>,
}

/// The size of the state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InspectorStats {
    /// Living processes.
    pub living: usize,
    /// Known processes, living and ended.
    pub processes: usize,
    /// Descriptor tables.
    pub file_tables: usize,
    /// Open descriptors.
    pub descriptors: usize,
    /// Known containers.
    pub containers: usize,
    /// Processes that were looked up in /proc because their fork was missed.
    pub probed: u64,
}

/// The interval at which `passwd`, `group` and the wall clock are read again, in nanoseconds of event time.
const REFRESH_NS: u64 = 1_000_000_000;

/// The state that follows from the events of one capture.
#[derive(Debug)]
pub struct Inspector {
    processes: ProcessTable,
    files: FileTables,
    directories: Directories,
    proc_fs: Option<ProcFs>,
    users: Users,
    /// [`Options::recorded`].
    recorded: Option<Arc<Recorded>>,
    /// [`Options::elsewhere`].
    elsewhere: bool,
    containers: Containers,
    /// Cgroups by their v2 id, which events carry.
    cgroups_by_id: IdMap<u64, Arc<Cgroups>>,
    movers: Movers,
    /// Processes whose cgroups have changed with the last event.
    moved: Vec<ProcessKey>,
    clock: Clock,
    max_descriptors: usize,
    /// [`Options::held`].
    held: bool,
    /// Whether the driver reports calls when they are entered, and not how they end.
    reports_entries: bool,
    /// [`Options::programs`].
    programs: bool,
    /// Pids that /proc does not have; it is not asked for them again.
    absent: HashSet<u32>,
    /// Processes whose state may be wrong because events were lost.
    stale: resync::StaleProcesses,
    /// The process that ended with the last event. It is ended in the state when the next event comes.
    ended: Option<ProcessKey>,
    /// Pid and process of the previous event.
    last: Option<(u32, ProcessKey)>,
    /// Event time of the next refresh.
    refresh_ns: u64,
    /// With this number of living processes, exits have probably been missed.
    sweep_at: usize,
    number: u64,
    /// Times of the first event that is not there for the state alone, and of the previous event.
    first_ns: Option<u64>,
    before_ns: u64,
    probed: u64,
    lookups: fd_passing::Budget,
    /// When a call was entered last that changes the ends of sockets, in nanoseconds of event time; for drivers that report
    /// calls when they are entered.
    sockets_changed_ns: u64,
    notifications: supervisors::Notifications,
    scratch: Vec<u8>,
}

impl Inspector {
    /// An empty state.
    #[must_use]
    pub fn new(options: &Options) -> Self {
        Self {
            processes: ProcessTable::new(Retention {
                ancestors: options.max_ancestors,
                recent: options.max_recent,
            }),
            files: FileTables::new(options.max_descriptors, options.max_all_descriptors),
            directories: Directories::default(),
            proc_fs: options.proc_root.as_deref().map(ProcFs::new),
            users: match &options.recorded {
                Some(recorded) => recorded.users(),
                None => Users::new(&options.etc),
            },
            recorded: options.recorded.clone(),
            elsewhere: options.elsewhere,
            containers: Containers::new(options.containers.clone()),
            cgroups_by_id: IdMap::default(),
            movers: Movers::default(),
            moved: Vec::new(),
            clock: options.clock,
            max_descriptors: options.max_descriptors,
            held: options.held,
            reports_entries: false,
            programs: options.programs,
            absent: HashSet::new(),
            stale: resync::StaleProcesses::default(),
            ended: None,
            last: None,
            refresh_ns: 0,
            sweep_at: 4096,
            number: 0,
            first_ns: None,
            before_ns: 0,
            probed: 0,
            lookups: fd_passing::Budget::default(),
            sockets_changed_ns: 0,
            notifications: supervisors::Notifications::default(),
            scratch: Vec::new(),
        }
    }

    /// Applies an event to the state. The result is valid until the next call.
    pub fn update(&mut self, event: &Event<'_>) -> Seen {
        self.finish_last();
        let header = event.header();
        if self.is_replay() && self.take_report(event) {
            return Seen::default();
        }
        if header.time_ns >= self.refresh_ns {
            self.refresh(header.time_ns);
        }
        self.number += 1;
        self.note_first(event);
        let mut seen = Seen {
            number: self.number,
            time_ns: self.clock.epoch_ns(header.time_ns),
            tid: header.tid,
            since_start_ns: header
                .time_ns
                .saturating_sub(self.first_ns.unwrap_or(header.time_ns)),
            since_last_ns: header.time_ns.saturating_sub(self.before_ns),
            ..Seen::default()
        };
        self.before_ns = header.time_ns;
        if header.tgid == 0 && header.tid != 0 {
            // a capture file has an event of a thread whose process it does not name
            self.follow_stranger(event, &mut seen);
            return seen;
        }
        match event.kind() {
            EventKind::Lost => {
                self.mark_stale(header.time_ns, !event.lost_calls_alone());
                return seen;
            }
            EventKind::Exec => self.exec(event, &mut seen),
            EventKind::Fork => {
                seen.process = Some(self.locate(header));
                self.fork(event, &seen);
            }
            EventKind::Exit => {
                seen.process = Some(self.locate(header));
                self.exit(event, &seen);
            }
            EventKind::Signal => seen.process = Some(self.locate(header)),
            EventKind::Syscall => {
                let key = self.locate(header);
                seen.process = Some(key);
                seen.call = Some(table::of_number(event.abi(), header.nr));
                self.follow_cgroup(header, key);
                if self.movers.is_due(header.tgid) {
                    self.look_at_cgroups(key);
                }
                self.credentials(event, seen.call, key);
                if let Some(call) = seen.call {
                    self.follow(event, call, key, &mut seen);
                }
            }
        }
        seen
    }

    /// Notes when the first event happened that is not there for the state alone.
    #[inline]
    fn note_first(&mut self, event: &Event<'_>) {
        if self.first_ns.is_none() && !event.has(Flags::UNSELECTED) {
            let time_ns = event.header().time_ns;
            // a capture file can begin with an event that is none of lanner's
            let first = self.recorded.as_ref().and_then(|file| file.first_ns());
            (self.first_ns, self.before_ns) = (Some(first.unwrap_or(time_ns)), time_ns);
        }
    }

    /// A process by its key.
    #[must_use]
    pub fn process(&self, key: ProcessKey) -> Option<&Process> {
        self.processes.get(key)
    }

    /// The living processes about which something is known, in any order.
    pub fn living(&self) -> impl Iterator<Item = (ProcessKey, &Process)> {
        let keys = self.processes.living_keys().into_iter();
        keys.filter_map(|key| Some((key, self.process(key)?)))
            .filter(|(_, process)| process.known)
    }

    /// The process that has a pid now, or had it last.
    #[must_use]
    pub fn process_by_pid(&self, pid: u32) -> Option<&Process> {
        self.processes.get(self.processes.key(pid)?)
    }

    /// The process that has a thread with this id, the first or another. What the state does not know is looked up in /proc.
    #[must_use]
    pub fn process_of_thread(&self, tid: u32) -> Option<&Process> {
        let asked = || {
            let status = self.proc_fs.as_ref()?.status(tid)?;
            self.process_by_pid(status.tgid()?)
        };
        // the thread has ended since
        let known = || {
            let mut living = self.living().map(|(_, process)| process);
            living.find(|process| process.thread(tid).is_some())
        };
        self.process_by_pid(tid).or_else(asked).or_else(known)
    }

    /// A process and its ancestors, living and ended. The process itself comes first.
    pub fn lineage(&self, key: ProcessKey) -> impl Iterator<Item = &Process> {
        self.processes.lineage(key)
    }

    /// The parent's id as the kernel reports it. It differs from the creator's if the creator has ended.
    #[must_use]
    pub fn parent_pid(&self, process: &Process) -> u32 {
        self.processes.parent_pid(process)
    }

    /// The id of the thread that adopts the children of a thread that ends: another one of its process, or the first one of a
    /// process above it. 0: it has no children, or they end with it.
    #[must_use]
    pub fn reaper(&self, of: ProcessKey, tid: u32) -> u32 {
        self.processes.reaper(of, tid)
    }

    /// What the event's descriptor refers to.
    #[must_use]
    pub fn descriptor<'a>(&'a self, seen: &'a Seen) -> Option<&'a Descriptor> {
        if let Some(kept) = &seen.kept {
            return Some(kept);
        }
        self.descriptor_of(seen.process?, seen.tid, seen.fd?)
    }

    /// What a descriptor of a thread refers to.
    #[must_use]
    pub fn descriptor_of(&self, process: ProcessKey, tid: u32, fd: i32) -> Option<&Descriptor> {
        let files = self.processes.get(process)?.files_of(tid);
        self.files.get(files, fd).map(|entry| &*entry.descriptor)
    }

    /// The descriptors of a thread, in any order.
    pub fn descriptors(
        &self,
        process: ProcessKey,
        tid: u32,
    ) -> impl Iterator<Item = (i32, &Descriptor)> {
        let files = self.files_of(process, tid);
        files.into_iter().flat_map(|files| self.files.iter(files))
    }

    /// The known containers, in any order.
    pub fn containers(&self) -> impl Iterator<Item = &Arc<Container>> {
        self.containers.known()
    }

    /// The containers, for who follows them without the rest of the state.
    #[must_use]
    pub fn into_containers(self) -> Containers {
        self.containers
    }

    /// The number of known containers.
    #[must_use]
    pub fn container_count(&self) -> usize {
        self.containers.len().1
    }

    /// The users of this host.
    #[must_use]
    pub fn users(&self) -> &Users {
        &self.users
    }

    /// The clock that converts event times to time since the epoch.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// The current content of a file in `/proc/PID`.
    pub fn ask(&self, process: &Process, file: &str) -> Option<Vec<u8>> {
        self.proc_fs
            .as_ref()
            .filter(|_| !process.ended)?
            .read(process.pid, file)
    }

    /// The device number of a process's controlling terminal; 0: none. While the thread waits, /proc has that of the moment.
    /// Otherwise it follows from exec, setsid(2), opening a terminal, and ioctl(2) if that is captured, as it is for rules;
    /// /proc is asked if the session may have a terminal that these calls do not name.
    #[must_use]
    pub fn tty(&self, process: &Process) -> u32 {
        let waits = self.held || self.reports_entries;
        let may_differ = || process.tty == 0 && self.session_may_have_terminal(process);
        let asks = !process.ended && (waits || may_differ());
        let proc_fs = self.proc_fs.as_ref().filter(|_| asks);
        proc_fs
            .and_then(|proc_fs| proc_fs.tty(process.pid))
            .unwrap_or(process.tty)
    }

    /// The file behind a process's descriptor, as it is now. None: not known.
    pub fn ask_file(&self, process: &Process, fd: i32) -> Option<FileId> {
        let proc_fs = self.proc_fs.as_ref().filter(|_| !process.ended)?;
        let found = proc_fs::status(&proc_fs.path(process.pid, &format!("fd/{fd}")))?;
        Some(FileId {
            inode: found.stx_ino,
            major: found.stx_dev_major,
            minor: found.stx_dev_minor,
        })
    }

    /// The size of the state.
    #[must_use]
    pub fn stats(&self) -> InspectorStats {
        InspectorStats {
            living: self.processes.living(),
            processes: self.processes.len(),
            file_tables: self.files.len(),
            descriptors: self.files.total(),
            containers: self.containers.len().1,
            probed: self.probed,
        }
    }

    /// Removes what was kept so that rules could see what the last event was about.
    fn finish_last(&mut self) {
        self.files.pool.next();
        self.moved.clear();
        let Some(key) = self.ended.take() else { return };
        self.end_process(key);
    }

    #[cold]
    fn refresh(&mut self, now: u64) {
        self.refresh_ns = now.saturating_add(REFRESH_NS);
        self.users.reload();
        self.clock.synchronise();
        self.sweep_after_loss();
    }
}

#[cfg(test)]
mod loss_tests;
#[cfg(test)]
mod network_tests;
#[cfg(test)]
mod proc_tests;
#[cfg(test)]
mod state_tests;
#[cfg(test)]
mod steady_tests;
#[cfg(any(test, feature = "testing"))]
#[expect(
    clippy::unwrap_used,
    reason = "tests call it: a panic is a failed test"
)]
pub mod testing;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod thread_tests;
