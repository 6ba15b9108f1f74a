//! A capture that delivers the events that a test gives it, so that consumers can be tested without a kernel.

use std::collections::VecDeque;
use std::time::Duration;

use crate::driver::{Capture, CaptureError, Flow, Polled};
use crate::event::Event;
use crate::selection::Selection;
use crate::stats::Stats;

/// A capture that delivers the events it was given and then ends.
#[derive(Debug, Default)]
pub struct Scripted {
    events: VecDeque<Vec<u8>>,
    status: Option<i32>,
    stats: Stats,
    /// The last selection that [`Capture::select`] was called with.
    pub selected: Option<Selection>,
}

impl Scripted {
    /// A capture of these events, as [`Event::to_vec`] returns them. It ends with `status` (wait(2)).
    pub fn new(events: impl IntoIterator<Item = Vec<u8>>, status: Option<i32>) -> Self {
        Self {
            events: events.into_iter().collect(),
            status,
            ..Self::default()
        }
    }
}

impl Capture for Scripted {
    fn poll(
        &mut self,
        _: Duration,
        sink: &mut dyn FnMut(Event<'_>) -> Flow,
    ) -> Result<Polled, CaptureError> {
        let mut count = 0;
        while let Some(bytes) = self.events.pop_front() {
            let Ok(event) = Event::parse(&bytes) else {
                self.stats.malformed += 1;
                continue;
            };
            if self
                .selected
                .as_ref()
                .is_some_and(|selected| !selected.allows(&event))
            {
                continue;
            }
            count += 1;
            self.stats.captured += 1;
            if sink(event) == Flow::Stop {
                break;
            }
        }
        Ok(if count == 0 {
            Polled::Ended(self.status)
        } else {
            Polled::Events(count)
        })
    }

    fn select(&mut self, selection: &Selection) -> Result<(), CaptureError> {
        self.selected = Some(selection.clone());
        Ok(())
    }

    fn stats(&self) -> Stats {
        self.stats
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventBuilder, EventKind, Header};

    fn event(tid: u32) -> Vec<u8> {
        let mut builder = EventBuilder::new();
        builder.begin(&Header {
            kind: EventKind::Syscall as u8,
            tid,
            ..Header::default()
        });
        builder.finish().unwrap().to_vec()
    }

    #[test]
    fn events_come_in_order_a_sink_can_stop_and_the_end_is_repeated() {
        let mut capture = Scripted::new([event(1), vec![0; 8], event(2)], Some(7 << 8));
        let mut seen = Vec::new();
        let mut poll = |capture: &mut Scripted, flow| {
            let polled = capture.poll(Duration::ZERO, &mut |event| {
                seen.push(event.header().tid);
                flow
            });
            polled.unwrap()
        };
        assert_eq!(poll(&mut capture, Flow::Stop), Polled::Events(1));
        assert_eq!(poll(&mut capture, Flow::Continue), Polled::Events(1));
        let end = Polled::Ended(Some(7 << 8));
        assert_eq!(poll(&mut capture, Flow::Continue), end);
        assert_eq!(poll(&mut capture, Flow::Continue), end);
        assert_eq!(seen, [1, 2]);
        let stats = capture.stats();
        assert_eq!((stats.captured, stats.malformed), (2, 1));
    }
}
