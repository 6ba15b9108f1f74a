//! The drivers in this build: lists them, probes them, chooses one.
//!
//! No other crate knows a driver by its name: they ask [`registered`], and the [`Driver`](driver_api::driver::Driver)
//! trait answers. CONTRIBUTING.md says how to add a driver.
//!
//! | file | does |
//! |---|---|
//! | [`host`], `cgroup` | gathers what probing needs to know about the host; how much memory lanner may use |
//! | `order` | the order in which drivers are tried, and which one would be taken |
//! | `choose` | opens the first driver that works, or the one that the user named |
//! | [`privilege`] | gives up capabilities once a driver is open |

mod cgroup;
mod choose;
pub mod host;
#[cfg(test)]
mod made;
mod order;
pub mod privilege;

// A crate that nothing names is not linked, and so registers nothing.
#[cfg(feature = "core")]
use driver_ebpf_core as _;
#[cfg(feature = "legacy")]
use driver_ebpf_legacy as _;
#[cfg(feature = "ptrace")]
use driver_ptrace as _;

pub use choose::{AUTO, Chosen, PassedOver, Refused, by_name, open, open_as, with_modes};
pub use driver_api::driver::registered;
pub use order::{Choice, Order};
