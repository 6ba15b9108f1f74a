//! The facts that the page shows, as JSON. The numbers are those of /metrics.

use std::collections::BTreeMap;

use delivery::alert::json;
use delivery::{Account, Feed, Latest};
use driver_api::event::Loss;
use fields::time;
use plugin_host::{Alert, OwnedValue};
use serde::Serialize;
use serde_json::Value as Json;

use super::Sources;
use super::history::Look;
use crate::counters::WorkerStatus;
use crate::telemetry::{Telemetry, shown, usage};

/// How lanner is, its driver, its outputs and its rules.
#[derive(Debug, Serialize)]
pub(super) struct State {
    /// Names this run of lanner. In another run, numbers start at 1 again.
    session: String,
    version: &'static str,
    kernel: String,
    /// Seconds since the start.
    seconds: u64,
    /// What is wrong, if anything.
    problem: Option<&'static str>,
    driver: Driver,
    events: Events,
    /// The number of the latest alert.
    alerts: u64,
    reloads: u64,
    reloads_failed: u64,
    rules: Vec<Rule>,
    rule_plugins: Vec<RulePlugin>,
    outputs: Vec<Output>,
    usage: Option<Usage>,
    looks: Vec<Look>,
}

/// The driver that captures.
#[derive(Debug, Serialize)]
struct Driver {
    name: String,
    reason: String,
    gaps: Vec<String>,
}

/// Events and buffers.
#[derive(Debug, Serialize)]
struct Events {
    captured: u64,
    lost: BTreeMap<&'static str, u64>,
    malformed: u64,
    buffer_used: u64,
    buffer_size: u64,
    processes_living: u64,
    processes_known: u64,
}

/// A rule and its counts.
#[derive(Debug, Serialize)]
struct Rule {
    name: String,
    priority: &'static str,
    /// As in Falco, 0 is the most serious.
    severity: u32,
    source: String,
    tags: Vec<String>,
    matches: u64,
    /// Alerts that were left out by a rate, and as duplicates.
    limited: u64,
    duplicates: u64,
}

/// A rule plugin with a thread of its own.
#[derive(Debug, Serialize)]
struct RulePlugin {
    name: String,
    waiting: u64,
    lost: u64,
    timeouts: u64,
    is_hanging: bool,
    is_off: bool,
}

/// An output and its queue.
#[derive(Debug, Serialize)]
struct Output {
    name: String,
    capacity: usize,
    waiting: u64,
    offered: u64,
    delivered: u64,
    limited: u64,
    retries: u64,
    timeouts: u64,
    is_hanging: bool,
    lost: u64,
    lost_by: BTreeMap<&'static str, u64>,
    spooled: u64,
    spool_bytes: u64,
    spool_errors: u64,
}

/// What lanner itself uses.
#[derive(Debug, Serialize)]
struct Usage {
    cpu_seconds: f64,
    resident_bytes: u64,
    threads: u64,
}

/// Alerts after a number.
#[derive(Debug, Serialize)]
pub(super) struct Alerts {
    session: String,
    /// Alerts that this reader missed.
    missed: u64,
    /// What to ask for next.
    last: u64,
    alerts: Vec<Row>,
}

/// One alert.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    number: u64,
    /// In UTC, with nanoseconds.
    time: String,
    rule: String,
    priority: &'static str,
    severity: u32,
    source: String,
    tags: Vec<String>,
    /// The text, without time and priority.
    text: String,
    process: Option<String>,
    pid: Option<String>,
    container: Option<String>,
    container_name: Option<String>,
    fields: BTreeMap<String, Json>,
}

/// The state now, and the looks that the page does not have yet.
pub(super) fn state(sources: &Sources, feed: &Feed, looks: Vec<Look>) -> State {
    let telemetry = &sources.telemetry;
    let numbers = telemetry.numbers();
    let driver = telemetry.driver();
    let board = telemetry.board();
    let lost = Loss::ALL.iter().zip(numbers.lost);
    let rules = board
        .rules()
        .map(|(rule, [matches, limited, duplicates])| Rule {
            name: rule.name.clone(),
            priority: rule.priority.name(),
            severity: rule.priority as u32,
            source: rule.source.clone(),
            tags: rule.tags.clone(),
            matches,
            limited,
            duplicates,
        });
    State {
        session: session(telemetry),
        version: env!("CARGO_PKG_VERSION"),
        kernel: usage::kernel_release(),
        seconds: numbers.seconds,
        problem: telemetry.problem(),
        driver: Driver {
            name: driver.name,
            reason: driver.reason,
            gaps: driver.gaps,
        },
        events: Events {
            captured: numbers.captured,
            lost: lost.map(|(cause, count)| (cause.name(), count)).collect(),
            malformed: numbers.malformed,
            buffer_used: numbers.pending,
            buffer_size: numbers.capacity,
            processes_living: numbers.living,
            processes_known: numbers.processes,
        },
        alerts: feed.last(),
        reloads: numbers.reloads,
        reloads_failed: numbers.reloads_failed,
        rules: rules.collect(),
        rule_plugins: (telemetry.workers().iter())
            .map(|worker| rule_plugin(worker))
            .collect(),
        outputs: shown::accounts(&sources.outputs)
            .into_iter()
            .map(output)
            .collect(),
        usage: usage::read().map(|usage| Usage {
            cpu_seconds: usage.cpu_seconds,
            resident_bytes: usage.resident,
            threads: usage.threads,
        }),
        looks,
    }
}

/// What tells this run of lanner from another.
fn session(telemetry: &Telemetry) -> String {
    telemetry.numbers().started_ns.to_string()
}

fn rule_plugin(worker: &WorkerStatus) -> RulePlugin {
    RulePlugin {
        name: worker.plugin().to_owned(),
        waiting: worker.waiting(),
        lost: worker.lost(),
        timeouts: worker.timeouts(),
        is_hanging: worker.is_hanging(),
        is_off: worker.is_off(),
    }
}

fn output(account: Account) -> Output {
    let counts = account.counts;
    Output {
        name: account.output,
        capacity: account.capacity,
        waiting: counts.waiting,
        offered: counts.offered,
        delivered: counts.delivered,
        limited: counts.limited,
        retries: counts.retries,
        timeouts: counts.deadlines,
        is_hanging: counts.hanging > 0,
        lost: counts.lost(),
        lost_by: counts.losses().into_iter().collect(),
        spooled: counts.spooled,
        spool_bytes: counts.spool_bytes,
        spool_errors: counts.spool_errors,
    }
}

/// The answer to a reader of alerts.
pub(super) fn alerts(telemetry: &Telemetry, latest: &Latest) -> Alerts {
    let rows = latest.alerts.iter();
    Alerts {
        session: session(telemetry),
        missed: latest.missed,
        last: latest.last,
        alerts: rows.map(|(number, alert)| row(*number, alert)).collect(),
    }
}

/// A number that a browser would round, as a text.
fn exact(value: Json) -> Json {
    let is_exact = |number: &serde_json::Number| {
        let size = number
            .as_u64()
            .or_else(|| number.as_i64().map(i64::unsigned_abs));
        size.is_none_or(|size| size <= 1 << 53)
    };
    match value {
        Json::Number(number) if !is_exact(&number) => number.to_string().into(),
        other => other,
    }
}

fn row(number: u64, alert: &Alert) -> Row {
    let mut at = String::new();
    time::iso8601(&mut at, alert.time_ns, "Z");
    let mark = format!(": {} ", alert.priority.name());
    let text = alert
        .text
        .split_once(&mark)
        .map_or(&*alert.text, |(_, text)| text);
    let field = |name: &str| {
        let all = alert.context.iter().chain(&alert.fields);
        let mut of_name = all.filter(|(known, _)| known == name);
        let (_, value) = of_name.find(|(_, value)| *value != OwnedValue::None)?;
        Some(match json(value) {
            Json::String(text) => text,
            other => other.to_string(),
        })
    };
    Row {
        number,
        time: at,
        rule: alert.rule.clone(),
        priority: alert.priority.name(),
        severity: alert.priority as u32,
        source: alert.source.clone(),
        tags: alert.tags.clone(),
        text: text.to_owned(),
        process: field("proc.name"),
        pid: field("proc.pid"),
        container: field("container.id"),
        container_name: field("container.name"),
        fields: (alert.fields.iter())
            .map(|(name, value)| (name.clone(), exact(json(value))))
            .collect(),
    }
}
