//! Cuts a capture into blocks. A block is its type and length, its body, and its length again, as in pcapng. The file may
//! be compressed by gzip.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use lanner_plugin::files;

use super::error::{Fault, ScapError};

/// The type of a section header, the first block. It reads the same in either byte order.
pub(crate) const SECTION: u32 = 0x0a0d_0d0a;
/// The first bytes of a section header's body, which show the byte order.
pub(crate) const ORDER: u32 = 0x1a2b_3c4d;
/// Bytes of a block's type and length.
const HEAD: usize = 8;
/// Bytes of the length at its end.
const TAIL: usize = 4;
/// The largest block: the list of processes of a large host has some megabytes.
const MAX: u32 = 256 << 20;

/// A capture's bytes, uncompressed.
enum Input {
    Plain(BufReader<File>),
    Gzip(Box<BufReader<MultiGzDecoder<BufReader<File>>>>),
}

impl Input {
    fn new(file: File) -> io::Result<Self> {
        let mut file = BufReader::with_capacity(1 << 18, file);
        if file.fill_buf()?.starts_with(&[0x1f, 0x8b]) {
            let inside = MultiGzDecoder::new(file);
            return Ok(Self::Gzip(Box::new(BufReader::with_capacity(
                1 << 18,
                inside,
            ))));
        }
        Ok(Self::Plain(file))
    }

    /// Reads until the buffer is full or the file ends. Returns how many bytes it read.
    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut have = 0;
        while have < buffer.len() {
            match self.read(&mut buffer[have..]) {
                Ok(0) => break,
                Ok(read) => have += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(have)
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.read(buffer),
            Self::Gzip(file) => file.read(buffer),
        }
    }
}

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain",
            Self::Gzip(_) => "Gzip",
        })
    }
}

/// Whether a file begins as a capture of Falco's or sysdig's does. A file that cannot be read is none, and neither is a pipe:
/// what is read of it cannot be read again.
#[must_use]
pub fn is_capture(path: &Path) -> bool {
    let mut start = [0; 12];
    let file = files::open_untrusted(path).ok();
    let regular = file.filter(|file| file.metadata().is_ok_and(|about| about.is_file()));
    let filled = regular
        .and_then(|file| Input::new(file).ok())
        .and_then(|mut input| input.fill(&mut start).ok());
    if filled != Some(start.len()) {
        return false;
    }
    let word = |at: usize| {
        let bytes = [start[at], start[at + 1], start[at + 2], start[at + 3]];
        u32::from_le_bytes(bytes)
    };
    word(0) == SECTION && (word(8) == ORDER || word(8) == ORDER.swap_bytes())
}

/// The blocks of a capture, one after another.
#[derive(Debug)]
pub(crate) struct Blocks {
    path: String,
    input: Input,
    /// Where the next block begins.
    next: u64,
    /// Where the current block begins, its type and its body.
    at: u64,
    kind: u32,
    body: Vec<u8>,
}

impl Blocks {
    pub(crate) fn open(path: &Path) -> Result<Self, ScapError> {
        let name = path.display().to_string();
        let input =
            Input::new(files::open_untrusted(path)?).map_err(|source| ScapError::Unreadable {
                path: name.clone(),
                source,
            })?;
        let mut blocks = Self {
            path: name,
            input,
            next: 0,
            at: 0,
            kind: 0,
            body: Vec::new(),
        };
        if !blocks.advance()? || blocks.kind != SECTION {
            return Err(blocks.fault(Fault::Foreign));
        }
        Ok(blocks)
    }

    /// The type and the body of the current block.
    pub(crate) fn current(&self) -> (u32, &[u8]) {
        (self.kind, &self.body)
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// An error about the current block.
    pub(crate) fn fault(&self, source: Fault) -> ScapError {
        ScapError::Damaged {
            path: self.path.clone(),
            offset: self.at,
            source,
        }
    }

    fn failed(&self, error: io::Error) -> ScapError {
        match (&self.input, error.kind()) {
            (Input::Gzip(_), io::ErrorKind::UnexpectedEof) => self.fault(Fault::Cut),
            (Input::Gzip(_), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData) => {
                self.fault(Fault::Compression(error))
            }
            _ => ScapError::Unreadable {
                path: self.path.clone(),
                source: error,
            },
        }
    }

    /// Goes to the next block. False: there is none.
    pub(crate) fn advance(&mut self) -> Result<bool, ScapError> {
        self.at = self.next;
        let mut head = [0; HEAD];
        match self.input.fill(&mut head) {
            Ok(0) => return Ok(false),
            Ok(HEAD) => {}
            Ok(_) => return Err(self.fault(Fault::Cut)),
            Err(error) => return Err(self.failed(error)),
        }
        let [a, b, c, d, e, f, g, h] = head;
        self.kind = u32::from_le_bytes([a, b, c, d]);
        let len = u32::from_le_bytes([e, f, g, h]);
        if self.kind == SECTION && len.swap_bytes() < len {
            return Err(self.fault(Fault::ByteOrder));
        }
        let inner = (len as usize)
            .checked_sub(HEAD + TAIL)
            .filter(|_| len <= MAX)
            .ok_or_else(|| self.fault(Fault::Length(len)))?;
        // grows with what there is, so that a false length costs nothing
        self.body.clear();
        let wanted = (inner + TAIL) as u64;
        if let Err(error) = (&mut self.input).take(wanted).read_to_end(&mut self.body) {
            return Err(self.failed(error));
        }
        let tail = match self.body.split_last_chunk::<TAIL>() {
            Some((body, tail)) if body.len() == inner => u32::from_le_bytes(*tail),
            _ => return Err(self.fault(Fault::Cut)),
        };
        self.body.truncate(inner);
        if tail != len {
            return Err(self.fault(Fault::Tail { head: len, tail }));
        }
        self.next = self.at + u64::from(len);
        if self.kind == SECTION {
            self.check_section()?;
        }
        Ok(true)
    }

    fn check_section(&self) -> Result<(), ScapError> {
        let mut body = super::bytes::Bytes::new(&self.body);
        match body.u32() {
            Some(ORDER) => {}
            Some(order) if order == ORDER.swap_bytes() => {
                return Err(self.fault(Fault::ByteOrder));
            }
            _ => return Err(self.fault(Fault::Foreign)),
        }
        match body.u16() {
            Some(..=1) => Ok(()),
            Some(version) => Err(self.fault(Fault::Version(version))),
            None => Err(self.fault(Fault::Foreign)),
        }
    }
}
