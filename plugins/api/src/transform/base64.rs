//! Base64, for `b64`.

/// Appends the decoded text to `out`: either alphabet of RFC 4648, with or without padding. Returns false if the
/// text is not base64.
pub(super) fn decode(text: &[u8], out: &mut Vec<u8>) -> bool {
    let end = text.iter().rposition(|byte| *byte != b'=');
    let text = &text[..end.map_or(0, |at| at + 1)];
    let (mut bits, mut count) = (0_u32, 0);
    for byte in text {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return false,
        };
        bits = bits << 6 | u32::from(six);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count).to_le_bytes()[0]);
        }
    }
    // A single last letter has six bits, which make no byte.
    count < 6
}
