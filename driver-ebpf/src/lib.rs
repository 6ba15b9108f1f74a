//! What the two eBPF drivers share: the interpreter's C headers and their compilation, and starting a
//! command or finding threads so that the kernel filters for them from the first moment on.

pub mod capture;
#[cfg(feature = "compile")]
pub mod compile;
pub mod follow;
pub mod gaps;
pub mod life;
pub mod memory;
pub mod missed;
pub mod own;
pub mod quiet;
pub mod start;
pub mod undecided;

/// Where the interpreter's C headers are, for build scripts.
pub const HEADERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/bpf");
