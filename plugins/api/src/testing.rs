//! For tests of plugins: a host and alerts as lanner passes them. Enable the feature `testing`:
//!
//! ```toml
//! [dev-dependencies]
//! lanner-plugin = { path = "...", features = ["testing"] }
//! ```
//!
//! ```ignore
//! let mut output = MyOutput::open(testing::host(), Settings::default())?;
//! let alerts = [testing::Alert::new("A rule", "something happened")];
//! assert_eq!(testing::emit(&mut output, &alerts), Delivery::Delivered);
//! ```

use std::collections::BTreeMap;
use std::ffi::c_void;
use std::sync::{Mutex, PoisonError};

use crate::abi::{
    ABI_MAJOR, ABI_MINOR, LannerAlert, LannerAlertField, LannerBatch, LannerHost, LannerMetric,
    LannerStr,
};
use crate::host::Host;
use crate::output::{Alerts, Delivery, OutputPlugin};
use crate::priority::Priority;
use crate::value::{OwnedValue, RawValue};

pub use crate::testing_outputs::{emit_messages, objection, open, open_on, refusal};

/// What a plugin sent to its host.
#[derive(Debug, Default)]
pub struct Heard {
    lines: Mutex<Vec<String>>,
    metrics: Mutex<BTreeMap<String, f64>>,
}

impl Heard {
    /// The lines that it logged.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The value of a metric: `name`, or `name{label="value"}`.
    #[must_use]
    pub fn metric(&self, name: &str) -> Option<f64> {
        let metrics = self.metrics.lock();
        let metrics = metrics.unwrap_or_else(PoisonError::into_inner);
        metrics.get(name).copied()
    }
}

/// A metric of a test host: the record of that host, and the metric's name.
struct Named(&'static Heard, String);

/// A host that ignores log lines and metrics.
#[must_use]
pub fn host() -> Host {
    host_with_ears().0
}

/// A host, and a record of its log lines and metrics. Both live until the process ends.
#[must_use]
pub fn host_with_ears() -> (Host, &'static Heard) {
    let heard: &'static Heard = Box::leak(Box::default());
    let table = Box::leak(Box::new(LannerHost {
        size: size_of::<LannerHost>(),
        abi_major: ABI_MAJOR,
        abi_minor: ABI_MINOR,
        ctx: std::ptr::from_ref(heard).cast(),
        log: Some(log),
        metric: Some(metric),
        metric_add: Some(metric_add),
        metric_set: Some(metric_set),
    }));
    // SAFETY: the table is whole, and leaked.
    match unsafe { Host::from_abi(std::ptr::from_ref(table)) } {
        Some(host) => (host, heard),
        None => unreachable!("the table is whole"),
    }
}

unsafe extern "C" fn log(ctx: *const c_void, _level: u32, message: LannerStr) {
    // SAFETY: `ctx` is what `host_with_ears` leaked; the message lives through the call.
    let (heard, message) = unsafe { (&*ctx.cast::<Heard>(), message.to_text()) };
    let lines = heard.lines.lock();
    lines.unwrap_or_else(PoisonError::into_inner).push(message);
}

unsafe extern "C" fn metric(ctx: *const c_void, metric: *const LannerMetric) -> *const c_void {
    // SAFETY: `ctx` is what `host_with_ears` leaked; the metric lives through the call.
    unsafe {
        let Some(metric) = metric.as_ref() else {
            return std::ptr::null();
        };
        let mut name = metric.name.to_text();
        let labels = if metric.labels.is_null() {
            &[]
        } else {
            std::slice::from_raw_parts(metric.labels, metric.label_count)
        };
        if !labels.is_empty() {
            let labels: Vec<_> = labels
                .iter()
                .map(|label| format!("{}={:?}", label.name.to_text(), label.value.to_text()))
                .collect();
            name = format!("{name}{{{}}}", labels.join(","));
        }
        Box::leak(Box::new(Named(&*ctx.cast::<Heard>(), name))) as *const Named as *const c_void
    }
}

/// # Safety
///
/// `metric` came from [`metric`].
unsafe fn change(metric: *const c_void, to: impl FnOnce(f64) -> f64) {
    // SAFETY: by the function's contract.
    let Named(heard, name) = unsafe { &*metric.cast::<Named>() };
    let metrics = heard.metrics.lock();
    let mut metrics = metrics.unwrap_or_else(PoisonError::into_inner);
    let value = metrics.entry(name.clone()).or_default();
    *value = to(*value);
}

unsafe extern "C" fn metric_add(metric: *const c_void, by: u64) {
    #[expect(clippy::cast_precision_loss, reason = "tests count to small numbers")]
    // SAFETY: the handle came from `metric`.
    unsafe {
        change(metric, |value| value + by as f64);
    }
}

unsafe extern "C" fn metric_set(metric: *const c_void, to: f64) {
    // SAFETY: the handle came from `metric`.
    unsafe { change(metric, |_| to) };
}

/// An alert. [`Alert::new`] fills it in, and a test can change any field.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// Nanoseconds since the epoch.
    pub time_ns: u64,
    /// Name of the rule.
    pub rule: String,
    /// How serious it is.
    pub priority: Priority,
    /// The source of the event.
    pub source: String,
    /// Name of the host.
    pub hostname: String,
    /// Tags of the rule.
    pub tags: Vec<String>,
    /// The text line.
    pub text: String,
    /// The JSON object.
    pub json: String,
    /// Fields. A list is passed as no value.
    pub fields: Vec<(String, OwnedValue)>,
}

impl Alert {
    /// A warning of 2026-01-01 with one tag, one field, and the text and JSON that belong to it.
    #[must_use]
    pub fn new(rule: &str, message: &str) -> Self {
        let time_ns = 1_767_225_600_123_456_789;
        let text = format!("00:00:00.123456789: Warning {message}");
        let json = serde_json::json!({
            "hostname": "tester",
            "output": text,
            "output_fields": { "proc.name": "cat" },
            "priority": "Warning",
            "rule": rule,
            "source": "syscall",
            "tags": ["t1"],
            "time": "2026-01-01T00:00:00.123456789Z",
        });
        Self {
            time_ns,
            rule: rule.to_owned(),
            priority: Priority::Warning,
            source: "syscall".to_owned(),
            hostname: "tester".to_owned(),
            tags: vec!["t1".to_owned()],
            text,
            json: json.to_string(),
            fields: vec![("proc.name".to_owned(), OwnedValue::String(b"cat".to_vec()))],
        }
    }
}

/// Calls `body` with the alerts as a batch.
pub fn batch<R>(alerts: &[Alert], body: impl FnOnce(&Alerts<'_>) -> R) -> R {
    let text = |text: &str| LannerStr::new(text.as_bytes());
    let parts: Vec<(Vec<LannerStr>, Vec<LannerAlertField>)> = alerts
        .iter()
        .map(|alert| {
            let tags = alert.tags.iter().map(|tag| text(tag)).collect();
            let fields = alert.fields.iter().map(|(name, value)| LannerAlertField {
                name: text(name),
                value: RawValue::from(value.scalar()).abi(),
            });
            (tags, fields.collect())
        })
        .collect();
    let structs: Vec<LannerAlert> = alerts
        .iter()
        .zip(&parts)
        .map(|(alert, (tags, fields))| LannerAlert {
            size: size_of::<LannerAlert>(),
            time_ns: alert.time_ns,
            rule: text(&alert.rule),
            source: text(&alert.source),
            hostname: text(&alert.hostname),
            text: text(&alert.text),
            json: text(&alert.json),
            tags: tags.as_ptr(),
            tag_count: tags.len(),
            fields: fields.as_ptr(),
            field_count: fields.len(),
            priority: alert.priority as u32,
            reserved: 0,
        })
        .collect();
    let pointers: Vec<*const LannerAlert> = structs.iter().map(std::ptr::from_ref).collect();
    let raw = LannerBatch {
        size: size_of::<LannerBatch>(),
        alerts: pointers.as_ptr(),
        count: pointers.len(),
        refused: std::ptr::null_mut(),
    };
    // SAFETY: everything lives until `body` has returned.
    body(&unsafe { Alerts::from_abi(&raw const raw) })
}

/// Lets an output deliver alerts.
pub fn emit<P: OutputPlugin>(output: &mut P, alerts: &[Alert]) -> Delivery {
    batch(alerts, |alerts| output.emit(alerts))
}
