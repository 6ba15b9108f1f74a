//! [`View`]: one event as rules and templates see it.

use driver_api::event::Event;

use inspect::{Container, Descriptor, Inspector, Process, Seen};
use lanner_plugin::{FieldSource, Value};

use super::registry::{FieldId, Fields, event_type_of};
use super::scratch::Scratch;

/// An event, with the state around it.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    pub(super) fields: &'a Fields,
    pub(super) inspector: &'a Inspector,
    pub(super) event: &'a Event<'a>,
    pub(super) seen: &'a Seen,
    pub(super) scratch: &'a Scratch,
}

impl<'a> View<'a> {
    /// A view of the event that the inspector took last. Values live as long as the view's parts;
    /// `scratch` is to be reset when they are gone.
    #[must_use]
    pub fn new(
        fields: &'a Fields,
        inspector: &'a Inspector,
        event: &'a Event<'a>,
        seen: &'a Seen,
        scratch: &'a Scratch,
    ) -> Self {
        Self {
            fields,
            inspector,
            event,
            seen,
            scratch,
        }
    }

    /// When the event happened, in nanoseconds since the epoch.
    #[must_use]
    pub fn time_ns(&self) -> u64 {
        self.seen.time_ns
    }

    /// The value of a field.
    #[must_use]
    pub fn value(&self, field: FieldId) -> Value<'a> {
        self.fields.get(self, field.0)
    }

    pub(super) fn process(&self) -> Option<&'a Process> {
        self.inspector.process(self.seen.process?)
    }

    /// The process, if more is known of it than that it exists.
    pub(super) fn known(&self) -> Option<&'a Process> {
        self.process().filter(|process| process.known)
    }

    /// The ancestor this number of generations up; 0: the process itself.
    pub(super) fn ancestor(&self, generation: u32) -> Option<&'a Process> {
        let up = usize::try_from(generation).ok()?;
        self.inspector
            .lineage(self.seen.process?)
            .nth(up)
            .filter(|process| process.known)
    }

    pub(super) fn parent(&self) -> Option<&'a Process> {
        self.inspector
            .process(self.process()?.parent?)
            .filter(|parent| parent.known)
    }

    /// The container of the event's process; none: the host.
    #[must_use]
    pub fn container(&self) -> Option<&'a std::sync::Arc<Container>> {
        self.process()?.cgroups.container.as_ref()
    }

    pub(super) fn descriptor(&self) -> Option<&'a Descriptor> {
        self.inspector.descriptor(self.seen)
    }
}

impl FieldSource for View<'_> {
    fn event_type(&self) -> u32 {
        event_type_of(self.event, self.seen)
    }

    fn get(&self, id: u32) -> Value<'_> {
        self.fields.get(self, id)
    }
}
