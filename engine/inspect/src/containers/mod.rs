//! Containers: which one a process is in. Its cgroup says so at once. What its runtime knows about it comes later,
//! from a [`ContainerSource`].
//!
//! | file | holds |
//! |---|---|
//! | `cgroup` | ids, from the names of cgroups |
//! | `model` | what is known of a container |
//!
//! A runtime is asked when the first process is seen in the container's cgroup. That is some tens of milliseconds
//! before the container's own program begins, as the runtime's own processes are put there first; so the answer is
//! mostly there before the first event that a rule is about. An alert that comes earlier waits for it, off the event
//! path (`alert::late`).

mod cgroup;
mod model;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use super::users::Users;

pub use model::{Container, Image, Metadata, Mount, Pod, Runtime, short};

/// A source of what runtimes say about containers. The crate `containers` has the one that asks them.
pub trait ContainerSource: std::fmt::Debug + Send + Sync {
    /// Asks about a container that was just seen for the first time, and returns at once. `owner` is the user who
    /// runs the container, unless that is root. The source calls [`Container::answer`] once, some time later.
    fn ask(&self, container: &Arc<Container>, owner: Option<u32>);
}

/// The cgroups of a process, and the container that they make.
#[derive(Debug, Default)]
pub struct Cgroups {
    /// `/proc/PID/cgroup` as it was.
    pub text: Box<[u8]>,
    /// The container; none: the host.
    pub container: Option<Arc<Container>>,
}

/// No cgroups are known.
pub(super) fn unknown() -> Arc<Cgroups> {
    static UNKNOWN: LazyLock<Arc<Cgroups>> = LazyLock::new(Arc::default);
    UNKNOWN.clone()
}

/// Cgroups and containers are looked through for those that nobody needs when there are more.
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
    /// Asks this source about containers, if there is one.
    pub fn new(source: Option<Arc<dyn ContainerSource>>) -> Self {
        Self {
            groups: HashMap::new(),
            containers: HashMap::new(),
            source,
            prune_at: MANY,
        }
    }

    /// The cgroups that `/proc/PID/cgroup` tells. A container that is seen for the first time is asked about.
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

    fn container(&mut self, found: cgroup::Found, text: &[u8], pid: u32) -> Arc<Container> {
        if let Some(known) = self.containers.get(&*found.id) {
            return known.clone();
        }
        let container = Arc::new(Container::new(&found.id, found.runtime, found.pod_uid, pid));
        self.containers.insert(found.id.into(), container.clone());
        match &self.source {
            // the name is all there is
            _ if !container.runtime.answers() => container.answer(Some(Metadata {
                name: container.id.to_string(),
                ..Metadata::default()
            })),
            None => container.answer(None),
            Some(source) => source.ask(&container, cgroup::owner(text)),
        }
        container
    }

    /// Forgets what no process is in.
    fn prune(&mut self) {
        self.groups.retain(|_, group| Arc::strong_count(group) > 1);
        self.containers
            .retain(|_, container| Arc::strong_count(container) > 1);
        self.prune_at = (self.groups.len() * 2).max(MANY);
    }

    /// Cgroups and containers that are known.
    pub fn len(&self) -> (usize, usize) {
        (self.groups.len(), self.containers.len())
    }
}

#[cfg(test)]
mod tests;
