//! Reads a capture from its first block to its last, and hands out lanner's events.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use driver_api::driver::{Capture, CaptureError, Flow, Polled};
use driver_api::event::{Event, EventBuilder, EventKind, Fact, Flags, Header};
use driver_api::replay::{EventFile, Player};
use driver_api::selection::Selection;
use driver_api::stats::Stats;
use driver_api::table;
use inspect::containers::RecordedAnswers;
use inspect::{Clock, ContainerSource, Recorded, Report};

use super::blocks::Blocks;
use super::bytes::{text, unsigned};
use super::encode::{Draft, Who, finish};
use super::error::{Fault, ScapError};
use super::event::{self, Raw};
use super::life;
use super::lists::{self, BlockKind, UserList};
use super::merge::{Entries, Merged};
use super::process::{Processes, UNKNOWN, id};
use super::state::{Lists, StateWriter};
use super::table::{EventType, Table, What};
use super::write::{CGROUPS, LOST};

/// The most bytes of all lists together.
const MAX_LISTS: u64 = 512 << 20;

/// Types of blocks with a packet of a network (pcapng): packet, simple packet, enhanced packet.
const PACKETS: [u32; 3] = [2, 3, 6];

/// Whether Falco's libraries write blocks of this type. Types with the top bit were used before the first release.
fn is_falcos(kind: u32) -> bool {
    matches!(kind, 0x200..=0x2ff | 0x8000_0000..)
}

/// A capture that is being replayed.
#[derive(Debug)]
pub struct ScapReplay {
    blocks: Blocks,
    player: Player,
    recorded: Arc<Recorded>,
    /// How many of its cgroups have had an event.
    said: u64,
    answers: Arc<RecordedAnswers>,
    lists: Lists,
    /// Events in front of the first that is delivered have been read.
    begun: bool,
    /// The current block has not been read.
    waiting: bool,
    /// The number of the current event in the capture.
    number: u64,
    pub(crate) processes: Processes,
    entries: Entries,
    pub(crate) builder: EventBuilder,
    /// Events that are ready, one after another, and where the next one begins.
    pub(crate) ready: Vec<u8>,
    next: usize,
}

impl ScapReplay {
    /// Opens a capture and reads its lists. Like a driver, it delivers the calls of the selection, and all events that are
    /// not calls.
    ///
    /// # Errors
    ///
    /// The file cannot be read, is no capture, or is damaged in front of its first event.
    pub fn open(path: &Path, selection: impl Into<Selection>) -> Result<Self, ScapError> {
        let mut blocks = Blocks::open(path)?;
        let mut lists = Lists::default();
        let mut users = UserList::default();
        let mut bytes = 0_u64;
        let mut waiting = false;
        // pcapng has the same blocks around packets
        let (mut known, mut other) = (false, false);
        while blocks.advance()? {
            let (kind, body) = blocks.current();
            bytes += body.len() as u64;
            (known, other) = (known || is_falcos(kind), true);
            if PACKETS.contains(&kind) && !known {
                return Err(blocks.fault(Fault::Packets));
            }
            let kind = BlockKind::of(kind);
            if let BlockKind::Event { .. } = kind {
                waiting = true;
                break;
            }
            read_list(kind, body, &mut lists, &mut users).map_err(|fault| blocks.fault(fault))?;
            if bytes > MAX_LISTS {
                return Err(blocks.fault(Fault::Lists(MAX_LISTS)));
            }
        }
        if other && !known {
            return Err(blocks.fault(Fault::Packets));
        }
        Ok(Self {
            blocks,
            player: Player::new(selection),
            recorded: Arc::new(Recorded::new(users.users, users.groups)),
            said: 0,
            answers: Arc::default(),
            lists,
            begun: false,
            waiting,
            number: 0,
            processes: Processes::default(),
            entries: Entries::default(),
            builder: EventBuilder::new(),
            ready: Vec::new(),
            next: 0,
        })
    }

    /// The clock of the events: their times are times of day.
    #[must_use]
    pub fn clock(&self) -> Clock {
        Clock::fixed(0)
    }

    /// Users and cgroups of the host that the capture was made on.
    #[must_use]
    pub fn recorded(&self) -> Arc<Recorded> {
        Arc::clone(&self.recorded)
    }

    /// What the capture says about containers.
    #[must_use]
    pub fn containers(&self) -> Arc<dyn ContainerSource> {
        Arc::clone(&self.answers) as Arc<dyn ContainerSource>
    }

    /// Reads blocks until an event is ready. False: the capture has ended.
    fn fill(&mut self) -> Result<bool, ScapError> {
        self.ready.clear();
        self.next = 0;
        while self.ready.is_empty() {
            if !std::mem::take(&mut self.waiting) && !self.blocks.advance()? {
                self.begin(0);
                self.answers.end();
                break;
            }
            self.block()?;
        }
        self.say_new_cgroups();
        Ok(!self.ready.is_empty())
    }

    /// Puts an event in front of those that are ready for each id of a cgroup that they use first: it says what the id means.
    /// The state of a replay knows that already ([`Recorded`]), but a file to which the events are written does not.
    fn say_new_cgroups(&mut self) {
        let time_ns = match Event::parse(&self.ready) {
            Ok(event) => event.header().time_ns,
            Err(_) => return,
        };
        let new = self.recorded.cgroups_from(self.said);
        if new.is_empty() {
            return;
        }
        let events = std::mem::take(&mut self.ready);
        for group in new {
            self.said += 1;
            self.say_cgroups(0, self.said, &group, time_ns);
        }
        self.ready.extend_from_slice(&events);
    }

    fn block(&mut self) -> Result<(), ScapError> {
        let (kind, body) = self.blocks.current();
        let body = body.to_vec();
        match BlockKind::of(kind) {
            BlockKind::Event { counted, flagged } => {
                self.number += 1;
                let number = self.number;
                let raw = event::parse(&body, counted, flagged)
                    .map_err(|kind| self.blocks.fault(Fault::Event { number, kind }))?;
                // what is said about containers and users may have no time, or another one
                if raw.kind.is_none_or(|kind| !kind.is_about_state()) {
                    self.recorded.begin(raw.time_ns);
                }
                if let Some(kind) = raw.kind {
                    self.event(&raw, kind);
                }
                Ok(())
            }
            BlockKind::Section => {
                // captures that were put one behind the other
                self.processes.clear();
                self.entries = Entries::default();
                self.lists = Lists::default();
                self.begun = false;
                Ok(())
            }
            kind => {
                // users of a second capture are not taken: names have been given by the first
                let mut users = UserList::default();
                read_list(kind, &body, &mut self.lists, &mut users)
                    .map_err(|fault| self.blocks.fault(fault))
            }
        }
    }

    /// Writes the state in front of the first event.
    fn begin(&mut self, time_ns: u64) {
        if std::mem::replace(&mut self.begun, true) {
            return;
        }
        let lists = std::mem::take(&mut self.lists);
        let mut writer = StateWriter {
            builder: &mut self.builder,
            out: &mut self.ready,
            time_ns,
        };
        writer.lists(&lists, &mut self.processes, &self.recorded);
    }

    fn event(&mut self, raw: &Raw<'_>, kind: &'static EventType) {
        if let What::Container = kind.what {
            let said = |name: &str| {
                let at = kind.params.iter().position(|param| param.name == name)?;
                raw.params.as_slice().get(at).map(|value| text(value))
            };
            if let Some(json) = said("json").or_else(|| said("data")) {
                self.answers.take(json);
            } else if let (Some(id), Some(name), Some(image)) =
                (said("id"), said("name"), said("image"))
            {
                self.answers.take_named(id, name, image);
            }
            return;
        }
        self.begin(raw.time_ns);
        match kind.what {
            What::Nothing | What::Container => {}
            What::Notice => self.notice(raw),
            What::Exit => {
                self.entries.forget(raw.tid);
                life::exit(self, raw, kind);
            }
            What::Signal => self.signal(raw, kind),
            What::Call(_) | What::Coded if kind.enter => self.entries.enter(raw, kind),
            What::Call(_) | What::Coded => self.call(raw, kind),
        }
    }

    /// Who an event is about. The process is 0 if the capture does not say which one it is.
    pub(crate) fn who(&self, raw: &Raw<'_>) -> Who {
        let tid = id(raw.tid).unwrap_or(0);
        let pid = self.processes.pid(tid);
        let (uid, gid) = self.processes.ids(tid);
        Who {
            time_ns: raw.time_ns,
            cpu: raw.cpu,
            tgid: pid.unwrap_or(0),
            tid,
            uid,
            gid,
            cgroup: 0,
            flags: if raw.state_only { Flags::UNSELECTED } else { 0 },
        }
    }

    fn signal(&mut self, raw: &Raw<'_>, kind: &EventType) {
        let number = |name: &str| {
            let at = kind.params.iter().position(|param| param.name == name)?;
            unsigned(raw.params.as_slice().get(at)?)
        };
        let sender = number("spid").filter(|pid| *pid <= u64::from(UNKNOWN));
        let header = Header {
            args: [number("sig").unwrap_or(0), sender.unwrap_or(0), 0, 0, 0, 0],
            ..self.who(raw).header(EventKind::Signal)
        };
        self.builder.begin(&header);
        finish(&mut self.builder, &mut self.ready);
    }

    /// A message of lanner's own says what Falco has no event for.
    fn notice(&mut self, raw: &Raw<'_>) {
        let [id, said, ..] = *raw.params.as_slice() else {
            return;
        };
        match text(id) {
            id if id == LOST.as_bytes() => self.lost(raw, text(said)),
            id if id == CGROUPS.as_bytes() => self.moved(raw, text(said)),
            _ => {}
        }
    }

    /// A process is in other cgroups than before.
    fn moved(&mut self, raw: &Raw<'_>, said: &[u8]) {
        let mut parts = said.splitn(2, |byte| *byte == b' ');
        let (Some(pid), Some(group)) = (parts.next(), parts.next()) else {
            return;
        };
        let pid = std::str::from_utf8(pid)
            .ok()
            .and_then(|pid| pid.parse().ok());
        let Some(pid) = pid.filter(|pid| *pid != 0) else {
            return;
        };
        let group = [group, b"\n"].concat();
        let id = self.recorded.cgroup_id(&group);
        if let Some(process) = self.processes.get_mut(pid) {
            process.cgroup = id;
        }
        self.say_cgroups(pid, id, &group, raw.time_ns);
    }

    /// Says in an event which cgroups an id means, and that a process is in them if there is one.
    fn say_cgroups(&mut self, pid: u32, id: u64, group: &[u8], time_ns: u64) {
        let report = Report {
            fact: Fact::Cgroups,
            text: group,
            pid,
            cgroup: id,
            time_ns,
        };
        if let Some(event) = report.event(&mut self.builder) {
            event.append_to(&mut self.ready);
        }
    }

    /// Events are missing.
    fn lost(&mut self, raw: &Raw<'_>, said: &[u8]) {
        let said = String::from_utf8_lossy(said);
        let mut numbers = said.split(' ').map_while(|word| word.parse().ok());
        let (Some(count), Some(cause)) = (numbers.next(), numbers.next()) else {
            return;
        };
        let header = Header {
            time_ns: raw.time_ns,
            cpu: raw.cpu,
            kind: EventKind::Lost as u8,
            args: [count, cause, 0, 0, 0, 0],
            ..Header::default()
        };
        self.builder.begin(&header);
        finish(&mut self.builder, &mut self.ready);
    }

    fn call(&mut self, raw: &Raw<'_>, kind: &'static EventType) {
        let entered = self.entries.leave(raw.tid, kind);
        let merged = Merged::new(raw, kind, entered.as_ref());
        let call = match kind.what {
            What::Call(call) => Some(call),
            What::Coded => coded(&merged),
            What::Nothing | What::Exit | What::Signal | What::Container | What::Notice => None,
        };
        let Some(call) = call else { return };
        if life::is_exec(call) {
            life::exec(self, raw, call, &merged);
            return;
        }
        if life::makes_child(call) {
            life::birth(self, raw, call, &merged);
            return;
        }
        let who = self.who(raw);
        if let Some(mut draft) = Draft::new(call, who) {
            draft.fill(&merged);
            if draft.result().is_some_and(|ret| ret >= 0) {
                life::note(self, who.tgid, call, &draft.header);
            }
            draft.write(&mut self.builder, &mut self.ready);
        }
    }

    fn failed(&self, error: ScapError) -> CaptureError {
        CaptureError {
            driver: "replay",
            step: format!("read {}", self.blocks.path()),
            source: error.into(),
        }
    }
}

/// The call that the code of a generic event names; without a known code, the native number, which is x86's.
fn coded(merged: &Merged<'_>) -> Option<&'static table::Syscall> {
    let number = |name: &str| merged.get(name).and_then(unsigned);
    let code = number("ID").and_then(|code| u16::try_from(code).ok());
    code.and_then(|code| Table::get().call(code)).or_else(|| {
        let number = number("nativeID").and_then(|number| u32::try_from(number).ok())?;
        table::by_number(driver_api::event::Abi::X86_64, number)
    })
}

fn read_list(
    kind: BlockKind,
    body: &[u8],
    lists: &mut Lists,
    users: &mut UserList,
) -> Result<(), Fault> {
    match kind {
        BlockKind::Processes(version) => lists::processes(body, version, &mut lists.threads),
        BlockKind::Descriptors { sized } => {
            let mut found = Vec::new();
            let tid = lists::descriptors(body, sized, &mut found)?;
            lists.descriptors.entry(tid).or_default().append(&mut found);
            Ok(())
        }
        BlockKind::Users { sized } => lists::users(body, sized, users),
        BlockKind::Section | BlockKind::Event { .. } | BlockKind::Other => Ok(()),
    }
}

impl EventFile for ScapReplay {
    fn current(&mut self) -> Result<Option<&mut [u8]>, CaptureError> {
        if self.next >= self.ready.len() {
            match self.fill() {
                Ok(true) => {}
                Ok(false) => return Ok(None),
                Err(error) => {
                    self.answers.end();
                    return Err(self.failed(error));
                }
            }
        }
        Ok(self.ready.get_mut(self.next..))
    }

    fn advance(&mut self, len: Option<usize>) {
        // An event of lanner's own making is one. If it is not, the rest cannot be told apart.
        self.next = len.map_or(self.ready.len(), |len| self.next + len);
    }
}

impl Capture for ScapReplay {
    fn poll(
        &mut self,
        _: Duration,
        sink: &mut dyn FnMut(Event<'_>) -> Flow,
    ) -> Result<Polled, CaptureError> {
        let mut player = std::mem::take(&mut self.player);
        let polled = player.poll(self, sink);
        self.player = player;
        polled
    }

    fn select(&mut self, selection: &Selection) -> Result<(), CaptureError> {
        self.player.select(selection);
        Ok(())
    }

    fn stats(&self) -> Stats {
        self.player.stats()
    }
}
