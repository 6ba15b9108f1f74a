//! A buffer with the newest alerts. Alerts are numbered. The buffer is bounded by count and bytes, and writing to it never
//! waits for a reader.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use lanner_plugin::{Counter, Gauge, Host};
use tokio::sync::watch;

use crate::Settings;
use crate::convert::Item;

/// For how many clients of `get` the log remembers how far each has read.
const MAX_READERS: usize = 1000;

/// The buffer, and the clients that read from it.
#[derive(Debug)]
pub(crate) struct Log {
    kept: Mutex<Kept>,
    keep: usize,
    keep_bytes: usize,
    /// Changes when there is more to read.
    news: watch::Sender<()>,
    /// All cursors begin with this text. So a cursor of an earlier process is recognised.
    run: String,
    clients: AtomicUsize,
    max_clients: usize,
    clients_gauge: Gauge,
    sent: Counter,
    overtaken: Counter,
}

#[derive(Debug, Default)]
struct Kept {
    /// The number of the oldest alert in the buffer. If the buffer is empty, that of the next alert.
    first: u64,
    items: VecDeque<Arc<Item>>,
    bytes: usize,
    closed: bool,
    /// The clients of `get`.
    readers: BTreeMap<Vec<u8>, Reader>,
    /// How often clients have called `get`.
    reads: u64,
}

/// A client of `get`.
#[derive(Debug)]
struct Reader {
    /// The number of the next alert for it.
    next: u64,
    /// The value of `reads` at its last call.
    last_read: u64,
}

/// Where to go on after a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cursor {
    /// With the alert of this number.
    Next(u64),
    /// The cursor is of another process of lanner, which numbered its own alerts.
    OtherProcess,
}

/// Alerts from the buffer.
#[derive(Debug)]
pub(crate) struct Read {
    /// How many alerts the reader missed.
    pub(crate) lost: u64,
    /// The number of the first item.
    pub(crate) first: u64,
    pub(crate) items: Vec<Arc<Item>>,
    /// Whether no more alerts will follow these.
    pub(crate) last: bool,
}

/// A client that is connected to a stream. Counts as one of `max_clients` until it is dropped.
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
            clients_gauge: host.gauge("clients", "Clients that are connected to a stream.", &[]),
            sent: host.counter(
                "sent_total",
                "Alerts that were sent, counted for each client.",
                &[],
            ),
            overtaken: host.counter(
                "overtaken_total",
                "Alerts that clients missed because they read too slowly.",
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
            // One alert stays, even if it is larger than the limit.
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

    /// Ends the streams of all clients when they have read the last alert.
    pub(crate) fn close(&self) {
        self.kept().closed = true;
        self.news.send_replace(());
    }

    /// A receiver that changes when there is more to read.
    pub(crate) fn news(&self) -> watch::Receiver<()> {
        self.news.subscribe()
    }

    /// At most `limit` alerts, beginning with the number `next`, or with the oldest one that is still kept.
    pub(crate) fn read(&self, next: u64, limit: usize) -> Read {
        let kept = self.kept();
        let first = next.max(kept.first);
        let skip = usize::try_from(first - kept.first).unwrap_or(usize::MAX);
        let items: Vec<_> = kept.items.iter().skip(skip).take(limit).cloned().collect();
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

    /// The number of the first alert that a client of `get` has not received yet. The log remembers that the client
    /// receives all alerts up to now, and forgets the client that has not called for the longest time if there are too
    /// many.
    pub(crate) fn advance_reader(&self, client: Vec<u8>) -> u64 {
        let mut kept = self.kept();
        kept.reads += 1;
        let reader = Reader {
            next: kept.first + kept.items.len() as u64,
            last_read: kept.reads,
        };
        let before = kept.readers.insert(client, reader);
        if kept.readers.len() > MAX_READERS {
            let oldest = kept
                .readers
                .iter()
                .min_by_key(|(_, reader)| reader.last_read);
            if let Some(oldest) = oldest.map(|(client, _)| client.clone()) {
                kept.readers.remove(&oldest);
            }
        }
        before.map_or(kept.first, |reader| reader.next)
    }

    /// The cursor after the alert with this number.
    pub(crate) fn cursor(&self, number: u64) -> String {
        format!("{}-{number}", self.run)
    }

    /// Where to go on after a cursor. `None`: the text is no cursor.
    pub(crate) fn after(&self, cursor: &str) -> Option<Cursor> {
        let (run, number) = cursor.split_once('-')?;
        let number: u64 = number.parse().ok()?;
        u64::from_str_radix(run, 16).ok()?;
        if run != self.run {
            return Some(Cursor::OtherProcess);
        }
        // There cannot be a cursor of an alert that has not come yet.
        let next = number.checked_add(1)?;
        (next <= self.end()).then_some(Cursor::Next(next))
    }

    /// Admits a client. `None`: there are too many.
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
