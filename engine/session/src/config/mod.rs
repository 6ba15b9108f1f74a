//! The configuration of `lanner run`: YAML, read strictly. Falco's key names where the meaning is the same.
//!
//! | file | does |
//! |---|---|
//! | `tree` | YAML with places |
//! | `expand` | what comes from the environment and from files |
//! | `merge` | included files, `-o key=value` |
//! | `strict` | unknown keys, and words for yes and no |
//! | `from_falco` | converts Falco's configuration |
//! | `keys`, `capture`, `outputs`, `webserver`, `units` | the keys, typed |
//! | `error` | what is wrong, and where |

mod capture;
mod error;
mod expand;
mod from_falco;
mod keys;
mod merge;
mod outputs;
mod strict;
mod tree;
mod units;
mod webserver;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use driver_api::request::Limits;

use lanner_plugin::files;
use plugin_host::Pins;

pub use capture::{CaptureConfig, CaptureMode, CaptureSelection};
use error::shown;
pub use error::{ConfigError, ExpandError, Fault, KeyError, OptionError};
pub use from_falco::{Converted, from_falco};
pub use keys::{
    AlertLimit, AlertLimits, Config, DEFAULT_RULES_PLUGIN, DropAction, EventDrops, HeartbeatConfig,
    LogLevel, Matching, OutputsQueue, RulePluginConfig,
};
pub use outputs::{BuiltInOutput, Fsync, OutputConfig, SpoolConfig};
pub use units::{Size, Time};
pub use webserver::{PageConfig, Webserver};

use merge::Strategy;
use outputs::MAX_QUEUE;
pub(crate) use outputs::real;
use tree::{Location, Node, NodeValue};

/// The largest file that is read, in bytes.
const MAX_FILE: u64 = 4 << 20;

/// A configuration, and the files that it was read from.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    /// The files and folders. If one changes, the configuration has to be loaded again.
    pub files: Vec<PathBuf>,
    /// Files of those that have no key.
    pub blank: Vec<PathBuf>,
}

/// Files that were read, as in [`Loaded`].
#[derive(Debug, Default)]
struct ReadFiles {
    all: Vec<PathBuf>,
    blank: Vec<PathBuf>,
}

/// The schema of the configuration file (JSON Schema).
#[must_use]
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Config).to_value()
}

impl Config {
    /// Reads a file, what it includes, and the command line's options. No file: the options alone.
    ///
    /// # Errors
    ///
    /// The first fault, with file and line. For unknown keys: all of them, one a line.
    pub fn load(path: Option<&Path>, options: &[String]) -> Result<Loaded, ConfigError> {
        let mut files = ReadFiles::default();
        let mut root = match path {
            Some(path) => read(path, &mut files)?,
            None => Node::map(Location {
                source: Arc::from("-o"),
                line: 0,
            }),
        };
        let includes = root.take("config_files");
        if let Some(includes) = &includes {
            include(&mut root, includes, path, &mut files)?;
        }
        for option in options {
            merge::set(&mut root, option)?;
        }
        if let Some(late) = root.get("config_files") {
            return Err(ConfigError::at(&late.place, Fault::LateInclude));
        }
        let schema = schema();
        strict::read_booleans(&mut root, &schema);
        let unknown = strict::unknown_keys(&root, &schema);
        if !unknown.is_empty() {
            return Err(ConfigError::UnknownKeys(unknown));
        }
        let config = typed(&root)?;
        config.check().map_err(|(key, source)| {
            let place = root.get(key).map_or(&root.place, |node| &node.place);
            ConfigError::at(place, Fault::Key { key, source })
        })?;
        Ok(Loaded {
            config,
            files: files.all,
            blank: files.blank,
        })
    }

    /// Checks what the types cannot express. An error has the key and what is wrong.
    fn check(&self) -> Result<(), (&'static str, KeyError)> {
        self.check_driver()?;
        self.check_plugins()?;
        if self.outputs_queue.capacity == 0 {
            return Err(("outputs_queue", KeyError::EmptyQueue));
        }
        if self.outputs_queue.capacity > MAX_QUEUE {
            let key = "capacity".to_owned();
            return Err(("outputs_queue", KeyError::LongQueue(key)));
        }
        self.check_rates()?;
        if self.heartbeat.interval.0 < HeartbeatConfig::LEAST {
            return Err(("heartbeat", KeyError::FastHeartbeat));
        }
        (self.capture.check()).map_err(|problem| ("capture", problem))?;
        outputs::check(&self.outputs).map_err(|problem| ("outputs", problem))?;
        (self.webserver.check()).map_err(|problem| ("webserver", problem))
    }

    fn check_driver(&self) -> Result<(), (&'static str, KeyError)> {
        for (name, value) in &self.limits {
            (Limits::default().set(name, *value)).map_err(|error| ("limits", error.into()))?;
        }
        if let Some(driver) = &self.driver
            && driver != drivers::AUTO
        {
            drivers::Order::named(&[driver]).map_err(|error| ("driver", error.into()))?;
        }
        drivers::Order::named(&self.driver_order)
            .map_err(|error| ("driver_order", error.into()))?;
        Ok(())
    }

    fn check_plugins(&self) -> Result<(), (&'static str, KeyError)> {
        Pins::new(self.plugin_sums.clone()).map_err(|error| ("plugin_sums", error.into()))?;
        for (at, plugin) in self.rule_plugins.iter().enumerate() {
            let name = &plugin.plugin;
            let mut before = self.rule_plugins[..at].iter();
            if before.any(|other| other.plugin == *name) {
                return Err(("rule_plugins", KeyError::PluginTwice(name.clone())));
            }
            if plugin.queue == Some(0) {
                return Err(("rule_plugins", KeyError::NoEvents(name.clone())));
            }
            if plugin.queue.is_some_and(|queue| queue > MAX_QUEUE) {
                return Err(("rule_plugins", KeyError::LongQueue(name.clone())));
            }
            if plugin.deadline.is_some_and(|time| time.0.is_zero()) {
                let key = format!("{name}: deadline");
                return Err(("rule_plugins", KeyError::NoTime(key)));
            }
        }
        if self.plugin_deadline.is_some_and(|time| time.0.is_zero()) {
            let key = "plugin_deadline".to_owned();
            return Err(("plugin_deadline", KeyError::NoTime(key)));
        }
        Ok(())
    }

    fn check_rates(&self) -> Result<(), (&'static str, KeyError)> {
        let is_rate = |rate: f64| rate.is_finite() && rate >= 0.0;
        let limits = &self.alert_limits;
        let rates = [("all rules", limits.rate)]
            .into_iter()
            .chain((limits.rules.iter()).map(|(rule, limit)| (rule.as_str(), limit.rate)));
        for (rule, rate) in rates {
            if rate.is_some_and(|rate| !is_rate(rate)) {
                return Err(("alert_limits", KeyError::Rate(rule.to_owned())));
            }
        }
        let drops = &self.syscall_event_drops;
        if !is_rate(drops.rate) {
            let what = "losses".to_owned();
            return Err(("syscall_event_drops", KeyError::Rate(what)));
        }
        if drops.actions.contains(&DropAction::Ignore) && drops.actions.len() > 1 {
            return Err(("syscall_event_drops", KeyError::IgnoreAndMore));
        }
        if !(0.0..=1.0).contains(&drops.threshold) {
            return Err(("syscall_event_drops", KeyError::Threshold));
        }
        Ok(())
    }
}

fn read(path: &Path, files: &mut ReadFiles) -> Result<Node, ConfigError> {
    files.all.push(path.to_owned());
    let text = files::read_text(path, MAX_FILE)?;
    let source: Arc<str> = Arc::from(path.display().to_string());
    let place = Location {
        source: Arc::clone(&source),
        line: 1,
    };
    let node = tree::parse(&source, &text)?.unwrap_or_else(|| Node::map(place));
    let NodeValue::Map(keys) = &node.kind else {
        return Err(ConfigError::at(node.place, Fault::NotAMap));
    };
    if keys.is_empty() {
        files.blank.push(path.to_owned());
    }
    Ok(node)
}

/// Adds the files and folders of `config_files`, each a path or `{path:, strategy:}`.
fn include(
    root: &mut Node,
    includes: &Node,
    main: Option<&Path>,
    files: &mut ReadFiles,
) -> Result<(), ConfigError> {
    let base = main.and_then(Path::parent).unwrap_or(Path::new(""));
    let NodeValue::List(items) = &includes.kind else {
        return Err(ConfigError::at(&includes.place, Fault::IncludesNotAList));
    };
    for item in items {
        let (path, strategy) = included(item)?;
        let path = base.join(path);
        if path.is_dir() {
            files.all.push(path.clone());
            for file in files::list(&path, &["yaml", "yml"])? {
                include_one(root, &file, strategy, files)?;
            }
        } else {
            include_one(root, &path, strategy, files)?;
        }
    }
    Ok(())
}

fn include_one(
    root: &mut Node,
    path: &Path,
    strategy: Strategy,
    files: &mut ReadFiles,
) -> Result<(), ConfigError> {
    let node = read(path, files)?;
    if let Some(nested) = node.get("config_files") {
        return Err(ConfigError::at(&nested.place, Fault::NestedInclude));
    }
    merge::merge(root, node, strategy);
    Ok(())
}

fn included(item: &Node) -> Result<(&str, Strategy), ConfigError> {
    let wrong = || ConfigError::at(&item.place, Fault::Include);
    let text = |node: &Node| match &node.kind {
        NodeValue::Text(text) => Some(text.clone()),
        _ => None,
    };
    match &item.kind {
        NodeValue::Text(path) => Ok((path, Strategy::default())),
        NodeValue::Map(entries)
            if entries
                .iter()
                .all(|(key, _)| key == "path" || key == "strategy") =>
        {
            let strategy = match item
                .get("strategy")
                .map(|node| text(node).ok_or_else(wrong))
            {
                None => Strategy::default(),
                Some(name) => Strategy::named(&name?).ok_or_else(wrong)?,
            };
            match item.get("path").map(|node| &node.kind) {
                Some(NodeValue::Text(path)) => Ok((path, strategy)),
                _ => Err(wrong()),
            }
        }
        _ => Err(wrong()),
    }
}

/// The tree as a [`Config`]. An error names the place. It never shows a value from the environment or a file.
fn typed(root: &Node) -> Result<Config, ConfigError> {
    serde_path_to_error::deserialize(root.json()).map_err(|error| {
        use serde_path_to_error::Segment;
        let path = error.path().clone();
        let mut node = root;
        let mut secret = false;
        for segment in &path {
            let next = match (segment, &node.kind) {
                (Segment::Map { key }, _) => node.get(key),
                (Segment::Seq { index }, NodeValue::List(items)) => items.get(*index),
                _ => None,
            };
            node = next.unwrap_or(node);
            secret |= node.secret;
        }
        let problem = error.into_inner().to_string();
        let problem = if secret || holds_secret(node) {
            let expected = expected(&problem).map(|what| format!("; expected {what}"));
            format!(
                "what came from the environment or a file (it is not shown) does not fit here{}",
                expected.unwrap_or_default()
            )
        } else {
            in_words(shown(&problem))
        };
        let path = shown(&path.to_string());
        ConfigError::at(&node.place, Fault::Value { path, problem })
    })
}

/// What serde says, without names of types.
fn in_words(problem: String) -> String {
    match (problem.rsplit_once(EXPECTED), expected(&problem)) {
        (Some((before, _)), Some(what)) => format!("{before}{EXPECTED}{what}"),
        _ => problem,
    }
}

/// Before what serde says that a value must be.
const EXPECTED: &str = ", expected ";

/// What a value must be, if serde says that it has another type. It never has a part of the value.
fn expected(problem: &str) -> Option<String> {
    if !["invalid type: ", "invalid value: "]
        .iter()
        .any(|begin| problem.starts_with(begin))
    {
        return None;
    }
    let (_, what) = problem.rsplit_once(EXPECTED)?;
    Some(match what {
        "u8" => format!("a whole number from 0 to {}", u8::MAX),
        "u16" => format!("a whole number from 0 to {}", u16::MAX),
        "u32" => format!("a whole number from 0 to {}", u32::MAX),
        "u64" | "usize" => "a whole number that is not negative".to_owned(),
        "f64" => "a number".to_owned(),
        "a string" => "a text".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "a map of keys".to_owned(),
        what if what.starts_with("struct ") => "a map of keys".to_owned(),
        what => what.to_owned(),
    })
}

fn holds_secret(node: &Node) -> bool {
    node.secret
        || match &node.kind {
            NodeValue::List(items) => items.iter().any(holds_secret),
            NodeValue::Map(entries) => entries.iter().any(|(_, node)| holds_secret(node)),
            _ => false,
        }
}

#[cfg(test)]
mod tests;
