//! The conformance suite of the system calls: every call of the table, in every ABI, on every driver.
//!
//! This binary in the role of an [`actor`] makes the calls of the [`script`] and writes down what it
//! knows of each; the event that a driver delivers must say the same. Arguments: names of drivers and of
//! calls; `--report` writes docs/conformance.md, `--list` prints every call that was made. A driver that cannot run here is reported with its reason;
//! with `LANNER_NO_SKIP` set that is a failure where root could have run it.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot set its stage has failed"
)]

#[cfg(target_arch = "x86_64")]
mod actor;
#[cfg(target_arch = "x86_64")]
mod arena;
#[cfg(target_arch = "x86_64")]
mod compare;
#[cfg(target_arch = "x86_64")]
mod exec;
#[cfg(target_arch = "x86_64")]
mod facts;
#[cfg(target_arch = "x86_64")]
mod gaps;
#[cfg(target_arch = "x86_64")]
mod raw;
#[cfg(target_arch = "x86_64")]
mod reference;
#[cfg(target_arch = "x86_64")]
mod report;
#[cfg(target_arch = "x86_64")]
mod scenery;
#[cfg(target_arch = "x86_64")]
mod script;
#[cfg(target_arch = "x86_64")]
mod suite;
#[cfg(target_arch = "x86_64")]
mod truth;
#[cfg(target_arch = "x86_64")]
mod watch;
#[cfg(target_arch = "x86_64")]
mod words;

#[cfg(target_arch = "x86_64")]
fn main() -> std::process::ExitCode {
    suite::main()
}

#[cfg(not(target_arch = "x86_64"))]
fn main() {
    println!("skipped: the script makes calls of x86_64 and i386");
}
