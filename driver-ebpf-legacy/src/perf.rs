//! The consumer's side of the perf buffers, one a CPU (perf_event_open(2), "mmap layout"): events are
//! borrowed from the mapping, merged across CPUs in the order of time, and only one that wraps is copied.
//!
//! aya opens the buffers and keeps them; its reader takes one event at a time and cannot look ahead, which
//! merging needs, so they are mapped a second time here.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::mem::offset_of;
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aya::maps::MapData;
use aya::maps::perf::PerfEventArrayBuffer;
use driver_api::driver::Flow;
use driver_api::event::Header;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

/// `data_head` in `struct perf_event_mmap_page` (include/uapi/linux/perf_event.h); `data_tail` follows.
const DATA_HEAD: usize = 1024;
const DATA_TAIL: usize = 1032;
const RECORD_LOST: u32 = 2;
const RECORD_SAMPLE: u32 = 9;
/// `struct perf_event_header`, and the sample's length behind it.
const RECORD_HEAD: u64 = 8;
const SAMPLE_HEAD: u64 = 12;

/// The perf buffers of all CPUs.
#[derive(Debug)]
pub(crate) struct Perf {
    buffers: Vec<Buffer>,
    /// The next event of each buffer that has one: its time, its buffer.
    heads: BinaryHeap<Reverse<(u64, usize)>>,
    joined: Vec<u8>,
}

impl Perf {
    /// Maps these buffers, each with `size` bytes of data.
    pub(crate) fn new(opened: Vec<PerfEventArrayBuffer<MapData>>, size: usize) -> io::Result<Self> {
        let buffers = opened
            .into_iter()
            .map(|buffer| Buffer::new(buffer, size))
            .collect::<io::Result<Vec<_>>>()?;
        Ok(Self {
            heads: BinaryHeap::with_capacity(buffers.len()),
            buffers,
            joined: Vec::new(),
        })
    }

    /// Bytes that wait.
    pub(crate) fn pending(&self) -> u64 {
        self.buffers
            .iter()
            .map(|buffer| buffer.head().saturating_sub(buffer.at))
            .sum()
    }

    /// Bytes there are.
    pub(crate) fn capacity(&self) -> u64 {
        self.buffers.iter().map(|buffer| buffer.size as u64).sum()
    }

    /// Events that the kernel says found no room. It says so with the next that finds some.
    pub(crate) fn lost(&self) -> u64 {
        self.buffers.iter().map(|buffer| buffer.lost).sum()
    }

    /// Waits until something may be there.
    pub(crate) fn wait(&self, timeout: Duration) {
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        let mut fds: Vec<_> = self
            .buffers
            .iter()
            .map(|b| PollFd::new(b.opened.as_fd(), PollFlags::POLLIN))
            .collect();
        // A signal, or nothing in time, is no error: the caller polls again.
        let _ = poll(&mut fds, timeout);
    }

    /// Hands what is there to `sink`, in the order of time, and returns how many.
    ///
    /// The ends of all buffers are looked at twice. Whatever came before an event that lies within the
    /// first look was written before the event was, so the second look, which began after the first had
    /// seen the event, sees it in whichever buffer it is. The merge takes from all that the second look
    /// saw, and stops at the first event that only the second look saw: of that one, predecessors may
    /// still be missing. Nothing is delayed by a clock, and an event waits for the next call at most.
    pub(crate) fn drain(&mut self, sink: &mut dyn FnMut(&[u8]) -> Flow) -> usize {
        for buffer in &mut self.buffers {
            buffer.first = buffer.head();
        }
        self.heads.clear();
        for (at, buffer) in self.buffers.iter_mut().enumerate() {
            buffer.second = buffer.head();
            if let Some(time) = buffer.look() {
                self.heads.push(Reverse((time, at)));
            }
        }
        let mut count = 0;
        while let Some(mut head) = self.heads.peek_mut() {
            let at = head.0.1;
            let buffer = &mut self.buffers[at];
            if buffer.at >= buffer.first {
                break;
            }
            let flow = sink(buffer.sample(&mut self.joined));
            count += 1;
            buffer.pass();
            match buffer.look() {
                Some(time) => *head = Reverse((time, at)),
                None => drop(std::collections::binary_heap::PeekMut::pop(head)),
            }
            if flow == Flow::Stop {
                break;
            }
        }
        self.buffers.iter_mut().for_each(Buffer::publish);
        count
    }
}

/// The buffer of one CPU.
#[derive(Debug)]
struct Buffer {
    base: NonNull<u8>,
    page: usize,
    size: usize,
    /// How far it has been read.
    at: u64,
    published: u64,
    /// Its end at the first and at the second look.
    first: u64,
    second: u64,
    /// Bytes of the sample at `at`, and of its record; looked at already, if not 0.
    sample: usize,
    record: u64,
    lost: u64,
    opened: Opened,
}

/// Keeps the perf event open. Its own mapping is not used.
struct Opened(PerfEventArrayBuffer<MapData>);

impl Opened {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Opened")
    }
}

// SAFETY: the mapping belongs to this value alone and stays where it is until it is dropped.
unsafe impl Send for Buffer {}

impl Buffer {
    fn new(opened: PerfEventArrayBuffer<MapData>, size: usize) -> io::Result<Self> {
        let page = page_size();
        let len = NonZeroUsize::new(page + size).ok_or(nix::Error::EINVAL)?;
        let prot = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping where the kernel likes; it is unmapped in drop alone.
        let base =
            unsafe { mmap(None, len, prot, MapFlags::MAP_SHARED, opened.as_fd(), 0) }?.cast::<u8>();
        Ok(Self {
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
            opened: Opened(opened),
        })
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        // SAFETY: `at` is DATA_HEAD or DATA_TAIL: aligned, within the first page, which lives as long as self.
        unsafe { self.base.add(at).cast::<AtomicU64>().as_ref() }
    }

    fn head(&self) -> u64 {
        self.word(DATA_HEAD).load(Ordering::Acquire)
    }

    /// Lets the kernel write again where everything has been read.
    fn publish(&mut self) {
        if self.at != self.published {
            self.word(DATA_TAIL).store(self.at, Ordering::Release);
            self.published = self.at;
        }
    }

    /// Copies bytes that lie before `second`.
    fn copy(&self, from: u64, to: &mut [u8]) {
        // the size is a power of two, and the position is taken modulo it
        let from = usize::try_from(from & (self.size as u64 - 1)).unwrap_or(0);
        let len = to.len().min(self.size);
        let first = len.min(self.size - from);
        // SAFETY: both pieces lie within the data pages, `to` holds them, and the kernel does not write
        // before `data_tail` has passed them.
        unsafe {
            let data = self.base.add(self.page).as_ptr();
            ptr::copy_nonoverlapping(data.add(from), to.as_mut_ptr(), first);
            ptr::copy_nonoverlapping(data, to.as_mut_ptr().add(first), len - first);
        }
    }

    fn number<const N: usize>(&self, at: u64) -> [u8; N] {
        let mut bytes = [0; N];
        self.copy(at, &mut bytes);
        bytes
    }

    /// Goes to the next sample before `second`, and returns its time.
    fn look(&mut self) -> Option<u64> {
        while self.at < self.second {
            let kind = u32::from_ne_bytes(self.number(self.at));
            let record = u64::from(u16::from_ne_bytes(self.number(self.at + 6)));
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
                    let sample = u32::from_ne_bytes(self.number(self.at + RECORD_HEAD));
                    self.record = record;
                    self.sample =
                        (sample as usize).min(usize::try_from(record - SAMPLE_HEAD).unwrap_or(0));
                    let time = self.at + SAMPLE_HEAD + offset_of!(Header, time_ns) as u64;
                    return Some(u64::from_ne_bytes(self.number(time)));
                }
                // header, id, how many
                RECORD_LOST => self.lost += u64::from_ne_bytes(self.number(self.at + 16)),
                _ => {}
            }
            self.at += record;
        }
        None
    }

    /// The sample that was looked at: borrowed from the buffer, or joined if it wraps.
    fn sample<'a>(&'a self, joined: &'a mut Vec<u8>) -> &'a [u8] {
        let from = usize::try_from((self.at + SAMPLE_HEAD) & (self.size as u64 - 1)).unwrap_or(0);
        if from + self.sample <= self.size {
            // SAFETY: within the data pages; the kernel does not write there before `data_tail` has passed
            // it, which is after the borrow has ended.
            return unsafe {
                std::slice::from_raw_parts(self.base.add(self.page + from).as_ptr(), self.sample)
            };
        }
        joined.resize(self.sample, 0);
        self.copy(self.at + SAMPLE_HEAD, joined);
        joined
    }

    /// Goes behind the sample.
    fn pass(&mut self) {
        self.at += self.record;
        // An eighth of a buffer at the latest, so that producers do not starve behind a long batch.
        if self.at - self.published > self.size as u64 / 8 {
            self.publish();
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: mapped in new with this length; nothing borrowed from it outlives self.
        let _ = unsafe { munmap(self.base.cast(), self.page + self.size) };
    }
}

/// Bytes of a page.
pub(crate) fn page_size() -> usize {
    let size = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)
        .ok()
        .flatten();
    size.and_then(|n| usize::try_from(n).ok()).unwrap_or(4096)
}
