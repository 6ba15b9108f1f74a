//! How fields are found and read: what the host of a rule plugin gives to it, as traits.

use crate::{ResolvedField, UnknownName, Value};

/// Finds fields and event types by name, while rules are loaded.
pub trait FieldResolver {
    /// Finds the field `name` or `name[arg]`. `evt.arg.flags` comes as `evt.arg` and `flags`.
    ///
    /// # Errors
    ///
    /// [`UnknownName`]: there is no such field. The reason is shown to the user and may name similar fields.
    fn resolve(&self, name: &str, arg: Option<&str>) -> Result<ResolvedField, UnknownName>;

    /// The number of an event type, such as `openat`, as [`FieldSource::event_type`] returns it. Numbers are small and
    /// dense, because plugins use them as indices.
    ///
    /// # Errors
    ///
    /// [`UnknownName`]: there is no such event type. The reason is shown to the user and may name similar types.
    fn event_type(&self, name: &str) -> Result<u32, UnknownName>;
}

/// An event, as rules see it.
pub trait FieldSource {
    /// The number of the event's type; see [`FieldResolver::event_type`].
    fn event_type(&self) -> u32;

    /// The value of a resolved field; [`Value::None`] where the event does not have it, and for unknown ids. The value
    /// must live as long as `self` is borrowed.
    fn get(&self, id: u32) -> Value<'_>;
}

impl<T: FieldSource + ?Sized> FieldSource for &T {
    fn event_type(&self) -> u32 {
        (**self).event_type()
    }

    fn get(&self, id: u32) -> Value<'_> {
        (**self).get(id)
    }
}
