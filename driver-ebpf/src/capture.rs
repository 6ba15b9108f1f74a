//! A running capture of either eBPF driver: it hands events from the driver's buffers to the sink, reports losses as
//! events, and notices the end. What differs between the drivers is behind [`Source`].

use std::cell::Cell;
use std::fmt;
use std::time::{Duration, Instant};

use driver_api::driver::{Capture, CommandState, Flow, Polled};
use driver_api::error::{CaptureError, Cause};
use driver_api::event::{Event, Loss};
use driver_api::plan;
use driver_api::request::{Limits, Request};
use driver_api::selection::Selection;
use driver_api::stats::Stats;
use driver_api::turn::Turn;

use crate::follow::{self, Followed};
use crate::interrupted::{self, InterruptedCalls, Verdict};
use crate::life::Life;
use crate::losses::Losses;
use crate::start::Held;

/// How often the loss counters and the target's life are checked while events keep coming.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// Attached programs and the buffers that they write to. Dropping it detaches them.
pub trait Source: Send + fmt::Debug {
    /// May let events gather before they are drained, for `timeout` at most. A source that wakes its reader in time by
    /// itself does nothing.
    fn gather(&mut self, timeout: Duration) {
        let _ = timeout;
    }

    /// Looks at what waits: the next drain hands over no later events.
    fn look(&mut self);

    /// Hands the bytes of the events that the last look has seen to the sink, in order, until the sink stops it. Returns
    /// how many it got. It may end earlier if it finds that events were lost.
    fn drain(&mut self, sink: &mut dyn FnMut(&[u8]) -> Flow) -> usize;

    /// Waits for an event, for `timeout` at most. It may return early: the caller polls again.
    fn wait(&self, timeout: Duration);

    /// Bytes that wait.
    fn pending(&self) -> u64;

    /// Bytes that the buffers hold.
    fn capacity(&self) -> u64;

    /// Events lost so far, by cause.
    fn lost(&self) -> [u64; Loss::ALL.len()];

    /// How many of the events lost so far may be births, execs or ends.
    ///
    /// It counts all that were lost before the last event that was read. Of those that the kernel has skipped, it has the
    /// count of the last call of [`lost`](Self::lost), because reading these counters takes long.
    fn lost_lives(&self) -> u64;

    /// The threads that are followed.
    fn followed(&mut self) -> &mut dyn Followed;

    /// Writes the plans of a selection.
    ///
    /// # Errors
    ///
    /// The kernel refused to change a map.
    fn select(&mut self, selection: &Selection, limits: &Limits) -> Result<(), Cause>;
}

/// One capture.
#[derive(Debug)]
pub struct EbpfCapture<S> {
    driver: &'static str,
    source: S,
    limits: Limits,
    life: Life,
    losses: Losses,
    interrupted: InterruptedCalls,
    /// Whether the programs measure how long calls take.
    times: bool,
    /// The selection, if the programs do not know all of its predicates.
    rest: Option<Selection>,
    /// When the loss counters and the target's life were checked last.
    checked: Instant,
    captured: u64,
    malformed: u64,
}

/// The selection, if events have to be looked at again: the programs do not leave out a call that may end an open one, and
/// they have room for a limited number of conditions.
fn rest_of(selection: &Selection) -> Option<Selection> {
    let conditions = selection
        .predicates()
        .filter(|(_, one)| one.tests_arguments());
    let many = conditions.count() > plan::PREDICATES / 8;
    let watched = interrupted::watched(selection);
    let more = watched.predicates().count() < selection.predicates().count();
    (many || more || selection.is_for_the_reader()).then(|| selection.clone())
}

impl<S: Source> EbpfCapture<S> {
    /// For a source that already follows the target, and a command that is still held.
    pub fn new(driver: &'static str, source: S, command: Option<Held>, request: &Request) -> Self {
        Self {
            driver,
            source,
            limits: request.limits,
            life: Life::new(driver, request, command),
            losses: Losses::default(),
            interrupted: InterruptedCalls::new(&request.selection),
            times: request.selection.times(),
            rest: rest_of(&request.selection),
            checked: Instant::now(),
            captured: 0,
            malformed: 0,
        }
    }

    /// Delivers an event for each cause of losses that has grown.
    fn report_losses(&mut self, sink: &mut dyn FnMut(Event<'_>) -> Flow) -> usize {
        let counted = self.source.lost();
        let lost = self.losses.report(counted, self.source.lost_lives(), sink);
        if lost > 0 {
            self.interrupted.forget();
        }
        lost
    }

    /// Hands over the events that wait, until the sink stops it or the turn is over. If births, execs or ends were lost,
    /// that comes first: the events that follow may be of other processes or programs than they seem to be.
    fn drain(&mut self, sink: &mut dyn FnMut(Event<'_>) -> Flow) -> usize {
        self.source.look();
        if self.source.lost_lives() > self.losses.lives() || self.losses.owes_report() {
            // the second report has a loss that happened while the counters of the first were read
            for _ in 0..2 {
                let lost = self.report_losses(sink);
                if lost > 0 {
                    return lost;
                }
            }
        }
        let (mut delivered, mut malformed) = (0, 0);
        let interrupted = &mut self.interrupted;
        let rest = self.rest.as_ref();
        let mut sink = |event: Event<'_>| {
            if rest.is_some_and(|rest| !rest.allows(&event)) {
                return Flow::Continue;
            }
            delivered += 1;
            sink(event)
        };
        let mut turn = Turn::begin();
        self.source.drain(&mut |bytes| {
            let flow = match Event::parse(bytes) {
                Ok(event) => match interrupted.judge(&event, bytes) {
                    Verdict::Deliver => sink(event),
                    Verdict::Ended(call) => Event::parse(&call).map_or(Flow::Continue, &mut sink),
                    Verdict::Withhold => Flow::Continue,
                },
                Err(error) => {
                    tracing::warn!("a program delivered a malformed event: {error}");
                    malformed += 1;
                    Flow::Continue
                }
            };
            if turn.is_over() { Flow::Stop } else { flow }
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
        // a sink that has stopped gets no loss event either, before the next poll
        if stopped.get() || (count > 0 && self.checked.elapsed() < CHECK_INTERVAL) {
            return Ok(Polled::Events(count));
        }
        self.checked = Instant::now();
        let before = self.losses.counted();
        count += self.report_losses(&mut sink);
        let skipped = |lost: [u64; Loss::ALL.len()]| lost[Loss::Nested as usize];
        if self.life.follows() && skipped(self.losses.counted()) > skipped(before) {
            follow::adopt(self.source.followed());
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

    fn select(&mut self, selection: &Selection) -> Result<(), CaptureError> {
        if selection.times() && !self.times {
            return Err(CaptureError::failed(
                self.driver,
                "measure how long calls take",
            )(
                "the programs in the kernel were loaded without that; restart lanner",
            ));
        }
        // the programs measure or do not, whatever a later selection wants
        let selection = &selection.clone().with_times(self.times);
        self.source
            .select(&interrupted::watched(selection), &self.limits)
            .map_err(CaptureError::failed(self.driver, "change the selection"))?;
        self.interrupted.select(selection);
        self.rest = rest_of(selection);
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
