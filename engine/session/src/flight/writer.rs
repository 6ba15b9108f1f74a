//! The thread that writes capture files.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender};

use driver_api::event::{Event, Header};
use inspect::{Clock, Inspector, Options};
use recording::Window;
use scap::Machine;

use super::Folder;
use crate::recording_file::{RecordingFile, RecordingFormat};

/// What the thread has to do.
#[derive(Debug)]
pub(super) enum Job {
    /// Begin a file: a state, and the events that followed it.
    Begin {
        file: File,
        window: Window,
        written: Arc<AtomicU64>,
    },
    /// Later events.
    Events(Vec<u8>),
    /// End the file.
    End,
}

/// A file that is being written.
#[derive(Debug)]
struct Open {
    file: RecordingFile,
    written: Arc<AtomicU64>,
}

/// The thread's own.
#[derive(Debug)]
pub(super) struct Writer {
    jobs: Receiver<Job>,
    /// Memory that is not needed any more.
    give_back: Sender<Vec<u8>>,
    folder: Arc<Folder>,
    format: RecordingFormat,
    clock: Clock,
    live: bool,
    open: Option<Open>,
}

impl Writer {
    pub(super) fn new(
        jobs: Receiver<Job>,
        give_back: Sender<Vec<u8>>,
        folder: Arc<Folder>,
        format: RecordingFormat,
        clock: Clock,
        live: bool,
    ) -> Self {
        Self {
            jobs,
            give_back,
            folder,
            format,
            clock,
            live,
            open: None,
        }
    }

    pub(super) fn run(mut self) {
        while let Ok(job) = self.jobs.recv() {
            let done = match job {
                Job::Begin {
                    file,
                    window,
                    written,
                } => self.begin(file, window, written),
                Job::Events(events) => self.events(events),
                Job::End => self.end(),
            };
            if let Err(error) = done {
                self.open = None;
                tracing::warn!(
                    "a capture file is not whole, because it could not be written: {error}"
                );
            }
        }
        drop(self.end());
    }

    fn begin(&mut self, file: File, window: Window, written: Arc<AtomicU64>) -> io::Result<()> {
        self.end()?;
        // the state is that of the events alone, not that of this moment
        let state = Inspector::new(&Options {
            proc_root: None,
            clock: self.clock,
            ..Options::default()
        });
        let machine = if self.live {
            Machine::host(self.clock)
        } else {
            Machine::default()
        };
        let file = RecordingFile::new(file, self.format, state, machine)?;
        self.open = Some(Open { file, written });
        for chunk in window.chunks {
            self.events(chunk)?;
        }
        Ok(())
    }

    fn events(&mut self, mut events: Vec<u8>) -> io::Result<()> {
        let done = match &mut self.open {
            Some(open) => open.events(&events),
            None => Ok(()),
        };
        events.clear();
        // the event path has ended, perhaps
        drop(self.give_back.send(events));
        done
    }

    fn end(&mut self) -> io::Result<()> {
        let Some(mut open) = self.open.take() else {
            return Ok(());
        };
        let done = open.file.finish();
        self.folder.tidy();
        done
    }
}

impl Open {
    fn events(&mut self, mut rest: &[u8]) -> io::Result<()> {
        while rest.len() >= size_of::<Header>() {
            // what the event path has copied is an event
            let Ok(event) = Event::parse(rest) else { break };
            self.file.event(&event)?;
            rest = rest.get(event.header().len as usize..).unwrap_or_default();
        }
        self.file.flush()?;
        self.written.store(self.file.bytes(), Ordering::Relaxed);
        Ok(())
    }
}
