//! A mapping of a BPF map's memory.

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr::NonNull;

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

/// Shared memory that is unmapped when it is dropped.
#[derive(Debug)]
pub(crate) struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping stays where it is until it is dropped; what is done with its bytes is up to whoever
// makes references from its base.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// The first `len` bytes, to be read and written.
    pub(crate) fn writable(map: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        Self::new(map, len, 0, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE)
    }

    /// `len` bytes from `offset` on, to be read alone.
    pub(crate) fn readable(map: BorrowedFd<'_>, len: usize, offset: usize) -> io::Result<Self> {
        Self::new(map, len, offset, ProtFlags::PROT_READ)
    }

    fn new(map: BorrowedFd<'_>, len: usize, offset: usize, prot: ProtFlags) -> io::Result<Self> {
        let size = NonZeroUsize::new(len).ok_or(nix::Error::EINVAL)?;
        let offset = i64::try_from(offset).map_err(|_| nix::Error::EINVAL)?;
        // SAFETY: a new mapping where the kernel likes; it is unmapped in drop alone.
        let base = unsafe { mmap(None, size, prot, MapFlags::MAP_SHARED, map.as_fd(), offset) }?;
        Ok(Self {
            base: base.cast(),
            len,
        })
    }

    /// Where it begins.
    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped in new with this length; whoever borrows from it keeps it.
        let _ = unsafe { munmap(self.base.cast(), self.len) };
    }
}
