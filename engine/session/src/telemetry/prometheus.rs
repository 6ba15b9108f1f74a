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

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.head(name, kind, help);
        self.line(name, &[], value);
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
    let driver = telemetry.driver();
    let version = env!("CARGO_PKG_VERSION");
    for name in ["lanner_version_info", "falcosecurity_falco_version_info"] {
        page.head(name, GAUGE, "Version of lanner.");
        page.line(name, &[("version", version)], 1);
    }
    let name = "falcosecurity_falco_kernel_release_info";
    let release = usage::kernel_release();
    page.head(name, GAUGE, "Release of the kernel.");
    page.line(name, &[("kernel_release", &release)], 1);
    let board = telemetry.board();
    for (name, help, files) in [
        (
            "falcosecurity_falco_sha256_rules_files_info",
            "SHA-256 sums of the rule files that were loaded.",
            &board.rule_sums,
        ),
        (
            "falcosecurity_falco_sha256_config_files_info",
            "SHA-256 sums of the configuration files that were loaded.",
            &board.config_sums,
        ),
    ] {
        page.head(name, GAUGE, help);
        let mut shown = Shown::default();
        for (file, sum) in files {
            let file = shown.name(file);
            page.line(name, &[("file_name", &file), ("sha256", sum)], 1);
        }
    }
    page.head(
        "falcosecurity_scap_engine_name_info",
        GAUGE,
        "The driver of the events.",
    );
    page.line(
        "falcosecurity_scap_engine_name_info",
        &[("engine_name", &driver.name), ("evt_source", "syscall")],
        1,
    );
    page.head(
        "lanner_driver_info",
        GAUGE,
        "The driver, and why it was chosen.",
    );
    page.line(
        "lanner_driver_info",
        &[("driver", &driver.name), ("reason", &driver.reason)],
        1,
    );
    page.head(
        "lanner_driver_gap_info",
        GAUGE,
        "What the driver cannot do on this host.",
    );
    for gap in &driver.gaps {
        page.line("lanner_driver_gap_info", &[("gap", gap)], 1);
    }
    page.one(
        "falcosecurity_falco_duration_seconds_total",
        COUNTER,
        "Seconds since the start.",
        telemetry.started.elapsed().as_secs(),
    );
    page.one(
        "falcosecurity_falco_start_timestamp_nanoseconds",
        GAUGE,
        "When lanner was started.",
        telemetry.started_ns,
    );
    page.one(
        "falcosecurity_falco_reload_timestamp_nanoseconds",
        GAUGE,
        "When rules and configuration were loaded.",
        telemetry.reloaded_ns.load(Relaxed),
    );
    page.head("lanner_reloads_total", COUNTER, "Reloads, by outcome.");
    let reloads = [
        ("ok", &telemetry.reloads),
        ("failed", &telemetry.reloads_failed),
    ];
    for (outcome, count) in reloads {
        page.line(
            "lanner_reloads_total",
            &[("outcome", outcome)],
            count.load(Relaxed),
        );
    }
}

fn events(page: &mut Page, telemetry: &Telemetry) {
    if let Some((asked, back)) = telemetry.pulse.beats() {
        let name = "lanner_heartbeat_number";
        page.head(
            name,
            GAUGE,
            "The latest call of lanner's heartbeat that was asked for, and the latest that came back as an event.",
        );
        page.line(name, &[("at", "asked")], asked);
        page.line(name, &[("at", "back")], back);
    }
    let (captured, lost) = telemetry.events();
    page.one(
        "falcosecurity_scap_n_evts_total",
        COUNTER,
        "Events that were captured.",
        captured,
    );
    page.one(
        "falcosecurity_scap_n_drops_total",
        COUNTER,
        "Events that were lost.",
        lost.iter().sum::<u64>(),
    );
    let name = "falcosecurity_scap_n_drops_buffer_total";
    page.head(
        name,
        COUNTER,
        "Events that a full buffer had no room for. Lanner does not count them by call and direction.",
    );
    let labels = [("drop", "all"), ("dir", "all")];
    page.line(name, &labels, lost[Loss::BufferFull as usize]);
    page.head(
        "lanner_events_lost_total",
        COUNTER,
        "Events that were lost, by cause.",
    );
    for (cause, count) in Loss::ALL.iter().zip(lost) {
        page.line(
            "lanner_events_lost_total",
            &[("cause", cause.name())],
            count,
        );
    }
    let rest = [
        (
            "lanner_events_malformed_total",
            COUNTER,
            "Malformed events.",
            &telemetry.malformed,
        ),
        (
            "lanner_buffer_used_bytes",
            GAUGE,
            "Bytes that wait in the driver's buffers.",
            &telemetry.pending,
        ),
        (
            "lanner_buffer_size_bytes",
            GAUGE,
            "Size of the driver's buffers in bytes.",
            &telemetry.capacity,
        ),
        (
            "lanner_processes_living",
            GAUGE,
            "Processes that are followed.",
            &telemetry.living,
        ),
        (
            "lanner_processes_known",
            GAUGE,
            "Processes that are known, including those that have ended.",
            &telemetry.processes,
        ),
        (
            "lanner_file_tables",
            GAUGE,
            "Tables of descriptors that are followed.",
            &telemetry.file_tables,
        ),
        (
            "lanner_processes_probed_total",
            COUNTER,
            "Processes that were looked up in /proc.",
            &telemetry.probed,
        ),
    ];
    for (name, kind, help, value) in rest {
        page.one(name, kind, help, value.load(Relaxed));
    }
}

fn rules(page: &mut Page, telemetry: &Telemetry) {
    let board = telemetry.board();
    let name = "falcosecurity_falco_rules_matches_total";
    page.head(name, COUNTER, "Matches, by rule.");
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
        page.line(name, &labels, matches);
    }
    let name = "lanner_alerts_suppressed_total";
    page.head(
        name,
        COUNTER,
        "Alerts that the limits of their rule left out.",
    );
    for (rule, [_, limited, duplicates]) in board.rules() {
        for (cause, count) in [("rate", limited), ("duplicate", duplicates)] {
            if count > 0 {
                page.line(name, &[("rule_name", &rule.name), ("cause", cause)], count);
            }
        }
    }
    page.one(
        "lanner_rules_loaded",
        GAUGE,
        "Rules that are loaded.",
        board.rules().count(),
    );
    page.one(
        "lanner_rules_off",
        GAUGE,
        "1: the rule plugin is switched off.",
        u8::from(telemetry.rules_off.load(Relaxed)),
    );
    rule_plugins(page, &telemetry.workers());
}

/// Falco's label for each tag: `tag_T1059_004="true"`. Characters that a label cannot have become `_`.
fn tag_labels(tags: &[String]) -> BTreeSet<String> {
    let label = |tag: &String| {
        let good = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
        format!("tag_{}", tag.chars().map(good).collect::<String>())
    };
    tags.iter().map(label).collect()
}

type WorkerRow = (
    &'static str,
    &'static str,
    &'static str,
    fn(&WorkerStatus) -> u64,
);

/// Rule plugins with a thread of their own.
fn rule_plugins(page: &mut Page, workers: &[Arc<WorkerStatus>]) {
    let all: [WorkerRow; 5] = [
        (
            "lanner_rule_plugin_waiting",
            GAUGE,
            "Events that wait for the plugin.",
            WorkerStatus::waiting,
        ),
        (
            "lanner_rule_plugin_events_lost_total",
            COUNTER,
            "Events that the plugin did not see.",
            WorkerStatus::lost,
        ),
        (
            "lanner_rule_plugin_timeouts_total",
            COUNTER,
            "Calls that took longer than the deadline.",
            WorkerStatus::timeouts,
        ),
        (
            "lanner_rule_plugin_hanging",
            GAUGE,
            "1: a call takes longer than the deadline.",
            |worker| worker.is_hanging().into(),
        ),
        (
            "lanner_rule_plugin_off",
            GAUGE,
            "1: the plugin is switched off.",
            |worker| worker.is_off().into(),
        ),
    ];
    for (name, kind, help, pick) in all {
        if workers.is_empty() {
            continue;
        }
        page.head(name, kind, help);
        for worker in workers {
            page.line(name, &[("plugin", worker.plugin())], pick(worker));
        }
    }
}

fn deliveries(page: &mut Page, outputs: &[Account]) {
    page.one(
        "falcosecurity_falco_outputs_queue_num_drops_total",
        COUNTER,
        "Alerts that a full queue had no room for.",
        outputs
            .iter()
            .map(|account| account.counts.overflowed)
            .sum::<u64>(),
    );
    page.head(
        "lanner_output_lost_total",
        COUNTER,
        "Alerts that were lost, by cause.",
    );
    for account in outputs {
        for (cause, count) in account.counts.losses() {
            let labels = [("output", account.output.as_str()), ("cause", cause)];
            page.line("lanner_output_lost_total", &labels, count);
        }
    }
    type Pick = fn(&Account) -> u64;
    let all: [(&str, &str, &str, Pick); 12] = [
        (
            "lanner_output_offered_total",
            COUNTER,
            "Alerts that were meant for the output.",
            |a| a.counts.offered,
        ),
        (
            "lanner_output_delivered_total",
            COUNTER,
            "Alerts that were delivered.",
            |a| a.counts.delivered,
        ),
        (
            "lanner_output_limited_total",
            COUNTER,
            "Alerts that the output's rate left out.",
            |a| a.counts.limited,
        ),
        (
            "lanner_output_retries_total",
            COUNTER,
            "Times that the output asked to be tried again.",
            |a| a.counts.retries,
        ),
        (
            "lanner_output_timeouts_total",
            COUNTER,
            "Calls that took longer than the deadline.",
            |a| a.counts.deadlines,
        ),
        (
            "lanner_output_hanging",
            GAUGE,
            "1: a call takes longer than the deadline.",
            |a| a.counts.hanging,
        ),
        (
            "lanner_output_waiting",
            GAUGE,
            "Alerts that wait, in memory and on disk.",
            |a| a.counts.waiting,
        ),
        (
            "lanner_spool_stored_total",
            COUNTER,
            "Alerts that were written to disk.",
            |a| a.counts.stored,
        ),
        ("lanner_spool_alerts", GAUGE, "Alerts on disk.", |a| {
            a.counts.spooled
        }),
        (
            "lanner_spool_bytes",
            GAUGE,
            "Bytes of the alerts on disk.",
            |a| a.counts.spool_bytes,
        ),
        (
            "lanner_spool_errors_total",
            COUNTER,
            "Times that the spool could not be used.",
            |a| a.counts.spool_errors,
        ),
        (
            "lanner_output_lost_all_total",
            COUNTER,
            "Alerts that were lost.",
            |a| a.counts.lost(),
        ),
    ];
    for (name, kind, help, pick) in all {
        page.head(name, kind, help);
        for account in outputs {
            page.line(name, &[("output", &account.output)], pick(account));
        }
    }
}

fn ourselves(page: &mut Page) {
    let Some(usage) = usage::read() else {
        return;
    };
    page.one(
        "lanner_cpu_seconds_total",
        COUNTER,
        "CPU time of lanner.",
        usage.cpu_seconds,
    );
    page.one(
        "falcosecurity_falco_memory_rss_bytes",
        GAUGE,
        "Bytes that are resident.",
        usage.resident,
    );
    page.one(
        "falcosecurity_falco_memory_vsz_bytes",
        GAUGE,
        "Bytes of address space.",
        usage.address_space,
    );
    page.one("lanner_threads", GAUGE, "Threads of lanner.", usage.threads);
    page.one(
        "lanner_descriptors",
        GAUGE,
        "Open descriptors of lanner.",
        usage.descriptors,
    );
}

#[cfg(test)]
mod tests;
