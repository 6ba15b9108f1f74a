//! What captures that read events from a file share: what one poll does with each event.

use crate::driver::{CaptureError, Flow, Polled};
use crate::event::{Event, EventKind, Flags, Header};
use crate::selection::Selection;
use crate::stats::Stats;
use crate::table;
use crate::turn::Turn;

/// A file of events that is being read.
pub trait EventFile {
    /// The bytes that begin with the next event. None: the file has ended.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is damaged.
    fn current(&mut self) -> Result<Option<&mut [u8]>, CaptureError>;

    /// Leaves the current event behind, which has this number of bytes. None: it is no event.
    fn advance(&mut self, len: Option<usize>);
}

/// Delivers events of a file as a driver with a selection would deliver them.
#[derive(Debug, Default)]
pub struct Player {
    selection: Selection,
    stats: Stats,
}

impl Player {
    /// Delivers the events of the selection, and all events that are not calls.
    #[must_use]
    pub fn new(selection: impl Into<Selection>) -> Self {
        Self {
            selection: selection.into(),
            stats: Stats::default(),
        }
    }

    /// Replaces the selection.
    pub fn select(&mut self, selection: &Selection) {
        self.selection.clone_from(selection);
    }

    /// Counters of the events that were delivered.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// One poll: hands over events until the turn or the file is over.
    ///
    /// # Errors
    ///
    /// As [`EventFile::current`].
    pub fn poll(
        &mut self,
        file: &mut impl EventFile,
        sink: &mut dyn FnMut(Event<'_>) -> Flow,
    ) -> Result<Polled, CaptureError> {
        let mut count = 0;
        let mut turn = Turn::begin();
        // Events that are left out take time, too.
        while !turn.is_over() {
            let Some(bytes) = file.current()? else {
                if count == 0 {
                    return Ok(Polled::Ended(None));
                }
                break;
            };
            self.mark_unselected_exec(bytes);
            let Ok(event) = Event::parse(bytes) else {
                self.stats.malformed += 1;
                file.advance(None);
                continue;
            };
            let len = event.header().len as usize;
            let mut flow = Flow::Continue;
            if self.wants(&event) {
                count += 1;
                self.stats.captured += 1;
                flow = sink(event);
            }
            file.advance(Some(len));
            if flow == Flow::Stop {
                break;
            }
        }
        Ok(Polled::Events(count))
    }

    /// Whether a driver with this selection would deliver the event. Drivers always deliver an exec.
    fn wants(&self, event: &Event<'_>) -> bool {
        event.kind() != EventKind::Syscall
            || event.has(Flags::UNSELECTED)
            || (self
                .selection
                .contains(table::of_number(event.abi(), event.header().nr))
                && self.selection.allows(event))
    }

    /// Marks an exec outside the selection as unselected: only the state needs it.
    fn mark_unselected_exec(&self, bytes: &mut [u8]) {
        const KIND: usize = std::mem::offset_of!(Header, kind);
        const FLAGS: usize = std::mem::offset_of!(Header, flags);
        if bytes.get(KIND) != Some(&(EventKind::Exec as u8)) {
            return;
        }
        let unselected = Event::parse(bytes).is_ok_and(|event| {
            table::by_number(event.abi(), event.header().nr)
                .is_some_and(|call| !self.selection.contains(call))
        });
        if unselected && let Some(flags) = bytes.get_mut(FLAGS..FLAGS + size_of::<u16>()) {
            let marked = u16::from_ne_bytes([flags[0], flags[1]]) | Flags::UNSELECTED;
            flags.copy_from_slice(&marked.to_ne_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Abi, EventBuilder};
    use crate::request::SyscallSet;
    use crate::turn::TURN;
    use std::time::{Duration, Instant};

    /// An event again and again, however often it is asked for.
    struct Endless(Vec<u8>);

    impl EventFile for Endless {
        fn current(&mut self) -> Result<Option<&mut [u8]>, CaptureError> {
            Ok(Some(&mut self.0))
        }

        fn advance(&mut self, _: Option<usize>) {}
    }

    fn call(kind: EventKind, name: &str) -> Endless {
        let Some(nr) = table::by_name(name).and_then(|call| call.number(Abi::NATIVE)) else {
            unreachable!("{name} is a call");
        };
        let mut builder = EventBuilder::new();
        builder.begin(&Header {
            kind: kind as u8,
            abi: Abi::NATIVE as u8,
            nr,
            ..Header::default()
        });
        Endless(builder.finish().unwrap().to_vec())
    }

    #[test]
    fn a_poll_ends_even_if_no_event_is_selected() {
        let mut player = Player::new(SyscallSet::empty());
        let began = Instant::now();
        let polled = player.poll(&mut call(EventKind::Syscall, "openat"), &mut |_| {
            Flow::Continue
        });
        assert_eq!(polled.unwrap(), Polled::Events(0));
        assert!(began.elapsed() >= TURN && began.elapsed() < TURN + Duration::from_secs(60));
    }

    #[test]
    fn an_exec_outside_of_the_selection_is_marked() {
        let mut player = Player::new(SyscallSet::empty());
        let mut marked = false;
        let polled = player.poll(&mut call(EventKind::Exec, "execve"), &mut |event| {
            marked = event.has(Flags::UNSELECTED);
            Flow::Stop
        });
        assert_eq!(polled.unwrap(), Polled::Events(1));
        assert!(marked);
        player.select(&SyscallSet::all().into());
        let polled = player.poll(&mut call(EventKind::Exec, "execve"), &mut |event| {
            marked = event.has(Flags::UNSELECTED);
            Flow::Stop
        });
        assert_eq!(polled.unwrap(), Polled::Events(1));
        assert!(!marked);
        assert_eq!(player.stats().captured, 2);
    }
}
