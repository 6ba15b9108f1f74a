//! The consumer's side of a BPF ring buffer (kernel/bpf/ringbuf.c): events are borrowed from the
//! mapping, never copied, and the kernel learns of a whole batch at once.

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use driver_api::driver::Flow;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

/// Set in a record's length while its program still writes.
const BUSY: u32 = 1 << 31;
/// Set in a record's length when its program took it back.
const DISCARD: u32 = 1 << 30;
const HEAD: u64 = 8;

/// A mapped ring buffer with one consumer.
#[derive(Debug)]
pub(crate) struct Ring {
    consumer: NonNull<libc::c_void>,
    producer: NonNull<libc::c_void>,
    page: usize,
    size: usize,
}

// SAFETY: the mappings belong to this value alone and stay where they are until it is dropped.
unsafe impl Send for Ring {}

impl Ring {
    /// Maps the ring buffer `map` of `size` bytes.
    pub(crate) fn new(map: BorrowedFd<'_>, size: usize) -> io::Result<Self> {
        let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)?
            .and_then(|n| usize::try_from(n).ok())
            .unwrap_or(4096);
        let map_pages = |len: usize, prot, offset: usize| {
            let len = NonZeroUsize::new(len).ok_or(nix::Error::EINVAL)?;
            let offset = i64::try_from(offset).map_err(|_| nix::Error::EINVAL)?;
            // SAFETY: a new mapping where the kernel likes; it is unmapped in drop alone.
            unsafe { mmap(None, len, prot, MapFlags::MAP_SHARED, map.as_fd(), offset) }
        };
        let consumer = map_pages(page, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, 0)?;
        // The data are mapped twice in a row, so that a record never wraps.
        match map_pages(page + 2 * size, ProtFlags::PROT_READ, page) {
            Ok(producer) => Ok(Self {
                consumer,
                producer,
                page,
                size,
            }),
            Err(error) => {
                // SAFETY: mapped above with this length, and not used since.
                let _ = unsafe { munmap(consumer, page) };
                Err(error.into())
            }
        }
    }

    fn consumed(&self) -> &AtomicU64 {
        // SAFETY: the first word of the consumer page, which lives as long as self; the kernel reads it.
        unsafe { self.consumer.cast::<AtomicU64>().as_ref() }
    }

    fn produced(&self) -> &AtomicU64 {
        // SAFETY: the first word of the producer page, which lives as long as self; the kernel writes it.
        unsafe { self.producer.cast::<AtomicU64>().as_ref() }
    }

    /// Bytes that wait.
    pub(crate) fn pending(&self) -> u64 {
        self.produced().load(Ordering::Acquire) - self.consumed().load(Ordering::Relaxed)
    }

    /// Hands every finished record to `sink`, in order, and returns how many.
    pub(crate) fn drain(&mut self, sink: &mut dyn FnMut(&[u8]) -> Flow) -> usize {
        let mut at = self.consumed().load(Ordering::Relaxed);
        let mut count = 0;
        let mut flow = Flow::Continue;
        while flow == Flow::Continue && at < self.produced().load(Ordering::Acquire) {
            let offset = usize::try_from(at).unwrap_or(0) & (self.size - 1);
            // SAFETY: offset < size, and the data, mapped twice, begin a page behind the producer's position.
            let record = unsafe { self.producer.cast::<u8>().add(self.page + offset) };
            // SAFETY: records begin at multiples of 8; the kernel writes the length with a release.
            let len = unsafe { record.cast::<AtomicU32>().as_ref() }.load(Ordering::Acquire);
            if len & BUSY != 0 {
                break;
            }
            let bytes = len & !DISCARD;
            if len & DISCARD == 0 {
                let bytes = bytes as usize;
                // SAFETY: the record is finished, lies within the double mapping, and the kernel does not
                // touch it before the consumer's position has passed it, which is after the sink returned.
                let data = unsafe { std::slice::from_raw_parts(record.add(8).as_ptr(), bytes) };
                count += 1;
                flow = sink(data);
            }
            at += (u64::from(bytes) + HEAD).next_multiple_of(8);
            // Half a buffer at the latest, so that producers do not starve behind a long batch.
            if at - self.consumed().load(Ordering::Relaxed) > self.size as u64 / 8 {
                self.consumed().store(at, Ordering::Release);
            }
        }
        self.consumed().store(at, Ordering::SeqCst);
        count
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: mapped in new with these lengths; nothing borrowed from them outlives self.
        unsafe {
            let _ = munmap(self.consumer, self.page);
            let _ = munmap(self.producer, self.page + 2 * self.size);
        }
    }
}
