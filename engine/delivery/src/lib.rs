//! Delivers alerts to the outputs. Each output has its own bounded queue, threads and counters, so that a slow output does
//! not delay events or other outputs.
//!
//! ```text
//! event path -> mailbox -> worker -> spool (disk), or memory
//!                            |  ^
//!                      a job v  | its outcome
//!                          caller -> plugin
//! ```
//!
//! | file | does |
//! |---|---|
//! | `alert` | makes an alert of a match, once for all outputs |
//! | `settings`, `bucket` | what can be set for an output; a token bucket |
//! | `mailbox` | messages between the threads of an output |
//! | `worker`, `store` | keeps alerts, decides when the plugin is called, and accounts for how that went |
//! | `caller` | calls the plugin, and may hang |
//! | `pace`, `notes` | pauses and sizes of batches; log lines about failures |
//! | `spool` | alerts on disk |
//! | `limit` | rate limits and de-duplication, by rule |
//! | `counters` | what became of the alerts, by cause |
//! | `feed` | the latest alerts, for those who look |

pub mod alert;
mod bucket;
mod caller;
mod counters;
mod feed;
mod limit;
mod mailbox;
mod notes;
mod pace;
mod settings;
mod spool;
mod store;
mod worker;

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use plugin_host::{Alert, OutputHost};

pub use alert::{
    AlertFormat, AlertRule, AppendError, AppendOutput, ExtraField, Kept, LateAlerts, RuleMatch,
};
pub use bucket::Bucket;
pub use counters::{Counters, Counts};
pub use feed::{Feed, Latest};
pub use limit::{RuleLimit, RuleLimits, Verdict};
pub use settings::{QueueSettings, Rate, SpoolSettings};
pub use spool::{Spool, SpoolError, check_spool};

use mailbox::{GoOn, Mailbox};
use worker::{Remains, Worker};

/// The most alerts in one batch.
const BATCH: usize = 256;
/// How long the end of the session waits for outputs that are still busy.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// How much longer it waits for the disk.
const GRACE: Duration = Duration::from_secs(3);

/// An output that is to be started.
#[derive(Debug)]
pub struct Planned {
    /// The opened plugin; none: the output runs already, and goes on.
    pub host: Option<OutputHost>,
    /// Its delivery settings.
    pub settings: QueueSettings,
    /// Its whole configuration as text: an output with the same text is the same output.
    pub identity: String,
}

/// The outputs of a session. Any thread may push alerts.
#[derive(Default)]
pub struct Outputs {
    queues: RwLock<Vec<OutputQueue>>,
    feed: OnceLock<Arc<Feed>>,
    /// Whether a push that waits for room should go on waiting. Unset: no push waits.
    go_on: OnceLock<Box<GoOn>>,
}

impl fmt::Debug for Outputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outputs")
            .field("queues", &self.queues)
            .field("feed", &self.feed)
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct OutputQueue {
    settings: QueueSettings,
    identity: String,
    mailbox: Arc<Mailbox>,
    counters: Arc<Counters>,
    bucket: Option<Mutex<Bucket>>,
    /// `None` only while an output takes over from its predecessor.
    worker: Option<JoinHandle<Remains>>,
}

/// The counters of one output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The output.
    pub output: String,
    /// Counted by cause.
    pub counts: Counts,
    /// At most this many alerts wait in memory.
    pub capacity: usize,
}

/// An output could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its spool cannot be used.
    #[error("output {output}")]
    Spool {
        /// Its name.
        output: String,
        /// What is wrong.
        source: SpoolError,
    },
    /// It should go on running, but does not run.
    #[error("output {output} was to go on, but does not run any more")]
    Gone {
        /// Its name.
        output: String,
    },
    /// The kernel refused a thread.
    #[error("output {output}: cannot start a thread")]
    Thread {
        /// Its name.
        output: String,
        /// Why.
        source: std::io::Error,
    },
}

impl Outputs {
    /// Starts the threads of each output.
    ///
    /// # Errors
    ///
    /// A spool cannot be used, or the kernel refused a thread.
    pub fn start(planned: Vec<Planned>) -> Result<Self, StartError> {
        let outputs = Self::default();
        let (_, errors) = outputs.replace(planned);
        match errors.into_iter().next() {
            Some(error) => Err(error),
            None => Ok(outputs),
        }
    }

    /// From now on [`push`](Self::push) waits for room while `go_on` returns true. This is for events from a file, which can
    /// wait. An output that takes no alert for ten seconds is not waited for until it takes one again.
    pub fn wait_for_room(&self, go_on: impl Fn() -> bool + Send + Sync + 'static) {
        // the first caller decides
        let _ = self.go_on.set(Box::new(go_on));
    }

    /// Queues an alert for every output. An alert for which a queue has no room is dropped and counted. Waits for nothing,
    /// unless [`wait_for_room`](Self::wait_for_room) asked for it.
    pub fn push(&self, alert: Alert) {
        let alert = Arc::new(alert);
        if let Some(feed) = self.feed.get() {
            feed.push(&alert);
        }
        for queue in self
            .queues
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
        {
            queue.push(&alert, self.go_on.get().map(|go_on| &**go_on));
        }
    }

    /// Keeps the latest alerts from now on, for those who look. Without a call of this, none is kept.
    pub fn feed(&self) -> Arc<Feed> {
        Arc::clone(self.feed.get_or_init(Arc::default))
    }

    /// Makes every plugin reopen its files and connections.
    pub fn reopen(&self) {
        for queue in self
            .queues
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
        {
            queue.mailbox.reopen();
        }
    }

    /// Replaces the outputs. Unchanged outputs go on running. A changed output passes its queue and its spool to its
    /// successor of the same name. A removed output has some time to finish. Returns the counters of the removed outputs.
    ///
    /// # Errors
    ///
    /// Those that could not be started; the others run.
    pub fn replace(&self, planned: Vec<Planned>) -> (Vec<Account>, Vec<StartError>) {
        let mut queues = self.queues.write().unwrap_or_else(PoisonError::into_inner);
        let mut old: Vec<OutputQueue> = queues.drain(..).collect();
        let mut begin = Vec::new();
        for output in planned {
            if let Some(at) = old
                .iter()
                .position(|queue| queue.identity == output.identity)
            {
                queues.push(old.remove(at));
                continue;
            }
            let name = &output.settings.name;
            let before = old
                .iter()
                .position(|queue| queue.settings.name == *name)
                .map(|at| old.remove(at));
            let counters = before
                .as_ref()
                .map(|queue| Arc::clone(&queue.counters))
                .unwrap_or_default();
            let queue = OutputQueue::new(&output, counters);
            begin.push((Beginning::new(&queue, output.host), before));
            queues.push(queue);
        }
        // From here on alerts wait for the new outputs; the event path does not wait.
        drop(queues);
        let mut errors = Vec::new();
        for (beginning, before) in begin {
            let remains = before.map(|queue| queue.stop(Duration::ZERO));
            let name = beginning.settings.name.clone();
            let started = beginning.start(remains.unwrap_or_default());
            let mut queues = self.queues.write().unwrap_or_else(PoisonError::into_inner);
            let at = queues.iter().position(|queue| queue.settings.name == name);
            match (started, at) {
                (Ok(worker), Some(at)) => queues[at].worker = Some(worker),
                (Err(error), Some(at)) => {
                    queues.remove(at);
                    errors.push(error);
                }
                (_, None) => {}
            }
        }
        (finish(old), errors)
    }

    /// The configuration of the running outputs.
    #[must_use]
    pub fn identities(&self) -> Vec<String> {
        let queues = self.queues.read().unwrap_or_else(PoisonError::into_inner);
        queues.iter().map(|queue| queue.identity.clone()).collect()
    }

    /// The counters of all outputs now.
    #[must_use]
    pub fn accounts(&self) -> Vec<Account> {
        let queues = self.queues.read().unwrap_or_else(PoisonError::into_inner);
        queues.iter().map(OutputQueue::account).collect()
    }

    /// Gives the outputs some time to finish, then stops them. Every alert is in the counters that it returns.
    #[must_use]
    pub fn finish(&self) -> Vec<Account> {
        let mut queues = self.queues.write().unwrap_or_else(PoisonError::into_inner);
        let queues = std::mem::take(&mut *queues);
        finish(queues)
    }
}

impl Drop for Outputs {
    fn drop(&mut self) {
        drop(self.finish());
    }
}

/// Stops all at the same time: this takes as long as the slowest output, not as long as all together.
fn finish(queues: Vec<OutputQueue>) -> Vec<Account> {
    let until = Instant::now() + PATIENCE;
    for queue in &queues {
        queue.mailbox.stop(until);
    }
    queues
        .into_iter()
        .map(|queue| {
            let (name, counters) = (queue.settings.name.clone(), Arc::clone(&queue.counters));
            let capacity = queue.settings.queue;
            let remains = queue.stop(PATIENCE);
            Counters::add(&counters.abandoned, remains.alerts.len());
            Account {
                output: name,
                counts: counters.read(),
                capacity,
            }
        })
        .collect()
}

/// What an output needs to start, besides the alerts of its predecessor.
struct Beginning {
    settings: QueueSettings,
    host: Option<OutputHost>,
    mailbox: Arc<Mailbox>,
    counters: Arc<Counters>,
}

impl Beginning {
    fn new(queue: &OutputQueue, host: Option<OutputHost>) -> Self {
        Self {
            settings: queue.settings.clone(),
            host,
            mailbox: Arc::clone(&queue.mailbox),
            counters: Arc::clone(&queue.counters),
        }
    }

    fn start(self, remains: Remains) -> Result<JoinHandle<Remains>, StartError> {
        let name = self.settings.name.clone();
        let wrong = |source| StartError::Spool {
            output: name.clone(),
            source,
        };
        let thread = |source| StartError::Thread {
            output: name.clone(),
            source,
        };
        let host = self.host.ok_or_else(|| StartError::Gone {
            output: name.clone(),
        })?;
        let mut first = remains.alerts;
        let spool = match (remains.spool, &self.settings.spool) {
            (Some(spool), Some(wanted)) if spool.settings().path == wanted.path => {
                Some(spool.with(wanted.clone()).map_err(wrong)?)
            }
            (old, wanted) => {
                if let Some(mut old) = old {
                    first = old.empty_into(first);
                }
                match wanted {
                    Some(wanted) => match Spool::open(wanted.clone()) {
                        Ok((spool, aside)) => {
                            Counters::add(&self.counters.unreadable, usize::from(aside.is_some()));
                            Some(spool)
                        }
                        // the capture goes on without its disk
                        Err(error) if error.is_of_disk() => {
                            Counters::add(&self.counters.spool_errors, 1);
                            tracing::error!(
                                "output {name}: {error}; alerts wait in memory until it works"
                            );
                            Some(Spool::unopened(wanted.clone()))
                        }
                        Err(error) => return Err(wrong(error)),
                    },
                    None => None,
                }
            }
        };
        self.mailbox.put_first(first);
        let worker = Worker::new(self.settings, host, spool, self.mailbox, self.counters);
        let worker = worker.map_err(thread)?;
        std::thread::Builder::new()
            .name(caller::thread_name("out", &name))
            .spawn(move || worker.run())
            .map_err(thread)
    }
}

impl OutputQueue {
    fn new(output: &Planned, counters: Arc<Counters>) -> Self {
        let settings = output.settings.clone();
        Self {
            bucket: settings.rate.map(|rate| Mutex::new(Bucket::new(rate))),
            mailbox: Arc::new(Mailbox::new(settings.queue)),
            settings,
            identity: output.identity.clone(),
            counters,
            worker: None,
        }
    }

    fn push(&self, alert: &Arc<Alert>, go_on: Option<&GoOn>) {
        // A smaller number is more severe.
        if alert.priority > self.settings.least {
            return;
        }
        Counters::add(&self.counters.offered, 1);
        if let Some(bucket) = &self.bucket {
            let mut bucket = bucket.lock().unwrap_or_else(PoisonError::into_inner);
            if !bucket.take(alert.time_ns) {
                Counters::add(&self.counters.limited, 1);
                return;
            }
        }
        if !self.mailbox.push(Arc::clone(alert), go_on) {
            Counters::add(&self.counters.overflowed, 1);
        }
    }

    fn account(&self) -> Account {
        let mut counts = self.counters.read();
        counts.waiting = counts.waiting.max(self.mailbox.len() as u64);
        Account {
            output: self.settings.name.clone(),
            counts,
            capacity: self.settings.queue,
        }
    }

    /// Stops the threads and waits for them up to this time. A thread whose disk hangs is left running.
    fn stop(self, patience: Duration) -> Remains {
        let until = Instant::now() + patience;
        self.mailbox.stop(until);
        let Some(worker) = self.worker else {
            return Remains::default();
        };
        while !worker.is_finished() && Instant::now() < until + GRACE {
            std::thread::sleep(Duration::from_millis(1));
        }
        if !worker.is_finished() {
            tracing::error!(
                "output {}: its disk hangs: it is left behind",
                self.settings.name
            );
            return Remains::default();
        }
        worker.join().unwrap_or_default()
    }
}
