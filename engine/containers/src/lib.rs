//! Asks container runtimes about containers, on a thread of its own: what `inspect` cannot learn from cgroups.
//!
//! | file | holds |
//! |---|---|
//! | `fetch` | the thread that asks |
//! | `docker`, `cri`, `files` | Docker's API, Kubernetes' CRI, and what runtimes write to disk |
//! | `time` | times as runtimes write them |

mod cri;
mod docker;
mod fetch;
mod files;
mod time;

use std::path::{Path, PathBuf};

use inspect::Metadata;

pub use fetch::Fetcher;

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

#[cfg(test)]
mod tests;
