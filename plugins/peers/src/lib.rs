//! For tests alone: the real peers that outputs deliver to, and certificates for them. The tests of each output
//! begin with one of these, as do those of the whole lanner.
//!
//! | file | has |
//! |---|---|
//! | `certificates` | an authority, and what it signs |
//! | `receiver` | a web server of another make (`receiver.py`) |
//! | `client` | a gRPC client of another make (`client.py`) |
//! | `rsyslogd`, `nats` | the daemons |
//!
//! A peer that is not installed is a failure where `LANNER_NO_SKIP` is set, and elsewhere a test less.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot set its stage has failed"
)]

mod certificates;
mod client;
mod nats;
mod receiver;
mod rsyslogd;

use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

pub use certificates::Authority;
pub use client::{CRI, Client, python};
pub use nats::NatsServer;
pub use receiver::{Receiver, words};
pub use rsyslogd::Rsyslogd;

/// How long anything may take on a slow machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until something has happened.
///
/// # Panics
///
/// It did not within [`PATIENCE`].
pub fn wait_for<T>(what: &str, mut happened: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = happened() {
            return value;
        }
        assert!(Instant::now() < deadline, "not within a minute: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Says why something is left out; where nothing may be, that is a failure.
///
/// # Panics
///
/// `LANNER_NO_SKIP` is set.
pub fn skipped(why: &str) {
    assert!(
        std::env::var_os("LANNER_NO_SKIP").is_none(),
        "skipped: {why}"
    );
    // cargo shows it with --nocapture
    println!("skipped: {why}");
}

/// A daemon of this machine; none: the test is left out.
fn daemon(name: &str) -> Option<PathBuf> {
    let found = ["/usr/sbin", "/usr/bin", "/usr/local/bin"]
        .into_iter()
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.exists());
    if found.is_none() {
        skipped(&format!("there is no {name}"));
    }
    found
}

/// A process that ends with its test.
#[derive(Debug)]
struct Running(Child);

impl Running {
    fn kill(&mut self) {
        // it may have ended by itself
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}
