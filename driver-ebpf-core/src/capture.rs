//! The running capture: events from the ring buffer to the sink.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use driver_api::driver::{Capture, CaptureError, Flow, Polled};
use driver_api::event::Event;
use driver_api::request::{Limits, Request, SyscallSet};
use driver_api::stats::Stats;
use driver_ebpf::life::{Life, Losses};
use driver_ebpf::start::Held;
use libbpf_rs::{Link, Object};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::NAME;
use crate::load::Maps;
use crate::ring::Ring;

/// How often the loss counters are read, and the target's life is looked at, while events keep coming.
const LOOK: Duration = Duration::from_millis(100);

/// One capture of the core driver.
pub(crate) struct CoreCapture {
    // dropped first: nothing is captured once the programs are detached
    links: Vec<Link>,
    ring: Ring,
    maps: Maps,
    _object: Object,
    size: usize,
    limits: Limits,
    life: Life,
    losses: Losses,
    looked: Instant,
    stats: Stats,
}

impl std::fmt::Debug for CoreCapture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CoreCapture")
            .field("programs", &self.links.len())
            .field("size", &self.size)
            .field("life", &self.life)
            .finish_non_exhaustive()
    }
}

impl CoreCapture {
    pub(crate) fn new(
        object: Object,
        maps: Maps,
        links: Vec<Link>,
        ring: Ring,
        size: usize,
        command: Option<Held>,
        request: &Request,
    ) -> Self {
        Self {
            links,
            ring,
            maps,
            _object: object,
            size,
            limits: request.limits,
            life: Life::new(NAME, request, command),
            losses: Losses::default(),
            looked: Instant::now(),
            stats: Stats {
                capacity: size as u64,
                ..Stats::default()
            },
        }
    }

    fn drain(&mut self, sink: &mut dyn FnMut(Event<'_>) -> Flow) -> usize {
        let mut malformed = 0;
        let count = self.ring.drain(&mut |bytes| match Event::parse(bytes) {
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
}

impl Capture for CoreCapture {
    fn poll(
        &mut self,
        timeout: Duration,
        sink: &mut dyn FnMut(Event<'_>) -> Flow,
    ) -> Result<Polled, CaptureError> {
        self.life.begin()?;
        let mut count = self.drain(sink);
        if count == 0 {
            let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
            // A signal, or nothing in time, is no error: the caller polls again.
            let _ = poll(
                &mut [PollFd::new(self.maps.events.as_fd(), PollFlags::POLLIN)],
                timeout,
            );
            count = self.drain(sink);
        }
        if count > 0 && self.looked.elapsed() < LOOK {
            return Ok(Polled::Events(count));
        }
        self.looked = Instant::now();
        count += self.losses.report(self.maps.lost(), sink);
        if count == 0
            && let Some(ended) = self.life.over(|| self.maps.anyone_followed())
            && self.ring.pending() == 0
        {
            return Ok(ended);
        }
        Ok(Polled::Events(count))
    }

    fn select(&mut self, selection: &SyscallSet) -> Result<(), CaptureError> {
        self.maps
            .select(selection, &self.limits)
            .map_err(|error| CaptureError {
                driver: NAME,
                step: "change the selection".to_owned(),
                cause: error.to_string(),
            })
    }

    fn stats(&self) -> Stats {
        Stats {
            lost: self.losses.counted(),
            pending: self.ring.pending(),
            ..self.stats
        }
    }
}
