//! Asks Kubernetes' Container Runtime Interface (CRI), which containerd and CRI-O serve: gRPC over a Unix socket. The
//! messages are those of `k8s.io/cri-api/pkg/apis/runtime/v1/api.proto`, with only the fields that are used. The tags
//! are the field numbers in that file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hyper::http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use serde_json::Value as Json;
use tokio::net::UnixStream;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic_prost::ProstCodec;

use super::{Answer, files};
use inspect::containers::{Image, Metadata, Mount, Pod};

const CONTAINER_STATUS: &str = "/runtime.v1.RuntimeService/ContainerStatus";
const POD_SANDBOX_STATUS: &str = "/runtime.v1.RuntimeService/PodSandboxStatus";

/// Asks about a container. A pod's own container (its sandbox) needs another call.
pub(super) async fn ask(socket: &Path, id: &str) -> Answer {
    let Some(mut runtime) = Runtime::connect(socket).await else {
        return Answer::Unreachable;
    };
    let question = StatusRequest {
        id: id.to_owned(),
        verbose: true,
    };
    match runtime
        .call::<ContainerStatusResponse>(CONTAINER_STATUS, question.clone())
        .await
    {
        Ok(response) => {
            let mut metadata = metadata(&response);
            let sandbox = sandbox_id(&response.info);
            if let Some(sandbox) = sandbox {
                let question = StatusRequest {
                    id: sandbox,
                    verbose: true,
                };
                let asked = runtime
                    .call::<PodSandboxStatusResponse>(POD_SANDBOX_STATUS, question)
                    .await;
                if let Ok(response) = asked {
                    add_pod(&mut metadata, &response);
                }
            }
            Answer::Found(Box::new(metadata))
        }
        Err(status) if is_about_the_question(&status) => {
            let asked = runtime
                .call::<PodSandboxStatusResponse>(POD_SANDBOX_STATUS, question)
                .await;
            match asked {
                Ok(response) => Answer::Found(Box::new(sandbox(&response))),
                Err(_) => Answer::Unknown,
            }
        }
        Err(_) => Answer::Unreachable,
    }
}

/// Whether a CRI server has answered that there is no such container. containerd says `NotFound`, CRI-O sometimes
/// `Unknown`.
fn is_about_the_question(status: &tonic::Status) -> bool {
    use tonic::Code;
    matches!(
        status.code(),
        Code::NotFound | Code::Unknown | Code::InvalidArgument
    )
}

struct Runtime {
    grpc: Grpc<Channel>,
}

impl Runtime {
    async fn connect(socket: &Path) -> Option<Self> {
        let path: PathBuf = socket.to_owned();
        let connect = move |_: Uri| {
            let path = path.clone();
            async move { Ok::<_, std::io::Error>(TokioIo::new(UnixStream::connect(path).await?)) }
        };
        // an address is required, but not used
        let channel = Endpoint::from_static("http://localhost")
            .connect_with_connector(tower::service_fn(connect))
            .await
            .ok()?;
        Some(Self {
            grpc: Grpc::new(channel),
        })
    }

    async fn call<T>(
        &mut self,
        path: &'static str,
        question: StatusRequest,
    ) -> Result<T, tonic::Status>
    where
        T: prost::Message + Default + 'static,
    {
        let refused =
            |error: tonic::transport::Error| tonic::Status::unavailable(error.to_string());
        self.grpc.ready().await.map_err(refused)?;
        let codec = ProstCodec::<StatusRequest, T>::default();
        let answer = self
            .grpc
            .unary(
                tonic::Request::new(question),
                PathAndQuery::from_static(path),
                codec,
            )
            .await?;
        Ok(answer.into_inner())
    }
}

fn metadata(response: &ContainerStatusResponse) -> Metadata {
    let status = response.status.clone().unwrap_or_default();
    let image = status.image.unwrap_or_default();
    // prefer what the user wrote: `image` may be only the id
    let written = [image.user_specified_image, image.image];
    let name = written
        .iter()
        .find(|name| !name.is_empty() && !Image::is_named_by_id(name))
        .unwrap_or(&written[1]);
    let mut of_image = Image::named(name);
    if status.image_ref.contains('@') {
        of_image.complete(&[], std::slice::from_ref(&status.image_ref));
    }
    let id = [&status.image_id, &status.image_ref]
        .into_iter()
        .find(|id| Image::is_named_by_id(id));
    if let Some(id) = id {
        of_image = of_image.with_id(id);
    }
    let details = details(&response.info);
    Metadata {
        name: status.metadata.unwrap_or_default().name,
        image: of_image,
        privileged: details.as_ref().and_then(privileged),
        mounts: status
            .mounts
            .into_iter()
            .map(|mount| Mount {
                propagation: propagation(mount.propagation).to_owned(),
                source: mount.host_path,
                destination: mount.container_path,
                mode: String::new(),
                writable: !mount.readonly,
            })
            .collect(),
        pod: Pod::of_labels(&status.labels),
        labels: status.labels,
        started_ns: u64::try_from(status.started_at).unwrap_or(0),
        ..Metadata::default()
    }
}

/// The name in mount(8) of a `MountPropagation`.
fn propagation(number: i32) -> &'static str {
    match number {
        1 => "rslave",
        2 => "rshared",
        _ => "private",
    }
}

/// The details in a verbose answer: JSON under the key `info`.
fn details(info: &BTreeMap<String, String>) -> Option<Json> {
    serde_json::from_str(info.get("info")?).ok()
}

fn sandbox_id(info: &BTreeMap<String, String>) -> Option<String> {
    Some(details(info)?.get("sandboxID")?.as_str()?.to_owned())
}

/// Whether the container is privileged. CRI-O says so directly; containerd repeats the request that created the
/// container; both show the OCI specification.
fn privileged(details: &Json) -> Option<bool> {
    let reported = details.get("privileged").and_then(Json::as_bool);
    let requested = details
        .pointer("/config/linux/security_context/privileged")
        .and_then(Json::as_bool);
    let specified = details
        .get("runtimeSpec")
        .and_then(files::privileged_by_specification);
    reported.or(requested).or(specified)
}

fn add_pod(metadata: &mut Metadata, response: &PodSandboxStatusResponse) {
    let status = response.status.clone().unwrap_or_default();
    let of_pod = status.metadata.unwrap_or_default();
    let network = status.network.unwrap_or_default();
    metadata.ip.clone_from(&network.ip);
    let options = status
        .linux
        .and_then(|linux| linux.namespaces)
        .and_then(|namespaces| namespaces.options);
    if let Some(options) = options {
        /// `NamespaceMode.NODE`
        const NODE: i32 = 2;
        metadata.host_network = Some(options.network == NODE);
        metadata.host_pid = Some(options.pid == NODE);
        metadata.host_ipc = Some(options.ipc == NODE);
    }
    if let Some(details) = details(&response.info) {
        if let Some(cni) = details.get("cniResult") {
            metadata.cni = cni.to_string();
        }
        if metadata.privileged.is_none() {
            metadata.privileged = privileged(&details);
        }
    }
    metadata.pod = Some(Pod {
        name: of_pod.name,
        namespace: of_pod.namespace,
        uid: of_pod.uid,
        sandbox: status.id,
        labels: status.labels,
        ip: network.ip,
    });
}

/// The metadata of a pod's own container.
fn sandbox(response: &PodSandboxStatusResponse) -> Metadata {
    let mut metadata = Metadata::default();
    add_pod(&mut metadata, response);
    if let Some(pod) = &metadata.pod {
        metadata.name.clone_from(&pod.name);
        metadata.labels.clone_from(&pod.labels);
    }
    metadata
}

/// `ContainerStatusRequest` and `PodSandboxStatusRequest`, which have the same fields.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct StatusRequest {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(bool, tag = "2")]
    verbose: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ContainerStatusResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) status: Option<ContainerStatus>,
    #[prost(btree_map = "string, string", tag = "2")]
    pub(super) info: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ContainerStatus {
    #[prost(message, optional, tag = "2")]
    pub(super) metadata: Option<ContainerMetadata>,
    #[prost(int64, tag = "5")]
    pub(super) started_at: i64,
    #[prost(message, optional, tag = "8")]
    pub(super) image: Option<ImageSpec>,
    #[prost(string, tag = "9")]
    pub(super) image_ref: String,
    #[prost(btree_map = "string, string", tag = "12")]
    pub(super) labels: BTreeMap<String, String>,
    #[prost(message, repeated, tag = "14")]
    pub(super) mounts: Vec<MountStatus>,
    #[prost(string, tag = "17")]
    pub(super) image_id: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ContainerMetadata {
    #[prost(string, tag = "1")]
    pub(super) name: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ImageSpec {
    #[prost(string, tag = "1")]
    pub(super) image: String,
    #[prost(string, tag = "18")]
    pub(super) user_specified_image: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct MountStatus {
    #[prost(string, tag = "1")]
    pub(super) container_path: String,
    #[prost(string, tag = "2")]
    pub(super) host_path: String,
    #[prost(bool, tag = "3")]
    pub(super) readonly: bool,
    #[prost(int32, tag = "5")]
    pub(super) propagation: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PodSandboxStatusResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) status: Option<PodSandboxStatus>,
    #[prost(btree_map = "string, string", tag = "2")]
    pub(super) info: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PodSandboxStatus {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(message, optional, tag = "2")]
    pub(super) metadata: Option<PodSandboxMetadata>,
    #[prost(message, optional, tag = "5")]
    pub(super) network: Option<PodSandboxNetwork>,
    #[prost(message, optional, tag = "6")]
    pub(super) linux: Option<LinuxPodSandbox>,
    #[prost(btree_map = "string, string", tag = "7")]
    pub(super) labels: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PodSandboxMetadata {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) uid: String,
    #[prost(string, tag = "3")]
    pub(super) namespace: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PodSandboxNetwork {
    #[prost(string, tag = "1")]
    pub(super) ip: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct LinuxPodSandbox {
    #[prost(message, optional, tag = "1")]
    pub(super) namespaces: Option<Namespaces>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Namespaces {
    #[prost(message, optional, tag = "2")]
    pub(super) options: Option<NamespaceOptions>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct NamespaceOptions {
    #[prost(int32, tag = "1")]
    pub(super) network: i32,
    #[prost(int32, tag = "2")]
    pub(super) pid: i32,
    #[prost(int32, tag = "3")]
    pub(super) ipc: i32,
}
