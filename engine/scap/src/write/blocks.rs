//! Blocks, and the header of an event. A block has its length at both ends.

use super::super::blocks::{ORDER, SECTION};
use super::super::table::EventType;

/// Types of blocks (`scap_savefile.h` in falcosecurity/libs), those that are written today.
pub(super) const MACHINE: u32 = 0x201;
pub(super) const PROCESSES: u32 = 0x215;
pub(super) const DESCRIPTORS: u32 = 0x218;
pub(super) const INTERFACES: u32 = 0x219;
pub(super) const USERS: u32 = 0x220;
const EVENT: u32 = 0x216;
const EVENT_WITH_FLAGS: u32 = 0x217;
const LARGE_EVENT: u32 = 0x221;
const LARGE_EVENT_WITH_FLAGS: u32 = 0x222;

/// The most bytes of one parameter whose length has 16 bits. A reader has a buffer of 64 KiB for a block.
const MAX_PARAM: usize = 60_000;

/// Who an event is about, and when it happened.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub(super) time_ns: u64,
    pub(super) tid: u32,
    pub(super) cpu: u16,
    /// The event is needed for the state alone.
    pub(super) state_only: bool,
}

/// Appends little-endian numbers and strings to a block that is being written.
#[derive(Debug)]
pub(super) struct Block<'a> {
    out: &'a mut Vec<u8>,
    /// Where the block begins.
    at: usize,
}

impl<'a> Block<'a> {
    pub(super) fn begin(out: &'a mut Vec<u8>, kind: u32) -> Self {
        let at = out.len();
        out.extend(kind.to_le_bytes());
        out.extend([0; 4]);
        Self { out, at }
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.out.extend_from_slice(bytes);
        self
    }

    pub(super) fn u8(&mut self, value: u8) -> &mut Self {
        self.bytes(&[value])
    }

    pub(super) fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    pub(super) fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    pub(super) fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// A string after its length, without its NUL: at most its first `max` bytes.
    pub(super) fn string(&mut self, text: &[u8], max: usize) -> &mut Self {
        let text = &text[..text.len().min(max).min(usize::from(u16::MAX))];
        self.u16(u16::try_from(text.len()).unwrap_or(0)).bytes(text)
    }

    /// An entry of a list, behind its length, which counts itself. Returns that length.
    pub(super) fn entry(&mut self, write: impl FnOnce(&mut Self)) -> usize {
        let at = self.out.len();
        self.u32(0);
        write(self);
        let len = self.out.len() - at;
        let bytes = u32::try_from(len).unwrap_or(0).to_le_bytes();
        self.out[at..at + 4].copy_from_slice(&bytes);
        len
    }

    /// Pads the block, and writes its length at both ends.
    pub(super) fn end(self) {
        let len = (self.out.len() - self.at).next_multiple_of(4) + 4;
        self.out.resize(self.at + len - 4, 0);
        let len = u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes();
        self.out.extend(len);
        self.out[self.at + 4..self.at + 8].copy_from_slice(&len);
    }

    /// The first block of a capture.
    pub(super) fn section(out: &mut Vec<u8>) {
        /// The version of the format since 2015; what has been added since then is told by lengths.
        const VERSION: (u16, u16) = (1, 2);
        let mut block = Block::begin(out, SECTION);
        block.u32(ORDER).u16(VERSION.0).u16(VERSION.1).u64(u64::MAX);
        block.end();
    }

    /// An event.
    pub(super) fn event(out: &mut Vec<u8>, head: Head, kind: &EventType, params: &[Vec<u8>]) {
        /// Bytes of an event's header.
        const HEADER: usize = 26;
        /// In the flags of a block: the event is needed for the state alone.
        const STATE_ONLY: u32 = 1;
        let block = match (kind.large, head.state_only) {
            (false, false) => EVENT,
            (false, true) => EVENT_WITH_FLAGS,
            (true, false) => LARGE_EVENT,
            (true, true) => LARGE_EVENT_WITH_FLAGS,
        };
        let mut block = Block::begin(out, block);
        block.u16(head.cpu);
        if head.state_only {
            block.u32(STATE_ONLY);
        }
        let each = if kind.large { 4 } else { 2 };
        let fits = |param: &Vec<u8>| {
            let most = if kind.large { usize::MAX } else { MAX_PARAM };
            param.len().min(most)
        };
        let inner: usize = params.iter().map(|param| each + fits(param)).sum();
        block
            .u64(head.time_ns)
            .u64(head.tid.into())
            .u32(u32::try_from(HEADER + inner).unwrap_or(u32::MAX))
            .u16(kind.number)
            .u32(u32::try_from(params.len()).unwrap_or(0));
        for param in params {
            let len = fits(param);
            if kind.large {
                block.u32(u32::try_from(len).unwrap_or(0));
            } else {
                block.u16(u16::try_from(len).unwrap_or(0));
            }
        }
        for param in params {
            block.bytes(&param[..fits(param)]);
        }
        block.end();
    }
}
