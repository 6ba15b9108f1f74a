//! How alerts go to one output: what of the queue can be set.

use std::path::PathBuf;
use std::time::Duration;

use plugin_host::Priority;

/// How alerts go to one output. The defaults are those of the configuration file.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueSettings {
    /// What this output is called in messages, counters and file names.
    pub name: String,
    /// Alerts that wait in memory at the most.
    pub queue: usize,
    /// How long one call of the plugin may take before it counts as hanging.
    pub deadline: Duration,
    /// The first pause before an output that asked for it is tried again; doubles.
    pub retry_first: Duration,
    /// The longest such pause.
    pub retry_max: Duration,
    /// Pushed out after each batch, rather than when nothing waits any more.
    pub flush_each: bool,
    /// Alerts a second, and how many at once.
    pub rate: Option<Rate>,
    /// Alerts that are less severe are not for this output.
    pub least: Priority,
    /// Alerts wait on disk.
    pub spool: Option<SpoolSettings>,
}

/// A token bucket: so many a second on the average, and so many at once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// A second.
    pub per_second: f64,
    /// At once.
    pub burst: u32,
}

/// Alerts that wait on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolSettings {
    /// The file.
    pub path: PathBuf,
    /// Bytes of alerts at the most; the file is up to two and a half times as large.
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
            retry_first: Duration::from_millis(20),
            retry_max: Duration::from_secs(5),
            flush_each: false,
            rate: None,
            least: Priority::Debug,
            spool: None,
        }
    }
}
