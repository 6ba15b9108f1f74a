//! From alerts to outputs, with real plugins, real disks and real deaths.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot set its stage has failed, and says what it skips"
)]

mod blinded;
mod crash;
mod disk;
mod full;
mod heartbeat;
mod hostile;
mod killed;
mod losses;
mod memory;
mod outputs;
mod page;
mod programs;
mod reload;
mod secrets;
mod service;
mod session;
mod soak;
mod stage;
mod systemd;
mod web;
