//! The reading side of the rings that the programs write (`bpf/ring.h`), one for each CPU. Events are borrowed from
//! the mapping, never copied, and merged across CPUs in the order of time. The programs learn once for a whole batch
//! that they may write again.
//!
//! Waking a sleeping reader is the most expensive thing a program could do, so it is rare: while events come, the
//! reader looks again by itself every [`BATCH_TIME`], and only a reader that has found nothing asks to be woken.

use std::io;
use std::mem::offset_of;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use std::time::Duration;

use driver_api::driver::Flow;
use driver_api::event::Header;
use driver_api::event::layout::MAX;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::layout::{RingState, WAKE_NEVER, WRITING_BITS, WRITING_MASK};
use crate::mapping::Mapping;

/// How long events gather at most once some have come: a reader that polls in time gets each event at most this late.
const BATCH_TIME: Duration = Duration::from_millis(5);

/// How the bytes of a CPU's ring are laid out: `chunks` of `chunk` bytes, both powers of two.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RingLayout {
    pub(crate) cpus: usize,
    pub(crate) chunks: usize,
    pub(crate) chunk: usize,
}

impl RingLayout {
    /// The largest chunk in bytes: a value of an array has at most 4 MiB on old kernels.
    const MAX_CHUNK: usize = 1 << 20;
    /// Bytes of all rings together, unless each has its minimum of 64 KiB.
    const MAX_TOTAL: usize = 1 << 30;

    /// For this many CPUs with `size` bytes each, a power of two; with less where all rings together would exceed
    /// [`Self::MAX_TOTAL`].
    pub(crate) fn new(cpus: usize, size: usize) -> Self {
        let mut size = size;
        while size > 1 << 16 && size.saturating_mul(cpus) > Self::MAX_TOTAL {
            size /= 2;
        }
        let chunk = size.min(Self::MAX_CHUNK);
        Self {
            cpus,
            chunks: size / chunk,
            chunk,
        }
    }

    /// Bytes of a value of the array `chunks`: a record that begins in a chunk may reach behind it.
    pub(crate) fn value(&self) -> usize {
        self.chunk + MAX
    }

    /// Entries of the array `chunks`.
    pub(crate) fn values(&self) -> usize {
        self.cpus * self.chunks
    }

    /// Where a position of a CPU's ring is in the array `chunks`, and how many bytes its value has from there.
    pub(crate) fn place(&self, cpu: usize, at: u64) -> (usize, usize) {
        let at = usize::try_from(at & (self.size() as u64 - 1)).unwrap_or(0);
        let (chunk, offset) = (at / self.chunk, at % self.chunk);
        let value = (cpu * self.chunks + chunk) * self.value();
        (value + offset, self.value() - offset)
    }

    /// Bytes of a CPU's ring.
    pub(crate) fn size(&self) -> usize {
        self.chunks * self.chunk
    }
}

/// The rings of all CPUs.
#[derive(Debug)]
pub(crate) struct Rings {
    rings: Vec<Ring>,
    wakeup: Wakeup,
    gathering: bool,
}

impl Rings {
    /// Maps the arrays `rings` and `chunks`, and the ring buffer `wakeup`.
    ///
    /// # Errors
    ///
    /// The error of mmap(2).
    pub(crate) fn new(
        layout: RingLayout,
        rings: BorrowedFd<'_>,
        chunks: BorrowedFd<'_>,
        wakeup: BorrowedFd<'_>,
    ) -> io::Result<Self> {
        let page = page_size();
        let states = (layout.cpus * size_of::<RingState>()).next_multiple_of(page);
        let states = Arc::new(Mapping::writable(rings, states)?);
        let bytes = (layout.values() * layout.value()).next_multiple_of(page);
        let bytes = Arc::new(Mapping::readable(chunks, bytes, 0)?);
        let rings = (0..layout.cpus)
            .map(|cpu| Ring {
                states: states.clone(),
                bytes: bytes.clone(),
                layout,
                cpu,
                at: 0,
                published: 0,
                first: 0,
                second: 0,
                time: 0,
            })
            .collect();
        Ok(Self {
            rings,
            wakeup: Wakeup::new(wakeup, page)?,
            gathering: false,
        })
    }

    /// Bytes that wait.
    pub(crate) fn pending(&self) -> u64 {
        self.rings.iter().map(|ring| ring.end() - ring.at).sum()
    }

    /// If some events came a moment ago, lets more of them gather for [`BATCH_TIME`] or `timeout`, whichever is
    /// shorter: coming back for each single event costs the reader more than the event. A ring that fills ends the
    /// wait.
    pub(crate) fn gather(&mut self, timeout: Duration, wakeup: BorrowedFd<'_>) {
        if !std::mem::take(&mut self.gathering) {
            return;
        }
        if self.rings.iter().any(Ring::fills) {
            return;
        }
        for ring in &self.rings {
            let limit = ring.at + ring.layout.size() as u64 / 4;
            ring.state().wake_at.store(limit, Ordering::Relaxed);
        }
        fence(Ordering::SeqCst);
        if !self.rings.iter().any(Ring::fills) {
            self.wakeup.wait(wakeup, timeout.min(BATCH_TIME));
        }
    }

    /// Waits until there is an event, for `timeout` at most.
    pub(crate) fn wait(&self, timeout: Duration, wakeup: BorrowedFd<'_>) {
        if timeout.is_zero() {
            return;
        }
        for ring in &self.rings {
            ring.state().wake_at.store(ring.at, Ordering::Relaxed);
        }
        // Either a program sees that it has to wake us, or we see what it has written.
        fence(Ordering::SeqCst);
        if self.pending() == 0 {
            self.wakeup.wait(wakeup, timeout);
        }
    }

    /// Looks at what waits for the next drain.
    ///
    /// It looks at the ends of all rings twice. Whatever came before an event within the first look was written before
    /// that event. The second look begins after the first has seen the event, so it sees that predecessor in whichever
    /// ring it is. The merge in [`drain`](Self::drain) takes from all that the second look saw, and stops at the first event that only the second
    /// look saw, because predecessors of that one may still be missing.
    pub(crate) fn look(&mut self) {
        for ring in &mut self.rings {
            ring.first = ring.end();
        }
        let single = self.rings.len() == 1;
        for ring in &mut self.rings {
            ring.second = if single { ring.first } else { ring.end() };
            ring.find_event();
        }
    }

    /// Hands the events that the last look saw to `sink` in the order of time, and returns how many there were.
    pub(crate) fn drain(&mut self, sink: &mut dyn FnMut(&[u8]) -> Flow) -> usize {
        let mut count = 0;
        let mut flow = Flow::Continue;
        while flow == Flow::Continue {
            // the ring with the oldest event, and the time at which another ring's turn comes
            let (mut oldest, mut until) = (usize::MAX, u64::MAX);
            let mut time = u64::MAX;
            for (at, ring) in self.rings.iter().enumerate() {
                if ring.at >= ring.second {
                    continue;
                }
                if ring.time < time || oldest == usize::MAX {
                    until = time;
                    (oldest, time) = (at, ring.time);
                } else {
                    until = until.min(ring.time);
                }
            }
            let Some(ring) = self.rings.get_mut(oldest) else {
                break;
            };
            if ring.at >= ring.first {
                break;
            }
            count += ring.deliver(until, &mut flow, sink);
        }
        self.rings.iter_mut().for_each(Ring::publish);
        self.gathering = count > 0;
        count
    }
}

/// What lies at a position of a ring.
enum Record {
    Event {
        len: usize,
        time: u64,
    },
    /// Room that a program reserved and did not use.
    Gap {
        len: usize,
    },
}

/// The ring of one CPU. Positions count bytes since the beginning, and never wrap.
#[derive(Debug)]
struct Ring {
    states: Arc<Mapping>,
    bytes: Arc<Mapping>,
    layout: RingLayout,
    cpu: usize,
    /// How far we have read, and how far we have said so to the programs.
    at: u64,
    published: u64,
    /// The ring's end at the first and at the second look of a drain.
    first: u64,
    second: u64,
    /// The largest time up to and including the event at `at`: see `reserve` in `bpf/ring.h` for why a later record
    /// may have an earlier time.
    time: u64,
}

impl Ring {
    fn state(&self) -> &RingState {
        // SAFETY: the array has an entry for each CPU, and the mapping lives as long as self; every field that somebody
        // writes is atomic.
        unsafe {
            self.states
                .base()
                .cast::<RingState>()
                .add(self.cpu)
                .as_ref()
        }
    }

    /// Every record before this position is finished.
    fn end(&self) -> u64 {
        let shared = self.state();
        let state = shared.state.load(Ordering::Acquire);
        let end = if state & WRITING_MASK == 0 {
            state >> WRITING_BITS
        } else {
            shared.published.load(Ordering::Acquire)
        };
        end.max(self.second).max(self.at)
    }

    /// Whether more than a quarter of the ring waits.
    fn fills(&self) -> bool {
        self.end() - self.at > self.layout.size() as u64 / 4
    }

    /// Lets the programs reuse what has been read.
    fn publish(&mut self) {
        if self.at != self.published {
            self.state().consumed.store(self.at, Ordering::Release);
            self.published = self.at;
        }
    }

    /// The record at `at`. `None` if the bytes there are no record.
    fn record(&self) -> Option<Record> {
        let (offset, room) = self.layout.place(self.cpu, self.at);
        // `len` and `version` of the header, or of a gap
        let first = self.bytes.word(offset)?;
        let len = (first & u64::from(u32::MAX)) as usize;
        let left = self.second - self.at;
        if !(8..=MAX * 2).contains(&len) || !len.is_multiple_of(8) || len as u64 > left {
            return None;
        }
        let is_event = (first >> 32) & 0xff != 0 && len <= room;
        if !is_event {
            return Some(Record::Gap { len });
        }
        let time = self.bytes.word(offset + offset_of!(Header, time_ns))?;
        Some(Record::Event { len, time })
    }

    /// The bytes of the event at `at`.
    fn event(&self, len: usize) -> &[u8] {
        let (offset, _) = self.layout.place(self.cpu, self.at);
        // SAFETY: the record is finished, as it lies before `end`, and no program writes to it before `consumed` has
        // passed it, which `publish` does through `&mut self`, after this borrow.
        unsafe { self.bytes.slice(offset, len) }.unwrap_or_default()
    }

    /// Moves to the next event before `second`, and learns its time.
    fn find_event(&mut self) {
        while self.at < self.second {
            match self.record() {
                Some(Record::Event { time, .. }) => {
                    self.time = self.time.max(time);
                    return;
                }
                Some(Record::Gap { len }) => self.at += len as u64,
                None => {
                    tracing::warn!(
                        "the ring of CPU {} is corrupt: its waiting events are skipped",
                        self.cpu
                    );
                    self.at = self.second;
                }
            }
        }
    }

    /// Hands over the events up to the time `until` and the position `first`.
    fn deliver(
        &mut self,
        until: u64,
        flow: &mut Flow,
        sink: &mut dyn FnMut(&[u8]) -> Flow,
    ) -> usize {
        let mut count = 0;
        while *flow == Flow::Continue && self.at < self.first {
            let Some(Record::Event { len, time }) = self.record() else {
                self.find_event();
                continue;
            };
            self.time = self.time.max(time);
            if self.time > until {
                break;
            }
            *flow = sink(self.event(len));
            count += 1;
            self.at += len as u64;
            // at the latest after an eighth of the ring, so that programs do not run out of room behind a long batch
            if self.at - self.published > self.layout.size() as u64 / 8 {
                self.publish();
            }
        }
        self.find_event();
        count
    }
}

/// Asks for no more wake-ups, as the reader goes away.
impl Drop for Ring {
    fn drop(&mut self) {
        self.state().wake_at.store(WAKE_NEVER, Ordering::Relaxed);
    }
}

/// A BPF ring buffer that never holds anything (kernel/bpf/ringbuf.c): the reader sleeps on it.
#[derive(Debug)]
struct Wakeup {
    consumer: Mapping,
    producer: Mapping,
}

impl Wakeup {
    fn new(map: BorrowedFd<'_>, page: usize) -> io::Result<Self> {
        Ok(Self {
            consumer: Mapping::writable(map, page)?,
            producer: Mapping::readable(map, page, page)?,
        })
    }

    /// Waits for a wake-up, and acknowledges it.
    fn wait(&self, wakeup: BorrowedFd<'_>, timeout: Duration) {
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        // Neither a signal nor a timeout is an error: the caller polls again.
        let _ = poll(&mut [PollFd::new(wakeup, PollFlags::POLLIN)], timeout);
        // the position is the first word of the page on either side
        let written = self.producer.word(0).unwrap_or(0);
        fence(Ordering::Acquire);
        self.consumer.store_release(0, written);
    }
}

fn page_size() -> usize {
    nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)
        .ok()
        .flatten()
        .and_then(|n| usize::try_from(n).ok())
        .unwrap_or(4096)
}
