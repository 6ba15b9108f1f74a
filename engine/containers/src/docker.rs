//! Asks Docker's API, which podman also serves: HTTP/1.1 over a Unix socket, one request per connection.

use std::collections::BTreeMap;
use std::path::Path;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::UnixStream;

use super::{Answer, time};
use inspect::containers::{Image, Metadata, Mount, Pod};

/// The most bytes of an answer.
const MAX_ANSWER: usize = 4 << 20;

/// Asks about a container, and about its image.
pub(super) async fn ask(socket: &Path, id: &str) -> Answer {
    let Ok(answer) = get(socket, &format!("/containers/{id}/json")).await else {
        return Answer::Unreachable;
    };
    let Some(inspected) = answer.and_then(|text| serde_json::from_slice::<Inspected>(&text).ok())
    else {
        return Answer::Unknown;
    };
    let image_id = inspected.image.clone();
    let mut metadata = inspected.metadata();
    if let Ok(Some(text)) = get(socket, &format!("/images/{image_id}/json")).await
        && let Ok(image) = serde_json::from_slice::<InspectedImage>(&text)
    {
        let digests = image.repo_digests.unwrap_or_default();
        metadata
            .image
            .complete(&image.repo_tags.unwrap_or_default(), &digests);
    }
    Answer::Found(Box::new(metadata))
}

/// Why there is no answer. Callers only need to know that there is none.
type NoAnswer = Box<dyn std::error::Error + Send + Sync>;

/// The body of the answer. None: not found.
async fn get(socket: &Path, path: &str) -> Result<Option<Bytes>, NoAnswer> {
    let stream = UnixStream::connect(socket).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::get(path)
        .header("host", "localhost")
        .header("connection", "close")
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let found = response.status().is_success();
    let body = Limited::new(response.into_body(), MAX_ANSWER)
        .collect()
        .await?;
    connection.abort();
    Ok(found.then(|| body.to_bytes()))
}

/// The answer to `GET /containers/ID/json`. Only the fields that are used.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    name: String,
    #[serde(default)]
    image: String,
    #[serde(default)]
    state: State,
    config: Config,
    #[serde(default)]
    host_config: HostConfig,
    #[serde(default)]
    mounts: Option<Vec<Mount>>,
    #[serde(default)]
    network_settings: Network,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct State {
    started_at: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Config {
    image: String,
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct HostConfig {
    privileged: bool,
    pid_mode: String,
    network_mode: String,
    ipc_mode: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Network {
    #[serde(rename = "IPAddress")]
    ip: String,
    #[serde(rename = "Networks")]
    networks: Option<BTreeMap<String, Endpoint>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Endpoint {
    #[serde(rename = "IPAddress")]
    ip: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InspectedImage {
    repo_tags: Option<Vec<String>>,
    repo_digests: Option<Vec<String>>,
}

impl Inspected {
    fn metadata(self) -> Metadata {
        let labels = self.config.labels.unwrap_or_default();
        let network = self.network_settings;
        let ip = if network.ip.is_empty() {
            let mut ends = network.networks.unwrap_or_default().into_values();
            ends.find(|end| !end.ip.is_empty())
                .map_or_else(String::new, |end| end.ip)
        } else {
            network.ip
        };
        Metadata {
            name: self.name.trim_start_matches('/').to_owned(),
            image: Image::named(&self.config.image).with_id(&self.image),
            privileged: Some(self.host_config.privileged),
            mounts: self.mounts.unwrap_or_default(),
            ip,
            host_pid: Some(self.host_config.pid_mode == "host"),
            host_network: Some(self.host_config.network_mode == "host"),
            host_ipc: Some(self.host_config.ipc_mode == "host"),
            started_ns: time::epoch_ns(&self.state.started_at).unwrap_or(0),
            pod: Pod::of_labels(&labels).map(|pod| Pod {
                sandbox: labels
                    .get("io.kubernetes.sandbox.id")
                    .cloned()
                    .unwrap_or_default(),
                ..pod
            }),
            labels,
            ..Metadata::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_docker_answers_is_understood() {
        let text = br#"{"Id": "3ad7", "Name": "/web", "Image": "sha256:6f7e",
            "State": {"StartedAt": "2026-01-01T00:00:01.5Z"},
            "Config": {"Image": "localhost:5000/web:1", "Labels": {"a": "b",
                "io.kubernetes.pod.name": "p", "io.kubernetes.pod.namespace": "n"}},
            "HostConfig": {"Privileged": true, "PidMode": "host", "NetworkMode": "bridge"},
            "Mounts": [{"Type": "bind", "Source": "/a", "Destination": "/b", "Mode": "ro", "RW": false,
                "Propagation": "rprivate"}],
            "NetworkSettings": {"IPAddress": "", "Networks": {"x": {"IPAddress": "10.0.0.2"}}}}"#;
        let metadata = serde_json::from_slice::<Inspected>(text)
            .unwrap()
            .metadata();
        assert_eq!((&*metadata.name, &*metadata.ip), ("web", "10.0.0.2"));
        assert_eq!(
            (
                &*metadata.image.repository,
                &*metadata.image.tag,
                &*metadata.image.id
            ),
            ("localhost:5000/web", "1", "6f7e")
        );
        assert_eq!(
            (
                metadata.privileged,
                metadata.host_pid,
                metadata.host_network
            ),
            (Some(true), Some(true), Some(false))
        );
        assert_eq!(metadata.started_ns, 1_767_225_601_500_000_000);
        assert_eq!(metadata.mounts[0].destination, "/b");
        let pod = metadata.pod.unwrap();
        assert_eq!((&*pod.name, &*pod.namespace), ("p", "n"));
    }

    #[test]
    fn what_is_missing_is_not_an_error() {
        let text = br#"{"Name": "x", "Config": {"Labels": null}, "Mounts": null}"#;
        assert_eq!(
            serde_json::from_slice::<Inspected>(text)
                .unwrap()
                .metadata()
                .name,
            "x"
        );
        assert!(serde_json::from_slice::<Inspected>(b"[]").is_err());
    }
}
