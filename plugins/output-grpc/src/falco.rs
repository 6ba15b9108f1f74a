//! Falco's services: `falco.outputs` and `falco.version`.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tonic::transport::server::UdsConnectInfo;
use tonic::{Request, Response, Status, Streaming};

use crate::convert::alerts_dropped;
use crate::follow::{Next, Span, Stream, follow};
use crate::log::{Client, Log};
use crate::proto::falco::{outputs, version};

/// `falco.outputs.service`.
#[derive(Debug)]
pub(crate) struct Outputs(pub(crate) Arc<Log>);

/// `falco.version.service`.
#[derive(Debug)]
pub(crate) struct Version;

/// The version of Falco's rule language and fields that lanner understands. rules-falco compares it with
/// `required_engine_version`.
const ENGINE: (u32, u32, u32) = (0, 63, 0);

/// The answer to a client that is one too many.
pub(crate) fn too_many_clients() -> Status {
    Status::resource_exhausted("there are too many clients; the setting max_clients is the limit")
}

fn message(_client: &Client, next: Next<'_>) -> Option<outputs::Response> {
    Some(match next {
        Next::Alert { item, .. } => item.falco.clone(),
        Next::Lost { count, .. } => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            let now = now.unwrap_or_default().as_nanos();
            alerts_dropped(count, u64::try_from(now).unwrap_or(u64::MAX))
        }
    })
}

#[tonic::async_trait]
impl outputs::service_server::Service for Outputs {
    type subStream = Stream<outputs::Response>;

    /// Sends alerts from now on, until the client disconnects.
    async fn sub(
        &self,
        request: Request<Streaming<outputs::Request>>,
    ) -> Result<Response<Self::subStream>, Status> {
        let client = self.0.enter().ok_or_else(too_many_clients)?;
        let mut requests = request.into_inner();
        // All requests are empty. They are read so that the client can go on sending.
        tokio::spawn(async move { while let Ok(Some(_)) = requests.message().await {} });
        let span = Span {
            first: self.0.end(),
            follow: true,
        };
        Ok(Response::new(follow(client, span, Vec::new(), message)))
    }

    type getStream = Stream<outputs::Response>;

    /// Sends the alerts that this client has not received yet, then ends. A client is known by its certificate, or at the
    /// Unix socket by its user. Each of them gets all alerts.
    async fn get(
        &self,
        request: Request<outputs::Request>,
    ) -> Result<Response<Self::getStream>, Status> {
        let client = self.0.enter().ok_or_else(too_many_clients)?;
        let certificate = request
            .peer_certs()
            .and_then(|certificates| certificates.first().map(|one| one.to_vec()));
        let user = request
            .extensions()
            .get::<UdsConnectInfo>()
            .and_then(|info| info.peer_cred)
            .map(|peer| peer.uid().to_be_bytes().to_vec());
        let reader = certificate.or(user).unwrap_or_default();
        let span = Span {
            first: self.0.advance_reader(reader),
            follow: false,
        };
        Ok(Response::new(follow(client, span, Vec::new(), message)))
    }
}

#[tonic::async_trait]
impl version::service_server::Service for Version {
    async fn version(
        &self,
        _request: Request<version::Request>,
    ) -> Result<Response<version::Response>, Status> {
        let number = |text: &str| text.parse().unwrap_or_default();
        Ok(Response::new(version::Response {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            major: number(env!("CARGO_PKG_VERSION_MAJOR")),
            minor: number(env!("CARGO_PKG_VERSION_MINOR")),
            patch: number(env!("CARGO_PKG_VERSION_PATCH")),
            prerelease: env!("CARGO_PKG_VERSION_PRE").to_owned(),
            build: String::new(),
            engine_major: ENGINE.0,
            engine_minor: ENGINE.1,
            engine_patch: ENGINE.2,
            engine_version: format!("{}.{}.{}", ENGINE.0, ENGINE.1, ENGINE.2),
            // Falco's checksum is of the list of its own fields, which is not ours.
            engine_fields_checksum: String::new(),
        }))
    }
}
