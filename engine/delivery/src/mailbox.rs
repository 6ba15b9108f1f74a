//! Messages between the threads of an output: alerts from the event path, results from the thread that calls the plugin,
//! and requests to flush, reopen or stop. One lock, one condition variable.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use plugin_host::{Alert, Delivery, PluginError};

/// The result of a call of the plugin.
#[derive(Debug)]
pub(super) enum Outcome {
    /// `emit`, and whether the plugin is switched off now.
    Emitted(Delivery, bool),
    Flushed(Result<(), PluginError>),
    Reopened(Result<(), PluginError>),
}

#[derive(Debug, Default)]
struct Post {
    queue: VecDeque<Arc<Alert>>,
    outcome: Option<Outcome>,
    reopen: bool,
    /// The output must end by this time.
    stop: Option<Instant>,
    /// The thread that calls the plugin has ended.
    closed: bool,
    /// Nothing was taken from a full queue for [`STALLED`], and nothing since then.
    stalled: bool,
}

/// How long a push waits for room in a queue from which nothing is taken.
const STALLED: Duration = Duration::from_secs(10);
/// How often a push that waits asks whether it should go on.
const ASK: Duration = Duration::from_millis(50);

/// Whether a push that waits for room should go on waiting.
pub(super) type GoOn = dyn Fn() -> bool + Send + Sync;

/// See the module.
#[derive(Debug)]
pub(super) struct Mailbox {
    post: Mutex<Post>,
    news: Condvar,
    /// Alerts were taken from the queue.
    room: Condvar,
    capacity: usize,
}

/// The messages that were waiting.
#[derive(Debug, Default)]
pub(super) struct News {
    pub(super) alerts: Vec<Arc<Alert>>,
    pub(super) outcome: Option<Outcome>,
    pub(super) reopen: bool,
    pub(super) stop: Option<Instant>,
}

impl Mailbox {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            post: Mutex::default(),
            news: Condvar::new(),
            room: Condvar::new(),
            capacity,
        }
    }

    /// Nothing panics while it holds the lock, and if it did, the post would still be whole.
    fn post(&self) -> MutexGuard<'_, Post> {
        self.post.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues an alert, unless the queue is full or the output ends. Waits for the lock alone, which no thread holds for
    /// long; with `go_on` also for room, as long as it says so and the output takes alerts.
    pub(super) fn push(&self, alert: Arc<Alert>, go_on: Option<&GoOn>) -> bool {
        let mut post = self.post();
        if let Some(go_on) = go_on {
            post = self.wait_for_room(post, go_on);
        }
        if post.queue.len() >= self.capacity || post.stop.is_some() {
            return false;
        }
        post.queue.push_back(alert);
        // The waiting thread was woken when the first alert came.
        let first = post.queue.len() == 1;
        drop(post);
        if first {
            self.news.notify_all();
        }
        true
    }

    fn wait_for_room<'a>(
        &self,
        mut post: MutexGuard<'a, Post>,
        go_on: &GoOn,
    ) -> MutexGuard<'a, Post> {
        let until = Instant::now() + STALLED;
        while post.queue.len() >= self.capacity && post.stop.is_none() && !post.stalled && go_on() {
            if Instant::now() >= until {
                post.stalled = true;
                break;
            }
            post = self
                .room
                .wait_timeout(post, ASK)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        post
    }

    /// Puts the alerts of a predecessor before those that wait.
    pub(super) fn put_first(&self, mut first: VecDeque<Arc<Alert>>) {
        let mut post = self.post();
        first.append(&mut post.queue);
        post.queue = first;
    }

    pub(super) fn tell(&self, outcome: Outcome) {
        self.post().outcome = Some(outcome);
        self.news.notify_all();
    }

    pub(super) fn reopen(&self) {
        self.post().reopen = true;
        self.news.notify_all();
    }

    pub(super) fn stop(&self, until: Instant) {
        self.post().stop = Some(until);
        self.news.notify_all();
    }

    pub(super) fn close(&self) {
        self.post().closed = true;
        self.news.notify_all();
    }

    /// Waits for news: for alerts only if `wanted` is not 0, for a stop only if it is not known yet.
    pub(super) fn wait(&self, wanted: usize, stopping: bool, until: Option<Instant>) -> News {
        let mut post = self.post();
        loop {
            let alerts = wanted > 0 && !post.queue.is_empty();
            if alerts || post.outcome.is_some() || post.reopen || (post.stop.is_some() && !stopping)
            {
                break;
            }
            let Some(wait) = until.map(|until| until.saturating_duration_since(Instant::now()))
            else {
                post = self.news.wait(post).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            if wait == Duration::ZERO {
                break;
            }
            post = self
                .news
                .wait_timeout(post, wait)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        let taken = wanted.min(post.queue.len());
        if taken > 0 {
            post.stalled = false;
            self.room.notify_all();
        }
        News {
            alerts: post.queue.drain(..taken).collect(),
            outcome: post.outcome.take(),
            reopen: std::mem::take(&mut post.reopen),
            stop: post.stop,
        }
    }

    /// Waits until the calling thread has ended, and returns whether it has.
    pub(super) fn wait_closed(&self, until: Instant) -> bool {
        let mut post = self.post();
        while !post.closed {
            let wait = until.saturating_duration_since(Instant::now());
            if wait == Duration::ZERO {
                return false;
            }
            post = self
                .news
                .wait_timeout(post, wait)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        true
    }

    /// The number of waiting alerts.
    pub(super) fn len(&self) -> usize {
        self.post().queue.len()
    }

    /// Takes all waiting alerts, at the end.
    pub(super) fn drain(&self) -> VecDeque<Arc<Alert>> {
        std::mem::take(&mut self.post().queue)
    }
}
