//! The event. All drivers write the same layout: a fixed header and attachments.
//!
//! [`layout`] is the form in memory, [`Event`] a checked view of it that copies nothing, and [`EventBuilder`] writes
//! an event in user space.

mod builder;
pub mod layout;
mod view;

pub use builder::EventBuilder;
pub use layout::{
    Abi, Encoding, EventKind, Fact, Flags, Header, Ids, Layer, Loss, OpenedFile, Part, PartAt,
    Program, Status, Tuple,
};
pub use view::{Attachment, Attachments, CUT, Event, Malformed, lacks_flag};
