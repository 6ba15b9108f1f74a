//! Makes events for tests, and delivers them through the scripted driver.

use std::path::Path;
use std::time::Duration;

use driver_api::driver::{Capture, Flow, Polled};
use driver_api::event::{
    Abi, Encoding, Event, EventBuilder, EventKind, Fact, Flags, Header, Ids, OpenedFile, Part,
    PartAt, Status, Tuple,
};
use driver_api::scripted::Scripted;
use driver_api::table;
use zerocopy::IntoBytes;

use super::{Clock, Inspector, Options, Seen};

/// An event that a test builds.
#[derive(Debug, Clone)]
pub struct Ev {
    /// The fixed part of the event.
    pub header: Header,
    attached: Vec<(u8, Encoding, Vec<u8>)>,
    parts: Vec<(u8, PartAt, Vec<u8>)>,
    unread: Vec<u8>,
}

impl Ev {
    /// An event of this kind in a process, five seconds after the host's start.
    pub fn new(kind: EventKind, pid: u32) -> Self {
        let header = Header {
            kind: kind as u8,
            abi: Abi::X86_64 as u8,
            tgid: pid,
            tid: pid,
            time_ns: 5_000_000_000,
            ..Header::default()
        };
        Self {
            header,
            attached: Vec::new(),
            parts: Vec::new(),
            unread: Vec::new(),
        }
    }

    /// A call that returned.
    pub fn call(pid: u32, name: &str, args: &[i64], ret: i64) -> Self {
        let mut event = Self::new(EventKind::Syscall, pid);
        event.header.nr = table::by_name(name).unwrap().number(Abi::X86_64).unwrap();
        for (to, from) in event.header.args.iter_mut().zip(args) {
            *to = from.cast_unsigned();
        }
        event.header.ret = ret;
        event
    }

    /// A fork that makes the process `child`, or the thread `tid` in it.
    pub fn fork(parent: u32, child: u32, tid: u32, flags: u64) -> Self {
        let mut event = Self::new(EventKind::Fork, parent);
        event.header.args = [tid.into(), child.into(), flags, 0, 0, 0];
        event
    }

    /// The id of a new process in its own pid namespace.
    #[must_use]
    pub fn fork_vpid(mut self, vpid: u32) -> Self {
        self.header.args[3] = vpid.into();
        self
    }

    /// A successful exec.
    pub fn exec(pid: u32, exe: &str, argv: &[&str], ids: Ids) -> Self {
        let mut event = Self::new(EventKind::Exec, pid);
        event.header.nr = table::by_name("execve")
            .unwrap()
            .number(Abi::X86_64)
            .unwrap();
        event.header.uid = ids.uid;
        event.header.gid = ids.gid;
        let name = exe.rsplit('/').next().unwrap();
        event
            .fact(Fact::Exe, exe.as_bytes())
            .strings(Fact::Argv as u8, argv)
            .fact(Fact::Ids, ids.as_bytes())
            .fact(Fact::Comm, &name.as_bytes()[..name.len().min(15)])
    }

    /// The end of a thread.
    pub fn exit(pid: u32, tid: u32) -> Self {
        Self::new(EventKind::Exit, pid).thread(tid)
    }

    /// Sets the event's thread.
    pub fn thread(mut self, tid: u32) -> Self {
        self.header.tid = tid;
        self
    }

    /// The call is entered, and no event will report its result.
    pub fn entered(mut self) -> Self {
        self.header.flags |= Flags::ENTRY;
        self
    }

    /// Sets the event's user.
    pub fn uid(mut self, uid: u32) -> Self {
        self.header.uid = uid;
        self
    }

    /// Adds the memory behind an argument.
    pub fn said(mut self, at: u8, bytes: &[u8]) -> Self {
        self.attached.push((at, Encoding::Raw, bytes.to_vec()));
        self
    }

    /// Marks the memory behind an argument as unreadable.
    pub fn unread(mut self, at: u8) -> Self {
        self.unread.push(at);
        self
    }

    /// Adds the control messages of a `msghdr`.
    pub fn control(self, at: u8, bytes: &[u8]) -> Self {
        self.part(at, 0, Part::Control as u8, bytes)
    }

    /// Adds a part of a `msghdr`, or of one in an array: the number of a [`Part`].
    pub fn part(mut self, at: u8, index: u8, part: u8, bytes: &[u8]) -> Self {
        self.parts
            .push((at, PartAt(index << 2 | part), bytes.to_vec()));
        self
    }

    /// Adds a fact.
    pub fn fact(self, fact: Fact, bytes: &[u8]) -> Self {
        self.said(fact as u8, bytes)
    }

    /// Adds a fact whose parts are given leaf first: a resolved path.
    pub fn parts(mut self, fact: Fact, leaf_first: &[&str]) -> Self {
        let bytes = leaf_first
            .iter()
            .flat_map(|p| [p.as_bytes(), b"\0"].concat())
            .collect();
        self.attached.push((fact as u8, Encoding::Parts, bytes));
        self
    }

    /// Adds a list of strings.
    pub fn strings(mut self, what: u8, strings: &[&str]) -> Self {
        let bytes = strings
            .iter()
            .flat_map(|s| [s.as_bytes(), b"\0"].concat())
            .collect();
        self.attached.push((what, Encoding::Strings, bytes));
        self
    }

    /// Adds the file that was opened.
    pub fn opened(self, file: &OpenedFile) -> Self {
        self.fact(Fact::File, file.as_bytes())
    }

    /// Adds the ends of an IPv4 connection.
    pub fn tuple(self, local: ([u8; 4], u16), remote: ([u8; 4], u16)) -> Self {
        let wide = |ip: [u8; 4]| {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&ip);
            bytes
        };
        let tuple = Tuple {
            family: 2,
            protocol: 6,
            local_port: local.1,
            remote_port: remote.1,
            local: wide(local.0),
            remote: wide(remote.0),
        };
        self.fact(Fact::Tuple, tuple.as_bytes())
    }

    /// The event's bytes, as a driver delivers them.
    pub fn bytes(&self) -> Vec<u8> {
        let mut builder = EventBuilder::new();
        builder.begin(&self.header);
        for (what, encoding, bytes) in &self.attached {
            let full = bytes.len() as u64;
            builder.attach(*what, Part::None, Status::Whole, *encoding, full, bytes);
        }
        for at in &self.unread {
            builder.attach(*at, Part::None, Status::Fault, Encoding::Raw, 0, &[]);
        }
        for (at, part, bytes) in &self.parts {
            let full = bytes.len() as u64;
            builder.attach(*at, *part, Status::Whole, Encoding::Raw, full, bytes);
        }
        builder.finish().unwrap().to_vec()
    }
}

/// A state that takes nothing from this host.
pub fn isolated() -> Inspector {
    Inspector::new(&isolated_options())
}

/// The options of [`isolated`].
pub fn isolated_options() -> Options {
    Options {
        proc_root: None,
        etc: Path::new("/nonexistent").to_owned(),
        containers: None,
        clock: Clock::fixed(1_767_225_600_000_000_000),
        ..Options::default()
    }
}

/// Delivers events as a driver does.
pub fn deliver(events: &[Ev], mut sink: impl FnMut(&Event<'_>)) {
    let mut capture = Scripted::new(events.iter().map(Ev::bytes), None);
    let polled = capture.poll(Duration::ZERO, &mut |event| {
        sink(&event);
        Flow::Continue
    });
    assert_eq!(
        polled.unwrap(),
        if events.is_empty() {
            Polled::Ended(None)
        } else {
            Polled::Events(events.len())
        }
    );
}

/// Applies events to the state. Returns the result of the last.
pub fn feed(inspector: &mut Inspector, events: &[Ev]) -> Seen {
    let mut last = Seen::default();
    deliver(events, |event| last = inspector.update(event));
    last
}

/// Pseudo-random numbers, the same in each run.
#[derive(Debug)]
pub struct Noise(pub u64);

impl Noise {
    /// The next number.
    #[expect(
        clippy::should_implement_trait,
        reason = "noise never ends, so an iterator's Option would be useless"
    )]
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below the limit.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// A small number, a large one, or one at the edge of a type.
    pub fn edgy(&mut self) -> u64 {
        match self.below(6) {
            0 => self.below(8),
            1 => u64::MAX - self.below(200),
            2 => u64::from(u32::MAX) - self.below(2),
            3 => self.below(1 << 20),
            4 => 1 << self.below(64),
            _ => self.next(),
        }
    }

    /// Fewer bytes than the limit.
    pub fn bytes(&mut self, limit: u64) -> Vec<u8> {
        let length = self.below(limit);
        let textual = self.below(2) == 0;
        let byte = |noise: &mut Self| {
            if textual {
                b"/./..a\0 \n%("[usize::try_from(noise.below(11)).unwrap()]
            } else {
                noise.next().to_le_bytes()[0]
            }
        };
        (0..length).map(|_| byte(self)).collect()
    }

    /// An event of any kind with any content.
    pub fn event(&mut self) -> Vec<u8> {
        let kinds = [
            EventKind::Syscall,
            EventKind::Syscall,
            EventKind::Syscall,
            EventKind::Exec,
            EventKind::Fork,
            EventKind::Exit,
            EventKind::Signal,
            EventKind::Lost,
        ];
        let kind = kinds[usize::try_from(self.below(8)).unwrap()];
        let pid = u32::try_from(self.below(6)).unwrap();
        let mut event = Ev::new(kind, pid);
        event.header.abi = u8::try_from(self.below(5)).unwrap();
        event.header.nr = u32::try_from(self.below(450)).unwrap();
        event.header.tid = u32::try_from(self.below(8)).unwrap();
        event.header.args = std::array::from_fn(|_| self.edgy());
        if kind == EventKind::Fork {
            event.header.args = [self.below(8), self.below(6), self.edgy(), 0, 0, 0];
        }
        event.header.ret = self.edgy().cast_signed();
        event.header.time_ns = self.edgy();
        event.header.uid = u32::try_from(self.below(3)).unwrap();
        let mut builder = EventBuilder::new();
        builder.begin(&event.header);
        for _ in 0..self.below(6) {
            let what = if self.below(2) == 0 {
                self.below(6)
            } else {
                16 + self.below(15)
            };
            let parts = [
                Part::None,
                Part::None,
                Part::Name,
                Part::Data,
                Part::Control,
            ];
            let encodings = [Encoding::Raw, Encoding::Parts, Encoding::Strings];
            let part = parts[usize::try_from(self.below(5)).unwrap()];
            let encoding = encodings[usize::try_from(self.below(3)).unwrap()];
            let (full, bytes) = (self.edgy(), self.bytes(80));
            builder.attach(
                u8::try_from(what).unwrap(),
                part,
                Status::Whole,
                encoding,
                full,
                &bytes,
            );
        }
        builder.finish().unwrap().to_vec()
    }
}
