//! A ring of the latest events, in memory: what a flight recorder keeps until a rule asks for it.
//!
//! The ring is a row of chunks of fixed size. A *span* is a state, as events that make it, and the events that follow it; it
//! begins a chunk. The oldest span is dropped whole, as its events mean nothing without its state. Adding an event copies its
//! bytes and allocates nothing: the ring allocates all its memory at the start, and uses chunks again.
//!
//! Spans that are older than a file can ask for go as soon as the next one begins. So a host on which little happens uses a small
//! part of the ring, again and again, and that part stays in the caches.
//!
//! A file of an alert shares the full chunks with the ring, so that nothing but the chunk in use is copied. While a file holds a
//! chunk that the ring drops, the ring takes new memory in its place.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use driver_api::event::Event;
use driver_api::event::layout::MAX;

use crate::cache;

/// How many chunks a small ring has.
const CHUNKS: usize = 16;
/// The fewest bytes of a chunk: it holds at least two events of any size.
const LEAST: usize = 2 * MAX;
/// The most bytes of a chunk. An alert copies one chunk at most.
const MOST: usize = 256 << 10;

/// Events of several CPUs are not quite in the order of their times.
const SLACK_NS: u64 = 1_000_000_000;
/// How far ahead memory is asked for. It arrives while other events are looked at.
const AHEAD: usize = 1024;

/// The memory of a full chunk.
#[derive(Debug)]
struct Memory {
    bytes: Vec<u8>,
    /// How many of these there are.
    count: Arc<AtomicUsize>,
}

impl Memory {
    fn new(size: usize, count: &Arc<AtomicUsize>) -> Arc<Self> {
        count.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self {
            bytes: Vec::with_capacity(size),
            count: Arc::clone(count),
        })
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a chunk holds.
#[derive(Debug, Clone, Copy, Default)]
struct About {
    /// It begins a span.
    begins: bool,
    /// How many of its first bytes are the span's state.
    state: usize,
    /// The time of its first event; if it begins a span, the time of the span's state.
    first_ns: u64,
}

/// The latest events and the states that they belong to.
#[derive(Debug)]
pub struct Ring {
    /// Full chunks, the oldest first.
    full: VecDeque<(Arc<Memory>, About)>,
    /// The chunk in use. It means nothing while there is no span.
    current: Vec<u8>,
    about: About,
    /// Memory that only the ring has.
    free: Vec<Arc<Memory>>,
    /// Chunks whose memory a file still has, for which the ring may take new memory.
    lacking: usize,
    /// How many chunks' memory there is: the ring's, and that of dropped chunks which files still have.
    memory: Arc<AtomicUsize>,
    /// Bytes of a chunk.
    chunk: usize,
    /// How many chunks the ring has, that in use included.
    chunks: usize,
    /// Bytes that the current span has room for, without its state.
    left: usize,
    /// When the current span ends, whatever room it has. 0: there is none.
    ends_ns: u64,
    /// How long a span lasts.
    length_ns: u64,
    /// When the current span began. None: there is none.
    began_ns: Option<u64>,
}

/// What a ring has: a state first, then what happened.
#[derive(Debug, Default)]
pub struct Window {
    chunks: Vec<Piece>,
    /// When it begins, in the time of events. None: the ring had no span.
    pub began_ns: Option<u64>,
}

/// Part of a window.
#[derive(Debug)]
enum Piece {
    Shared(Arc<Memory>, Range<usize>),
    Copied(Vec<u8>),
}

impl Piece {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Shared(memory, range) => memory.bytes.get(range.clone()).unwrap_or_default(),
            Self::Copied(bytes) => bytes,
        }
    }
}

impl Window {
    /// The bytes of events, one after another; no event is in two chunks.
    pub fn chunks(&self) -> impl Iterator<Item = &[u8]> {
        self.chunks.iter().map(Piece::bytes)
    }

    /// How many bytes were copied for it. The ring shares the others.
    #[must_use]
    pub fn copied(&self) -> usize {
        let copied = self.chunks.iter().map(|piece| match piece {
            Piece::Shared(..) => 0,
            Piece::Copied(bytes) => bytes.len(),
        });
        copied.sum()
    }
}

/// The time of a span: two of them are at least the window.
fn length(window_ns: u64) -> u64 {
    (window_ns / 2).max(1)
}

impl Ring {
    /// A ring of this many bytes, but not fewer than 1 MiB, that keeps at least the last `window_ns`, as far as that fits.
    #[must_use]
    pub fn new(bytes: usize, window_ns: u64) -> Self {
        let chunk = (bytes / CHUNKS).clamp(LEAST, MOST);
        let chunks = (bytes / chunk).max(CHUNKS);
        let memory = Arc::default();
        Self {
            full: VecDeque::with_capacity(chunks),
            current: Vec::with_capacity(chunk),
            about: About::default(),
            free: (1..chunks).map(|_| Memory::new(chunk, &memory)).collect(),
            lacking: 0,
            memory,
            chunk,
            chunks,
            left: 0,
            ends_ns: 0,
            length_ns: length(window_ns),
            began_ns: None,
        }
    }

    /// Keeps at least the last `window_ns` from now on, as far as that fits.
    pub fn set_window(&mut self, window_ns: u64) {
        self.length_ns = length(window_ns);
    }

    /// Whether the next event, which happened at this time, should begin a span: see [`begin`](Self::begin).
    #[must_use]
    #[inline]
    pub fn is_due(&self, time_ns: u64) -> bool {
        time_ns >= self.ends_ns || self.left == 0
    }

    /// Begins a span. `state` gives its sink the events that make the state that is true now. False: the state is larger than
    /// half the ring, and the file of an alert will not have it.
    pub fn begin(&mut self, time_ns: u64, state: impl FnOnce(&mut dyn FnMut(&Event<'_>))) -> bool {
        self.next_chunk(time_ns, true);
        self.drop_unneeded(time_ns);
        let mut left = self.chunks / 2;
        let mut fits = true;
        state(&mut |event| {
            if !self.has_room(event) {
                if left == 0 {
                    fits = false;
                    return;
                }
                left -= 1;
                self.next_chunk(time_ns, false);
            }
            event.append_to(&mut self.current);
            self.about.state = self.current.len();
        });
        self.left = self.chunk * (self.chunks / 4);
        if self.began_ns.is_some() {
            self.ends_ns = time_ns.saturating_add(self.length_ns);
        }
        fits
    }

    /// Adds an event.
    #[inline]
    pub fn push(&mut self, event: &Event<'_>) {
        if self.began_ns.is_none() {
            return;
        }
        if !self.has_room(event) {
            self.next_chunk(event.header().time_ns, false);
            if self.began_ns.is_none() {
                return;
            }
        }
        let length = event.header().len as usize;
        self.left = self.left.saturating_sub(length);
        event.append_to(&mut self.current);
        cache::expect_writes(self.current.as_ptr_range().end.wrapping_add(AHEAD), length);
    }

    /// Bytes of the ring that hold events.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let full: usize = self.full.iter().map(|(memory, _)| memory.bytes.len()).sum();
        full + self.current.len()
    }

    /// Bytes of memory that only files have: of chunks that the ring has dropped. New memory is in their place.
    #[must_use]
    pub fn lent(&self) -> usize {
        let own = self.full.len() + self.free.len();
        (self.memory.load(Ordering::Relaxed).saturating_sub(own)) * self.chunk
    }

    /// The span that was current at `from_ns`, and all later ones. The ring goes on, so that the next file has what it needs,
    /// too. Full chunks are shared, and one chunk is copied.
    #[must_use]
    pub fn window(&self, from_ns: u64) -> Window {
        if self.began_ns.is_none() {
            return Window::default();
        }
        let about = || self.full.iter().map(|(_, about)| about);
        let spans = || about().chain([&self.about]).filter(|about| about.begins);
        let enough = spans().rfind(|span| span.first_ns <= from_ns);
        let at = enough.or_else(|| spans().next()).map(|span| span.first_ns);
        let mut window = Window {
            chunks: Vec::with_capacity(self.full.len() + 1),
            began_ns: at,
        };
        // spans of the window so far
        let mut count = 0_usize;
        let mut from = |about: &About| {
            if about.begins && (count > 0 || Some(about.first_ns) == at) {
                count += 1;
            }
            match count {
                0 => None,
                1 => Some(0),
                // the events in between have made this state
                _ => Some(about.state),
            }
        };
        for (memory, about) in &self.full {
            if let Some(from) = from(about) {
                let range = from..memory.bytes.len();
                let piece = Piece::Shared(Arc::clone(memory), range);
                window.chunks.push(piece);
            }
        }
        if let Some(from) = from(&self.about) {
            let copy = self.current.get(from..).unwrap_or_default().to_vec();
            window.chunks.push(Piece::Copied(copy));
        }
        window
    }

    #[inline]
    fn has_room(&self, event: &Event<'_>) -> bool {
        self.current.len() + event.header().len as usize <= self.chunk
    }

    /// Goes on in another chunk: a free one, or the oldest, whose span is dropped.
    #[cold]
    fn next_chunk(&mut self, time_ns: u64, begins: bool) {
        if self.began_ns.is_some() {
            self.put_away();
        }
        self.current.clear();
        if begins {
            self.began_ns = Some(time_ns);
        }
        // else its state may just have gone
        self.about = About {
            begins,
            state: 0,
            first_ns: time_ns,
        };
    }

    /// Moves the bytes of the chunk in use to the full ones.
    fn put_away(&mut self) {
        if self.free.is_empty() && self.lacking == 0 {
            self.drop_oldest();
        }
        if self.free.is_empty() && self.lacking > 0 {
            self.lacking -= 1;
            self.free.push(Memory::new(self.chunk, &self.memory));
        }
        if self.began_ns.is_none() {
            return;
        }
        let Some(mut memory) = self.free.pop() else {
            return;
        };
        // free memory has no other owner
        if let Some(memory) = Arc::get_mut(&mut memory) {
            std::mem::swap(&mut memory.bytes, &mut self.current);
        }
        self.full.push_back((memory, self.about));
    }

    /// Drops the spans that no file can ask for, because a later one is old enough. Chunks that a file still shares stay: the
    /// ring would need new memory in their place.
    fn drop_unneeded(&mut self, time_ns: u64) {
        let window_ns = self.length_ns.saturating_mul(2).saturating_add(SLACK_NS);
        let from_ns = time_ns.saturating_sub(window_ns);
        loop {
            let chunks = || self.full.iter();
            let oldest = 1 + chunks().skip(1).take_while(|(_, of)| !of.begins).count();
            let mut later = chunks().skip(oldest);
            let mut lent = chunks().take(oldest);
            if !later.any(|(_, of)| of.begins && of.first_ns <= from_ns)
                || lent.any(|(memory, _)| Arc::strong_count(memory) > 1)
            {
                return;
            }
            self.drop_oldest();
        }
    }

    /// There is no span any more.
    fn forget(&mut self) {
        self.began_ns = None;
        self.ends_ns = 0;
    }

    /// Drops the oldest span.
    fn drop_oldest(&mut self) {
        while let Some((mut memory, _)) = self.full.pop_front() {
            match Arc::get_mut(&mut memory) {
                Some(_) => self.free.push(memory),
                None => self.lacking += 1,
            }
            match self.full.front() {
                Some((_, next)) if !next.begins => {}
                Some(_) => return,
                // the chunk in use goes on with the span that has just lost its beginning
                None if !self.about.begins => self.forget(),
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use driver_api::event::EventKind;
    use inspect::testing::Ev;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn add(ring: &mut Ring, at_ns: u64, pid: u32) {
        let mut event = Ev::call(pid, "close", &[3], 0);
        event.header.time_ns = at_ns;
        let bytes = event.bytes();
        let event = Event::parse(&bytes).unwrap();
        if ring.is_due(at_ns) {
            let mut state = Ev::exec(1, "/sbin/init", &["init"], Default::default());
            state.header.time_ns = at_ns;
            let state = state.bytes();
            assert!(ring.begin(at_ns, |sink| sink(&Event::parse(&state).unwrap())));
        }
        ring.push(&event);
    }

    /// EventKind and time of each event.
    fn events(window: &Window) -> Vec<(EventKind, u64)> {
        let mut all = Vec::new();
        for chunk in window.chunks() {
            let mut rest = chunk;
            while !rest.is_empty() {
                let event = Event::parse(rest).unwrap();
                all.push((event.kind(), event.header().time_ns));
                rest = &rest[event.header().len as usize..];
            }
        }
        all
    }

    #[test]
    fn a_window_begins_with_the_state_and_is_long_enough() {
        let mut ring = Ring::new(0, 10 * SECOND);
        for second in 1..=40 {
            add(&mut ring, second * SECOND, 7);
        }
        let taken = ring.window(30 * SECOND);
        let all = events(&taken);
        assert_eq!(all[0].0, EventKind::Exec);
        assert!(all[0].1 <= 30 * SECOND && all[0].1 > 20 * SECOND, "{all:?}");
        // one state, and every event after it
        let first = all[0].1 / SECOND;
        let expected: Vec<_> = (first..=40)
            .map(|second| (EventKind::Syscall, second * SECOND))
            .collect();
        assert_eq!(all[1..], expected);
        // and it goes on
        add(&mut ring, 41 * SECOND, 7);
        let later = events(&ring.window(31 * SECOND));
        assert!(later[0].1 <= 31 * SECOND);
        assert_eq!(later.last(), Some(&(EventKind::Syscall, 41 * SECOND)));
    }

    #[test]
    fn spans_that_no_file_can_ask_for_are_dropped() {
        let mut ring = Ring::new(0, 10 * SECOND);
        let mut most = 0;
        for second in 1..=4000 {
            add(&mut ring, second * SECOND, 7);
            let taken = events(&ring.window(second.saturating_sub(10) * SECOND));
            if second > 10 {
                let begins = taken[0].1;
                assert!(begins <= (second - 10) * SECOND, "{second}: {begins}");
            }
            most = most.max(ring.full.len());
        }
        // the window, the span that it begins in, and the chunk in use
        assert!(most <= 4, "{most} full chunks");
        assert_eq!(ring.full.len() + ring.free.len() + 1, ring.chunks);
        // what a file shares is no loss of memory
        let taken = ring.window(3990 * SECOND);
        for second in 4001..4050 {
            add(&mut ring, second * SECOND, 7);
        }
        assert_eq!(ring.lent(), 0);
        assert_eq!(events(&taken).last().unwrap().1, 4000 * SECOND);
        drop(taken);
        add(&mut ring, 4060 * SECOND, 7);
        assert!(ring.full.len() <= 4, "{} full chunks", ring.full.len());
    }

    #[test]
    fn memory_is_bounded_and_old_spans_go_first() {
        let mut ring = Ring::new(0, 10 * SECOND);
        for at in 0..200_000_u64 {
            add(&mut ring, SECOND + at, 7);
            assert!(ring.bytes() <= CHUNKS * LEAST);
        }
        let all = events(&ring.window(0));
        assert_eq!(all[0].0, EventKind::Exec);
        assert_eq!(all.last().unwrap().1, SECOND + 199_999);
        let times: Vec<_> = all.iter().map(|(_, at)| *at).collect();
        assert!(times.is_sorted());
        assert!(all.len() > 1000 && all.len() < 20_000, "{}", all.len());
    }
}
