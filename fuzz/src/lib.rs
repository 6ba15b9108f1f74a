//! What the fuzz targets share: events that are valid enough to be decoded, and inputs as files.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use driver_api::event::layout::AttachmentHeader;
use driver_api::event::{Abi, Encoding, EventBuilder, EventKind, Header, PartAt, Status};
use driver_api::table::SYSCALLS;
use tempfile::NamedTempFile;
use zerocopy::FromBytes;

/// The valid value that an arbitrary byte selects.
fn valid(byte: u8, is_valid: impl Fn(u8) -> bool) -> u8 {
    let values: Vec<u8> = (0..=u8::MAX).filter(|value| is_valid(*value)).collect();
    values[usize::from(byte) % values.len()]
}

/// Reads bytes as an event, and repairs what [`Event::parse`](driver_api::event::Event::parse) would refuse: kind, ABI,
/// call number, lengths. So most inputs reach the decoder, and not only the parser. None: too short for a header.
pub fn repaired(data: &[u8]) -> Option<EventBuilder> {
    let (mut header, mut rest) = Header::read_from_prefix(data).ok()?;
    header.kind = valid(header.kind, |kind| EventKind::from_u8(kind).is_some());
    header.abi = valid(header.abi, |abi| Abi::from_u8(abi).is_some());
    let call = &SYSCALLS[header.nr as usize % SYSCALLS.len()];
    if let Some(number) = Abi::from_u8(header.abi).and_then(|abi| call.number(abi)) {
        header.nr = number;
    }
    let mut builder = EventBuilder::new();
    builder.begin(&header);
    while let Ok((head, tail)) = AttachmentHeader::read_from_prefix(rest) {
        let (bytes, tail) = tail.split_at((head.captured as usize % 512).min(tail.len()));
        let status =
            [Status::Whole, Status::Truncated, Status::Fault][usize::from(head.status) % 3];
        let encoding =
            [Encoding::Raw, Encoding::Parts, Encoding::Strings][usize::from(head.encoding) % 3];
        builder.attach(
            head.what,
            PartAt(head.part),
            status,
            encoding,
            head.full,
            bytes,
        );
        let padding = bytes.len().next_multiple_of(8) - bytes.len();
        rest = &tail[padding.min(tail.len())..];
    }
    Some(builder)
}

/// A file with these contents, for functions that take a path. The next call overwrites it.
pub fn as_file(data: &[u8]) -> &'static Path {
    static FILE: OnceLock<NamedTempFile> = OnceLock::new();
    let path = FILE
        .get_or_init(|| NamedTempFile::new().expect("a temporary file"))
        .path();
    fs::write(path, data).expect("write a temporary file");
    path
}
