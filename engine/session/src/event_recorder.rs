//! [`EventRecorder`]: keeps events in a file.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use driver_api::driver::Flow;
use driver_api::event::Event;
use driver_api::request::SyscallSet;
use lanner_plugin::files::{self, FileError};

use crate::recording_file::{RecordingFile, RecordingFormat};
use crate::source::OpenedSource;
use crate::stoppable::StoppableWriter;
use crate::watch::Consumer;

/// How often events go to the file: a lanner that is killed loses as much.
const FLUSH: Duration = Duration::from_secs(1);
/// Permissions of a new file.
const FOR_OWNER: u32 = 0o600;

/// Why a recording does not begin.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file cannot be opened for writing, or another user put it there.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file was opened, and cannot be written.
    #[error("cannot write the recording")]
    Write(#[from] io::Error),
}

/// The consumer behind `lanner record` and `lanner convert`.
#[derive(Debug)]
pub struct EventRecorder {
    writer: RecordingFile,
    flushed: Instant,
    /// Why the file cannot be written any more.
    failed: Option<io::Error>,
}

impl EventRecorder {
    /// What a source has to capture for these calls: they, and what a replay needs to follow the state.
    #[must_use]
    pub fn needs(wanted: &SyscallSet) -> SyscallSet {
        wanted.union(&inspect::needed())
    }

    /// Creates or replaces a file, and writes the state that was there before the first event. `is_over`: whether the session
    /// is to end, so that a write no longer waits for a reader that stands still.
    ///
    /// # Errors
    ///
    /// The file cannot be written, or another user put it there.
    pub fn create(
        path: &Path,
        format: RecordingFormat,
        source: &OpenedSource,
        is_over: fn() -> bool,
    ) -> Result<Self, RecordError> {
        let file = files::replace(path, FOR_OWNER)?;
        let to = StoppableWriter::new(file, is_over);
        Ok(Self {
            writer: RecordingFile::of_source(to, format, source)?,
            flushed: Instant::now(),
            failed: None,
        })
    }

    /// Marks the end of the recording. Returns how many events it has.
    ///
    /// # Errors
    ///
    /// Not everything could be written.
    pub fn finish(mut self) -> io::Result<u64> {
        if self.failed.is_none() {
            let written = self.writer.finish();
            self.done(written);
        }
        match self.failed {
            None => Ok(self.writer.events()),
            Some(error) => Err(error),
        }
    }

    fn done(&mut self, written: io::Result<()>) -> Flow {
        match written {
            Ok(()) => Flow::Continue,
            Err(error) => {
                self.failed.get_or_insert(error);
                Flow::Stop
            }
        }
    }
}

impl Consumer for EventRecorder {
    fn event(&mut self, event: &Event<'_>) -> Flow {
        let written = self.writer.event(event);
        self.done(written)
    }

    fn idle(&mut self) -> Flow {
        if self.flushed.elapsed() < FLUSH {
            return Flow::Continue;
        }
        self.flushed = Instant::now();
        let written = self.writer.flush();
        self.done(written)
    }
}
