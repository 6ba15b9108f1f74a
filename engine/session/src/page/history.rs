//! The counters of the last minutes, for plots.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use crate::telemetry::now_ns;

/// At most this many looks are kept: ten minutes at one a second.
const LOOKS: usize = 600;

/// The counters at one moment. They are totals, from which the page makes rates.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Look {
    /// Counts looks. The first is 1.
    pub(super) number: u64,
    /// Milliseconds since the epoch.
    time_ms: u64,
    /// Events captured.
    captured: u64,
    /// Events lost.
    lost: u64,
    /// Alerts.
    alerts: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct History(Mutex<VecDeque<Look>>);

impl History {
    pub(super) fn add(&self, captured: u64, lost: u64, alerts: u64) {
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = looks.back().map_or(0, |look| look.number) + 1;
        if looks.len() == LOOKS {
            looks.pop_front();
        }
        looks.push_back(Look {
            number,
            time_ms: now_ns() / 1_000_000,
            captured,
            lost,
            alerts,
        });
    }

    /// The looks after this number.
    pub(super) fn since(&self, after: u64) -> Vec<Look> {
        let looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let new = looks.iter().filter(|look| look.number > after);
        new.copied().collect()
    }
}
