//! The flight recorder: keeps the latest events in memory, and writes the events around an alert into a file.
//!
//! | file | does |
//! |---|---|
//! | `plan` | which rules ask for a file, and with which limits |
//! | `folder` | the folder of the files: creates them, and removes old ones |
//! | `writer` | the thread that writes |
//!
//! The event path copies each event into a ring and does nothing else. When a rule asks for a file, a copy of the ring goes to the
//! writer, with the state at its beginning; later events follow it in chunks, until the time or another limit is over. The
//! event path never waits for the writer: events for which it has no room are counted, and the file says so.

mod folder;
mod plan;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use driver_api::event::layout::MAX;
use driver_api::event::{Event, EventBuilder, Flags, Header, Kind, Loss};
use inspect::Inspector;
use recording::Ring;

pub(crate) use folder::Folder;
pub(crate) use plan::{Limits, Plan};
use writer::{Job, Writer};

/// Bytes of later events that go to the writer at once.
const CHUNK: usize = 256 << 10;
/// Chunks that wait for the writer. Beyond these, events are lost to the file.
const WAITING: usize = 64;
/// How often the log says that no file can be written.
const COMPLAIN: Duration = Duration::from_secs(60);

/// A file that is being written.
#[derive(Debug)]
struct Active {
    name: String,
    /// The time of the events at which it ends.
    until_ns: u64,
    /// When it ends if no events come.
    until: Instant,
    /// How many more events it takes. None: any number.
    events: Option<u64>,
    /// How large it may become. None: any size.
    bytes: Option<u64>,
    /// How large it is, as the writer says.
    written: Arc<AtomicU64>,
    chunk: Vec<u8>,
    /// Events in the chunk.
    count: u64,
    /// Events that the writer had no room for.
    lost: u64,
}

/// Keeps the latest events, and hands them to the thread that writes files.
#[derive(Debug)]
pub(crate) struct FlightRecorder {
    ring: Ring,
    folder: Arc<Folder>,
    active: Option<Active>,
    spare: Vec<Vec<u8>>,
    jobs: Option<SyncSender<Job>>,
    returned: Receiver<Vec<u8>>,
    thread: Option<JoinHandle<()>>,
    /// Events happen now.
    live: bool,
    /// The log has said that the state of this host is too large.
    told: bool,
    complained: Option<Instant>,
    /// The writer had no room for the end of a file. The beginning of the next one ends it, too.
    owes_end: bool,
    builder: EventBuilder,
}

impl FlightRecorder {
    /// Allocates the memory and starts the thread. None: the plan asks for none.
    ///
    /// # Errors
    ///
    /// The folder cannot be used, or the thread cannot be started.
    pub(crate) fn start(
        plan: &Plan,
        inspector: &Inspector,
        live: bool,
    ) -> std::io::Result<Option<Self>> {
        if !plan.is_on() {
            return Ok(None);
        }
        let folder = match Folder::open(plan.config()) {
            Ok(folder) => Arc::new(folder),
            // only a rule asks for files, which may come with others from somewhere
            Err(error) if plan.config().enabled.is_none() => {
                tracing::warn!(
                    "alerts have no files, as capture.path_prefix cannot be used: {error}"
                );
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let (jobs, queue) = sync_channel(WAITING);
        let (give_back, returned) = channel();
        let writer = Writer::new(
            queue,
            give_back,
            Arc::clone(&folder),
            plan.config().format,
            inspector.clock(),
            live,
        );
        let thread = std::thread::Builder::new()
            .name("lanner-capture".to_owned())
            .spawn(move || writer.run())?;
        let memory = usize::try_from(plan.config().memory.0).unwrap_or(usize::MAX);
        Ok(Some(Self {
            ring: Ring::new(memory, ns(plan.window())),
            folder,
            active: None,
            spare: Vec::new(),
            jobs: Some(jobs),
            returned,
            thread: Some(thread),
            live,
            told: false,
            complained: None,
            owes_end: false,
            builder: EventBuilder::new(),
        }))
    }

    /// Takes an event that the inspector has not seen yet.
    #[inline]
    pub(crate) fn event(&mut self, event: &Event<'_>, inspector: &Inspector) {
        let time_ns = event.header().time_ns;
        if self.ring.is_due(time_ns) {
            self.begin_span(time_ns, inspector);
        }
        self.ring.push(event);
        if self.active.is_some() {
            self.follow(event);
        }
    }

    #[cold]
    fn begin_span(&mut self, time_ns: u64, inspector: &Inspector) {
        let fits = self.ring.begin(time_ns, |sink| inspector.synthesize(sink));
        if !fits && !std::mem::replace(&mut self.told, true) {
            tracing::warn!(
                "capture.memory is too small for the processes of this host: capture files lack some of them; raise it"
            );
        }
    }

    /// Hands an event to the file that is being written.
    fn follow(&mut self, event: &Event<'_>) {
        let Some(active) = &mut self.active else {
            return;
        };
        if event.header().time_ns >= active.until_ns {
            self.end();
            return;
        }
        if active.chunk.is_empty() && active.lost > 0 {
            // the events that the file lacks are missing here
            self.builder.begin(&Header {
                kind: Kind::Lost as u8,
                time_ns: event.header().time_ns,
                args: [active.lost, Loss::BufferFull as u64, 0, 0, 0, 0],
                ..Header::default()
            });
            if let Ok(lost) = self.builder.finish() {
                lost.append_to(&mut active.chunk);
                active.count += std::mem::take(&mut active.lost);
            }
        }
        event.append_to(&mut active.chunk);
        active.count += 1;
        let counts = !event.has(Flags::UNSELECTED);
        if let (Some(left), true) = (&mut active.events, counts) {
            *left = left.saturating_sub(1);
        }
        let size = active.written.load(Ordering::Relaxed);
        let full = active.bytes.is_some_and(|most| size >= most);
        if full || active.events == Some(0) {
            self.end();
        } else if active.chunk.len() >= CHUNK {
            self.hand_over();
        }
    }

    /// Hands the current chunk to the writer.
    fn hand_over(&mut self) {
        self.spare.extend(self.returned.try_iter().take(16));
        let Some((active, jobs)) = self.active.as_mut().zip(self.jobs.as_ref()) else {
            return;
        };
        if active.chunk.is_empty() {
            return;
        }
        let mut next = self.spare.pop().unwrap_or_default();
        next.clear();
        next.reserve(CHUNK + MAX);
        let events = std::mem::replace(&mut active.chunk, next);
        match jobs.try_send(Job::Events(events)) {
            Ok(()) => {}
            Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) => {
                active.lost += active.count;
                if let Job::Events(mut events) = job {
                    events.clear();
                    active.chunk = events;
                }
            }
        }
        active.count = 0;
    }

    /// A rule asks for the events around this one. Gives the name of the file that has them. None: there is no file, and
    /// the log says why.
    pub(crate) fn alert(
        &mut self,
        limits: &Limits,
        event: &Event<'_>,
        time_ns: u64,
        number: u64,
    ) -> Option<String> {
        let at_ns = event.header().time_ns;
        let until_ns = at_ns.saturating_add(ns(limits.duration));
        let until = Instant::now() + limits.duration;
        if let Some(active) = &mut self.active {
            active.until_ns = active.until_ns.max(until_ns);
            active.until = active.until.max(until);
            // a file for several alerts has the larger limit
            active.events = active
                .events
                .zip(limits.events)
                .map(|(left, more)| left.max(more));
            active.bytes = active
                .bytes
                .zip(limits.bytes)
                .map(|(one, other)| one.max(other));
            return Some(active.name.clone());
        }
        let (name, file) = match self.folder.create(time_ns, number) {
            Ok(created) => created,
            Err(error) => {
                self.complain(&format!("no capture file can be created: {error}"));
                return None;
            }
        };
        self.spare.extend(self.returned.try_iter().take(16));
        let from_ns = at_ns.saturating_sub(ns(limits.before));
        let written = Arc::new(AtomicU64::new(0));
        let job = Job::Begin {
            file,
            window: self.ring.window(from_ns, &mut self.spare),
            written: Arc::clone(&written),
        };
        let sent = self
            .jobs
            .as_ref()
            .is_some_and(|jobs| jobs.try_send(job).is_ok());
        if !sent {
            self.folder.remove(&name);
            self.complain("the disk is too slow for another capture file");
            return None;
        }
        self.owes_end = false;
        self.active = Some(Active {
            name: name.clone(),
            until_ns,
            until,
            events: limits.events,
            bytes: limits.bytes,
            written,
            chunk: Vec::with_capacity(CHUNK + MAX),
            count: 0,
            lost: 0,
        });
        Some(name)
    }

    fn complain(&mut self, what: &str) {
        let now = Instant::now();
        if self.complained.is_none_or(|last| now - last >= COMPLAIN) {
            self.complained = Some(now);
            tracing::warn!("{what}");
        }
    }

    /// Between events: hands over what waits, and ends a file whose time is over.
    pub(crate) fn idle(&mut self) {
        self.send_end();
        let Some(active) = &self.active else {
            // the memory of the last file is not kept
            self.spare = Vec::new();
            self.returned.try_iter().for_each(drop);
            return;
        };
        if self.live && Instant::now() >= active.until {
            self.end();
        } else {
            self.hand_over();
        }
    }

    /// Ends the current file.
    fn end(&mut self) {
        self.hand_over();
        let Some(active) = self.active.take() else {
            return;
        };
        if active.lost > 0 {
            tracing::warn!("{} lacks its last {} events", active.name, active.lost);
        }
        self.owes_end = true;
        self.send_end();
    }

    /// Tells the writer that the file has ended, as soon as it has room for that.
    fn send_end(&mut self) {
        if self.owes_end
            && let Some(jobs) = &self.jobs
        {
            self.owes_end = jobs.try_send(Job::End).is_err();
        }
    }
}

impl FlightRecorder {
    /// Ends the recorder on a thread of its own: the writer may still have much to write.
    pub(crate) fn retire(self) {
        let thread = std::thread::Builder::new().name("lanner-capture".to_owned());
        // without a thread, it ends here
        drop(thread.spawn(move || drop(self)));
    }
}

impl Drop for FlightRecorder {
    fn drop(&mut self) {
        self.end();
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn ns(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
