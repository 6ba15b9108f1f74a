//! Fetches each field of an event at most once, however many rules ask for it.

use std::cell::Cell;
use std::fmt;

use crate::abi::LannerValue;
use crate::rule::Event;
use crate::value::{RawValue, Value};

/// The fields that a rule plugin uses, each under a small number called slot.
#[derive(Debug, Default)]
pub struct FieldCache {
    slots: Vec<Slot>,
    generation: u32,
}

#[derive(Debug)]
struct Slot {
    field: u32,
    /// The event for which `value` holds.
    generation: Cell<u32>,
    value: Cell<LannerValue>,
}

// SAFETY: what the values point to is read only through a `CachedEvent` of the same generation,
// and so only during the `on_event` call that they came from.
unsafe impl Send for FieldCache {}

impl FieldCache {
    /// The slot for a field id; the same id has the same slot.
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

    /// Starts with the next event. What was fetched for the one before is forgotten.
    pub fn view<'e>(&'e mut self, event: &Event<'e>) -> CachedEvent<'e> {
        self.generation = self.generation.wrapping_add(1);
        if self.generation == 0 {
            // After 2^32 events an old stamp could look new.
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

/// An event whose fields are remembered.
#[derive(Clone, Copy)]
pub struct CachedEvent<'e> {
    slots: &'e [Slot],
    generation: u32,
    event: Event<'e>,
}

impl<'e> CachedEvent<'e> {
    /// The value in a slot; none for a slot that does not exist.
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
        // SAFETY: the value was fetched from this very event, as the generations are equal and
        // `view` borrows the cache for as long as the event; it lives until `on_event` returns.
        unsafe { RawValue::from_abi(slot.value.get()) }.get()
    }

    /// The event itself.
    #[must_use]
    pub fn event(&self) -> Event<'e> {
        self.event
    }

    /// A number that differs from event to event: for caches beside this one.
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
