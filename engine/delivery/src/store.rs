//! Where the alerts of an output wait after its queue: one batch in memory, or all on disk.

use std::sync::Arc;
use std::time::{Duration, Instant};

use plugin_host::Alert;

use super::BATCH;
use super::counters::Counters;
use super::spool::Spool;

/// The most alerts in one commit.
const COMMIT: usize = 1024;
/// How long after an error lanner tries the spool again, and how often it checks the age of alerts.
const AGAIN: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(super) enum Store {
    /// The alerts from the queue that are not delivered yet, and how many of them, from the first on, the output is delivering.
    Memory(Vec<Arc<Alert>>, usize),
    Disk(Box<Disk>),
}

/// A spool, and the alerts that could not be written to it yet. While the spool is broken, the output gets them from memory.
#[derive(Debug)]
pub(super) struct Disk {
    spool: Spool,
    unwritten: Vec<Arc<Alert>>,
    /// How many of `unwritten`, from the first on, the output is delivering.
    taken: usize,
    /// It is not tried again before this time.
    broken_until: Option<Instant>,
    /// When the age of alerts is checked next.
    look: Instant,
}

impl Store {
    pub(super) fn new(spool: Option<Spool>) -> Self {
        match spool {
            None => Self::Memory(Vec::new(), 0),
            Some(spool) => Self::Disk(Box::new(Disk {
                broken_until: (!spool.is_open()).then(Instant::now),
                spool,
                unwritten: Vec::new(),
                taken: 0,
                look: Instant::now(),
            })),
        }
    }

    /// How many alerts it takes from the queue now. `idle`: the output has nothing to do.
    pub(super) fn wants(&self, idle: bool) -> usize {
        match self {
            Self::Memory(batch, _) if batch.is_empty() && idle => BATCH,
            Self::Disk(disk) if disk.unwritten.is_empty() => COMMIT,
            _ => 0,
        }
    }

    /// When it has something to do, even without news.
    pub(super) fn wake(&self) -> Option<Instant> {
        match self {
            Self::Memory(..) => None,
            Self::Disk(disk) if disk.broken_until.is_some() => disk.broken_until,
            Self::Disk(disk) if disk.spool.settings().age.is_some() && !disk.spool.is_empty() => {
                Some(disk.look)
            }
            Self::Disk(_) => None,
        }
    }

    /// Takes alerts from the queue. When this returns, they are on disk, unless the disk fails.
    pub(super) fn put(&mut self, mut alerts: Vec<Arc<Alert>>, name: &str, counters: &Counters) {
        match self {
            Self::Memory(batch, _) if batch.is_empty() => *batch = alerts,
            Self::Memory(batch, _) => batch.append(&mut alerts),
            Self::Disk(disk) => {
                disk.unwritten.append(&mut alerts);
                disk.write(name, counters);
            }
        }
    }

    /// The next batch, of `most` alerts or fewer.
    pub(super) fn take(&mut self, most: usize, name: &str, counters: &Counters) -> Vec<Arc<Alert>> {
        match self {
            Self::Memory(batch, taken) => {
                *taken = most.min(batch.len());
                batch[..*taken].to_vec()
            }
            Self::Disk(disk) => disk.take(most, name, counters),
        }
    }

    /// How many alerts the output has now.
    pub(super) fn batch_len(&self) -> usize {
        match self {
            Self::Memory(_, taken) => *taken,
            Self::Disk(disk) if disk.taken > 0 => disk.taken,
            Self::Disk(disk) => disk.spool.taken(),
        }
    }

    /// Removes this number of alerts from the start of the batch.
    pub(super) fn done(&mut self, count: usize) {
        match self {
            Self::Memory(batch, taken) => {
                let count = count.min(*taken);
                drop(batch.drain(..count));
                *taken -= count;
            }
            Self::Disk(disk) if disk.taken > 0 => {
                drop(disk.unwritten.drain(..count.min(disk.taken)));
                disk.taken = 0;
            }
            Self::Disk(disk) => disk.spool.delivered(count),
        }
    }

    /// The number of alerts that wait here, and the number of those that would be lost if lanner ended.
    pub(super) fn waiting(&self) -> (usize, usize) {
        match self {
            Self::Memory(batch, _) => (batch.len(), batch.len()),
            Self::Disk(disk) => (
                disk.spool.len() + disk.unwritten.len(),
                disk.unwritten.len(),
            ),
        }
    }

    /// Alerts on disk, and their bytes.
    pub(super) fn on_disk(&self) -> (usize, u64) {
        match self {
            Self::Memory(..) => (0, 0),
            Self::Disk(disk) => (disk.spool.len(), disk.spool.bytes()),
        }
    }

    /// Whether waiting alerts survive the end of lanner.
    pub(super) fn keeps(&self) -> bool {
        matches!(self, Self::Disk(_))
    }

    /// Writes to the disk: at the end (`now`), or if it is time. Returns whether alerts that were only in memory are on
    /// disk now.
    pub(super) fn tidy(&mut self, name: &str, counters: &Counters, now: bool) -> bool {
        match self {
            Self::Disk(disk) if now || disk.due() => {
                let unwritten = disk.unwritten.len();
                if now {
                    // The output has not said that it delivered them, so the next session delivers them.
                    disk.taken = 0;
                }
                disk.write(name, counters);
                disk.unwritten.len() < unwritten
            }
            Self::Disk(_) | Self::Memory(..) => false,
        }
    }

    /// The spool for the successor of the output, and the alerts that are not in it.
    pub(super) fn end(self) -> (Option<Spool>, Vec<Arc<Alert>>) {
        match self {
            Self::Memory(batch, _) => (None, batch),
            Self::Disk(disk) => (Some(disk.spool), disk.unwritten),
        }
    }
}

impl Disk {
    fn due(&self) -> bool {
        let now = Instant::now();
        match self.broken_until {
            Some(until) => now >= until,
            None if !self.spool.is_clean() => true,
            None => {
                now >= self.look && self.spool.settings().age.is_some() && !self.spool.is_empty()
            }
        }
    }

    /// The next batch: from the spool or, if that is broken and gives nothing, from memory. What a spool holds that cannot
    /// be read now comes later.
    fn take(&mut self, most: usize, name: &str, counters: &Counters) -> Vec<Arc<Alert>> {
        self.taken = 0;
        let was_broken = self.broken_until.is_some();
        match self.spool.take(most) {
            Ok((alerts, unreadable)) => {
                Counters::add(&counters.unreadable, unreadable);
                if !alerts.is_empty() || !was_broken {
                    return alerts;
                }
            }
            Err(error) if !was_broken => self.failed(name, &error.to_string(), counters),
            // That was reported when it broke, and `write` tries the spool again.
            Err(_) => {}
        }
        self.taken = most.min(self.unwritten.len());
        self.unwritten[..self.taken].to_vec()
    }

    fn write(&mut self, name: &str, counters: &Counters) {
        let now = Instant::now();
        if self.broken_until.is_some_and(|until| now < until) {
            return;
        }
        if self.taken > 0 {
            // The output is delivering these. If they were written now, it would get them again from the spool.
            self.broken_until = Some(now + AGAIN);
            return;
        }
        self.look = now + AGAIN;
        let result = if self.broken_until.is_some() {
            self.spool
                .reopen()
                .and_then(|()| self.spool.commit(&self.unwritten))
        } else {
            self.spool.commit(&self.unwritten)
        };
        let result = match result {
            Err(error) if error.is_full() => {
                let (for_room, result) = self.spool.commit_on_full_disk(&self.unwritten);
                Counters::add(&counters.disk_full, for_room);
                result.map(|dropped| (dropped, 0))
            }
            other => other,
        };
        match result {
            Ok((dropped, for_room)) => {
                Counters::add(&counters.disk_full, for_room);
                self.broken_until = None;
                Counters::add(&counters.stored, self.unwritten.len());
                self.unwritten.clear();
                Counters::add(&counters.evicted, dropped.evicted);
                Counters::add(&counters.expired, dropped.expired);
            }
            Err(error) => self.failed(name, &error.to_string(), counters),
        }
    }

    fn failed(&mut self, name: &str, error: &str, counters: &Counters) {
        Counters::add(&counters.spool_errors, 1);
        if self.broken_until.is_none() {
            tracing::error!("output {name}: {error}; alerts wait in memory until it works again");
        }
        self.broken_until = Some(Instant::now() + AGAIN);
    }
}
