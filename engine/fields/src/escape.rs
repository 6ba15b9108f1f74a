//! Text that is safe to show: what a program calls itself must not be able to move the cursor of whoever
//! reads the alert, nor to break a line in two.

use std::fmt::Write as _;

/// Appends bytes as UTF-8. Control characters, invalid bytes and what turns the direction of writing
/// come as `\xHH`, byte by byte.
pub fn escape(out: &mut String, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        let mut rest = chunk.valid();
        while let Some((at, bad)) = rest.char_indices().find(|(_, c)| is_unsafe(*c)) {
            out.push_str(&rest[..at]);
            let end = at + bad.len_utf8();
            hex(out, &rest.as_bytes()[at..end]);
            rest = &rest[end..];
        }
        out.push_str(rest);
        hex(out, chunk.invalid());
    }
}

/// Appends bytes as UTF-8; only invalid ones come as `\xHH`.
pub fn without_invalid(out: &mut String, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        hex(out, chunk.invalid());
    }
}

fn hex(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(out, "\\x{byte:02x}");
    }
}

fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_deceive_a_reader_is_shown_in_numbers() {
        let mut out = String::new();
        escape(&mut out, b"a\nb\x1b[31m\xff\xc3\xa9\x7f\xe2\x80\xae\\");
        assert_eq!(out, "a\\x0ab\\x1b[31m\\xff\u{e9}\\x7f\\xe2\\x80\\xae\\");
        let mut out = String::new();
        without_invalid(&mut out, b"a\nb\xff");
        assert_eq!(out, "a\nb\\xff");
    }
}
