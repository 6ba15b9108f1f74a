//! Counters that the event path and the rule workers write, and telemetry reads.

mod board;
mod worker_status;

pub(crate) use board::Board;
pub(crate) use worker_status::Sight;
pub use worker_status::WorkerStatus;
