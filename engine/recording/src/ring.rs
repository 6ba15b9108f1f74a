//! A ring of the latest events, in memory: what a flight recorder keeps until a rule asks for it.
//!
//! The ring is a row of chunks of fixed size. A *span* is a state, as events that make it, and the events that follow it; it
//! begins a chunk. The oldest span is dropped whole, as its events mean nothing without its state. Adding an event copies its
//! bytes and allocates nothing: the memory of all chunks is allocated at the start, and chunks are used again.

use std::collections::VecDeque;

use driver_api::event::Event;

/// How many chunks a ring has.
const CHUNKS: usize = 16;
/// The least bytes of a ring: a chunk holds at least two events of any size.
const LEAST: usize = CHUNKS * 2 * driver_api::event::layout::MAX;

/// Part of a ring.
#[derive(Debug)]
struct Chunk {
    bytes: Vec<u8>,
    /// It begins a span.
    begins: bool,
    /// How many of its first bytes are the span's state.
    state: usize,
    /// The time of its first event; of a chunk that begins a span, when the state was true.
    first_ns: u64,
}

/// The latest events and the states that they belong to.
#[derive(Debug)]
pub struct Ring {
    /// The oldest first. Each has the same capacity.
    used: VecDeque<Chunk>,
    free: Vec<Vec<u8>>,
    chunk: usize,
    /// Bytes of the current span, without its state.
    span: usize,
    /// How long a span lasts.
    length_ns: u64,
    /// When the current span began. None: there is none.
    began_ns: Option<u64>,
}

/// A copy of what a ring has: a state first, then what happened.
#[derive(Debug, Default)]
pub struct Window {
    /// The bytes of events, one after another; no event is in two chunks.
    pub chunks: Vec<Vec<u8>>,
    /// When it begins, in the time of events. None: the ring had no span.
    pub began_ns: Option<u64>,
}

impl Ring {
    /// A ring of `bytes`, at least 1 MiB. It keeps at least the last `window_ns`, as far as that fits.
    #[must_use]
    pub fn new(bytes: usize, window_ns: u64) -> Self {
        let chunk = bytes.max(LEAST) / CHUNKS;
        Self {
            used: VecDeque::with_capacity(CHUNKS),
            free: (0..CHUNKS).map(|_| Vec::with_capacity(chunk)).collect(),
            chunk,
            span: 0,
            length_ns: (window_ns / 2).max(1),
            began_ns: None,
        }
    }

    /// Whether the next event, which happened at this time, should begin a span: see [`begin`](Self::begin).
    #[must_use]
    #[inline]
    pub fn is_due(&self, time_ns: u64) -> bool {
        match self.began_ns {
            Some(began) => {
                time_ns >= began.saturating_add(self.length_ns) || self.span >= self.chunk * 4
            }
            None => true,
        }
    }

    /// Begins a span. `state` gives its sink the events that make the state that is true now. False: the state is larger than
    /// half the ring, and the file of an alert will not have it.
    pub fn begin(&mut self, time_ns: u64, state: impl FnOnce(&mut dyn FnMut(&Event<'_>))) -> bool {
        self.next_chunk(time_ns, true);
        self.began_ns = Some(time_ns);
        let mut left = CHUNKS / 2;
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
            self.append(event);
            if let Some(chunk) = self.used.back_mut() {
                chunk.state = chunk.bytes.len();
            }
        });
        self.span = 0;
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
        self.span += event.header().len as usize;
        self.append(event);
    }

    /// Bytes of the ring that hold events.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.used.iter().map(|chunk| chunk.bytes.len()).sum()
    }

    /// Copies the span that was current at `from_ns`, and all later ones. The ring goes on, so that the next file has what it
    /// needs, too. `spare` are chunks of earlier copies that are not needed any more; without them, memory is allocated.
    pub fn window(&self, from_ns: u64, spare: &mut Vec<Vec<u8>>) -> Window {
        let all = || self.used.iter().filter(|chunk| chunk.begins);
        let enough = all().rfind(|chunk| chunk.first_ns <= from_ns);
        let at = enough.or_else(|| all().next()).map(|chunk| chunk.first_ns);
        let mut window = Window {
            chunks: Vec::with_capacity(CHUNKS),
            began_ns: at,
        };
        // spans that have been copied so far
        let mut spans = 0_usize;
        for chunk in &self.used {
            if chunk.begins && (spans > 0 || Some(chunk.first_ns) == at) {
                spans += 1;
            }
            let bytes = match spans {
                0 => continue,
                1 => chunk.bytes.as_slice(),
                // the events in between have made this state
                _ => chunk.bytes.get(chunk.state..).unwrap_or_default(),
            };
            let mut copy = spare.pop().unwrap_or_default();
            copy.clear();
            copy.extend_from_slice(bytes);
            window.chunks.push(copy);
        }
        window
    }

    #[inline]
    fn has_room(&self, event: &Event<'_>) -> bool {
        let len = event.header().len as usize;
        let last = self.used.back();
        last.is_some_and(|chunk| chunk.bytes.len() + len <= self.chunk)
    }

    #[inline]
    fn append(&mut self, event: &Event<'_>) {
        if let Some(chunk) = self.used.back_mut() {
            event.append_to(&mut chunk.bytes);
        }
    }

    /// Goes on in another chunk: a free one, or the oldest, whose span is dropped.
    #[cold]
    fn next_chunk(&mut self, time_ns: u64, begins: bool) {
        if self.free.is_empty() {
            self.drop_oldest();
        }
        let Some(mut bytes) = self.free.pop() else {
            return;
        };
        bytes.clear();
        if self.began_ns.is_none() && !begins {
            // its state is gone
            self.free.push(bytes);
            return;
        }
        self.used.push_back(Chunk {
            bytes,
            begins,
            state: 0,
            first_ns: time_ns,
        });
    }

    fn drop_oldest(&mut self) {
        while let Some(chunk) = self.used.pop_front() {
            self.free.push(chunk.bytes);
            match self.used.front() {
                Some(next) if !next.begins => {}
                Some(_) => return,
                // the only span is the current one
                None => self.began_ns = None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use driver_api::event::Kind;
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

    /// Kind and time of each event.
    fn events(window: &Window) -> Vec<(Kind, u64)> {
        let mut all = Vec::new();
        for chunk in &window.chunks {
            let mut rest = chunk.as_slice();
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
        let taken = ring.window(30 * SECOND, &mut Vec::new());
        let all = events(&taken);
        assert_eq!(all[0].0, Kind::Exec);
        assert!(all[0].1 <= 30 * SECOND && all[0].1 > 20 * SECOND, "{all:?}");
        // one state, and every event after it
        let first = all[0].1 / SECOND;
        let expected: Vec<_> = (first..=40)
            .map(|second| (Kind::Syscall, second * SECOND))
            .collect();
        assert_eq!(all[1..], expected);
        // and it goes on
        add(&mut ring, 41 * SECOND, 7);
        let later = events(&ring.window(31 * SECOND, &mut Vec::new()));
        assert!(later[0].1 <= 31 * SECOND);
        assert_eq!(later.last(), Some(&(Kind::Syscall, 41 * SECOND)));
    }

    #[test]
    fn memory_is_bounded_and_old_spans_go_first() {
        let mut ring = Ring::new(0, 10 * SECOND);
        for at in 0..200_000_u64 {
            add(&mut ring, SECOND + at, 7);
            assert!(ring.bytes() <= LEAST);
        }
        let all = events(&ring.window(0, &mut Vec::new()));
        assert_eq!(all[0].0, Kind::Exec);
        assert_eq!(all.last().unwrap().1, SECOND + 199_999);
        let times: Vec<_> = all.iter().map(|(_, at)| *at).collect();
        assert!(times.is_sorted());
        assert!(all.len() > 1000 && all.len() < 20_000, "{}", all.len());
    }
}
