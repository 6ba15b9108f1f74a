//! Base64, for `b64`, as Falco decodes it.

/// Appends the decoded text to `out`: the alphabet of RFC 4648, section 4, with or without padding. Returns false if the
/// text is not base64, or has bits after its last byte.
pub(super) fn decode(text: &[u8], out: &mut Vec<u8>) -> bool {
    let one_less = |text: &mut &[u8]| {
        if let Some(rest) = text.strip_suffix(b"=") {
            *text = rest;
        }
    };
    let mut letters = text;
    one_less(&mut letters);
    one_less(&mut letters);
    if letters.is_empty() {
        return text.is_empty();
    }
    let (mut bits, mut count) = (0_u32, 0);
    for byte in letters {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return false,
        };
        bits = (bits << 6 | u32::from(six)) & 0xffff;
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count).to_le_bytes()[0]);
        }
    }
    // A single last letter has six bits, which make no byte.
    count < 6 && bits & ((1 << count) - 1) == 0
}
