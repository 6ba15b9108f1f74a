//! What a capture driver is and what it delivers.
//!
//! This crate asks the host nothing but the time and the size of a page. It holds
//!
//! - [`driver`]: the [`Driver`](driver::Driver) and [`Capture`](driver::Capture) traits, with the numbered
//!   contract that the conformance suite tests on every driver;
//! - [`request`], [`support`], [`host`], [`stats`], [`error`]: the types that these traits take and return;
//! - [`event`]: the event's layout, one for all drivers, in Rust and (`bpf/event.h`) in C;
//! - [`table`]: the syscall table, `syscalls.tbl`, and the names of its flags, `symbols.tbl`;
//! - [`selection`], [`predicate`]: which calls are captured, and which of their events;
//! - [`plan`]: what to fetch for each call, derived from the table, in Rust and (`bpf/plan.h`) in C;
//! - [`scripted`]: a capture that delivers the events that a test gives it;
//! - [`replay`]: what a capture from a file has beyond one of a driver;
//! - [`fix`]: commands that close gaps; [`turn`]: how long a poll may take;
//! - `outcome`: how calls end, for predicates.

pub mod driver;
pub mod error;
pub mod event;
pub mod fix;
pub mod host;
pub mod outcome;
pub mod plan;
pub mod predicate;
pub mod replay;
pub mod request;
pub mod scripted;
pub mod selection;
pub mod stats;
pub mod support;
pub mod table;
pub mod turn;

pub use inventory;

/// The folder of the C headers that drivers share with this crate, for build scripts.
pub const HEADERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/bpf");
