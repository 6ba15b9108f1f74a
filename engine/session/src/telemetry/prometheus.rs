//! The text of /metrics: Prometheus' format 0.0.4. A metric with the meaning of one of Falco's has its name; the others
//! begin with `lanner_`.
//!
//! The page is written here and not by the crate prometheus-client, because that crate writes OpenMetrics: it decides on
//! suffixes and labels itself, so Falco's names could not all be kept.

use std::collections::BTreeSet;
use std::fmt::{Display, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use driver_api::event::Loss;

use super::shown::Shown;
use super::{Telemetry, usage};
use crate::counters::WorkerStatus;
use delivery::Account;
use plugin_host::metrics::{self, MetricKind};

#[derive(Default)]
struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (at, (label, text)) in labels.iter().enumerate() {
            let open = if at == 0 { '{' } else { ',' };
            let text = text
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n");
            let _ = write!(self.0, "{open}{label}=\"{text}\"");
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }

    /// A metric with one sample, which has no labels.
    fn one(&mut self, family: Family, value: impl Display) {
        self.labelled(family, &[], value);
    }

    /// A metric with one sample.
    fn labelled(&mut self, family: Family, labels: &[(&str, &str)], value: impl Display) {
        self.begin(family);
        self.line(family.name, labels, value);
    }

    /// Begins a metric. Its samples follow.
    fn begin(&mut self, family: Family) {
        self.head(family.name, family.kind, family.help);
    }

    /// Metrics of which each item has one sample, with its name as the label.
    fn each<T>(&mut self, rows: &[Row<T>], label: &str, items: &[T], name: fn(&T) -> &str) {
        for (family, value) in rows {
            self.begin(*family);
            for item in items {
                self.line(family.name, &[(label, name(item))], value(item));
            }
        }
    }
}

/// A metric: all samples of one name.
#[derive(Clone, Copy)]
struct Family {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
}

/// A metric, and its value for an item.
type Row<T> = (Family, fn(&T) -> u64);

const fn counter(name: &'static str, help: &'static str) -> Family {
    Family {
        name,
        kind: COUNTER,
        help,
    }
}

const fn gauge(name: &'static str, help: &'static str) -> Family {
    Family {
        name,
        kind: GAUGE,
        help,
    }
}

const COUNTER: &str = "counter";
const GAUGE: &str = "gauge";

/// The page.
pub(super) fn page(telemetry: &Telemetry, outputs: &[Account]) -> String {
    let mut page = Page::default();
    about(&mut page, telemetry);
    events(&mut page, telemetry);
    rules(&mut page, telemetry);
    deliveries(&mut page, outputs);
    ourselves(&mut page);
    plugins(&mut page);
    page.0
}

/// The metrics that plugins publish. Samples of one name must be next to each other.
fn plugins(page: &mut Page) {
    let mut metrics = metrics::snapshot();
    metrics.sort_by(|a, b| a.name.cmp(&b.name));
    for group in metrics.chunk_by(|a, b| a.name == b.name) {
        let kind = match group[0].kind {
            MetricKind::Counter => COUNTER,
            MetricKind::Gauge => GAUGE,
        };
        page.head(&group[0].name, kind, &group[0].help);
        for metric in group {
            let labels = metric.labels.iter().map(|(name, text)| (&**name, &**text));
            page.line(&metric.name, &labels.collect::<Vec<_>>(), metric.value);
        }
    }
}

fn about(page: &mut Page, telemetry: &Telemetry) {
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    for name in ["lanner_version_info", "falcosecurity_falco_version_info"] {
        page.labelled(gauge(name, "Version of lanner."), &version, 1);
    }
    page.labelled(
        gauge(
            "falcosecurity_falco_kernel_release_info",
            "Release of the kernel.",
        ),
        &[("kernel_release", &usage::kernel_release())],
        1,
    );
    files(page, telemetry);
    driver(page, telemetry);
    page.one(
        counter(
            "falcosecurity_falco_duration_seconds_total",
            "Seconds since the start.",
        ),
        telemetry.started.elapsed().as_secs(),
    );
    page.one(
        gauge(
            "falcosecurity_falco_start_timestamp_nanoseconds",
            "When lanner was started.",
        ),
        telemetry.started_ns,
    );
    page.one(
        gauge(
            "falcosecurity_falco_reload_timestamp_nanoseconds",
            "When rules and configuration were loaded.",
        ),
        telemetry.reloaded_ns.load(Relaxed),
    );
    let reloads = counter("lanner_reloads_total", "Reloads, by outcome.");
    page.begin(reloads);
    for (outcome, count) in [
        ("ok", &telemetry.reloads),
        ("failed", &telemetry.reloads_failed),
    ] {
        page.line(reloads.name, &[("outcome", outcome)], count.load(Relaxed));
    }
}

/// The files of rules and configuration that were loaded.
fn files(page: &mut Page, telemetry: &Telemetry) {
    let board = telemetry.board();
    for (family, files) in [
        (
            gauge(
                "falcosecurity_falco_sha256_rules_files_info",
                "SHA-256 sums of the rule files that were loaded.",
            ),
            &board.rule_sums,
        ),
        (
            gauge(
                "falcosecurity_falco_sha256_config_files_info",
                "SHA-256 sums of the configuration files that were loaded.",
            ),
            &board.config_sums,
        ),
    ] {
        page.begin(family);
        let mut shown = Shown::default();
        for (file, sum) in files {
            let name = shown.name(file);
            let labels = [("file_name", name.as_str()), ("sha256", sum.as_str())];
            page.line(family.name, &labels, 1);
        }
    }
}

fn driver(page: &mut Page, telemetry: &Telemetry) {
    let driver = telemetry.driver();
    page.labelled(
        gauge(
            "falcosecurity_scap_engine_name_info",
            "The driver of the events.",
        ),
        &[("engine_name", &driver.name), ("evt_source", "syscall")],
        1,
    );
    page.labelled(
        gauge("lanner_driver_info", "The driver, and why it was chosen."),
        &[("driver", &driver.name), ("reason", &driver.reason)],
        1,
    );
    let gaps = gauge(
        "lanner_driver_gap_info",
        "What the driver cannot do on this host.",
    );
    page.begin(gaps);
    for gap in &driver.gaps {
        page.line(gaps.name, &[("gap", gap)], 1);
    }
}

fn events(page: &mut Page, telemetry: &Telemetry) {
    if let Some((asked, back)) = telemetry.pulse.beats() {
        let beats = gauge(
            "lanner_heartbeat_number",
            "The latest call of lanner's heartbeat that was asked for, and the latest that came back as an event.",
        );
        page.begin(beats);
        page.line(beats.name, &[("at", "asked")], asked);
        page.line(beats.name, &[("at", "back")], back);
    }
    let (captured, lost) = telemetry.events();
    page.one(
        counter(
            "falcosecurity_scap_n_evts_total",
            "Events that were captured.",
        ),
        captured,
    );
    page.one(
        counter("falcosecurity_scap_n_drops_total", "Events that were lost."),
        lost.iter().sum::<u64>(),
    );
    page.labelled(
        counter(
            "falcosecurity_scap_n_drops_buffer_total",
            "Events that a full buffer had no room for. Lanner does not count them by call and direction.",
        ),
        &[("drop", "all"), ("dir", "all")],
        lost[Loss::BufferFull as usize],
    );
    let losses = counter(
        "lanner_events_lost_total",
        "Events that were lost, by cause.",
    );
    page.begin(losses);
    for (cause, count) in Loss::ALL.iter().zip(lost) {
        page.line(losses.name, &[("cause", cause.name())], count);
    }
    buffers_and_state(page, telemetry);
}

fn buffers_and_state(page: &mut Page, telemetry: &Telemetry) {
    for (family, value) in [
        (
            counter("lanner_events_malformed_total", "Malformed events."),
            &telemetry.malformed,
        ),
        (
            gauge(
                "lanner_buffer_used_bytes",
                "Bytes that wait in the driver's buffers.",
            ),
            &telemetry.pending,
        ),
        (
            gauge(
                "lanner_buffer_size_bytes",
                "Size of the driver's buffers in bytes.",
            ),
            &telemetry.capacity,
        ),
        (
            gauge("lanner_processes_living", "Processes that are followed."),
            &telemetry.living,
        ),
        (
            gauge(
                "lanner_processes_known",
                "Processes that are known, including those that have ended.",
            ),
            &telemetry.processes,
        ),
        (
            gauge(
                "lanner_file_tables",
                "Tables of descriptors that are followed.",
            ),
            &telemetry.file_tables,
        ),
        (
            counter(
                "lanner_processes_probed_total",
                "Processes that were looked up in /proc.",
            ),
            &telemetry.probed,
        ),
    ] {
        page.one(family, value.load(Relaxed));
    }
}

fn rules(page: &mut Page, telemetry: &Telemetry) {
    let board = telemetry.board();
    let all = counter(
        "falcosecurity_falco_rules_matches_total",
        "Matches, by rule.",
    );
    page.begin(all);
    for (rule, [matches, ..]) in board.rules().filter(|(_, [matches, ..])| *matches > 0) {
        // As in Falco, 0 is the most serious.
        let priority = (rule.priority as u32).to_string();
        let tags = rule.tags.join(",");
        let marks = tag_labels(&rule.tags);
        let mut labels = vec![
            ("priority", priority.as_str()),
            ("rule_name", rule.name.as_str()),
            ("source", rule.source.as_str()),
            ("tags", tags.as_str()),
        ];
        labels.extend(marks.iter().map(|mark| (mark.as_str(), "true")));
        page.line(all.name, &labels, matches);
    }
    let suppressed = counter(
        "lanner_alerts_suppressed_total",
        "Alerts that the limits of their rule left out.",
    );
    page.begin(suppressed);
    for (rule, [_, limited, duplicates]) in board.rules() {
        for (cause, count) in [("rate", limited), ("duplicate", duplicates)] {
            if count > 0 {
                let labels = [("rule_name", rule.name.as_str()), ("cause", cause)];
                page.line(suppressed.name, &labels, count);
            }
        }
    }
    page.one(
        gauge("lanner_rules_loaded", "Rules that are loaded."),
        board.rules().count(),
    );
    page.one(
        gauge("lanner_rules_off", "1: the rule plugin is switched off."),
        u8::from(telemetry.rules_off.load(Relaxed)),
    );
    let workers = telemetry.workers();
    if !workers.is_empty() {
        page.each(&OF_WORKERS, "plugin", &workers, |worker| worker.plugin());
    }
}

/// Falco's label for each tag: `tag_T1059_004="true"`. Characters that a label cannot have become `_`.
fn tag_labels(tags: &[String]) -> BTreeSet<String> {
    let label = |tag: &String| {
        let good = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
        format!("tag_{}", tag.chars().map(good).collect::<String>())
    };
    tags.iter().map(label).collect()
}

/// Metrics of rule plugins with a thread of their own.
const OF_WORKERS: [Row<Arc<WorkerStatus>>; 5] = [
    (
        gauge(
            "lanner_rule_plugin_waiting",
            "Events that wait for the plugin.",
        ),
        |worker| worker.waiting(),
    ),
    (
        counter(
            "lanner_rule_plugin_events_lost_total",
            "Events that the plugin did not see.",
        ),
        |worker| worker.lost(),
    ),
    (
        counter(
            "lanner_rule_plugin_timeouts_total",
            "Calls that took longer than the deadline.",
        ),
        |worker| worker.timeouts(),
    ),
    (
        gauge(
            "lanner_rule_plugin_hanging",
            "1: a call takes longer than the deadline.",
        ),
        |worker| worker.is_hanging().into(),
    ),
    (
        gauge("lanner_rule_plugin_off", "1: the plugin is switched off."),
        |worker| worker.is_off().into(),
    ),
];

/// Metrics of outputs.
const OF_OUTPUTS: [Row<Account>; 12] = [
    (
        counter(
            "lanner_output_offered_total",
            "Alerts that were meant for the output.",
        ),
        |account| account.counts.offered,
    ),
    (
        counter(
            "lanner_output_delivered_total",
            "Alerts that were delivered.",
        ),
        |account| account.counts.delivered,
    ),
    (
        counter(
            "lanner_output_limited_total",
            "Alerts that the output's rate left out.",
        ),
        |account| account.counts.limited,
    ),
    (
        counter(
            "lanner_output_retries_total",
            "Times that the output asked to be tried again.",
        ),
        |account| account.counts.retries,
    ),
    (
        counter(
            "lanner_output_timeouts_total",
            "Calls that took longer than the deadline.",
        ),
        |account| account.counts.deadlines,
    ),
    (
        gauge(
            "lanner_output_hanging",
            "1: a call takes longer than the deadline.",
        ),
        |account| account.counts.hanging,
    ),
    (
        gauge(
            "lanner_output_waiting",
            "Alerts that wait, in memory and on disk.",
        ),
        |account| account.counts.waiting,
    ),
    (
        counter(
            "lanner_spool_stored_total",
            "Alerts that were written to disk.",
        ),
        |account| account.counts.stored,
    ),
    (gauge("lanner_spool_alerts", "Alerts on disk."), |account| {
        account.counts.spooled
    }),
    (
        gauge("lanner_spool_bytes", "Bytes of the alerts on disk."),
        |account| account.counts.spool_bytes,
    ),
    (
        counter(
            "lanner_spool_errors_total",
            "Times that the spool could not be used.",
        ),
        |account| account.counts.spool_errors,
    ),
    (
        counter("lanner_output_lost_all_total", "Alerts that were lost."),
        |account| account.counts.lost(),
    ),
];

fn deliveries(page: &mut Page, outputs: &[Account]) {
    page.one(
        counter(
            "falcosecurity_falco_outputs_queue_num_drops_total",
            "Alerts that a full queue had no room for.",
        ),
        (outputs.iter())
            .map(|account| account.counts.overflowed)
            .sum::<u64>(),
    );
    let losses = counter(
        "lanner_output_lost_total",
        "Alerts that were lost, by cause.",
    );
    page.begin(losses);
    for account in outputs {
        for (cause, count) in account.counts.losses() {
            let labels = [("output", account.output.as_str()), ("cause", cause)];
            page.line(losses.name, &labels, count);
        }
    }
    page.each(&OF_OUTPUTS, "output", outputs, |account| &account.output);
}

fn ourselves(page: &mut Page) {
    let Some(usage) = usage::read() else {
        return;
    };
    page.one(
        counter("lanner_cpu_seconds_total", "CPU time of lanner."),
        usage.cpu_seconds,
    );
    page.one(
        gauge(
            "falcosecurity_falco_memory_rss_bytes",
            "Bytes that are resident.",
        ),
        usage.resident,
    );
    page.one(
        gauge(
            "falcosecurity_falco_memory_vsz_bytes",
            "Bytes of address space.",
        ),
        usage.address_space,
    );
    page.one(gauge("lanner_threads", "Threads of lanner."), usage.threads);
    page.one(
        gauge("lanner_descriptors", "Open descriptors of lanner."),
        usage.descriptors,
    );
}

#[cfg(test)]
mod tests;
