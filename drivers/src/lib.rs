//! The drivers in this build: list them, probe them, choose one.
//!
//! A crate that is only a dependency registers nothing with `inventory`: it has to be named here. Adding
//! a driver is one new crate and one line below.

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
