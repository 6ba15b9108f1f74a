//! The way of an event from end to end: the real binary, real drivers, real programs.
//!
//! Everything here runs the `lanner` that was just built. Drivers that cannot run for this user are
//! reported as skipped; with `LANNER_NO_SKIP` set and root that is a failure.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot set its stage has failed, and says what it skips"
)]

mod after_losses;
mod alerts;
mod capture;
mod cgroups;
mod cli;
mod config_check;
mod config_places;
mod containers;
mod ended;
mod ends;
mod entry;
mod entry_container;
mod fix;
mod foreign;
mod host;
mod lanner;
mod looking;
mod memory;
mod names;
mod neutral;
mod normal;
mod oracle;
mod parity;
mod recorded;
mod rules;
mod runtimes;
mod scap;
mod scarce;
mod scenes;
mod sockets;
mod state;
mod sysdig;
mod terminal;
mod top;
mod transparent;
mod twin;
mod unprivileged;
mod unusual;
mod written;
