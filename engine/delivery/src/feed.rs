//! The latest alerts, for those who look at them as they come. Alerts are kept once, however many look. A reader asks for
//! what came after the alert that it saw last. A reader that is too slow misses alerts, and learns how many.
//!
//! Adding an alert takes a short lock and wakes no reader, so the event path never waits for a reader.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use plugin_host::Alert;

/// At most this many alerts are kept,
const ALERTS: usize = 2048;
/// and about this many bytes.
const BYTES: usize = 8 << 20;

/// See the module.
#[derive(Debug, Default)]
pub struct Feed {
    /// The number of the latest alert. The first is 1.
    last: AtomicU64,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    alerts: VecDeque<Arc<Alert>>,
    bytes: usize,
    last: u64,
}

/// What a reader gets.
#[derive(Debug, Clone, PartialEq)]
pub struct Latest {
    /// Alerts that the reader missed.
    pub missed: u64,
    /// The alerts, each with its number.
    pub alerts: Vec<(u64, Arc<Alert>)>,
    /// What the reader has to ask for next: the number of the last of these alerts.
    pub last: u64,
}

impl Feed {
    /// Adds an alert. The oldest ones go if there is no room.
    pub fn push(&self, alert: &Arc<Alert>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.bytes += size(alert);
        kept.alerts.push_back(Arc::clone(alert));
        kept.last += 1;
        while kept.alerts.len() > ALERTS || (kept.bytes > BYTES && kept.alerts.len() > 1) {
            if let Some(oldest) = kept.alerts.pop_front() {
                kept.bytes -= size(&oldest);
            }
        }
        self.last.store(kept.last, Ordering::Relaxed);
    }

    /// The number of the latest alert; 0: there was none.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.last.load(Ordering::Relaxed)
    }

    /// The alerts after number `after`, the oldest first: at most `most`, and about `bytes`, but at least one if there is
    /// one. Without `after`: the latest.
    #[must_use]
    pub fn since(&self, after: Option<u64>, most: usize, bytes: usize) -> Latest {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        // the number of the alert before the first that is kept
        let before = kept.last - kept.alerts.len() as u64;
        let from = match after {
            Some(after) => after.min(kept.last),
            None => kept.last.saturating_sub(most as u64).max(before),
        };
        let first = from.max(before);
        let mut room = bytes;
        let alerts = (kept.alerts.iter())
            .skip(usize::try_from(first - before).unwrap_or(usize::MAX))
            .take(most)
            .enumerate()
            .take_while(|(at, alert)| {
                let fits = *at == 0 || size(alert) <= room;
                room = room.saturating_sub(size(alert));
                fits
            });
        let alerts: Vec<_> = alerts
            .map(|(at, alert)| (first + 1 + at as u64, Arc::clone(alert)))
            .collect();
        Latest {
            missed: first - from,
            last: alerts.last().map_or(first, |(number, _)| *number),
            alerts,
        }
    }
}

/// The bytes that an alert takes, roughly: its fields are about as large as its text and its JSON.
fn size(alert: &Alert) -> usize {
    size_of::<Alert>() + 2 * (alert.text.len() + alert.json.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use plugin_host::Priority;

    fn alert(text: &str) -> Arc<Alert> {
        Arc::new(Alert {
            time_ns: 1,
            rule: "r".to_owned(),
            priority: Priority::Notice,
            source: "syscall".to_owned(),
            hostname: "box".to_owned(),
            tags: Vec::new(),
            text: text.to_owned(),
            json: String::new(),
            fields: Vec::new(),
            context: Vec::new(),
        })
    }

    fn numbers(latest: &Latest) -> Vec<u64> {
        latest.alerts.iter().map(|(number, _)| *number).collect()
    }

    #[test]
    fn a_reader_gets_each_alert_once_and_in_order() {
        let feed = Feed::default();
        assert_eq!(feed.since(None, 10, BYTES).last, 0);
        for number in 1..=5 {
            feed.push(&alert(&number.to_string()));
        }
        let first = feed.since(Some(0), 3, BYTES);
        assert_eq!(numbers(&first), [1, 2, 3]);
        assert_eq!(first.alerts[2].1.text, "3");
        let rest = feed.since(Some(first.last), 3, BYTES);
        assert_eq!((numbers(&rest), rest.missed), (vec![4, 5], 0));
        let none = feed.since(Some(rest.last), 3, BYTES);
        assert_eq!((none.alerts.len(), none.last), (0, 5));
        assert_eq!(numbers(&feed.since(None, 2, BYTES)), [4, 5]);
        // a number that was never given
        assert_eq!(feed.since(Some(99), 2, BYTES).last, 5);
    }

    #[test]
    fn a_slow_reader_learns_how_many_alerts_it_missed() {
        let feed = Feed::default();
        let more = 10;
        for _ in 0..ALERTS + more {
            feed.push(&alert("x"));
        }
        let late = feed.since(Some(3), 1, BYTES);
        assert_eq!((late.missed, numbers(&late)), (7, vec![more as u64 + 1]));
        assert_eq!(
            feed.since(None, ALERTS, BYTES).missed,
            0,
            "it asked for none of them"
        );
        assert_eq!(feed.last(), (ALERTS + more) as u64);
    }

    #[test]
    fn large_alerts_take_the_place_of_many_and_each_fits_alone() {
        let feed = Feed::default();
        let large = alert(&"x".repeat(BYTES / 8));
        for _ in 0..20 {
            feed.push(&large);
        }
        let kept = feed.since(Some(0), 100, usize::MAX);
        assert!(kept.alerts.len() < 5, "{}", kept.alerts.len());
        assert_eq!(kept.missed + kept.alerts.len() as u64, 20);
        assert_eq!(feed.since(Some(0), 100, 1).alerts.len(), 1);
        feed.push(&alert(&"x".repeat(BYTES)));
        assert_eq!(numbers(&feed.since(Some(0), 100, 1)), [21]);
    }
}
