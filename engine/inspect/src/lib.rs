//! State that follows from events: processes and their lineage, descriptors, users. Between the driver,
//! which says what happened, and the fields, which rules and templates read.
//!
//! | file | holds |
//! |---|---|
//! | `process` | processes and lineage |
//! | `descriptor`, `sockets` | descriptors, and the ends of sockets |
//! | `effects` | what each call does to the state, and so which calls the state needs |
//! | `follow`, `endpoints` | does it; the ends of sockets |
//! | `fd_passing` | descriptors that are passed, taken, or used before anybody told of them |
//! | `life` | fork, exec, exit |
//! | `resync` | what is done when events were lost |
//! | `pool`, `text` | room of closed descriptors, and of processes' texts, for the next |
//! | `fd_check` | descriptors of a process that stands still, compared with /proc |
//! | `fill` | state that /proc knows, at the start and for what was missed |
//! | `proc_fs` | reading /proc |
//! | `retell` | the state as events, for recordings |
//! | `containers` | which container a process is in, and what its runtime says about it |
//! | `cgroups` | when a process's cgroups are looked at |
//! | `program` | executables' files and capabilities |
//! | `users`, `clock`, `path`, `hash` | user names, also of containers, wall clock, paths by their letters, a fast hasher |
//!
//! [`Inspector::update`] is called once for each event, in order, before rules look at it. It answers
//! with what is particular to this event ([`Seen`]). Effects that would hide from a rule what the event
//! is about (the name behind a descriptor that is closed, the environment of a process that ends) are
//! held back or kept until the next event.

mod cgroups;
mod clock;
pub mod containers;
mod descriptor;
mod effects;
mod endpoints;
mod fd_check;
mod fd_passing;
mod fill;
mod follow;
mod hash;
mod life;
pub mod path;
mod pool;
mod proc_fs;
mod process;
mod program;
mod resync;
mod retell;
mod sockets;
mod text;
mod users;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use driver_api::event::{Event, Kind};
use driver_api::table::{self, Syscall};

pub use clock::Clock;
pub use containers::{Cgroups, Container, ContainerSource, Metadata, Runtime};
pub use descriptor::{Connection, Descriptor, DescriptorKind, Role, Socket};
pub use effects::open_flags;
pub use effects::{needed, spared};
pub use follow::{AT_FDCWD, fd_in, flags_of_open};
pub use process::{Process, ProcessKey};
pub use program::{Capabilities, ProgramFile};
pub use sockets::ends;
pub use text::Text;
pub use users::{User, Users};

use containers::Containers;
use descriptor::FileTables;
use hash::IdMap;
use proc_fs::ProcFs;
use process::{Keep, ProcessTable};

/// What state is made of, and how much of it there may be.
#[derive(Debug, Clone)]
pub struct Options {
    /// The procfs to read; none: state comes from events alone.
    pub proc_root: Option<PathBuf>,
    /// Where `passwd` and `group` are.
    pub etc: PathBuf,
    /// The wall clock.
    pub clock: Clock,
    /// Who knows more about containers than their cgroups say. None: no source is asked.
    pub containers: Option<Arc<dyn ContainerSource>>,
    /// Descriptors that are followed for each process.
    pub max_descriptors: usize,
    /// Descriptors that are followed in all.
    pub max_all_descriptors: usize,
    /// Processes that have ended and are kept for their descendants' lineage.
    pub max_ancestors: usize,
    /// Processes that have ended without descendants and are kept for a while.
    pub max_recent: usize,
    /// Closing is not captured, and the thread of an event stands still while it is inspected: descriptors
    /// that an event names are compared with /proc.
    pub held: bool,
    /// Look up what is known of programs' files, capabilities and containers. Whoever asks for no field of them saves
    /// several reads of /proc an exec.
    pub programs: bool,
}

impl Default for Options {
    /// This host, 131072 descriptors of a process and a million in all, 16384 ancestors, 1024 others.
    fn default() -> Self {
        Self {
            proc_root: Some(PathBuf::from("/proc")),
            etc: PathBuf::from("/etc"),
            clock: Clock::host(),
            containers: None,
            max_descriptors: 131_072,
            max_all_descriptors: 1_000_000,
            max_ancestors: 16384,
            max_recent: 1024,
            held: false,
            programs: true,
        }
    }
}

/// What is particular to one event, beside the event itself.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Number of the event, counted from 1.
    pub number: u64,
    /// When it happened, in nanoseconds since the epoch.
    pub time_ns: u64,
    /// The call; none for events that are not calls, and for calls that the table does not have.
    pub call: Option<&'static Syscall>,
    /// Whose event it is.
    pub process: Option<ProcessKey>,
    /// The thread.
    pub tid: u32,
    /// The descriptor that the event is about.
    pub fd: Option<i32>,
    /// Nanoseconds since the first event.
    pub since_start_ns: u64,
    /// Nanoseconds since the event before.
    pub since_last_ns: u64,
    /// The event gave the descriptor another name.
    pub name_changed: bool,
    /// What the descriptor refers to, where the table does not say so.
    kept: Option<Arc<Descriptor>>,
}

/// Counts, for metrics and tests of memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InspectorStats {
    /// Processes that live.
    pub living: usize,
    /// Processes that are known, with those that have ended.
    pub processes: usize,
    /// Descriptor tables.
    pub file_tables: usize,
    /// Descriptors that are open.
    pub descriptors: usize,
    /// Containers that are known.
    pub containers: usize,
    /// Processes that had to be looked up in /proc because their birth was missed.
    pub probed: u64,
}

/// Between two looks at `passwd`, `group` and the wall clock, in nanoseconds of event time.
const REFRESH_NS: u64 = 1_000_000_000;

/// The state of one shard.
#[derive(Debug)]
pub struct Inspector {
    processes: ProcessTable,
    files: FileTables,
    proc_fs: Option<ProcFs>,
    users: Users,
    containers: Containers,
    /// Cgroups by the v2 id that events carry.
    cgroups_by_id: IdMap<u64, Arc<Cgroups>>,
    clock: Clock,
    max_descriptors: usize,
    /// [`Options::held`].
    held: bool,
    /// [`Options::programs`].
    programs: bool,
    /// Pids that /proc does not have, so that it is not asked again.
    absent: HashSet<u32>,
    /// What may be wrong since events were lost.
    doubts: resync::Doubts,
    /// Ended with the last event: what only that event could show can go.
    ended: Option<ProcessKey>,
    /// The process of the event before.
    last: Option<(u32, ProcessKey)>,
    /// Next event time to refresh at.
    refresh_ns: u64,
    /// So many living processes are taken for a sign that exits were missed.
    sweep_at: usize,
    number: u64,
    /// Time of the first event, and of the one before.
    first_ns: u64,
    before_ns: u64,
    probed: u64,
    looks: fd_passing::Budget,
    scratch: Vec<u8>,
}

impl Inspector {
    /// A state that knows nothing yet.
    #[must_use]
    pub fn new(options: &Options) -> Self {
        Self {
            processes: ProcessTable::new(Keep {
                ancestors: options.max_ancestors,
                recent: options.max_recent,
            }),
            files: FileTables::new(options.max_descriptors, options.max_all_descriptors),
            proc_fs: options.proc_root.as_deref().map(ProcFs::new),
            users: Users::new(&options.etc),
            containers: Containers::new(options.containers.clone()),
            cgroups_by_id: IdMap::default(),
            clock: options.clock,
            max_descriptors: options.max_descriptors,
            held: options.held,
            programs: options.programs,
            absent: HashSet::new(),
            doubts: resync::Doubts::default(),
            ended: None,
            last: None,
            refresh_ns: 0,
            sweep_at: 4096,
            number: 0,
            first_ns: 0,
            before_ns: 0,
            probed: 0,
            looks: fd_passing::Budget::default(),
            scratch: Vec::new(),
        }
    }

    /// Takes an event into the state. What it answers holds until the next call.
    pub fn update(&mut self, event: &Event<'_>) -> Seen {
        self.finish_last();
        let header = event.header();
        if header.time_ns >= self.refresh_ns {
            self.refresh(header.time_ns);
        }
        self.number += 1;
        if self.number == 1 {
            (self.first_ns, self.before_ns) = (header.time_ns, header.time_ns);
        }
        let mut seen = Seen {
            number: self.number,
            time_ns: self.clock.epoch_ns(header.time_ns),
            tid: header.tid,
            since_start_ns: header.time_ns.saturating_sub(self.first_ns),
            since_last_ns: header.time_ns.saturating_sub(self.before_ns),
            ..Seen::default()
        };
        self.before_ns = header.time_ns;
        match event.kind() {
            Kind::Lost => {
                self.doubt();
                return seen;
            }
            Kind::Exec => self.exec(event, &mut seen),
            Kind::Fork => {
                seen.process = Some(self.locate(header));
                self.fork(event, &seen);
            }
            Kind::Exit => {
                seen.process = Some(self.locate(header));
                self.exit(event, &seen);
            }
            Kind::Signal => seen.process = Some(self.locate(header)),
            Kind::Syscall => {
                let key = self.locate(header);
                seen.process = Some(key);
                seen.call = table::by_number(event.abi(), header.nr);
                self.moved(header, key);
                self.credentials(event, key);
                if let Some(call) = seen.call {
                    self.follow(event, call, key, &mut seen);
                }
            }
        }
        seen
    }

    /// A process.
    #[must_use]
    pub fn process(&self, key: ProcessKey) -> Option<&Process> {
        self.processes.get(key)
    }

    /// The process that has, or had last, a pid.
    #[must_use]
    pub fn process_by_pid(&self, pid: u32) -> Option<&Process> {
        self.processes.get(self.processes.key(pid)?)
    }

    /// A process and its ancestors, itself first, those that have ended included.
    pub fn lineage(&self, key: ProcessKey) -> impl Iterator<Item = &Process> {
        self.processes.lineage(key)
    }

    /// The id of the parent that the kernel gives a process, which may have been adopted.
    #[must_use]
    pub fn parent_pid(&self, process: &Process) -> u32 {
        self.processes.parent_pid(process)
    }

    /// What the event's descriptor refers to.
    #[must_use]
    pub fn descriptor<'a>(&'a self, seen: &'a Seen) -> Option<&'a Descriptor> {
        if let Some(kept) = &seen.kept {
            return Some(kept);
        }
        self.descriptor_of(seen.process?, seen.fd?)
    }

    /// What a descriptor of a process refers to.
    #[must_use]
    pub fn descriptor_of(&self, process: ProcessKey, fd: i32) -> Option<&Descriptor> {
        let files = self.processes.get(process)?.files;
        self.files.get(files, fd).map(|entry| &*entry.descriptor)
    }

    /// The descriptors of a process, in no order.
    pub fn descriptors(&self, process: ProcessKey) -> impl Iterator<Item = (i32, &Descriptor)> {
        let files = self
            .processes
            .get(process)
            .filter(|p| !p.ended)
            .map(|p| p.files);
        files.into_iter().flat_map(|files| self.files.iter(files))
    }

    /// The users of this host.
    #[must_use]
    pub fn users(&self) -> &Users {
        &self.users
    }

    /// Turns event times into time since the epoch.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// A file of a process in /proc, as it is now.
    pub fn ask(&self, process: &Process, file: &str) -> Option<Vec<u8>> {
        self.proc_fs
            .as_ref()
            .filter(|_| !process.ended)?
            .read(process.pid, file)
    }

    /// The file behind a descriptor of a process, as it is now.
    pub fn ask_file(&self, process: &Process, fd: i32) -> Option<std::fs::Metadata> {
        let proc_fs = self.proc_fs.as_ref().filter(|_| !process.ended)?;
        std::fs::metadata(proc_fs.path(process.pid, &format!("fd/{fd}"))).ok()
    }

    /// Counts.
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

    /// Does what was held back so that rules could still see what the last event was about.
    fn finish_last(&mut self) {
        self.files.pool.next();
        let Some(key) = self.ended.take() else { return };
        if let Some((process, room)) = self.processes.edit(key) {
            room.take(&mut process.env);
        }
        self.processes.end(key);
        self.last = None;
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
