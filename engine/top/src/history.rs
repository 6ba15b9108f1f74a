//! The latest events, so that following a process also shows what it did before. Memory is bounded by bytes.

use std::collections::VecDeque;

use driver_api::event::Event;
use inspect::ProcessKey;

/// How many chunks there are, and the bytes of each.
const CHUNKS: usize = 16;
const CHUNK: usize = 1 << 20;
/// The most events of a chunk: those with few bytes are bounded, too.
const EVENTS: usize = 1 << 14;

/// Where an event is, and what its bytes do not say.
#[derive(Debug, Clone, Copy)]
struct KeptEvent {
    process: ProcessKey,
    time_ns: u64,
    at: u32,
    /// The thread's name, which the kernel cuts to 15 bytes.
    name: [u8; 15],
    name_len: u8,
}

#[derive(Debug, Clone, Default)]
struct Chunk {
    bytes: Vec<u8>,
    entries: Vec<KeptEvent>,
}

/// The latest events.
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    chunks: VecDeque<Chunk>,
}

impl History {
    pub(crate) fn push(
        &mut self,
        process: ProcessKey,
        time_ns: u64,
        name: &[u8],
        event: &Event<'_>,
    ) {
        let len = event.header().len as usize;
        let full = |chunk: &Chunk| chunk.bytes.len() + len > CHUNK || chunk.entries.len() >= EVENTS;
        if self.chunks.back().is_none_or(full) {
            let mut chunk = if self.chunks.len() < CHUNKS {
                Chunk::default()
            } else {
                self.chunks.pop_front().unwrap_or_default()
            };
            chunk.bytes.clear();
            chunk.entries.clear();
            self.chunks.push_back(chunk);
        }
        let Some(chunk) = self.chunks.back_mut() else {
            return;
        };
        let mut entry = KeptEvent {
            process,
            time_ns,
            at: u32::try_from(chunk.bytes.len()).unwrap_or(u32::MAX),
            name: [0; 15],
            name_len: 0,
        };
        for (to, from) in entry.name.iter_mut().zip(name) {
            *to = *from;
            entry.name_len += 1;
        }
        event.append_to(&mut chunk.bytes);
        chunk.entries.push(entry);
    }

    /// Calls `show` with the latest events of a process, oldest first: their time, the thread's name, and the event.
    pub(crate) fn of(
        &self,
        process: ProcessKey,
        most: usize,
        mut show: impl FnMut(u64, &[u8], &Event<'_>),
    ) {
        let all = || {
            let chunks = self.chunks.iter();
            chunks.flat_map(|chunk| chunk.entries.iter().map(move |entry| (chunk, entry)))
        };
        let its = |(_, entry): &(&Chunk, &KeptEvent)| entry.process == process;
        let skip = all().filter(its).count().saturating_sub(most);
        for (chunk, entry) in all().filter(its).skip(skip) {
            let bytes = chunk.bytes.get(entry.at as usize..).unwrap_or_default();
            // more bytes may follow: the event's header says where it ends
            if let Ok(event) = Event::parse(bytes) {
                let name = entry.name.get(..usize::from(entry.name_len));
                show(entry.time_ns, name.unwrap_or_default(), &event);
            }
        }
    }

    pub(crate) fn clear(&mut self) {
        self.chunks.clear();
    }
}
