//! What the actor knows about each call that it made, and the file in which it writes that down.

use std::io;

use driver_api::event::{Abi, Part, Status};
use driver_api::table::{self, Syscall};

/// An attachment that the event must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Want {
    /// The register, or the fact.
    pub(crate) what: u8,
    /// A part of a message and the message's index, encoded as in an event.
    pub(crate) part: u8,
    /// Its status.
    pub(crate) status: u8,
    /// How many bytes there were to capture.
    pub(crate) full: u64,
    /// Its bytes; a path as text.
    pub(crate) bytes: Vec<u8>,
}

impl Want {
    pub(crate) fn new(
        what: u8,
        part: Part,
        index: u8,
        status: Status,
        full: u64,
        bytes: Vec<u8>,
    ) -> Self {
        let full = full.max(bytes.len() as u64);
        Self {
            what,
            part: part.of(index).0,
            status: status as u8,
            full,
            bytes,
        }
    }
}

/// One call.
#[derive(Debug, Clone)]
pub(crate) struct Truth {
    /// The index of the case, and of the call within the case.
    pub(crate) place: (usize, usize),
    /// What distinguishes the case; empty: the generated call.
    pub(crate) label: String,
    pub(crate) abi: Abi,
    pub(crate) nr: u32,
    pub(crate) args: [u64; 6],
    /// None: the call does not return.
    pub(crate) ret: Option<i64>,
    /// Whether it is an exec that succeeds.
    pub(crate) exec: bool,
    pub(crate) want: Vec<Want>,
    /// Where the kernel wrote more bytes than the table says: the register, the bytes written, the bytes by the table.
    pub(crate) more_written: Vec<(u8, u64, u64)>,
}

impl Truth {
    pub(crate) fn call(&self) -> Option<&'static Syscall> {
        table::by_number(self.abi, self.nr)
    }
}

fn put(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// All calls as bytes.
pub(crate) fn encode(all: &[Truth]) -> Vec<u8> {
    let mut out = Vec::new();
    for truth in all {
        put(&mut out, truth.place.0 as u64);
        put(&mut out, truth.place.1 as u64);
        put_bytes(&mut out, truth.label.as_bytes());
        put(&mut out, truth.abi as u64);
        put(&mut out, truth.nr.into());
        truth.args.iter().for_each(|arg| put(&mut out, *arg));
        put(&mut out, truth.ret.is_some().into());
        put(&mut out, truth.ret.unwrap_or(0).cast_unsigned());
        put(&mut out, truth.exec.into());
        put(&mut out, truth.want.len() as u64);
        for want in &truth.want {
            put(&mut out, want.what.into());
            put(&mut out, want.part.into());
            put(&mut out, want.status.into());
            put(&mut out, want.full);
            put_bytes(&mut out, &want.bytes);
        }
        put(&mut out, truth.more_written.len() as u64);
        for (what, written, by_table) in &truth.more_written {
            put(&mut out, (*what).into());
            put(&mut out, *written);
            put(&mut out, *by_table);
        }
    }
    out
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take(&mut self, len: usize) -> io::Result<&[u8]> {
        let (head, rest) = self
            .0
            .split_at_checked(len)
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        self.0 = rest;
        Ok(head)
    }

    fn number(&mut self) -> io::Result<u64> {
        let bytes = self.take(8)?;
        Ok(u64::from_le_bytes(
            bytes.try_into().map_err(io::Error::other)?,
        ))
    }

    fn byte(&mut self) -> io::Result<u8> {
        u8::try_from(self.number()?).map_err(io::Error::other)
    }

    fn bytes(&mut self) -> io::Result<Vec<u8>> {
        let len = self.number()? as usize;
        Ok(self.take(len)?.to_vec())
    }

    fn truth(&mut self) -> io::Result<Truth> {
        let place = (self.number()? as usize, self.number()? as usize);
        let label = String::from_utf8_lossy(&self.bytes()?).into_owned();
        let abi = Abi::from_u8(self.byte()?).ok_or(io::ErrorKind::InvalidData)?;
        let nr = self.number()? as u32;
        let mut args = [0; 6];
        for arg in &mut args {
            *arg = self.number()?;
        }
        let returns = self.number()? != 0;
        let ret = self.number()?.cast_signed();
        let exec = self.number()? != 0;
        let mut want = Vec::new();
        for _ in 0..self.number()? {
            want.push(Want {
                what: self.byte()?,
                part: self.byte()?,
                status: self.byte()?,
                full: self.number()?,
                bytes: self.bytes()?,
            });
        }
        let mut more_written = Vec::new();
        for _ in 0..self.number()? {
            more_written.push((self.byte()?, self.number()?, self.number()?));
        }
        Ok(Truth {
            place,
            label,
            abi,
            nr,
            args,
            ret: returns.then_some(ret),
            exec,
            want,
            more_written,
        })
    }
}

/// The calls that [`encode`] wrote.
pub(crate) fn decode(bytes: &[u8]) -> io::Result<Vec<Truth>> {
    let mut reader = Reader(bytes);
    let mut all = Vec::new();
    while !reader.0.is_empty() {
        all.push(reader.truth()?);
    }
    Ok(all)
}
