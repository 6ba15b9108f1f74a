//! Writes a recording.

use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::mem::offset_of;
use std::os::unix::fs::PermissionsExt;

use driver_api::event::{Event, Flags};
use zerocopy::IntoBytes;

use super::{CONTAINERS, END, Head, TIMES};
use inspect::Clock;

/// Bytes that are buffered before they are written.
const BUFFER: usize = 1 << 20;

/// A recording that is being written.
#[derive(Debug)]
pub struct Writer<W = File> {
    file: W,
    buffer: Vec<u8>,
    events: u64,
    /// Bytes that are in the file.
    written: u64,
}

impl Writer {
    /// Writes a recording into an empty file. A recording has arguments, environments and data of programs, so the file is
    /// made readable for its owner only. `clock` turns event times into the time of day.
    ///
    /// # Errors
    ///
    /// The file's permissions cannot be changed.
    pub fn new(file: File, clock: Clock) -> io::Result<Self> {
        const FOR_OWNER: u32 = 0o600;
        if file.metadata()?.is_file() {
            // The file may have been there before.
            file.set_permissions(Permissions::from_mode(FOR_OWNER))?;
        }
        Ok(Self::to(file, clock))
    }
}

impl<W: Write> Writer<W> {
    /// Writes a recording to what may be no file. `clock` turns event times into the time of day.
    #[must_use]
    pub fn to(to: W, clock: Clock) -> Self {
        let mut buffer = Vec::with_capacity(2 * BUFFER);
        buffer.extend_from_slice(Head::new(clock.offset_ns()).as_bytes());
        Self {
            file: to,
            buffer,
            events: 0,
            written: 0,
        }
    }

    /// Says that events have the times that their calls took. Before the first event.
    #[must_use]
    pub fn with_times(mut self) -> Self {
        const HAS: usize = offset_of!(Head, has);
        if let Some(has) = self.buffer.get_mut(HAS..HAS + size_of::<u32>()) {
            has.copy_from_slice(&(CONTAINERS | TIMES).to_ne_bytes());
        }
        self
    }

    /// Appends an event.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        event.append_to(&mut self.buffer);
        self.events += u64::from(!event.has(Flags::UNSELECTED));
        if self.buffer.len() >= BUFFER {
            self.flush()?;
        }
        Ok(())
    }

    /// The number of events so far. Those that are there for the state alone do not count.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Bytes of the recording so far, those that are buffered included.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Marks the end of the recording, and writes what is buffered.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn finish(&mut self) -> io::Result<()> {
        self.buffer.extend_from_slice(END.as_bytes());
        self.flush()
    }

    /// Writes what is buffered.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.file.write_all(&self.buffer)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}
