//! The connection to the stream.

use std::future::IntoFuture;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use async_nats::jetstream::context::{Context, CreateStreamError, PublishError, PublishErrorKind};
use async_nats::jetstream::stream::Config;
use async_nats::{ConnectError, ConnectOptions, HeaderMap, ServerAddr};
use lanner_plugin::InvalidSetting;
use lanner_plugin::files::{self, FileError};
use lanner_plugin::tls::{self, Identity, TlsError};
use sha2::{Digest, Sha256};
use tokio::time::timeout;

use crate::Settings;

/// The largest file of credentials that is read, in bytes.
const MAX_CREDENTIALS: u64 = 1 << 16;

/// A message to be published.
#[derive(Debug)]
pub(crate) struct Outgoing {
    subject: String,
    /// The `Nats-Msg-Id`. It depends on the alert alone, so that it stays the same after a restart.
    id: String,
    json: String,
}

impl Outgoing {
    pub(crate) fn new(subject: String, json: &str) -> Self {
        let sum = Sha256::digest(json.as_bytes());
        let id = sum
            .iter()
            .take(16)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Self {
            subject,
            id,
            json: json.to_owned(),
        }
    }
}

/// The settings for connecting are wrong. No server is needed to see that.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error(transparent)]
    Setting(#[from] InvalidSetting),
    #[error("`servers`: {server:?} is no address")]
    Server { server: String, source: io::Error },
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("cannot use the credentials in {}", file.display())]
    Credentials { file: PathBuf, source: io::Error },
    #[error("`client_cert` and `client_key` go together; set both or neither")]
    HalfOfClient,
    #[error("`user` and `password` go together; set both or neither")]
    HalfOfUser,
    #[error("`user`, `token` and `credentials_file` exclude each other; set one of them")]
    ManyUsers,
}

/// Alerts cannot be published now.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PublishFailure {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error("cannot connect")]
    Connect(#[source] ConnectError),
    #[error("no answer within {0:?}")]
    NoAnswer(Duration),
    #[error("cannot find or make the stream")]
    Stream(#[source] CreateStreamError),
    #[error("cannot publish")]
    Publish(#[source] PublishError),
    #[error("the stream did not acknowledge")]
    Acknowledge(#[source] PublishError),
    #[error("the output is closed")]
    Closed,
}

impl PublishFailure {
    /// Whether the server will never take the message: it is larger than its `max_payload`.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Publish(error) if error.kind() == PublishErrorKind::MaxPayloadExceeded)
    }

    /// Whether the stream is missing: it was deleted after this connection was made.
    pub(crate) fn is_missing_stream(&self) -> bool {
        match self {
            Self::Publish(error) | Self::Acknowledge(error) => {
                error.kind() == PublishErrorKind::StreamNotFound
            }
            Self::Settings(_)
            | Self::Connect(_)
            | Self::NoAnswer(_)
            | Self::Stream(_)
            | Self::Closed => false,
        }
    }
}

pub(crate) fn check(settings: &Settings) -> Result<(), SettingsError> {
    addresses(settings)?;
    options(settings)?;
    // The client library opens these files again, by paths that no other user can change.
    if let Some(file) = &settings.ca_cert {
        tls::roots(file)?;
    }
    match (&settings.client_cert, &settings.client_key) {
        (None, None) => {}
        (Some(chain), Some(key)) => drop(Identity::read(chain, key)?),
        (Some(_), None) | (None, Some(_)) => return Err(SettingsError::HalfOfClient),
    }
    if settings.user.is_some() != settings.password.is_some() {
        return Err(SettingsError::HalfOfUser);
    }
    let ways = [
        settings.user.is_some(),
        settings.token.is_some(),
        settings.credentials_file.is_some(),
    ];
    if ways.into_iter().filter(|way| *way).count() > 1 {
        return Err(SettingsError::ManyUsers);
    }
    Ok(())
}

/// What is worth knowing about settings that can be used.
pub(crate) fn warnings(settings: &Settings) -> Vec<String> {
    let (Some(chain), Some(key)) = (&settings.client_cert, &settings.client_key) else {
        return Vec::new();
    };
    Identity::warning_of(chain, key).into_iter().collect()
}

fn addresses(settings: &Settings) -> Result<Vec<ServerAddr>, SettingsError> {
    let parse = |server: &String| {
        let address: ServerAddr = server.parse().map_err(|source| SettingsError::Server {
            server: server.clone(),
            source,
        })?;
        if address.host().is_empty() || address.port() == 0 {
            let reason = format!("{server:?} is not nats://HOST:PORT with a port from 1 to 65535");
            return Err(InvalidSetting::new("servers", reason).into());
        }
        Ok(address)
    };
    settings.servers.iter().map(parse).collect()
}

fn options(settings: &Settings) -> Result<ConnectOptions, SettingsError> {
    let mut options = ConnectOptions::new()
        .name("lanner")
        .connection_timeout(settings.deadline());
    if let Some(file) = &settings.credentials_file {
        let text = files::read_text(file, MAX_CREDENTIALS)?;
        options = options
            .credentials(&text)
            .map_err(|source| SettingsError::Credentials {
                file: file.clone(),
                source,
            })?;
    }
    if let (Some(user), Some(password)) = (&settings.user, &settings.password) {
        options = options.user_and_password(user.clone(), password.clone());
    }
    if let Some(token) = &settings.token {
        options = options.token(token.clone());
    }
    if let Some(file) = &settings.ca_cert {
        options = options
            .add_root_certificates(file.clone())
            .require_tls(true);
    }
    if let (Some(chain), Some(key)) = (&settings.client_cert, &settings.client_key) {
        options = options.add_client_certificate(chain.clone(), key.clone());
    }
    Ok(options)
}

/// A connected client. It reconnects by itself when the connection breaks.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: Context,
    deadline: Duration,
}

impl Connection {
    pub(crate) async fn new(settings: &Settings) -> Result<Self, PublishFailure> {
        let deadline = settings.deadline();
        let connect = options(settings)?.connect(addresses(settings)?);
        let client = timeout(deadline, connect)
            .await
            .map_err(|_| PublishFailure::NoAnswer(deadline))?
            .map_err(PublishFailure::Connect)?;
        let mut stream = async_nats::jetstream::new(client);
        stream.set_timeout(deadline);
        if settings.create_stream {
            let config = Config {
                name: settings.stream.clone(),
                subjects: vec![settings.wildcard_subject()],
                num_replicas: settings.replicas,
                max_age: Duration::from_secs(settings.max_age_hours.saturating_mul(3600)),
                max_bytes: i64::from(settings.max_mb) << 20,
                ..Config::default()
            };
            timeout(deadline, stream.get_or_create_stream(config))
                .await
                .map_err(|_| PublishFailure::NoAnswer(deadline))?
                .map_err(PublishFailure::Stream)?;
        }
        Ok(Self { stream, deadline })
    }

    /// Publishes all messages, then waits for the stream's acknowledgements.
    pub(crate) async fn publish(&self, outgoing: Vec<Outgoing>) -> Published {
        let mut acknowledgements = Vec::with_capacity(outgoing.len());
        let mut published = Published::default();
        for message in outgoing {
            let mut headers = HeaderMap::new();
            headers.insert("Nats-Msg-Id", message.id.as_str());
            let publish =
                self.stream
                    .publish_with_headers(message.subject, headers, message.json.into());
            match timeout(self.deadline, publish).await {
                Ok(Ok(acknowledgement)) => acknowledgements.push(acknowledgement),
                Ok(Err(error)) => {
                    published.failed = Some(PublishFailure::Publish(error));
                    break;
                }
                Err(_) => {
                    published.failed = Some(PublishFailure::NoAnswer(self.deadline));
                    break;
                }
            }
        }
        for acknowledgement in acknowledgements {
            match acknowledgement.into_future().await {
                Ok(acknowledged) => {
                    published.acknowledged += 1;
                    published.duplicates += u64::from(acknowledged.duplicate);
                }
                Err(error) => {
                    published.failed = Some(PublishFailure::Acknowledge(error));
                    break;
                }
            }
        }
        published
    }
}

/// What became of messages.
#[derive(Debug, Default)]
pub(crate) struct Published {
    /// How many the stream acknowledged, counted from the front.
    pub(crate) acknowledged: usize,
    /// How many of those the stream had before.
    pub(crate) duplicates: u64,
    /// Why it did not acknowledge all.
    pub(crate) failed: Option<PublishFailure>,
}

impl Published {
    /// Nothing was acknowledged.
    pub(crate) fn failed(failure: PublishFailure) -> Self {
        Self {
            failed: Some(failure),
            ..Self::default()
        }
    }
}
