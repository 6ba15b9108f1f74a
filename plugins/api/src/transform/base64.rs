//! Base64, for `b64`, as Falco decodes it.

use data_encoding::BASE64_NOPAD;

/// Appends the decoded text to `out`: the alphabet of RFC 4648, section 4, with or without padding. Returns false if the
/// text is not base64, or has bits after its last byte.
pub(super) fn decode(text: &[u8], out: &mut Vec<u8>) -> bool {
    let padding = text.iter().rev().take(2).take_while(|byte| **byte == b'=');
    let letters = &text[..text.len() - padding.count()];
    if letters.is_empty() {
        return text.is_empty();
    }
    let Ok(room) = BASE64_NOPAD.decode_len(letters.len()) else {
        return false;
    };
    let begin = out.len();
    out.resize(begin + room, 0);
    BASE64_NOPAD.decode_mut(letters, &mut out[begin..]).is_ok()
}
