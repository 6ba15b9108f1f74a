//! The conformance suite of the system calls: every call of the table, in every ABI, on every driver.
//!
//! This binary also plays the [`actor`]: it makes the calls of the [`script`] and writes down what it knows about
//! each. The event that a driver delivers must say the same.
//!
//! Arguments: names of drivers and of calls. `--report` writes docs/conformance.md, `--list` prints every call that was
//! made. A driver that cannot run here is reported with its reason; as root and with `LANNER_NO_SKIP` set, that is a
//! failure.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot set its stage has failed"
)]

mod actor;
mod arena;
mod compare;
mod exec;
mod facts;
mod gaps;
mod raw;
mod reference;
mod report;
mod scenery;
mod script;
mod suite;
mod truth;
mod watch;
mod words;

fn main() -> std::process::ExitCode {
    suite::main()
}
