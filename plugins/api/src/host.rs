//! What the host offers to a plugin at any time: a log and metrics.

use std::ffi::c_void;

use crate::abi::{
    LEVEL_DEBUG, LEVEL_ERROR, LEVEL_INFO, LEVEL_TRACE, LEVEL_WARN, LannerHost, LannerLabel,
    LannerMetric, LannerStr, METRIC_COUNTER, METRIC_GAUGE,
};

/// The host. It is `Copy` and valid until the process ends. Every method may be called from any thread.
#[derive(Debug, Clone, Copy)]
pub struct Host {
    table: &'static Table,
}

/// The functions that the host's table has. The table of an older host is shorter.
#[derive(Debug)]
struct Table {
    ctx: *const c_void,
    log: Option<unsafe extern "C" fn(*const c_void, u32, LannerStr)>,
    metrics: Option<Metrics>,
}

#[derive(Debug, Clone, Copy)]
struct Metrics {
    register: unsafe extern "C" fn(*const c_void, *const LannerMetric) -> *const c_void,
    add: unsafe extern "C" fn(*const c_void, u64),
    set: unsafe extern "C" fn(*const c_void, f64),
}

// SAFETY: the host's table never changes, and its functions may be called from any thread.
unsafe impl Send for Table {}
// SAFETY: as above.
unsafe impl Sync for Table {}

/// How important a log message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Level {
    /// A failure.
    Error = LEVEL_ERROR,
    /// Something unusual that a person should look at.
    Warn = LEVEL_WARN,
    /// Normal events worth a line.
    Info = LEVEL_INFO,
    /// Details for finding a fault.
    Debug = LEVEL_DEBUG,
    /// Every detail.
    Trace = LEVEL_TRACE,
}

impl Level {
    /// The level with this number. An unknown number is [`Level::Trace`].
    #[must_use]
    pub fn from_number(number: u32) -> Self {
        match number {
            LEVEL_ERROR => Self::Error,
            LEVEL_WARN => Self::Warn,
            LEVEL_INFO => Self::Info,
            LEVEL_DEBUG => Self::Debug,
            _ => Self::Trace,
        }
    }
}

impl Host {
    /// Wraps the host's table.
    ///
    /// # Safety
    ///
    /// `raw` points to a table that matches the header's description and is valid until the process ends.
    #[must_use]
    pub unsafe fn from_abi(raw: *const LannerHost) -> Option<Self> {
        if raw.is_null() {
            return None;
        }
        // SAFETY: by the function's contract, the size can always be read, and so can every field that it covers.
        let table = unsafe {
            let size = (*raw).size;
            if size < LannerHost::FIRST_SIZE {
                return None;
            }
            let whole = size >= size_of::<LannerHost>();
            let metrics = |raw: *const LannerHost| {
                Some(Metrics {
                    register: (*raw).metric?,
                    add: (*raw).metric_add?,
                    set: (*raw).metric_set?,
                })
            };
            Table {
                ctx: (*raw).ctx,
                log: (*raw).log,
                metrics: if whole { metrics(raw) } else { None },
            }
        };
        // Leaked, because a plugin may keep a `Host` for ever. It is a few words for each opened state.
        let table = Box::leak(Box::new(table));
        Some(Self { table })
    }

    /// Writes a line to lanner's log, after the plugin's name.
    pub fn log(&self, level: Level, message: &str) {
        if let Some(log) = self.table.log {
            // SAFETY: the table is valid by the contract of `from_abi`, and the message lives through the call.
            unsafe {
                log(
                    self.table.ctx,
                    level as u32,
                    LannerStr::new(message.as_bytes()),
                );
            }
        }
    }

    /// A number that only grows, published as `lanner_PLUGIN_NAME`. The same name and labels return the same counter.
    /// `name` consists of letters, digits and `_`, and ends in `_total`. `help` says what is counted, in which unit. A
    /// host without metrics (before 1.2) ignores it.
    #[must_use]
    pub fn counter(&self, name: &str, help: &str, labels: &[(&str, &str)]) -> Counter {
        Counter(self.register(METRIC_COUNTER, name, help, labels))
    }

    /// A number that goes up and down, published like [`Host::counter`].
    #[must_use]
    pub fn gauge(&self, name: &str, help: &str, labels: &[(&str, &str)]) -> Gauge {
        Gauge(self.register(METRIC_GAUGE, name, help, labels))
    }

    fn register(&self, kind: u32, name: &str, help: &str, labels: &[(&str, &str)]) -> Handle {
        let Some(metrics) = self.table.metrics else {
            return Handle(None);
        };
        let text = |text: &str| LannerStr::new(text.as_bytes());
        let labels: Vec<LannerLabel> = labels
            .iter()
            .map(|(name, value)| LannerLabel {
                name: text(name),
                value: text(value),
            })
            .collect();
        let metric = LannerMetric {
            size: size_of::<LannerMetric>(),
            name: text(name),
            help: text(help),
            labels: labels.as_ptr(),
            label_count: labels.len(),
            kind,
            reserved: 0,
        };
        // SAFETY: the table is valid by the contract of `from_abi`, and the metric lives through the call.
        let handle = unsafe { (metrics.register)(self.table.ctx, &raw const metric) };
        Handle((!handle.is_null()).then_some((metrics, handle)))
    }
}

/// A registered metric. None if the host has no metrics or refused this one.
#[derive(Debug, Clone, Copy)]
struct Handle(Option<(Metrics, *const c_void)>);

// SAFETY: a handle may be used from any thread.
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

/// A number that only grows.
#[derive(Debug, Clone, Copy)]
pub struct Counter(Handle);

/// A number that goes up and down.
#[derive(Debug, Clone, Copy)]
pub struct Gauge(Handle);

impl Counter {
    /// Adds. Never blocks.
    pub fn add(&self, by: u64) {
        if let Some((metrics, handle)) = self.0.0 {
            // SAFETY: the host returned this handle, which is valid until the process ends.
            unsafe { (metrics.add)(handle, by) };
        }
    }
}

impl Gauge {
    /// Sets. Never blocks.
    pub fn set(&self, to: f64) {
        if let Some((metrics, handle)) = self.0.0 {
            // SAFETY: as above.
            unsafe { (metrics.set)(handle, to) };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;

    unsafe extern "C" fn log(ctx: *const c_void, level: u32, _message: LannerStr) {
        // SAFETY: the test passes this.
        let seen = unsafe { &*ctx.cast::<std::sync::atomic::AtomicU32>() };
        seen.store(level, std::sync::atomic::Ordering::Relaxed);
    }

    fn table(size: usize, ctx: &std::sync::atomic::AtomicU32) -> LannerHost {
        LannerHost {
            size,
            abi_major: 1,
            abi_minor: 0,
            ctx: std::ptr::from_ref(ctx).cast(),
            log: Some(log),
            // An older host has arbitrary memory after its table.
            metric: None,
            metric_add: None,
            metric_set: None,
        }
    }

    #[test]
    fn a_host_of_the_first_version_logs_and_counts_nothing() {
        let seen = std::sync::atomic::AtomicU32::new(0);
        let raw = table(offset_of!(LannerHost, metric), &seen);
        // SAFETY: the table lives through the test.
        let host = unsafe { Host::from_abi(&raw const raw) }.unwrap();
        host.log(Level::Warn, "x");
        assert_eq!(seen.load(std::sync::atomic::Ordering::Relaxed), LEVEL_WARN);
        host.counter("a_total", "A.", &[]).add(1);
        host.gauge("b", "B.", &[("c", "d")]).set(1.0);
        let short = table(8, &seen);
        // SAFETY: as above.
        assert!(unsafe { Host::from_abi(&raw const short) }.is_none());
    }
}
