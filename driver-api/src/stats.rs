//! What a capture has delivered and lost.

use crate::event::Loss;

/// Counters since the capture was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Events handed to the sink.
    pub captured: u64,
    /// Events lost, by cause, in the order of [`Loss::ALL`].
    pub lost: [u64; Loss::ALL.len()],
    /// Bytes that wait in the buffers.
    pub pending: u64,
    /// Bytes that the buffers can hold.
    pub capacity: u64,
    /// Records that were no valid events.
    pub malformed: u64,
}

impl Stats {
    /// Events lost by any cause.
    pub fn lost_total(&self) -> u64 {
        self.lost.iter().sum()
    }
}
