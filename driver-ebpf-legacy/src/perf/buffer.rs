//! The events of one CPU, as their reader sees them: a perf buffer (perf_event_open(2), "mmap layout") of
//! batches and single events, and behind it the batch that still gathers.

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

/// `data_head` in `struct perf_event_mmap_page` (include/uapi/linux/perf_event.h); `data_tail` follows.
const DATA_HEAD: usize = 1024;
const DATA_TAIL: usize = 1032;
const RECORD_LOST: u32 = 2;
const RECORD_SAMPLE: u32 = 9;
/// `struct perf_event_header`, and the sample's length behind it.
const RECORD_HEAD: u64 = 8;
const SAMPLE_HEAD: u64 = 12;
const TIME_AT: usize = offset_of!(Header, time_ns);

/// Where the event that comes next lies.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// Nowhere.
    None,
    /// At this position of the ring.
    Ring(u64),
    /// In the batch that still gathers, at this place of its data.
    Batch(usize),
}

/// A CPU's events: those in its ring, a mapped perf buffer, and then those in the batch that gathers.
#[derive(Debug)]
pub(super) struct Buffer {
    pub(super) cpu: u32,
    base: NonNull<u8>,
    page: usize,
    pub(super) size: usize,
    /// The record that is being read.
    pub(super) at: u64,
    published: u64,
    /// The ring's end and the batch's mark at the first look, and at the second.
    first: (u64, Mark),
    second: (u64, Mark),
    /// The batch that was read last, in the ring or where it gathers, and how far.
    number: u32,
    read: usize,
    /// What gathers, if `second` holds good for it.
    gathering: Vec<u8>,
    gathers: bool,
    /// The event that comes next, its length, and that of its record, if it is alone in it.
    place: Place,
    len: usize,
    record: u64,
    /// Events taken out of batches, and events that the batches say there were before them.
    batched: u64,
    missed: u64,
    /// Records that found no room, and batches among them.
    lost_records: u64,
    lost_batches: u64,
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
        let event = sys::open_output(cpu, watermark)?;
        let page = page_size();
        let len = NonZeroUsize::new(page + size).ok_or(nix::Error::EINVAL)?;
        let prot = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping where the kernel likes; it is unmapped in drop alone.
        let base = unsafe { mmap(None, len, prot, MapFlags::MAP_SHARED, &event, 0) }?.cast::<u8>();
        let buffer = Self {
            cpu,
            base,
            page,
            size,
            at: 0,
            published: 0,
            first: (0, Mark::default()),
            second: (0, Mark::default()),
            number: 0,
            read: 0,
            gathering: Vec::new(),
            gathers: false,
            place: Place::None,
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

    fn word(&self, at: usize) -> &AtomicU64 {
        // SAFETY: `at` is DATA_HEAD or DATA_TAIL: aligned, within the first page, which lives as long as self.
        unsafe { self.base.add(at).cast::<AtomicU64>().as_ref() }
    }

    /// How far the ring has been written.
    pub(super) fn head(&self) -> u64 {
        self.word(DATA_HEAD).load(Ordering::Acquire)
    }

    /// Bytes in the ring that wait.
    pub(super) fn waiting(&self) -> u64 {
        self.head().saturating_sub(self.at)
    }

    /// Bytes that wait in the batch that gathers, if this is its mark.
    pub(super) fn gathered(&self, mark: Mark) -> usize {
        if mark.number() == self.number {
            mark.fill().saturating_sub(self.read)
        } else {
            mark.fill()
        }
    }

    /// Events that the kernel says found no room. It says so with the next that finds some.
    pub(super) fn lost(&self) -> u64 {
        // batches are counted by what was in them
        self.missed + self.lost_records.saturating_sub(self.lost_batches)
    }

    /// The first look.
    pub(super) fn look_first(&mut self, mark: Mark) {
        self.first = (self.head(), mark);
        self.gathers = false;
    }

    /// Fetches what gathers. `mark` was read after the first look.
    pub(super) fn fetch(&mut self, batches: &Batches, mark: Mark, scratch: &mut Vec<u8>) {
        self.second.1 = mark;
        self.gathers = false;
        if self.gathered(mark) > 0
            && let Some(bytes) = batches.read(self.cpu, scratch)
        {
            // no more than there is
            let bytes = bytes.get(..batch::HEAD + mark.fill()).unwrap_or(&[]);
            self.gathering.clear();
            self.gathering.extend_from_slice(bytes);
            self.gathers = true;
        }
    }

    /// Ends the second look. `mark` was read after the fetch: a batch of another number has been put into
    /// the ring meanwhile, and what was fetched may be a mixture.
    pub(super) fn look_again(&mut self, mark: Mark) -> Option<u64> {
        self.gathers &= mark.number() == self.second.1.number();
        self.second.0 = self.head();
        self.look()
    }

    /// Whether the next event was there at the first look.
    #[inline]
    pub(super) fn seen_first(&self) -> bool {
        match self.place {
            Place::None => false,
            Place::Ring(_) => self.at < self.first.0,
            Place::Batch(at) => self.number == self.first.1.number() && at < self.first.1.fill(),
        }
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

    /// Goes to the next event that the second look saw, and returns its time.
    #[inline]
    pub(super) fn look(&mut self) -> Option<u64> {
        self.place = Place::None;
        while self.at < self.second.0 {
            let kind = self.half(self.at);
            // `misc` and `size`, 16 bits each
            let [_, _, low, high] = self.half(self.at + 4).to_ne_bytes();
            let record = u64::from(u16::from_ne_bytes([low, high]));
            if record < RECORD_HEAD || self.at + record > self.second.0 {
                self.damaged("a record", record);
                self.at = self.second.0;
                break;
            }
            if kind == RECORD_SAMPLE && record > SAMPLE_HEAD + batch::HEAD as u64 {
                if let Some(at) = self.look_into(record) {
                    return Some(self.word_at(at + TIME_AT as u64));
                }
            } else if kind == RECORD_LOST {
                // header, id, how many
                self.lost_records += self.word_at(self.at + 16);
            }
            self.at += record;
        }
        self.look_at_gathering()
    }

    fn damaged(&mut self, what: &str, len: u64) {
        tracing::warn!("a perf buffer holds {what} of {len} bytes: what comes with it is skipped");
        self.lost_records += 1;
    }

    /// Where the next event of this record is, if there is one.
    #[inline]
    fn look_into(&mut self, record: u64) -> Option<u64> {
        let sample = self.half(self.at + RECORD_HEAD) as usize;
        let sample = sample.min(usize::try_from(record - SAMPLE_HEAD).unwrap_or(0));
        let begin = self.at + SAMPLE_HEAD;
        if self.half(begin) != 0 {
            // an event alone
            self.place = Place::Ring(begin);
            self.len = sample;
            self.record = record;
            return Some(begin);
        }
        self.enter(self.half(begin + 4), self.word_at(begin + 8));
        // the kernel pads samples, but an event is not smaller than its header
        let rest = sample.saturating_sub(batch::HEAD + self.read);
        if rest < size_of::<Header>() {
            return None;
        }
        let at = begin + (batch::HEAD + self.read) as u64;
        let len = self.half(at) as usize;
        if len < size_of::<Header>() || len > rest {
            self.damaged("a batch with an event", len as u64);
            return None;
        }
        self.place = Place::Ring(at);
        self.len = len;
        self.record = 0;
        Some(at)
    }

    /// The next event of the batch that gathers.
    fn look_at_gathering(&mut self) -> Option<u64> {
        let mark = self.second.1;
        // since it was fetched it may have come through the ring, and later ones, too
        let ahead = mark.number().wrapping_sub(self.number);
        if !self.gathers || ahead > u32::MAX / 2 || self.gathered(mark) == 0 {
            return None;
        }
        let number = |bytes: Option<&[u8]>| bytes?.try_into().ok().map(u64::from_ne_bytes);
        let before = number(self.gathering.get(8..batch::HEAD))?;
        self.enter(mark.number(), before);
        let end = batch::HEAD + mark.fill();
        let event = self.gathering.get(batch::HEAD + self.read..end)?;
        let len = u32::from_ne_bytes(event.get(..4)?.try_into().ok()?) as usize;
        let time = number(event.get(TIME_AT..TIME_AT + 8))?;
        if len < size_of::<Header>() || len > event.len() {
            self.damaged("a batch with an event", len as u64);
            self.gathers = false;
            return None;
        }
        self.place = Place::Batch(self.read);
        self.len = len;
        Some(time)
    }

    /// A batch is being read: of a new one, `before` says whether others have been lost.
    #[inline]
    fn enter(&mut self, number: u32, before: u64) {
        if number != self.number {
            self.lost_batches += u64::from(number.wrapping_sub(self.number).wrapping_sub(1));
            self.missed = before.saturating_sub(self.batched);
            self.number = number;
            self.read = 0;
        }
    }

    /// The event that comes next: borrowed, or joined if it wraps.
    #[inline]
    pub(super) fn event<'a>(&'a self, joined: &'a mut Vec<u8>) -> &'a [u8] {
        let at = match self.place {
            Place::None => return &[],
            Place::Ring(at) => at,
            Place::Batch(at) => {
                let at = batch::HEAD + at;
                return self.gathering.get(at..at + self.len).unwrap_or(&[]);
            }
        };
        let from = self.offset(at);
        let first = self.len.min(self.size - from);
        // SAFETY: within the data pages; the kernel does not write there before `data_tail` has passed it,
        // which is after the borrow has ended.
        let whole =
            unsafe { std::slice::from_raw_parts(self.base.add(self.page + from).as_ptr(), first) };
        if first == self.len {
            return whole;
        }
        joined.clear();
        joined.extend_from_slice(whole);
        joined.resize(self.len, 0);
        // SAFETY: as above; a record is smaller than the data, and `joined` has room for what is left of it.
        unsafe {
            let data = self.base.add(self.page).as_ptr();
            let rest = (self.len - first).min(self.size);
            ptr::copy_nonoverlapping(data, joined.as_mut_ptr().add(first), rest);
        }
        joined
    }

    /// Goes behind the event.
    #[inline]
    pub(super) fn pass(&mut self) {
        match self.place {
            Place::Ring(_) if self.record > 0 => {
                self.at += self.record;
            }
            _ => {
                self.read += self.len;
                self.batched += 1;
            }
        }
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
