//! What the legacy driver reads from: its attached programs and their perf buffers.

use std::time::Duration;

use driver_api::driver::Flow;
use driver_api::error::Cause;
use driver_api::event::Loss;
use driver_api::request::{Limits, SyscallSet};
use driver_ebpf::capture::Source;
use driver_ebpf::follow::Followed;

use crate::load::Loaded;
use crate::perf::Perf;

/// Programs, maps and a buffer for each CPU.
#[derive(Debug)]
pub(crate) struct PerfSource {
    // dropped first: nothing is captured once the programs are detached
    pub(crate) loaded: Loaded,
    pub(crate) perf: Perf,
}

impl Source for PerfSource {
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

    /// Events of batches that found no room are counted by the reader, when it comes to the next batch. An event
    /// alone is counted by the programs where the helper tells them (since 5.2 or so), and by the buffer's own
    /// records, which come with the next one that fits: never both.
    fn lost(&self) -> [u64; Loss::ALL.len()] {
        let mut lost = self.loaded.lost();
        let full = &mut lost[Loss::BufferFull as usize];
        *full = (*full).max(self.perf.lost());
        lost
    }

    fn followed(&mut self) -> &mut dyn Followed {
        &mut self.loaded
    }

    fn select(&mut self, selection: &SyscallSet, limits: &Limits) -> Result<(), Cause> {
        self.loaded.select(selection, limits).map_err(Cause::from)
    }
}
