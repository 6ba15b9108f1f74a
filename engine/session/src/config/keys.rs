//! The keys of the configuration.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::capture::CaptureConfig;
use super::outputs::{BuiltInOutput, OutputConfig};
use super::units::Time;
use super::webserver::Webserver;
use delivery::alert::AppendOutput;

/// What a configuration file may say. Options of the command line override it.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// More configuration files and folders of them, read in this order after this one: a path, or `path` with a
    /// `strategy` (`append`: lists get longer, everything else is replaced; `override`; `add-only`).
    pub config_files: Vec<serde_json::Value>,
    /// Reload when a file of the configuration or of the rules changes.
    pub watch_config_files: bool,
    /// Rule files and folders of them, in this order. Default: `/etc/lanner/lanner_rules.yaml`, or the rules built
    /// in.
    pub rules_files: Vec<PathBuf>,
    /// The plugin that reads them.
    pub rules_plugin: String,
    /// `first`: the first rule that matches an event wins; `all`: every one.
    pub rule_matching: Option<Matching>,
    /// Rules that are less severe than this raise no alert.
    pub priority: PriorityName,
    /// Where plugins are.
    pub plugin_dirs: Vec<PathBuf>,
    /// Rule plugins beside the rules of `rules_files`, each on a thread of its own.
    pub rule_plugins: Vec<RulePluginConfig>,
    /// How long plugins may take to open, 30s by default.
    pub plugin_deadline: Option<Time>,
    /// SHA-256 sums by file name (`liboutput_http.so`), as `sha256sum` prints them. Where there is one, plugin files
    /// that are not named are refused.
    pub plugin_sums: BTreeMap<String, String>,

    /// The driver, `auto` by default.
    pub driver: Option<String>,
    /// The drivers that `auto` tries, in this order; those that are not named are not tried.
    pub driver_order: Vec<String>,
    /// A file with the kernel's types (`--btf`).
    pub btf: Option<PathBuf>,
    /// How much of the memory behind arguments is captured: bytes, path, strings, arrays, entries.
    pub limits: BTreeMap<String, u32>,

    /// Alerts as JSON lines.
    pub json_output: bool,
    /// JSON has `output`.
    pub json_include_output_property: bool,
    /// JSON has `output_fields`.
    pub json_include_output_fields_property: bool,
    /// JSON has `message`, the text without time and priority.
    pub json_include_message_property: bool,
    /// JSON has `tags`.
    pub json_include_tags_property: bool,
    /// Date and time in UTC at the beginning of the text.
    pub time_format_iso_8601: bool,
    /// Texts that are appended to alerts, each with the rules that it applies to.
    pub append_output: Vec<AppendOutput>,
    /// Fields that every alert has.
    pub static_fields: BTreeMap<String, String>,

    /// Plugins do not push out what they hold back after each batch, but when nothing waits any more.
    pub buffered_outputs: bool,
    /// The queue in memory of each output.
    pub outputs_queue: OutputsQueue,
    /// Alerts on standard output.
    pub stdout_output: BuiltInOutput,
    /// Alerts in a file (plugin `output-file`, with its settings here).
    pub file_output: BuiltInOutput,
    /// Alerts to syslog (plugin `output-syslog`).
    pub syslog_output: BuiltInOutput,
    /// Alerts to a program (plugin `output-program`).
    pub program_output: BuiltInOutput,
    /// Alerts to a server (plugin `output-http`).
    pub http_output: BuiltInOutput,
    /// Outputs with everything that can be set for them.
    pub outputs: Vec<OutputConfig>,
    /// Limits by rule.
    pub alert_limits: AlertLimits,
    /// What happens when events are lost.
    pub syscall_event_drops: EventDrops,

    /// A call of lanner's own that must come back as an event.
    pub heartbeat: HeartbeatConfig,

    /// Files with the events around an alert.
    pub capture: CaptureConfig,

    /// Metrics, health, versions and a page over HTTP.
    pub webserver: Webserver,
    /// What is logged: `error`, `warn`, `info`, `debug`, `trace`. LANNER_LOG and `-v` go before it.
    pub log_level: Option<LogLevel>,
}

/// The plugin that reads rule files, unless the configuration says otherwise.
pub const DEFAULT_RULES_PLUGIN: &str = "rules-falco";

/// One of `rule_plugins`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RulePluginConfig {
    /// The plugin, such as `rules-mine`.
    pub plugin: String,
    /// Rule files and folders of them, for a plugin that reads some.
    #[serde(default)]
    pub rules_files: Vec<PathBuf>,
    /// The plugin's settings; it checks them.
    #[serde(default)]
    pub settings: serde_json::Map<String, serde_json::Value>,
    /// At most this many events wait for it, 8192 by default.
    pub queue: Option<usize>,
    /// How long one call may take before the plugin is reported as hanging; 10s by default.
    pub deadline: Option<Time>,
}

/// How many rules an event can match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Matching {
    /// The first in load order.
    First,
    /// Every one.
    All,
}

/// A priority, as Falco's configuration has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PriorityName {
    /// 0, as in syslog.
    Emergency,
    /// 1, as in syslog.
    Alert,
    /// 2, as in syslog.
    Critical,
    /// 3, as in syslog.
    Error,
    /// 4, as in syslog.
    Warning,
    /// 5, as in syslog.
    Notice,
    /// 6
    #[serde(alias = "info")]
    Informational,
    /// 7: every rule.
    #[default]
    Debug,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// What failed.
    Error,
    /// And what may be wrong.
    #[serde(alias = "warning")]
    Warn,
    /// And what happens.
    #[serde(alias = "notice")]
    Info,
    /// And how it happens.
    Debug,
    /// Everything.
    Trace,
}

/// `outputs_queue`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OutputsQueue {
    /// At most this many alerts wait in memory for each output.
    pub capacity: usize,
}

/// `alert_limits`: off by default.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AlertLimits {
    /// Alerts a second of each rule.
    pub rate: Option<f64>,
    /// How many at once.
    pub max_burst: Option<u32>,
    /// For so long after an alert, the same one (same rule, same fields) is left out.
    pub deduplicate: Option<Time>,
    /// Other limits for these rules, by name.
    pub rules: BTreeMap<String, AlertLimit>,
}

/// The limits of a rule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AlertLimit {
    /// Alerts a second; 0: as many as there are.
    pub rate: Option<f64>,
    /// How many at once.
    pub max_burst: Option<u32>,
    /// For so long after an alert, the same one is left out; 0s: never.
    pub deduplicate: Option<Time>,
}

/// `syscall_event_drops`
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EventDrops {
    /// Nothing is done while at most this part of a second's events is lost (0 to 1).
    pub threshold: f64,
    /// What is done.
    pub actions: Vec<DropAction>,
    /// How often, a second.
    pub rate: f64,
    /// How often at once.
    pub max_burst: u32,
}

/// What is done when events are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DropAction {
    /// Nothing.
    Ignore,
    /// A message in the log.
    Log,
    /// An alert.
    Alert,
    /// lanner ends.
    Exit,
}

/// `heartbeat`: on by default, for captures of the whole host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HeartbeatConfig {
    /// Whether there is one.
    pub enabled: bool,
    /// How often, 2s by default; 100ms at least. It is missing when five in a row have not come back.
    pub interval: Time,
}

impl HeartbeatConfig {
    /// The shortest interval.
    pub(super) const LEAST: Duration = Duration::from_millis(100);
}

impl Default for HeartbeatConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            interval: Time(Duration::from_secs(2)),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            config_files: Vec::new(),
            watch_config_files: true,
            rules_files: Vec::new(),
            rules_plugin: DEFAULT_RULES_PLUGIN.to_owned(),
            rule_matching: None,
            priority: PriorityName::Debug,
            plugin_dirs: Vec::new(),
            rule_plugins: Vec::new(),
            plugin_deadline: None,
            plugin_sums: BTreeMap::new(),
            driver: None,
            driver_order: Vec::new(),
            btf: None,
            limits: BTreeMap::new(),
            json_output: false,
            json_include_output_property: true,
            json_include_output_fields_property: true,
            json_include_message_property: false,
            json_include_tags_property: true,
            time_format_iso_8601: false,
            append_output: Vec::new(),
            static_fields: BTreeMap::new(),
            buffered_outputs: false,
            outputs_queue: OutputsQueue::default(),
            stdout_output: BuiltInOutput::enabled(),
            file_output: BuiltInOutput::default(),
            syslog_output: BuiltInOutput::default(),
            program_output: BuiltInOutput::default(),
            http_output: BuiltInOutput::default(),
            outputs: Vec::new(),
            alert_limits: AlertLimits::default(),
            syscall_event_drops: EventDrops::default(),
            heartbeat: HeartbeatConfig::default(),
            capture: CaptureConfig::default(),
            webserver: Webserver::default(),
            log_level: None,
        }
    }
}

impl Default for OutputsQueue {
    fn default() -> Self {
        Self { capacity: 8192 }
    }
}

impl Default for EventDrops {
    fn default() -> Self {
        Self {
            threshold: 0.0,
            actions: vec![DropAction::Log, DropAction::Alert],
            rate: 0.033_33,
            max_burst: 1,
        }
    }
}

impl PriorityName {
    /// The priority.
    #[must_use]
    pub fn priority(self) -> plugin_host::Priority {
        use plugin_host::Priority;
        match self {
            Self::Emergency => Priority::Emergency,
            Self::Alert => Priority::Alert,
            Self::Critical => Priority::Critical,
            Self::Error => Priority::Error,
            Self::Warning => Priority::Warning,
            Self::Notice => Priority::Notice,
            Self::Informational => Priority::Informational,
            Self::Debug => Priority::Debug,
        }
    }
}

impl LogLevel {
    /// As LANNER_LOG has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}
