//! Why a capture cannot be read.

use std::io;

use lanner_plugin::files::FileError;

/// Why a capture cannot be read. Print it with [`driver_api::error::Chain`].
#[derive(Debug, thiserror::Error)]
pub enum ScapError {
    /// The file cannot be opened, or is not a regular one.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file cannot be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// The file.
        path: String,
        /// The reason.
        source: io::Error,
    },
    /// The file is damaged, or is of a version that this lanner does not know.
    #[error("{path}, at byte {offset} of the uncompressed capture")]
    Damaged {
        /// The file.
        path: String,
        /// Where the block with the fault begins.
        offset: u64,
        /// What is wrong.
        source: Fault,
    },
}

/// What is wrong with a block of a capture.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The file ends before the block does.
    #[error("the file ends in the middle of a block")]
    Cut,
    /// The compressed data are damaged.
    #[error("the compressed data are damaged")]
    Compression(#[source] io::Error),
    /// A block's length is impossible.
    #[error("a block of {0} bytes: the file is damaged")]
    Length(u32),
    /// A block's two lengths differ.
    #[error("a block's length is {head} at its head and {tail} at its end: the file is damaged")]
    Tail {
        /// At its head.
        head: u32,
        /// At its end.
        tail: u32,
    },
    /// The first block is not a section header.
    #[error("this is no capture of Falco's or sysdig's")]
    Foreign,
    /// It is a pcapng file, and nothing in it is a capture's.
    #[error(
        "this is a capture of a network (pcapng), not one of Falco's or sysdig's, and has no events"
    )]
    Packets,
    /// The capture was made on a host with the other byte order.
    #[error("the capture was made on a host with another byte order, which lanner cannot read")]
    ByteOrder,
    /// The format has a new major version.
    #[error("the capture has version {0} of the format, and this lanner reads version 1")]
    Version(u16),
    /// An entry of a list is damaged.
    #[error("an entry of the list of {0} is damaged")]
    Entry(&'static str),
    /// A list is larger than any host's.
    #[error("the lists of processes and descriptors have more than {0} bytes")]
    Lists(u64),
    /// An event is damaged.
    #[error("event {number} of type {kind} is damaged")]
    Event {
        /// Its number in the capture, counted from 1.
        number: u64,
        /// Its type.
        kind: u16,
    },
}
