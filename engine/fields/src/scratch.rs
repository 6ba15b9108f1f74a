//! Room for values that have to be put together: used again for every event, so that looking at an event
//! allocates nothing once the room is large enough.

use std::cell::Cell;

use bumpalo::Bump;
use bumpalo::collections::Vec as BumpVec;

use lanner_plugin::{List, RawValue, Value};

/// Holds what fields of one event are made of. It is used again for the next event.
#[derive(Default)]
pub struct Scratch {
    bump: Bump,
    bytes: Cell<Vec<u8>>,
    text: Cell<String>,
    count: Cell<u64>,
}

impl std::fmt::Debug for Scratch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scratch")
            .field("allocated", &self.bump.allocated_bytes())
            .finish()
    }
}

impl Scratch {
    /// Empties it for the next event.
    pub fn reset(&mut self) {
        self.bump.reset();
    }

    /// 1, 2, 3, ...
    pub(super) fn count(&self) -> u64 {
        let next = self.count.get() + 1;
        self.count.set(next);
        next
    }

    /// Bytes that `write` appends to an empty buffer.
    pub(super) fn bytes(&self, write: impl FnOnce(&mut Vec<u8>)) -> &[u8] {
        let mut bytes = self.bytes.take();
        bytes.clear();
        write(&mut bytes);
        let kept = self.bump.alloc_slice_copy(&bytes);
        self.bytes.set(bytes);
        kept
    }

    /// Text that `write` appends to an empty string.
    pub(super) fn text(&self, write: impl FnOnce(&mut String)) -> &[u8] {
        let mut text = self.text.take();
        text.clear();
        write(&mut text);
        let kept = self.bump.alloc_str(&text).as_bytes();
        self.text.set(text);
        kept
    }

    /// A list of values; no value if there are none.
    pub fn list<'a>(&'a self, values: impl Iterator<Item = Value<'a>>) -> Value<'a> {
        let mut elements = BumpVec::new_in(&self.bump);
        elements.extend(values.map(RawValue::from));
        match elements.into_bump_slice() {
            [] => Value::None,
            elements => Value::List(List::new(elements)),
        }
    }
}
