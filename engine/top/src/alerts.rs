//! Alerts by rule, and the latest of each rule with its event. Memory is bounded by rules, alerts of a rule, and bytes.

use std::collections::VecDeque;
use std::fmt::Write as _;

use driver_api::event::Event;
use fields::template::write_value;
use plugin_host::{Alert, Priority};

use crate::count::{Count, Outcome, Passed};
use crate::text::{safe, safe_text};

/// The latest alerts of a rule that are kept.
const KEPT: usize = 50;
/// The most bytes that the kept alerts of all rules take together.
const BYTES: usize = 8 << 20;
/// The most bytes of a field's value that are kept.
const VALUE: usize = 4096;

/// An alert, as it is shown.
#[derive(Debug, Clone)]
pub(crate) struct ShownAlert {
    /// Its text.
    pub(crate) text: String,
    /// Its event, as `lanner trace` prints it.
    pub(crate) event: String,
    /// Names and values of its fields.
    pub(crate) fields: Vec<(String, String)>,
}

impl ShownAlert {
    pub(crate) fn new(alert: &Alert, who: &str, event: &Event<'_>) -> Self {
        let mut line = String::new();
        decode::text::line(&mut line, event);
        let mut shown = String::new();
        safe(&mut shown, who.as_bytes());
        shown.push_str("  ");
        safe(&mut shown, &line.as_bytes()[..line.len().min(VALUE)]);
        let mut text = String::new();
        safe(
            &mut text,
            &alert.text.as_bytes()[..alert.text.len().min(VALUE)],
        );
        let fields = alert.fields.iter().map(|(name, value)| {
            let mut written = String::new();
            write_value(&mut written, value.scalar());
            let mut value = String::new();
            safe(&mut value, &written.as_bytes()[..written.len().min(VALUE)]);
            (safe_text(name.as_bytes()), value)
        });
        Self {
            text,
            event: shown,
            fields: fields.collect(),
        }
    }

    fn bytes(&self) -> usize {
        let fields: usize = (self.fields.iter())
            .map(|(name, value)| name.len() + value.len() + size_of::<(String, String)>())
            .sum();
        size_of::<Self>() + self.text.len() + self.event.len() + fields
    }
}

/// A rule and its alerts.
#[derive(Debug, Clone)]
pub(crate) struct RuleRow {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) priority: Priority,
    pub(crate) count: Count,
    /// When it matched last, as a time of day.
    pub(crate) last: String,
    /// The latest alerts, newest first.
    pub(crate) latest: VecDeque<ShownAlert>,
}

/// Alerts by rule.
#[derive(Debug, Clone, Default)]
pub(crate) struct Alerts {
    pub(crate) rules: Vec<RuleRow>,
    /// Why there are no alerts.
    pub(crate) off: Option<String>,
    pub(crate) total: Count,
    bytes: usize,
}

impl Alerts {
    /// No alerts, for this reason.
    pub(crate) fn none(why: &str) -> Self {
        Self {
            off: Some(why.to_owned()),
            ..Self::default()
        }
    }

    /// No alerts of these rules: name, description and priority of each.
    pub(crate) fn of_rules<'a>(rules: impl Iterator<Item = (&'a str, &'a str, Priority)>) -> Self {
        let row = |(name, description, priority): (&str, &str, Priority)| RuleRow {
            name: safe_text(name.as_bytes()),
            description: safe_text(description.as_bytes()),
            priority,
            count: Count::default(),
            last: String::new(),
            latest: VecDeque::new(),
        };
        Self {
            rules: rules.map(row).collect(),
            ..Self::default()
        }
    }

    pub(crate) fn add(&mut self, rule: usize, time_ns: u64, alert: Option<ShownAlert>) {
        self.total.add(Outcome::Good);
        let Some(row) = self.rules.get_mut(rule) else {
            return;
        };
        row.count.add(Outcome::Good);
        row.last.clear();
        fields::time::clock_s(&mut row.last, time_ns);
        let Some(alert) = alert else { return };
        self.bytes += alert.bytes();
        row.latest.push_front(alert);
        if row.latest.len() > KEPT {
            self.drop_oldest(rule);
        }
        while self.bytes > BYTES {
            // the rule with the most alerts can spare one
            let most = (0..self.rules.len()).max_by_key(|at| self.rules[*at].latest.len());
            match most {
                Some(most) if !self.rules[most].latest.is_empty() => self.drop_oldest(most),
                _ => return,
            }
        }
    }

    fn drop_oldest(&mut self, rule: usize) {
        if let Some(old) = self.rules[rule].latest.pop_back() {
            self.bytes -= old.bytes();
        }
    }

    pub(crate) fn tick(&mut self, passed: Passed) {
        self.total.tick(passed);
        for rule in &mut self.rules {
            rule.count.tick(passed);
        }
    }

    /// Forgets all alerts.
    pub(crate) fn clear(&mut self) {
        self.bytes = 0;
        self.total = Count::default();
        for rule in &mut self.rules {
            rule.count = Count::default();
            rule.last.clear();
            rule.latest.clear();
        }
    }

    /// The page about an alert: the rule, the text, the event and the fields. None: it is not kept any more.
    pub(crate) fn page(&self, rule: usize, alert: usize) -> Option<Vec<String>> {
        let rule = self.rules.get(rule)?;
        let alert = rule.latest.get(alert)?;
        let mut lines = vec![
            format!("Rule      {}", rule.name),
            format!("Priority  {}", rule.priority.name()),
            format!("About     {}", rule.description),
            String::new(),
            alert.text.clone(),
            String::new(),
            "Event".to_owned(),
            format!("  {}", alert.event),
            String::new(),
            "Fields".to_owned(),
        ];
        let width = alert.fields.iter().map(|(name, _)| name.len()).max();
        for (name, value) in &alert.fields {
            let mut line = String::new();
            let _ = write!(
                line,
                "  {name:<width$}  {value}",
                width = width.unwrap_or(0)
            );
            lines.push(line);
        }
        Some(lines)
    }
}
