//! A mapping of a BPF map's memory, which programs in the kernel write while it is read here, or of a file.
//!
//! So nothing here hands out a reference to bytes that a program may still write: words are read as atomics, and a
//! slice covers the bytes of a finished record alone.

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::slice;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

/// Shared memory. Dropping it unmaps it.
#[derive(Debug)]
pub(crate) struct Mapping {
    base: NonNull<u8>,
    len: usize,
    writable: bool,
}

// SAFETY: the mapping stays at its address until it is dropped, and all access through `&self` is atomic, but for
// `slice`, whose caller promises that nothing writes.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the first `len` bytes, readable and writable.
    pub(crate) fn writable(map: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        let prot = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        Self::new(map, len, 0, prot, MapFlags::MAP_SHARED)
    }

    /// Maps `len` bytes from `offset`, readable.
    pub(crate) fn readable(map: BorrowedFd<'_>, len: usize, offset: usize) -> io::Result<Self> {
        Self::new(map, len, offset, ProtFlags::PROT_READ, MapFlags::MAP_SHARED)
    }

    /// Maps the first `len` bytes of a file, readable.
    pub(crate) fn private(file: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        Self::new(file, len, 0, ProtFlags::PROT_READ, MapFlags::MAP_PRIVATE)
    }

    fn new(
        map: BorrowedFd<'_>,
        len: usize,
        offset: usize,
        prot: ProtFlags,
        flags: MapFlags,
    ) -> io::Result<Self> {
        let size = NonZeroUsize::new(len).ok_or(nix::Error::EINVAL)?;
        let offset = i64::try_from(offset).map_err(|_| nix::Error::EINVAL)?;
        // SAFETY: a new mapping at an address that the kernel chooses; only drop unmaps it.
        let base = unsafe { mmap(None, size, prot, flags, map, offset) }?;
        Ok(Self {
            base: base.cast(),
            len,
            writable: prot.contains(ProtFlags::PROT_WRITE),
        })
    }

    /// Where the mapping begins.
    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// The 64-bit word at `offset`, a multiple of 8. `None` outside of the mapping.
    ///
    /// The load is relaxed, the only one that Rust allows on read-only memory (`std::sync::atomic`).
    pub(crate) fn word(&self, offset: usize) -> Option<u64> {
        Some(self.atomic(offset)?.load(Ordering::Relaxed))
    }

    /// Stores a 64-bit word at `offset`, a multiple of 8, after all that was read before. Does nothing outside of the
    /// mapping, or where it is not writable.
    pub(crate) fn store_release(&self, offset: usize, value: u64) {
        if self.writable
            && let Some(word) = self.atomic(offset)
        {
            word.store(value, Ordering::Release);
        }
    }

    fn atomic(&self, offset: usize) -> Option<&AtomicU64> {
        if !offset.is_multiple_of(8) || !self.holds(offset, 8) {
            return None;
        }
        // SAFETY: the word lies in the mapping and is aligned, as mappings begin at a page. It is accessed as an atomic
        // only, so a program may write it meanwhile.
        Some(unsafe { self.base.add(offset).cast::<AtomicU64>().as_ref() })
    }

    /// `len` bytes from `offset`. `None` if they are not all in the mapping.
    ///
    /// # Safety
    ///
    /// Nothing writes these bytes as long as the slice lives.
    pub(crate) unsafe fn slice(&self, offset: usize, len: usize) -> Option<&[u8]> {
        if !self.holds(offset, len) {
            return None;
        }
        // SAFETY: the bytes lie in the mapping, which lives as long as self; the caller promises the rest.
        Some(unsafe { slice::from_raw_parts(self.base.add(offset).as_ptr(), len) })
    }

    fn holds(&self, offset: usize, len: usize) -> bool {
        offset.checked_add(len).is_some_and(|end| end <= self.len)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: `new` mapped it with this length, and every borrow of it has ended.
        let _ = unsafe { munmap(self.base.cast(), self.len) };
    }
}
