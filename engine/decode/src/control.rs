//! Control messages, which carry descriptors and credentials (cmsg(3), struct cmsghdr).

use super::sockaddr::bytes_at;

/// One control message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Control<'a> {
    /// `cmsg_len`, bytes of head and data.
    pub len: u64,
    /// `cmsg_level`.
    pub level: u32,
    /// `cmsg_type`.
    pub kind: u32,
    /// What it carries, as far as captured.
    pub data: &'a [u8],
}

/// `SOL_SOCKET`.
const SOCKET: u32 = 1;

impl<'a> Control<'a> {
    /// The descriptors that it passes (`SCM_RIGHTS`).
    pub fn descriptors(&self) -> Option<impl Iterator<Item = i32> + use<'a>> {
        (self.level == SOCKET && self.kind == 1).then(|| {
            self.data
                .chunks_exact(4)
                .filter_map(|chunk| chunk.first_chunk().copied().map(i32::from_ne_bytes))
        })
    }

    /// Process, user and group of the sender (`SCM_CREDENTIALS`).
    pub fn credentials(&self) -> Option<[u32; 3]> {
        let word = |at| bytes_at(self.data, at).map(u32::from_ne_bytes);
        (self.level == SOCKET && self.kind == 2)
            .then(|| Some([word(0)?, word(4)?, word(8)?]))
            .flatten()
    }
}

/// The messages in a buffer.
pub fn messages(bytes: &[u8], narrow: bool) -> impl Iterator<Item = Control<'_>> {
    let word = if narrow { 4 } else { 8 };
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let len = if narrow {
            u64::from(u32::from_ne_bytes(bytes_at(rest, 0)?))
        } else {
            u64::from_ne_bytes(bytes_at(rest, 0)?)
        };
        let head = word + 8;
        let level = u32::from_ne_bytes(bytes_at(rest, word)?);
        let kind = u32::from_ne_bytes(bytes_at(rest, word + 4)?);
        let end = usize::try_from(len).ok().filter(|end| *end >= head)?;
        let data = rest.get(head..end.min(rest.len()))?;
        rest = rest.get(end.next_multiple_of(word)..).unwrap_or_default();
        Some(Control {
            len,
            level,
            kind,
            data,
        })
    })
}
