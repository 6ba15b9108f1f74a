//! Numbers for /metrics: those that plugins publish, and the number of faults of each plugin. There is one list for the
//! process, because plugins are never unloaded and keep their handles.
//!
//! A handle is an index, never a pointer: whatever a plugin passes, a call changes this table alone. Counting is one
//! atomic addition.

use std::collections::BTreeMap;
use std::ffi::c_void;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use lanner_plugin::abi::{LannerLabel, LannerMetric, METRIC_COUNTER, METRIC_GAUGE};

use super::border::{contained, plugin_name, slice, text};
use super::secrets;

/// The most metrics of all plugins together.
const CAPACITY: usize = 1024;
/// The most metrics of one plugin. A plugin that makes labels from its input can neither fill memory nor take the room
/// of others.
const OF_ONE: usize = 128;
/// The longest value of a label, in bytes. A longer one is cut.
const MAX_VALUE: usize = 1024;
/// The most labels of a metric.
const MAX_LABELS: usize = 16;

/// The families that are lanner's own. No plugin can add to them, whatever its name is: a plugin that is called `output` could
/// count alerts as delivered otherwise.
pub const OWN_FAMILIES: [&str; 38] = [
    "lanner_alerts_suppressed_total",
    "lanner_buffer_size_bytes",
    "lanner_buffer_used_bytes",
    "lanner_cpu_seconds_total",
    "lanner_descriptors",
    "lanner_driver_gap_info",
    "lanner_driver_info",
    "lanner_events_lost_total",
    "lanner_events_malformed_total",
    "lanner_file_tables",
    "lanner_heartbeat_number",
    "lanner_output_delivered_total",
    "lanner_output_hanging",
    "lanner_output_limited_total",
    "lanner_output_lost_all_total",
    "lanner_output_lost_total",
    "lanner_output_offered_total",
    "lanner_output_retries_total",
    "lanner_output_timeouts_total",
    "lanner_output_waiting",
    "lanner_plugin_faults_total",
    "lanner_processes_known",
    "lanner_processes_living",
    "lanner_processes_probed_total",
    "lanner_reloads_total",
    "lanner_rule_plugin_events_lost_total",
    "lanner_rule_plugin_hanging",
    "lanner_rule_plugin_off",
    "lanner_rule_plugin_timeouts_total",
    "lanner_rule_plugin_waiting",
    "lanner_rules_loaded",
    "lanner_rules_off",
    "lanner_spool_alerts",
    "lanner_spool_bytes",
    "lanner_spool_errors_total",
    "lanner_spool_stored_total",
    "lanner_threads",
    "lanner_version_info",
];

static ENTRIES: [OnceLock<RegisteredMetric>; CAPACITY] = [const { OnceLock::new() }; CAPACITY];
/// The number of entries. Locked while one is added.
static LENGTH: Mutex<usize> = Mutex::new(0);

/// Whether a metric only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// A metric and its value at the time of the snapshot.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// The whole name, fit for Prometheus: `lanner_output_http_requests_total`.
    pub name: String,
    /// One sentence on what it counts. It may hold any text.
    pub help: String,
    /// Whether it only grows.
    pub kind: MetricKind,
    /// Labels and their values, which may hold any text.
    pub labels: Vec<(String, String)>,
    /// The value. Counters are whole numbers.
    pub value: f64,
}

#[derive(Debug)]
struct RegisteredMetric {
    /// Whose it is. Empty: lanner's own, about a plugin.
    plugin: &'static str,
    name: String,
    help: String,
    kind: MetricKind,
    labels: Vec<(String, String)>,
    /// A counter's number, or the bits of a gauge.
    value: AtomicU64,
}

/// Why a plugin's metric is not registered.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("it is NULL")]
    Null,
    #[error("its size is {0}, less than that of a LannerMetric of this ABI")]
    Size(usize),
    #[error("the name {0:?} is not made of letters, digits and `_`")]
    Name(String),
    #[error("{name}: there is no kind {kind}")]
    UnknownKind { name: String, kind: u32 },
    #[error("{0} has more than {MAX_LABELS} labels")]
    Labels(String),
    #[error("{0} is registered already, with another kind")]
    OtherKind(String),
    #[error("{0} is a metric of lanner's own; give it another name")]
    Own(String),
    #[error("{name} is a metric of the plugin {plugin}; give it another name")]
    Others { name: String, plugin: &'static str },
    #[error("there are {CAPACITY} metrics already")]
    Full,
    #[error("it has {OF_ONE} metrics already, the most that a plugin may have")]
    TooMany,
    #[error("{name} has the label {label} twice")]
    LabelTwice { name: String, label: String },
    #[error("{name}: labels that begin with `__` are Prometheus' own")]
    ReservedLabel { name: String },
}

/// All metrics of plugins, in the order of registration. Metrics of the same name are not always next to each other.
#[must_use]
pub fn snapshot() -> Vec<Metric> {
    ENTRIES
        .iter()
        .map_while(OnceLock::get)
        .map(RegisteredMetric::read)
        .collect()
}

impl RegisteredMetric {
    fn read(&self) -> Metric {
        let bits = self.value.load(Ordering::Relaxed);
        #[expect(
            clippy::cast_precision_loss,
            reason = "Prometheus counts in f64, exact to 2^53"
        )]
        let value = match self.kind {
            MetricKind::Counter => bits as f64,
            MetricKind::Gauge => f64::from_bits(bits),
        };
        Metric {
            name: self.name.clone(),
            help: self.help.clone(),
            kind: self.kind,
            labels: self.labels.clone(),
            value,
        }
    }
}

/// Counts a fault of a plugin.
pub(super) fn fault(plugin: &str) {
    let added = add(RegisteredMetric {
        name: "lanner_plugin_faults_total".to_owned(),
        help: "Panics, failures and nonsense answers of a plugin.".to_owned(),
        kind: MetricKind::Counter,
        labels: vec![("plugin".to_owned(), plugin.to_owned())],
        plugin: "",
        value: AtomicU64::new(0),
    });
    if let Some(entry) = added.ok().and_then(|at| ENTRIES[at].get()) {
        entry.value.fetch_add(1, Ordering::Relaxed);
    }
}

/// Adds an entry, or finds the one with this name and these labels.
fn add(entry: RegisteredMetric) -> Result<usize, Refused> {
    let mut length = LENGTH.lock().unwrap_or_else(PoisonError::into_inner);
    let mut of_one = 0;
    for (at, old) in ENTRIES.iter().map_while(OnceLock::get).enumerate() {
        of_one += usize::from(old.plugin == entry.plugin);
        if old.name != entry.name {
            continue;
        }
        if old.plugin != entry.plugin {
            return Err(Refused::Others {
                name: entry.name,
                plugin: old.plugin,
            });
        }
        if old.kind != entry.kind {
            return Err(Refused::OtherKind(entry.name));
        }
        if old.labels == entry.labels {
            return Ok(at);
        }
    }
    if !entry.plugin.is_empty() && of_one >= OF_ONE {
        return Err(Refused::TooMany);
    }
    let Some(free) = ENTRIES.get(*length) else {
        return Err(Refused::Full);
    };
    let _ = free.set(entry);
    *length += 1;
    Ok(*length - 1)
}

/// `metric` of the host's table.
pub(super) unsafe extern "C" fn register(
    ctx: *const c_void,
    metric: *const LannerMetric,
) -> *const c_void {
    let mut handle = std::ptr::null();
    contained(|| {
        let plugin = plugin_name(ctx);
        // SAFETY: the plugin passes a metric that lives through the call.
        match unsafe { read(plugin, metric) }.and_then(add) {
            Ok(at) => handle = std::ptr::without_provenance(at + 1),
            Err(refused) => {
                warn(plugin, &refused);
            }
        }
    });
    handle
}

/// Warns that a metric is refused: at first each time, then less and less often, because a plugin may try again for each
/// alert.
fn warn(plugin: &'static str, refused: &Refused) {
    static REFUSALS: Mutex<BTreeMap<&'static str, u64>> = Mutex::new(BTreeMap::new());
    let mut refusals = REFUSALS.lock().unwrap_or_else(PoisonError::into_inner);
    let count = refusals.entry(plugin).or_default();
    *count += 1;
    if count.is_power_of_two() {
        tracing::warn!(target: "lanner::plugin", plugin, refusals = *count, "a metric is refused: {refused}");
    }
}

/// # Safety
///
/// `raw` is null or a metric as the header describes it.
unsafe fn read(
    plugin: &'static str,
    raw: *const LannerMetric,
) -> Result<RegisteredMetric, Refused> {
    // SAFETY: by the function's contract.
    let raw = unsafe { raw.as_ref() }.ok_or(Refused::Null)?;
    if raw.size < size_of::<LannerMetric>() {
        return Err(Refused::Size(raw.size));
    }
    let name = text(raw.name);
    word(&name)?;
    let kind = match raw.kind {
        METRIC_COUNTER => MetricKind::Counter,
        METRIC_GAUGE => MetricKind::Gauge,
        kind => return Err(Refused::UnknownKind { name, kind }),
    };
    if raw.label_count > MAX_LABELS {
        return Err(Refused::Labels(name));
    }
    // SAFETY: labels are plain pointers and lengths; all bit patterns are valid.
    let labels: Vec<LannerLabel> = unsafe { slice(raw.labels, raw.label_count) };
    let labels = labels.iter().map(|label| {
        let key = text(label.name);
        let mut value = secrets::hide(&text(label.value)).into_owned();
        value.truncate(value.floor_char_boundary(MAX_VALUE));
        word(&key).map(|()| (key, value))
    });
    // The order does not distinguish metrics.
    let mut labels: Vec<(String, String)> = labels.collect::<Result<_, _>>()?;
    labels.sort();
    if let Some(pair) = labels.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        let label = pair[0].0.clone();
        return Err(Refused::LabelTwice { name, label });
    }
    if labels.iter().any(|(label, _)| label.starts_with("__")) {
        return Err(Refused::ReservedLabel { name });
    }
    let name = format!("lanner_{}_{name}", plugin.replace('-', "_"));
    if OWN_FAMILIES.contains(&name.as_str()) {
        return Err(Refused::Own(name));
    }
    Ok(RegisteredMetric {
        plugin,
        labels,
        name,
        help: text(raw.help),
        kind,
        value: AtomicU64::new(0),
    })
}

/// Checks the name of a metric or a label.
fn word(name: &str) -> Result<(), Refused> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let digit = name.starts_with(|first: char| first.is_ascii_digit());
    if name.is_empty() || name.len() > 100 || digit || !name.bytes().all(good) {
        return Err(Refused::Name(name.chars().take(100).collect()));
    }
    Ok(())
}

fn entry(handle: *const c_void, kind: MetricKind) -> Option<&'static RegisteredMetric> {
    let entry = ENTRIES.get(handle.addr().checked_sub(1)?)?.get()?;
    (entry.kind == kind).then_some(entry)
}

/// `metric_add` of the host's table.
pub(super) unsafe extern "C" fn count(handle: *const c_void, by: u64) {
    if let Some(entry) = entry(handle, MetricKind::Counter) {
        entry.value.fetch_add(by, Ordering::Relaxed);
    }
}

/// `metric_set` of the host's table.
pub(super) unsafe extern "C" fn set(handle: *const c_void, to: f64) {
    if let Some(entry) = entry(handle, MetricKind::Gauge) {
        entry.value.store(to.to_bits(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use lanner_plugin::Host;

    use super::*;
    use crate::border::host_table;

    fn value(name: &str, label: &str) -> Option<f64> {
        let all = snapshot();
        let mut found = all
            .iter()
            .filter(|one| one.name == name && one.labels.iter().all(|(_, value)| value == label));
        let value = found.next().map(|one| one.value);
        assert!(found.next().is_none(), "{name} is there once");
        value
    }

    #[test]
    fn what_a_plugin_counts_is_published_under_its_name() {
        // SAFETY: the table is whole, and leaked.
        let host = unsafe { Host::from_abi(host_table("output-metrics-test")) }.unwrap();
        let a = host.counter("sent_total", "Sent.", &[("to", "a")]);
        let b = host.counter("sent_total", "Sent.", &[("to", "b")]);
        let again = host.counter("sent_total", "Sent.", &[("to", "a")]);
        let gauge = host.gauge("open", "Open.", &[]);
        a.add(2);
        b.add(3);
        again.add(5);
        gauge.set(1.5);
        gauge.set(-0.5);
        assert_eq!(
            value("lanner_output_metrics_test_sent_total", "a"),
            Some(7.0)
        );
        assert_eq!(
            value("lanner_output_metrics_test_sent_total", "b"),
            Some(3.0)
        );
        assert_eq!(value("lanner_output_metrics_test_open", ""), Some(-0.5));
        // of another kind, or with a name that is none: ignored
        host.gauge("sent_total", "Sent.", &[("to", "a")]).set(9.0);
        host.counter("sent total", "Sent.", &[]).add(1);
        host.counter("x_total", "X.", &[("1", "a")]).add(1);
        assert_eq!(
            value("lanner_output_metrics_test_sent_total", "a"),
            Some(7.0)
        );
        assert_eq!(value("lanner_output_metrics_test_x_total", "a"), None);
    }

    #[test]
    fn no_plugin_adds_to_a_family_of_lanners_own_or_of_another_plugin() {
        let count = |plugin: &'static str, name: &str| {
            // SAFETY: the table is whole, and leaked.
            let host = unsafe { Host::from_abi(host_table(plugin)) }.unwrap();
            host.counter(name, "Mine.", &[("output", "x")]).add(1);
        };
        count("output", "delivered_total");
        count("output-lost", "total");
        count("plugin", "faults_total");
        count("output", "own_total");
        count("family", "of_two_total");
        count("family-of", "two_total");
        let found: Vec<(String, f64)> = snapshot()
            .into_iter()
            .filter(|one| one.help == "Mine.")
            .map(|one| (one.name, one.value))
            .collect();
        let expected = [
            ("lanner_output_own_total".to_owned(), 1.0),
            ("lanner_family_of_two_total".to_owned(), 1.0),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn labels_are_a_set_and_a_plugin_has_a_share_of_the_room() {
        // SAFETY: the table is whole, and leaked.
        let host = unsafe { Host::from_abi(host_table("output-greedy")) }.unwrap();
        let name = "lanner_output_greedy_sent_total";
        let get = |name: &str| -> Vec<Metric> {
            let all = snapshot().into_iter();
            all.filter(|one| one.name == name).collect()
        };
        host.counter("sent_total", "Sent.", &[("a", "1"), ("b", "2")])
            .add(1);
        host.counter("sent_total", "Sent.", &[("b", "2"), ("a", "1")])
            .add(1);
        host.counter("sent_total", "Sent.", &[("a", "1"), ("a", "2")])
            .add(1);
        host.counter("sent_total", "Sent.", &[("__name__", "x")])
            .add(1);
        let found = get(name);
        assert_eq!((found.len(), found[0].value), (1, 2.0), "{found:?}");
        for number in 0..CAPACITY {
            let text = format!("{number}{}", "ü".repeat(MAX_VALUE));
            host.counter("many_total", "Many.", &[("n", &text)]).add(1);
        }
        let many = get("lanner_output_greedy_many_total");
        assert_eq!(many.len(), OF_ONE - 1);
        assert!(many[0].labels[0].1.len() <= MAX_VALUE);
        // SAFETY: as above.
        let other = unsafe { Host::from_abi(host_table("output-modest")) }.unwrap();
        other.counter("sent_total", "Sent.", &[]).add(1);
        assert_eq!(get("lanner_output_modest_sent_total").len(), 1);
    }

    #[test]
    fn handles_that_were_never_given_out_are_ignored() {
        for handle in [0, 1025, usize::MAX, 1 << 47] {
            // SAFETY: any handle is allowed.
            unsafe {
                count(std::ptr::without_provenance(handle), 1);
                set(std::ptr::without_provenance(handle), 1.0);
            }
        }
    }
}
