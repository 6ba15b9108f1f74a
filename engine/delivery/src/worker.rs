//! The thread of an output: takes alerts from its queue, stores them, requests calls of the plugin, and handles their
//! results. It never calls the plugin itself, so it never hangs.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use plugin_host::{Alert, Delivery, OutputHost};

use super::caller::{Caller, Job};
use super::counters::Counters;
use super::mailbox::{Mailbox, News, Outcome};
use super::notes::{Line, Notes};
use super::pace::Pace;
use super::settings::QueueSettings;
use super::spool::Spool;
use super::store::Store;

/// How long the end of a plugin may take.
const CLOSING: Duration = Duration::from_secs(1);

/// What an output passes to its successor.
#[derive(Debug, Default)]
pub(super) struct Remains {
    pub(super) spool: Option<Spool>,
    pub(super) alerts: VecDeque<Arc<Alert>>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Worker {
    settings: QueueSettings,
    mailbox: Arc<Mailbox>,
    counters: Arc<Counters>,
    caller: Caller,
    store: Store,
    /// The output is not called before this time.
    pause: Option<Instant>,
    pace: Pace,
    /// Failures after which alerts are offered again, and alerts that will not be.
    retries: Notes,
    refusals: Notes,
    /// The plugin may have buffered alerts.
    unflushed: bool,
    reopen: bool,
    stop: Option<Instant>,
    off: bool,
}

impl Worker {
    /// Starts the thread that calls the plugin.
    pub(super) fn new(
        settings: QueueSettings,
        host: OutputHost,
        spool: Option<Spool>,
        mailbox: Arc<Mailbox>,
        counters: Arc<Counters>,
    ) -> std::io::Result<Self> {
        let off = host.off().is_some();
        let caller = Caller::start(&settings.name, host, Arc::clone(&mailbox))?;
        let worker = Self {
            pace: Pace::new(
                (settings.retry_first, settings.retry_max),
                settings.deadline,
            ),
            retries: Notes::default(),
            refusals: Notes::default(),
            settings,
            mailbox,
            counters,
            caller,
            store: Store::new(spool),
            pause: None,
            unflushed: false,
            reopen: false,
            stop: None,
            off,
        };
        worker.show();
        Ok(worker)
    }

    /// Works until a stop is requested.
    pub(super) fn run(mut self) -> Remains {
        loop {
            // First, because alerts may already be there.
            let now = Instant::now();
            self.look_at_clock(now);
            if self.caller.busy.is_none() {
                self.offer(now);
            }
            // The last batch is removed from the disk while the plugin works on the next.
            let stored = self.store.tidy(&self.settings.name, &self.counters, false);
            self.show();
            if stored {
                // the disk works again: these alerts can be offered now
                continue;
            }
            if self.is_over(now) {
                return self.end();
            }
            let news = self.wait();
            self.hear(news);
        }
    }

    fn wait(&self) -> News {
        let idle = self.caller.busy.is_none();
        let callable = idle && self.pause.is_none();
        let deadline = match (self.caller.busy, self.counters.hanging.load(Relaxed)) {
            (Some(since), 0) => Some(since + self.settings.deadline),
            _ => None,
        };
        let wake = [
            deadline,
            self.pause.filter(|_| idle),
            self.store.wake(),
            self.stop,
        ];
        self.mailbox.wait(
            self.store.wants(callable),
            self.stop.is_some(),
            wake.into_iter().flatten().min(),
        )
    }

    fn hear(&mut self, news: News) {
        self.stop = news.stop;
        self.reopen |= news.reopen;
        if !news.alerts.is_empty() {
            self.store
                .put(news.alerts, &self.settings.name, &self.counters);
        }
        if let Some(outcome) = news.outcome {
            let since = self.caller.busy.take();
            if self.counters.hanging.swap(0, Relaxed) != 0 {
                tracing::warn!("output {} answers again", self.settings.name);
            }
            self.conclude(outcome, since);
        }
    }

    fn conclude(&mut self, outcome: Outcome, since: Option<Instant>) {
        let name = &self.settings.name;
        match outcome {
            Outcome::Emitted(delivery, off) => {
                self.unflushed = true;
                self.off = off;
                let done = self.account(delivery);
                if let Some(since) = since {
                    self.pace.took(done, since.elapsed());
                }
            }
            Outcome::Flushed(Ok(())) | Outcome::Reopened(Ok(())) => {}
            Outcome::Flushed(Err(error)) | Outcome::Reopened(Err(error)) => {
                tracing::warn!("output {name}: {error}");
            }
        }
    }

    /// Accounts for an answer. Returns how many alerts are done.
    fn account(&mut self, delivery: Delivery) -> usize {
        let batch = self.store.batch_len();
        match delivery {
            Delivery::Delivered => {
                self.delivered(batch);
                self.works();
                batch
            }
            Delivery::GoOn {
                delivered,
                refused,
                reason,
            } => {
                let delivered = delivered.min(batch);
                let refused = refused.min(batch - delivered);
                self.done(delivered, refused, reason);
                if refused == 0 {
                    self.works();
                }
                delivered + refused
            }
            Delivery::TryAgain { delivered, reason } => {
                let delivered = delivered.min(batch);
                self.delivered(delivered);
                Counters::add(&self.counters.retries, 1);
                let now = Instant::now();
                if let Some(line) = self.retries.add(now, 1, reason) {
                    self.tell_of_retries(&line);
                }
                self.pause = Some(now + self.pace.pause(delivered > 0));
                delivered
            }
            Delivery::GiveUp { delivered, reason } if self.off && self.store.keeps() => {
                let name = &self.settings.name;
                tracing::error!("output {name} is off, and its alerts are kept: {reason}");
                let delivered = delivered.min(batch);
                self.delivered(delivered);
                delivered
            }
            Delivery::GiveUp { delivered, reason } => {
                let delivered = delivered.min(batch);
                self.done(delivered, batch - delivered, reason);
                batch
            }
        }
    }

    /// The output delivered all that it was asked to.
    fn works(&mut self) {
        self.pace.worked();
        if self.retries.works() {
            tracing::info!("output {} delivers again", self.settings.name);
        }
    }

    /// Alerts of the batch that were delivered, and those after them that never will be.
    fn done(&mut self, delivered: usize, refused: usize, reason: String) {
        Counters::add(&self.counters.delivered, delivered);
        Counters::add(&self.counters.refused, refused);
        self.store.done(delivered + refused);
        if refused > 0
            && let Some(line) = self.refusals.add(Instant::now(), refused, reason)
        {
            self.tell_of_refusals(&line);
        }
    }

    fn tell_of_retries(&self, Line { count, reason }: &Line) {
        let name = &self.settings.name;
        match count {
            1 => tracing::warn!("output {name} asks to be tried again: {reason}"),
            _ => {
                tracing::warn!("output {name} asked {count} times to be tried again: {reason}");
            }
        }
    }

    fn tell_of_refusals(&self, Line { count, reason }: &Line) {
        let name = &self.settings.name;
        tracing::warn!("output {name} gave up on {count} alerts: {reason}");
    }

    fn delivered(&mut self, count: usize) {
        self.done(count, 0, String::new());
    }

    fn look_at_clock(&mut self, now: Instant) {
        if self.pause.is_some_and(|until| now >= until) {
            self.pause = None;
        }
        if let Some(since) = self.caller.busy
            && now >= since + self.settings.deadline
            && self.counters.hanging.swap(1, Relaxed) == 0
        {
            Counters::add(&self.counters.deadlines, 1);
            tracing::error!(
                "output {} hangs: a call has not returned for {:?}; its alerts wait",
                self.settings.name,
                self.settings.deadline
            );
        }
    }

    /// Requests the next call of the plugin, if there is work and the plugin is neither busy nor paused.
    fn offer(&mut self, now: Instant) {
        if self.reopen {
            self.reopen = false;
            self.pause = None;
            self.caller.begin(Job::Reopen, now);
            return;
        }
        if self.off && self.store.keeps() {
            return;
        }
        if self.unflushed && self.settings.flush_each {
            self.unflushed = false;
            self.caller.begin(Job::Flush, now);
            return;
        }
        if self.pause.is_some() {
            return;
        }
        let most = self.pace.batch();
        let batch = self.store.take(most, &self.settings.name, &self.counters);
        if !batch.is_empty() {
            self.caller.begin(Job::Emit(batch), now);
        } else if self.unflushed && self.mailbox.len() == 0 {
            self.unflushed = false;
            self.caller.begin(Job::Flush, now);
        }
    }

    /// Updates the counters of waiting alerts.
    fn show(&self) {
        let (waiting, _) = self.store.waiting();
        let (spooled, bytes) = self.store.on_disk();
        self.counters
            .waiting
            .store((waiting + self.mailbox.len()) as u64, Relaxed);
        self.counters.spooled.store(spooled as u64, Relaxed);
        self.counters.spool_bytes.store(bytes, Relaxed);
    }

    fn is_over(&self, now: Instant) -> bool {
        let Some(until) = self.stop else {
            return false;
        };
        // A call that has exceeded its deadline may never return.
        if now >= until || self.counters.hanging.load(Relaxed) != 0 {
            return true;
        }
        let (waiting, at_risk) = self.store.waiting();
        let idle = self.caller.busy.is_none();
        // Alerts on disk can wait for the next start of lanner if the output does not take them now.
        let put_off = self.store.keeps() && (self.pause.is_some() || self.off) && at_risk == 0;
        idle && self.mailbox.len() == 0 && (put_off || (waiting == 0 && !self.unflushed))
    }

    fn end(mut self) -> Remains {
        self.caller.end();
        if !self.mailbox.wait_closed(Instant::now() + CLOSING) {
            tracing::error!(
                "output {} does not return from a call: it is left behind",
                self.settings.name
            );
        }
        // The last call may have just ended.
        let news = self.mailbox.wait(0, true, Some(Instant::now()));
        self.hear(news);
        if let Some(line) = self.retries.rest() {
            self.tell_of_retries(&line);
        }
        if let Some(line) = self.refusals.rest() {
            self.tell_of_refusals(&line);
        }
        self.store.put(
            self.mailbox.drain().into(),
            &self.settings.name,
            &self.counters,
        );
        self.store.tidy(&self.settings.name, &self.counters, true);
        self.show();
        let (spool, alerts) = self.store.end();
        Remains {
            spool,
            alerts: alerts.into(),
        }
    }
}
