//! Writes a recording.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use driver_api::event::Event;
use zerocopy::IntoBytes;

use super::Head;
use inspect::Clock;

/// So many bytes are gathered before they are written.
const GATHER: usize = 1 << 20;

/// A recording in the making.
#[derive(Debug)]
pub struct Writer {
    file: File,
    gathered: Vec<u8>,
    events: u64,
}

impl Writer {
    /// Begins a file, in place of one that is there. `clock` turns event times into the time of day.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn create(path: &Path, clock: Clock) -> io::Result<Self> {
        let mut writer = Self {
            file: File::create(path)?,
            gathered: Vec::with_capacity(2 * GATHER),
            events: 0,
        };
        let head = Head::new(clock.offset_ns());
        writer.gathered.extend_from_slice(head.as_bytes());
        writer.flush()?;
        Ok(writer)
    }

    /// Appends an event.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        event.append_to(&mut self.gathered);
        self.events += 1;
        if self.gathered.len() >= GATHER {
            self.flush()?;
        }
        Ok(())
    }

    /// How many events there are.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Writes what was gathered.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.file.write_all(&self.gathered)?;
        self.gathered.clear();
        Ok(())
    }
}
