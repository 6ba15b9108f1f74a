//! Captures of Falco, sysdig and Stratoshark (`.scap`), as a capture whose events are lanner's.
//!
//! | file | holds |
//! |---|---|
//! | `events.tbl`, `flags.tbl`, `codes.tbl` | Falco's types of events and their parameters, values with names, codes of calls |
//! | `table` | these tables, resolved against lanner's own |
//! | `blocks`, `bytes` | cuts a file, compressed or not, into blocks; numbers and strings from bytes |
//! | `lists` | processes, descriptors and users, in every version of their blocks |
//! | `event` | one event and its parameters |
//! | `symbols` | names of values, and how Falco's become the kernel's |
//! | `merge` | one call from the events of its entry and its return |
//! | `encode` | a call as a lanner event |
//! | `value` | numbers in their forms |
//! | `socket` | addresses and lists of descriptors |
//! | `life` | exec, fork and exit |
//! | `lifecycle` | the parameters of ends and signals |
//! | `process` | which process a thread belongs to |
//! | `state` | the lists as events that make the same state |
//! | `capture` | reads all of it, in order |
//! | `write` | writes one |
//! | `args` | parameters as Falco's library prints them |
//! | `error` | why a capture cannot be read |
//!
//! A capture has an event for the entry and one for the return of a call; lanner has one for both, at the time of the return.
//! Which parameter belongs where is in the tables alone: no code knows a call, except those that make processes or give
//! them programs.

mod args;
mod blocks;
mod bytes;
mod capture;
mod encode;
mod error;
mod event;
mod life;
mod lifecycle;
mod lists;
mod merge;
mod process;
mod socket;
mod state;
mod symbols;
mod table;
mod value;
mod write;

pub use args::{
    Shown, arg, arg_count, arg_named, args, has_param, is_in_call, is_in_lifecycle, lifecycle_arg,
    protocol, subject,
};
pub use blocks::is_capture;
pub use capture::ScapReplay;
pub use error::{Fault, ScapError};
pub use table::Subject;
pub use write::{Machine, ScapWriter};

#[cfg(test)]
mod tests;
