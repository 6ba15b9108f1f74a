//! Decoding: what a parameter or fact of an event means, in the forms that people and rules read.
//!
//! Drivers capture, they do not interpret; this is where interpretation happens, and only for what
//! somebody asks for. [`param`] gives one parameter as a typed [`Value`] that borrows the event's
//! bytes. [`text`] writes a call as strace does, [`json`] an event as `lanner trace --json` does,
//! [`falco`] a parameter as Falco's `evt.arg` does; each writes into the caller's buffer.
//!
//! Events are untrusted: nothing here panics, whatever the bytes.

pub mod control;
pub mod dirents;
pub mod errno;
pub mod falco;
pub mod json;
mod number;
pub mod sockaddr;
pub mod structs;
pub mod symbols;
pub mod text;
mod value;
mod variant;

mod facts;
#[cfg(test)]
mod tests;

pub use value::{Bits, Message, Messages, Value, param};

use driver_api::event::Event;
use driver_api::table::{self, Syscall};

/// The name of a capability, as `CAP_CHOWN`.
pub fn capability(number: u64) -> Option<&'static str> {
    symbols::set("cap").and_then(|set| symbols::name(set, number))
}

/// The call an event is about, if the table has it.
pub fn call(event: &Event<'_>) -> Option<&'static Syscall> {
    table::by_number(event.abi(), event.header().nr)
}
