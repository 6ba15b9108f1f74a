//! Rule plugins beside the event path: from the configuration to what can be started.

use std::cell::RefCell;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::config::{Config, RulePluginConfig};
use crate::error::LoadError;
use crate::rule_files::trusted_rule_files;
use crate::rule_loader::{RuleLoader, alerts_of, names_to_look_up};
use crate::rule_workers::{RuleWorker, WorkerRules, WorkerSettings};
use delivery::RuleLimits;
use fields::{FieldId, FieldRegistry};
use plugin_host::{EventTypes, FieldResolver, ResolvedField, Rule, RuleHost, UnknownName};

/// How many events wait at most, unless the configuration sets it.
const QUEUE: usize = 8192;
/// How long a call may take, unless the configuration sets it.
const DEADLINE: Duration = Duration::from_secs(10);

/// A plugin that can be started.
pub(super) struct LoadedWorker {
    pub(super) worker: RuleWorker,
    pub(super) rules: Vec<Rule>,
    /// The files and folders that it was loaded from.
    pub(super) watched: Vec<PathBuf>,
}

/// Notes the fields that a plugin resolves.
struct Noting<'a> {
    registry: &'a FieldRegistry,
    ids: RefCell<Vec<FieldId>>,
}

impl FieldResolver for Noting<'_> {
    fn resolve(&self, name: &str, arg: Option<&str>) -> Result<ResolvedField, UnknownName> {
        self.ids.borrow_mut().push(self.registry.field(name, arg)?);
        self.registry.resolve(name, arg)
    }

    fn event_type(&self, name: &str) -> Result<u32, UnknownName> {
        self.registry.event_type(name)
    }
}

/// Opens a plugin. `first` is the index of its first rule on the board. The host names that its rules compare with are
/// added to `names`.
pub(super) fn load(
    loader: &RuleLoader,
    config: &Config,
    wanted: &RulePluginConfig,
    registry: &FieldRegistry,
    first: usize,
    names: &mut Vec<String>,
) -> Result<LoadedWorker, LoadError> {
    let noting = Noting {
        registry,
        ids: RefCell::default(),
    };
    let (mut host, watched) = open(loader, config, wanted, &noting)?;
    names.extend(names_to_look_up(&mut host)?);
    let types = match host.event_types() {
        EventTypes::All => None,
        EventTypes::Only(types) => {
            let number = |name: &String| registry.event_type(name);
            let numbers: Result<Vec<u32>, _> = types.iter().map(number).collect();
            Some(numbers.map_err(|error| LoadError::EventType {
                plugin: wanted.plugin.clone(),
                source: error.into(),
            })?)
        }
    };
    let limits = &config.alert_limits;
    let rules = host.rules().to_vec();
    let worker = WorkerRules {
        alerts: alerts_of(&host, config, registry)?,
        limits: RuleLimits::new(rules.iter().map(|rule| limits.of(&rule.name))),
        first,
        least: config.priority.priority(),
        format: loader.format(config),
        host,
    };
    let settings = WorkerSettings {
        queue: wanted.queue.unwrap_or(QUEUE),
        deadline: wanted.deadline.map_or(DEADLINE, |time| time.0),
    };
    Ok(LoadedWorker {
        worker: RuleWorker::new(worker, &settings, noting.ids.into_inner(), types),
        rules,
        watched,
    })
}

/// Opens a plugin with its rule files. Also returns the paths to watch.
pub(super) fn open(
    loader: &RuleLoader,
    config: &Config,
    wanted: &RulePluginConfig,
    resolver: &dyn FieldResolver,
) -> Result<(RuleHost, Vec<PathBuf>), LoadError> {
    let (files, watched) = match wanted.rules_files.as_slice() {
        [] => Default::default(),
        named => trusted_rule_files(named).map_err(|source| LoadError::RuleFiles {
            from: "rule_plugins: rules_files",
            source,
        })?,
    };
    let plugin = loader.plugin(config, &wanted.plugin)?;
    let settings = match &wanted.settings {
        none if none.is_empty() => String::new(),
        settings => Value::Object(settings.clone()).to_string(),
    };
    let host = RuleHost::open(&plugin, resolver, &files, &settings).map_err(LoadError::Worker)?;
    Ok((host, watched))
}
