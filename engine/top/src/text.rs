//! Text of programs, made safe to show: no program can move the cursor, change colours or shift columns.

use fields::escape;
use unicode_width::UnicodeWidthChar;

/// The most bytes of one text that is kept.
pub(crate) const LONGEST: usize = 1024;

/// Appends a text in which every character takes one cell. Control characters and invalid bytes become `\xHH`. Characters
/// that take two cells, or none, become `\u{...}`: terminals do not agree on their width.
pub(crate) fn safe(out: &mut String, bytes: &[u8]) {
    let from = out.len();
    escape(out, bytes);
    let is_narrow = |c: char| c.width() == Some(1);
    if out[from..].chars().all(is_narrow) {
        return;
    }
    let text = out.split_off(from);
    for c in text.chars() {
        if is_narrow(c) {
            out.push(c);
        } else {
            out.extend(c.escape_unicode());
        }
    }
}

/// A text as [`safe`] makes it, with at most [`LONGEST`] bytes.
pub(crate) fn safe_text(bytes: &[u8]) -> String {
    let mut out = String::new();
    safe(&mut out, &bytes[..bytes.len().min(LONGEST)]);
    cut(&mut out, LONGEST);
    out
}

/// Cuts a text to at most this number of bytes, between characters.
pub(crate) fn cut(text: &mut String, most: usize) {
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most));
    }
}

/// A number with separators; from ten million on, its first digits and a letter.
pub(crate) fn number(number: u64) -> String {
    if number >= 10_000_000 {
        return short(number);
    }
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + 2);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number in at most five characters: `999`, `12.3k`, `4.5M`.
pub(crate) fn short(number: u64) -> String {
    scaled(number, 1000, &["", "k", "M", "G", "T", "P", "E"])
}

/// A time for people, from nanoseconds.
pub(crate) fn span(ns: u64) -> String {
    let mut out = String::new();
    fields::time::span(&mut out, ns);
    out
}

/// A size in at most six characters: `999`, `12.3K`, `4.5M`, in powers of 1024.
pub(crate) fn bytes(number: u64) -> String {
    scaled(number, 1024, &["", "K", "M", "G", "T", "P", "E"])
}

#[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
fn scaled(number: u64, step: u64, units: &[&str]) -> String {
    let mut value = number as f64;
    let mut at = 0;
    while value >= step as f64 && at + 1 < units.len() {
        value /= step as f64;
        at += 1;
    }
    if at == 0 {
        number.to_string()
    } else if value >= 100.0 {
        format!("{value:.0}{}", units[at])
    } else {
        format!("{value:.1}{}", units[at])
    }
}

/// A rate per second.
pub(crate) fn rate(rate: f64) -> String {
    if rate <= 0.0 {
        return "0".to_owned();
    }
    if rate < 10.0 {
        return format!("{rate:.1}");
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is positive, and a cast saturates"
    )]
    number(rate.round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_character_takes_one_cell() {
        let text = |bytes: &[u8]| safe_text(bytes);
        assert_eq!(text(b"a\x1b[2J\nb\xff"), "a\\x1b[2J\\x0ab\\xff");
        assert_eq!(text("a\u{4e2d}b".as_bytes()), "a\\u{4e2d}b");
        assert_eq!(text("e\u{301}".as_bytes()), "e\\u{301}");
        assert_eq!(text("\u{200b}\u{ad}".as_bytes()), "\\u{200b}\\u{ad}");
        assert_eq!(text("\u{e9}".as_bytes()), "\u{e9}");
        assert_eq!(text(&[b'x'; 5000]).len(), LONGEST);
        assert_eq!(text("\u{4e2d}".repeat(1000).as_bytes()).len(), LONGEST);
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(number(0), "0");
        assert_eq!(number(999), "999");
        assert_eq!(number(1234), "1,234");
        assert_eq!(number(1_234_567), "1,234,567");
        assert_eq!(number(12_345_678), "12.3M");
        assert_eq!(short(u64::MAX), "18.4E");
        assert_eq!(bytes(2048), "2.0K");
        assert_eq!(rate(0.26), "0.3");
        assert_eq!(rate(f64::INFINITY), number(u64::MAX));
    }
}
