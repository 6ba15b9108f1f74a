//! A stream with one deadline for all that is read and written: timeouts of a socket begin anew with every byte, so that a
//! receiver that takes or sends a byte now and then could hold a call for days.

use std::io::{self, ErrorKind, Read, Write};
use std::mem::{offset_of, zeroed};
use std::net::TcpStream;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// A socket whose reads and writes can be limited in time.
pub(crate) trait Socket: Read + Write {
    /// Limits each read and write.
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

/// Connects to a Unix stream, for at most this time: while the receiver accepts no one and its queue is full, connect(2)
/// waits (unix(7)).
pub(crate) fn connect(path: &Path, timeout: Duration) -> io::Result<UnixStream> {
    // SAFETY: socket(2) takes numbers.
    let socket = unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    if socket < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new, and nothing else owns it.
    let stream = UnixStream::from(unsafe { OwnedFd::from_raw_fd(socket) });
    stream.set_write_timeout(Some(timeout))?;
    // SAFETY: zeros are a valid sockaddr_un.
    let mut address: libc::sockaddr_un = unsafe { zeroed() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    let path = path.as_os_str().as_bytes();
    if path.len() >= address.sun_path.len() || path.contains(&0) {
        return Err(ErrorKind::InvalidInput.into());
    }
    for (to, from) in address.sun_path.iter_mut().zip(path) {
        *to = from.cast_signed();
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
        ErrorKind::WouldBlock => late(timeout),
        _ => error,
    })
}

fn late(timeout: Duration) -> io::Error {
    let seconds = timeout.as_secs();
    io::Error::new(
        ErrorKind::TimedOut,
        format!("the receiver took longer than {seconds} s"),
    )
}

/// A stream until its deadline.
#[derive(Debug)]
pub(crate) struct Until<'a, S> {
    socket: &'a mut S,
    timeout: Duration,
    deadline: Instant,
}

impl<'a, S: Socket> Until<'a, S> {
    /// The deadline is `timeout` from now.
    pub(crate) fn new(socket: &'a mut S, timeout: Duration) -> Self {
        Self {
            socket,
            timeout,
            deadline: Instant::now() + timeout,
        }
    }

    /// Reads or writes with what is left of the time.
    fn limited<T>(&mut self, body: impl FnOnce(&mut S) -> io::Result<T>) -> io::Result<T> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(late(self.timeout));
        }
        // the kernel rounds to its own ticks, and takes 0 for no limit
        self.socket.limit(left.max(Duration::from_millis(1)))?;
        body(self.socket).map_err(|error| match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => late(self.timeout),
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
