//! What a capture reads from: the attached programs and their perf buffers.

use std::time::Duration;

use driver_api::driver::Flow;
use driver_api::error::Cause;
use driver_api::event::Loss;
use driver_api::request::Limits;
use driver_api::selection::Selection;
use driver_ebpf::capture::Source;
use driver_ebpf::follow::Followed;

use crate::loaded::Loaded;
use crate::perf::Perf;

/// The programs with their maps, and a perf buffer for each CPU.
#[derive(Debug)]
pub(crate) struct PerfSource {
    // dropped first: it detaches the programs, and nothing more is captured
    pub(crate) loaded: Loaded,
    pub(crate) perf: Perf,
}

impl Source for PerfSource {
    fn look(&mut self) {
        self.perf.look();
    }

    fn drain(&mut self, sink: &mut dyn FnMut(&[u8]) -> Flow) -> usize {
        self.perf.drain(sink)
    }

    fn wait(&self, timeout: Duration) {
        self.perf.wait(timeout);
    }

    fn pending(&self) -> u64 {
        self.perf.pending()
    }

    fn capacity(&self) -> u64 {
        self.perf.capacity()
    }

    /// Events lost so far, by cause.
    ///
    /// A batch that found no room is counted by the reader, when it reads the next batch. A single event that found no
    /// room is counted twice: by the programs, where the helper reports the error (since about Linux 5.2), and by the
    /// buffer's own records of losses, which arrive with the next event that fits. The larger count is taken.
    fn lost(&self) -> [u64; Loss::ALL.len()] {
        let mut lost = self.loaded.lost();
        let full = &mut lost[Loss::BufferFull as usize];
        *full = (*full).max(self.perf.lost());
        lost
    }

    /// Nothing says what was in a batch that found no room, or what else an event was that the programs could not write.
    fn lost_lives(&self) -> u64 {
        let of = |cause| self.loaded.maps.lost_of(cause);
        let full = self.perf.lost().max(of(Loss::BufferFull));
        full + of(Loss::Nested) + of(Loss::Fault) + self.loaded.missed.lives()
    }

    fn followed(&mut self) -> &mut dyn Followed {
        &mut self.loaded
    }

    fn select(&mut self, selection: &Selection, limits: &Limits) -> Result<(), Cause> {
        self.loaded.select(selection, limits).map_err(Cause::from)
    }
}
