//! The running capture of either eBPF driver: events from its buffers to the sink, losses as events, and
//! the end. What differs between the drivers is behind [`Source`].

use std::cell::Cell;
use std::fmt;
use std::time::{Duration, Instant};

use driver_api::driver::{Capture, CaptureError, CommandState, Flow, Polled};
use driver_api::event::{Event, Loss};
use driver_api::request::{Limits, Request, SyscallSet};
use driver_api::stats::Stats;

use crate::follow::{self, Followed};
use crate::life::{Life, Losses};
use crate::start::Held;
use crate::undecided::{self, Undecided, Verdict};

/// How often the loss counters are read, and the target's life is looked at, while events keep coming.
const LOOK: Duration = Duration::from_millis(100);

/// Programs that are attached, and the buffers they write to. Dropping it detaches them.
pub trait Source: Send + fmt::Debug {
    /// May let events gather before they are drained, no longer than the timeout. Whoever wakes its reader
    /// in time by itself has nothing to do.
    fn gather(&mut self, timeout: Duration) {
        let _ = timeout;
    }

    /// Hands the bytes of waiting events to the sink, in order, until it says stop; says how many.
    fn drain(&mut self, sink: &mut dyn FnMut(&[u8]) -> Flow) -> usize;

    /// Waits until something may be there. Coming back early is no fault: the caller polls again.
    fn wait(&self, timeout: Duration);

    /// Bytes that wait.
    fn pending(&self) -> u64;

    /// Bytes the buffers hold.
    fn capacity(&self) -> u64;

    /// Events lost so far, by cause.
    fn lost(&self) -> [u64; Loss::ALL.len()];

    /// The threads that are followed.
    fn followed(&mut self) -> &mut dyn Followed;

    /// Writes the plans of a selection; an error says why it could not.
    fn select(&mut self, selection: &SyscallSet, limits: &Limits) -> Result<(), String>;
}

/// One capture.
#[derive(Debug)]
pub struct EbpfCapture<S> {
    driver: &'static str,
    source: S,
    limits: Limits,
    life: Life,
    losses: Losses,
    undecided: Undecided,
    looked: Instant,
    captured: u64,
    malformed: u64,
}

impl<S: Source> EbpfCapture<S> {
    /// For a source that follows the target already; the command is still held.
    pub fn new(driver: &'static str, source: S, command: Option<Held>, request: &Request) -> Self {
        Self {
            driver,
            source,
            limits: request.limits,
            life: Life::new(driver, request, command),
            losses: Losses::default(),
            undecided: Undecided::new(&request.selection),
            looked: Instant::now(),
            captured: 0,
            malformed: 0,
        }
    }

    fn drain(&mut self, sink: &mut dyn FnMut(Event<'_>) -> Flow) -> usize {
        let (mut delivered, mut malformed) = (0, 0);
        let undecided = &mut self.undecided;
        self.source.drain(&mut |bytes| match Event::parse(bytes) {
            Ok(event) => match undecided.judge(&event, bytes) {
                Verdict::Deliver => {
                    delivered += 1;
                    sink(event)
                }
                Verdict::Decided(call) => Event::parse(&call).map_or(Flow::Continue, |event| {
                    delivered += 1;
                    sink(event)
                }),
                Verdict::Keep => Flow::Continue,
            },
            Err(error) => {
                tracing::warn!("the kernel delivered {error}");
                malformed += 1;
                Flow::Continue
            }
        });
        self.malformed += malformed;
        self.captured += delivered as u64;
        delivered
    }
}

impl<S: Source> Capture for EbpfCapture<S> {
    fn poll(
        &mut self,
        timeout: Duration,
        sink: &mut dyn FnMut(Event<'_>) -> Flow,
    ) -> Result<Polled, CaptureError> {
        self.life.begin()?;
        let stopped = Cell::new(false);
        let mut sink = |event: Event<'_>| {
            let flow = sink(event);
            stopped.set(stopped.get() | (flow == Flow::Stop));
            flow
        };
        let begin = Instant::now();
        self.source.gather(timeout);
        let mut count = self.drain(&mut sink);
        if count == 0 {
            self.source.wait(timeout.saturating_sub(begin.elapsed()));
            count = self.drain(&mut sink);
        }
        // a sink that has said stop gets no loss either, before the next poll
        if stopped.get() || (count > 0 && self.looked.elapsed() < LOOK) {
            return Ok(Polled::Events(count));
        }
        self.looked = Instant::now();
        let before = self.losses.counted();
        let lost = self.losses.report(self.source.lost(), &mut sink);
        if lost > 0 {
            self.undecided.forget();
        }
        count += lost;
        let skipped = |lost: [u64; Loss::ALL.len()]| lost[Loss::Nested as usize];
        if self.life.follows() && skipped(self.losses.counted()) > skipped(before) {
            follow::take_up(self.source.followed());
        }
        if count == 0
            && let Some(ended) = self.life.over(|| follow::anyone(self.source.followed()))
            && self.source.pending() == 0
        {
            return Ok(ended);
        }
        Ok(Polled::Events(count))
    }

    fn command(&mut self) -> Option<CommandState> {
        self.life.command()
    }

    fn select(&mut self, selection: &SyscallSet) -> Result<(), CaptureError> {
        self.source
            .select(&undecided::watched(selection), &self.limits)
            .map_err(CaptureError::failed(self.driver, "change the selection"))?;
        self.undecided.select(selection);
        Ok(())
    }

    fn stats(&self) -> Stats {
        Stats {
            captured: self.captured,
            lost: self.losses.counted(),
            pending: self.source.pending(),
            capacity: self.source.capacity(),
            malformed: self.malformed,
        }
    }
}
