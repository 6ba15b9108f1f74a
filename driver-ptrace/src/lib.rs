//! The unprivileged driver: ptrace behind a seccomp filter, or seccomp notification where ptrace is forbidden.
//!
//! `trace` and `notify` are its two modes; `modes` chooses between them and registers the driver. Both compile their
//! filter in `filter`. At a call they follow the capture plan (`interpret`), which reads the thread's `memory`, its
//! `facts` from /proc (`proc_dir`, `threads`) and the ends of its `sockets` (`unix_diag`). `events` hands the result to
//! the sink. `tracee` has the types for stopped threads, `clone` the flags of births, `id_map` maps by ids. `hiding`
//! knows the calls by which programs hide from lanner, and `guard` keeps them away from lanner itself. `reader` reads what
//! can keep a reader waiting, in a process of its own (`forked`), while there are file systems that are programs (`fuse`).

mod clone;
mod events;
mod facts;
mod filter;
mod forked;
mod fuse;
mod guard;
mod hiding;
mod id_map;
mod interpret;
mod memory;
mod modes;
mod notify;
mod proc_dir;
mod reader;
mod sockets;
mod threads;
mod trace;
mod tracee;
mod unix_diag;

pub use modes::{AnyMode, Notify};
pub use trace::Ptrace;

/// The driver's name.
const NAME: &str = "ptrace";
