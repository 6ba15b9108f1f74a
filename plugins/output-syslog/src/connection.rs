//! Connections to the receiver of messages.

use std::fmt;
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lanner_plugin::deadline::{ConnectError, Deadline};
use lanner_plugin::tls::{self, Identity, TlsError};
use lanner_plugin::{InvalidSetting, Turn};
use rustls::pki_types::{InvalidDnsNameError, ServerName};
use rustls::{ClientConfig, ClientConnection, ProtocolVersion, Stream, StreamOwned};

use crate::Settings;
use crate::message::Framing;

/// How many bytes of messages are written to a stream at once.
const CHUNK: usize = 64 * 1024;

/// How long a new connection with TLS 1.3 waits for the receiver's first word.
const FIRST_WORD: Duration = Duration::from_secs(1);

/// A receiver.
#[derive(Debug)]
pub(crate) struct Receiver {
    transport: Transport,
    /// How long connecting, and writing to a stream, may take.
    pub(crate) timeout: Duration,
}

#[derive(Debug)]
enum Transport {
    Unix(PathBuf),
    Udp(String),
    Tcp(String),
    Tls(String, ServerName<'static>, Arc<ClientConfig>),
}

/// The settings name no receiver.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReceiverError {
    #[error(transparent)]
    Setting(#[from] InvalidSetting),
    #[error("`address`: a certificate cannot be for {host:?}")]
    Name {
        host: String,
        source: InvalidDnsNameError,
    },
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Messages cannot be sent now.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Tls(#[from] tls::BeginError),
    #[error(
        "the receiver refused the connection after the TLS handshake; does it ask for `client_cert`?"
    )]
    Refused(#[source] io::Error),
    #[error("cannot send")]
    Send(#[source] io::Error),
}

impl fmt::Display for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.transport {
            Transport::Unix(path) => write!(f, "unix://{}", path.display()),
            Transport::Udp(host) => write!(f, "udp://{host}"),
            Transport::Tcp(host) => write!(f, "tcp://{host}"),
            Transport::Tls(host, ..) => write!(f, "tls://{host}"),
        }
    }
}

impl Receiver {
    pub(crate) fn new(settings: &Settings) -> Result<Self, ReceiverError> {
        Ok(Self {
            transport: Transport::new(settings)?,
            timeout: Duration::from_secs(settings.timeout),
        })
    }

    pub(crate) fn framing(&self) -> Framing {
        match self.transport {
            Transport::Unix(_) => Framing::Local,
            Transport::Udp(_) => Framing::Datagram,
            Transport::Tcp(_) | Transport::Tls(..) => Framing::OctetCounted,
        }
    }

    pub(crate) fn connect(&self) -> Result<Connection, SendError> {
        let deadline = Deadline::after(self.timeout);
        match &self.transport {
            Transport::Unix(path) => Ok(self.unix(path).map_err(ConnectError::Connect)?),
            Transport::Udp(host) => {
                let found = deadline.look_up(host).map_err(ConnectError::Resolve)?;
                let address = found.first().ok_or(ConnectError::NoAddress)?;
                Ok(self.udp(*address).map_err(ConnectError::Connect)?)
            }
            Transport::Tcp(host) => Ok(Connection::Tcp(deadline.connect(host)?)),
            Transport::Tls(host, name, config) => {
                let stream = deadline.connect(host)?;
                let mut stream = tls::begin(stream, name, Arc::clone(config), deadline)?;
                let wait = self.timeout.min(FIRST_WORD);
                hear_refusal(&mut stream, Deadline::after(wait)).map_err(SendError::Refused)?;
                Ok(Connection::Tls(Box::new(stream)))
            }
        }
    }

    fn unix(&self, path: &PathBuf) -> io::Result<Connection> {
        let socket = UnixDatagram::unbound()?;
        match socket.connect(path) {
            Ok(()) => {
                socket.set_write_timeout(Some(self.timeout))?;
                Ok(Connection::Unix(socket))
            }
            // The socket is a stream. glibc's syslog(3) tries that, too.
            Err(error) if error.raw_os_error() == Some(libc::EPROTOTYPE) => {
                let stream = Deadline::after(self.timeout).connect_unix(path)?;
                Ok(Connection::UnixStream(stream))
            }
            Err(error) => Err(error),
        }
    }

    fn udp(&self, address: SocketAddr) -> io::Result<Connection> {
        let any = if address.is_ipv4() {
            "0.0.0.0:0"
        } else {
            "[::]:0"
        };
        let socket = UdpSocket::bind(any)?;
        socket.connect(address)?;
        socket.set_write_timeout(Some(self.timeout))?;
        Ok(Connection::Udp(socket))
    }
}

impl Transport {
    fn new(settings: &Settings) -> Result<Self, ReceiverError> {
        let address = &settings.address;
        let wrong = || {
            let reason = format!(
                "{address:?} is none of unix:///PATH, udp://HOST:PORT, tcp://HOST:PORT, tls://HOST:PORT"
            );
            InvalidSetting::new("address", reason)
        };
        let (scheme, rest) = address.split_once("://").ok_or_else(wrong)?;
        let is_host = |host: &str| {
            let is_good = |c: char| c.is_alphanumeric() || "-._:[]%".contains(c);
            !host.is_empty() && host.chars().all(is_good)
        };
        let host = rest
            .rsplit_once(':')
            .filter(|(host, port)| is_host(host) && port.parse::<u16>().is_ok_and(|port| port > 0));
        match (scheme, host) {
            ("unix", _) if rest.starts_with('/') => {
                check_socket(Path::new(rest))?;
                Ok(Self::Unix(rest.into()))
            }
            ("udp", Some(_)) => Ok(Self::Udp(rest.to_owned())),
            ("tcp", Some(_)) => Ok(Self::Tcp(rest.to_owned())),
            ("tls", Some((host, _))) => {
                let name = host.trim_start_matches('[').trim_end_matches(']');
                let name = ServerName::try_from(name.to_owned()).map_err(|source| {
                    let host = host.to_owned();
                    ReceiverError::Name { host, source }
                })?;
                Ok(Self::Tls(rest.to_owned(), name, client(settings)?))
            }
            _ => Err(wrong().into()),
        }
    }
}

/// Checks that what is at a path can be a socket. The receiver may come later, and its socket with it.
fn check_socket(path: &Path) -> Result<(), InvalidSetting> {
    match fs::metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            let reason = format!("{} is no socket", path.display());
            Err(InvalidSetting::new("address", reason))
        }
        _ => Ok(()),
    }
}

/// What all connections to a receiver share (RFC 5425).
fn client(settings: &Settings) -> Result<Arc<ClientConfig>, TlsError> {
    tls::client(
        settings.ca_cert.as_deref(),
        settings.client_cert.as_deref(),
        settings.client_key.as_deref(),
    )
}

/// What is worth knowing about settings that can be used.
pub(crate) fn warnings(settings: &Settings) -> Vec<String> {
    let (true, Some(chain), Some(key)) = (
        settings.address.starts_with("tls://"),
        &settings.client_cert,
        &settings.client_key,
    ) else {
        return Vec::new();
    };
    Identity::warning_of(chain, key).into_iter().collect()
}

/// With TLS 1.3, the client's handshake ends before the receiver has looked at the client's certificate (RFC 8446, section 2).
/// If the receiver then refuses the client, what was written meanwhile is lost. So this waits until the receiver sends a ticket,
/// which it does after it has accepted the client, or ends the connection. Some receivers send no ticket: the deadline is no
/// error.
fn hear_refusal(
    stream: &mut StreamOwned<ClientConnection, TcpStream>,
    deadline: Deadline,
) -> io::Result<()> {
    let StreamOwned { conn, sock } = stream;
    if conn.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
        return Ok(());
    }
    let mut socket = deadline.on(sock);
    while conn.tls13_tickets_received() == 0 {
        match conn.read_tls(&mut socket) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(_) => {
                let state = conn.process_new_packets().map_err(io::Error::other)?;
                if state.peer_has_closed() {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
            }
            Err(error) if error.kind() == ErrorKind::TimedOut => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// An open connection.
#[derive(Debug)]
pub(crate) enum Connection {
    Unix(UnixDatagram),
    UnixStream(UnixStream),
    Udp(UdpSocket),
    Tcp(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Connection {
    /// Whether the receiver has closed the connection. Receivers send nothing, so there is nothing to read except the
    /// end.
    pub(crate) fn is_over(&mut self) -> bool {
        match self {
            Self::Tcp(stream) => nonblocking(stream, |stream| is_end(stream.read(&mut [0; 64]))),
            Self::Tls(stream) => {
                let StreamOwned { conn, sock } = &mut **stream;
                nonblocking(sock, |mut sock| {
                    loop {
                        match conn.read_tls(&mut sock) {
                            Ok(0) => return true,
                            Ok(_) => match conn.process_new_packets() {
                                Ok(state) if !state.peer_has_closed() => {}
                                _ => return true,
                            },
                            Err(error) => return error.kind() != ErrorKind::WouldBlock,
                        }
                    }
                })
            }
            Self::Unix(_) | Self::UnixStream(_) | Self::Udp(_) => false,
        }
    }

    /// Sends messages, for about a second and at least one. Writing to a stream may take `timeout`. Returns how many the
    /// connection took and, if it failed, why.
    pub(crate) fn send(
        &mut self,
        messages: &[Vec<u8>],
        timeout: Duration,
    ) -> (usize, Option<SendError>) {
        let (sent, failed) = match self {
            Self::Unix(socket) => send_each(messages, |message| socket.send(message).map(drop)),
            Self::Udp(socket) => send_each(messages, |message| socket.send(message).map(drop)),
            Self::UnixStream(socket) => send_each(messages, |message| {
                (Deadline::after(timeout).on(socket)).write_all(&[message, &b"\0"[..]].concat())
            }),
            Self::Tcp(stream) => send_chunks(messages, |chunk| {
                Deadline::after(timeout).on(stream).write_all(chunk)
            }),
            Self::Tls(stream) => send_chunks(messages, |chunk| {
                let StreamOwned { conn, sock } = &mut **stream;
                let mut socket = Deadline::after(timeout).on(sock);
                let mut stream = Stream::new(conn, &mut socket);
                stream.write_all(chunk)?;
                stream.flush()
            }),
        };
        (sent, failed.map(SendError::Send))
    }
}

/// Runs `body` while the stream does not block. A stream whose mode cannot be changed counts as over.
fn nonblocking(stream: &mut TcpStream, body: impl FnOnce(&mut TcpStream) -> bool) -> bool {
    if stream.set_nonblocking(true).is_err() {
        return true;
    }
    let over = body(stream);
    over || stream.set_nonblocking(false).is_err()
}

fn is_end(read: io::Result<usize>) -> bool {
    match read {
        Ok(count) => count == 0,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}

/// Sends one message at a time, until the turn is over. Returns how many were sent and, if it failed, why.
fn send_each(
    messages: &[Vec<u8>],
    mut send: impl FnMut(&[u8]) -> io::Result<()>,
) -> (usize, Option<io::Error>) {
    let turn = Turn::begin();
    for (done, message) in messages.iter().enumerate() {
        if done > 0 && turn.is_over() {
            return (done, None);
        }
        if let Err(error) = send(message) {
            return (done, Some(error));
        }
    }
    (messages.len(), None)
}

/// Sends several messages at a time, until the turn is over. Returns how many were sent and, if it failed, why. After a
/// failure, none of the messages of that chunk counts as sent.
fn send_chunks(
    messages: &[Vec<u8>],
    mut send: impl FnMut(&[u8]) -> io::Result<()>,
) -> (usize, Option<io::Error>) {
    let turn = Turn::begin();
    let mut done = 0;
    while done < messages.len() && !(done > 0 && turn.is_over()) {
        let mut chunk = messages[done].clone();
        let mut next = done + 1;
        while next < messages.len() && chunk.len() + messages[next].len() <= CHUNK {
            chunk.extend_from_slice(&messages[next]);
            next += 1;
        }
        if let Err(error) = send(&chunk) {
            return (done, Some(error));
        }
        done = next;
    }
    (done, None)
}
