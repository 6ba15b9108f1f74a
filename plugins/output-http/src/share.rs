//! How many alerts go into the next request.

use lanner_plugin::{InvalidSetting, at_least};

use crate::{Batch, Settings};

/// See the module. The limits of the settings hold always; after a refusal, requests are smaller for a while.
#[derive(Debug)]
pub(crate) struct Share {
    most: usize,
    bytes: usize,
    /// How many alerts at the moment.
    now: usize,
}

impl Share {
    pub(crate) fn new(settings: &Settings) -> Result<Self, InvalidSetting> {
        at_least("batch_alerts", settings.batch_alerts, 1)?;
        at_least("batch_bytes", settings.batch_bytes, 1)?;
        let most = match settings.batch {
            Batch::None => 1,
            Batch::Array | Batch::Lines => settings.batch_alerts,
        };
        Ok(Self {
            most,
            bytes: settings.batch_bytes,
            now: most,
        })
    }

    /// How many of these alerts the next request has: at least one.
    pub(crate) fn of(&self, alerts: &[&str]) -> usize {
        let mut bytes = 0_usize;
        let fit = alerts.iter().take(self.now).take_while(|alert| {
            // Each has a comma or a line break.
            bytes = bytes.saturating_add(alert.len() + 1);
            bytes <= self.bytes
        });
        fit.count().max(1)
    }

    /// The receiver took a request. Its limit may be near, so larger requests are tried slowly.
    pub(crate) fn accepted(&mut self) {
        self.now = (self.now + 1 + self.now / 8).min(self.most);
    }

    /// The receiver refused a request with this number of alerts.
    pub(crate) fn halve(&mut self, count: usize) {
        self.now = (count / 2).max(1);
    }

    /// The alert that the receiver refused is found. Those after it have done nothing wrong.
    pub(crate) fn found(&mut self) {
        self.now = self.most;
    }
}
