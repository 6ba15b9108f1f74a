//! Where messages go, and the way there.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lanner_plugin::Error;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::message::Frame;
use crate::{Settings, seconds, tls};

/// So much is given to a stream at once.
const CHUNK: usize = 64 * 1024;

/// A receiver.
#[derive(Debug)]
pub(crate) struct Target {
    way: Way,
    timeout: Duration,
}

#[derive(Debug)]
enum Way {
    Unix(PathBuf),
    Udp(String),
    Tcp(String),
    Tls(String, ServerName<'static>, Arc<ClientConfig>),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.way {
            Way::Unix(path) => write!(f, "unix://{}", path.display()),
            Way::Udp(host) => write!(f, "udp://{host}"),
            Way::Tcp(host) => write!(f, "tcp://{host}"),
            Way::Tls(host, ..) => write!(f, "tls://{host}"),
        }
    }
}

impl Target {
    pub(crate) fn new(settings: &Settings) -> Result<Self, Error> {
        let address = &settings.address;
        let wrong = || {
            format!(
                "`address`: {address:?} is none of unix:///PATH, udp://HOST:PORT, tcp://HOST:PORT, tls://HOST:PORT"
            )
        };
        let (scheme, rest) = address.split_once("://").ok_or_else(wrong)?;
        let host = rest.rsplit_once(':').filter(|(host, port)| {
            !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
        });
        let way = match (scheme, host) {
            ("unix", _) if rest.starts_with('/') => Way::Unix(rest.into()),
            ("udp", Some(_)) => Way::Udp(rest.to_owned()),
            ("tcp", Some(_)) => Way::Tcp(rest.to_owned()),
            ("tls", Some((host, _))) => {
                let name = host.trim_start_matches('[').trim_end_matches(']');
                let name = ServerName::try_from(name.to_owned())
                    .map_err(|error| format!("`address`: {host:?}: {error}"))?;
                Way::Tls(rest.to_owned(), name, tls::client(settings)?)
            }
            _ => return Err(wrong().into()),
        };
        Ok(Self {
            way,
            timeout: seconds(settings),
        })
    }

    pub(crate) fn frame(&self) -> Frame {
        match self.way {
            Way::Unix(_) => Frame::Local,
            Way::Udp(_) => Frame::Datagram,
            Way::Tcp(_) | Way::Tls(..) => Frame::Counted,
        }
    }

    pub(crate) fn connect(&self) -> Result<Connection, Error> {
        Ok(match &self.way {
            Way::Unix(path) => {
                let socket = UnixDatagram::unbound()?;
                match socket.connect(path) {
                    Ok(()) => {
                        socket.set_write_timeout(Some(self.timeout))?;
                        Connection::Unix(socket)
                    }
                    // as syslog(3) does it
                    Err(error) if error.raw_os_error() == Some(libc::EPROTOTYPE) => {
                        let socket = UnixStream::connect(path)?;
                        socket.set_write_timeout(Some(self.timeout))?;
                        Connection::UnixStream(socket)
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            Way::Udp(host) => {
                let address = resolve(host)?.next().ok_or("no address")?;
                let any = if address.is_ipv4() {
                    "0.0.0.0:0"
                } else {
                    "[::]:0"
                };
                let socket = UdpSocket::bind(any)?;
                socket.connect(address)?;
                socket.set_write_timeout(Some(self.timeout))?;
                Connection::Udp(socket)
            }
            Way::Tcp(host) => Connection::Tcp(self.tcp(host)?),
            Way::Tls(host, name, config) => {
                let connection = ClientConnection::new(Arc::clone(config), name.clone())?;
                let mut stream = StreamOwned::new(connection, self.tcp(host)?);
                while stream.conn.is_handshaking() {
                    stream.conn.complete_io(&mut stream.sock)?;
                }
                Connection::Tls(Box::new(stream))
            }
        })
    }

    fn tcp(&self, host: &str) -> Result<TcpStream, Error> {
        let mut last = None;
        for address in resolve(host)? {
            match TcpStream::connect_timeout(&address, self.timeout) {
                Ok(stream) => {
                    stream.set_write_timeout(Some(self.timeout))?;
                    stream.set_read_timeout(Some(self.timeout))?;
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.map_or_else(|| "no address".into(), Error::from))
    }
}

fn resolve(host: &str) -> Result<impl Iterator<Item = std::net::SocketAddr>, Error> {
    Ok(host.to_socket_addrs()?)
}

/// A way that is open.
#[derive(Debug)]
pub(crate) enum Connection {
    Unix(UnixDatagram),
    UnixStream(UnixStream),
    Udp(UdpSocket),
    Tcp(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Connection {
    /// Whether the receiver has closed it. Receivers say nothing; what comes is the end.
    pub(crate) fn is_over(&mut self) -> bool {
        match self {
            Self::Tcp(stream) => {
                without_waiting(stream, |stream| is_end(stream.read(&mut [0; 64])))
            }
            Self::Tls(stream) => {
                let StreamOwned { conn, sock } = &mut **stream;
                without_waiting(sock, |mut sock| {
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

    /// Sends messages: how many were taken, and why not all.
    pub(crate) fn send(&mut self, messages: &[Vec<u8>]) -> (usize, Option<Error>) {
        match self {
            Self::Unix(socket) => each(messages, |message| socket.send(message).map(drop)),
            Self::Udp(socket) => each(messages, |message| socket.send(message).map(drop)),
            Self::UnixStream(socket) => each(messages, |message| {
                socket.write_all(&[message, &b"\0"[..]].concat())
            }),
            Self::Tcp(stream) => chunks(messages, |chunk| stream.write_all(chunk)),
            Self::Tls(stream) => chunks(messages, |chunk| {
                stream.write_all(chunk)?;
                stream.flush()
            }),
        }
    }
}

/// Runs `body` while reads and writes return at once.
fn without_waiting(stream: &mut TcpStream, body: impl FnOnce(&mut TcpStream) -> bool) -> bool {
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

fn each(
    messages: &[Vec<u8>],
    mut send: impl FnMut(&[u8]) -> io::Result<()>,
) -> (usize, Option<Error>) {
    for (done, message) in messages.iter().enumerate() {
        match send(message) {
            Ok(()) => {}
            Err(error) => return (done, Some(error.into())),
        }
    }
    (messages.len(), None)
}

/// Several messages at once; of those that were begun when it failed, all are sent again.
fn chunks(
    messages: &[Vec<u8>],
    mut send: impl FnMut(&[u8]) -> io::Result<()>,
) -> (usize, Option<Error>) {
    let mut done = 0;
    while done < messages.len() {
        let mut chunk = messages[done].clone();
        let mut next = done + 1;
        while next < messages.len() && chunk.len() + messages[next].len() <= CHUNK {
            chunk.extend_from_slice(&messages[next]);
            next += 1;
        }
        if let Err(error) = send(&chunk) {
            return (done, Some(error.into()));
        }
        done = next;
    }
    (done, None)
}
