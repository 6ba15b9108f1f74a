//! Which container a process is in. The process's cgroups show this at once. What the container's runtime knows comes
//! later, from a [`ContainerSource`].
//!
//! | file | holds |
//! |---|---|
//! | `cgroup` | runtimes and ids, from the names of cgroups |
//! | `model` | what is known of a container |
//! | `json` | what a runtime says as JSON |
//! | `answers` | what a file of events says about containers |
//! | `report` | events of recordings that say it |
//!
//! The source is asked when the first process appears in the container's cgroup. The runtime's own processes appear
//! there first, some tens of milliseconds before the container's program starts. So the answer usually arrives before
//! the first event of that program. An alert that comes earlier waits for the answer outside the event path
//! (`delivery::alert`).

mod answers;
mod cgroup;
mod json;
mod model;
mod report;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use super::users::Users;

pub use answers::RecordedAnswers;
pub use json::Unsaid;
pub use model::{Container, Image, Metadata, Mount, Pod, Runtime, short};
pub use report::ContainerReporter;

/// A source of what runtimes say about containers. The crate `containers` implements it.
pub trait ContainerSource: std::fmt::Debug + Send + Sync {
    /// Asks about a container that was just seen for the first time, and returns at once. `owner` is the user who
    /// runs the container, unless that is root. The source calls [`Container::answer`] once, some time later.
    fn ask(&self, container: &Arc<Container>, owner: Option<u32>);
}

/// The cgroups of a process, and the container that they belong to.
#[derive(Debug, Default)]
pub struct Cgroups {
    /// The content of `/proc/PID/cgroup` when it was read.
    pub text: Box<[u8]>,
    /// The container. None: the process is on the host.
    pub container: Option<Arc<Container>>,
}

/// Unknown cgroups.
pub(super) fn unknown() -> Arc<Cgroups> {
    static UNKNOWN: LazyLock<Arc<Cgroups>> = LazyLock::new(Arc::default);
    UNKNOWN.clone()
}

/// With more cgroups than this, unused cgroups and containers are removed.
const MANY: usize = 1024;

/// The containers that processes are in.
#[derive(Debug)]
pub struct Containers {
    groups: HashMap<Box<[u8]>, Arc<Cgroups>>,
    containers: HashMap<Box<str>, Arc<Container>>,
    source: Option<Arc<dyn ContainerSource>>,
    prune_at: usize,
}

impl Containers {
    /// No containers. New ones will be looked up in this source, if there is one.
    pub fn new(source: Option<Arc<dyn ContainerSource>>) -> Self {
        Self {
            groups: HashMap::new(),
            containers: HashMap::new(),
            source,
            prune_at: MANY,
        }
    }

    /// The cgroups with this content of `/proc/PID/cgroup`. The source is asked about a new container.
    pub fn group(&mut self, text: &[u8], pid: u32) -> Arc<Cgroups> {
        if let Some(known) = self.groups.get(text) {
            return known.clone();
        }
        if self.groups.len() >= self.prune_at {
            self.prune();
        }
        let container = cgroup::find(text).map(|found| self.container(found, text, pid));
        let group = Arc::new(Cgroups {
            text: text.into(),
            container,
        });
        self.groups.insert(text.into(), group.clone());
        group
    }

    fn container(&mut self, found: cgroup::ContainerId, text: &[u8], pid: u32) -> Arc<Container> {
        if let Some(known) = self.containers.get(&*found.id) {
            return known.clone();
        }
        let container = Arc::new(Container::new(&found.id, found.runtime, found.pod_uid, pid));
        self.containers.insert(found.id.into(), container.clone());
        match &self.source {
            // no source knows more than the name
            _ if !container.runtime.answers() => container.answer(Some(Metadata {
                name: container.id.to_string(),
                ..Metadata::default()
            })),
            None => container.answer(None),
            Some(source) => source.ask(&container, cgroup::owner(text)),
        }
        container
    }

    /// Removes cgroups and containers without processes.
    fn prune(&mut self) {
        self.groups.retain(|_, group| Arc::strong_count(group) > 1);
        self.containers
            .retain(|_, container| Arc::strong_count(container) > 1);
        self.prune_at = (self.groups.len() * 2).max(MANY);
    }

    /// The known containers, in any order.
    pub fn known(&self) -> impl Iterator<Item = &Arc<Container>> {
        self.containers.values()
    }

    /// The numbers of known cgroups and containers.
    pub fn len(&self) -> (usize, usize) {
        (self.groups.len(), self.containers.len())
    }
}

#[cfg(test)]
mod tests;
