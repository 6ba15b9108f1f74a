//! Directory entries, as getdents64(2) and getdents(2) write them.

use std::fmt::Write as _;

use super::buffer::quote;
use super::forms::{Forms, and_more, list};
use super::json::{self, Members};
use super::sockaddr::bytes_at;
use super::symbols;

/// Directory entries in the bytes of an event.
#[derive(Debug, Clone, Copy)]
pub struct Dirents<'a> {
    bytes: &'a [u8],
    form: Form,
    /// There are more than were captured.
    pub cut: bool,
}

/// The layout of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `struct linux_dirent64`.
    Wide,
    /// `struct linux_dirent`, whose longs have this many bytes; the type is the last byte.
    Old(usize),
}

/// A directory entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dirent<'a> {
    /// Inode number.
    pub ino: u64,
    /// The position of the next entry in the directory.
    pub off: i64,
    /// Bytes of the entry.
    pub len: u16,
    /// `DT_*`.
    pub kind: u8,
    /// Its name.
    pub name: &'a [u8],
}

impl<'a> Dirents<'a> {
    pub(super) fn new(bytes: &'a [u8], form: Form, cut: bool) -> Self {
        Self { bytes, form, cut }
    }

    /// The entries that were captured whole.
    pub fn iter(&self) -> impl Iterator<Item = Dirent<'a>> + use<'a> {
        let (mut rest, form) = (self.bytes, self.form);
        std::iter::from_fn(move || {
            let (entry, after) = one(rest, form)?;
            rest = after;
            Some(entry)
        })
    }
}

fn one(bytes: &[u8], form: Form) -> Option<(Dirent<'_>, &[u8])> {
    let long = |at: usize, size: usize| -> Option<u64> {
        if size == 4 {
            bytes_at(bytes, at).map(|b| u64::from(u32::from_ne_bytes(b)))
        } else {
            bytes_at(bytes, at).map(u64::from_ne_bytes)
        }
    };
    let size = match form {
        Form::Wide => 8,
        Form::Old(size) => size,
    };
    let (ino, off) = (long(0, size)?, long(size, size)?.cast_signed());
    let len = u16::from_ne_bytes(bytes_at(bytes, 2 * size)?);
    let entry = bytes.get(..usize::from(len))?;
    let (name, kind) = match form {
        Form::Wide => (entry.get(19..)?, *entry.get(18)?),
        Form::Old(_) => (entry.get(2 * size + 2..)?, *entry.last()?),
    };
    let name = name.split(|b| *b == 0).next()?;
    let dirent = Dirent {
        ino,
        off,
        len,
        kind,
        name,
    };
    Some((dirent, bytes.get(usize::from(len)..)?))
}

impl Forms for Dirents<'_> {
    fn text(&self, out: &mut String) {
        list(out, self.iter(), |out, entry| {
            let _ = write!(
                out,
                "{{d_ino={}, d_off={}, d_reclen={}, d_type=",
                entry.ino, entry.off, entry.len
            );
            symbols::named(out, "dirent_type", u64::from(entry.kind));
            out.push_str(", d_name=");
            quote(out, entry.name);
            out.push('}');
        });
        if self.cut {
            and_more(out);
        }
    }

    fn json(&self, out: &mut String) {
        let mut inside = Members::array(out);
        for entry in self.iter() {
            let mut one = Members::object(inside.item());
            one.number("ino", entry.ino);
            json::named(one.key("type"), "dirent_type", u64::from(entry.kind));
            json::string(one.key("name"), entry.name);
            one.end();
        }
        inside.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &[u8], kind: u8) -> Vec<u8> {
        let len = (19 + name.len() + 1).next_multiple_of(8);
        let mut bytes = [7_u64.to_ne_bytes(), 9_u64.to_ne_bytes()].concat();
        bytes.extend(u16::try_from(len).unwrap().to_ne_bytes());
        bytes.push(kind);
        bytes.extend(name);
        bytes.resize(len, 0);
        bytes
    }

    #[test]
    fn whole_entries_are_read_and_others_are_not() {
        let mut bytes = [entry(b"etc", 4), entry(b"hosts", 8)].concat();
        let names = |bytes: &[u8]| -> Vec<(Vec<u8>, u8)> {
            let entries = Dirents::new(bytes, Form::Wide, false);
            entries.iter().map(|e| (e.name.to_vec(), e.kind)).collect()
        };
        assert_eq!(
            names(&bytes),
            [(b"etc".to_vec(), 4), (b"hosts".to_vec(), 8)]
        );
        bytes.pop();
        assert_eq!(names(&bytes).len(), 1);
        // a length of 0 does not make the list endless
        bytes[16] = 0;
        assert!(names(&bytes).is_empty());
        assert!(names(b"").is_empty());
    }
}
