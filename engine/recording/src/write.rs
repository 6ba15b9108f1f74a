//! Writes a recording.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use driver_api::event::Event;
use zerocopy::IntoBytes;

use super::Head;
use inspect::Clock;

/// Bytes that are buffered before they are written.
const BUFFER: usize = 1 << 20;

/// A recording that is being written.
#[derive(Debug)]
pub struct Writer {
    file: File,
    buffer: Vec<u8>,
    events: u64,
}

impl Writer {
    /// Creates a file, or replaces one. `clock` turns event times into the time of day.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn create(path: &Path, clock: Clock) -> io::Result<Self> {
        let mut writer = Self {
            file: File::create(path)?,
            buffer: Vec::with_capacity(2 * BUFFER),
            events: 0,
        };
        let head = Head::new(clock.offset_ns());
        writer.buffer.extend_from_slice(head.as_bytes());
        writer.flush()?;
        Ok(writer)
    }

    /// Appends an event.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        event.append_to(&mut self.buffer);
        self.events += 1;
        if self.buffer.len() >= BUFFER {
            self.flush()?;
        }
        Ok(())
    }

    /// The number of events so far.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Writes what is buffered.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.file.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}
