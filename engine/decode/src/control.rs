//! Control messages, which pass descriptors and credentials (cmsg(3), `struct cmsghdr`).

use super::sockaddr::bytes_at;

/// One control message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Control<'a> {
    /// `cmsg_len`: bytes of header and data.
    pub len: u64,
    /// `cmsg_level`.
    pub level: u32,
    /// `cmsg_type`.
    pub kind: u32,
    /// The data, as far as it was captured.
    pub data: &'a [u8],
}

/// `SOL_SOCKET`.
const SOCKET: u32 = 1;
/// `SCM_RIGHTS`.
const RIGHTS: u32 = 1;
/// `SCM_CREDENTIALS`.
const CREDENTIALS: u32 = 2;

impl<'a> Control<'a> {
    /// The descriptors that it passes (`SCM_RIGHTS`).
    pub fn descriptors(&self) -> Option<impl Iterator<Item = i32> + use<'a>> {
        (self.level == SOCKET && self.kind == RIGHTS).then(|| {
            self.data
                .chunks_exact(4)
                .filter_map(|chunk| chunk.first_chunk().copied().map(i32::from_ne_bytes))
        })
    }

    /// Process, user and group of the sender (`SCM_CREDENTIALS`).
    pub fn credentials(&self) -> Option<[u32; 3]> {
        let word = |at| bytes_at(self.data, at).map(u32::from_ne_bytes);
        (self.level == SOCKET && self.kind == CREDENTIALS)
            .then(|| Some([word(0)?, word(4)?, word(8)?]))
            .flatten()
    }
}

/// The messages in a buffer. `narrow`: their lengths have 32 bits.
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
        // a length that does not hold the header ends the list, as in the kernel (CMSG_OK in include/linux/socket.h)
        let end = usize::try_from(len).ok().filter(|end| *end >= head);
        let Some(end) = end else {
            rest = &[];
            return Some(Control {
                len,
                level,
                kind,
                data: &[],
            });
        };
        let data = rest.get(head..end.min(rest.len()))?;
        // a program can write any length: rounding it up must not wrap to a place that was read already
        rest = end
            .checked_next_multiple_of(word)
            .and_then(|next| rest.get(next..))
            .unwrap_or_default();
        Some(Control {
            len,
            level,
            kind,
            data,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_is_shorter_than_its_header_is_the_last_one() {
        let header = [SOCKET, RIGHTS].map(u32::to_ne_bytes).concat();
        let short = [&9_u64.to_ne_bytes()[..], &header, &[7, 0, 0, 0]].concat();
        let found: Vec<Control<'_>> = messages(&short, false).take(9).collect();
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].len, found[0].kind, found[0].data),
            (9, RIGHTS, &[][..])
        );
    }

    #[test]
    fn a_length_that_cannot_be_rounded_up_ends_the_list() {
        let header = [SOCKET, RIGHTS].map(u32::to_ne_bytes).concat();
        let wide = [&u64::MAX.to_ne_bytes()[..], &header, &[7, 0, 0, 0]].concat();
        let found: Vec<Control<'_>> = messages(&wide, false).take(9).collect();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].data, [7, 0, 0, 0]);
        let narrow = [&u32::MAX.to_ne_bytes()[..], &header, &[7, 0, 0, 0]].concat();
        assert_eq!(messages(&narrow, true).take(9).count(), 1);
    }
}
