//! Asks container runtimes about containers, on a thread of its own. `inspect` learns from cgroups only which container
//! a process is in.
//!
//! | file | holds |
//! |---|---|
//! | `fetch` | the thread that asks, and the order in which it asks |
//! | `docker`, `cri`, `files` | asks Docker's API, Kubernetes' CRI, and the files that runtimes write |
//! | `time` | parses the times that runtimes write |

mod cri;
mod docker;
mod fetch;
mod files;
mod time;

use std::path::{Path, PathBuf};

use inspect::Metadata;

pub use fetch::Fetcher;

/// The answer to a question about a container.
#[derive(Debug)]
enum Answer {
    Found(Box<Metadata>),
    /// The runtime does not know the container, perhaps not yet.
    Unknown,
    /// No runtime answers.
    Unreachable,
}

/// Sockets and directories of container runtimes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Runtimes {
    /// Sockets of Docker's API.
    pub docker: Vec<PathBuf>,
    /// Sockets of Docker's API, served by podman.
    pub podman: Vec<PathBuf>,
    /// Sockets of CRI, served by containerd.
    pub containerd: Vec<PathBuf>,
    /// Sockets of CRI, served by CRI-O.
    pub crio: Vec<PathBuf>,
    /// Directories of containers/storage, which podman and CRI-O use.
    pub stores: Vec<PathBuf>,
    /// Directories of containerd's bundles, with one subdirectory for each namespace of containerd.
    pub bundles: Vec<PathBuf>,
}

impl Runtimes {
    /// The usual ones of this host. If lanner itself runs in a container, the environment variable `LANNER_HOST_ROOT`
    /// says where the host's root is mounted.
    #[must_use]
    pub fn host() -> Self {
        let root = std::env::var_os("LANNER_HOST_ROOT").unwrap_or_else(|| "/".into());
        Self::below(Path::new(&root))
    }

    /// The usual ones below a root: `/`, or the directory where a host's root is mounted.
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
