//! A checked view of an event's bytes. Events are untrusted: nothing here panics, whatever the bytes.

use std::borrow::Cow;

use zerocopy::{FromBytes, IntoBytes};

use super::layout::{AttachmentHeader, LOST_CALLS, VERSION};
use super::{
    Abi, Encoding, EventKind, Fact, Header, Ids, OpenedFile, Part, Program, Status, Tuple,
};

/// What a path begins with whose first components were cut off or could not be read.
pub const CUT: &[u8] = b"...";

/// Bytes that are not an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Shorter than a header, or than the header says.
    #[error("an event of {have} bytes, where {need} are needed")]
    Short {
        /// Bytes there are.
        have: usize,
        /// Bytes there must be.
        need: usize,
    },
    /// Made by another version of the layout.
    #[error("an event of layout version {0}, where {VERSION} is expected")]
    Version(u8),
    /// A kind that does not exist.
    #[error("an event of unknown kind {0}")]
    Kind(u8),
    /// An ABI that does not exist.
    #[error("an event of unknown ABI {0}")]
    Abi(u8),
    /// An attachment reaches beyond the event's end.
    #[error("attachment {0} of an event reaches beyond its end")]
    Attachment(u8),
}

/// The bit of [`Header::flags`] that says that an event lacks argument register `register`; 0: there is no such register.
pub const fn lacks_flag(register: usize) -> u16 {
    /// The first of the six bits.
    const FIRST: usize = 10;
    if register < 6 {
        1 << (FIRST + register)
    } else {
        0
    }
}

/// One event, borrowed from the driver for the time of a call.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    header: Header,
    kind: EventKind,
    abi: Abi,
    body: &'a [u8],
}

impl<'a> Event<'a> {
    /// Checks the bytes and returns a view of them. `bytes` may be longer than the event (perf buffers pad).
    ///
    /// # Errors
    ///
    /// The bytes are not an event of this version.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        const HEAD: usize = size_of::<Header>();
        let Ok((header, _)) = Header::read_from_prefix(bytes) else {
            return Err(Malformed::Short {
                have: bytes.len(),
                need: HEAD,
            });
        };
        if header.version != VERSION {
            return Err(Malformed::Version(header.version));
        }
        let len = header.len as usize;
        if len < HEAD || len > bytes.len() {
            return Err(Malformed::Short {
                have: bytes.len(),
                need: len.max(HEAD),
            });
        }
        let kind = EventKind::from_u8(header.kind).ok_or(Malformed::Kind(header.kind))?;
        let abi = Abi::from_u8(header.abi).ok_or(Malformed::Abi(header.abi))?;
        let event = Self {
            header,
            kind,
            abi,
            body: &bytes[HEAD..len],
        };
        let found = event.attachments().count();
        if found != usize::from(header.attachments) {
            return Err(Malformed::Attachment(
                u8::try_from(found).unwrap_or(u8::MAX),
            ));
        }
        Ok(event)
    }

    /// The fixed part.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// What happened.
    pub fn kind(&self) -> EventKind {
        self.kind
    }

    /// The ABI that the call was made through.
    pub fn abi(&self) -> Abi {
        self.abi
    }

    /// Whether any of these bits of [`Flags`](super::Flags) is set.
    pub fn has(&self, flag: u16) -> bool {
        self.header.flags & flag != 0
    }

    /// Whether nothing but calls is missing where this event is. Otherwise births, execs or ends may be missing. Only of
    /// [`EventKind::Lost`].
    pub fn lost_calls_alone(&self) -> bool {
        self.header.args[2] == LOST_CALLS
    }

    /// Whether the source of the event did not know what was in argument register `register`. Only events of capture
    /// files in other formats lack arguments; such a register holds all ones.
    pub fn lacks(&self, register: usize) -> bool {
        self.has(lacks_flag(register))
    }

    /// Every attachment, in the order in which the driver wrote them.
    pub fn attachments(&self) -> Attachments<'a> {
        Attachments {
            rest: self.body,
            left: self.header.attachments,
        }
    }

    /// The memory that argument `at` points to.
    pub fn argument(&self, at: usize) -> Option<Attachment<'a>> {
        self.attachments()
            .find(|a| usize::from(a.what) == at && a.part == Part::None && a.index == 0)
    }

    /// What pointer `index`, from 0 on, of the structure points to that argument `at` points to.
    pub fn pointed(&self, at: usize, index: usize) -> Option<Attachment<'a>> {
        self.attachments().find(|a| {
            usize::from(a.what) == at && a.part == Part::None && usize::from(a.index) == index + 1
        })
    }

    /// One part of the `msghdr` that argument `at` points to.
    pub fn part(&self, at: usize, part: Part) -> Option<Attachment<'a>> {
        self.attachments()
            .find(|a| usize::from(a.what) == at && a.part == part)
    }

    /// The parts of the messages that argument `at` points to, in their order.
    pub fn parts(&self, at: usize) -> impl Iterator<Item = Attachment<'a>> {
        self.attachments()
            .filter(move |a| usize::from(a.what) == at && a.part != Part::None)
    }

    /// A fact.
    pub fn fact(&self, fact: Fact) -> Option<Attachment<'a>> {
        self.attachments().find(|a| a.what == fact as u8)
    }

    /// Both ends of the socket, if the event has them.
    pub fn tuple(&self) -> Option<Tuple> {
        self.fact(Fact::Tuple)
            .and_then(|a| Tuple::read_from_prefix(a.bytes).ok())
            .map(|(tuple, _)| tuple)
    }

    /// The ids of the new program's process, if the event has them.
    pub fn ids(&self) -> Option<Ids> {
        self.fact(Fact::Ids)
            .and_then(|a| Ids::read_from_prefix(a.bytes).ok())
            .map(|(ids, _)| ids)
    }

    /// The new program's file and capabilities, if the event has them.
    pub fn program(&self) -> Option<Program> {
        self.fact(Fact::Program)
            .and_then(|a| Program::read_from_prefix(a.bytes).ok())
            .map(|(program, _)| program)
    }

    /// The file that was opened, if the event has it.
    pub fn opened(&self) -> Option<OpenedFile> {
        self.fact(Fact::File)
            .and_then(|a| OpenedFile::read_from_prefix(a.bytes).ok())
            .map(|(file, _)| file)
    }

    /// How long the call took, in nanoseconds (contract, clause 24), if the event has it.
    pub fn took_ns(&self) -> Option<u64> {
        self.fact(Fact::Took)
            .and_then(|a| u64::read_from_prefix(a.bytes).ok())
            .map(|(took, _)| took)
    }

    /// A copy of the event's bytes, which [`Event::parse`] reads again.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(size_of::<Header>() + self.body.len());
        self.append_to(&mut bytes);
        bytes
    }

    /// Appends the event's bytes to a buffer of the caller.
    pub fn append_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.header.as_bytes());
        out.extend_from_slice(self.body);
    }
}

/// One attachment.
#[derive(Debug, Clone, Copy)]
pub struct Attachment<'a> {
    /// 0 to 5: that argument; from 16 on a [`Fact`].
    pub what: u8,
    /// Which part of a `msghdr` it holds.
    pub part: Part,
    /// The index of the message in an array.
    pub index: u8,
    /// How much of the memory it holds.
    pub status: Status,
    /// How the bytes are encoded.
    pub encoding: Encoding,
    /// How many bytes there were to capture; at least as many as `bytes` has.
    pub full: u64,
    /// The bytes.
    pub bytes: &'a [u8],
}

impl<'a> Attachment<'a> {
    /// The bytes as one path or string. Path components are joined; other encodings are returned as they are. A path whose
    /// beginning is missing begins with [`CUT`], not with `/`: it would be another path.
    pub fn text(&self) -> Cow<'a, [u8]> {
        if self.encoding != Encoding::Parts {
            return Cow::Borrowed(self.bytes);
        }
        let mut path = Vec::with_capacity(self.bytes.len() + 1);
        self.append_text(&mut path);
        Cow::Owned(path)
    }

    /// Appends what [`Attachment::text`] returns to a buffer of the caller.
    pub fn append_text(&self, out: &mut Vec<u8>) {
        if self.encoding != Encoding::Parts {
            out.extend_from_slice(self.bytes);
            return;
        }
        let start = out.len();
        if self.status != Status::Whole {
            out.extend_from_slice(CUT);
        }
        let parts = self.bytes.strip_suffix(b"\0").unwrap_or(self.bytes);
        if !parts.is_empty() {
            for part in parts.rsplit(|&b| b == 0) {
                out.push(b'/');
                out.extend_from_slice(part);
            }
        }
        if out.len() == start {
            out.push(b'/');
        }
    }

    /// The strings of an argument or environment vector.
    pub fn strings(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let bytes = self.bytes.strip_suffix(b"\0").unwrap_or(self.bytes);
        let none = self.bytes.is_empty();
        bytes.split(|&b| b == 0).filter(move |_| !none)
    }
}

/// Iterates over the attachments of an event.
#[derive(Debug, Clone)]
pub struct Attachments<'a> {
    rest: &'a [u8],
    left: u8,
}

impl<'a> Iterator for Attachments<'a> {
    type Item = Attachment<'a>;

    fn next(&mut self) -> Option<Attachment<'a>> {
        if self.left == 0 {
            return None;
        }
        let (head, rest) = AttachmentHeader::read_from_prefix(self.rest).ok()?;
        let captured = head.captured as usize;
        let bytes = rest.get(..captured)?;
        self.left -= 1;
        self.rest = rest.get(captured.next_multiple_of(8)..).unwrap_or_default();
        Some(Attachment {
            what: head.what,
            index: head.part >> 2,
            part: match head.part & 3 {
                1 => Part::Name,
                2 => Part::Data,
                3 => Part::Control,
                _ => Part::None,
            },
            status: match head.status {
                0 => Status::Whole,
                1 => Status::Truncated,
                _ => Status::Fault,
            },
            encoding: match head.encoding {
                1 => Encoding::Parts,
                2 => Encoding::Strings,
                _ => Encoding::Raw,
            },
            full: head.full.max(captured as u64),
            bytes,
        })
    }
}
