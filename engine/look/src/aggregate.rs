//! Counts, histograms and statistics.

use std::fmt::Write as _;

use driver_api::event::Event;
use fields::View;
use serde_json::{Value, json};

use super::calls::Calls;
use super::columns::{Columns, NumberField, SEPARATOR};
use super::histogram::Histogram;
use super::tally::{Tallied, Tally};

/// The most columns that a value is padded to.
const WIDEST: usize = 60;

/// Values by the fields of `--by`; without these, one value for all events.
#[derive(Debug)]
pub(crate) struct Grouped<V> {
    by: Option<Columns>,
    rows: Tally<V>,
    key: String,
}

impl<V: Tallied> Grouped<V> {
    pub(crate) fn new(by: Option<Columns>) -> Self {
        Self {
            by,
            rows: Tally::default(),
            key: String::new(),
        }
    }

    fn value(&mut self, view: &View<'_>) -> &mut V {
        if let Some(by) = &self.by {
            by.key(view, &mut self.key);
        }
        self.rows.value(&self.key)
    }

    fn names(&self) -> &[String] {
        self.by.as_ref().map_or(&[], |by| &by.names)
    }
}

/// Least, greatest, sum and number of values.
#[derive(Debug, Clone, Default)]
pub(crate) struct Statistics {
    count: u64,
    total: i128,
    least: i128,
    most: i128,
}

impl Tallied for Statistics {}

impl Statistics {
    fn add(&mut self, number: i128) {
        if self.count == 0 {
            (self.least, self.most) = (number, number);
        }
        self.count += 1;
        self.total = self.total.saturating_add(number);
        self.least = self.least.min(number);
        self.most = self.most.max(number);
    }

    #[expect(clippy::cast_precision_loss, reason = "an average for people")]
    fn average(&self) -> f64 {
        self.total as f64 / self.count.max(1) as f64
    }
}

/// What is made of the events.
#[derive(Debug)]
pub(crate) enum Aggregate {
    /// How many events there were.
    Count(Grouped<u64>),
    /// How often numbers of each power of two came.
    Hist(NumberField, Grouped<Histogram>),
    /// Least, greatest, sum and average of a number.
    Stats(NumberField, Grouped<Statistics>),
    /// Calls, errors and times.
    Calls(Calls),
}

impl Aggregate {
    /// The summary of calls.
    pub(crate) fn calls() -> Self {
        Self::Calls(Calls::new())
    }

    /// Takes an event into account.
    pub(crate) fn add(&mut self, event: &Event<'_>, view: &View<'_>) {
        match self {
            Self::Count(grouped) => *grouped.value(view) += 1,
            Self::Hist(field, grouped) => {
                if let Some(number) = field.number(view) {
                    grouped.value(view).add(number);
                }
            }
            Self::Stats(field, grouped) => {
                if let Some(number) = field.number(view) {
                    grouped.value(view).add(number);
                }
            }
            Self::Calls(calls) => calls.add(event),
        }
    }

    /// Whether nothing was added.
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Count(grouped) => grouped.rows.is_empty(),
            Self::Hist(_, grouped) => grouped.rows.is_empty(),
            Self::Stats(_, grouped) => grouped.rows.is_empty(),
            Self::Calls(calls) => calls.is_empty(),
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        match self {
            Self::Count(grouped) => grouped.rows.clear(),
            Self::Hist(_, grouped) => grouped.rows.clear(),
            Self::Stats(_, grouped) => grouped.rows.clear(),
            Self::Calls(calls) => calls.clear(),
        }
    }

    /// Appends a report with at most `top` keys, as lines.
    pub(crate) fn text(&self, out: &mut String, top: usize) {
        match self {
            Self::Count(grouped) => {
                let head = &["COUNT"];
                lines(
                    out,
                    grouped,
                    top,
                    head,
                    |count| *count,
                    |count| vec![count.to_string()],
                );
            }
            Self::Stats(_, grouped) => {
                let head = &["COUNT", "MIN", "AVERAGE", "MAX", "TOTAL"];
                lines(
                    out,
                    grouped,
                    top,
                    head,
                    |stats| stats.count,
                    |stats| {
                        vec![
                            stats.count.to_string(),
                            stats.least.to_string(),
                            format!("{:.1}", stats.average()),
                            stats.most.to_string(),
                            stats.total.to_string(),
                        ]
                    },
                );
            }
            Self::Hist(field, grouped) => {
                let rows = grouped.rows.sorted(|histogram| histogram.count);
                for (at, (key, histogram)) in rows.iter().take(top).enumerate() {
                    if at > 0 {
                        out.push('\n');
                    }
                    let _ = write!(out, "{}", field.name);
                    for (name, value) in grouped.names().iter().zip(key.split(SEPARATOR)) {
                        let _ = write!(out, "  {name}={value}");
                    }
                    out.push_str(":\n");
                    histogram.text(out);
                }
                let rest = rows
                    .iter()
                    .skip(top)
                    .map(|(_, histogram)| histogram.count)
                    .sum();
                let others = grouped.rows.others().map(|histogram| histogram.count);
                others_line(out, rows.len().saturating_sub(top), rest, others);
            }
            Self::Calls(calls) => calls.text(out, top),
        }
    }

    /// The report as JSON, with at most `top` keys.
    pub(crate) fn json(&self, top: usize) -> Value {
        match self {
            Self::Count(grouped) => json_of(
                grouped,
                "count",
                None,
                top,
                |count| *count,
                |count| json!({"count": count}),
            ),
            Self::Hist(field, grouped) => json_of(
                grouped,
                "hist",
                Some(field),
                top,
                |histogram| histogram.count,
                |histogram| json!({"count": histogram.count, "buckets": histogram.json()}),
            ),
            Self::Stats(field, grouped) => json_of(
                grouped,
                "stats",
                Some(field),
                top,
                |stats| stats.count,
                |stats| {
                    json!({
                        "count": stats.count,
                        "min": clamp(stats.least),
                        "average": stats.average(),
                        "max": clamp(stats.most),
                        "total": clamp(stats.total),
                    })
                },
            ),
            Self::Calls(calls) => calls.json(top),
        }
    }
}

/// A number as JSON can have it.
fn clamp(number: i128) -> Value {
    match (i64::try_from(number), u64::try_from(number)) {
        (Ok(number), _) => number.into(),
        (_, Ok(number)) => number.into(),
        _ if number < 0 => i64::MIN.into(),
        _ => u64::MAX.into(),
    }
}

/// Appends a table: columns of numbers, then the key.
fn lines<V: Tallied>(
    out: &mut String,
    grouped: &Grouped<V>,
    top: usize,
    head: &[&str],
    weight: fn(&V) -> u64,
    cells: impl Fn(&V) -> Vec<String>,
) {
    let rows = grouped.rows.sorted(weight);
    let shown = &rows[..rows.len().min(top)];
    let mut table: Vec<Vec<String>> = vec![
        (head.iter().map(|name| (*name).to_owned()))
            .chain(grouped.names().iter().cloned())
            .collect(),
    ];
    for (key, value) in shown {
        let mut row = cells(value);
        if grouped.by.is_some() {
            row.extend(key.split(SEPARATOR).map(str::to_owned));
        }
        table.push(row);
    }
    let columns = table[0].len();
    let mut widths = vec![0; columns];
    for row in &table {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count().min(WIDEST));
        }
    }
    for row in &table {
        for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
            if at > 0 {
                out.push_str("  ");
            }
            let _ = match at {
                at if at < head.len() => write!(out, "{cell:>width$}"),
                at if at + 1 == columns => write!(out, "{cell}"),
                _ => write!(out, "{cell:<width$}"),
            };
        }
        out.push('\n');
    }
    let rest = rows.iter().skip(top).map(|(_, value)| weight(value)).sum();
    let others = grouped.rows.others().map(weight);
    others_line(out, rows.len() - shown.len(), rest, others);
}

/// Says what a report leaves out: keys below `top`, and keys that had no room.
fn others_line(out: &mut String, keys: usize, events: u64, others: Option<u64>) {
    if keys > 0 {
        let s = if keys == 1 { "" } else { "s" };
        let _ = writeln!(out, "{events} events in {keys} other key{s}");
    }
    if let Some(events) = others {
        let _ = writeln!(out, "{events} events of keys that had no room");
    }
}

fn json_of<V: Tallied>(
    grouped: &Grouped<V>,
    kind: &str,
    field: Option<&NumberField>,
    top: usize,
    weight: fn(&V) -> u64,
    cells: impl Fn(&V) -> Value,
) -> Value {
    let rows = grouped.rows.sorted(weight);
    let shown: Vec<Value> = (rows.iter().take(top))
        .map(|(key, value)| {
            let mut row = cells(value);
            let key: Vec<&str> = match &grouped.by {
                Some(_) => key.split(SEPARATOR).collect(),
                None => Vec::new(),
            };
            row["key"] = key.into();
            row
        })
        .collect();
    let rest: u64 = rows.iter().skip(top).map(|(_, value)| weight(value)).sum();
    let without_room = grouped.rows.others().map_or(0, weight);
    json!({
        "type": kind,
        "field": field.map(|field| &field.name),
        "by": grouped.names(),
        "rows": shown,
        "others": {"keys": rows.len().saturating_sub(top), "count": rest, "without_room": without_room},
    })
}
