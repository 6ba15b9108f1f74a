//! How a rule plugin beside the event path is: written by the event path and the plugin's thread, looked at once a
//! second by the monitor.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// See the module.
#[derive(Debug)]
pub struct WorkerStatus {
    plugin: String,
    deadline: Duration,
    /// Events that were queued.
    offered: AtomicU64,
    /// How many of the queued events the plugin has handled.
    done: AtomicU64,
    lost: AtomicU64,
    timeouts: AtomicU64,
    hanging: AtomicBool,
    off: OnceLock<String>,
    watched: Mutex<Watched>,
}

/// What was seen last.
#[derive(Debug)]
struct Watched {
    done: u64,
    since: Instant,
    told_off: bool,
}

/// What a look has found.
#[derive(Debug, PartialEq, Eq)]
pub enum Sight {
    /// A call takes longer than the deadline, since this look.
    Hangs,
    /// It is switched off, and why.
    Off(String),
}

impl WorkerStatus {
    pub(crate) fn new(plugin: &str, deadline: Duration) -> Self {
        Self {
            plugin: plugin.to_owned(),
            deadline,
            offered: AtomicU64::new(0),
            done: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            timeouts: AtomicU64::new(0),
            hanging: AtomicBool::new(false),
            off: OnceLock::new(),
            watched: Mutex::new(Watched {
                done: 0,
                since: Instant::now(),
                told_off: false,
            }),
        }
    }

    /// The plugin's name.
    #[must_use]
    pub fn plugin(&self) -> &str {
        &self.plugin
    }

    /// Continues from the counts of another worker of the same plugin.
    pub fn follow(&self, before: &Self) {
        self.lost.fetch_add(before.lost(), Relaxed);
        self.timeouts.fetch_add(before.timeouts(), Relaxed);
    }

    /// Events that wait, and the one that the plugin looks at.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        // the plugin's thread may be ahead of what is seen here
        let done = self.done.load(Relaxed);
        self.offered.load(Relaxed).saturating_sub(done)
    }

    /// Events that it did not see: there was no room for them, or it was switched off.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    /// How often a call has taken longer than the deadline.
    #[must_use]
    pub fn timeouts(&self) -> u64 {
        self.timeouts.load(Relaxed)
    }

    /// Whether a call takes longer than the deadline now.
    #[must_use]
    pub fn is_hanging(&self) -> bool {
        self.hanging.load(Relaxed)
    }

    /// Whether it is switched off, as it panicked.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.off.get().is_some()
    }

    pub(crate) fn offered(&self) {
        // one thread writes it
        self.offered.store(self.offered.load(Relaxed) + 1, Relaxed);
    }

    pub(crate) fn done(&self) {
        // as above
        self.done.store(self.done.load(Relaxed) + 1, Relaxed);
    }

    pub(crate) fn lose(&self, count: u64) {
        self.lost.fetch_add(count, Relaxed);
    }

    pub(crate) fn switch_off(&self, reason: &str) {
        // it is switched off once
        let _ = self.off.set(reason.to_owned());
    }

    /// Looks whether it goes on. To be called about once a second.
    pub fn look(&self, now: Instant) -> Option<Sight> {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reason) = self.off.get() {
            let told = std::mem::replace(&mut watched.told_off, true);
            self.hanging.store(false, Relaxed);
            return (!told).then(|| Sight::Off(reason.clone()));
        }
        let done = self.done.load(Relaxed);
        if done != watched.done || self.waiting() == 0 {
            watched.done = done;
            watched.since = now;
            if self.hanging.swap(false, Relaxed) {
                tracing::warn!("rule plugin `{}` answers again", self.plugin);
            }
            return None;
        }
        let hangs = now.saturating_duration_since(watched.since) >= self.deadline;
        if !hangs || self.hanging.swap(true, Relaxed) {
            return None;
        }
        self.timeouts.fetch_add(1, Relaxed);
        Some(Sight::Hangs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_takes_too_long_is_told_once_and_so_is_the_end() {
        let second = Duration::from_secs(1);
        let status = WorkerStatus::new("p", 3 * second);
        let start = Instant::now();
        assert_eq!(status.look(start + 100 * second), None, "nothing to do");
        status.offered();
        status.offered();
        status.done();
        assert_eq!(status.look(start + 101 * second), None, "it has gone on");
        assert_eq!(status.look(start + 103 * second), None);
        assert_eq!(status.look(start + 104 * second), Some(Sight::Hangs));
        assert_eq!(status.look(start + 105 * second), None, "told");
        assert!(status.is_hanging());
        status.done();
        assert_eq!(status.look(start + 106 * second), None);
        assert!(!status.is_hanging());
        assert_eq!((status.timeouts(), status.waiting()), (1, 0));
        status.switch_off("boom");
        let off = Some(Sight::Off("boom".to_owned()));
        assert_eq!(status.look(start + 107 * second), off);
        assert_eq!(status.look(start + 108 * second), None, "told");
    }
}
