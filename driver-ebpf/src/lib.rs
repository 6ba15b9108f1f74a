//! What the two eBPF drivers share.
//!
//! | file | does |
//! |---|---|
//! | `bpf/ops.h` | the interpreter of capture plans, in C |
//! | `compile` | compiles C for a driver's build script |
//! | [`packed`] | compressed objects inside the program |
//! | [`layout`] | the structs that programs and user space share |
//! | [`capture`] | a running capture: events go from a driver's [`Source`](capture::Source) to the sink |
//! | [`start`], [`follow`] | whom the programs follow at the start; keeps that table right |
//! | [`life`] | starts the command at the first poll, and ends the capture with the last thread |
//! | [`interrupted`] | decides how calls end that a signal has interrupted |
//! | [`losses`], [`missed`] | reports lost events; counts runs of programs that the kernel has skipped |
//! | [`memory`], [`quiet`] | raises the limit of locked memory; blocks signals while programs are loaded |
//! | [`own`] | lanner's own process id, as the programs see it |
//! | [`trial`] | tries what no file tells about bpf(2) |
//! | [`gaps`] | what both drivers need, and what neither can capture |
//!
//! The crate `driver-start` starts commands.

pub mod capture;
#[cfg(feature = "compile")]
pub mod compile;
pub mod follow;
pub mod gaps;
pub mod interrupted;
pub mod layout;
pub mod life;
pub mod losses;
pub mod memory;
pub mod missed;
pub mod own;
pub mod packed;
pub mod quiet;
pub mod start;
pub mod trial;

use driver_api::support::{FilterStage, Serves, Tested};

/// What both drivers can be pointed at.
pub const SERVES: Serves = Serves {
    host: true,
    command: true,
    pids: true,
};

/// Where both drivers test predicates.
pub const TESTED: Tested = Tested {
    arguments: FilterStage::Kernel,
    result: FilterStage::Kernel,
};

/// The folder of the interpreter's C headers, for build scripts.
pub const HEADERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/bpf");
