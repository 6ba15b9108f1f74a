//! Texts of processes: paths, arguments, names. Children share them with their parents. The buffer of an unused text is
//! kept for the next text, so that a host on which programs come and go allocates nothing.

use std::mem;
use std::ops::Deref;
use std::sync::Arc;

/// Bytes with shared ownership. They change only while they have one owner.
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

/// The smallest capacity of a pooled buffer. Capacities are powers of two.
const SMALLEST: usize = 32;
/// The number of capacities. Larger texts are not pooled.
const SIZES: usize = 13;
/// The most buffers of one capacity that are kept.
const KEPT: usize = 1024;
/// The most bytes that are kept in all.
const KEPT_BYTES: usize = 1 << 20;

/// The index in [`TextPool::free`] of the smallest capacity that holds this number of bytes.
fn size_of(length: usize) -> usize {
    let size = length.max(SMALLEST).next_power_of_two();
    (size.trailing_zeros() - SMALLEST.trailing_zeros()) as usize
}

/// Buffers of unused texts.
#[derive(Debug, Default)]
pub(super) struct TextPool {
    free: [Vec<Arc<Vec<u8>>>; SIZES],
    bytes: usize,
}

impl TextPool {
    /// A new text with these bytes.
    pub(super) fn text(&mut self, bytes: &[u8]) -> Text {
        if bytes.is_empty() {
            return Text::default();
        }
        let size = size_of(bytes.len());
        let Some(free) = self.free.get_mut(size) else {
            return bytes.into();
        };
        let mut buffer = match free.pop() {
            Some(buffer) => {
                self.bytes -= buffer.capacity();
                buffer
            }
            None => Arc::new(Vec::with_capacity(SMALLEST << size)),
        };
        // a free buffer has no other owner
        if let Some(buffer) = Arc::get_mut(&mut buffer) {
            buffer.extend_from_slice(bytes);
        }
        Text(Some(buffer))
    }

    /// Replaces a text. Other owners of the former bytes keep them.
    pub(super) fn set(&mut self, text: &mut Text, bytes: &[u8]) {
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
        self.recycle(text);
        *text = self.text(bytes);
    }

    /// Drops a text, and keeps its buffer if it has no other owner.
    pub(super) fn recycle(&mut self, text: &mut Text) {
        let Some(mut buffer) = mem::take(text).0 else {
            return;
        };
        let Some(bytes) = Arc::get_mut(&mut buffer) else {
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
            free.push(buffer);
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
        let mut pool = TextPool::default();
        let mut parent = pool.text(b"/usr/bin/sh");
        let mut child = parent.clone();
        pool.set(&mut child, b"/usr/bin/cat");
        assert_eq!(
            (&*parent, &*child),
            (&b"/usr/bin/sh"[..], &b"/usr/bin/cat"[..])
        );
        let at = address(&child);
        pool.recycle(&mut child);
        assert!(child.is_empty());
        assert_eq!(address(&pool.text(b"/usr/bin/tr")), at);
        // a text with one owner is replaced in place
        let at = address(&parent);
        pool.set(&mut parent, b"/usr/bin/ls");
        assert_eq!((&*parent, address(&parent)), (&b"/usr/bin/ls"[..], at));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut pool = TextPool::default();
        for length in [0, 1, 32, 33, 4096, 100_000, 1 << 20] {
            let texts: Vec<_> = (0..2000).map(|_| pool.text(&vec![b'x'; length])).collect();
            for mut text in texts {
                assert_eq!(text.len(), length);
                pool.recycle(&mut text);
            }
            assert!(pool.bytes <= KEPT_BYTES, "{}", pool.bytes);
        }
        let kept: usize = pool
            .free
            .iter()
            .flatten()
            .map(|buffer| buffer.capacity())
            .sum();
        assert_eq!(kept, pool.bytes);
        assert!(pool.free.iter().all(|free| free.len() <= KEPT));
    }
}
