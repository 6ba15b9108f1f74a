//! The connection that the output keeps, and what the settings say about it.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;
use std::{fmt, io};

use lanner_plugin::InvalidSetting;
use lanner_plugin::deadline::Deadline;
use lanner_plugin::tls::{self, Identity, TlsError};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use crate::Settings;
use crate::client::{
    Client, ClientError, Login, LoginError, Outgoing, Published, Server, StreamError,
};

/// How often pings of the server are answered while there are no alerts. Servers ask every two minutes, and end a connection
/// that leaves two questions without an answer.
const TEND_EVERY: Duration = Duration::from_secs(30);

const DEFAULT_PORT: u16 = 4222;

/// The settings for connecting are wrong. No server is needed to see that.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error(transparent)]
    Setting(#[from] InvalidSetting),
    #[error(transparent)]
    Login(#[from] LoginError),
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Alerts cannot be published now.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PublishFailure {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error("{server}")]
    Stream { server: String, source: StreamError },
}

/// Why there is no connection.
enum ConnectFailure {
    Stream(StreamError),
    Settings(SettingsError),
}

impl From<ClientError> for ConnectFailure {
    fn from(error: ClientError) -> Self {
        Self::Stream(error.into())
    }
}

impl PublishFailure {
    /// Whether the server will never take the message.
    pub(crate) fn is_refusal(&self) -> bool {
        match self {
            Self::Settings(_) => false,
            Self::Stream { source, .. } => source.is_refusal(),
        }
    }
}

pub(crate) fn check(settings: &Settings) -> Result<(), SettingsError> {
    let servers = servers(settings)?;
    Login::new(settings)?;
    let certificates = [
        &settings.ca_cert,
        &settings.client_cert,
        &settings.client_key,
    ];
    let names_some = certificates.iter().any(|file| file.is_some());
    if names_some || servers.iter().any(|server| server.wants_tls) {
        tls_of(settings)?;
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

fn tls_of(settings: &Settings) -> Result<Arc<ClientConfig>, SettingsError> {
    Ok(tls::client(
        settings.ca_cert.as_deref(),
        settings.client_cert.as_deref(),
        settings.client_key.as_deref(),
    )?)
}

fn servers(settings: &Settings) -> Result<Vec<Server>, SettingsError> {
    let needs_tls = settings.ca_cert.is_some();
    let parse = |text: &String| {
        server(text, needs_tls).ok_or_else(|| {
            let reason = format!(
                "{text:?} is none of nats://HOST, nats://HOST:PORT, tls://HOST:PORT with a port from 1 to 65535 and \
                 without a user"
            );
            InvalidSetting::new("servers", reason).into()
        })
    };
    settings.servers.iter().map(parse).collect()
}

/// The server that `nats://HOST:PORT` means. The scheme and the port can be left out.
fn server(text: &str, needs_tls: bool) -> Option<Server> {
    let (wants_tls, rest) = match text.split_once("://") {
        None | Some(("nats", _)) => (needs_tls, text),
        Some(("tls", _)) => (true, text),
        Some(_) => return None,
    };
    let rest = rest.split_once("://").map_or(rest, |(_, rest)| rest);
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let ends_in_brackets = rest.ends_with(']');
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !ends_in_brackets => (host, port.parse().ok()?),
        _ => (rest, DEFAULT_PORT),
    };
    let is_digit = |b: u8| b.is_ascii_hexdigit() || b":.".contains(&b);
    let name = match host.strip_prefix('[') {
        Some(rest) => rest
            .strip_suffix(']')
            .filter(|v6| v6.bytes().all(is_digit))?,
        None if host.contains(':') => return None,
        None => host,
    };
    (port > 0).then_some(())?;
    Some(Server {
        address: format!("{host}:{port}"),
        name: ServerName::try_from(name.to_owned()).ok()?,
        wants_tls,
    })
}

/// The connection, or none. A thread answers the server's pings while there are no alerts.
pub(crate) struct Connection {
    client: Arc<Mutex<Option<Client>>>,
    servers: Vec<Server>,
    /// The server that is connected, or is tried next.
    at: usize,
    /// When it is dropped, the thread ends.
    _tender: Sender<()>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("servers", &self.servers)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// Connects later.
    pub(crate) fn new(settings: &Settings) -> Result<Self, NoConnection> {
        let servers = servers(settings)?;
        let client = Arc::new(Mutex::new(None));
        let (tender, ended) = mpsc::channel::<()>();
        let tended = Arc::clone(&client);
        thread::Builder::new()
            .name("lanner-nats".into())
            .spawn(move || {
                while ended.recv_timeout(TEND_EVERY) == Err(RecvTimeoutError::Timeout) {
                    tend(&mut tended.lock().unwrap_or_else(PoisonError::into_inner));
                }
            })
            .map_err(NoConnection::Thread)?;
        Ok(Self {
            client,
            // hosts with the same settings do not all begin with the same server
            at: first(servers.len()),
            servers,
            _tender: tender,
        })
    }

    /// Ends the connection. The next call makes a new one.
    pub(crate) fn close(&mut self) {
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(crate) fn publish(
        &mut self,
        settings: &Settings,
        outgoing: &[Outgoing<'_>],
    ) -> (Published, Option<PublishFailure>) {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        tend(&mut client);
        let mut published = Published::default();
        let server = self.servers[self.at % self.servers.len()].clone();
        if client.is_none() {
            match connect(&server, settings) {
                Ok(connected) => *client = Some(connected),
                Err(ConnectFailure::Settings(error)) => {
                    return (published, Some(error.into()));
                }
                Err(ConnectFailure::Stream(error)) => published = Published::failed(error),
            }
        }
        if let Some(client) = &mut *client {
            published = client.publish(outgoing, settings.deadline());
        }
        let Some(source) = published.failed.take() else {
            return (published, None);
        };
        if !source.keeps_connection() {
            *client = None;
            self.at = (self.at + 1) % self.servers.len();
        }
        let server = server.address;
        (published, Some(PublishFailure::Stream { server, source }))
    }
}

/// The output cannot work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoConnection {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

/// Answers pings, and lets go of a connection that is over.
fn tend(client: &mut Option<Client>) {
    if client.as_mut().is_some_and(|client| client.tend().is_err()) {
        *client = None;
    }
}

/// Connects, and makes the stream if it is wanted. All of it may take the time of the settings.
fn connect(server: &Server, settings: &Settings) -> Result<Client, ConnectFailure> {
    let deadline = Deadline::after(settings.deadline());
    let login = Login::new(settings)
        .map_err(|error| ConnectFailure::Settings(SettingsError::Login(error)))?;
    let tls = || tls_of(settings).map_err(ConnectFailure::Settings);
    let mut client = Client::connect(server, &login, tls, deadline)?;
    if settings.create_stream {
        client
            .make_stream(settings, deadline)
            .map_err(ConnectFailure::Stream)?;
    }
    Ok(client)
}

/// A number below `count`, at random.
fn first(count: usize) -> usize {
    use std::hash::{BuildHasher, RandomState};
    let random = RandomState::new().hash_one(0) as usize;
    random.checked_rem(count).unwrap_or(0)
}
