//! The event: one layout for all drivers, little more than what the hardware handed over.
//!
//! [`layout`] is the wire form, [`Event`] a checked view of it that copies nothing, [`EventBuilder`]
//! writes one in user space.

mod builder;
pub mod layout;
mod view;

pub use builder::EventBuilder;
pub use layout::{
    Abi, Encoding, Fact, Flags, Header, Ids, Kind, Layer, Loss, Part, PartAt, Program, Status,
    Tuple,
};
pub use view::{Attachment, Attachments, Event, Malformed};
