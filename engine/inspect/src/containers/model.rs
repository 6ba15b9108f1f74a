//! A container: its id and runtime, which are known at once, and what the runtime says about it later.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

use serde::{Deserialize, Serialize};

use super::json::lenient;

/// A container runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Runtime {
    /// Docker.
    Docker,
    /// podman.
    Podman,
    /// containerd, by itself or for Kubernetes.
    Containerd,
    /// CRI-O.
    Crio,
    /// LXC.
    Lxc,
    /// LXC by libvirt.
    LibvirtLxc,
    /// systemd-nspawn.
    Nspawn,
}

impl Runtime {
    /// Falco's `container.type`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
            Self::Containerd => "containerd",
            Self::Crio => "cri-o",
            Self::Lxc => "lxc",
            Self::LibvirtLxc => "libvirt_lxc",
            Self::Nspawn => "systemd-nspawn",
        }
    }

    /// Whether the runtime can be asked about its containers.
    pub fn answers(self) -> bool {
        match self {
            Self::Docker | Self::Podman | Self::Containerd | Self::Crio => true,
            Self::Lxc | Self::LibvirtLxc | Self::Nspawn => false,
        }
    }
}

/// A container.
#[derive(Debug)]
pub struct Container {
    /// Its full id, or its name if the runtime has no ids.
    pub id: Box<str>,
    /// Its runtime.
    pub runtime: Runtime,
    /// The uid of its Kubernetes pod, from the cgroup.
    pub pod_uid: Option<Box<str>>,
    /// A process in it, whose root directory is the container's.
    pid: AtomicU32,
    answer: OnceLock<Option<Box<Metadata>>>,
    upper: OnceLock<PathBuf>,
    /// Its users, and the event time until which they are valid.
    pub(crate) users: Mutex<Option<(u64, super::Users)>>,
}

impl Container {
    /// A new container. Its runtime has not answered yet.
    #[must_use]
    pub fn new(id: &str, runtime: Runtime, pod_uid: Option<String>, pid: u32) -> Self {
        Self {
            id: id.into(),
            runtime,
            pod_uid: pod_uid.map(String::into_boxed_str),
            pid: AtomicU32::new(pid),
            answer: OnceLock::new(),
            upper: OnceLock::new(),
            users: Mutex::default(),
        }
    }

    /// The first 12 characters of the id, as runtimes show it. A name is not cut.
    #[must_use]
    pub fn short_id(&self) -> &str {
        short(&self.id)
    }

    /// What the runtime says. None: it has not answered, or does not know the container.
    #[must_use]
    pub fn metadata(&self) -> Option<&Metadata> {
        self.answer.get()?.as_deref()
    }

    /// Whether the answer has come, even if the runtime does not know the container.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        self.answer.get().is_some()
    }

    /// Sets the runtime's answer. Only the first answer counts.
    pub fn answer(&self, metadata: Option<Metadata>) {
        let _ = self.answer.set(metadata.map(Box::new));
    }

    /// The upper directory of the container's overlay file system, with the files that it has changed. Calls `find`
    /// until it succeeds.
    pub(crate) fn upper(&self, find: impl FnOnce() -> Option<PathBuf>) -> Option<&Path> {
        if let Some(known) = self.upper.get() {
            return Some(known);
        }
        let found = find()?;
        Some(self.upper.get_or_init(|| found))
    }

    /// A process that is or was in it.
    pub(crate) fn pid(&self) -> u32 {
        self.pid.load(Ordering::Relaxed)
    }

    /// Notes a process that is in it.
    pub(crate) fn seen(&self, pid: u32) {
        self.pid.store(pid, Ordering::Relaxed);
    }
}

/// The first 12 characters of a hexadecimal id. Anything else is not cut.
pub fn short(id: &str) -> &str {
    let is_hex = id.len() > 12 && id.as_bytes()[..12].iter().all(u8::is_ascii_hexdigit);
    if is_hex { &id[..12] } else { id }
}

/// What a runtime says about a container. Empty or none: it does not say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Name.
    pub name: String,
    /// Its image.
    pub image: Image,
    /// Whether it has all capabilities and devices of the host.
    pub privileged: Option<bool>,
    /// Mounts from the host.
    pub mounts: Vec<Mount>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Its first IP address.
    pub ip: String,
    /// The result of the network plugins (CNI), as JSON.
    pub cni: String,
    /// Whether it shares the host's pid namespace.
    pub host_pid: Option<bool>,
    /// Whether it shares the host's network namespace.
    pub host_network: Option<bool>,
    /// Whether it shares the host's IPC namespace.
    pub host_ipc: Option<bool>,
    /// Start time, in nanoseconds since the epoch; 0: not known.
    pub started_ns: u64,
    /// Its pod.
    pub pod: Option<Pod>,
}

/// A container's image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Image {
    /// The name with which the container was created.
    pub name: String,
    /// Id, without `sha256:`.
    pub id: String,
    /// The name without tag and digest.
    pub repository: String,
    /// The tag.
    pub tag: String,
    /// Digest in the registry, with `sha256:`.
    pub digest: String,
}

impl Image {
    /// An image by its name: `registry:port/path:tag@digest`.
    pub fn named(name: &str) -> Self {
        let (rest, digest) = name.split_once('@').unwrap_or((name, ""));
        // the colon of a port is followed by a slash
        let (repository, tag) = match rest.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => (repository, tag),
            _ => (rest, ""),
        };
        Self {
            name: name.to_owned(),
            id: String::new(),
            repository: repository.to_owned(),
            tag: tag.to_owned(),
            digest: digest.to_owned(),
        }
    }

    /// The image with this id, with or without `sha256:`.
    #[must_use]
    pub fn with_id(mut self, id: &str) -> Self {
        id.strip_prefix("sha256:")
            .unwrap_or(id)
            .clone_into(&mut self.id);
        self
    }

    /// Whether a name is an image's id: a container can be created from an id instead of a name.
    pub fn is_named_by_id(name: &str) -> bool {
        let name = name.strip_prefix("sha256:").unwrap_or(name);
        name.len() >= 12 && name.bytes().all(|b| b.is_ascii_hexdigit())
    }

    /// Adds a missing name or digest from an image store's lists of `repository:tag` and `repository@digest`.
    pub fn complete(&mut self, tags: &[String], digests: &[String]) {
        if (self.name.is_empty() || Self::is_named_by_id(&self.name))
            && let Some(first) = tags.first().or(digests.first())
        {
            *self = Self::named(first).with_id(&self.id);
        }
        if self.digest.is_empty() {
            let pairs = || digests.iter().filter_map(|d| d.split_once('@'));
            let own = pairs().find(|(repository, _)| *repository == self.repository);
            if let Some((_, digest)) = own.or_else(|| pairs().next()) {
                digest.clone_into(&mut self.digest);
            }
        }
    }
}

/// A mount in a container. As JSON, it is what Docker's API and Falco's libraries write.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Mount {
    /// Path on the host.
    #[serde(deserialize_with = "lenient")]
    pub source: String,
    /// Path in the container.
    #[serde(deserialize_with = "lenient")]
    pub destination: String,
    /// Options.
    #[serde(deserialize_with = "lenient")]
    pub mode: String,
    /// Whether it is writable.
    #[serde(rename = "RW", deserialize_with = "lenient")]
    pub writable: bool,
    /// `private`, `rslave`, ...
    #[serde(deserialize_with = "lenient")]
    pub propagation: String,
}

/// A Kubernetes pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pod {
    /// Name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// Id in Kubernetes.
    pub uid: String,
    /// Id of its sandbox in the runtime.
    pub sandbox: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// IP address.
    pub ip: String,
}

impl Pod {
    /// The pod that a container's labels name. None: there is no such label.
    pub fn of_labels(labels: &BTreeMap<String, String>) -> Option<Self> {
        let label = |key: &str| labels.get(key).cloned().unwrap_or_default();
        Some(Self {
            name: labels.get("io.kubernetes.pod.name")?.clone(),
            namespace: label("io.kubernetes.pod.namespace"),
            uid: label("io.kubernetes.pod.uid"),
            ..Self::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_images_name_has_parts() {
        let cases = [
            ("busybox", "busybox", "", ""),
            (
                "falcosecurity/falco:latest",
                "falcosecurity/falco",
                "latest",
                "",
            ),
            ("localhost:5000/a/b", "localhost:5000/a/b", "", ""),
            (
                "localhost:5000/a/b:1.2@sha256:00ff",
                "localhost:5000/a/b",
                "1.2",
                "sha256:00ff",
            ),
            ("quay.io/x@sha256:00ff", "quay.io/x", "", "sha256:00ff"),
        ];
        for (name, repository, tag, digest) in cases {
            let image = Image::named(name);
            assert_eq!(
                (&*image.repository, &*image.tag, &*image.digest),
                (repository, tag, digest),
                "{name}"
            );
        }
    }

    #[test]
    fn an_image_that_was_named_by_its_id_gets_its_name_from_the_store() {
        let mut image = Image::named("6f7e2741b66b").with_id("sha256:6f7e2741b66b00");
        let digests = [
            "other/x@sha256:11".to_owned(),
            "docker.io/a/b@sha256:22".to_owned(),
        ];
        image.complete(&["docker.io/a/b:1".to_owned()], &digests);
        assert_eq!(
            (&*image.repository, &*image.tag, &*image.digest, &*image.id),
            ("docker.io/a/b", "1", "sha256:22", "6f7e2741b66b00")
        );
    }

    #[test]
    fn ids_are_cut_and_names_are_not() {
        assert_eq!(short("3ad7b26ded6d8e7b"), "3ad7b26ded6d");
        assert_eq!(short("a-machine-with-a-name"), "a-machine-with-a-name");
        assert_eq!(short("é-é-é-é-é"), "é-é-é-é-é");
    }
}
