//! Reads the files that runtimes write. Without an API, as is usual with podman, they say most about a container: the
//! OCI specification (`config.json` of its bundle) says how it was created, and the store of containers/storage
//! (`containers.json`) has its name and image.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value as Json;

use super::{Answer, Runtimes, time};
use inspect::containers::{Image, Metadata, Mount, Pod};

/// The most bytes that are read of a file.
const MAX_FILE: u64 = 16 << 20;

/// Looks for a container. The id becomes a part of a path; it comes from a cgroup's name, which should not contain a
/// slash.
pub(super) fn ask(runtimes: &Runtimes, id: &str) -> Answer {
    if matches!(id, "." | "..") || id.contains('/') {
        return Answer::Unknown;
    }
    let stored = runtimes.stores.iter().find_map(|store| stored(store, id));
    let Some(specification) = specification(runtimes, id) else {
        return match stored {
            Some(stored) => Answer::Found(Box::new(stored.metadata())),
            None => Answer::Unknown,
        };
    };
    let mut metadata = specified(&specification);
    if let Some(stored) = stored {
        let of_store = stored.metadata();
        metadata.name = of_store.name;
        if metadata.image.name.is_empty() || metadata.image.id.is_empty() {
            metadata.image = of_store.image;
        }
    }
    Answer::Found(Box::new(metadata))
}

fn specification(runtimes: &Runtimes, id: &str) -> Option<Json> {
    let of_store = runtimes
        .stores
        .iter()
        .flat_map(|store| {
            ["overlay-containers", "vfs-containers", "btrfs-containers"]
                .map(|driver| store.join(driver).join(id).join("userdata"))
        })
        .find_map(|bundle| json(&bundle.join("config.json")));
    of_store.or_else(|| {
        let namespaces = |root: &PathBuf| {
            let inner = fs::read_dir(root).into_iter().flatten().flatten();
            inner.map(|namespace| namespace.path()).collect::<Vec<_>>()
        };
        runtimes
            .bundles
            .iter()
            .flat_map(namespaces)
            .find_map(|namespace| json(&namespace.join(id).join("config.json")))
    })
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = fs::File::open(path).ok()?;
    file.take(MAX_FILE).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

fn json<T: serde::de::DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&read(path)?).ok()
}

/// An entry in `containers.json`.
#[derive(Debug, Deserialize)]
struct Stored {
    id: String,
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    image: String,
    /// JSON as a string.
    #[serde(default)]
    metadata: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct StoredMetadata {
    image_name: String,
}

fn stored(store: &Path, id: &str) -> Option<Stored> {
    ["overlay-containers", "vfs-containers", "btrfs-containers"]
        .iter()
        .find_map(|driver| {
            let all: Vec<Stored> = json(&store.join(driver).join("containers.json"))?;
            all.into_iter().find(|stored| stored.id == id)
        })
}

impl Stored {
    fn metadata(self) -> Metadata {
        let inner: StoredMetadata = serde_json::from_str(&self.metadata).unwrap_or_default();
        Metadata {
            name: self.names.into_iter().next().unwrap_or_default(),
            image: Image::named(&inner.image_name).with_id(&self.image),
            ..Metadata::default()
        }
    }
}

/// What an OCI specification says (runtime-spec), including the annotations of containerd, CRI-O and podman.
fn specified(specification: &Json) -> Metadata {
    let annotations: BTreeMap<String, String> = specification
        .get("annotations")
        .and_then(|all| serde_json::from_value(all.clone()).ok())
        .unwrap_or_default();
    let first = |keys: &[&str]| {
        let found = keys.iter().find_map(|key| annotations.get(*key));
        found.cloned().unwrap_or_default()
    };
    let labels: BTreeMap<String, String> = annotations
        .get("io.kubernetes.cri-o.Labels")
        .and_then(|labels| serde_json::from_str(labels).ok())
        .unwrap_or_default();
    let pod = Pod {
        name: first(&[
            "io.kubernetes.cri.sandbox-name",
            "io.kubernetes.cri-o.KubeName",
            "io.kubernetes.pod.name",
        ]),
        namespace: first(&[
            "io.kubernetes.cri.sandbox-namespace",
            "io.kubernetes.cri-o.Namespace",
            "io.kubernetes.pod.namespace",
        ]),
        uid: first(&["io.kubernetes.cri.sandbox-uid", "io.kubernetes.pod.uid"]),
        sandbox: first(&[
            "io.kubernetes.cri.sandbox-id",
            "io.kubernetes.cri-o.SandboxID",
        ]),
        ..Pod::default()
    };
    let pod = Pod::of_labels(&labels)
        .map(|of_labels| Pod {
            sandbox: pod.sandbox.clone(),
            ..of_labels
        })
        .or_else(|| (!pod.name.is_empty()).then_some(pod));
    let image = first(&[
        "io.kubernetes.cri.image-name",
        "io.kubernetes.cri-o.ImageName",
    ]);
    let said = annotations
        .get("io.podman.annotations.privileged")
        .map(|said| said.eq_ignore_ascii_case("true"));
    let namespaces = specification.pointer("/linux/namespaces");
    let shares = |kind: &str| {
        let namespaces = namespaces?.as_array()?;
        let has = |namespace: &Json| namespace.get("type").and_then(Json::as_str) == Some(kind);
        Some(!namespaces.iter().any(has))
    };
    let mounts = specification.get("mounts").and_then(Json::as_array);
    Metadata {
        name: first(&[
            "io.kubernetes.cri.container-name",
            "io.kubernetes.container.name",
        ]),
        image: Image::named(&image),
        privileged: said.or_else(|| privileged_by_specification(specification)),
        mounts: mounts.into_iter().flatten().filter_map(mount).collect(),
        host_pid: shares("pid"),
        host_network: shares("network"),
        host_ipc: shares("ipc"),
        started_ns: annotations
            .get("io.kubernetes.cri-o.Created")
            .and_then(|time| time::epoch_ns(time))
            .unwrap_or(0),
        labels,
        pod,
        ..Metadata::default()
    }
}

/// A mount of a host's directory. None: it is one of the kernel's own file systems.
fn mount(mount: &Json) -> Option<Mount> {
    let text = |key| mount.get(key).and_then(Json::as_str).unwrap_or_default();
    let source = text("source");
    if !source.starts_with('/') {
        return None;
    }
    let options: Vec<&str> = mount
        .get("options")
        .and_then(Json::as_array)
        .into_iter()
        .flatten()
        .filter_map(Json::as_str)
        .collect();
    let propagation = options.iter().find(|option| {
        let kind = option.strip_prefix('r').unwrap_or(option);
        matches!(kind, "private" | "shared" | "slave" | "unbindable")
    });
    Some(Mount {
        source: source.to_owned(),
        destination: text("destination").to_owned(),
        mode: String::new(),
        writable: !options.contains(&"ro"),
        propagation: propagation.map_or_else(String::new, |kind| (*kind).to_owned()),
    })
}

/// Whether a container is privileged: it may use all devices, and no path is masked or read-only.
pub(super) fn privileged_by_specification(specification: &Json) -> Option<bool> {
    let linux = specification.get("linux")?;
    let hides = |key| {
        let paths = linux.get(key).and_then(Json::as_array);
        paths.is_some_and(|paths| !paths.is_empty())
    };
    let rules = linux.pointer("/resources/devices").and_then(Json::as_array);
    let allows_all = |rule: &Json| {
        let kind = rule.get("type").and_then(Json::as_str).unwrap_or("a");
        rule.get("allow").and_then(Json::as_bool) == Some(true)
            && kind == "a"
            && rule
                .get("major")
                .and_then(Json::as_i64)
                .is_none_or(|n| n < 0)
    };
    let devices = rules.is_some_and(|rules| rules.iter().any(allows_all));
    Some(devices && !hides("maskedPaths") && !hides("readonlyPaths"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "6c20b975ed989e8d583ae4de3e85c31110a3e1ccc84ed73f3bb0b33632d3f160";

    fn runtimes() -> (tempfile::TempDir, Runtimes) {
        let root = tempfile::tempdir().unwrap();
        let runtimes = Runtimes {
            stores: vec![root.path().join("storage")],
            bundles: vec![root.path().join("tasks")],
            ..Runtimes::default()
        };
        (root, runtimes)
    }

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn found(answer: Answer) -> Metadata {
        match answer {
            Answer::Found(metadata) => *metadata,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn podmans_files_tell_name_image_and_rights() {
        let (root, runtimes) = runtimes();
        let containers = root.path().join("storage/overlay-containers");
        let inner = r#"{\"image-name\":\"localhost/web:1\",\"name\":\"web\"}"#;
        write(
            &containers.join("containers.json"),
            &format!(
                r#"[{{"id": "{ID}", "names": ["web"], "image": "d33d3e32c2a4", "metadata": "{inner}"}}]"#
            ),
        );
        write(
            &containers.join(ID).join("userdata/config.json"),
            r#"{"ociVersion": "1", "annotations": {"io.podman.annotations.privileged": "TRUE"},
                "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"},
                    {"destination": "/data", "type": "bind", "source": "/srv", "options": ["rbind", "ro", "rslave"]}],
                "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}]}}"#,
        );
        let metadata = found(ask(&runtimes, ID));
        assert_eq!(
            (&*metadata.name, &*metadata.image.repository),
            ("web", "localhost/web")
        );
        assert_eq!(
            (&*metadata.image.tag, &*metadata.image.id),
            ("1", "d33d3e32c2a4")
        );
        assert_eq!(
            (
                metadata.privileged,
                metadata.host_pid,
                metadata.host_network
            ),
            (Some(true), Some(false), Some(true))
        );
        let mount = Mount {
            source: "/srv".to_owned(),
            destination: "/data".to_owned(),
            mode: String::new(),
            writable: false,
            propagation: "rslave".to_owned(),
        };
        assert_eq!(metadata.mounts, [mount]);
    }

    #[test]
    fn a_bundle_of_containerds_tells_pod_and_image() {
        let (root, runtimes) = runtimes();
        write(
            &root.path().join(format!("tasks/k8s.io/{ID}/config.json")),
            r#"{"annotations": {"io.kubernetes.cri.container-name": "app",
                "io.kubernetes.cri.image-name": "docker.io/library/nginx:1.27",
                "io.kubernetes.cri.sandbox-name": "web-0", "io.kubernetes.cri.sandbox-namespace": "shop",
                "io.kubernetes.cri.sandbox-uid": "u", "io.kubernetes.cri.sandbox-id": "s"},
                "linux": {"maskedPaths": ["/proc/kcore"], "resources": {"devices": [{"allow": false}]}}}"#,
        );
        let metadata = found(ask(&runtimes, ID));
        assert_eq!((&*metadata.name, metadata.privileged), ("app", Some(false)));
        assert_eq!(&*metadata.image.repository, "docker.io/library/nginx");
        let pod = metadata.pod.unwrap();
        assert_eq!(
            (&*pod.name, &*pod.namespace, &*pod.sandbox),
            ("web-0", "shop", "s")
        );
    }

    #[test]
    fn a_container_without_files_and_a_hostile_id_are_not_known() {
        let (_root, runtimes) = runtimes();
        for id in [ID, "..", ".", "a/../b"] {
            assert!(matches!(ask(&runtimes, id), Answer::Unknown), "{id}");
        }
    }
}
