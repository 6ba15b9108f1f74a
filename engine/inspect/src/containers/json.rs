//! What a runtime says about a container, as the JSON of Falco's event `container`. Captures of Falco's have it, and so have
//! recordings of lanner's ([`Fact::Container`](driver_api::event::Fact::Container)).

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::{Container, Image, Metadata, Mount, Pod, Runtime, short};

/// What is written for what a runtime does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsaid {
    /// `null`.
    Null,
    /// `false`: Falco's libraries take nothing else.
    False,
}

/// Members that go first if the text must be short: the larger and the less asked for.
const LARGE: [&str; 4] = ["cni_json", "pod_sandbox_labels", "Mounts", "labels"];

/// `sinsp_container_type` in falcosecurity/libs.
fn kind(runtime: Runtime) -> u8 {
    match runtime {
        Runtime::Docker => 0,
        Runtime::Lxc => 1,
        Runtime::LibvirtLxc => 2,
        // a custom one
        Runtime::Nspawn => 5,
        Runtime::Containerd => 7,
        Runtime::Crio => 8,
        Runtime::Podman => 11,
    }
}

impl Container {
    /// The runtime's answer as JSON of at most `most` bytes: what does not fit is left out, labels last. `None`: it has said
    /// nothing, or does not know the container.
    #[must_use]
    pub fn json(&self, unsaid: Unsaid, most: usize) -> Option<String> {
        let mut about = self.about(self.metadata()?, unsaid);
        let mut text = about.to_string();
        for member in LARGE {
            if text.len() <= most {
                break;
            }
            about["container"][member].take();
            text = about.to_string();
        }
        (text.len() <= most).then_some(text)
    }

    /// The JSON that says that the runtime does not know this container.
    #[must_use]
    pub fn unknown_json(&self) -> String {
        json!({ "container": {
            "id": self.short_id(),
            "full_id": &*self.id,
            "lookup_state": FAILED,
        } })
        .to_string()
    }

    fn about(&self, said: &Metadata, unsaid: Unsaid) -> Value {
        let flag = |flag: Option<bool>| match (flag, unsaid) {
            (Some(flag), _) => json!(flag),
            (None, Unsaid::False) => json!(false),
            (None, Unsaid::Null) => Value::Null,
        };
        let mut about = json!({
            "id": self.short_id(),
            "full_id": &*self.id,
            "type": kind(self.runtime),
            "lookup_state": SUCCEEDED,
            "name": said.name,
            "image": said.image.name,
            "imageid": said.image.id,
            "imagerepo": said.image.repository,
            "imagetag": said.image.tag,
            "imagedigest": said.image.digest,
            "privileged": flag(said.privileged),
            "is_pod_sandbox": false,
            "host_pid": flag(said.host_pid),
            "host_network": flag(said.host_network),
            "host_ipc": flag(said.host_ipc),
            "Mounts": said.mounts,
            "labels": said.labels,
            "ip": said.ip,
            "cni_json": said.cni,
            // Falco's has seconds; the rest of the time is lanner's
            "created_time": said.started_ns / SECOND,
            "created_time_ns": said.started_ns % SECOND,
            "env": [],
            "port_mappings": [],
            "memory_limit": 0,
            "swap_limit": 0,
            "cpu_shares": 1024,
            "cpu_quota": 0,
            "cpu_period": 100_000,
            "cpuset_cpu_count": 0,
            "metadata_deadline": 0,
        });
        if let Some(pod) = &said.pod {
            about["pod_sandbox_id"] = json!(pod.sandbox);
            about["pod_sandbox_labels"] = json!(pod.labels);
            // Falco has these among the labels alone
            about["pod"] = json!({
                "name": pod.name,
                "namespace": pod.namespace,
                "uid": pod.uid,
                "ip": pod.ip,
            });
        }
        json!({ "container": about })
    }
}

const SECOND: u64 = 1_000_000_000;
/// States of a look-up (`sinsp_container_lookup` in falcosecurity/libs).
const SUCCEEDED: u8 = 1;
const FAILED: u8 = 2;

/// What a text of this form says: the first characters of the container's id, and the answer. `None`: it has another form.
pub(super) fn parse(json: &[u8]) -> Option<(String, Option<Metadata>)> {
    let said = serde_json::from_slice::<Said>(json).ok()?.container;
    let id = short(&said.id).to_owned();
    let is_known = said.lookup_state != Some(FAILED) || !said.name.is_empty();
    Some((id, is_known.then(|| said.metadata())))
}

/// A member that has another type says nothing, and hides no other member. Falco's libraries write `null` for an empty map.
pub(super) fn lenient<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned + Default,
{
    let value = Value::deserialize(from)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}

#[derive(Debug, Deserialize)]
struct Said {
    container: SaidContainer,
}

/// The members that lanner has a place for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SaidContainer {
    id: String,
    #[serde(deserialize_with = "lenient")]
    lookup_state: Option<u8>,
    #[serde(deserialize_with = "lenient")]
    name: String,
    #[serde(deserialize_with = "lenient")]
    image: String,
    #[serde(deserialize_with = "lenient")]
    imageid: String,
    #[serde(deserialize_with = "lenient")]
    imagerepo: String,
    #[serde(deserialize_with = "lenient")]
    imagetag: String,
    #[serde(deserialize_with = "lenient")]
    imagedigest: String,
    #[serde(deserialize_with = "lenient")]
    privileged: Option<bool>,
    #[serde(rename = "Mounts", deserialize_with = "lenient")]
    mounts: Vec<Mount>,
    #[serde(deserialize_with = "lenient")]
    labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "lenient")]
    ip: String,
    #[serde(deserialize_with = "lenient")]
    cni_json: String,
    #[serde(deserialize_with = "lenient")]
    host_pid: Option<bool>,
    #[serde(deserialize_with = "lenient")]
    host_network: Option<bool>,
    #[serde(deserialize_with = "lenient")]
    host_ipc: Option<bool>,
    /// Seconds since the epoch, and what is beyond them in nanoseconds.
    #[serde(deserialize_with = "lenient")]
    created_time: u64,
    #[serde(deserialize_with = "lenient")]
    created_time_ns: u64,
    #[serde(deserialize_with = "lenient")]
    pod_sandbox_id: String,
    #[serde(deserialize_with = "lenient")]
    pod_sandbox_labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "lenient")]
    pod: Option<SaidPod>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SaidPod {
    #[serde(deserialize_with = "lenient")]
    name: String,
    #[serde(deserialize_with = "lenient")]
    namespace: String,
    #[serde(deserialize_with = "lenient")]
    uid: String,
    #[serde(deserialize_with = "lenient")]
    ip: String,
}

impl SaidContainer {
    fn pod(&mut self) -> Option<Pod> {
        let named = self.pod.take().map(|pod| Pod {
            name: pod.name,
            namespace: pod.namespace,
            uid: pod.uid,
            ip: pod.ip,
            ..Pod::default()
        });
        Some(Pod {
            sandbox: std::mem::take(&mut self.pod_sandbox_id),
            labels: std::mem::take(&mut self.pod_sandbox_labels),
            ..named.or_else(|| Pod::of_labels(&self.labels))?
        })
    }

    fn metadata(mut self) -> Metadata {
        let pod = self.pod();
        Metadata {
            name: self.name,
            image: Image {
                name: self.image,
                id: self.imageid,
                repository: self.imagerepo,
                tag: self.imagetag,
                digest: self.imagedigest,
            },
            privileged: self.privileged,
            mounts: self.mounts,
            labels: self.labels,
            ip: self.ip,
            cni: self.cni_json,
            host_pid: self.host_pid,
            host_network: self.host_network,
            host_ipc: self.host_ipc,
            started_ns: self
                .created_time
                .saturating_mul(SECOND)
                .saturating_add(self.created_time_ns),
            pod,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "3ad7b26ded6d8e7b23da7d48fe889434573036c27ae5a74837233de441c3601e";

    fn full() -> Metadata {
        let labels = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
        Metadata {
            name: "web".to_owned(),
            image: Image::named("localhost:5000/shop:2@sha256:00ff").with_id("6f7e"),
            privileged: Some(true),
            mounts: vec![Mount {
                source: "/srv".to_owned(),
                destination: "/data".to_owned(),
                mode: "ro".to_owned(),
                writable: true,
                propagation: "rprivate".to_owned(),
            }],
            labels: labels.clone(),
            ip: "192.0.2.1".to_owned(),
            cni: r#"{"eth0":1}"#.to_owned(),
            host_pid: None,
            host_network: Some(false),
            host_ipc: Some(true),
            started_ns: 1_700_000_000_123_456_789,
            pod: Some(Pod {
                name: "shop-1".to_owned(),
                namespace: "shops".to_owned(),
                uid: "3e41dc6b".to_owned(),
                sandbox: "63060edc".to_owned(),
                labels,
                ip: "192.0.2.2".to_owned(),
            }),
        }
    }

    fn container(said: Option<Metadata>) -> Container {
        let container = Container::new(ID, Runtime::Docker, None, 1);
        container.answer(said);
        container
    }

    #[test]
    fn what_is_written_is_read_again() {
        for said in [full(), Metadata::default()] {
            let json = container(Some(said.clone())).json(Unsaid::Null, 1 << 20);
            let (id, read) = parse(json.unwrap().as_bytes()).unwrap();
            assert_eq!((id.as_str(), read), (&ID[..12], Some(said)));
        }
        let unknown = container(None);
        assert_eq!(unknown.json(Unsaid::Null, 1 << 20), None);
        let (id, read) = parse(unknown.unknown_json().as_bytes()).unwrap();
        assert_eq!((id.as_str(), read), (&ID[..12], None));
    }

    #[test]
    fn what_does_not_fit_is_left_out_and_the_name_stays() {
        let mut said = full();
        said.cni = "x".repeat(10_000);
        let json = container(Some(said.clone()))
            .json(Unsaid::Null, 4000)
            .unwrap();
        let (_, read) = parse(json.as_bytes()).unwrap();
        let cut = Metadata {
            cni: String::new(),
            ..said.clone()
        };
        assert_eq!(read, Some(cut));
        let large = "y".repeat(5000);
        said.labels.insert("large".to_owned(), large);
        let json = container(Some(said)).json(Unsaid::Null, 4000).unwrap();
        let read = parse(json.as_bytes()).unwrap().1.unwrap();
        assert_eq!((read.name.as_str(), read.labels.len()), ("web", 0));
    }

    #[test]
    fn falcos_json_is_read_whatever_else_it_says() {
        let json = r#"{"container":{"id":"0123456789ab","name":"web","image":7,"labels":null,
                       "privileged":0,"lookup_state":1,"unknown":[{}]}}"#;
        let (id, read) = parse(json.as_bytes()).unwrap();
        let read = read.unwrap();
        assert_eq!((id.as_str(), read.name.as_str()), ("0123456789ab", "web"));
        assert_eq!((read.image.name.as_str(), read.privileged), ("", None));
        assert_eq!(parse(b"{}"), None);
    }
}
