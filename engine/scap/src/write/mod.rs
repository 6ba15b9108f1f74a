//! Writes a capture that Falco, sysdig and Stratoshark read: the state in lists, then the events, in the newest types of
//! `events.tbl`.
//!
//! | file | holds |
//! |---|---|
//! | `blocks` | blocks and the header of an event |
//! | `lists` | processes, descriptors, users, the host and its interfaces |
//! | `call` | the parameters of a call: the tables read backwards |
//! | `process` | parameters that are facts about a process |
//!
//! A call becomes two events, one for its entry and one for its return, because older readers take a call's descriptor and
//! path from its entry. Both have the time of the return: lanner does not know when the call was entered.

mod blocks;
mod call;
mod lists;
mod process;

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;

use driver_api::event::layout::FORK_SEEN;
use driver_api::event::{Abi, Event, EventKind, Fact, Flags};
use driver_api::table::{Syscall, of_number};
use inspect::containers::Unsaid;
use inspect::{Container, Inspector, Seen};

use super::life::{CLONE_FILES, CLONE_FS, CLONE_SIGHAND, CLONE_THREAD, CLONE_VM, is_exec};
use super::lifecycle;
use super::table::{EventSlot, EventType, Table, What};
use blocks::{Block, Head};
pub(crate) use call::Caller;
pub(crate) use process::About;

pub use lists::Machine;

/// Bytes that are buffered before they are written.
const BUFFER: usize = 1 << 20;

/// After how many events it looks for new containers, even if there are as many as before.
const LOOK_EVERY: u64 = 1024;

/// The id of a notification that says which cgroups a process is in now: its id, and the text of its `/proc/PID/cgroup`.
/// Events say that of births and execs alone.
pub(crate) const CGROUPS: &str = "lanner.cgroups";

/// The id of a notification that says how many events are missing, and why.
pub(crate) const LOST: &str = "lanner.lost";

/// Whether an event of a recording is there for the users of its host.
fn says_users(event: &Event<'_>) -> bool {
    event.fact(Fact::Users).is_some() || event.fact(Fact::Groups).is_some()
}

/// A capture that is being written.
#[derive(Debug)]
pub struct ScapWriter<W = File> {
    file: W,
    buffer: Vec<u8>,
    /// Follows the events: Falco's have facts about processes that lanner's do not repeat.
    inspector: Inspector,
    machine: Machine,
    /// The lists have been written.
    begun: bool,
    events: u64,
    written: u64,
    params: Vec<Vec<u8>>,
    /// Containers whose names are in the file, or will be.
    named: HashSet<Box<str>>,
    /// Those whose runtimes have not answered yet.
    waiting: Vec<Arc<Container>>,
    /// How many containers there were when they were looked at.
    containers: usize,
    /// Processes that are in other cgroups than the file says.
    moved: Vec<u32>,
    /// The time of the last event.
    last_ns: u64,
}

impl<W: Write> ScapWriter<W> {
    /// Writes a capture into an empty file. `inspector` has the state in front of the first event, or gets it from the first
    /// events, if these are marked as unselected.
    #[must_use]
    pub fn new(file: W, inspector: Inspector, machine: Machine) -> Self {
        Self {
            file,
            buffer: Vec::with_capacity(2 * BUFFER),
            inspector,
            machine,
            begun: false,
            events: 0,
            written: 0,
            params: Vec::new(),
            named: HashSet::new(),
            waiting: Vec::new(),
            containers: 0,
            moved: Vec::new(),
            last_ns: 0,
        }
    }

    /// Appends an event.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        let unselected = event.has(Flags::UNSELECTED);
        if !self.begun && unselected {
            self.inspector.update(event);
            return Ok(());
        }
        if unselected && says_users(event) {
            // the list of users has been written
            return Ok(());
        }
        if unselected && event.fact(Fact::Cgroups).is_some() {
            self.inspector.update(event);
            self.note_moved();
            return Ok(());
        }
        self.last_ns = self.inspector.clock().epoch_ns(event.header().time_ns);
        self.begin();
        let seen = self.inspector.update(event);
        self.note_moved();
        self.report_moved(event);
        self.name_containers();
        self.events += u64::from(!unselected);
        match event.kind() {
            EventKind::Syscall | EventKind::Exec => self.call(event, &seen),
            EventKind::Fork => self.fork(event, &seen),
            EventKind::Exit | EventKind::Signal => self.lifecycle(event, &seen),
            EventKind::Lost => self.lost(event, &seen),
        }
        if self.buffer.len() >= BUFFER {
            self.flush()?;
        }
        Ok(())
    }

    #[inline]
    fn note_moved(&mut self) {
        if self.inspector.has_moved() {
            let moved = self.inspector.moved().map(|process| process.pid);
            self.moved.extend(moved);
        }
    }

    /// Says which cgroups processes are in that have moved since the last event. An exec says it of its own process.
    fn report_moved(&mut self, event: &Event<'_>) {
        if self.moved.is_empty() {
            return;
        }
        let exec = (event.kind() == EventKind::Exec).then_some(event.header().tgid);
        let head = Head {
            time_ns: self.last_ns,
            tid: event.header().tid,
            cpu: event.header().cpu,
            state_only: true,
        };
        for pid in std::mem::take(&mut self.moved) {
            let process = self.inspector.process_by_pid(pid);
            if let Some(process) = process.filter(|_| exec != Some(pid)) {
                let group = String::from_utf8_lossy(&process.cgroups.text);
                let said = format!("{pid} {}", group.trim_end());
                self.notify(head, CGROUPS, &said);
            }
        }
    }

    /// Writes a message of lanner's own.
    fn notify(&mut self, head: Head, id: &str, said: &str) {
        let Some(kind) = Table::get().all(|what| matches!(what, What::Notice)).next() else {
            return;
        };
        self.params.clear();
        self.params.push(process::text(id.as_bytes()));
        self.params.push(process::text(said.as_bytes()));
        self.put(head, kind);
    }

    /// Writes what runtimes have said about containers since the last time.
    #[inline]
    fn name_containers(&mut self) {
        if !self.begun {
            return;
        }
        let count = self.inspector.container_count();
        if count != self.containers || self.events.is_multiple_of(LOOK_EVERY) {
            self.containers = count;
            self.find_containers();
        }
        while let Some(at) = self.waiting.iter().position(|one| one.is_answered()) {
            let container = self.waiting.swap_remove(at);
            self.name(&container);
        }
    }

    /// Finds the containers that the file does not name yet.
    fn find_containers(&mut self) {
        for container in self.inspector.containers() {
            if !self.named.contains(&container.id) {
                self.named.insert(container.id.clone());
                self.waiting.push(Arc::clone(container));
            }
        }
    }

    #[cold]
    fn name(&mut self, container: &Container) {
        let newest = Table::get()
            .all(|what| matches!(what, What::Container))
            .find(|kind| kind.large && kind.params.len() == 1);
        let Some((kind, json)) = newest.zip(container.json(Unsaid::False, usize::MAX)) else {
            return;
        };
        let head = Head {
            time_ns: self.last_ns,
            tid: 0,
            cpu: 0,
            state_only: false,
        };
        self.params.clear();
        self.params.push(process::text(json.as_bytes()));
        self.put(head, kind);
    }

    /// The number of events so far. Those that are there for the state alone do not count.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Bytes of the file so far, those that are buffered included.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Writes what is buffered.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.name_containers();
        self.file.write_all(&self.buffer)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Writes all that is left. A capture without events has its lists.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn finish(&mut self) -> io::Result<()> {
        self.begin();
        self.flush()
    }

    /// Writes the lists, once.
    fn begin(&mut self) {
        if !std::mem::replace(&mut self.begun, true) {
            lists::write(&mut self.buffer, &self.inspector, &self.machine);
            self.name_containers();
        }
    }

    fn head(event: &Event<'_>, seen: &Seen) -> Head {
        Head {
            time_ns: seen.time_ns,
            tid: event.header().tid,
            cpu: event.header().cpu,
            state_only: event.has(Flags::UNSELECTED),
        }
    }

    /// Writes an event whose parameters are ready.
    fn put(&mut self, head: Head, kind: &EventType) {
        Block::event(&mut self.buffer, head, kind, &self.params);
    }

    fn call(&mut self, event: &Event<'_>, seen: &Seen) {
        let header = event.header();
        let call = of_number(event.abi(), header.nr);
        let head = Self::head(event, seen);
        let table = Table::get();
        // an operation of an io_uring is written as the call that does the same
        let same = driver_api::table::by_name(call.acts_as).unwrap_or(call);
        // an event without a result has none of Falco's types but the generic one
        let kind = (table.newest(call).or_else(|| table.newest(same)))
            .filter(|_| !event.has(Flags::NORETURN));
        let Some(kind) = kind else {
            self.generic(head, call);
            return;
        };
        let caller = Caller::new(event, call, seen, &self.inspector);
        let entry = table.event(kind.number - 1);
        // readers take empty parameters for values: an event about which nothing is known is a generic one
        if ![entry, Some(kind)]
            .into_iter()
            .flatten()
            .any(|kind| caller.knows(kind))
        {
            self.generic(head, call);
            return;
        }
        let about = seen
            .process
            .and_then(|key| self.inspector.process(key))
            .map(|process| About::of(process, header.tid, &self.inspector, event));
        let knows_user = about.as_ref().is_some_and(About::knows_user);
        let no_user = is_exec(call) && !knows_user;
        for kind in [entry, Some(kind)].into_iter().flatten() {
            self.params.clear();
            for param in &kind.params {
                // readers take an id unasked; they keep the one that they have if the event ends before it
                if no_user && param.name == "uid" {
                    break;
                }
                let of_process = || about.as_ref()?.param(param.name);
                let value = match param.place {
                    EventSlot::Nowhere => of_process().or_else(|| caller.param(kind, param)),
                    _ => caller.param(kind, param),
                };
                self.params
                    .push(value.unwrap_or_else(|| process::nothing(param)));
            }
            Block::event(&mut self.buffer, head, kind, &self.params);
        }
    }

    /// A call for which Falco has no type. Readers of 2022 end when they meet a code that they do not know: such a call has its
    /// number on x86_64 alone.
    fn generic(&mut self, head: Head, call: &Syscall) {
        /// The last code that they know.
        const LAST: u16 = 332;
        let table = Table::get();
        let code = table.code(call).filter(|code| *code <= LAST).unwrap_or(0);
        let native = call
            .number(Abi::X86_64)
            .and_then(|number| u16::try_from(number).ok());
        for kind in table.all(|what| matches!(what, What::Coded)) {
            self.params.clear();
            self.params.push(code.to_le_bytes().to_vec());
            let native = native.unwrap_or(u16::MAX);
            self.params.push(native.to_le_bytes().to_vec());
            Block::event(&mut self.buffer, head, kind, &self.params);
        }
    }

    /// A birth: the call that makes a child, as it returns in the child.
    fn fork(&mut self, event: &Event<'_>, seen: &Seen) {
        let [tid, pid, called, vtid, observed, _] = event.header().args;
        let mut flags = called | observed & !FORK_SEEN;
        if tid != pid {
            // the kernel makes no thread without these
            flags |= CLONE_THREAD | CLONE_SIGHAND | CLONE_VM;
            if called == 0 && observed & FORK_SEEN == 0 {
                // not known; nearly all threads share these, and the state takes them to
                flags |= CLONE_FILES | CLONE_FS;
            }
        }
        let number = |value: u64| u32::try_from(value).unwrap_or(0);
        let clone = driver_api::table::by_name(CLONE).and_then(|call| Table::get().newest(call));
        let child = self.inspector.process_by_pid(number(pid));
        let (Some(kind), Some(child)) = (clone, child) else {
            return;
        };
        let head = Head {
            tid: number(tid),
            ..Self::head(event, seen)
        };
        let about = About::child(
            child,
            number(tid),
            &self.inspector,
            event,
            flags,
            number(vtid),
        );
        self.params.clear();
        for param in &kind.params {
            let value = about.param(param.name);
            self.params
                .push(value.unwrap_or_else(|| call::nothing(param)));
        }
        self.put(head, kind);
    }

    /// An event that is no call: an end or a signal.
    fn lifecycle(&mut self, event: &Event<'_>, seen: &Seen) {
        let Some(kind) = lifecycle::event_type(event.kind()) else {
            return;
        };
        self.params.clear();
        for param in &kind.params {
            let value = match lifecycle::value(event, seen, &self.inspector, param.name) {
                Some(value) => value.to_le_bytes()[..param.width].to_vec(),
                None if param.name == "status" => Vec::new(),
                None => call::nothing(param),
            };
            self.params.push(value);
        }
        self.put(Self::head(event, seen), kind);
    }

    /// Events are missing here. Falco has no event that says how many: it is a notification.
    fn lost(&mut self, event: &Event<'_>, seen: &Seen) {
        let [count, cause, ..] = event.header().args;
        let head = Self::head(event, seen);
        self.notify(head, LOST, &format!("{count} {cause}"));
    }
}

/// The call whose return in the child reports a birth.
const CLONE: &str = "clone";
