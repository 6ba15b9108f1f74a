//! From an alert to the outputs: each has its own bounded queue, its own thread and its own counters, so
//! that a slow one slows nobody down. From here on it is tokio's world.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::task::JoinHandle;

use crate::plugin_host::{Alert, Delivery, OutputHost};

/// Alerts that wait for one output at the most.
const QUEUE: usize = 8192;
/// Alerts in one batch at the most.
const BATCH: usize = 256;
/// First pause before an output that asked for it is tried again; doubles up to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// How long the end of the session waits for outputs that are still busy.
const PATIENCE: Duration = Duration::from_secs(5);

/// Counters of one output.
#[derive(Debug, Default)]
struct Counters {
    delivered: AtomicU64,
    /// The queue was full.
    overflowed: AtomicU64,
    /// The output gave up.
    refused: AtomicU64,
}

/// What became of the alerts of one output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The output plugin.
    pub output: String,
    /// Delivered.
    pub delivered: u64,
    /// Lost because the queue was full.
    pub overflowed: u64,
    /// Lost because the output gave up on them.
    pub refused: u64,
    /// Still waiting when the session ended.
    pub abandoned: u64,
}

impl Account {
    /// Alerts that were not delivered, whatever the cause.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.overflowed + self.refused + self.abandoned
    }
}

/// The outputs of a session.
#[derive(Debug)]
pub struct Outputs {
    runtime: Runtime,
    workers: Vec<Worker>,
    offered: u64,
}

#[derive(Debug)]
struct Worker {
    name: String,
    queue: mpsc::Sender<Arc<Alert>>,
    counters: Arc<Counters>,
    task: JoinHandle<()>,
}

impl Outputs {
    /// Starts a thread for each output.
    ///
    /// # Errors
    ///
    /// The kernel refused a thread.
    pub fn start(outputs: Vec<OutputHost>) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_time()
            .build()?;
        let workers = outputs
            .into_iter()
            .map(|output| {
                let name = output.plugin().name().to_owned();
                let (queue, alerts) = mpsc::channel(QUEUE);
                let counters = Arc::new(Counters::default());
                let counting = Arc::clone(&counters);
                let task = runtime.spawn_blocking(move || work(output, alerts, &counting));
                Worker {
                    name,
                    queue,
                    counters,
                    task,
                }
            })
            .collect();
        Ok(Self {
            runtime,
            workers,
            offered: 0,
        })
    }

    /// Queues an alert for every output. Never waits: a full queue is counted.
    pub fn push(&mut self, alert: Alert) {
        self.offered += 1;
        let alert = Arc::new(alert);
        for worker in &self.workers {
            match worker.queue.try_send(Arc::clone(&alert)) {
                Ok(()) => {}
                Err(TrySendError::Full(_)) => {
                    worker.counters.overflowed.fetch_add(1, Ordering::Relaxed);
                }
                Err(TrySendError::Closed(_)) => {
                    worker.counters.refused.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// Lets the outputs finish, for a while, and accounts for every alert.
    #[must_use]
    pub fn finish(self) -> Vec<Account> {
        let offered = self.offered;
        let accounts = self
            .workers
            .into_iter()
            .map(|worker| {
                drop(worker.queue);
                let waited = self
                    .runtime
                    .block_on(async { tokio::time::timeout(PATIENCE, worker.task).await });
                if waited.is_err() {
                    tracing::warn!("output {} did not finish within {PATIENCE:?}", worker.name);
                }
                let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
                let counters = &worker.counters;
                let (delivered, overflowed, refused) = (
                    count(&counters.delivered),
                    count(&counters.overflowed),
                    count(&counters.refused),
                );
                Account {
                    output: worker.name,
                    delivered,
                    overflowed,
                    refused,
                    abandoned: offered.saturating_sub(delivered + overflowed + refused),
                }
            })
            .collect();
        self.runtime.shutdown_background();
        accounts
    }
}

fn work(mut output: OutputHost, mut alerts: mpsc::Receiver<Arc<Alert>>, counters: &Counters) {
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        batch.clear();
        let Some(first) = alerts.blocking_recv() else {
            break;
        };
        batch.push(first);
        while batch.len() < BATCH {
            let Ok(next) = alerts.try_recv() else { break };
            batch.push(next);
        }
        deliver(&mut output, &batch, counters);
    }
    if let Err(error) = output.flush() {
        tracing::warn!("{error}");
    }
}

fn deliver(output: &mut OutputHost, batch: &[Arc<Alert>], counters: &Counters) {
    let mut rest = batch;
    let mut pause = PAUSE;
    while !rest.is_empty() {
        let count = |delivered: usize| {
            counters
                .delivered
                .fetch_add(delivered as u64, Ordering::Relaxed)
        };
        match output.emit(rest) {
            Delivery::Delivered => {
                count(rest.len());
                return;
            }
            Delivery::TryAgain { delivered, reason } => {
                let delivered = delivered.min(rest.len());
                count(delivered);
                rest = &rest[delivered..];
                tracing::debug!(
                    "output {} asks to be tried again: {reason}",
                    output.plugin().name()
                );
                std::thread::sleep(pause);
                pause = if delivered > 0 {
                    PAUSE
                } else {
                    (pause * 2).min(PAUSE_MAX)
                };
            }
            Delivery::GiveUp { delivered, reason } => {
                let delivered = delivered.min(rest.len());
                count(delivered);
                let lost = rest.len() - delivered;
                counters.refused.fetch_add(lost as u64, Ordering::Relaxed);
                tracing::warn!(
                    "output {} gave up on {lost} alerts: {reason}",
                    output.plugin().name()
                );
                return;
            }
        }
    }
}
