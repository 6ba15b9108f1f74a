//! The unprivileged driver in real prisons: containers with several profiles, bubblewrap, user namespaces,
//! nobody. Each runs the real `lanner` with a command inside and looks at the events.
//!
//! What a prison needs (podman, runc, bubblewrap) is installed by `tools/setup test`. A prison that cannot be
//! built here is skipped with its reason; with `LANNER_NO_SKIP` set that is a failure.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot set its stage has failed, and says what it skips"
)]

mod bare;
mod cell;
mod containers;
mod killed;
mod look;
mod privilege;
