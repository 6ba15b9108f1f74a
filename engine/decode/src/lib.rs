//! Decoding: what the parameters and facts of an event mean, in the forms that people and rules read.
//!
//! Drivers capture bytes and do not interpret them. This crate interprets them, and only those that a caller
//! asks for. [`param`] decodes one parameter into a typed [`Value`] that borrows the event's bytes. [`text`]
//! writes a call as strace does, [`json`] an event as `lanner trace --json` does, [`falco`] a parameter as
//! Falco's `evt.arg` does; each appends to the caller's buffer. A value writes itself in all three forms
//! (`Forms`), so one file has all that there is to know about one kind of value:
//!
//! | file | holds |
//! |---|---|
//! | `value` | [`Value`], and which kind of parameter gives which |
//! | `variant` | what a parameter is in this call, if others decide that |
//! | `number`, `symbols`, `errno` | numbers; flags and enumerations; errors |
//! | `buffer`, `structs`, `sets`, `dirents` | memory with a length; structures and arrays; sets of bits; directory entries |
//! | `sockaddr`, `message`, `control`, `netlink` | socket addresses; messages, their control data, netlink |
//! | `facts` | what the kernel did |
//! | `program` | what is known of the program of an exec |
//! | `forms`, `text`, `json`, `falco` | the three forms |
//! | `shortfall` | which parameters were not captured in full |
//!
//! Events are untrusted: nothing here panics, whatever the bytes.

mod buffer;
pub mod control;
pub mod dirents;
pub mod errno;
mod facts;
pub mod falco;
mod forms;
pub mod json;
mod message;
mod netlink;
mod number;
pub mod program;
mod sets;
mod shortfall;
pub mod sockaddr;
pub mod structs;
pub mod symbols;
pub mod text;
mod value;
mod variant;

#[cfg(test)]
mod tests;

pub use buffer::{Bytes, HwAddr, Inline, SockOption, Str, Strings};
pub use message::{Message, Messages};
pub use number::{Number, Scalar};
pub use sets::{Bits, Capabilities, Signals};
pub use shortfall::{Short, names as fell_short};
pub use value::{Value, kind, param};

use driver_api::event::Event;
use driver_api::table::{self, Syscall};

/// The name of a capability, such as `CAP_CHOWN`.
pub fn capability(number: u64) -> Option<&'static str> {
    symbols::set("cap").and_then(|set| symbols::name(set, number))
}

/// The return value of an event, as its call means it.
pub fn returned(event: &Event<'_>) -> i64 {
    let ret = event.header().ret;
    call(event).map_or(ret, |call| call.result(ret))
}

/// The call that an event is about, if the table has it.
pub fn call(event: &Event<'_>) -> Option<&'static Syscall> {
    table::by_number(event.abi(), event.header().nr)
}
