//! Alerts about containers whose runtime has not answered yet. The event's fields are kept at once. The alert is made when
//! the runtime answers or the wait is over; events are not held up.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{AlertFormat, AlertRule, Kept};
use fields::{Fields, Scratch, View};
use inspect::Container;
use plugin_host::Alert;

/// The longest time that an alert waits for a runtime's answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// Alerts that wait at the same time. Beyond these, alerts are made without the answer.
const WAITING: usize = 1024;

/// Alerts that wait for what a runtime says.
#[derive(Debug, Default)]
pub struct LateAlerts {
    waiting: VecDeque<Waiting>,
    scratch: Scratch,
}

#[derive(Debug)]
struct Waiting {
    rule: usize,
    until: Instant,
    container: Arc<Container>,
    kept: Kept,
}

impl LateAlerts {
    /// Keeps what an alert needs if its text tells something of a container whose runtime has not answered. False: the
    /// alert can be made at once.
    /// `file` has the events around the alert.
    pub fn keep(
        &mut self,
        at: usize,
        rule: &AlertRule,
        fields: &Fields,
        view: &View<'_>,
        file: Option<&str>,
    ) -> bool {
        let Some(container) = view
            .container()
            .filter(|container| !container.is_answered())
        else {
            return false;
        };
        let mut waits = false;
        rule.output_ids(&mut |id| waits |= fields.is_late(id));
        if !waits || self.waiting.len() >= WAITING {
            return false;
        }
        let mut ids = Vec::new();
        rule.ids(&mut |id| ids.push(id));
        ids.sort_unstable();
        ids.dedup();
        self.waiting.push_back(Waiting {
            rule: at,
            until: Instant::now() + PATIENCE,
            container: container.clone(),
            kept: Kept::of(view, &ids).with_file(file),
        });
        true
    }

    /// Makes the alerts for which the answer has come, and those that have waited too long. Alerts about one container come
    /// in the order of their events.
    pub fn ready(
        &mut self,
        rules: &[AlertRule],
        fields: &Fields,
        format: &AlertFormat,
        sink: &mut dyn FnMut(usize, Alert),
    ) {
        if self.waiting.is_empty() {
            return;
        }
        let now = Instant::now();
        let mut rest = VecDeque::with_capacity(self.waiting.len());
        for mut alert in std::mem::take(&mut self.waiting) {
            if !alert.container.is_answered() && now < alert.until {
                rest.push_back(alert);
                continue;
            }
            for (id, value) in alert.kept.values_mut() {
                if fields.is_late(id) {
                    *value = fields.late(id, &alert.container, &self.scratch).to_owned();
                }
            }
            self.scratch.reset();
            if let Some(rule) = rules.get(alert.rule) {
                sink(alert.rule, format.alert_of_kept(rule, &alert.kept));
            }
        }
        self.waiting = rest;
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How long it takes at most until no alert waits any more. None: no alert waits.
    #[must_use]
    pub fn patience(&self) -> Option<Duration> {
        let last = self.waiting.iter().map(|alert| alert.until).max()?;
        Some(last.saturating_duration_since(Instant::now()))
    }
}
