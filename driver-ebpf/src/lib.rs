//! What the two eBPF drivers share.
//!
//! - `bpf/ops.h` is the interpreter of capture plans, in C; `compile` compiles it for a driver's build script.
//! - [`capture`] is a running capture: events go from a driver's [`Source`](capture::Source) to the sink.
//! - [`start`] says whom the programs follow, [`follow`] keeps that table right.
//! - [`interrupted`] decides how calls end that a signal has interrupted.
//! - [`gaps`] says what both drivers need, and what neither can capture.
//!
//! Commands are started by the crate `driver-start`.

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
pub mod quiet;
pub mod start;

/// The folder of the interpreter's C headers, for build scripts.
pub const HEADERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/bpf");
