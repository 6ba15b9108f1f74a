//! Fields of an event that is over, or that another thread looks at.

use fields::{FieldId, Scratch, View};
use plugin_host::{FieldSource, OwnedValue, Value};

/// See the module.
#[derive(Debug, Default)]
pub struct Kept {
    event_type: u32,
    time_ns: u64,
    /// In the order of their ids.
    values: Vec<(FieldId, OwnedValue)>,
    /// The file that has the events around the alert.
    file: Option<Box<str>>,
    /// Lists are put together here.
    lists: Scratch,
}

impl Kept {
    /// Keeps these fields of an event; `ids` is sorted, and has each once.
    #[must_use]
    pub fn of(view: &View<'_>, ids: &[FieldId]) -> Self {
        let value = |id: &FieldId| (*id, view.value(*id).to_owned());
        Self {
            event_type: view.event_type(),
            time_ns: view.time_ns(),
            values: ids.iter().map(value).collect(),
            file: None,
            lists: Scratch::default(),
        }
    }

    /// The same, with the name of the file that has the events around the alert.
    pub(super) fn with_file(self, file: Option<&str>) -> Self {
        Self {
            file: file.map(Into::into),
            ..self
        }
    }

    /// That name.
    pub(super) fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }

    /// When the event happened, in nanoseconds since the epoch.
    #[must_use]
    pub fn time_ns(&self) -> u64 {
        self.time_ns
    }

    /// The fields, which may have become known better.
    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = (FieldId, &mut OwnedValue)> {
        self.values.iter_mut().map(|(id, value)| (*id, value))
    }
}

impl FieldSource for Kept {
    fn event_type(&self) -> u32 {
        self.event_type
    }

    fn get(&self, id: u32) -> Value<'_> {
        let found = self
            .values
            .binary_search_by_key(&id, |(known, _)| known.number());
        match found.ok().and_then(|at| self.values.get(at)) {
            Some((_, OwnedValue::List(values))) => {
                self.lists.list(values.iter().map(OwnedValue::scalar))
            }
            Some((_, value)) => value.scalar(),
            None => Value::None,
        }
    }
}
