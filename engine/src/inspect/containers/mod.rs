//! Containers: which one a process is in, told by its cgroup at once; and what its runtime says about it, asked on
//! a thread of its own.
//!
//! | file | holds |
//! |---|---|
//! | `cgroup` | ids, from the names of cgroups |
//! | `model` | what is known of a container |
//! | `fetch` | the thread that asks |
//! | `docker`, `cri`, `files` | Docker's API, Kubernetes' CRI, and what runtimes write to disk |
//! | `time` | times as runtimes write them |
//!
//! A runtime is asked when the first process is seen in the container's cgroup. That is some tens of milliseconds
//! before the container's own program begins, as the runtime's own processes are put there first; so the answer is
//! mostly there before the first event that a rule is about. An alert that comes earlier waits for it, off the event
//! path (`alert::late`).

mod cgroup;
mod cri;
mod docker;
mod fetch;
mod files;
mod model;
mod time;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use super::users::Users;
use fetch::Fetcher;

pub(crate) use model::short;
pub use model::{Container, Image, Metadata, Mount, Pod, Runtime};

/// What a source says about a container.
#[derive(Debug)]
enum Answer {
    Found(Box<Metadata>),
    /// It does not know the container, perhaps not yet.
    Unknown,
    /// Nobody is there.
    Unreachable,
}

/// Whom to ask about containers, and where to look.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Runtimes {
    /// Docker's API.
    pub docker: Vec<PathBuf>,
    /// Docker's API, served by podman.
    pub podman: Vec<PathBuf>,
    /// CRI, served by containerd.
    pub containerd: Vec<PathBuf>,
    /// CRI, served by CRI-O.
    pub crio: Vec<PathBuf>,
    /// Stores of containers/storage: podman, CRI-O.
    pub stores: Vec<PathBuf>,
    /// Directories of namespaces of bundles: containerd.
    pub bundles: Vec<PathBuf>,
}

impl Runtimes {
    /// Those of this host; where lanner itself is in a container, the variable `LANNER_HOST_ROOT` says where the host's
    /// root is mounted.
    #[must_use]
    pub fn host() -> Self {
        let root = std::env::var_os("LANNER_HOST_ROOT").unwrap_or_else(|| "/".into());
        Self::below(Path::new(&root))
    }

    /// Where they usually are, below a root: `/`, or where a host's is mounted.
    #[must_use]
    pub fn below(root: &Path) -> Self {
        let below = |paths: &[&str]| paths.iter().map(|path| root.join(path)).collect();
        Self {
            docker: below(&["run/docker.sock"]),
            podman: below(&["run/podman/podman.sock"]),
            containerd: below(&[
                "run/containerd/containerd.sock",
                "run/k3s/containerd/containerd.sock",
                "run/host-containerd/containerd.sock",
            ]),
            crio: below(&["run/crio/crio.sock"]),
            stores: below(&["var/lib/containers/storage", "run/containers/storage"]),
            bundles: below(&[
                "run/containerd/io.containerd.runtime.v2.task",
                "run/k3s/containerd/io.containerd.runtime.v2.task",
            ]),
        }
    }
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
pub(super) struct Containers {
    groups: HashMap<Box<[u8]>, Arc<Cgroups>>,
    containers: HashMap<Box<str>, Arc<Container>>,
    fetcher: Fetcher,
    prune_at: usize,
}

impl Containers {
    /// Asks these; none: nobody.
    pub(super) fn new(runtimes: Option<Runtimes>) -> Self {
        Self {
            groups: HashMap::new(),
            containers: HashMap::new(),
            fetcher: Fetcher::new(runtimes),
            prune_at: MANY,
        }
    }

    /// The cgroups that `/proc/PID/cgroup` tells. A container that is seen for the first time is asked about.
    pub(super) fn group(&mut self, text: &[u8], pid: u32) -> Arc<Cgroups> {
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
        self.fetcher.ask(&container, cgroup::owner(text));
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
    pub(super) fn len(&self) -> (usize, usize) {
        (self.groups.len(), self.containers.len())
    }
}

#[cfg(test)]
mod tests;
