//! What is known of a container: at once its id, and once its runtime has answered the rest.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

/// Who runs a container.
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

    /// Whether somebody can be asked about its containers.
    pub fn answers(self) -> bool {
        !matches!(self, Self::Lxc | Self::LibvirtLxc | Self::Nspawn)
    }
}

/// A container.
#[derive(Debug)]
pub struct Container {
    /// Its whole id; the name, where a runtime has no ids.
    pub id: Box<str>,
    /// Who runs it.
    pub runtime: Runtime,
    /// Of the Kubernetes pod it is in, as the cgroup says it.
    pub pod_uid: Option<Box<str>>,
    /// A process in it, to look at its root through.
    pid: AtomicU32,
    answer: OnceLock<Option<Box<Metadata>>>,
    upper: OnceLock<PathBuf>,
    /// Its own users, as they were when somebody asked.
    pub(crate) users: Mutex<Option<(u64, super::Users)>>,
}

impl Container {
    /// A container that was just seen. Its runtime has not answered yet.
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

    /// The first 12 letters of the id, as runtimes show it; a name is not cut.
    #[must_use]
    pub fn short_id(&self) -> &str {
        short(&self.id)
    }

    /// What the runtime said; none: it has not answered, or does not know the container.
    #[must_use]
    pub fn metadata(&self) -> Option<&Metadata> {
        self.answer.get()?.as_deref()
    }

    /// Whether there is nothing more to come.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        self.answer.get().is_some()
    }

    /// Takes the runtime's answer, once.
    pub fn answer(&self, metadata: Option<Metadata>) {
        let _ = self.answer.set(metadata.map(Box::new));
    }

    /// The directory in which the files are that the container has written over its image, found by `find` once.
    pub(crate) fn upper(&self, find: impl FnOnce() -> Option<PathBuf>) -> Option<&Path> {
        if let Some(known) = self.upper.get() {
            return Some(known);
        }
        let found = find()?;
        Some(self.upper.get_or_init(|| found))
    }

    /// A process that is in it, or was.
    pub(crate) fn pid(&self) -> u32 {
        self.pid.load(Ordering::Relaxed)
    }

    /// A process is in it.
    pub(crate) fn seen(&self, pid: u32) {
        self.pid.store(pid, Ordering::Relaxed);
    }
}

/// The first 12 letters of an id in base 16; anything else as it is.
pub fn short(id: &str) -> &str {
    let is_hex = id.len() > 12 && id.as_bytes()[..12].iter().all(u8::is_ascii_hexdigit);
    if is_hex { &id[..12] } else { id }
}

/// What a runtime says about a container. Empty: it did not say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Name.
    pub name: String,
    /// Its image.
    pub image: Image,
    /// It has all capabilities and devices of the host.
    pub privileged: Option<bool>,
    /// What is mounted into it.
    pub mounts: Vec<Mount>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Its first address, mostly IPv4.
    pub ip: String,
    /// What the network plugins said, JSON.
    pub cni: String,
    /// It shares the host's process ids.
    pub host_pid: Option<bool>,
    /// It shares the host's network.
    pub host_network: Option<bool>,
    /// It shares the host's System V IPC.
    pub host_ipc: Option<bool>,
    /// When it was started, in nanoseconds since the epoch; 0: not known.
    pub started_ns: u64,
    /// The pod it is in.
    pub pod: Option<Pod>,
}

/// A container's image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Image {
    /// As it was named when the container was made.
    pub name: String,
    /// Without `sha256:`.
    pub id: String,
    /// The name without tag and digest.
    pub repository: String,
    /// The tag.
    pub tag: String,
    /// The digest in the registry, with `sha256:`.
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

    /// A container can be made from an image's id instead of its name.
    pub fn is_named_by_id(name: &str) -> bool {
        let name = name.strip_prefix("sha256:").unwrap_or(name);
        name.len() >= 12 && name.bytes().all(|b| b.is_ascii_hexdigit())
    }

    /// Takes name or digest from lists of `repository:tag` and of `repository@digest`, as image stores have them.
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

/// Something mounted into a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mount {
    /// Path on the host.
    pub source: String,
    /// Path in the container.
    pub destination: String,
    /// Options.
    pub mode: String,
    /// It can be written.
    pub writable: bool,
    /// `private`, `rslave`, ...
    pub propagation: String,
}

/// A Kubernetes pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pod {
    /// Name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// The id that Kubernetes gave.
    pub uid: String,
    /// The id that the runtime gave.
    pub sandbox: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Address.
    pub ip: String,
}

impl Pod {
    /// The pod that a container's labels tell of.
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
