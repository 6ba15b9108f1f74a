//! Makes captures, block by block.

use std::time::Duration;

use driver_api::driver::{Capture, CaptureError, Flow, Polled};
use driver_api::event::{Event, EventKind, Flags};
use driver_api::request::SyscallSet;
use inspect::{Inspector, Options};

use crate::ScapReplay;

/// A capture that is being made.
#[derive(Debug, Clone)]
pub(super) struct Maker {
    pub(super) bytes: Vec<u8>,
    /// The time of the next event.
    time: u64,
}

/// Little-endian bytes, one after another.
#[derive(Debug, Default, Clone)]
pub(super) struct Body(pub(super) Vec<u8>);

impl Body {
    pub(super) fn u8(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    pub(super) fn u16(mut self, value: u16) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(super) fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(super) fn u64(mut self, value: u64) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(super) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(super) fn string(self, text: &[u8]) -> Self {
        self.u16(u16::try_from(text.len()).unwrap()).bytes(text)
    }

    /// The bytes behind their length, which counts itself.
    pub(super) fn sized(self) -> Vec<u8> {
        let len = u32::try_from(self.0.len() + 4).unwrap();
        [len.to_le_bytes().to_vec(), self.0].concat()
    }
}

/// A value of 64 bits.
pub(super) fn long(value: i64) -> Vec<u8> {
    value.to_le_bytes().to_vec()
}

/// A value of 32 bits.
pub(super) fn int(value: u32) -> Vec<u8> {
    value.to_le_bytes().to_vec()
}

/// A string with its NUL.
pub(super) fn text(value: &str) -> Vec<u8> {
    [value.as_bytes(), b"\0"].concat()
}

impl Maker {
    /// A capture with its section header alone.
    pub(super) fn new() -> Self {
        let mut maker = Self {
            bytes: Vec::new(),
            time: 1_000_000_000,
        };
        let section = Body::default().u32(0x1a2b_3c4d).u16(1).u16(2).u64(u64::MAX);
        maker.block(0x0a0d_0d0a, &section.0);
        maker
    }

    pub(super) fn block(&mut self, kind: u32, body: &[u8]) {
        let padded = body.len().next_multiple_of(4);
        let len = u32::try_from(padded + 12).unwrap();
        self.bytes.extend(kind.to_le_bytes());
        self.bytes.extend(len.to_le_bytes());
        self.bytes.extend_from_slice(body);
        self.bytes.resize(self.bytes.len() + padded - body.len(), 0);
        self.bytes.extend(len.to_le_bytes());
    }

    /// An event whose header counts the parameters.
    pub(super) fn event(&mut self, tid: i64, kind: u16, params: &[Vec<u8>]) {
        self.write(0x216, tid, kind, params, true);
    }

    /// An event as the first versions wrote it.
    pub(super) fn old_event(&mut self, tid: i64, kind: u16, params: &[Vec<u8>]) {
        self.write(0x204, tid, kind, params, false);
    }

    fn write(&mut self, block: u32, tid: i64, kind: u16, params: &[Vec<u8>], counted: bool) {
        let header = if counted { 26 } else { 22 };
        let inner: usize = params.iter().map(|param| param.len() + 2).sum();
        let mut body = Body::default()
            .u16(0)
            .u64(self.time)
            .u64(tid.cast_unsigned())
            .u32(u32::try_from(header + inner).unwrap())
            .u16(kind);
        if counted {
            body = body.u32(u32::try_from(params.len()).unwrap());
        }
        for param in params {
            body = body.u16(u16::try_from(param.len()).unwrap());
        }
        for param in params {
            body = body.bytes(param);
        }
        self.time += 1000;
        self.block(block, &body.0);
    }

    /// The list of one process of the newest version, and its descriptor 3, a file.
    pub(super) fn shell(&mut self) {
        self.block(0x215, &process(9));
        let fd = Body::default().u64(3).u64(0).u8(1).string(b"/etc/hosts");
        self.block(0x218, &[long(7), fd.sized()].concat());
    }

    pub(super) fn open(&self) -> Result<ScapReplay, crate::ScapError> {
        open(&self.bytes)
    }

    /// The events that rules see, as text.
    pub(super) fn seen(&self) -> Vec<String> {
        let mut lines = Vec::new();
        each(&mut self.open().unwrap(), |event| {
            if !event.has(Flags::UNSELECTED) && event.kind() != EventKind::Lost {
                let mut line = String::new();
                decode::text::line(&mut line, event);
                lines.push(line);
            }
        })
        .unwrap();
        lines
    }

    /// The state after the last event.
    pub(super) fn state(&self) -> Inspector {
        let mut replay = self.open().unwrap();
        let mut inspector = inspector(&replay);
        each(&mut replay, |event| {
            inspector.update(event);
        })
        .unwrap();
        inspector
    }
}

/// An empty state for the events of a capture.
pub(super) fn inspector(replay: &ScapReplay) -> Inspector {
    Inspector::new(&Options {
        proc_root: None,
        clock: replay.clock(),
        containers: Some(replay.containers()),
        recorded: Some(replay.recorded()),
        ..Options::default()
    })
}

pub(super) fn open(bytes: &[u8]) -> Result<ScapReplay, crate::ScapError> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    ScapReplay::open(file.path(), SyscallSet::all())
}

/// Hands out all events.
pub(super) fn each(
    replay: &mut ScapReplay,
    mut to: impl FnMut(&Event<'_>),
) -> Result<(), CaptureError> {
    loop {
        let polled = replay.poll(Duration::ZERO, &mut |event| {
            to(&event);
            Flow::Continue
        })?;
        if polled == Polled::Ended(None) {
            return Ok(());
        }
    }
}

/// An entry of the list of processes, as a version of the block has it: process 7 of user 1000, a shell in a container.
pub(super) fn process(version: u8) -> Vec<u8> {
    let mut body = Body::default().u64(7).u64(7).u64(1);
    if version >= 6 {
        body = body.u64(5);
    }
    if version >= 8 {
        body = body.u64(1);
    }
    body = body.string(b"sh").string(b"/bin/sh");
    if version >= 7 {
        body = body.string(b"/usr/bin/dash");
    }
    body = body.string(b"-c\0true\0").string(b"/tmp").u64(1024).u32(0);
    body = body.u32(1000).u32(100);
    if version >= 2 {
        body = body.u32(0).u32(0).u32(0).u64(0).u64(0);
    }
    if version >= 3 {
        body = body.string(b"A=b\0");
    }
    if version >= 4 {
        body = body.u64(2).u64(2).string(CGROUPS);
    }
    if version >= 5 {
        body = body.string(b"/");
    }
    if version >= 9 {
        // when its pid namespace began, terminal, login id, writable, three sets of capabilities, what came later
        body = body.u64(0).u32(34816).u32(500).u8(1).u64(1).u64(2).u64(3);
        body = body.u8(1).u64(42).u64(43).u64(44).u8(0).u8(0).u64(6);
        return body.bytes(b"what a later version adds").sized();
    }
    body.0
}

/// Cgroups of a process in a container.
pub(super) const CGROUPS: &[u8] =
    b"cpuset=/docker/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\0";
