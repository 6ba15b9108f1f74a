//! A stream with one deadline for all that is read and written: timeouts of a socket begin anew with every byte, so that a
//! receiver that takes or sends a byte now and then could hold a call for days.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
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

    fn late(&self) -> io::Error {
        let seconds = self.timeout.as_secs();
        io::Error::new(
            ErrorKind::TimedOut,
            format!("the receiver took longer than {seconds} s"),
        )
    }

    /// Reads or writes with what is left of the time.
    fn limited<T>(&mut self, body: impl FnOnce(&mut S) -> io::Result<T>) -> io::Result<T> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(self.late());
        }
        // the kernel rounds to its own ticks, and takes 0 for no limit
        self.socket.limit(left.max(Duration::from_millis(1)))?;
        body(self.socket).map_err(|error| match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => self.late(),
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
