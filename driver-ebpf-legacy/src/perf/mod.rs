//! The consumer's side of the perf buffers, one a CPU: events are borrowed from the mapping, merged across
//! CPUs in the order of time, and only one that wraps is copied.
//!
//! A reader that is woken for each event costs the program that makes the call more than everything else,
//! and one that looks all the time takes the buffer's first page away from the CPU that writes. So the
//! kernel wakes us when a buffer is a quarter full, and otherwise we look every [`GATHER`]: that is how long
//! an event waits at the most.

mod batch;
mod buffer;

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use driver_api::driver::Flow;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use batch::Mark;
pub(crate) use batch::{Batches, SLOTS};
use buffer::Buffer;

/// How long events gather before they are taken together, unless a buffer fills earlier.
const GATHER: Duration = Duration::from_millis(5);

/// The smallest buffer, in bytes of data: a batch has to fit, and a few more.
pub(crate) const SMALLEST: usize = 1 << 16;

/// The perf buffers of all CPUs.
#[derive(Debug)]
pub(crate) struct Perf {
    buffers: Vec<Buffer>,
    batches: Batches,
    marks: Vec<Mark>,
    /// The next event of each buffer that has one: its time, its buffer.
    heads: BinaryHeap<Reverse<(u64, usize)>>,
    joined: Vec<u8>,
    /// A buffer with so many bytes is not left to gather more.
    full: u64,
    /// When events may be taken again.
    due: Cell<Instant>,
}

impl Perf {
    /// Buffers for these CPUs, with `size` bytes of data each, where the programs find them in `map`; with half of that,
    /// and so on, where the kernel allows no more memory.
    pub(crate) fn new(
        map: BorrowedFd<'_>,
        cpus: &[u32],
        mut size: usize,
        batches: Batches,
    ) -> Result<Self, (u32, io::Error)> {
        let wanted = size;
        let buffers = loop {
            match open_buffers(map, cpus, size) {
                Ok(buffers) => break buffers,
                // perf_mmap
                Err((_, error)) if error.raw_os_error() == Some(libc::EPERM) && size > SMALLEST => {
                    size /= 2;
                }
                Err(refused) => return Err(refused),
            }
        };
        if size < wanted {
            tracing::warn!(
                "the limit of locked memory leaves {} KiB for each perf buffer, instead of {} KiB",
                size / 1024,
                wanted / 1024
            );
        }
        Ok(Self {
            heads: BinaryHeap::with_capacity(buffers.len()),
            buffers,
            batches,
            marks: Vec::new(),
            joined: Vec::new(),
            full: (size / 4) as u64,
            due: Cell::new(Instant::now()),
        })
    }

    /// Bytes that wait.
    pub(crate) fn pending(&self) -> u64 {
        let in_rings: u64 = self.buffers.iter().map(Buffer::waiting).sum();
        in_rings + self.gathered()
    }

    /// Bytes that wait in batches that gather.
    fn gathered(&self) -> u64 {
        let mut marks = Vec::new();
        self.batches.marks(&mut marks);
        let gathered = |buffer: &Buffer| buffer.gathered(mark_of(&marks, buffer)) as u64;
        self.buffers.iter().map(gathered).sum()
    }

    /// Bytes there are.
    pub(crate) fn capacity(&self) -> u64 {
        self.buffers.iter().map(|buffer| buffer.size as u64).sum()
    }

    /// Events that the kernel says found no room. It says so with the next that finds some.
    pub(crate) fn lost(&self) -> u64 {
        self.buffers.iter().map(Buffer::lost).sum()
    }

    /// Waits until events have gathered, or so long. The next drain takes whatever is there.
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
            // A signal is no error: we look again, and so does the caller.
            if ppoll(&mut fds, Some(TimeSpec::from(slice.min(left))), None).is_err() {
                break;
            }
        }
        self.due.set(begun);
    }

    /// Hands what is there to `sink`, in the order of time, and returns how many. A drain that follows the
    /// last one too early takes nothing, unless there was a wait between them.
    ///
    /// The ends of all buffers are looked at twice. Whatever came before an event that lies within the
    /// first look was written before the event was, so the second look, which began after the first had
    /// seen the event, sees it in whichever buffer it is. The merge takes from all that the second look
    /// saw, and stops at the first event that only the second look saw: of that one, predecessors may
    /// still be missing. Nothing is delayed by a clock, and an event waits for the next call at most.
    pub(crate) fn drain(&mut self, sink: &mut dyn FnMut(&[u8]) -> Flow) -> usize {
        if Instant::now() < self.due.get() {
            return 0;
        }
        self.batches.marks(&mut self.marks);
        for buffer in &mut self.buffers {
            buffer.look_first(mark_of(&self.marks, buffer));
        }
        self.batches.marks(&mut self.marks);
        for buffer in &mut self.buffers {
            buffer.fetch(
                &self.batches,
                mark_of(&self.marks, buffer),
                &mut self.joined,
            );
        }
        self.batches.marks(&mut self.marks);
        self.heads.clear();
        for (at, buffer) in self.buffers.iter_mut().enumerate() {
            if let Some(time) = buffer.look_again(mark_of(&self.marks, buffer)) {
                self.heads.push(Reverse((time, at)));
            }
        }
        let mut count = 0;
        let mut flow = Flow::Continue;
        while flow == Flow::Continue
            && let Some(Reverse((_, at))) = self.heads.pop()
        {
            // from this buffer, until another one has an earlier event
            let other = self.heads.peek().map_or(u64::MAX, |head| head.0.0);
            let buffer = &mut self.buffers[at];
            let ended = loop {
                if !buffer.seen_first() {
                    break true;
                }
                flow = sink(buffer.event(&mut self.joined));
                count += 1;
                buffer.pass();
                match buffer.look() {
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
        if flow == Flow::Continue {
            self.due.set(Instant::now() + GATHER);
        }
        count
    }
}

/// A buffer for each CPU, or the first that there is none for, and why.
fn open_buffers(
    map: BorrowedFd<'_>,
    cpus: &[u32],
    size: usize,
) -> Result<Vec<Buffer>, (u32, io::Error)> {
    let watermark = u32::try_from(size / 4).unwrap_or(u32::MAX);
    cpus.iter()
        .map(|&cpu| Buffer::new(map, cpu, size, watermark).map_err(|error| (cpu, error)))
        .collect()
}

fn mark_of(marks: &[Mark], buffer: &Buffer) -> Mark {
    marks.get(buffer.cpu as usize).copied().unwrap_or_default()
}

/// Bytes of a page.
pub(crate) fn page_size() -> usize {
    let size = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)
        .ok()
        .flatten();
    size.and_then(|n| usize::try_from(n).ok()).unwrap_or(4096)
}
