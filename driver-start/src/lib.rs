//! What every driver does before it captures: start a command so that it can be captured from its first call
//! on ([`Held`]), and find the threads of running processes ([`threads`], [`follow_threads`]).

mod clock;
mod error;
mod held;
mod threads;

pub use clock::monotonic_ns;
pub use error::{StartError, ThreadsError};
pub use held::Held;
pub use threads::{follow_threads, threads};
