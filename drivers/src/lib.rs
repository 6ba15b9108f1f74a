//! The drivers in this build: list them, probe them, choose one.
//!
//! No other crate knows a driver by its name: they ask [`registered`], and the [`Driver`](driver_api::driver::Driver)
//! trait answers. To add a driver:
//!
//! 1. Make a crate `driver-NAME` that implements [`Driver`](driver_api::driver::Driver) and calls
//!    [`driver_api::register`]. Any folder of the workspace with a name like this is a member.
//! 2. Add it to `drivers/Cargo.toml`: the dependency, a feature of its name, and the feature in `default`.
//! 3. Name it below. A crate that is only a dependency is not linked, and so registers nothing with `inventory`.
//!
//! The conformance suite and the suite of system calls then run on it. What it is known not to deliver goes into
//! `drivers/tests/syscalls/gaps.rs`. If it needs a compiler or library that may be missing, `tools/features` checks
//! for that. What is expected of it on other kernels goes into `tools/kernels/rows.py`.

mod cgroup;
mod choose;
pub mod host;
#[cfg(test)]
mod made;
mod order;
pub mod privilege;

#[cfg(feature = "core")]
use driver_ebpf_core as _;
#[cfg(feature = "legacy")]
use driver_ebpf_legacy as _;
#[cfg(feature = "ptrace")]
use driver_ptrace as _;

pub use choose::{AUTO, Chosen, PassedOver, Refused, by_name, open, open_as, with_modes};
pub use driver_api::driver::registered;
pub use order::{Choice, Order};
