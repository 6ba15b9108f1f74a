//! A driver that delivers what a test tells it to, so that consumers can be tested without a kernel.

use std::collections::VecDeque;
use std::time::Duration;

use crate::driver::{Capture, CaptureError, Flow, Polled};
use crate::event::Event;
use crate::request::SyscallSet;
use crate::stats::Stats;

/// A capture that delivers the events it was given and then ends.
#[derive(Debug, Default)]
pub struct Scripted {
    events: VecDeque<Vec<u8>>,
    status: Option<i32>,
    stats: Stats,
    /// The last selection it was told.
    pub selected: Option<SyscallSet>,
}

impl Scripted {
    /// A capture of these events; `status` is what it ends with.
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

    fn select(&mut self, selection: &SyscallSet) -> Result<(), CaptureError> {
        self.selected = Some(*selection);
        Ok(())
    }

    fn stats(&self) -> Stats {
        self.stats
    }
}
