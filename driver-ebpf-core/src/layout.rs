//! What the programs and user space share in memory. `bpf/core_layout.h` says the same in C; it is generated from this
//! file (`make header`).

use std::sync::atomic::AtomicU64;

use zerocopy::{Immutable, IntoBytes};

/// Settings, fixed before the programs are loaded.
#[derive(Debug, IntoBytes, Immutable)]
#[repr(C)]
pub struct Settings {
    /// lanner's own process id: its calls are never captured.
    pub self_tgid: u32,
    /// The number of execve, for an exec whose entry was not seen.
    pub execve_nr: u32,
    /// 1: capture only the threads in the map `followed`.
    pub tree: u32,
    /// Chunks of a CPU's ring, a power of two.
    pub chunks: u32,
    /// Bytes of a chunk, as a power of two.
    pub chunk_shift: u32,
    /// 1: entries are seen as late as the scheduler's tracepoints.
    pub late: u32,
    /// 1: events say how long their calls took.
    pub times: u32,
}

/// The state of one CPU's ring. Its halves are a cache line each: the programs write one, user space the other.
/// Positions count bytes since the beginning, and never wrap.
#[derive(Debug)]
#[repr(C)]
pub struct RingState {
    /// The end of what is reserved, shifted by `WRITING_BITS`, and the number of records that are being written.
    pub state: AtomicU64,
    /// A position before which every record is finished, for as long as records are being written.
    pub published: AtomicU64,
    /// Fills the cache line.
    pub unused: [u64; 6],
    /// Every record before this position has been read.
    pub consumed: AtomicU64,
    /// Wake the reader when the end is behind this position.
    pub wake_at: AtomicU64,
    /// Fills the cache line.
    pub unused_too: [u64; 6],
}

/// The bits of `state` that count the records being written.
pub const WRITING_BITS: u32 = 8;
/// The largest count of records being written.
pub const WRITING_MASK: u64 = 0xff;
/// In `wake_at`: never.
pub const WAKE_NEVER: u64 = u64::MAX;

/// What follows a record that could not be shortened. It begins as an event does, with its length in bytes, but its
/// version is 0.
#[derive(Debug)]
#[repr(C)]
pub struct Gap {
    /// Bytes of the gap, with this header.
    pub len: u32,
    /// 0.
    pub version: u32,
}

/// Places in the map `tails` of the programs that only a tail call reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Tail {
    /// Delivers an exec that failed.
    Exec = 0,
    /// Takes one message of an array.
    Messages = 1,
    /// Delivers a call with facts about directories.
    Directories = 2,
}
