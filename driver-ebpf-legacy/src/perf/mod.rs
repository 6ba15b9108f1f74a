//! The reader of the perf buffers, one for each CPU. Events are borrowed from the mapping and merged across CPUs in the
//! order of time. Only an event that wraps is copied.
//!
//! Waking the reader for each event would cost the program that makes the call more than everything else. A reader that
//! polls without a pause takes the cache line of the buffer's first page from the CPU that writes. So the kernel wakes
//! the reader when a buffer is a quarter full, and otherwise the reader looks every [`GATHER`]. An event waits at most
//! that long.

mod batch;
mod buffer;

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use aya::maps::MapData;
use driver_api::driver::Flow;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use batch::Mark;
pub(crate) use batch::{Batches, SLOTS};
use buffer::Buffer;

/// How long events gather before the reader takes them, unless a buffer fills earlier.
const GATHER: Duration = Duration::from_millis(5);

/// The size of the smallest buffer, in bytes of data: a few batches fit.
pub(crate) const MIN_SIZE: usize = 1 << 16;

/// Why a perf buffer cannot be opened.
#[derive(Debug)]
pub(crate) struct BufferError {
    pub(crate) cpu: u32,
    pub(crate) source: io::Error,
}

/// The perf buffers of all CPUs.
#[derive(Debug)]
pub(crate) struct Perf {
    buffers: Vec<Buffer>,
    /// The array of perf events. The kernel removes them from it when it is closed.
    _events: MapData,
    batches: Batches,
    marks: Vec<Mark>,
    /// The time of the next event in each buffer that has one, and the index of that buffer.
    heads: BinaryHeap<Reverse<(u64, usize)>>,
    /// Room for an event that wraps, and for a batch.
    joined: Vec<u8>,
    /// The reader does not wait longer when a buffer has this many bytes.
    full: u64,
    /// When events may be taken again.
    due: Cell<Instant>,
}

impl Perf {
    /// Opens a buffer of `size` bytes of data for each of these CPUs, and puts them into `events`, where the programs
    /// find them. If the kernel does not allow that much locked memory, the size is halved until it does.
    pub(crate) fn new(
        events: MapData,
        cpus: &[u32],
        mut size: usize,
        batches: Batches,
    ) -> Result<Self, BufferError> {
        let wanted = size;
        let buffers = loop {
            match open_buffers(events.fd().as_fd(), cpus, size) {
                Ok(buffers) => break buffers,
                // perf_mmap() in kernel/events/core.c answers EPERM
                Err(error)
                    if error.source.raw_os_error() == Some(libc::EPERM) && size > MIN_SIZE =>
                {
                    size /= 2;
                }
                Err(error) => return Err(error),
            }
        };
        if size < wanted {
            tracing::warn!(
                "the limit of locked memory allows {} KiB for each perf buffer instead of {} KiB",
                size / 1024,
                wanted / 1024
            );
        }
        Ok(Self {
            heads: BinaryHeap::with_capacity(buffers.len()),
            buffers,
            _events: events,
            batches,
            marks: Vec::new(),
            joined: Vec::new(),
            full: (size / 4) as u64,
            due: Cell::new(Instant::now()),
        })
    }

    /// Bytes that wait to be read.
    pub(crate) fn pending(&self) -> u64 {
        let in_rings: u64 = self.buffers.iter().map(Buffer::waiting).sum();
        in_rings + self.gathered()
    }

    /// Bytes that wait in batches that are still being filled.
    fn gathered(&self) -> u64 {
        let mut marks = Vec::new();
        self.batches.read_marks(&mut marks);
        let gathered = |buffer: &Buffer| buffer.gathered(mark_of(&marks, buffer)) as u64;
        self.buffers.iter().map(gathered).sum()
    }

    /// Bytes that all buffers can hold.
    pub(crate) fn capacity(&self) -> u64 {
        self.buffers.iter().map(|buffer| buffer.size as u64).sum()
    }

    /// Events that found no room, as far as the kernel has reported them. It reports them with the next event that
    /// finds room.
    pub(crate) fn lost(&self) -> u64 {
        self.buffers.iter().map(Buffer::lost).sum()
    }

    /// Waits until events have gathered, at most for `timeout`. The next drain takes whatever is there.
    pub(crate) fn wait(&self, timeout: Duration) {
        let begun = Instant::now();
        let mut fds: Vec<_> = self
            .buffers
            .iter()
            .map(|buffer| PollFd::new(buffer.as_fd(), PollFlags::POLLIN))
            .collect();
        loop {
            let now = Instant::now();
            let left = timeout.saturating_sub(now - begun);
            let most = self.buffers.iter().map(Buffer::waiting).max().unwrap_or(0);
            let slice = match self.due.get().saturating_duration_since(now) {
                Duration::ZERO if most > 0 || self.gathered() > 0 => break,
                Duration::ZERO => GATHER,
                early => early,
            };
            if left.is_zero() || most >= self.full {
                break;
            }
            // A signal is no error: the caller looks again.
            if ppoll(&mut fds, Some(TimeSpec::from(slice.min(left))), None).is_err() {
                break;
            }
        }
        self.due.set(begun);
    }

    /// Looks at what waits for the next drain. A look that follows the last drain within [`GATHER`] finds nothing, unless
    /// there was a wait between them.
    ///
    /// Two snapshots of all buffers' ends are taken. What happened before an event of the first snapshot was written
    /// before that event. The second snapshot began after the first had seen the event, so it has all that happened
    /// before it, in whichever buffer. The merge takes from what the second snapshot has, and stops at the first event
    /// that only the second has: earlier events than that one may still be missing. So no clock delays anything, and
    /// an event waits at most for the next call.
    pub(crate) fn look(&mut self) {
        self.heads.clear();
        if Instant::now() < self.due.get() {
            return;
        }
        self.batches.read_marks(&mut self.marks);
        for buffer in &mut self.buffers {
            buffer.take_first_snapshot(mark_of(&self.marks, buffer));
        }
        self.batches.read_marks(&mut self.marks);
        for buffer in &mut self.buffers {
            buffer.fetch(
                &self.batches,
                mark_of(&self.marks, buffer),
                &mut self.joined,
            );
        }
        self.batches.read_marks(&mut self.marks);
        for (at, buffer) in self.buffers.iter_mut().enumerate() {
            if let Some(time) = buffer.take_second_snapshot(mark_of(&self.marks, buffer)) {
                self.heads.push(Reverse((time, at)));
            }
        }
    }

    /// Hands the events that the last look saw to `sink` in the order of time, and returns their number. It ends at the
    /// first event before which others are missing.
    pub(crate) fn drain(&mut self, sink: &mut dyn FnMut(&[u8]) -> Flow) -> usize {
        if self.heads.is_empty() {
            return 0;
        }
        let mut count = 0;
        let mut flow = Flow::Continue;
        let mut misses = false;
        while flow == Flow::Continue
            && !misses
            && let Some(Reverse((_, at))) = self.heads.pop()
        {
            // takes from this buffer until another one has an earlier event
            let other = self.heads.peek().map_or(u64::MAX, |head| head.0.0);
            let buffer = &mut self.buffers[at];
            let ended = loop {
                if !buffer.in_first_snapshot() {
                    break true;
                }
                flow = sink(buffer.event(&mut self.joined));
                count += 1;
                buffer.skip();
                let lost = buffer.lost();
                let next = buffer.advance();
                misses = buffer.lost() > lost;
                match next {
                    _ if misses => break false,
                    Some(time) if time > other => {
                        self.heads.push(Reverse((time, at)));
                        break false;
                    }
                    Some(_) if flow == Flow::Continue => {}
                    _ => break false,
                }
            };
            if ended {
                break;
            }
        }
        self.buffers.iter_mut().for_each(Buffer::publish);
        self.heads.clear();
        if flow == Flow::Continue && !misses {
            self.due.set(Instant::now() + GATHER);
        }
        count
    }
}

/// Opens a buffer for each CPU. An error names the first CPU that it failed for.
fn open_buffers(
    events: BorrowedFd<'_>,
    cpus: &[u32],
    size: usize,
) -> Result<Vec<Buffer>, BufferError> {
    let watermark = u32::try_from(size / 4).unwrap_or(u32::MAX);
    cpus.iter()
        .map(|&cpu| {
            Buffer::new(events, cpu, size, watermark).map_err(|source| BufferError { cpu, source })
        })
        .collect()
}

fn mark_of(marks: &[Mark], buffer: &Buffer) -> Mark {
    marks.get(buffer.cpu as usize).copied().unwrap_or_default()
}

/// The size of a page, in bytes.
pub(crate) fn page_size() -> usize {
    let size = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)
        .ok()
        .flatten();
    size.and_then(|n| usize::try_from(n).ok()).unwrap_or(4096)
}
