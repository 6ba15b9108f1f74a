//! The thread that writes capture files.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender};

use driver_api::event::{Event, EventBuilder, Flags, Header};
use inspect::{Clock, ContainerSource, Inspector, KnownCgroups, Options};
use recording::Window;
use scap::Machine;

use super::Folder;
use super::known::Known;
use crate::recording_file::{RecordingFile, RecordingFormat};
use crate::stoppable::StoppableWriter;

/// What the thread has to do.
#[derive(Debug)]
pub(super) enum Job {
    /// Begin a file: a state, and the events that followed it.
    Begin {
        file: File,
        window: Window,
        cgroups: KnownCgroups,
        size: Arc<Size>,
    },
    /// Later events.
    Events(Vec<u8>),
    /// End the file, which lacks its last events.
    End { lost: u64, at_ns: u64 },
}

/// How large a file may become, which a later alert may raise, and whether it is.
#[derive(Debug)]
pub(super) struct Size {
    most: AtomicU64,
    full: AtomicBool,
}

impl Size {
    /// None: any size.
    pub(super) fn new(most: Option<u64>) -> Self {
        Self {
            most: AtomicU64::new(most.unwrap_or(u64::MAX)),
            full: AtomicBool::new(false),
        }
    }

    /// Allows this size, too.
    pub(super) fn raise(&self, most: Option<u64>) {
        self.most
            .fetch_max(most.unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// The file takes no more events.
    pub(super) fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    fn most(&self) -> u64 {
        self.most.load(Ordering::Relaxed)
    }
}

/// A file that is being written.
#[derive(Debug)]
pub(super) struct Open {
    file: RecordingFile,
    size: Arc<Size>,
}

/// The thread's own.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) jobs: Receiver<Job>,
    /// Memory that is not needed any more.
    pub(super) give_back: Sender<Vec<u8>>,
    pub(super) folder: Arc<Folder>,
    pub(super) known: Arc<Known>,
    pub(super) format: RecordingFormat,
    pub(super) clock: Clock,
    pub(super) live: bool,
    pub(super) open: Option<Open>,
}

impl Writer {
    pub(super) fn run(mut self) {
        while let Ok(job) = self.jobs.recv() {
            let done = match job {
                Job::Begin {
                    file,
                    window,
                    cgroups,
                    size,
                } => self.begin(file, &window, &cgroups, size),
                Job::Events(events) => self.events(events),
                Job::End { lost, at_ns } => self.lose(lost, at_ns).and_then(|()| self.end()),
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

    fn begin(
        &mut self,
        file: File,
        window: &Window,
        cgroups: &KnownCgroups,
        size: Arc<Size>,
    ) -> io::Result<()> {
        self.end()?;
        // the state is that of the events alone, not that of this moment
        let mut state = Inspector::new(&Options {
            proc_root: None,
            clock: self.clock,
            containers: Some(Arc::clone(&self.known) as Arc<dyn ContainerSource>),
            ..Options::default()
        });
        let machine = if self.live {
            Machine::host(self.clock)
        } else {
            Machine::default()
        };
        // half of the file is for what happens after the alert: earlier events become part of the state, as many as must
        let happened = window.chunks().map(happened).sum::<u64>();
        let mut early = happened.saturating_sub(size.most() / 2);
        let mut chunks = window.chunks();
        let mut rest: &[u8] = &[];
        loop {
            let Some((event, later)) = first(rest) else {
                match chunks.next() {
                    Some(next) => rest = next,
                    None => break,
                }
                continue;
            };
            if early == 0 && !event.has(Flags::UNSELECTED) {
                break;
            }
            state.update(&event);
            if !event.has(Flags::UNSELECTED) {
                early = early.saturating_sub(event.header().len.into());
            }
            rest = later;
        }
        state.learn_cgroups(cgroups);
        // it is a regular file, whose writes do not wait
        let to = StoppableWriter::new(file, || false);
        let file = RecordingFile::new(to, self.format, state, machine)?;
        let mut open = Open { file, size };
        open.events(rest)?;
        for chunk in chunks {
            open.events(chunk)?;
        }
        self.open = Some(open);
        Ok(())
    }

    fn events(&mut self, mut events: Vec<u8>) -> io::Result<()> {
        self.known.answer();
        let done = match &mut self.open {
            Some(open) => open.events(&events),
            None => Ok(()),
        };
        events.clear();
        // the event path has ended, perhaps
        drop(self.give_back.send(events));
        done
    }

    /// Says in the file that events are missing.
    fn lose(&mut self, count: u64, at_ns: u64) -> io::Result<()> {
        let Some(open) = self.open.as_mut().filter(|_| count > 0) else {
            return Ok(());
        };
        let mut builder = EventBuilder::new();
        builder.begin(&super::loss(count, at_ns));
        match builder.finish() {
            Ok(lost) => open.file.event(&lost),
            Err(_) => Ok(()),
        }
    }

    fn end(&mut self) -> io::Result<()> {
        let Some(mut open) = self.open.take() else {
            return Ok(());
        };
        self.known.answer();
        let done = open.file.finish();
        self.known.forget();
        self.folder.tidy();
        done
    }
}

/// The first of some events, and the others.
fn first(bytes: &[u8]) -> Option<(Event<'_>, &[u8])> {
    if bytes.len() < size_of::<Header>() {
        return None;
    }
    // what the event path has copied is an event
    let event = Event::parse(bytes).ok()?;
    let later = bytes.get(event.header().len as usize..).unwrap_or_default();
    Some((event, later))
}

/// The bytes of events that are not there for the state alone.
fn happened(mut events: &[u8]) -> u64 {
    let mut sum = 0;
    while let Some((event, later)) = first(events) {
        if !event.has(Flags::UNSELECTED) {
            sum += u64::from(event.header().len);
        }
        events = later;
    }
    sum
}

impl Open {
    fn events(&mut self, mut events: &[u8]) -> io::Result<()> {
        while let Some((event, later)) = first(events) {
            if self.size.is_full() {
                return Ok(());
            }
            self.file.event(&event)?;
            if self.file.bytes() >= self.size.most() {
                self.size.full.store(true, Ordering::Relaxed);
            }
            events = later;
        }
        self.file.flush()
    }
}
