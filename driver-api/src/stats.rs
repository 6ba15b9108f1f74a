//! What a capture has delivered and lost.

use crate::event::Loss;

/// Counters since the capture was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Events handed to the sink.
    pub captured: u64,
    /// Events lost, by cause; the order is that of [`Loss::ALL`].
    pub lost: [u64; Loss::ALL.len()],
    /// Bytes waiting in the buffers.
    pub pending: u64,
    /// Bytes the buffers hold.
    pub capacity: u64,
    /// Descriptions that were not events.
    pub malformed: u64,
}

impl Stats {
    /// Events lost, whatever the cause.
    pub fn lost_total(&self) -> u64 {
        self.lost.iter().sum()
    }
}
