//! Quoted texts in conditions: where they end, and their escapes.

/// A text without its quotes and escapes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unquoted {
    /// The text. What is not UTF-8 is replaced.
    pub(crate) text: String,
    /// The bytes, if they are not UTF-8: `\xff` is one byte.
    pub(crate) raw: Option<Box<[u8]>>,
}

impl Unquoted {
    pub(crate) fn bytes(&self) -> &[u8] {
        self.raw.as_deref().unwrap_or(self.text.as_bytes())
    }
}

/// An escape that means nothing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{escape}` in quotes means nothing")]
pub(crate) struct UnknownEscape {
    /// Where it begins.
    pub(crate) at: usize,
    escape: String,
}

/// The length of the quoted text at the beginning of `text`, with its quotes. As in Falco, a quote after a backslash never
/// ends it.
pub(crate) fn length(text: &[u8]) -> Option<usize> {
    let quote = *text.first()?;
    let end = (1..text.len()).find(|at| text[*at] == quote && text[at - 1] != b'\\')?;
    Some(end + 1)
}

/// Resolves the escapes between two quotes.
pub(crate) fn unescape(inner: &[u8], quote: u8) -> Result<Unquoted, UnknownEscape> {
    let mut out = Vec::with_capacity(inner.len());
    let mut at = 0;
    while at < inner.len() {
        let byte = inner[at];
        at += 1;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let start = at - 1;
        let unknown = |length: usize| {
            let end = inner.len().min(start + length);
            UnknownEscape {
                at: start,
                escape: String::from_utf8_lossy(&inner[start..end]).into_owned(),
            }
        };
        let escaped = *inner.get(at).ok_or_else(|| unknown(1))?;
        at += 1;
        match escaped {
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            // Falco keeps `\ ` for old rules that mean a backslash by it.
            b'\\' | b' ' => out.push(b'\\'),
            b'/' => out.push(b'/'),
            b'x' => {
                let digits = inner
                    .get(at..at + 2)
                    .and_then(|d| std::str::from_utf8(d).ok());
                let digits = digits.filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
                let code = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
                out.push(code.ok_or_else(|| unknown(4))?);
                at += 2;
            }
            other if other == quote => out.push(other),
            _ => return Err(unknown(2)),
        }
    }
    Ok(match String::from_utf8(out) {
        Ok(text) => Unquoted { text, raw: None },
        Err(error) => Unquoted {
            text: String::from_utf8_lossy(error.as_bytes()).into_owned(),
            raw: Some(error.into_bytes().into()),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unquoted(text: &[u8]) -> Result<Vec<u8>, String> {
        let end = length(text).ok_or("no end")?;
        let inner = unescape(&text[1..end - 1], text[0]).map_err(|error| error.to_string())?;
        Ok(inner.bytes().to_vec())
    }

    #[test]
    fn escapes_are_those_of_falco() {
        assert_eq!(unquoted(br#""a b""#), Ok(b"a b".to_vec()));
        assert_eq!(unquoted(br#""a\"b" c"#), Ok(br#"a"b"#.to_vec()));
        assert_eq!(unquoted(br"'a\'b'"), Ok(b"a'b".to_vec()));
        assert_eq!(
            unquoted(br#""\n\t\x41\xff\\ \/\ ""#),
            Ok(b"\n\tA\xff\\ /\\".to_vec())
        );
        for wrong in [
            &br#""\d""#[..],
            br#""\'""#,
            br"'\x4'",
            br"'\xzz'",
            br"'\x+1'",
        ] {
            assert!(unquoted(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(unquoted(br#""a\""#), Err("no end".to_owned()));
        assert_eq!(length(b"\"a"), None);
    }
}
