//! What the host lends to a plugin: log and metrics.

use std::ffi::c_void;

use super::LannerStr;

/// Log level: a failure.
pub const LEVEL_ERROR: u32 = 1;
/// Log level: something unusual that a person should look at.
pub const LEVEL_WARN: u32 = 2;
/// Log level: normal events worth a line.
pub const LEVEL_INFO: u32 = 3;
/// Log level: details for finding a fault.
pub const LEVEL_DEBUG: u32 = 4;
/// Log level: every detail.
pub const LEVEL_TRACE: u32 = 5;

/// `LannerMetric.kind`: only grows, by `metric_add`.
pub const METRIC_COUNTER: u32 = 1;
/// `LannerMetric.kind`: goes up and down, by `metric_set`.
pub const METRIC_GAUGE: u32 = 2;

/// The name and the value of one label of a metric. Never changes.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct LannerLabel {
    /// Letters, digits and `_`; does not begin with a digit.
    pub name: LannerStr,
    /// UTF-8.
    pub value: LannerStr,
}

/// A metric to register. Since 1.2. Must stay valid only during the call of `metric`.
#[repr(C)]
#[derive(Debug)]
pub struct LannerMetric {
    /// Bytes in this struct.
    pub size: usize,
    /// Letters, digits and `_`; does not begin with a digit. Lanner publishes `bytes_sent_total` of the plugin
    /// `output-x` as `lanner_output_x_bytes_sent_total`.
    pub name: LannerStr,
    /// One sentence: what it counts, in which unit.
    pub help: LannerStr,
    /// Labels; may be NULL if there are none.
    pub labels: *const LannerLabel,
    /// Number of labels.
    pub label_count: usize,
    /// `LANNER_METRIC_COUNTER` or `LANNER_METRIC_GAUGE`.
    pub kind: u32,
    /// 0.
    pub reserved: u32,
}

/// What the host lends to a plugin. Valid until the process ends.
#[repr(C)]
#[derive(Debug)]
pub struct LannerHost {
    /// Bytes in this struct.
    pub size: usize,
    /// The host's `LANNER_ABI_MAJOR`.
    pub abi_major: u32,
    /// The host's `LANNER_ABI_MINOR`.
    pub abi_minor: u32,
    /// Pass it to the functions below.
    pub ctx: *const c_void,
    /// Writes a line to lanner's log, after the plugin's name. Any thread, any time. May block as long as a write
    /// to standard error takes.
    pub log: Option<unsafe extern "C" fn(ctx: *const c_void, level: u32, message: LannerStr)>,
    /// Since 1.2. Registers a metric, which lanner publishes with its own metrics. Returns a handle that is valid
    /// until the process ends, or NULL if the name or the kind is invalid (the log says why). Registering the same
    /// name and labels again returns the same handle. Any thread, any time; may block for a short time.
    pub metric: Option<
        unsafe extern "C" fn(ctx: *const c_void, metric: *const LannerMetric) -> *const c_void,
    >,
    /// Since 1.2. Adds to a counter. Ignored for a gauge or NULL. Any thread, any time; never blocks.
    pub metric_add: Option<unsafe extern "C" fn(metric: *const c_void, by: u64)>,
    /// Since 1.2. Sets a gauge. Ignored for a counter or NULL. Any thread, any time; never blocks.
    pub metric_set: Option<unsafe extern "C" fn(metric: *const c_void, to: f64)>,
}

impl LannerHost {
    /// Bytes in this struct in version 1.0.
    ///
    /// cbindgen:ignore
    pub const FIRST_SIZE: usize = std::mem::offset_of!(Self, metric);
}
