//! What every driver does before it captures.
//!
//! - `held`: starts a command so that it can be captured from its first call on ([`Held`]).
//! - `threads`: finds the threads of running processes ([`threads()`], [`follow_threads`]).
//! - `clock`: the clock of events ([`monotonic_ns`]).
//! - `error`: why a command cannot be started, and why threads cannot be listed.

mod clock;
mod error;
mod held;
mod threads;

pub use clock::monotonic_ns;
pub use error::{StartError, ThreadsError};
pub use held::Held;
pub use threads::{follow_threads, threads};
