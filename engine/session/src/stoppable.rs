//! [`StoppableWriter`]: a writer whose reader may stand still, and that lets the session end all the same.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

/// How often a writer that waits looks whether the session is to end.
const LOOK: Duration = Duration::from_millis(100);
/// How long it waits in all once the session is to end.
const PATIENCE: Duration = Duration::from_secs(1);

/// The reader of a pipe does not read, and the session is to end.
#[derive(Debug, thiserror::Error)]
#[error("its reader does not read, and lanner was asked to end: the rest is lost")]
struct ReaderStandsStill;

/// Writes into a file. Where that is a pipe, a socket or a terminal, a write waits for the reader, for as long as the session
/// goes on.
///
/// The mode of the descriptor stays as it is: others may share it. So the writer asks whether there is room (poll(2)), and
/// writes at most what a pipe with room takes in one piece (`PIPE_BUF`, pipe(7)).
#[derive(Debug)]
pub struct StoppableWriter {
    file: File,
    /// Whether the session is to end. Called while the writer waits.
    is_over: fn() -> bool,
    /// A write may wait.
    waits: bool,
    /// When a writer that waits saw that the session is to end.
    over_since: Option<Instant>,
    /// Something is missing in the file, so nothing more goes there.
    gave_up: bool,
}

impl StoppableWriter {
    /// Writes into this file. `is_over`: whether the session is to end.
    #[must_use]
    pub fn new(file: File, is_over: fn() -> bool) -> Self {
        let is_file = file.metadata().is_ok_and(|metadata| metadata.is_file());
        Self {
            file,
            is_over,
            waits: !is_file,
            over_since: None,
            gave_up: false,
        }
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Waits until there is room, or an error that the write returns.
    fn wait_for_room(&mut self) -> io::Result<()> {
        while !self.gave_up && !self.has_room() {
            if !(self.is_over)() {
                self.over_since = None;
                continue;
            }
            let since = *self.over_since.get_or_insert_with(Instant::now);
            self.gave_up = since.elapsed() > PATIENCE;
        }
        if self.gave_up {
            return Err(io::Error::new(io::ErrorKind::TimedOut, ReaderStandsStill));
        }
        Ok(())
    }

    /// Waits a little for room. A signal ends the wait.
    fn has_room(&self) -> bool {
        let mut descriptor = libc::pollfd {
            fd: self.file.as_raw_fd(),
            events: libc::POLLOUT,
            revents: 0,
        };
        let pause = i32::try_from(LOOK.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: one descriptor, which outlives the call.
        unsafe { libc::poll(&raw mut descriptor, 1, pause) > 0 }
    }
}

impl Write for StoppableWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.waits {
            return self.file.write(bytes);
        }
        self.wait_for_room()?;
        self.file.write(&bytes[..bytes.len().min(libc::PIPE_BUF)])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::io::Read;
    use std::os::fd::OwnedFd;

    #[test]
    fn a_write_ends_with_the_session_although_its_reader_stands_still() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut stopped = StoppableWriter::new(OwnedFd::from(writer).into(), || true);
        let text = vec![b'x'; 1 << 20];
        let error = stopped.write_all(&text).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        // what comes later does not wait
        assert!(stopped.gave_up && stopped.write_all(b"more").is_err());
        drop(stopped);
        let mut read = Vec::new();
        reader.read_to_end(&mut read).unwrap();
        assert!(!read.is_empty() && read.len() < text.len());
    }

    #[test]
    fn a_reader_that_reads_gets_everything() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut writer = StoppableWriter::new(OwnedFd::from(writer).into(), || false);
        let text = vec![b'x'; 1 << 20];
        let sent = text.clone();
        let thread = std::thread::spawn(move || writer.write_all(&sent));
        let mut read = Vec::new();
        reader.read_to_end(&mut read).unwrap();
        thread.join().unwrap().unwrap();
        assert_eq!(read, text);
    }
}
