//! Fetches each field of an event at most once, regardless of how many rules use it.

use std::cell::Cell;
use std::fmt;

use crate::abi::LannerValue;
use crate::rule::Event;
use crate::value::{RawValue, Value};

/// The fields that a rule plugin uses. Each has a small number, its slot.
#[derive(Debug, Default)]
pub struct FieldCache {
    slots: Vec<Slot>,
    generation: u32,
}

#[derive(Debug)]
struct Slot {
    field: u32,
    /// The generation of the event that `value` came from.
    generation: Cell<u32>,
    value: Cell<LannerValue>,
}

// SAFETY: the memory that the values point to is read only through a `CachedEvent` of the same generation, so only
// during the `on_event` call that they came from.
unsafe impl Send for FieldCache {}

impl FieldCache {
    /// The slot of a field id. The same id always has the same slot.
    pub fn slot(&mut self, field: u32) -> usize {
        if let Some(slot) = self.slots.iter().position(|slot| slot.field == field) {
            return slot;
        }
        self.slots.push(Slot {
            field,
            generation: Cell::new(0),
            value: Cell::new(LannerValue::NONE),
        });
        self.slots.len() - 1
    }

    /// Starts the next event, and forgets the values of the one before.
    pub fn view<'e>(&'e mut self, event: &Event<'e>) -> CachedEvent<'e> {
        self.generation = self.generation.wrapping_add(1);
        if self.generation == 0 {
            // The counter has wrapped around after 2^32 events, so an old generation could look current.
            for slot in &self.slots {
                slot.generation.set(0);
            }
            self.generation = 1;
        }
        CachedEvent {
            slots: &self.slots,
            generation: self.generation,
            event: *event,
        }
    }
}

/// An event with cached fields.
#[derive(Clone, Copy)]
pub struct CachedEvent<'e> {
    slots: &'e [Slot],
    generation: u32,
    event: Event<'e>,
}

impl<'e> CachedEvent<'e> {
    /// The value in a slot. None if the slot does not exist.
    #[inline]
    #[must_use]
    pub fn get(&self, slot: usize) -> Value<'e> {
        let Some(slot) = self.slots.get(slot) else {
            return Value::None;
        };
        if slot.generation.get() != self.generation {
            slot.value
                .set(RawValue::from(self.event.get(slot.field)).abi());
            slot.generation.set(self.generation);
        }
        // SAFETY: the value came from this event, because the generations are equal and `view` borrows the cache for
        // as long as the event. It lives until `on_event` returns.
        unsafe { RawValue::from_abi(slot.value.get()) }.get()
    }

    /// The event itself.
    #[must_use]
    pub fn event(&self) -> Event<'e> {
        self.event
    }

    /// A number that differs between consecutive events, for other caches by event.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.generation
    }
}

impl fmt::Debug for CachedEvent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedEvent")
            .field("event", &self.event)
            .finish_non_exhaustive()
    }
}
