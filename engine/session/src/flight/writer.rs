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

use super::failures::{Failed, Failures};
use super::known::Known;
use super::{Folder, Origin};
use crate::recording_file::{RecordingFile, RecordingFormat};
use crate::stoppable::StoppableWriter;

/// What the thread has to do.
#[derive(Debug)]
pub(super) enum Job {
    /// Begin a file: a state, and the events that followed it.
    Begin(Begin),
    /// Later events.
    Events(Vec<u8>),
    /// End the file, which lacks its last events.
    End { lost: u64, at_ns: u64 },
}

/// A file that begins.
#[derive(Debug)]
pub(super) struct Begin {
    pub(super) name: String,
    pub(super) file: File,
    /// The events up to that of the alert.
    pub(super) window: Window,
    pub(super) cgroups: KnownCgroups,
    /// Events that say who the users of another host are, if the file is made of a recording.
    pub(super) users: Vec<u8>,
    pub(super) size: Arc<Size>,
    pub(super) clock: Clock,
}

/// How large a file may become, which a later alert may raise, and whether it takes no more.
#[derive(Debug)]
pub(super) struct Size {
    most: AtomicU64,
    full: AtomicBool,
    failed: AtomicBool,
}

impl Size {
    /// None: any size.
    pub(super) fn new(most: Option<u64>) -> Self {
        Self {
            most: AtomicU64::new(most.unwrap_or(u64::MAX)),
            full: AtomicBool::new(false),
            failed: AtomicBool::new(false),
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

    /// The file could not be written.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// The file takes no more, because it could not be written.
    pub(super) fn fail(&self) {
        self.failed.store(true, Ordering::Relaxed);
        self.full.store(true, Ordering::Relaxed);
    }

    fn most(&self) -> u64 {
        self.most.load(Ordering::Relaxed)
    }

    /// Notes how large the file is.
    fn note(&self, bytes: u64) {
        if bytes >= self.most() {
            self.full.store(true, Ordering::Relaxed);
        }
    }
}

/// A file that is being written.
#[derive(Debug)]
pub(super) struct Open {
    name: String,
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
    pub(super) failures: Failures,
    pub(super) format: RecordingFormat,
    pub(super) origin: Origin,
    pub(super) open: Option<Open>,
}

impl Writer {
    pub(super) fn run(mut self) {
        while let Ok(job) = self.jobs.recv() {
            let done = match job {
                Job::Begin(begin) => {
                    self.end();
                    self.begin(begin)
                }
                Job::Events(events) => self.events(events),
                Job::End { lost, at_ns } => {
                    let done = self.lose(lost, at_ns);
                    self.end();
                    done
                }
            };
            if let Err(error) = done
                && let Some(open) = self.open.take()
            {
                self.report(open.name, &open.size, &error, false);
                self.folder.tidy();
            }
        }
        self.end();
    }

    /// Begins a file. One that cannot be written is reported and removed.
    pub(super) fn begin(&mut self, begin: Begin) -> io::Result<()> {
        let Begin {
            name,
            file,
            window,
            cgroups,
            users,
            size,
            clock,
        } = begin;
        let beginning = Beginning {
            window: &window,
            cgroups: &cgroups,
            users: &users,
            format: self.format,
            clock,
            origin: self.origin,
        };
        let known = Arc::clone(&self.known) as Arc<dyn ContainerSource>;
        let early = beginning.surplus(size.most());
        match early.and_then(|early| beginning.write(file, early, Some(known))) {
            Ok((file, _)) => {
                size.note(file.bytes());
                self.open = Some(Open { name, file, size });
                Ok(())
            }
            Err(error) => {
                // it has no event
                self.folder.remove(&name);
                self.report(name, &size, &error, true);
                Err(error)
            }
        }
    }

    /// Says that a file is not whole, or not there: in the log, to the event path, and in a later alert.
    fn report(&self, name: String, size: &Size, error: &io::Error, removed: bool) {
        tracing::warn!(
            "capture file {name} is not whole, because it could not be written: {error}"
        );
        size.fail();
        self.failures.add(Failed {
            name,
            reason: error.to_string(),
            removed,
        });
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

    fn end(&mut self) {
        let Some(mut open) = self.open.take() else {
            return;
        };
        self.known.answer();
        if let Err(error) = open.file.finish() {
            self.report(open.name, &open.size, &error, false);
        }
        self.known.forget();
        self.folder.tidy();
    }
}

/// What a file begins with: the state before some of the window's events, and these events.
#[derive(Debug)]
struct Beginning<'a> {
    window: &'a Window,
    cgroups: &'a KnownCgroups,
    users: &'a [u8],
    format: RecordingFormat,
    clock: Clock,
    origin: Origin,
}

impl Beginning<'_> {
    /// How many bytes of the earliest events must become part of the state. Half of the room behind the state is for events
    /// after the alert, so the events before it may take only the other half. The last one, the alert's own, always stays.
    fn surplus(&self, most: u64) -> io::Result<u64> {
        if most == u64::MAX {
            return Ok(0);
        }
        // a file that is thrown away shows the sizes
        let nowhere = File::options().write(true).open("/dev/null")?;
        let (file, state) = self.write(nowhere, 0, None)?;
        let events = file.bytes().saturating_sub(state);
        let room = most.saturating_sub(state) / 2;
        if events <= room {
            return Ok(0);
        }
        let (happened, last) = self.happened();
        let fits = u128::from(happened) * u128::from(room) / u128::from(events);
        let fits = u64::try_from(fits).unwrap_or(happened).max(last);
        Ok(happened.saturating_sub(fits))
    }

    /// Writes it, without the first `early` bytes of events, which become part of the state. Gives the bytes of the state and the
    /// first event, too.
    fn write(
        &self,
        file: File,
        mut early: u64,
        containers: Option<Arc<dyn ContainerSource>>,
    ) -> io::Result<(RecordingFile, u64)> {
        // the state is that of the events alone, not that of this moment
        let mut state = Inspector::new(&Options {
            proc_root: None,
            clock: self.clock,
            containers,
            elsewhere: !self.origin.live,
            ..Options::default()
        });
        let mut users = self.users;
        while let Some((event, later)) = first(users) {
            state.update(&event);
            users = later;
        }
        let mut chunks = self.window.chunks();
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
        state.learn_cgroups(self.cgroups);
        let machine = if self.origin.live {
            Machine::host(self.clock)
        } else {
            Machine::default()
        };
        // its writes do not wait: it is a regular file
        let to = StoppableWriter::new(file, || false);
        let mut file = RecordingFile::new(to, self.format, state, machine, self.origin.times)?;
        // one format writes the state with the first event
        let mut state_bytes = None;
        for mut events in [rest].into_iter().chain(chunks) {
            while let Some((event, later)) = first(events) {
                file.event(&event)?;
                state_bytes.get_or_insert(file.bytes());
                events = later;
            }
        }
        file.flush()?;
        let state_bytes = state_bytes.unwrap_or(file.bytes());
        Ok((file, state_bytes))
    }

    /// The bytes of events that are not there for the state alone: of all, and of the last one.
    fn happened(&self) -> (u64, u64) {
        let (mut sum, mut last) = (0, 0);
        for mut events in self.window.chunks() {
            while let Some((event, later)) = first(events) {
                if !event.has(Flags::UNSELECTED) {
                    last = u64::from(event.header().len);
                    sum += last;
                }
                events = later;
            }
        }
        (sum, last)
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

impl Open {
    fn events(&mut self, mut events: &[u8]) -> io::Result<()> {
        while let Some((event, later)) = first(events) {
            if self.size.is_full() {
                return Ok(());
            }
            self.file.event(&event)?;
            self.size.note(self.file.bytes());
            events = later;
        }
        self.file.flush()
    }
}
