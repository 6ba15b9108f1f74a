//! What tests of several crates need: waiting with a deadline, skipping with a reason, the drivers that run here, plugins, and
//! the real peers that outputs deliver to.
//!
//! | module | has |
//! |---|---|
//! | `wait` | [`PATIENCE`], [`wait_for`], [`wait_until`] |
//! | `skip` | [`skipped`], [`is_root`], [`usable_drivers`] |
//! | `counting` | [`Counting`], an allocator that counts |
//! | `documented` | [`assert_documented`]: a page lists every setting with its default |
//! | `promtool` | [`accepted_by_prometheus`]: Prometheus' own parser reads a page |
//! | [`plugins`] | builds plugins of this project, compiles those in C |
//! | `peers` (feature `peers`) | certificates, and servers and clients that are not ours |
//!
//! Only `dev-dependencies` name this crate. It panics freely: a test that cannot set its stage has failed.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot set its stage has failed"
)]

mod counting;
mod documented;
#[cfg(feature = "peers")]
pub mod peers;
pub mod plugins;
mod promtool;
mod skip;
mod wait;

pub use counting::{Counting, allocations};
pub use documented::assert_documented;
pub use promtool::accepted_by_prometheus;
pub use skip::{absent, is_root, lacking, skipped, usable_drivers};
pub use wait::{PATIENCE, wait_for, wait_until};

/// `podman run`, as it works here: without a network; with runc, since crun does not work with every layout of cgroups;
/// and with small limits, since podman's own ones need CAP_SYS_RESOURCE. The caller adds options, the image and the command.
#[must_use]
pub fn podman_run() -> std::process::Command {
    let mut podman = std::process::Command::new("podman");
    podman
        .args(["run", "--rm", "--runtime=runc", "--network=none"])
        .args(["--ulimit=nofile=20000:20000", "--ulimit=nproc=20000:20000"]);
    podman
}

/// Writes the bytes again and again until the client has gone. Gives the number of bytes that it took.
pub fn flood(mut stream: &std::net::TcpStream, bytes: &[u8]) -> usize {
    use std::io::Write;
    let mut taken = 0;
    while let Ok(count) = stream.write(bytes) {
        taken += count;
    }
    taken
}

/// The last word of each line.
#[must_use]
pub fn last_words(text: &str) -> Vec<String> {
    let last = |line: &str| line.rsplit(' ').next().unwrap_or_default().to_owned();
    text.lines().map(last).collect()
}
