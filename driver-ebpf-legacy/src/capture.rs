//! The running capture: events from the perf buffers to the sink.

use std::time::{Duration, Instant};

use driver_api::driver::{Capture, CaptureError, Flow, Polled};
use driver_api::event::{Event, Loss};
use driver_api::request::{Limits, Request, SyscallSet};
use driver_api::stats::Stats;
use driver_ebpf::life::{Life, Losses};
use driver_ebpf::start::Held;

use crate::NAME;
use crate::load::Loaded;
use crate::perf::Perf;

/// How often the loss counters are read, and the target's life is looked at, while events keep coming.
const LOOK: Duration = Duration::from_millis(100);

/// One capture of the legacy driver.
#[derive(Debug)]
pub(crate) struct LegacyCapture {
    // dropped first: nothing is captured once the programs are detached
    loaded: Loaded,
    perf: Perf,
    limits: Limits,
    life: Life,
    losses: Losses,
    looked: Instant,
    stats: Stats,
}

impl LegacyCapture {
    pub(crate) fn new(
        loaded: Loaded,
        perf: Perf,
        command: Option<Held>,
        request: &Request,
    ) -> Self {
        Self {
            stats: Stats {
                capacity: perf.capacity(),
                ..Stats::default()
            },
            loaded,
            perf,
            limits: request.limits,
            life: Life::new(NAME, request, command),
            losses: Losses::default(),
            looked: Instant::now(),
        }
    }

    fn drain(&mut self, sink: &mut dyn FnMut(Event<'_>) -> Flow) -> usize {
        let mut malformed = 0;
        let count = self.perf.drain(&mut |bytes| match Event::parse(bytes) {
            Ok(event) => sink(event),
            Err(error) => {
                tracing::warn!("the kernel delivered {error}");
                malformed += 1;
                Flow::Continue
            }
        });
        self.stats.malformed += malformed as u64;
        self.stats.captured += (count - malformed) as u64;
        count - malformed
    }

    /// Lost so far. What found no room is counted by the programs where the helper tells them (since 5.2 or
    /// so), and by the buffer's own records, which come with the next event that fits: never both.
    fn lost(&self) -> [u64; Loss::ALL.len()] {
        let mut lost = self.loaded.lost();
        let full = &mut lost[Loss::BufferFull as usize];
        *full = (*full).max(self.perf.lost());
        lost
    }
}

impl Capture for LegacyCapture {
    fn poll(
        &mut self,
        timeout: Duration,
        sink: &mut dyn FnMut(Event<'_>) -> Flow,
    ) -> Result<Polled, CaptureError> {
        self.life.begin()?;
        let mut count = self.drain(sink);
        if count == 0 {
            if self.perf.pending() == 0 {
                self.perf.wait(timeout);
            }
            count = self.drain(sink);
        }
        if count > 0 && self.looked.elapsed() < LOOK {
            return Ok(Polled::Events(count));
        }
        self.looked = Instant::now();
        count += self.losses.report(self.lost(), sink);
        if count == 0
            && let Some(ended) = self.life.over(|| self.loaded.anyone_followed())
            && self.perf.pending() == 0
        {
            return Ok(ended);
        }
        Ok(Polled::Events(count))
    }

    fn select(&mut self, selection: &SyscallSet) -> Result<(), CaptureError> {
        self.loaded
            .select(selection, &self.limits)
            .map_err(|cause| CaptureError {
                driver: NAME,
                step: "change the selection".to_owned(),
                cause,
            })
    }

    fn stats(&self) -> Stats {
        Stats {
            lost: self.losses.counted(),
            pending: self.perf.pending(),
            ..self.stats
        }
    }
}
