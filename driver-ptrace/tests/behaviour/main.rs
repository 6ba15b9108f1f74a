//! How programs behave under the driver, and what is told of them: real programs, the real kernel.
//!
//! The conformance suite tests the contract on every driver; here is what only ptrace can break. Runs as
//! root and as any other user.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test may fail where it likes"
)]

mod commands;
mod leaving;
mod nature;
mod pids;
mod stage;
mod transparency;
