//! A client of NATS: one connection to one server. It publishes, asks, and answers pings. `frames` reads what the server says,
//! `login` says who the client is, `stream` is JetStream over this client.
//!
//! It is written for servers that are not trusted: whatever a server sends, memory has a bound (`frames`), and each call
//! ends at its deadline.

mod frames;
mod login;
mod stream;

use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use lanner_plugin::deadline::{ConnectError, Deadline};
use lanner_plugin::tls;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Stream, StreamOwned};

pub(crate) use frames::FrameError;
use frames::{Frames, Info, Message, Operation};
pub(crate) use login::{Login, LoginError};
pub(crate) use stream::{Outgoing, Published, StreamError};

/// How long [`Client::tend`] waits for what is already there.
const AT_ONCE: Duration = Duration::from_millis(1);

/// How long [`Client::tend`] listens to a server that does not stop.
const TENDING: Duration = Duration::from_millis(200);

/// How many bytes are written at once.
const PIECE: usize = 64 << 10;

/// The server cannot be used now.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Tls(#[from] tls::BeginError),
    #[error("cannot send")]
    Send(#[source] io::Error),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("the server begins with something else than a description of itself")]
    NoInfo,
    #[error("the server, or someone between, sent more than it may before TLS began")]
    BeforeTls,
    #[error("the server is too old: it has no headers, which came with nats-server 2.2")]
    NoHeaders,
    #[error("the server says: {0}")]
    Server(String),
    #[error("the server says that it will end")]
    Ends,
}

/// A server, and how to reach it.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    /// `HOST:PORT`
    pub(crate) address: String,
    /// What its certificate must be for.
    pub(crate) name: ServerName<'static>,
    /// TLS, even if the server does not ask for it.
    pub(crate) wants_tls: bool,
}

#[derive(Debug)]
enum Socket {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
    /// While TLS begins, or after that failed.
    Gone,
}

/// A socket until a deadline.
struct Timed<'a>(&'a mut Socket, Deadline);

impl Timed<'_> {
    fn with<T>(&mut self, body: impl FnOnce(&mut dyn ReadWrite) -> io::Result<T>) -> io::Result<T> {
        match &mut *self.0 {
            Socket::Plain(stream) => body(&mut self.1.on(stream)),
            Socket::Tls(stream) => {
                let StreamOwned { conn, sock } = &mut **stream;
                body(&mut Stream::new(conn, &mut self.1.on(sock)))
            }
            Socket::Gone => Err(ErrorKind::NotConnected.into()),
        }
    }
}

trait ReadWrite: Read + Write {}
impl<S: Read + Write> ReadWrite for S {}

impl Read for Timed<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.with(|stream| stream.read(into))
    }
}

impl Write for Timed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.with(|stream| stream.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.with(|stream| stream.flush())
    }
}

/// A connection to a server.
#[derive(Debug)]
pub(crate) struct Client {
    socket: Socket,
    frames: Frames,
    info: Info,
    /// Answers come to subjects that begin so. No other client knows them.
    inbox: String,
    /// How many answers this client has asked for.
    asked: u64,
}

impl Client {
    /// Connects. `tls` is asked for if it is needed.
    pub(crate) fn connect<E: From<ClientError>>(
        server: &Server,
        login: &Login,
        tls: impl FnOnce() -> Result<Arc<ClientConfig>, E>,
        deadline: Deadline,
    ) -> Result<Self, E> {
        let stream = deadline
            .connect(&server.address)
            .map_err(ClientError::Connect)?;
        let mut client = Self {
            socket: Socket::Plain(stream),
            frames: Frames::default(),
            info: Info::default(),
            inbox: inbox(),
            asked: 0,
        };
        match client.hear(deadline)? {
            Operation::Info(info) => client.info = info,
            Operation::Error(text) => return Err(ClientError::Server(text).into()),
            Operation::Ping | Operation::Pong | Operation::Ok | Operation::Message(_) => {
                return Err(ClientError::NoInfo.into());
            }
        }
        if server.wants_tls || client.info.tls_required {
            client.begin_tls(server, tls()?, deadline)?;
        }
        client.introduce(login, deadline)?;
        Ok(client)
    }

    fn begin_tls(
        &mut self,
        server: &Server,
        config: Arc<ClientConfig>,
        deadline: Deadline,
    ) -> Result<(), ClientError> {
        // What came before is not protected, and would be taken for what the server says.
        if self.frames.has_more() {
            return Err(ClientError::BeforeTls);
        }
        let Socket::Plain(stream) = std::mem::replace(&mut self.socket, Socket::Gone) else {
            return Err(ClientError::NoInfo);
        };
        let stream = tls::begin(stream, &server.name, config, deadline)?;
        self.socket = Socket::Tls(Box::new(stream));
        Ok(())
    }

    /// Says who the client is, and waits until the server has accepted that.
    fn introduce(&mut self, login: &Login, deadline: Deadline) -> Result<(), ClientError> {
        if !self.info.headers {
            return Err(ClientError::NoHeaders);
        }
        let mut connect = serde_json::json!({
            "verbose": false,
            "pedantic": false,
            "tls_required": matches!(self.socket, Socket::Tls(_)),
            "name": "lanner",
            "lang": "lanner",
            "version": env!("CARGO_PKG_VERSION"),
            // so that the server says when it will end
            "protocol": 1,
            "echo": false,
            "headers": true,
            "no_responders": true,
        });
        for (member, value) in login.members(&self.info.nonce) {
            connect[member] = value.into();
        }
        let begin = format!("CONNECT {connect}\r\nSUB {}* 1\r\nPING\r\n", self.inbox);
        self.send(begin.as_bytes(), deadline)?;
        loop {
            match self.hear(deadline)? {
                Operation::Pong => return Ok(()),
                other => drop(self.other(other, deadline)?),
            }
        }
    }

    /// Answers pings, and takes note of what the server says about itself. An error means that the connection is over, or should
    /// be.
    pub(crate) fn tend(&mut self) -> Result<(), ClientError> {
        let end = Deadline::after(TENDING);
        let answer_until = Deadline::after(5 * TENDING);
        while !end.is_over() {
            match self.hear(Deadline::after(AT_ONCE)) {
                Ok(operation) => drop(self.other(operation, answer_until)?),
                Err(ClientError::Frame(FrameError::Read(error)))
                    if error.kind() == ErrorKind::TimedOut =>
                {
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        if self.info.ends {
            return Err(ClientError::Ends);
        }
        Ok(())
    }

    /// The largest message that the server takes, headers included.
    fn max_payload(&self) -> u64 {
        match self.info.max_payload {
            0 => u64::MAX,
            most => most,
        }
    }

    /// A subject for an answer, and its number.
    fn ask(&mut self) -> (String, u64) {
        self.asked += 1;
        (format!("{}{}", self.inbox, self.asked), self.asked)
    }

    /// The next answer, and the number that [`Client::ask`] gave.
    fn answer(&mut self, deadline: Deadline) -> Result<(u64, Message), ClientError> {
        loop {
            let operation = self.hear(deadline)?;
            let Some(message) = self.other(operation, deadline)? else {
                continue;
            };
            let number = message.subject.strip_prefix(&self.inbox);
            if let Some(number) = number.and_then(|number| number.parse().ok()) {
                return Ok((number, message));
            }
        }
    }

    fn hear(&mut self, deadline: Deadline) -> Result<Operation, ClientError> {
        Ok(self.frames.next(&mut Timed(&mut self.socket, deadline))?)
    }

    /// Does what every operation asks for. Gives a message back.
    fn other(
        &mut self,
        operation: Operation,
        deadline: Deadline,
    ) -> Result<Option<Message>, ClientError> {
        match operation {
            Operation::Ping => self.send(b"PONG\r\n", deadline)?,
            Operation::Info(info) => self.info = info,
            Operation::Error(text) => return Err(ClientError::Server(text)),
            Operation::Pong | Operation::Ok => {}
            Operation::Message(message) => return Ok(Some(message)),
        }
        // a server that does not stop talking
        deadline.check().map_err(FrameError::Read)?;
        Ok(None)
    }

    fn send(&mut self, bytes: &[u8], deadline: Deadline) -> Result<(), ClientError> {
        let mut socket = Timed(&mut self.socket, deadline);
        for piece in bytes.chunks(PIECE) {
            socket.write_all(piece).map_err(ClientError::Send)?;
        }
        socket.flush().map_err(ClientError::Send)
    }
}

/// A subject that no other client can guess.
fn inbox() -> String {
    // Each has keys of its own, which the system chose at random.
    let random = || RandomState::new().hash_one(0);
    format!("_INBOX.lanner{:016x}{:016x}.", random(), random())
}
