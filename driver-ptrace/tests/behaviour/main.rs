//! How real programs behave under the driver, and which events it makes of them, on the kernel of this host.
//!
//! The conformance suite tests the contract on every driver. These cases test what only ptrace can break. They run as
//! root and as any other user.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test may fail where it likes"
)]

mod commands;
mod hidden;
mod leaving;
mod notify;
mod pids;
mod scenes;
mod stage;
mod transparency;
