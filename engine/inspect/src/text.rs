//! Texts of processes: paths, arguments, names. Children share them with their parents; the room of those that nobody
//! has any more is kept for the next, so that a host on which programs come and go makes no new ones.

use std::mem;
use std::ops::Deref;
use std::sync::Arc;

/// Bytes that do not change while more than one has them.
#[derive(Debug, Clone, Default)]
pub struct Text(Option<Arc<Vec<u8>>>);

impl Deref for Text {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.as_deref().map_or(&[], Vec::as_slice)
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Text {}

impl From<Vec<u8>> for Text {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Some(Arc::new(bytes)).filter(|bytes| !bytes.is_empty()))
    }
}

impl From<&[u8]> for Text {
    fn from(bytes: &[u8]) -> Self {
        bytes.to_vec().into()
    }
}

/// Room is kept in sizes of powers of two, from this one on.
const SMALLEST: usize = 32;
/// So many sizes; larger texts get room of their own.
const SIZES: usize = 13;
/// Of one size so many are kept, ...
const KEPT: usize = 1024;
/// ... and of all so many bytes.
const KEPT_BYTES: usize = 1 << 20;

/// The size that holds so many bytes, in [`Room::free`].
fn size_of(length: usize) -> usize {
    let size = length.max(SMALLEST).next_power_of_two();
    (size.trailing_zeros() - SMALLEST.trailing_zeros()) as usize
}

/// Room of texts that nobody has any more.
#[derive(Debug, Default)]
pub(super) struct Room {
    free: [Vec<Arc<Vec<u8>>>; SIZES],
    bytes: usize,
}

impl Room {
    /// A text of these bytes.
    pub(super) fn text(&mut self, bytes: &[u8]) -> Text {
        if bytes.is_empty() {
            return Text::default();
        }
        let size = size_of(bytes.len());
        let Some(free) = self.free.get_mut(size) else {
            return bytes.into();
        };
        let mut room = match free.pop() {
            Some(room) => {
                self.bytes -= room.capacity();
                room
            }
            None => Arc::new(Vec::with_capacity(SMALLEST << size)),
        };
        // nobody else has one that is free
        if let Some(room) = Arc::get_mut(&mut room) {
            room.extend_from_slice(bytes);
        }
        Text(Some(room))
    }

    /// Puts bytes in place of others; those who share these keep them.
    pub(super) fn put(&mut self, text: &mut Text, bytes: &[u8]) {
        if **text == *bytes {
            return;
        }
        if let Some(own) = text.0.as_mut().and_then(Arc::get_mut)
            && own.capacity() == SMALLEST << size_of(bytes.len())
        {
            own.clear();
            own.extend_from_slice(bytes);
            return;
        }
        self.take(text);
        *text = self.text(bytes);
    }

    /// Somebody has no use for a text any more.
    pub(super) fn take(&mut self, text: &mut Text) {
        let Some(mut room) = mem::take(text).0 else {
            return;
        };
        let Some(bytes) = Arc::get_mut(&mut room) else {
            return;
        };
        let capacity = bytes.capacity();
        let size = size_of(capacity);
        if let Some(free) = self.free.get_mut(size)
            && capacity == SMALLEST << size
            && free.len() < KEPT
            && self.bytes + capacity <= KEPT_BYTES
        {
            bytes.clear();
            free.push(room);
            self.bytes += capacity;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &Text) -> *const u8 {
        text.as_ptr()
    }

    #[test]
    fn a_text_that_nobody_has_makes_room_for_the_next() {
        let mut room = Room::default();
        let mut parent = room.text(b"/usr/bin/sh");
        let mut child = parent.clone();
        room.put(&mut child, b"/usr/bin/cat");
        assert_eq!(
            (&*parent, &*child),
            (&b"/usr/bin/sh"[..], &b"/usr/bin/cat"[..])
        );
        let at = address(&child);
        room.take(&mut child);
        assert!(child.is_empty());
        assert_eq!(address(&room.text(b"/usr/bin/tr")), at);
        // alone: in its own place
        let at = address(&parent);
        room.put(&mut parent, b"/usr/bin/ls");
        assert_eq!((&*parent, address(&parent)), (&b"/usr/bin/ls"[..], at));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut room = Room::default();
        for length in [0, 1, 32, 33, 4096, 100_000, 1 << 20] {
            let texts: Vec<_> = (0..2000).map(|_| room.text(&vec![b'x'; length])).collect();
            for mut text in texts {
                assert_eq!(text.len(), length);
                room.take(&mut text);
            }
            assert!(room.bytes <= KEPT_BYTES, "{}", room.bytes);
        }
        let kept: usize = room.free.iter().flatten().map(|room| room.capacity()).sum();
        assert_eq!(kept, room.bytes);
        assert!(room.free.iter().all(|free| free.len() <= KEPT));
    }
}
