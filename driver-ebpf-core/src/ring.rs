//! The consumer's side of the rings (`bpf/ring.h`), one a CPU: events are borrowed from the mapping, never
//! copied, merged across CPUs in the order of time, and the programs learn of a whole batch at once.
//!
//! Waking a sleeper is the dearest thing a program could do, so it is rare: while events come, the reader
//! looks again by itself every [`NAP`], and only a reader that has found nothing asks for the bell.

use std::io;
use std::mem::offset_of;
use std::os::fd::{AsFd, BorrowedFd};
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::time::Duration;

use driver_api::driver::Flow;
use driver_api::event::Header;
use driver_api::event::layout::MAX;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::mapping::Mapping;

/// How long events gather at the most, once some have come: so late is an event at the most, if its reader
/// asks for it in time.
const NAP: Duration = Duration::from_millis(5);

const WRITING_BITS: u32 = 8;
const WRITING: u64 = 0xff;
/// In [`Control::bell_at`]: never.
const SILENT: u64 = u64::MAX;

/// `struct lanner_ring`.
#[derive(Debug)]
#[repr(C)]
struct Control {
    state: AtomicU64,
    published: AtomicU64,
    _unused: [u64; 6],
    consumed: AtomicU64,
    bell_at: AtomicU64,
    _unused_too: [u64; 6],
}

/// How the bytes of a CPU's ring are laid out: `chunks` of `chunk` bytes, both powers of two.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    pub(crate) cpus: usize,
    pub(crate) chunks: usize,
    pub(crate) chunk: usize,
}

impl Layout {
    /// The largest chunk; arrays of old kernels have values of at most 4 MiB.
    const CHUNK_MOST: usize = 1 << 20;

    /// For so many CPUs, each with `size` bytes, a power of two; fewer where that would be out of reason.
    pub(crate) fn new(cpus: usize, size: usize) -> Self {
        let mut size = size;
        while size > 1 << 16 && size.saturating_mul(cpus) > 1 << 30 {
            size /= 2;
        }
        let chunk = size.min(Self::CHUNK_MOST);
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

    /// Bytes of a CPU's ring.
    pub(crate) fn size(&self) -> usize {
        self.chunks * self.chunk
    }
}

/// The rings of all CPUs.
#[derive(Debug)]
pub(crate) struct Rings {
    rings: Vec<Ring>,
    bell: Bell,
    gathering: bool,
}

impl Rings {
    /// Maps the arrays `rings` and `chunks` and the ring buffer `bell`.
    pub(crate) fn new(
        layout: Layout,
        rings: BorrowedFd<'_>,
        chunks: BorrowedFd<'_>,
        bell: BorrowedFd<'_>,
    ) -> io::Result<Self> {
        let page = page_size();
        let controls = (layout.cpus * size_of::<Control>()).next_multiple_of(page);
        let controls = Arc::new(Mapping::writable(rings, controls)?);
        let bytes = (layout.values() * layout.value()).next_multiple_of(page);
        let bytes = Arc::new(Mapping::readable(chunks, bytes, 0)?);
        let rings = (0..layout.cpus)
            .map(|cpu| Ring {
                controls: controls.clone(),
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
            bell: Bell::new(bell, page)?,
            gathering: false,
        })
    }

    /// Bytes that wait.
    pub(crate) fn pending(&self) -> u64 {
        self.rings.iter().map(|ring| ring.end() - ring.at).sum()
    }

    /// Lets events gather, for [`NAP`] or `timeout` at the most, if some came a moment ago: a reader that
    /// comes back for each single one does more work than they are worth. A ring that fills ends it.
    pub(crate) fn gather(&mut self, timeout: Duration, bell: BorrowedFd<'_>) {
        if !std::mem::take(&mut self.gathering) {
            return;
        }
        let much = self.rings.iter().any(Ring::fills);
        if much {
            return;
        }
        for ring in &self.rings {
            let limit = ring.at + ring.layout.size() as u64 / 4;
            ring.control().bell_at.store(limit, Ordering::Relaxed);
        }
        fence(Ordering::SeqCst);
        if !self.rings.iter().any(Ring::fills) {
            self.bell.wait(bell, timeout.min(NAP));
        }
    }

    /// Waits until there is an event.
    pub(crate) fn wait(&self, timeout: Duration, bell: BorrowedFd<'_>) {
        if timeout.is_zero() {
            return;
        }
        for ring in &self.rings {
            ring.control().bell_at.store(ring.at, Ordering::Relaxed);
        }
        // a program sees the order to ring, or we see what it has written
        fence(Ordering::SeqCst);
        if self.pending() == 0 {
            self.bell.wait(bell, timeout);
        }
    }

    /// Hands what is there to `sink`, in the order of time, and returns how many.
    ///
    /// The ends of all rings are looked at twice. Whatever came before an event that lies within the first
    /// look was written before the event was, so the second look, which began after the first had seen the
    /// event, sees it in whichever ring it is. The merge takes from all that the second look saw, and stops
    /// at the first event that only the second look saw: of that one, predecessors may still be missing.
    pub(crate) fn drain(&mut self, sink: &mut dyn FnMut(&[u8]) -> Flow) -> usize {
        for ring in &mut self.rings {
            ring.first = ring.end();
        }
        let single = self.rings.len() == 1;
        for ring in &mut self.rings {
            ring.second = if single { ring.first } else { ring.end() };
            ring.look();
        }
        let mut count = 0;
        let mut flow = Flow::Continue;
        while flow == Flow::Continue {
            // the ring with the oldest event, and how far it may go before another one's turn
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
            count += ring.run(until, &mut flow, sink);
        }
        self.rings.iter_mut().for_each(Ring::publish);
        self.gathering = count > 0;
        count
    }
}

/// The ring of one CPU.
#[derive(Debug)]
struct Ring {
    controls: Arc<Mapping>,
    bytes: Arc<Mapping>,
    layout: Layout,
    cpu: usize,
    /// How far it has been read, and how far the programs know of it.
    at: u64,
    published: u64,
    /// Its end at the first and at the second look.
    first: u64,
    second: u64,
    /// The time of the event at `at`, or of an older one that is later: see `reserve` in `bpf/ring.h`.
    time: u64,
}

impl Ring {
    fn control(&self) -> &Control {
        // SAFETY: the array has an entry for each CPU, and the mapping lives as long as self; all fields
        // that anyone writes are atomic.
        unsafe {
            self.controls
                .base()
                .cast::<Control>()
                .add(self.cpu)
                .as_ref()
        }
    }

    /// Up to here every record is finished.
    fn end(&self) -> u64 {
        let control = self.control();
        let state = control.state.load(Ordering::Acquire);
        let end = if state & WRITING == 0 {
            state >> WRITING_BITS
        } else {
            control.published.load(Ordering::Acquire)
        };
        end.max(self.second).max(self.at)
    }

    /// Whether a quarter of it waits.
    fn fills(&self) -> bool {
        self.end() - self.at > self.layout.size() as u64 / 4
    }

    /// Lets the programs write again where everything has been read.
    fn publish(&mut self) {
        if self.at != self.published {
            self.control().consumed.store(self.at, Ordering::Release);
            self.published = self.at;
        }
    }

    /// The bytes from position `at` on, to where its chunk's value ends.
    fn bytes(&self, at: u64) -> &[u8] {
        let at = usize::try_from(at & (self.layout.size() as u64 - 1)).unwrap_or(0);
        let (chunk, offset) = (at / self.layout.chunk, at % self.layout.chunk);
        let value = (self.cpu * self.layout.chunks + chunk) * self.layout.value();
        let len = self.layout.value() - offset;
        // SAFETY: the value lies within the array, which is mapped as long as self lives; the programs do
        // not write to what is finished before `consumed` has passed it, which is after the borrow, and of
        // what lies behind it nothing is read.
        unsafe { slice::from_raw_parts(self.bytes.base().add(value + offset).as_ptr(), len) }
    }

    /// The record at `at`: its length, and whether it is an event.
    fn record(&self) -> Option<(usize, bool, u64)> {
        let bytes = self.bytes(self.at);
        let (head, _) = bytes.split_at_checked(size_of::<Header>())?;
        let word = |at: usize| {
            head.get(at..at + 8)
                .and_then(|word| word.try_into().ok())
                .map_or(0, u64::from_ne_bytes)
        };
        let first = word(0);
        let len = (first & u64::from(u32::MAX)) as usize;
        let left = self.second - self.at;
        if !(8..=MAX * 2).contains(&len) || !len.is_multiple_of(8) || len as u64 > left {
            return None;
        }
        let event = (first >> 32) & 0xff != 0 && len <= bytes.len();
        Some((len, event, word(offset_of!(Header, time_ns))))
    }

    /// Goes to the next event before `second`, and learns its time.
    fn look(&mut self) {
        while self.at < self.second {
            match self.record() {
                Some((_, true, time)) => {
                    self.time = self.time.max(time);
                    return;
                }
                Some((len, false, _)) => self.at += len as u64,
                None => {
                    tracing::warn!("a ring holds what is no record: the rest of it is skipped");
                    self.at = self.second;
                }
            }
        }
    }

    /// Hands over the events up to that time and to `first`.
    fn run(&mut self, until: u64, flow: &mut Flow, sink: &mut dyn FnMut(&[u8]) -> Flow) -> usize {
        let mut count = 0;
        while *flow == Flow::Continue && self.at < self.first {
            let Some((len, true, time)) = self.record() else {
                self.look();
                continue;
            };
            self.time = self.time.max(time);
            if self.time > until {
                break;
            }
            *flow = sink(self.bytes(self.at).get(..len).unwrap_or_default());
            count += 1;
            self.at += len as u64;
            // An eighth at the latest, so that programs do not starve behind a long batch.
            if self.at - self.published > self.layout.size() as u64 / 8 {
                self.publish();
            }
        }
        self.look();
        count
    }
}

/// A BPF ring buffer that never holds anything (kernel/bpf/ringbuf.c): it is there to be waited for.
#[derive(Debug)]
struct Bell {
    consumer: Mapping,
    producer: Mapping,
}

impl Bell {
    fn new(map: BorrowedFd<'_>, page: usize) -> io::Result<Self> {
        Ok(Self {
            consumer: Mapping::writable(map, page)?,
            producer: Mapping::readable(map, page, page)?,
        })
    }

    fn position(mapping: &Mapping) -> &AtomicU64 {
        // SAFETY: the position is the first word of the page, which lives as long as the mapping.
        unsafe { mapping.base().cast::<AtomicU64>().as_ref() }
    }

    /// Waits until it rings, and takes note.
    fn wait(&self, bell: BorrowedFd<'_>, timeout: Duration) {
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        // A signal, or nothing in time, is no error: the caller polls again.
        let _ = poll(&mut [PollFd::new(bell.as_fd(), PollFlags::POLLIN)], timeout);
        let rung = Self::position(&self.producer).load(Ordering::Acquire);
        Self::position(&self.consumer).store(rung, Ordering::Release);
    }
}

fn page_size() -> usize {
    nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)
        .ok()
        .flatten()
        .and_then(|n| usize::try_from(n).ok())
        .unwrap_or(4096)
}

/// Quiets the bells of rings whose reader goes away.
impl Drop for Ring {
    fn drop(&mut self) {
        self.control().bell_at.store(SILENT, Ordering::Relaxed);
    }
}
