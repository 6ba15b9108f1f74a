//! The newest alerts, numbered, in a buffer bounded by count and bytes. Writing never waits for a reader.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use lanner_plugin::{Counter, Gauge, Host};
use tokio::sync::watch;

use crate::Settings;
use crate::convert::Item;

/// So many clients of `get` are remembered, each with how far it has read.
const MAX_READERS: usize = 1000;

/// The buffer, and who reads from it.
#[derive(Debug)]
pub(crate) struct Log {
    kept: Mutex<Kept>,
    keep: usize,
    keep_bytes: usize,
    /// Changes when there is more to read.
    news: watch::Sender<()>,
    /// Cursors begin with it: those of an earlier process are told apart.
    run: String,
    clients: AtomicUsize,
    max_clients: usize,
    clients_gauge: Gauge,
    sent: Counter,
    overtaken: Counter,
}

#[derive(Debug, Default)]
struct Kept {
    /// The number of the oldest alert that is kept, or of the next one.
    first: u64,
    items: VecDeque<Arc<Item>>,
    bytes: usize,
    closed: bool,
    /// How far the clients of `get` have read, and when they did (a count).
    readers: BTreeMap<Vec<u8>, (u64, u64)>,
    reads: u64,
}

/// What a reader gets.
#[derive(Debug)]
pub(crate) struct Read {
    /// Alerts that it missed.
    pub(crate) lost: u64,
    /// The number of the first item.
    pub(crate) first: u64,
    pub(crate) items: Vec<Arc<Item>>,
    /// There will be no more than this.
    pub(crate) last: bool,
}

/// One client's place among those that follow.
#[derive(Debug)]
pub(crate) struct Client(Arc<Log>);

impl Log {
    pub(crate) fn new(host: Host, settings: &Settings) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default().as_nanos();
        Self {
            kept: Mutex::default(),
            keep: settings.keep,
            keep_bytes: settings.keep_mb.saturating_mul(1 << 20),
            news: watch::Sender::new(()),
            run: format!("{now:x}"),
            clients: AtomicUsize::new(0),
            max_clients: settings.max_clients,
            clients_gauge: host.gauge("clients", "Clients that follow.", &[]),
            sent: host.counter("sent_total", "Alerts sent, to each client.", &[]),
            overtaken: host.counter(
                "overtaken_total",
                "Alerts that a client missed as it read too slowly, over all clients.",
                &[],
            ),
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn append(&self, items: impl Iterator<Item = Item>) {
        let mut kept = self.kept();
        for item in items {
            kept.bytes += item.bytes;
            kept.items.push_back(Arc::new(item));
            // One alert stays, however large it is.
            while kept.items.len() > self.keep
                || (kept.bytes > self.keep_bytes && kept.items.len() > 1)
            {
                if let Some(oldest) = kept.items.pop_front() {
                    kept.bytes -= oldest.bytes;
                    kept.first += 1;
                }
            }
        }
        drop(kept);
        self.news.send_replace(());
    }

    /// Lets everybody read to the end, and no further.
    pub(crate) fn close(&self) {
        self.kept().closed = true;
        self.news.send_replace(());
    }

    pub(crate) fn news(&self) -> watch::Receiver<()> {
        self.news.subscribe()
    }

    /// Some of what stands at `next` and after it.
    pub(crate) fn read(&self, next: u64, most: usize) -> Read {
        let kept = self.kept();
        let first = next.max(kept.first);
        let skip = usize::try_from(first - kept.first).unwrap_or(usize::MAX);
        let items: Vec<_> = kept.items.iter().skip(skip).take(most).cloned().collect();
        let lost = first - next;
        let last = kept.closed && skip.saturating_add(items.len()) >= kept.items.len();
        drop(kept);
        self.overtaken.add(lost);
        self.sent.add(items.len() as u64);
        Read {
            lost,
            first,
            items,
            last,
        }
    }

    /// The number of the oldest alert that is kept.
    pub(crate) fn oldest(&self) -> u64 {
        self.kept().first
    }

    /// The number that the next alert will have.
    pub(crate) fn end(&self) -> u64 {
        let kept = self.kept();
        kept.first + kept.items.len() as u64
    }

    /// Where a client of `get` is to go on; it is remembered that it has read everything up to now.
    pub(crate) fn take_turn(&self, who: Vec<u8>) -> u64 {
        let mut kept = self.kept();
        kept.reads += 1;
        let end = kept.first + kept.items.len() as u64;
        let turn = (end, kept.reads);
        let before = kept.readers.insert(who, turn).map(|(next, _)| next);
        if kept.readers.len() > MAX_READERS {
            let oldest = kept.readers.iter().min_by_key(|(_, (_, turn))| *turn);
            if let Some(oldest) = oldest.map(|(who, _)| who.clone()) {
                kept.readers.remove(&oldest);
            }
        }
        before.unwrap_or(kept.first)
    }

    /// The cursor after the alert with this number.
    pub(crate) fn cursor(&self, number: u64) -> String {
        format!("{}-{number}", self.run)
    }

    /// The number after a cursor. `Some(Err)`: it is of another process.
    pub(crate) fn after(&self, cursor: &str) -> Option<Result<u64, ()>> {
        let (run, number) = cursor.split_once('-')?;
        let number: u64 = number.parse().ok()?;
        u64::from_str_radix(run, 16).ok()?;
        if run != self.run {
            return Some(Err(()));
        }
        // One from the future is none.
        let next = number.checked_add(1)?;
        (next <= self.end()).then_some(Ok(next))
    }

    /// Lets a client follow, unless there are too many.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Client> {
        let before = self.clients.fetch_add(1, Ordering::Relaxed);
        let client = Client(Arc::clone(self));
        client.count(before + 1);
        (before < self.max_clients).then_some(client)
    }
}

impl Client {
    pub(crate) fn log(&self) -> &Log {
        &self.0
    }

    fn count(&self, clients: usize) {
        let clients = u32::try_from(clients).unwrap_or(u32::MAX);
        self.0.clients_gauge.set(f64::from(clients));
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let before = self.0.clients.fetch_sub(1, Ordering::Relaxed);
        self.count(before - 1);
    }
}
