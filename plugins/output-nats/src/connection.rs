//! The way to the stream.

use std::future::IntoFuture;
use std::path::Path;
use std::time::Duration;

use async_nats::jetstream::context::Context;
use async_nats::jetstream::stream::Config;
use async_nats::{ConnectOptions, HeaderMap, ServerAddr};
use lanner_plugin::Error;
use sha2::{Digest, Sha256};
use tokio::time::timeout;

use crate::Settings;

/// A message that is to be published.
#[derive(Debug)]
pub(crate) struct Outgoing {
    subject: String,
    id: String,
    json: String,
}

impl Outgoing {
    pub(crate) fn new(subject: String, json: &str) -> Self {
        // The same alert has the same one, also after a restart.
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

/// What can be known to be wrong without a server.
pub(crate) fn check(settings: &Settings) -> Result<(), Error> {
    addresses(settings)?;
    let files = [
        &settings.credentials_file,
        &settings.ca_cert,
        &settings.client_cert,
        &settings.client_key,
    ];
    for file in files.into_iter().flatten() {
        readable(file)?;
    }
    if settings.client_cert.is_some() != settings.client_key.is_some() {
        return Err("`client_cert` and `client_key` go together".into());
    }
    if settings.user.is_some() != settings.password.is_some() {
        return Err("`user` and `password` go together".into());
    }
    Ok(())
}

fn readable(file: &Path) -> Result<(), Error> {
    std::fs::File::open(file)
        .map(drop)
        .map_err(|error| format!("{}: {error}", file.display()).into())
}

fn addresses(settings: &Settings) -> Result<Vec<ServerAddr>, Error> {
    let parse = |server: &String| {
        let address = server.parse::<ServerAddr>();
        address.map_err(|error| format!("`servers`: {server:?}: {error}").into())
    };
    settings.servers.iter().map(parse).collect()
}

async fn options(settings: &Settings) -> Result<ConnectOptions, Error> {
    let mut options = ConnectOptions::new()
        .name("lanner")
        .connection_timeout(settings.deadline());
    if let Some(file) = &settings.credentials_file {
        options = options.credentials_file(file).await?;
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

/// A client, which connects anew by itself once it has been connected.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: Context,
    deadline: Duration,
}

impl Connection {
    pub(crate) async fn new(settings: &Settings) -> Result<Self, Error> {
        let deadline = settings.deadline();
        let late = || format!("no answer within {deadline:?}");
        let connect = options(settings).await?.connect(addresses(settings)?);
        let client = timeout(deadline, connect).await.map_err(|_| late())??;
        let mut stream = async_nats::jetstream::new(client);
        stream.set_timeout(deadline);
        if settings.create_stream {
            let config = Config {
                name: settings.stream.clone(),
                subjects: vec![settings.subjects()],
                num_replicas: settings.replicas,
                max_age: Duration::from_secs(settings.max_age_hours.saturating_mul(3600)),
                max_bytes: i64::from(settings.max_mb) << 20,
                ..Config::default()
            };
            let made = timeout(deadline, stream.get_or_create_stream(config)).await;
            made.map_err(|_| late())??;
        }
        Ok(Self { stream, deadline })
    }

    /// Publishes all, then waits for what the stream says: how many it has, counted from the front, how many of them it
    /// had before, and why not all.
    pub(crate) async fn send(&self, outgoing: Vec<Outgoing>) -> (usize, u64, Option<Error>) {
        let mut acknowledgements = Vec::with_capacity(outgoing.len());
        let mut failed: Option<Error> = None;
        for one in outgoing {
            let mut headers = HeaderMap::new();
            headers.insert("Nats-Msg-Id", one.id.as_str());
            let publish = self
                .stream
                .publish_with_headers(one.subject, headers, one.json.into());
            match timeout(self.deadline, publish).await {
                Ok(Ok(acknowledgement)) => acknowledgements.push(acknowledgement),
                Ok(Err(error)) => {
                    failed = Some(error.into());
                    break;
                }
                Err(_) => {
                    failed = Some(format!("not taken within {:?}", self.deadline).into());
                    break;
                }
            }
        }
        let (mut sent, mut duplicates) = (0, 0);
        for acknowledgement in acknowledgements {
            match acknowledgement.into_future().await {
                Ok(acknowledged) => {
                    sent += 1;
                    duplicates += u64::from(acknowledged.duplicate);
                }
                Err(error) => return (sent, duplicates, Some(error.into())),
            }
        }
        (sent, duplicates, failed)
    }
}
