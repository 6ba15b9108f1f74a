//! The real peers that outputs deliver to, and certificates for them. None of them is our own code, so that both sides
//! cannot share a mistake.
//!
//! | file | has |
//! |---|---|
//! | `certificates` | an authority, and what it signs |
//! | `receiver` | Python's web server (`peers/receiver.py`) |
//! | `client` | a gRPC client made of grpcio and a codec written from the wire format (`peers/client.py`), and Falco's |
//! | `rsyslogd`, `journald`, `nats` | the daemons |
//!
//! A test whose peer is not installed is [skipped](crate::skipped).

mod certificates;
mod client;
mod journald;
mod nats;
mod receiver;
mod rsyslogd;

use std::path::{Path, PathBuf};
use std::process::Child;

use crate::skipped;

pub use certificates::Authority;
pub use client::{CRI, Client, Python, current_python, python};
pub use journald::Journald;
pub use nats::NatsServer;
pub use receiver::{Receiver, words};
pub use rsyslogd::Rsyslogd;

/// Finds a daemon of this machine. Reports the test as skipped if there is none.
fn daemon(name: &str) -> Option<PathBuf> {
    let found = [
        "/usr/sbin",
        "/usr/bin",
        "/usr/local/bin",
        "/usr/lib/systemd",
    ]
    .into_iter()
    .map(|folder| Path::new(folder).join(name))
    .find(|path| path.exists());
    if found.is_none() {
        skipped(&format!("there is no {name}"));
    }
    found
}

/// A process that is killed when its test ends.
#[derive(Debug)]
struct Running(Child);

impl Running {
    fn kill(&mut self) {
        // Both fail if it has ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}
