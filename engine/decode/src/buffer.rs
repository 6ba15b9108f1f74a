//! Memory without a structure: strings and bytes.

use std::fmt::Write as _;

use driver_api::event::{Attachment, Encoding, Status};

use super::forms::{Forms, Style};
use super::json;

/// A path, or another string.
#[derive(Debug, Clone, Copy)]
pub struct Str<'a>(pub Attachment<'a>);

/// Several strings.
#[derive(Debug, Clone, Copy)]
pub struct Strings<'a>(pub Attachment<'a>);

/// Bytes that mean nothing to the kernel.
#[derive(Debug, Clone, Copy)]
pub struct Bytes<'a>(pub Attachment<'a>);

/// A socket option: a number if it is 4 bytes long, else bytes.
#[derive(Debug, Clone, Copy)]
pub struct SockOption<'a>(pub Attachment<'a>);

/// A string or bytes in a structure.
#[derive(Debug, Clone, Copy)]
pub struct Inline<'a>(pub &'a [u8]);

/// A hardware address.
#[derive(Debug, Clone, Copy)]
pub struct HwAddr<'a>(pub &'a [u8]);

/// Whether there is more than the attachment has.
pub(super) fn is_cut(attached: &Attachment<'_>) -> bool {
    attached.status != Status::Whole
        || (attached.encoding == Encoding::Raw && attached.full > attached.bytes.len() as u64)
}

impl Forms for Str<'_> {
    fn text(&self, out: &mut String) {
        quote(out, &self.0.text());
        if self.0.status != Status::Whole {
            out.push_str("...");
        }
    }

    fn json(&self, out: &mut String) {
        json::string(out, &self.0.text());
    }

    fn falco(&self, out: &mut String, _style: Style) -> bool {
        out.push_str(&String::from_utf8_lossy(&self.0.text()));
        true
    }
}

impl Forms for Strings<'_> {
    fn text(&self, out: &mut String) {
        let all = &self.0;
        out.push('[');
        for (at, string) in all.strings().enumerate() {
            if at > 0 {
                out.push_str(", ");
            }
            quote(out, string);
        }
        if all.status != Status::Whole {
            out.push_str(if all.bytes.is_empty() { "..." } else { ", ..." });
        }
        out.push(']');
    }

    fn json(&self, out: &mut String) {
        json::strings(out, &self.0);
    }

    fn falco(&self, out: &mut String, style: Style) -> bool {
        // Falco joins arguments with a dot in evt.args and with a space elsewhere.
        let separator = match style {
            Style::Long => '.',
            Style::Short => ' ',
        };
        for (at, one) in self.0.strings().enumerate() {
            if at > 0 {
                out.push(separator);
            }
            out.push_str(&String::from_utf8_lossy(one));
        }
        true
    }
}

impl Forms for Bytes<'_> {
    fn text(&self, out: &mut String) {
        quote(out, self.0.bytes);
        if is_cut(&self.0) {
            out.push_str("...");
        }
    }

    fn json(&self, out: &mut String) {
        json::string(out, self.0.bytes);
    }

    fn falco(&self, out: &mut String, _style: Style) -> bool {
        printable(out, self.0.bytes);
        true
    }
}

impl SockOption<'_> {
    /// The option, if the program gave a length of 4 bytes.
    fn number(&self) -> Option<i32> {
        let bytes = self.0.bytes.first_chunk().filter(|_| self.0.full == 4)?;
        Some(i32::from_ne_bytes(*bytes))
    }
}

impl Forms for SockOption<'_> {
    fn text(&self, out: &mut String) {
        // strace looks at what it could read, not at the length that the program gave
        match self.0.bytes.try_into() {
            Ok(number) => {
                let _ = write!(out, "[{}]", i32::from_ne_bytes(number));
            }
            Err(_) => Bytes(self.0).text(out),
        }
    }

    fn json(&self, out: &mut String) {
        match self.number() {
            Some(number) => {
                let _ = write!(out, "{number}");
            }
            None => json::string(out, self.0.bytes),
        }
    }

    fn falco(&self, out: &mut String, _style: Style) -> bool {
        match self.number() {
            Some(number) => {
                let _ = write!(out, "{number}");
            }
            None => printable(out, self.0.bytes),
        }
        true
    }
}

impl Forms for Inline<'_> {
    fn text(&self, out: &mut String) {
        quote(out, self.0);
    }

    fn json(&self, out: &mut String) {
        json::string(out, self.0);
    }

    fn falco(&self, out: &mut String, _style: Style) -> bool {
        printable(out, self.0);
        true
    }
}

impl Forms for HwAddr<'_> {
    fn text(&self, out: &mut String) {
        for (at, byte) in self.0.iter().enumerate() {
            let _ = write!(out, "{}{byte:02x}", if at == 0 { "" } else { ":" });
        }
    }

    fn json(&self, out: &mut String) {
        json::quoted(out, |out| self.text(out));
    }
}

/// Falco's buffers keep printable characters and show a dot for all others.
fn printable(out: &mut String, bytes: &[u8]) {
    out.extend(bytes.iter().map(|&byte| match byte {
        b' '..=b'~' | b'\n' | b'\t' => char::from(byte),
        _ => '.',
    }));
}

/// Appends bytes as a C string.
pub(super) fn quote(out: &mut String, bytes: &[u8]) {
    out.push('"');
    for (at, &byte) in bytes.iter().enumerate() {
        match byte {
            b'"' | b'\\' => {
                out.push('\\');
                out.push(char::from(byte));
            }
            b'\t' => out.push_str("\\t"),
            b'\n' => out.push_str("\\n"),
            0x0b => out.push_str("\\v"),
            0x0c => out.push_str("\\f"),
            b'\r' => out.push_str("\\r"),
            b' '..=b'~' => out.push(char::from(byte)),
            // three digits, where a digit follows that would read as part of a shorter number
            _ if bytes
                .get(at + 1)
                .is_some_and(|next| (b'0'..=b'7').contains(next)) =>
            {
                let _ = write!(out, "\\{byte:03o}");
            }
            _ => {
                let _ = write!(out, "\\{byte:o}");
            }
        }
    }
    out.push('"');
}
