//! Which outputs a configuration asks for: the list `outputs`, and Falco's own keys for some of them.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::error::KeyError;
use super::keys::{AlertLimit, AlertLimits, Config, PriorityName};
use super::units::{Size, Time};
use delivery::{QueueSettings, Rate, RuleLimit, SpoolSettings};

/// Where spools are, unless the configuration says.
const SPOOLS: &str = "/var/lib/lanner/spool";
/// The most alerts or events that a queue may hold. They wait in memory.
pub(super) const MAX_QUEUE: usize = 10_000_000;
/// The least bytes of a spool: some alerts fit.
const MIN_SPOOL: u64 = 64 << 10;
/// How many at once, where a rate is set and nothing else.
const BURST: u32 = 1000;

/// An output under Falco's key: `enabled`, and the plugin's settings beside it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct BuiltInOutput {
    /// Whether it is there.
    pub enabled: bool,
    /// The plugin's settings; it checks them.
    #[serde(flatten)]
    pub settings: Map<String, Value>,
}

impl BuiltInOutput {
    pub(super) fn enabled() -> Self {
        Self {
            enabled: true,
            settings: Map::new(),
        }
    }
}

/// One of `outputs`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OutputConfig {
    /// The plugin, such as `output-file`.
    pub plugin: String,
    /// What it is called in messages and metrics; the plugin's name by default. Each has its own.
    pub name: Option<String>,
    /// The plugin's settings; it checks them.
    #[serde(default)]
    pub settings: Map<String, Value>,
    /// At most this many alerts wait in memory; `outputs_queue.capacity` by default.
    pub queue: Option<usize>,
    /// How long one call of the plugin may take before it is reported as hanging; 10s by default.
    pub deadline: Option<Time>,
    /// The first pause before it is tried again, 100ms by default; it doubles with each retry.
    pub retry_first: Option<Time>,
    /// The longest such pause, 5s by default.
    pub retry_max: Option<Time>,
    /// Alerts a second.
    pub rate: Option<f64>,
    /// How many at once; 1000 by default.
    pub max_burst: Option<u32>,
    /// Alerts that are less severe are not for this output.
    pub priority: Option<PriorityName>,
    /// Alerts wait on disk while the output is away, and across restarts.
    pub spool: Option<SpoolConfig>,
}

/// `spool`
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SpoolConfig {
    /// The file; `/var/lib/lanner/spool/NAME.redb` by default.
    pub path: Option<PathBuf>,
    /// At most this many bytes of alerts, 64M by default; then the oldest go. The file is up to two and a half times as
    /// large.
    pub size: Option<Size>,
    /// How long an alert may wait; without: for ever.
    pub age: Option<Time>,
    /// When alerts are safe from a loss of power.
    pub fsync: Fsync,
}

/// When the disk is made to write.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Fsync {
    /// With each commit: what is in the spool survives a loss of power.
    #[default]
    Always,
    /// When the kernel likes: it survives the death of lanner, but a loss of power may cost all of it.
    Never,
}

/// What names and numbers must be.
pub(super) fn check(outputs: &[OutputConfig]) -> Result<(), KeyError> {
    let mut names = BTreeSet::new();
    let mut spools: Vec<(Spool, &str)> = Vec::new();
    for output in outputs {
        let name = output.name();
        let ok = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.len() > 64 || name.starts_with('.') || !name.chars().all(ok) {
            return Err(KeyError::OutputName(name.to_owned()));
        }
        if !names.insert(name) {
            return Err(KeyError::OutputTwice(name.to_owned()));
        }
        if output.queue == Some(0) {
            return Err(KeyError::NoAlerts(name.to_owned()));
        }
        if output.queue.is_some_and(|queue| queue > MAX_QUEUE) {
            return Err(KeyError::LongQueue(format!("{name}: queue")));
        }
        let times = [
            ("deadline", output.deadline),
            ("retry_first", output.retry_first),
            ("retry_max", output.retry_max),
            (
                "spool.age",
                output.spool.as_ref().and_then(|spool| spool.age),
            ),
        ];
        for (key, time) in times {
            if time.is_some_and(|time| time.0.is_zero()) {
                return Err(KeyError::NoTime(format!("{name}: {key}")));
            }
        }
        let pauses = output.queue(&Config::default());
        if pauses.retry_first > pauses.retry_max {
            return Err(KeyError::ShrinkingPauses(name.to_owned()));
        }
        if let Some(spool) = &output.spool {
            let settings = output.spool(spool);
            if settings.path.as_os_str().is_empty() {
                return Err(KeyError::NoSpoolPath(name.to_owned()));
            }
            if settings.size < MIN_SPOOL {
                return Err(KeyError::SmallSpool(name.to_owned()));
            }
            let spool = Spool::at(&settings.path);
            for (other, of) in &spools {
                let names = || (name.to_owned(), (*of).to_owned());
                if spool.is_same(other) {
                    let (name, of) = names();
                    return Err(KeyError::SpoolTwice(name, of));
                }
                if spool.is_inside(other) {
                    let (name, of) = names();
                    return Err(KeyError::SpoolInside(name, of));
                }
                if other.is_inside(&spool) {
                    let (name, of) = names();
                    return Err(KeyError::SpoolInside(of, name));
                }
            }
            spools.push((spool, name));
        }
        if output
            .rate
            .is_some_and(|rate| !rate.is_finite() || rate < 0.0)
        {
            return Err(KeyError::Rate(name.to_owned()));
        }
    }
    Ok(())
}

/// The place of a spool, however its path is written.
struct Spool {
    path: PathBuf,
    /// The file that is there, by device and inode.
    file: Option<(u64, u64)>,
}

impl Spool {
    fn at(path: &Path) -> Self {
        Self {
            path: real(path),
            file: fs::metadata(path)
                .ok()
                .map(|found| (found.dev(), found.ino())),
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        self.path == other.path || (self.file.is_some() && self.file == other.file)
    }

    fn is_inside(&self, other: &Self) -> bool {
        self.path.starts_with(&other.path)
    }
}

/// A path without links, `.` and `..`. Components that do not exist stay as they are written.
pub(crate) fn real(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    for there in path.ancestors() {
        let Ok(mut real) = there.canonicalize() else {
            continue;
        };
        for part in path.strip_prefix(there).unwrap_or(&path).components() {
            match part {
                Component::ParentDir => drop(real.pop()),
                Component::Normal(name) => real.push(name),
                Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
            }
        }
        return real;
    }
    path
}

fn rate(rate: Option<f64>, burst: Option<u32>) -> Option<Rate> {
    rate.filter(|rate| *rate > 0.0).map(|per_second| Rate {
        per_second,
        burst: burst.unwrap_or(BURST).max(1),
    })
}

impl OutputConfig {
    fn plain(plugin: &str, settings: Map<String, Value>) -> Self {
        Self {
            plugin: plugin.to_owned(),
            name: None,
            settings,
            queue: None,
            deadline: None,
            retry_first: None,
            retry_max: None,
            rate: None,
            max_burst: None,
            priority: None,
            spool: None,
        }
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.plugin)
    }

    /// The plugin's settings as JSON; nothing where there are none.
    #[must_use]
    pub fn settings_json(&self) -> String {
        if self.settings.is_empty() {
            return String::new();
        }
        Value::Object(self.settings.clone()).to_string()
    }

    /// How alerts go to it.
    #[must_use]
    pub fn queue(&self, config: &Config) -> QueueSettings {
        let defaults = QueueSettings::new(self.name());
        let time = |time: Option<Time>, default: Duration| time.map_or(default, |time| time.0);
        QueueSettings {
            queue: self.queue.unwrap_or(config.outputs_queue.capacity),
            deadline: time(self.deadline, defaults.deadline),
            retry_first: time(self.retry_first, defaults.retry_first),
            retry_max: time(self.retry_max, defaults.retry_max),
            flush_each: !config.buffered_outputs,
            rate: rate(self.rate, self.max_burst),
            least: self.priority.unwrap_or_default().priority(),
            spool: self.spool.as_ref().map(|spool| self.spool(spool)),
            name: defaults.name,
        }
    }

    fn spool(&self, spool: &SpoolConfig) -> SpoolSettings {
        let default = || Path::new(SPOOLS).join(format!("{}.redb", self.name()));
        SpoolSettings {
            path: spool.path.clone().unwrap_or_else(default),
            size: spool.size.map_or(64 << 20, |size| size.0),
            age: spool.age.map(|age| age.0),
            fsync: spool.fsync == Fsync::Always,
        }
    }
}

impl Config {
    /// Sends the alerts that would go to standard output to a file, which they are appended to.
    pub(crate) fn replace_stdout(&mut self, file: &Path, json: bool) {
        let mut settings = Map::new();
        settings.insert("filename".to_owned(), file.to_string_lossy().into());
        settings.insert("json".to_owned(), json.into());
        settings.insert("special".to_owned(), true.into());
        self.stdout_output.enabled = false;
        self.outputs.push(OutputConfig {
            name: Some("--output".to_owned()),
            ..OutputConfig::plain("output-file", settings)
        });
    }

    /// All outputs, those under Falco's keys first.
    #[must_use]
    pub fn all_outputs(&self) -> Vec<OutputConfig> {
        let named = |plugin: &str| self.outputs.iter().any(|output| output.name() == plugin);
        let built_in = [
            (&self.stdout_output, "output-console", true),
            (&self.file_output, "output-file", true),
            (&self.syslog_output, "output-syslog", true),
            (&self.program_output, "output-program", true),
            (&self.http_output, "output-http", false),
        ];
        let mut outputs: Vec<OutputConfig> = built_in
            .into_iter()
            .filter(|(output, plugin, _)| output.enabled && !named(plugin))
            .map(|(output, plugin, lines)| {
                let mut settings = output.settings.clone();
                if lines && self.json_output && !settings.contains_key("json") {
                    settings.insert("json".to_owned(), Value::Bool(true));
                }
                OutputConfig::plain(plugin, settings)
            })
            .collect();
        outputs.extend(self.outputs.iter().cloned());
        outputs
    }
}

impl AlertLimits {
    /// The limits of a rule.
    #[must_use]
    pub fn of(&self, rule: &str) -> RuleLimit {
        let own = self
            .rules
            .get(rule)
            .copied()
            .unwrap_or(AlertLimit::default());
        let deduplicate = own.deduplicate.or(self.deduplicate).map(|time| time.0);
        RuleLimit {
            rate: rate(own.rate.or(self.rate), own.max_burst.or(self.max_burst)),
            deduplicate: deduplicate.filter(|time| !time.is_zero()),
        }
    }
}
