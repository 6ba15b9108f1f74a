//! Asks test servers that speak Docker's API and CRI over Unix sockets, as the runtimes do.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use inspect::Container;
use inspect::containers::Containers;
use prost::Message as _;
use tokio::net::UnixListener;

use super::*;

const ID: &str = "3ad7b26ded6d8e7b23da7d48fe889434573036c27ae5a74837233de441c3601e";
const POD: &str = "63060edc2d3aa803ab559f2393776b151f99fc5b05035b21db66b3b62246ad6a";

/// Runs a server on a thread until the test's process ends.
fn serve(work: impl Future<Output = ()> + Send + 'static) {
    std::thread::spawn(move || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(work);
    });
}

/// The answer for a container in a cgroup.
fn metadata(runtimes: Runtimes, cgroup: &str) -> (Arc<Container>, Option<Metadata>) {
    let mut containers = Containers::new(Some(Arc::new(Fetcher::new(runtimes))));
    let group = containers.group(format!("0::{cgroup}\n").as_bytes(), 1);
    let container = group.container.clone().expect("a container");
    let deadline = Instant::now() + Duration::from_secs(60);
    while !container.is_answered() {
        assert!(Instant::now() < deadline, "no answer");
        std::thread::sleep(Duration::from_millis(2));
    }
    let metadata = container.metadata().cloned();
    (container, metadata)
}

fn socket() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    (folder, path)
}

/// Serves Docker's API. The first `unknown_at_first` requests about the container find nothing.
async fn docker(path: PathBuf, unknown_at_first: &'static AtomicUsize) {
    let listener = UnixListener::bind(path).unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let answer = |request: Request<Incoming>| async move {
            let later = unknown_at_first
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                    left.checked_sub(1)
                })
                .is_err();
            let (status, body) = match request.uri().path() {
                path if later && path == format!("/containers/{ID}/json") => (
                    200,
                    r#"{"Name": "/web", "Image": "sha256:6f7e2741b66b6f7e", "Config": {"Image": "a/web:2"}}"#,
                ),
                "/images/sha256:6f7e2741b66b6f7e/json" => (
                    200,
                    r#"{"RepoTags": ["a/web:2"], "RepoDigests": ["a/web@sha256:00ff"]}"#,
                ),
                _ => (404, r#"{"message": "No such container"}"#),
            };
            let body = Full::new(Bytes::from_static(body.as_bytes()));
            Ok::<_, Infallible>(Response::builder().status(status).body(body).unwrap())
        };
        let _ = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), hyper::service::service_fn(answer))
            .await;
    }
}

#[test]
fn docker_is_asked_until_it_knows_the_container() {
    static LEFT: AtomicUsize = AtomicUsize::new(2);
    let (_folder, path) = socket();
    serve(docker(path.clone(), &LEFT));
    let runtimes = Runtimes {
        docker: vec![path],
        ..Runtimes::default()
    };
    let (container, metadata) = metadata(runtimes, &format!("/docker/{ID}"));
    let metadata = metadata.expect("known");
    assert_eq!(container.short_id(), &ID[..12]);
    assert_eq!(
        (&*metadata.name, &*metadata.image.repository),
        ("web", "a/web")
    );
    assert_eq!(
        (&*metadata.image.tag, &*metadata.image.digest),
        ("2", "sha256:00ff")
    );
    assert_eq!(LEFT.load(Ordering::SeqCst), 0);
}

/// Answers one gRPC call: a length-prefixed message each way, then a status.
async fn grpc(request: Request<Incoming>) -> Result<Response<Frames>, Infallible> {
    let path = request.uri().path().to_owned();
    let asked = request.into_body().collect().await.unwrap().to_bytes();
    let asked = cri::StatusRequest::decode(&asked[5..]).unwrap();
    let answer = match (&*path, &*asked.id) {
        ("/runtime.v1.RuntimeService/ContainerStatus", ID) => Some(container_status()),
        ("/runtime.v1.RuntimeService/PodSandboxStatus", POD) => Some(pod_status()),
        _ => None,
    };
    let mut frames = Vec::new();
    if let Some(message) = &answer {
        let mut framed = vec![0];
        framed.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
        framed.extend_from_slice(message);
        frames.push(Ok(Frame::data(Bytes::from(framed))));
    }
    let mut trailers = hyper::HeaderMap::new();
    // NOT_FOUND
    let status = if answer.is_some() { "0" } else { "5" };
    trailers.insert("grpc-status", status.parse().unwrap());
    frames.push(Ok(Frame::trailers(trailers)));
    Ok(Response::builder()
        .header("content-type", "application/grpc")
        .body(Frames(frames.into_iter()))
        .unwrap())
}

/// A body whose frames are ready at once.
struct Frames(std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>);

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        std::task::Poll::Ready(self.0.next())
    }
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

fn container_status() -> Vec<u8> {
    cri::ContainerStatusResponse {
        status: Some(cri::ContainerStatus {
            metadata: Some(cri::ContainerMetadata {
                name: "app".to_owned(),
            }),
            started_at: 1_767_225_600_000_000_000,
            image: Some(cri::ImageSpec {
                image: "sha256:6f7e2741b66b6f7e".to_owned(),
                user_specified_image: "docker.io/library/nginx:1.27".to_owned(),
            }),
            image_ref: "docker.io/library/nginx@sha256:00ff".to_owned(),
            labels: map(&[
                ("io.kubernetes.pod.name", "web-0"),
                ("io.kubernetes.pod.namespace", "shop"),
                ("app", "web"),
            ]),
            mounts: vec![cri::MountStatus {
                container_path: "/data".to_owned(),
                host_path: "/srv".to_owned(),
                readonly: true,
                propagation: 1,
            }],
            image_id: "sha256:6f7e2741b66b6f7e".to_owned(),
        }),
        info: map(&[(
            "info",
            &format!(
                r#"{{"sandboxID": "{POD}", "config": {{"linux": {{"security_context": {{"privileged": true}}}}}}}}"#
            ),
        )]),
    }
    .encode_to_vec()
}

fn pod_status() -> Vec<u8> {
    cri::PodSandboxStatusResponse {
        status: Some(cri::PodSandboxStatus {
            id: POD.to_owned(),
            metadata: Some(cri::PodSandboxMetadata {
                name: "web-0".to_owned(),
                uid: "u-1".to_owned(),
                namespace: "shop".to_owned(),
            }),
            network: Some(cri::PodSandboxNetwork {
                ip: "10.1.2.3".to_owned(),
            }),
            linux: Some(cri::LinuxPodSandbox {
                namespaces: Some(cri::Namespaces {
                    options: Some(cri::NamespaceOptions {
                        network: 2,
                        pid: 1,
                        ipc: 0,
                    }),
                }),
            }),
            labels: map(&[("tier", "front")]),
        }),
        info: map(&[("info", r#"{"cniResult": {"Interfaces": {}}}"#)]),
    }
    .encode_to_vec()
}

async fn cri_server(path: PathBuf) {
    let listener = UnixListener::bind(path).unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), hyper::service::service_fn(grpc))
                .await;
        });
    }
}

fn with_cri(path: &Path) -> Runtimes {
    Runtimes {
        containerd: vec![Path::new("/nonexistent").to_owned(), path.to_owned()],
        ..Runtimes::default()
    }
}

#[test]
fn a_container_of_kubernetes_has_image_mounts_and_pod() {
    let (_folder, path) = socket();
    serve(cri_server(path.clone()));
    let group = format!("/kubepods/besteffort/pod3e41dc6b-08a8-44db-bc2a-3724b18ab19a/{ID}");
    let (container, metadata) = metadata(with_cri(&path), &group);
    let metadata = metadata.expect("known");
    assert_eq!(
        container.pod_uid.as_deref(),
        Some("3e41dc6b-08a8-44db-bc2a-3724b18ab19a")
    );
    assert_eq!((&*metadata.name, metadata.privileged), ("app", Some(true)));
    let image = &metadata.image;
    assert_eq!(
        (&*image.repository, &*image.tag, &*image.digest, &*image.id),
        (
            "docker.io/library/nginx",
            "1.27",
            "sha256:00ff",
            "6f7e2741b66b6f7e"
        )
    );
    let mount = &metadata.mounts[0];
    assert_eq!(
        (
            &*mount.source,
            &*mount.destination,
            mount.writable,
            &*mount.propagation
        ),
        ("/srv", "/data", false, "rslave")
    );
    assert_eq!(
        (metadata.host_network, metadata.host_pid, metadata.host_ipc),
        (Some(true), Some(false), Some(false))
    );
    assert_eq!(metadata.cni, r#"{"Interfaces":{}}"#);
    let pod = metadata.pod.expect("a pod");
    assert_eq!(
        (
            &*pod.name,
            &*pod.namespace,
            &*pod.uid,
            &*pod.sandbox,
            &*pod.ip
        ),
        ("web-0", "shop", "u-1", POD, "10.1.2.3")
    );
    assert_eq!(pod.labels["tier"], "front");
}

#[test]
fn a_pods_own_container_is_known_by_its_pod() {
    let (_folder, path) = socket();
    serve(cri_server(path.clone()));
    let (_, metadata) = metadata(
        with_cri(&path),
        &format!("/system.slice/cri-containerd-{POD}.scope"),
    );
    let metadata = metadata.expect("known");
    assert_eq!((&*metadata.name, &*metadata.ip), ("web-0", "10.1.2.3"));
}

#[test]
fn where_nobody_is_there_the_answer_is_that() {
    let group = format!("/docker/{ID}");
    assert_eq!(metadata(Runtimes::default(), &group).1, None);
    let (container, named) = metadata(Runtimes::default(), "/lxc.payload.web/x");
    assert_eq!((&*container.id, &*named.unwrap().name), ("web", "web"));
    let no_source = Containers::new(None)
        .group(format!("0::{group}\n").as_bytes(), 1)
        .container
        .clone()
        .unwrap();
    assert!(no_source.is_answered() && no_source.metadata().is_none());
}
