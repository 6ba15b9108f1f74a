//! What the core driver reads from: its attached programs, and the rings that they write.

use std::fmt;
use std::os::fd::AsFd;
use std::time::Duration;

use driver_api::driver::Flow;
use driver_api::error::Cause;
use driver_api::event::Loss;
use driver_api::request::Limits;
use driver_api::selection::Selection;
use driver_ebpf::capture::Source;
use driver_ebpf::follow::Followed;
use driver_ebpf::missed::Missed;
use libbpf_rs::{Link, Object};

use crate::entry::Rooms;
use crate::libbpf::LibbpfError;
use crate::maps::Maps;
use crate::ring::Rings;

/// Programs, maps and the rings.
pub(crate) struct RingSource {
    // dropped first: detaches the programs, so that nothing is captured any more
    pub(crate) links: Vec<Link>,
    pub(crate) rooms: Rooms,
    pub(crate) missed: Missed,
    pub(crate) rings: Rings,
    pub(crate) maps: Maps,
    pub(crate) object: Object,
    pub(crate) capacity: usize,
}

impl fmt::Debug for RingSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RingSource")
            .field("programs", &self.links.len())
            .field("object", &self.object.name())
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}

impl Source for RingSource {
    fn gather(&mut self, timeout: Duration) {
        self.rings.gather(timeout, self.maps.wakeup.as_fd());
    }

    fn look(&mut self) {
        self.rings.look();
    }

    fn drain(&mut self, sink: &mut dyn FnMut(&[u8]) -> Flow) -> usize {
        self.rings.drain(sink)
    }

    fn wait(&self, timeout: Duration) {
        self.rings.wait(timeout, self.maps.wakeup.as_fd());
    }

    fn pending(&self) -> u64 {
        self.rings.pending()
    }

    fn capacity(&self) -> u64 {
        self.capacity as u64
    }

    fn lost(&self) -> [u64; Loss::ALL.len()] {
        let mut lost = self.maps.lost();
        lost[Loss::Nested as usize] += self.missed.runs();
        lost
    }

    fn lost_lives(&self) -> u64 {
        self.maps.lost_lives() + self.missed.lives()
    }

    fn followed(&mut self) -> &mut dyn Followed {
        &mut self.maps
    }

    fn select(&mut self, selection: &Selection, limits: &Limits) -> Result<(), Cause> {
        let calls = selection.with_multiplexers();
        self.rooms
            .attach(&self.object, calls.calls(), &mut self.links)
            .map_err(|error| Cause::from(LibbpfError::from(error)))?;
        self.maps.select(selection, limits).map_err(Cause::from)
    }
}
