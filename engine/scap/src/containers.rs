//! What a capture says about containers. Falco writes what a runtime answered as events with JSON, usually in front of
//! all others.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use inspect::containers::{Image, Mount, Pod};
use inspect::{Container, ContainerSource, Metadata};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

/// The answers of a capture.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// By the first twelve characters of the container's id.
    known: HashMap<String, Metadata>,
    waiting: Vec<Arc<Container>>,
    /// The capture has no more answers.
    ended: bool,
}

/// The most containers that are kept.
const MAX: usize = 65_536;

impl ContainerSource for Answers {
    fn ask(&self, container: &Arc<Container>, _owner: Option<u32>) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        match inner.known.get(container.short_id()) {
            Some(known) => container.answer(Some(known.clone())),
            None if inner.ended => container.answer(None),
            None => inner.waiting.push(Arc::clone(container)),
        }
    }
}

impl Answers {
    /// Takes the JSON of an event. Text that is not understood says nothing.
    pub(crate) fn take(&self, json: &[u8]) {
        let Ok(said) = serde_json::from_slice::<Said>(json) else {
            return;
        };
        self.note(said.container);
    }

    fn note(&self, said: SaidContainer) {
        let id = inspect::containers::short(&said.id).to_owned();
        let metadata = said.metadata();
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.waiting.retain(|container| {
            let waits = container.short_id() != id;
            if !waits {
                container.answer(Some(metadata.clone()));
            }
            waits
        });
        if inner.known.len() < MAX {
            inner.known.insert(id, metadata);
        }
    }

    /// Takes the parameters of an event from before the JSON.
    pub(crate) fn take_named(&self, id: &[u8], name: &[u8], image: &[u8]) {
        let string = |bytes| String::from_utf8_lossy(bytes).into_owned();
        self.note(SaidContainer {
            id: string(id),
            name: string(name),
            image: string(image),
            ..SaidContainer::default()
        });
    }

    /// There are no more answers.
    pub(crate) fn end(&self) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.ended = true;
        for container in inner.waiting.drain(..) {
            container.answer(None);
        }
    }
}

/// A member that has another type says nothing, and hides no other member. Falco's libraries write `null` for an empty map.
fn lenient<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned + Default,
{
    let value = serde_json::Value::deserialize(from)?;
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
    mounts: Vec<SaidMount>,
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
    /// Seconds since the epoch.
    #[serde(deserialize_with = "lenient")]
    created_time: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct SaidMount {
    #[serde(deserialize_with = "lenient")]
    source: String,
    #[serde(deserialize_with = "lenient")]
    destination: String,
    #[serde(deserialize_with = "lenient")]
    mode: String,
    #[serde(rename = "RW")]
    #[serde(deserialize_with = "lenient")]
    writable: bool,
    #[serde(deserialize_with = "lenient")]
    propagation: String,
}

impl SaidContainer {
    fn metadata(self) -> Metadata {
        let pod = Pod::of_labels(&self.labels);
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
            mounts: self
                .mounts
                .into_iter()
                .map(|mount| Mount {
                    source: mount.source,
                    destination: mount.destination,
                    mode: mount.mode,
                    writable: mount.writable,
                    propagation: mount.propagation,
                })
                .collect(),
            labels: self.labels,
            ip: self.ip,
            cni: self.cni_json,
            host_pid: self.host_pid,
            host_network: self.host_network,
            host_ipc: self.host_ipc,
            started_ns: self.created_time.saturating_mul(1_000_000_000),
            pod,
        }
    }
}
