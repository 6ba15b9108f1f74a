//! Recordings: the events of a capture in a file, and a capture that replays them. With a recording, rules give the
//! same result for real events every time, also on a host without a driver.
//!
//! | file | holds |
//! |---|---|
//! | `write` | writes a recording |
//! | `replay` | replays it |
//! | `ring`, `cache` | keeps the latest events in memory; asks the processor for that memory in time |
//! | `script` | makes events from the descriptions in a rule test |
//!
//! A file is a header (`Head`) followed by events, in the bytes that the driver delivered (`driver-api/bpf/event.h`).
//! Each event begins with its length. A length of 0 marks the end: a recording without it was cut off. The first events
//! make the state at the start ([`Inspector::synthesize`](inspect::Inspector::synthesize)); they are marked as unselected,
//! so that rules do not see them. Numbers are in the byte order of the recording machine.
//!
//! A recording also has the users and groups of the recording host, and what runtimes said about its containers, as events
//! with one fact each.

mod cache;
mod replay;
mod ring;
pub mod script;
mod write;

use driver_api::event::layout;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

pub use replay::{Replay, ReplayError};
pub use ring::{Ring, Window};
pub use write::Writer;

/// The first bytes of a recording.
const MAGIC: [u8; 7] = *b"lanner\x00";

/// The version of the file's own layout, which follows them.
const VERSION: u8 = 1;

/// In [`Head::has`]: the file says what runtimes answered about containers, also that they know nothing of one.
const CONTAINERS: u32 = 1;

/// In [`Head::has`]: events say how long their calls took, where it was known.
const TIMES: u32 = 2;

/// What is in the place of an event's length at the end of a recording.
const END: u32 = 0;

/// The header of a recording.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Head {
    magic: [u8; 8],
    /// [`layout::VERSION`] of the events.
    layout: u32,
    /// Bits that say what the file has. Readers skip those that they do not know.
    has: u32,
    /// Wall clock minus `CLOCK_MONOTONIC` on the recording host, in nanoseconds.
    clock_offset: i64,
}

impl Head {
    fn new(clock_offset: i64) -> Self {
        Self {
            magic: {
                let [a, b, c, d, e, f, g] = MAGIC;
                [a, b, c, d, e, f, g, VERSION]
            },
            layout: layout::VERSION.into(),
            has: CONTAINERS,
            clock_offset,
        }
    }
}

#[cfg(test)]
mod tests;
