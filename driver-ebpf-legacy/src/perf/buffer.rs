//! The perf buffer of one CPU, as its reader sees it (perf_event_open(2), "mmap layout").

use std::io;
use std::mem::offset_of;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};

use driver_api::event::Header;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

use super::{open, page_size};

/// `data_head` in `struct perf_event_mmap_page` (include/uapi/linux/perf_event.h); `data_tail` follows.
const DATA_HEAD: usize = 1024;
const DATA_TAIL: usize = 1032;
const RECORD_LOST: u32 = 2;
const RECORD_SAMPLE: u32 = 9;
/// `struct perf_event_header`, and the sample's length behind it.
const RECORD_HEAD: u64 = 8;
const SAMPLE_HEAD: u64 = 12;

/// A mapped buffer and how far it has been read.
#[derive(Debug)]
pub(super) struct Buffer {
    base: NonNull<u8>,
    page: usize,
    pub(super) size: usize,
    /// How far it has been read.
    pub(super) at: u64,
    published: u64,
    /// Its end at the first and at the second look.
    pub(super) first: u64,
    pub(super) second: u64,
    /// Bytes of the sample at `at`, and of its record.
    sample: usize,
    record: u64,
    pub(super) lost: u64,
    event: OwnedFd,
}

// SAFETY: the mapping belongs to this value alone and stays where it is until it is dropped.
unsafe impl Send for Buffer {}

impl Buffer {
    /// Opens the output of a CPU, with `size` bytes for its data, and makes it the place in `map` where
    /// the programs find it. Its reader is woken when `watermark` bytes have been written.
    pub(super) fn new(
        map: BorrowedFd<'_>,
        cpu: u32,
        size: usize,
        watermark: u32,
    ) -> io::Result<Self> {
        let event = open::open(cpu, watermark)?;
        let page = page_size();
        let len = NonZeroUsize::new(page + size).ok_or(nix::Error::EINVAL)?;
        let prot = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping where the kernel likes; it is unmapped in drop alone.
        let base = unsafe { mmap(None, len, prot, MapFlags::MAP_SHARED, &event, 0) }?.cast::<u8>();
        let buffer = Self {
            base,
            page,
            size,
            at: 0,
            published: 0,
            first: 0,
            second: 0,
            sample: 0,
            record: 0,
            lost: 0,
            event,
        };
        open::connect(map, cpu, &buffer.event)?;
        Ok(buffer)
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        // SAFETY: `at` is DATA_HEAD or DATA_TAIL: aligned, within the first page, which lives as long as self.
        unsafe { self.base.add(at).cast::<AtomicU64>().as_ref() }
    }

    /// How far it has been written.
    pub(super) fn head(&self) -> u64 {
        self.word(DATA_HEAD).load(Ordering::Acquire)
    }

    /// Lets the kernel write again where everything has been read.
    pub(super) fn publish(&mut self) {
        if self.at != self.published {
            self.word(DATA_TAIL).store(self.at, Ordering::Release);
            self.published = self.at;
        }
    }

    /// Where a position lies in the data: their size is a power of two.
    fn offset(&self, at: u64) -> usize {
        usize::try_from(at & (self.size as u64 - 1)).unwrap_or(0)
    }

    /// Four bytes before `second`. Records begin and end at multiples of 8: nothing at a multiple of 4 wraps.
    fn half(&self, at: u64) -> u32 {
        let at = self.offset(at & !3);
        // SAFETY: aligned, and within the data pages; the kernel does not write before `data_tail` has passed it.
        unsafe { self.base.add(self.page + at).cast::<u32>().read() }
    }

    fn word_at(&self, at: u64) -> u64 {
        let (low, high) = (self.half(at), self.half(at + 4));
        let [a, b, c, d] = low.to_ne_bytes();
        let [e, f, g, h] = high.to_ne_bytes();
        u64::from_ne_bytes([a, b, c, d, e, f, g, h])
    }

    /// Goes to the next sample before `second`, and returns its time.
    #[inline]
    pub(super) fn look(&mut self) -> Option<u64> {
        while self.at < self.second {
            let kind = self.half(self.at);
            // `misc` and `size`, 16 bits each
            let [_, _, low, high] = self.half(self.at + 4).to_ne_bytes();
            let record = u64::from(u16::from_ne_bytes([low, high]));
            if record < RECORD_HEAD || self.at + record > self.second {
                tracing::warn!(
                    "the perf buffer holds a record of {record} bytes: the rest of it is skipped"
                );
                self.at = self.second;
                self.lost += 1;
                return None;
            }
            match kind {
                RECORD_SAMPLE if record >= SAMPLE_HEAD => {
                    let sample = self.half(self.at + RECORD_HEAD) as usize;
                    self.record = record;
                    self.sample = sample.min(usize::try_from(record - SAMPLE_HEAD).unwrap_or(0));
                    let time = SAMPLE_HEAD + offset_of!(Header, time_ns) as u64;
                    return Some(self.word_at(self.at + time));
                }
                // header, id, how many
                RECORD_LOST => self.lost += self.word_at(self.at + 16),
                _ => {}
            }
            self.at += record;
        }
        None
    }

    /// The sample that was looked at: borrowed from the buffer, or joined if it wraps.
    #[inline]
    pub(super) fn sample<'a>(&'a self, joined: &'a mut Vec<u8>) -> &'a [u8] {
        let from = self.offset(self.at + SAMPLE_HEAD);
        let first = self.sample.min(self.size - from);
        // SAFETY: within the data pages; the kernel does not write there before `data_tail` has passed it,
        // which is after the borrow has ended.
        let whole =
            unsafe { std::slice::from_raw_parts(self.base.add(self.page + from).as_ptr(), first) };
        if first == self.sample {
            return whole;
        }
        joined.clear();
        joined.extend_from_slice(whole);
        joined.resize(self.sample, 0);
        // SAFETY: as above; a sample is smaller than the data, and `joined` has room for what is left of it.
        unsafe {
            let data = self.base.add(self.page).as_ptr();
            let rest = (self.sample - first).min(self.size);
            ptr::copy_nonoverlapping(data, joined.as_mut_ptr().add(first), rest);
        }
        joined
    }

    /// Goes behind the sample.
    #[inline]
    pub(super) fn pass(&mut self) {
        self.at += self.record;
        // An eighth of a buffer at the latest, so that producers do not starve behind a long batch.
        if self.at - self.published > self.size as u64 / 8 {
            self.publish();
        }
    }
}

impl AsFd for Buffer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: mapped in new with this length; nothing borrowed from it outlives self.
        let _ = unsafe { munmap(self.base.cast(), self.page + self.size) };
    }
}
