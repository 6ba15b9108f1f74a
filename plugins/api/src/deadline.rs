//! Connections whose receiver cannot hold a call: looking up a name, connecting, and all that is read and written have one
//! deadline. Timeouts of a socket alone begin anew with every byte, so that a receiver that takes or sends a byte now and then
//! could hold a call for days.

use std::io::{self, ErrorKind, Read, Write};
use std::mem::{offset_of, zeroed};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// The most look-ups of names that go on at the same time. The C library cannot end one.
const MAX_LOOKUPS: usize = 16;

/// A socket whose reads and writes can be limited in time.
pub trait Socket: Read + Write {
    /// Limits each read and write.
    ///
    /// # Errors
    ///
    /// The system refuses.
    fn limit(&self, time: Duration) -> io::Result<()>;
}

impl Socket for TcpStream {
    fn limit(&self, time: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(time))?;
        self.set_write_timeout(Some(time))
    }
}

impl Socket for UnixStream {
    fn limit(&self, time: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(time))?;
        self.set_write_timeout(Some(time))
    }
}

/// There is no connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The name is not known, or the name server does not answer.
    #[error("cannot look up the address")]
    Resolve(#[source] io::Error),
    /// The name is known, but has no address.
    #[error("the name has no address")]
    NoAddress,
    /// No address answers.
    #[error("cannot connect")]
    Connect(#[source] io::Error),
}

/// When something must be done.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    at: Instant,
    timeout: Duration,
}

impl Deadline {
    /// This time from now.
    #[must_use]
    pub fn after(timeout: Duration) -> Self {
        Self {
            at: Instant::now() + timeout,
            timeout,
        }
    }

    /// A socket that can be read and written until then. What is late fails with [`ErrorKind::TimedOut`].
    #[must_use]
    pub fn on<S: Socket>(self, socket: &mut S) -> Until<'_, S> {
        Until {
            socket,
            deadline: self,
        }
    }

    /// The addresses of `HOST:PORT`.
    ///
    /// # Errors
    ///
    /// The name is not known, or the name server does not answer until the deadline.
    pub fn look_up(self, host: &str) -> io::Result<Vec<SocketAddr>> {
        static GOING_ON: AtomicUsize = AtomicUsize::new(0);
        if let Ok(address) = host.parse() {
            return Ok(vec![address]);
        }
        if GOING_ON.load(Ordering::Relaxed) >= MAX_LOOKUPS {
            let reason = "the name server has not answered earlier questions";
            return Err(io::Error::new(ErrorKind::TimedOut, reason));
        }
        let (answer, answered) = mpsc::channel();
        let asked = host.to_owned();
        GOING_ON.fetch_add(1, Ordering::Relaxed);
        let ask = move || {
            let found = asked.to_socket_addrs().map(Iterator::collect);
            GOING_ON.fetch_sub(1, Ordering::Relaxed);
            // it fails if the caller has stopped waiting
            let _ = answer.send(found);
        };
        let started = thread::Builder::new()
            .name("lanner-look-up".into())
            .spawn(ask);
        if let Err(error) = started {
            GOING_ON.fetch_sub(1, Ordering::Relaxed);
            return Err(error);
        }
        let answer = answered.recv_timeout(self.left()?);
        answer.unwrap_or_else(|_| Err(self.late("the name server")))
    }

    /// Connects to the first address of `HOST:PORT` that answers.
    ///
    /// # Errors
    ///
    /// None answers until the deadline.
    pub fn connect(self, host: &str) -> Result<TcpStream, ConnectError> {
        let found = self.look_up(host).map_err(ConnectError::Resolve)?;
        let connect = |address: &SocketAddr| {
            let stream = TcpStream::connect_timeout(address, self.left()?)?;
            stream.set_nodelay(true)?;
            Ok(stream)
        };
        let mut failed = ConnectError::NoAddress;
        for address in &found {
            match connect(address) {
                Ok(stream) => return Ok(stream),
                Err(error) => failed = ConnectError::Connect(error),
            }
        }
        Err(failed)
    }

    /// Connects to a Unix stream. While the receiver accepts no one and its queue is full, connect(2) waits (unix(7)).
    ///
    /// # Errors
    ///
    /// The receiver is not there, or does not accept the connection until the deadline.
    pub fn connect_unix(self, path: &Path) -> io::Result<UnixStream> {
        // SAFETY: socket(2) takes numbers.
        let socket =
            unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
        if socket < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new, and nothing else owns it.
        let stream = UnixStream::from(unsafe { OwnedFd::from_raw_fd(socket) });
        stream.set_write_timeout(Some(self.left()?))?;
        // SAFETY: zeros are a valid sockaddr_un.
        let mut address: libc::sockaddr_un = unsafe { zeroed() };
        address.sun_family = libc::AF_UNIX as libc::sa_family_t;
        let path = path.as_os_str().as_bytes();
        if path.len() >= address.sun_path.len() || path.contains(&0) {
            return Err(ErrorKind::InvalidInput.into());
        }
        for (to, from) in address.sun_path.iter_mut().zip(path) {
            *to = libc::c_char::from_ne_bytes([*from]);
        }
        let len = offset_of!(libc::sockaddr_un, sun_path) + path.len() + 1;
        // SAFETY: the address has at least this number of bytes, and outlives the call.
        let connected = unsafe {
            let address = (&raw const address).cast();
            libc::connect(stream.as_raw_fd(), address, len as libc::socklen_t)
        };
        if connected == 0 {
            return Ok(stream);
        }
        let error = io::Error::last_os_error();
        Err(match error.kind() {
            ErrorKind::WouldBlock => self.late("the receiver"),
            _ => error,
        })
    }

    /// Whether the time is over.
    #[must_use]
    pub fn is_over(self) -> bool {
        Instant::now() >= self.at
    }

    /// Fails if the time is over.
    ///
    /// # Errors
    ///
    /// It is: [`ErrorKind::TimedOut`].
    pub fn check(self) -> io::Result<()> {
        self.left().map(drop)
    }

    /// What is left of the time.
    fn left(self) -> io::Result<Duration> {
        let left = self.at.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(self.late("the receiver"));
        }
        // the kernel rounds to its own ticks, and takes 0 for no limit
        Ok(left.max(Duration::from_millis(1)))
    }

    fn late(self, who: &str) -> io::Error {
        io::Error::new(
            ErrorKind::TimedOut,
            format!("{who} took longer than {:?}", self.timeout),
        )
    }
}

/// A socket until a [`Deadline`].
#[derive(Debug)]
pub struct Until<'a, S> {
    socket: &'a mut S,
    deadline: Deadline,
}

impl<S: Socket> Until<'_, S> {
    /// Reads or writes with what is left of the time.
    fn limited<T>(&mut self, body: impl FnOnce(&mut S) -> io::Result<T>) -> io::Result<T> {
        self.socket.limit(self.deadline.left()?)?;
        body(self.socket).map_err(|error| match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => self.deadline.late("the receiver"),
            _ => error,
        })
    }
}

impl<S: Socket> Read for Until<'_, S> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.limited(|socket| socket.read(into))
    }
}

impl<S: Socket> Write for Until<'_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.limited(|socket| socket.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.limited(Write::flush)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_byte_now_and_then_does_not_move_the_deadline() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let drops = thread::spawn(move || {
            let (mut peer, _) = listener.accept().unwrap();
            while peer.write_all(b"x").is_ok() {
                thread::sleep(Duration::from_millis(20));
            }
        });
        let deadline = Deadline::after(Duration::from_millis(300));
        let mut socket = deadline.connect(&address).unwrap();
        let failed = (deadline.on(&mut socket)).read_to_end(&mut Vec::new());
        let failed = failed.unwrap_err();
        assert_eq!(failed.kind(), ErrorKind::TimedOut, "{failed}");
        assert!(failed.to_string().contains("300ms"), "{failed}");
        drop(socket);
        drops.join().unwrap();
    }

    #[test]
    fn a_full_queue_of_a_unix_stream_does_not_hold_a_connection() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let _accepts_no_one = UnixListener::bind(&path).unwrap();
        let mut waiting = Vec::new();
        let failed = loop {
            match Deadline::after(Duration::from_millis(50)).connect_unix(&path) {
                Ok(stream) => waiting.push(stream),
                Err(error) => break error,
            }
        };
        assert_eq!(failed.kind(), ErrorKind::TimedOut, "{failed}");
    }

    #[test]
    fn names_are_looked_up_and_what_is_no_name_is_refused() {
        let deadline = Deadline::after(Duration::from_secs(60));
        let found = deadline.look_up("localhost:7").unwrap();
        assert!(found.iter().all(|address| address.ip().is_loopback()));
        assert!(!found.is_empty());
        let numbers = deadline.look_up("[::1]:7").unwrap();
        assert_eq!(numbers, ["[::1]:7".parse().unwrap()]);
        deadline.look_up("no port").unwrap_err();
    }
}
