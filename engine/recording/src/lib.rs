//! Recordings: the events of a capture in a file, and a capture that hands them out again. A recording makes
//! what rules say of real events reproducible, on a host that has no driver, too.
//!
//! A file is a [`Head`] and then events, one after the other, in the bytes that the driver delivered
//! (`driver-api/bpf/event.h`); each begins with its length. The first tell the state at the start
//! ([`Inspector::retell`](inspect::Inspector::retell)); they are marked as unselected, so that rules do not
//! see them. Numbers are in the byte order of the machine that recorded.
//!
//! A recording has no users: names of users are those of the host that replays it.

mod replay;
pub mod script;
mod write;

use driver_api::event::layout;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

pub use replay::{Replay, ReplayError};
pub use write::Writer;

/// What a recording begins with. The digit is the version of the file's own layout.
const MAGIC: [u8; 8] = *b"lanner\x00\x01";

/// The beginning of a recording.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Head {
    magic: [u8; 8],
    /// [`layout::VERSION`] of the events.
    layout: u32,
    reserved: u32,
    /// Wall clock less `CLOCK_MONOTONIC` on the host that recorded, in nanoseconds.
    clock_offset: i64,
}

impl Head {
    fn new(clock_offset: i64) -> Self {
        Self {
            magic: MAGIC,
            layout: layout::VERSION.into(),
            reserved: 0,
            clock_offset,
        }
    }
}

#[cfg(test)]
mod tests;
