//! The flight recorder: keeps the latest events in memory, and writes the events around an alert into a file.
//!
//! | file | does |
//! |---|---|
//! | `plan` | which rules ask for a file, and with which limits |
//! | `folder` | the folder of the files: creates them, and removes old ones |
//! | `writer` | the thread that writes |
//! | `known` | what the session knows about containers |
//! | `failures` | files that could not be written |
//!
//! The event path copies each event into a ring and does nothing else. When a rule asks for a file, the writer gets the full chunks of
//! the ring, which it shares with the ring, and a copy of the last one. Later events follow in chunks of their own, until the time or
//! another limit is over. The event path never waits for the writer: it counts events for which the writer has no room, and the
//! file says how many these are.

mod failures;
mod folder;
mod known;
mod plan;
mod writer;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use driver_api::event::layout::MAX;
use driver_api::event::{Event, EventBuilder, EventKind, Flags, Header, Loss};
use inspect::{Clock, Inspector};
use recording::Ring;

pub(crate) use failures::{Failed, Failures};
pub(crate) use folder::Folder;
use known::Known;
pub(crate) use plan::{Limits, Plan};
use writer::{Begin, Job, Size, Writer};

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
    /// The time of its last event.
    last_ns: u64,
    /// When it ends if no events come.
    until: Instant,
    /// How many more events it takes. None: any number.
    events: Option<u64>,
    /// How large it may become, and whether it is.
    size: Arc<Size>,
    chunk: Vec<u8>,
    /// Events in the chunk.
    count: u64,
    /// Events that the writer had no room for.
    lost: u64,
}

/// Where the events come from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    /// From this host, as they happen.
    pub(crate) live: bool,
    /// They say how long their calls took.
    pub(crate) times: bool,
}

/// Keeps the latest events, and hands them to the thread that writes files.
#[derive(Debug)]
pub(crate) struct FlightRecorder {
    ring: Ring,
    folder: Arc<Folder>,
    known: Arc<Known>,
    failures: Failures,
    /// How many containers the session knew when `known` learned from it.
    containers: usize,
    active: Option<Active>,
    spare: Vec<Vec<u8>>,
    jobs: Option<SyncSender<Job>>,
    returned: Receiver<Vec<u8>>,
    thread: Option<JoinHandle<()>>,
    /// Events happen now.
    live: bool,
    /// The log has a warning that the state of this host is too large.
    warned: bool,
    complained: Option<Instant>,
    /// The end of a file, for which the writer has had no room yet.
    owed: Option<Job>,
    builder: EventBuilder,
}

impl FlightRecorder {
    /// Allocates the memory and starts the thread. None: no alert of the plan has a file, or the folder cannot be used and
    /// only a rule asks for files.
    ///
    /// # Errors
    ///
    /// The folder cannot be used, or the thread cannot be started.
    pub(crate) fn start(
        plan: &Plan,
        origin: Origin,
        failures: Failures,
    ) -> std::io::Result<Option<Self>> {
        let Some((mut recorder, writer)) = Self::with_writer(plan, origin, failures)? else {
            return Ok(None);
        };
        let thread = std::thread::Builder::new()
            .name("lanner-capture".to_owned())
            .spawn(move || writer.run())?;
        recorder.thread = Some(thread);
        Ok(Some(recorder))
    }

    /// A recorder, and what its thread has to run.
    fn with_writer(
        plan: &Plan,
        origin: Origin,
        failures: Failures,
    ) -> std::io::Result<Option<(Self, Writer)>> {
        if !plan.is_on() {
            return Ok(None);
        }
        let folder = match Folder::open(plan.config()) {
            Ok(folder) => Arc::new(folder),
            // the user has not asked for files: a rule does, which may come from someone else
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
        let known = Arc::new(Known::default());
        let writer = Writer {
            jobs: queue,
            give_back,
            folder: Arc::clone(&folder),
            known: Arc::clone(&known),
            failures: failures.clone(),
            format: plan.config().format,
            origin,
            open: None,
        };
        let memory = usize::try_from(plan.config().memory.0).unwrap_or(usize::MAX);
        let recorder = Self {
            ring: Ring::new(memory, ns(plan.window())),
            folder,
            known,
            failures,
            containers: 0,
            active: None,
            spare: Vec::new(),
            jobs: Some(jobs),
            returned,
            thread: None,
            live: origin.live,
            warned: false,
            complained: None,
            owed: None,
            builder: EventBuilder::new(),
        };
        Ok(Some((recorder, writer)))
    }

    /// Files that could not be written.
    pub(crate) fn failures(&self) -> Failures {
        self.failures.clone()
    }

    /// Keeps events as long as reloaded rules need them. What is kept now stays, and so does the file that is being written.
    pub(crate) fn keep(&mut self, plan: &Plan) {
        self.ring.set_window(ns(plan.window()));
    }

    /// Makes ready for an event that the inspector has not seen yet.
    #[inline]
    pub(crate) fn before(&mut self, event: &Event<'_>, inspector: &Inspector) {
        let time_ns = event.header().time_ns;
        if self.ring.is_due(time_ns) {
            self.begin_span(time_ns, inspector);
        }
    }

    /// Takes an event that the inspector has seen.
    #[inline]
    pub(crate) fn event(&mut self, event: &Event<'_>, inspector: &Inspector) {
        if inspector.has_moved() {
            self.report_moved(event, inspector);
        }
        self.take(event, inspector);
    }

    /// What /proc has shown of cgroups with this event goes before it: the event does not say it.
    #[cold]
    fn report_moved(&mut self, event: &Event<'_>, inspector: &Inspector) {
        inspector.report_moved(event.header().time_ns, &mut |report| {
            self.take(report, inspector);
        });
    }

    #[inline]
    fn take(&mut self, event: &Event<'_>, inspector: &Inspector) {
        self.ring.push(event);
        if self.active.is_some() {
            if inspector.container_count() != self.containers {
                self.learn(inspector);
            }
            self.follow(event);
        }
    }

    #[cold]
    fn learn(&mut self, inspector: &Inspector) {
        self.containers = inspector.container_count();
        self.known.learn(inspector);
    }

    #[cold]
    fn begin_span(&mut self, time_ns: u64, inspector: &Inspector) {
        let fits = self.ring.begin(time_ns, |sink| inspector.synthesize(sink));
        if !fits && !std::mem::replace(&mut self.warned, true) {
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
            let header = loss(active.lost, event.header().time_ns);
            self.builder.begin(&header);
            if let Ok(lost) = self.builder.finish() {
                lost.append_to(&mut active.chunk);
                active.count += std::mem::take(&mut active.lost);
            }
        }
        active.last_ns = event.header().time_ns;
        event.append_to(&mut active.chunk);
        active.count += 1;
        let counts = !event.has(Flags::UNSELECTED);
        if let (Some(left), true) = (&mut active.events, counts) {
            *left = left.saturating_sub(1);
        }
        if active.size.is_full() || active.events == Some(0) {
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
        inspector: &Inspector,
        time_ns: u64,
        number: u64,
    ) -> Option<String> {
        let at_ns = event.header().time_ns;
        let until_ns = at_ns.saturating_add(ns(limits.duration));
        let until = Instant::now() + limits.duration;
        if self
            .active
            .as_ref()
            .is_some_and(|file| file.size.has_failed())
        {
            // nothing more comes into it
            self.end();
        }
        if let Some(active) = &mut self.active {
            active.until_ns = active.until_ns.max(until_ns);
            active.until = active.until.max(until);
            // a file for several alerts has the larger limit
            active.events = active
                .events
                .zip(limits.events)
                .map(|(left, more)| left.max(more));
            active.size.raise(limits.bytes);
            return Some(active.name.clone());
        }
        self.send_end();
        if self.owed.is_some() || self.ring.lent() > 0 {
            self.complain("the disk is too slow for another capture file");
            return None;
        }
        let (name, file) = match self.folder.create(time_ns, number) {
            Ok(created) => created,
            Err(error) => {
                self.complain(&format!("no capture file can be created: {error}"));
                return None;
            }
        };
        self.learn(inspector);
        let from_ns = at_ns.saturating_sub(ns(limits.before));
        let size = Arc::new(Size::new(limits.bytes));
        let job = Job::Begin(Begin {
            name: name.clone(),
            file,
            window: self.ring.window(from_ns),
            cgroups: inspector.cgroups(),
            users: self.users_elsewhere(inspector),
            size: Arc::clone(&size),
            // the clock of the alert
            clock: Clock::fixed(inspector.clock().offset_ns()),
        });
        let sent = self
            .jobs
            .as_ref()
            .is_some_and(|jobs| jobs.try_send(job).is_ok());
        if !sent {
            self.folder.remove(&name);
            self.complain("the disk is too slow for another capture file");
            return None;
        }
        self.active = Some(Active {
            name: name.clone(),
            until_ns,
            last_ns: at_ns,
            until,
            events: limits.events,
            size,
            chunk: Vec::with_capacity(CHUNK + MAX),
            count: 0,
            lost: 0,
        });
        Some(name)
    }

    /// Events with the users of the host that made the recording, if one is replayed. Empty for events of this host, whose
    /// users the writer reads itself.
    fn users_elsewhere(&self, inspector: &Inspector) -> Vec<u8> {
        let mut events = Vec::new();
        if !self.live {
            inspector.report_users(&mut |event| event.append_to(&mut events));
        }
        events
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
        self.owed = Some(Job::End {
            lost: active.lost,
            at_ns: active.last_ns,
        });
        self.send_end();
    }

    /// Tells the writer that the file has ended, as soon as it has room for that.
    fn send_end(&mut self) {
        if let Some((end, jobs)) = self.owed.take().zip(self.jobs.as_ref())
            && let Err(TrySendError::Full(end)) = jobs.try_send(end)
        {
            self.owed = Some(end);
        }
    }
}

/// The header of an event that says that events are missing, because the writer had no room for them.
fn loss(count: u64, time_ns: u64) -> Header {
    Header {
        kind: EventKind::Lost as u8,
        time_ns,
        args: [count, Loss::BufferFull as u64, 0, 0, 0, 0],
        ..Header::default()
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
        if let Some((end, jobs)) = self.owed.take().zip(self.jobs.take()) {
            // the writer makes room
            drop(jobs.send(end));
        }
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
