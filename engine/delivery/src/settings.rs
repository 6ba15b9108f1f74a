//! The delivery settings of one output.

use std::path::PathBuf;
use std::time::Duration;

use plugin_host::Priority;

/// The delivery settings of one output. The defaults are those of the configuration file.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueSettings {
    /// The name of this output in messages, counters and file names.
    pub name: String,
    /// The most alerts that wait in memory.
    pub queue: usize,
    /// How long one call of the plugin may take before it counts as hanging.
    pub deadline: Duration,
    /// The first pause before an output that asked for it is tried again; doubles.
    pub retry_first: Duration,
    /// The longest such pause.
    pub retry_max: Duration,
    /// The plugin flushes after each batch, not only when no alert waits.
    pub flush_each: bool,
    /// Alerts a second, and how many at once.
    pub rate: Option<Rate>,
    /// Less severe alerts do not go to this output.
    pub least: Priority,
    /// Alerts wait on disk.
    pub spool: Option<SpoolSettings>,
}

/// A token bucket: an average rate and a burst.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Alerts per second.
    pub per_second: f64,
    /// The most alerts at once.
    pub burst: u32,
}

/// Alerts that wait on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolSettings {
    /// The file.
    pub path: PathBuf,
    /// The most bytes of alerts; the file is up to two and a half times as large.
    pub size: u64,
    /// How long an alert may wait.
    pub age: Option<Duration>,
    /// Whether a commit waits until the disk has it.
    pub fsync: bool,
}

impl QueueSettings {
    /// Without spool and limits.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            queue: 8192,
            deadline: Duration::from_secs(10),
            retry_first: Duration::from_millis(100),
            retry_max: Duration::from_secs(5),
            flush_each: false,
            rate: None,
            least: Priority::Debug,
            spool: None,
        }
    }
}
