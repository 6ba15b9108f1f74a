//! Writes an event in user space. The buffer is used again for the next event.

use zerocopy::IntoBytes;

use super::layout::{AttachmentHeader, MAX, VERSION};
use super::{Encoding, Event, Flags, Header, Malformed, PartAt, Status};

/// Builds one event after another without allocating.
#[derive(Debug, Default)]
pub struct EventBuilder {
    bytes: Vec<u8>,
    header: Header,
}

impl EventBuilder {
    /// A builder with room for the largest event.
    pub fn new() -> Self {
        Self {
            bytes: Vec::with_capacity(MAX),
            header: Header::default(),
        }
    }

    /// Begins an event. The builder fills in length, version and attachment count.
    pub fn begin(&mut self, header: &Header) {
        self.header = *header;
        self.header.version = VERSION;
        self.header.attachments = 0;
        self.bytes.clear();
        self.bytes.extend_from_slice(self.header.as_bytes());
    }

    /// How many bytes the next attachment can hold.
    pub fn room(&self) -> usize {
        (MAX - 8).saturating_sub(self.bytes.len() + size_of::<AttachmentHeader>())
    }

    /// Appends an attachment. If it does not fit, it is left out and the event is marked incomplete.
    pub fn attach(
        &mut self,
        what: u8,
        part: impl Into<PartAt>,
        status: Status,
        encoding: Encoding,
        full: u64,
        bytes: &[u8],
    ) {
        let fits = bytes.len() <= self.room() && self.header.attachments < u8::MAX;
        let Some(captured) = u32::try_from(bytes.len()).ok().filter(|_| fits) else {
            self.header.flags |= Flags::INCOMPLETE;
            return;
        };
        let head = AttachmentHeader {
            what,
            part: part.into().0,
            status: status as u8,
            encoding: encoding as u8,
            captured,
            full,
        };
        self.bytes.extend_from_slice(head.as_bytes());
        self.bytes.extend_from_slice(bytes);
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        self.header.attachments += 1;
    }

    /// Appends a copy of another event's attachment.
    pub fn attach_copy(&mut self, from: &super::Attachment<'_>) {
        self.attach(
            from.what,
            from.part.of(from.index),
            from.status,
            from.encoding,
            from.full,
            from.bytes,
        );
    }

    /// The finished event.
    ///
    /// # Errors
    ///
    /// The header that the event was begun with is invalid.
    pub fn finish(&mut self) -> Result<Event<'_>, Malformed> {
        self.header.len = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.bytes[..size_of::<Header>()].copy_from_slice(self.header.as_bytes());
        Event::parse(&self.bytes)
    }
}
