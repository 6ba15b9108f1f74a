//! The events of one CPU, as their reader sees them: a perf buffer (perf_event_open(2), "MMAP layout") of batches and
//! single events, and after it the batch that is still being filled.

use std::io;
use std::mem::offset_of;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};

use driver_api::event::Header;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

use super::batch::{self, Batches, Mark};
use super::page_size;
use crate::sys;

/// The offset of `data_head` in `struct perf_event_mmap_page` (include/uapi/linux/perf_event.h). `data_tail` follows it.
const DATA_HEAD: usize = 1024;
const DATA_TAIL: usize = 1032;
/// `PERF_RECORD_LOST` and `PERF_RECORD_SAMPLE`.
const RECORD_LOST: u32 = 2;
const RECORD_SAMPLE: u32 = 9;
/// The size of `struct perf_event_header`.
const RECORD_HEAD: u64 = 8;
/// The same, with the sample's length that follows it.
const SAMPLE_HEAD: u64 = 12;
/// The offset of the time in an event.
const TIME_AT: usize = offset_of!(Header, time_ns);

/// Where the next event is.
#[derive(Debug, Clone, Copy)]
enum Next {
    /// There is none.
    None,
    /// At this position of the ring.
    Ring(u64),
    /// In the batch that is being filled, at this offset of its data.
    Batch(usize),
}

/// How far a CPU's events went at one moment.
#[derive(Debug, Clone, Copy, Default)]
struct Snapshot {
    /// The ring's end.
    end: u64,
    /// The mark of the batch that was being filled.
    mark: Mark,
}

/// A CPU's events: those in its ring, which is a mapped perf buffer, and then those in the batch that is being filled.
#[derive(Debug)]
pub(super) struct Buffer {
    pub(super) cpu: u32,
    base: NonNull<u8>,
    page: usize,
    pub(super) size: usize,
    /// The position of the record that is being read.
    at: u64,
    /// The position up to which the kernel may write again.
    published: u64,
    first: Snapshot,
    second: Snapshot,
    /// The number of the batch that was read last, in the ring or where it is filled, and the bytes read of it.
    number: u32,
    read: usize,
    /// A copy of the batch that is being filled.
    filling: Vec<u8>,
    /// Whether `second` describes that copy.
    filling_valid: bool,
    next: Next,
    /// The length of the next event.
    len: usize,
    /// The length of its record, if the event is alone in it; otherwise 0.
    record: u64,
    /// Events that were read from batches.
    batched: u64,
    /// Events of batches that were lost.
    missed: u64,
    /// Records that found no room.
    lost_records: u64,
    /// Batches among them.
    lost_batches: u64,
    event: OwnedFd,
}

// SAFETY: only this value uses the mapping, whose address is the same in every thread.
unsafe impl Send for Buffer {}

impl Buffer {
    /// Opens the output of a CPU, with `size` bytes for its data, and puts it into `map`, where the programs find it. Its
    /// reader is woken when `watermark` bytes have been written.
    pub(super) fn new(
        map: BorrowedFd<'_>,
        cpu: u32,
        size: usize,
        watermark: u32,
    ) -> io::Result<Self> {
        let event = sys::open_output(cpu, watermark)?;
        let page = page_size();
        let len = NonZeroUsize::new(page + size).ok_or(nix::Error::EINVAL)?;
        let prot = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address that the kernel chooses. Only drop() unmaps it.
        let base = unsafe { mmap(None, len, prot, MapFlags::MAP_SHARED, &event, 0) }?.cast::<u8>();
        let buffer = Self {
            cpu,
            base,
            page,
            size,
            at: 0,
            published: 0,
            first: Snapshot::default(),
            second: Snapshot::default(),
            number: 0,
            read: 0,
            filling: Vec::new(),
            filling_valid: false,
            next: Next::None,
            len: 0,
            record: 0,
            batched: 0,
            missed: 0,
            lost_records: 0,
            lost_batches: 0,
            event,
        };
        sys::connect(map, cpu, &buffer.event)?;
        Ok(buffer)
    }

    /// `data_head` or `data_tail`, by its offset.
    fn position(&self, at: usize) -> &AtomicU64 {
        // SAFETY: `at` is DATA_HEAD or DATA_TAIL: aligned, and within the first page, which lives as long as self.
        unsafe { self.base.add(at).cast::<AtomicU64>().as_ref() }
    }

    /// The position up to which the ring has been written.
    fn head(&self) -> u64 {
        self.position(DATA_HEAD).load(Ordering::Acquire)
    }

    /// Bytes that wait in the ring.
    pub(super) fn waiting(&self) -> u64 {
        self.head().saturating_sub(self.at)
    }

    /// Bytes that wait in the batch that is being filled, if this is its mark.
    pub(super) fn gathered(&self, mark: Mark) -> usize {
        if mark.number() == self.number {
            mark.fill().saturating_sub(self.read)
        } else {
            mark.fill()
        }
    }

    /// Events that found no room, as far as the kernel has reported them. It reports them with the next event that
    /// finds room.
    pub(super) fn lost(&self) -> u64 {
        // a lost batch counts as the events that were in it
        self.missed + self.lost_records.saturating_sub(self.lost_batches)
    }

    /// Takes the first snapshot.
    pub(super) fn take_first_snapshot(&mut self, mark: Mark) {
        self.first = Snapshot {
            end: self.head(),
            mark,
        };
        self.filling_valid = false;
    }

    /// Copies the batch that is being filled. `mark` was read after the first snapshot.
    pub(super) fn fetch(&mut self, batches: &Batches, mark: Mark, scratch: &mut Vec<u8>) {
        self.second.mark = mark;
        self.filling_valid = false;
        if self.gathered(mark) > 0
            && let Some(bytes) = batches.read(self.cpu, scratch)
        {
            let bytes = bytes.get(..batch::HEAD + mark.fill()).unwrap_or(&[]);
            self.filling.clear();
            self.filling.extend_from_slice(bytes);
            self.filling_valid = true;
        }
    }

    /// Completes the second snapshot, goes to the next event, and returns its time. `mark` was read after the copy was
    /// made. If its number is another one, the batch has gone into the ring meanwhile, and the copy may be a mixture of
    /// two batches.
    pub(super) fn take_second_snapshot(&mut self, mark: Mark) -> Option<u64> {
        self.filling_valid &= mark.number() == self.second.mark.number();
        self.second.end = self.head();
        self.advance()
    }

    /// Whether the next event is in the first snapshot.
    #[inline]
    pub(super) fn in_first_snapshot(&self) -> bool {
        let first = &self.first;
        match self.next {
            Next::None => false,
            Next::Ring(_) => self.at < first.end,
            Next::Batch(at) => self.number == first.mark.number() && at < first.mark.fill(),
        }
    }

    /// Lets the kernel overwrite what has been read.
    pub(super) fn publish(&mut self) {
        if self.at != self.published {
            self.position(DATA_TAIL).store(self.at, Ordering::Release);
            self.published = self.at;
        }
    }

    /// The offset of a position in the data, whose size is a power of two.
    fn offset(&self, at: u64) -> usize {
        usize::try_from(at & (self.size as u64 - 1)).unwrap_or(0)
    }

    /// Four bytes at a position before the end of the second snapshot. The position is a multiple of 4, so they do not
    /// wrap.
    fn u32_at(&self, at: u64) -> u32 {
        let at = self.offset(at & !3);
        // SAFETY: aligned, and within the data pages. The kernel does not write there before `data_tail` has passed it.
        unsafe { self.base.add(self.page + at).cast::<u32>().read() }
    }

    /// Eight bytes, which may wrap.
    fn u64_at(&self, at: u64) -> u64 {
        let (low, high) = (self.u32_at(at), self.u32_at(at + 4));
        let [a, b, c, d] = low.to_ne_bytes();
        let [e, f, g, h] = high.to_ne_bytes();
        u64::from_ne_bytes([a, b, c, d, e, f, g, h])
    }

    /// Goes to the next event of the second snapshot, and returns its time.
    #[inline]
    pub(super) fn advance(&mut self) -> Option<u64> {
        self.next = Next::None;
        while self.at < self.second.end {
            let kind = self.u32_at(self.at);
            // `misc` and `size` have 16 bits each
            let [_, _, low, high] = self.u32_at(self.at + 4).to_ne_bytes();
            let record = u64::from(u16::from_ne_bytes([low, high]));
            if record < RECORD_HEAD || self.at + record > self.second.end {
                self.skip_damaged("a record", record);
                self.at = self.second.end;
                break;
            }
            if kind == RECORD_SAMPLE && record > SAMPLE_HEAD + batch::HEAD as u64 {
                if let Some(at) = self.next_in_record(record) {
                    return Some(self.u64_at(at + TIME_AT as u64));
                }
            } else if kind == RECORD_LOST {
                // after the header and an id
                self.lost_records += self.u64_at(self.at + 16);
            }
            self.at += record;
        }
        self.next_in_filling()
    }

    /// Reports and counts a record or batch with an impossible length.
    fn skip_damaged(&mut self, what: &str, len: u64) {
        tracing::warn!("a perf buffer holds {what} of {len} bytes: the rest of it is skipped");
        self.lost_records += 1;
    }

    /// The position of the next event in the record at `at`, which has this length.
    #[inline]
    fn next_in_record(&mut self, record: u64) -> Option<u64> {
        let sample = self.u32_at(self.at + RECORD_HEAD) as usize;
        let sample = sample.min(usize::try_from(record - SAMPLE_HEAD).unwrap_or(0));
        let begin = self.at + SAMPLE_HEAD;
        if self.u32_at(begin) != 0 {
            // a single event: it begins with its length, a batch with 0
            self.next = Next::Ring(begin);
            self.len = sample;
            self.record = record;
            return Some(begin);
        }
        self.enter_batch(self.u32_at(begin + 4), self.u64_at(begin + 8));
        // the kernel pads samples, by less than an event's header
        let rest = sample.saturating_sub(batch::HEAD + self.read);
        if rest < size_of::<Header>() {
            return None;
        }
        let at = begin + (batch::HEAD + self.read) as u64;
        let len = self.u32_at(at) as usize;
        if len < size_of::<Header>() || len > rest {
            self.skip_damaged("a batch with an event", len as u64);
            return None;
        }
        self.next = Next::Ring(at);
        self.len = len;
        self.record = 0;
        Some(at)
    }

    /// Goes to the next event of the batch that is being filled, and returns its time.
    fn next_in_filling(&mut self) -> Option<u64> {
        let mark = self.second.mark;
        // after it was copied, this batch and later ones may have come through the ring
        let ahead = mark.number().wrapping_sub(self.number);
        if !self.filling_valid || ahead > u32::MAX / 2 || self.gathered(mark) == 0 {
            return None;
        }
        let number = |bytes: Option<&[u8]>| bytes?.try_into().ok().map(u64::from_ne_bytes);
        let before = number(self.filling.get(8..batch::HEAD))?;
        self.enter_batch(mark.number(), before);
        let end = batch::HEAD + mark.fill();
        let event = self.filling.get(batch::HEAD + self.read..end)?;
        let len = u32::from_ne_bytes(event.get(..4)?.try_into().ok()?) as usize;
        let time = number(event.get(TIME_AT..TIME_AT + 8))?;
        if len < size_of::<Header>() || len > event.len() {
            self.skip_damaged("a batch with an event", len as u64);
            self.filling_valid = false;
            return None;
        }
        self.next = Next::Batch(self.read);
        self.len = len;
        Some(time)
    }

    /// Begins or continues to read a batch. `before`, the number of events in earlier batches, shows whether batches
    /// were lost.
    #[inline]
    fn enter_batch(&mut self, number: u32, before: u64) {
        if number != self.number {
            self.lost_batches += u64::from(number.wrapping_sub(self.number).wrapping_sub(1));
            self.missed = before.saturating_sub(self.batched);
            self.number = number;
            self.read = 0;
        }
    }

    /// The next event: borrowed, or copied to `joined` if it wraps.
    #[inline]
    pub(super) fn event<'a>(&'a self, joined: &'a mut Vec<u8>) -> &'a [u8] {
        let at = match self.next {
            Next::None => return &[],
            Next::Ring(at) => at,
            Next::Batch(at) => {
                let at = batch::HEAD + at;
                return self.filling.get(at..at + self.len).unwrap_or(&[]);
            }
        };
        let from = self.offset(at);
        let first = self.len.min(self.size - from);
        let whole =
            // SAFETY: within the data pages. The kernel does not write there before `data_tail` has passed it, which
            // happens after the borrow has ended.
            unsafe { std::slice::from_raw_parts(self.base.add(self.page + from).as_ptr(), first) };
        if first == self.len {
            return whole;
        }
        joined.clear();
        joined.extend_from_slice(whole);
        joined.resize(self.len, 0);
        // SAFETY: as above; at most `size` bytes are read, and `joined` has room for the rest of the event.
        unsafe {
            let data = self.base.add(self.page).as_ptr();
            let rest = (self.len - first).min(self.size);
            ptr::copy_nonoverlapping(data, joined.as_mut_ptr().add(first), rest);
        }
        joined
    }

    /// Skips the event that has been read.
    #[inline]
    pub(super) fn skip(&mut self) {
        match self.next {
            Next::None => {}
            Next::Ring(_) if self.record > 0 => self.at += self.record,
            Next::Ring(_) | Next::Batch(_) => {
                self.read += self.len;
                self.batched += 1;
            }
        }
        // at the latest after an eighth of a buffer, so that a long drain does not make the programs lose events
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
        // SAFETY: new() mapped it with this length, and nothing borrowed from it outlives self.
        let _ = unsafe { munmap(self.base.cast(), self.page + self.size) };
    }
}
