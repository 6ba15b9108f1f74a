//! Batches that still gather: read where the programs write them (`slot.h`), so that no event waits for
//! its batch to fill.

use std::fmt;
use std::os::fd::AsFd;
use std::sync::atomic::{Ordering, fence};

use aya::maps::{MapData, MapError};
use zerocopy::FromBytes;

/// `struct batch_head`: nothing, number, events before.
pub(super) const HEAD: usize = 16;
/// The data of `struct slot`, which end it.
const DATA: usize = 45360;
/// Slots a CPU (`SLOTS`): the first is the batch.
pub(crate) const SLOTS: u32 = 4;

/// How far a batch has gathered: the word that the programs keep for each CPU.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes)]
#[repr(transparent)]
pub(super) struct Mark(u64);

impl Mark {
    pub(super) fn number(self) -> u32 {
        u32::try_from(self.0 >> 32).unwrap_or(0)
    }

    /// Bytes in it.
    pub(super) fn fill(self) -> usize {
        usize::from(u16::try_from(self.0 & 0xffff).unwrap_or(0))
    }
}

/// The batches of all CPUs, in the kernel.
pub(crate) struct Batches {
    data: MapData,
    marks: MapData,
    cpus: usize,
    size: usize,
}

impl fmt::Debug for Batches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batches")
            .field("cpus", &self.cpus)
            .finish_non_exhaustive()
    }
}

impl Batches {
    /// Of so many possible CPUs.
    pub(crate) fn new(data: MapData, marks: MapData, cpus: u32) -> Result<Self, MapError> {
        Ok(Self {
            size: data.info()?.value_size() as usize,
            data,
            marks,
            cpus: cpus as usize,
        })
    }

    /// Reads the marks of all CPUs.
    pub(super) fn marks(&self, to: &mut Vec<Mark>) {
        to.clear();
        to.resize(self.cpus, Mark::default());
        // what was read before the marks was read before them, and what is read behind them, behind: `store_order`
        // is the programs' side of it
        fence(Ordering::Acquire);
        // SAFETY: an array per CPU of words, and as many as there are possible CPUs.
        if let Err(error) = unsafe { bpf_syscall::lookup(self.marks.fd().as_fd(), 0, to) } {
            tracing::warn!("the marks of batches cannot be read: {error}");
        }
        fence(Ordering::Acquire);
    }

    /// Reads the batch of a CPU, head and data; the programs may be writing over it meanwhile.
    pub(super) fn read<'a>(&self, cpu: u32, to: &'a mut Vec<u8>) -> Option<&'a [u8]> {
        to.resize(self.size, 0);
        // SAFETY: an array of slots, and the kernel has said how large they are.
        unsafe { bpf_syscall::lookup(self.data.fd().as_fd(), cpu * SLOTS, to) }.ok()?;
        to.get(self.size.checked_sub(HEAD + DATA)?..)
    }
}
