//! Events of recordings that say what runtimes know about containers: [`ContainerReporter`] makes them, and
//! [`RecordedAnswers`](super::RecordedAnswers) reads them.

use std::collections::HashSet;
use std::sync::Arc;

use driver_api::event::{Event, EventBuilder, Fact, Flags};

use super::{Container, Containers, Unsaid};
use crate::report::Report;

/// The most bytes of an answer: it has to fit into an event.
const MOST: usize = 30_000;
/// With more reported containers than this, all are reported again.
const MANY: usize = 65_536;

/// Says in a recording what runtimes answer about the containers of its processes.
#[derive(Debug)]
pub struct ContainerReporter {
    containers: Containers,
    /// Containers that were asked about.
    asked: HashSet<Box<str>>,
    /// Those that the recording does not have yet.
    waiting: Vec<Arc<Container>>,
    builder: EventBuilder,
}

impl ContainerReporter {
    /// Reports these containers first. Their source answers for later ones, too.
    #[must_use]
    pub fn new(containers: Containers) -> Self {
        let known: Vec<_> = containers.known().map(Arc::clone).collect();
        Self {
            asked: known.iter().map(|one| one.id.clone()).collect(),
            waiting: known,
            containers,
            builder: EventBuilder::new(),
        }
    }

    /// Takes the cgroups that an event of the recording names, to ask about their container.
    #[inline]
    pub fn note(&mut self, event: &Event<'_>) {
        if event.has(Flags::UNSELECTED) {
            self.ask(event);
        }
    }

    fn ask(&mut self, event: &Event<'_>) {
        let Some(text) = event.fact(Fact::Cgroups) else {
            return;
        };
        let group = self.containers.group(text.bytes, event.header().tgid);
        if let Some(container) = &group.container
            && !self.asked.contains(&container.id)
        {
            if self.asked.len() >= MANY {
                self.asked.clear();
            }
            self.asked.insert(container.id.clone());
            self.waiting.push(Arc::clone(container));
        }
    }

    /// Whether a container waits for its runtime's answer, or the answer for its event.
    #[inline]
    #[must_use]
    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// An answer that the recording does not have yet, as an event of this time. `None`: there is none now.
    pub fn next(&mut self, time_ns: u64) -> Option<Event<'_>> {
        let at = self.waiting.iter().position(|one| one.is_answered())?;
        let container = self.waiting.swap_remove(at);
        let said = container.json(Unsaid::Null, MOST);
        let text = said.unwrap_or_else(|| container.unknown_json());
        let report = Report {
            fact: Fact::Container,
            text: text.as_bytes(),
            pid: 0,
            cgroup: 0,
            time_ns,
        };
        report.event(&mut self.builder)
    }
}
