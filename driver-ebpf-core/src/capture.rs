//! What the core driver reads from: its attached programs and their ring buffer.

use std::fmt;
use std::os::fd::AsFd;
use std::time::Duration;

use driver_api::driver::Flow;
use driver_api::event::Loss;
use driver_api::request::{Limits, SyscallSet};
use driver_ebpf::capture::Source;
use libbpf_rs::{Link, Object};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::load::Maps;
use crate::ring::Ring;

/// Programs, maps and the ring buffer.
pub(crate) struct RingSource {
    // dropped first: nothing is captured once the programs are detached
    pub(crate) links: Vec<Link>,
    pub(crate) ring: Ring,
    pub(crate) maps: Maps,
    pub(crate) object: Object,
    pub(crate) size: usize,
}

impl fmt::Debug for RingSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RingSource")
            .field("programs", &self.links.len())
            .field("object", &self.object.name())
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

impl Source for RingSource {
    fn drain(&mut self, sink: &mut dyn FnMut(&[u8]) -> Flow) -> usize {
        self.ring.drain(sink)
    }

    fn wait(&self, timeout: Duration) {
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        // A signal, or nothing in time, is no error: the caller polls again.
        let _ = poll(
            &mut [PollFd::new(self.maps.events.as_fd(), PollFlags::POLLIN)],
            timeout,
        );
    }

    fn pending(&self) -> u64 {
        self.ring.pending()
    }

    fn capacity(&self) -> u64 {
        self.size as u64
    }

    fn lost(&self) -> [u64; Loss::ALL.len()] {
        self.maps.lost()
    }

    fn anyone_followed(&self) -> bool {
        self.maps.anyone_followed()
    }

    fn select(&mut self, selection: &SyscallSet, limits: &Limits) -> Result<(), String> {
        self.maps
            .select(selection, limits)
            .map_err(|error| error.to_string())
    }
}
