//! Batches that are still being filled. They are read where the programs write them (`slot.h`), so that no event waits
//! until its batch is full.

use std::fmt;
use std::os::fd::AsFd;
use std::sync::atomic::{Ordering, fence};

use aya::maps::{MapData, MapError};
use zerocopy::FromBytes;

/// The size of `struct batch_head`: zero (4 bytes), number (4), events in earlier batches (8).
pub(super) const HEAD: usize = 16;
/// The size of the data at the end of `struct slot`.
const DATA: usize = 45360;
/// Slots of each CPU (`SLOTS`). The first holds the batch.
pub(crate) const SLOTS: u32 = 4;

/// How far a batch has been filled: the word that the programs keep for each CPU (`marks` in `slot.h`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes)]
#[repr(transparent)]
pub(super) struct Mark(u64);

impl Mark {
    /// The number of the batch.
    pub(super) fn number(self) -> u32 {
        u32::try_from(self.0 >> 32).unwrap_or(0)
    }

    /// Bytes of events in it.
    pub(super) fn fill(self) -> usize {
        usize::from(u16::try_from(self.0 & 0xffff).unwrap_or(0))
    }
}

/// The batches of all CPUs, in the kernel.
pub(crate) struct Batches {
    slots: MapData,
    marks: MapData,
    cpus: usize,
    slot_size: usize,
}

impl fmt::Debug for Batches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batches")
            .field("cpus", &self.cpus)
            .finish_non_exhaustive()
    }
}

impl Batches {
    /// Batches in these maps, for this number of possible CPUs.
    pub(crate) fn new(slots: MapData, marks: MapData, cpus: u32) -> Result<Self, MapError> {
        Ok(Self {
            slot_size: slots.info()?.value_size() as usize,
            slots,
            marks,
            cpus: cpus as usize,
        })
    }

    /// Reads the marks of all CPUs.
    pub(super) fn read_marks(&self, marks: &mut Vec<Mark>) {
        marks.clear();
        marks.resize(self.cpus, Mark::default());
        // What was read before the marks stays before them, and what is read after them stays after. `store_order` is
        // the programs' side of this.
        fence(Ordering::Acquire);
        // SAFETY: an array per CPU with one word each, and `marks` has one for each possible CPU.
        if let Err(error) = unsafe { bpf_syscall::lookup(self.marks.fd().as_fd(), 0, marks) } {
            tracing::warn!("the marks of batches cannot be read: {error}");
        }
        fence(Ordering::Acquire);
    }

    /// Reads the batch of a CPU, head and data. The programs may overwrite it meanwhile.
    pub(super) fn read<'a>(&self, cpu: u32, bytes: &'a mut Vec<u8>) -> Option<&'a [u8]> {
        bytes.resize(self.slot_size, 0);
        // SAFETY: `slot_size` is the size of an element as the kernel says.
        unsafe { bpf_syscall::lookup(self.slots.fd().as_fd(), cpu * SLOTS, bytes) }.ok()?;
        bytes.get(self.slot_size.checked_sub(HEAD + DATA)?..)
    }
}
