//! From the command line and the configuration to what runs. Done at the start and for each reload, on a thread
//! that is not the event path; nothing that runs is touched.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use driver_api::request::{Spare, SyscallSet};
use driver_api::table;

use super::lanes;
use super::{plugin_directories, trusted_rule_files};
use crate::alert::{AlertFormat, AlertRule, AppendOutput};
use crate::cli::args::{RunArgs, SourceArgs};
use crate::config::{Config, Loaded, Matching};
use crate::delivery::{Planned, RuleLimits};
use crate::fields::{FieldRegistry, Fields, HostNames, host_names};
use crate::inspect;
use crate::plugin_host::{self, EventTypes, OutputHost, Pins, Plugin, Priority, Rule, RuleHost};
use crate::rule_lanes::RuleLane;
use crate::telemetry::Board;
use crate::template::Template;

/// How long plugins may take to open.
const OPENING: Duration = Duration::from_secs(30);

/// What the command line said, for good.
#[derive(Debug)]
pub(super) struct Blueprint {
    args: RunArgs,
    pub(super) hostname: String,
}

/// Rules that can run, and all that belongs to them.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) rules: RuleHost,
    pub(super) templates: Vec<AlertRule>,
    pub(super) fields: Fields,
    pub(super) format: AlertFormat,
    pub(super) limits: RuleLimits,
    pub(super) board: Arc<Board>,
    /// Rule plugins beside the event path, in the order in which their rules are on the board.
    pub(super) lanes: Vec<RuleLane>,
    pub(super) least: Priority,
    pub(super) selection: SyscallSet,
    pub(super) spare: Spare,
    /// Files and folders that it was made from.
    pub(super) files: Vec<PathBuf>,
}

impl Blueprint {
    pub(super) fn new(args: RunArgs) -> Self {
        let hostname = nix::unistd::gethostname()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        Self { args, hostname }
    }

    /// Whether there is a file that could change.
    pub(super) fn configuration(&self) -> Result<Loaded, String> {
        Config::load(self.args.config.as_deref(), &self.args.options)
    }

    /// Whose events, from which driver: what the command line says goes before the configuration.
    pub(super) fn source(&self, config: &Config) -> SourceArgs {
        let mut source = self.args.source.clone();
        // the command line's limits come later, and so win
        let mut limits: Vec<(String, u32)> = config.limits.clone().into_iter().collect();
        limits.append(&mut source.limits);
        source.limits = limits;
        if let (::drivers::AUTO, Some(driver)) = (source.driver.as_str(), &config.driver) {
            source.driver.clone_from(driver);
        }
        if source.driver_order.is_empty() {
            source.driver_order.clone_from(&config.driver_order);
        }
        source.btf = source.btf.or_else(|| config.btf.clone());
        source
    }

    /// The plugin of this name, if it is the one that was pinned.
    pub(super) fn plugin(&self, config: &Config, name: &str) -> Result<Plugin, String> {
        let pins = Pins::new(config.plugin_sums.clone())?;
        plugin_host::find_pinned(&self.directories(config), name, &pins)
            .map_err(|error| error.to_string())
    }

    fn directories(&self, config: &Config) -> Vec<PathBuf> {
        plugin_directories(if self.args.plugin_dirs.is_empty() {
            config.plugin_dirs.clone()
        } else {
            self.args.plugin_dirs.clone()
        })
    }

    pub(super) fn format(&self, config: &Config) -> AlertFormat {
        AlertFormat {
            iso_time: config.time_format_iso_8601,
            json_output: config.json_include_output_property,
            json_output_fields: config.json_include_output_fields_property,
            json_tags: config.json_include_tags_property,
            json_message: config.json_include_message_property,
            static_fields: config.static_fields.clone(),
            ..AlertFormat::new(self.hostname.clone())
        }
    }

    /// Loads the rules. `before`: those that are counted now.
    pub(super) fn prepare(
        &self,
        loaded: &Loaded,
        before: Option<&Board>,
    ) -> Result<Prepared, String> {
        let config = &loaded.config;
        let named = if self.args.rules.is_empty() {
            &config.rules_files
        } else {
            &self.args.rules
        };
        let (files, mut watched) = trusted_rule_files(named)?;
        watched.extend_from_slice(&loaded.files);
        let registry = FieldRegistry::new(&self.hostname);
        let plugin = self.plugin(config, "rules-falco")?;
        let settings = match config.rule_matching {
            Some(Matching::All) => r#"{"rule_matching":"all"}"#,
            _ => "",
        };
        let mut rules = RuleHost::open(&plugin, &registry, &files, settings)
            .map_err(|error| error.to_string())?;
        let templates = alert_rules(&rules, &config.append_output, &registry)?;
        let mut names = names_to_look_up(&mut rules)?;
        let mut all = rules.rules().to_vec();
        let mut lanes = Vec::new();
        for wanted in &config.rule_plugins {
            let lane = lanes::prepare(self, config, wanted, &registry, all.len(), &mut names)?;
            watched.extend(lane.watched);
            all.extend(lane.rules);
            lanes.push(lane.lane);
        }
        let beside = lanes.iter().filter_map(RuleLane::rules);
        let (selection, spare) =
            selection([&rules].into_iter().chain(beside.map(|lane| &lane.host)));
        let limits = &config.alert_limits;
        let known = |name: &String| all.iter().any(|rule| rule.name == *name);
        if let Some(unknown) = limits.rules.keys().find(|name| !known(name)) {
            let names = all.iter().map(|rule| rule.name.as_str());
            let hint = crate::fields::nearest::did_you_mean(unknown, names);
            return Err(format!("alert_limits: there is no rule {unknown:?}{hint}"));
        }
        Ok(Prepared {
            limits: RuleLimits::new(rules.rules().iter().map(|rule| limits.of(&rule.name))),
            board: Board::new(&all, before.unwrap_or(&Board::default())).into(),
            lanes,
            templates,
            fields: registry.fields().with_names(HostNames::watch(names)),
            format: self.format(config),
            least: config.priority.priority(),
            selection,
            spare,
            files: watched,
            rules,
        })
    }

    /// Does what calls plugins on a thread of its own, so that one that hangs there can be told and left behind.
    pub(super) fn within<T: Send + 'static>(
        self: &Arc<Self>,
        config: &Config,
        work: impl FnOnce(&Self) -> Result<T, String> + Send + 'static,
    ) -> Result<T, String> {
        let patience = config.plugin_deadline.map_or(OPENING, |time| time.0);
        let blueprint = Arc::clone(self);
        plugin_host::within(patience, move || work(&blueprint))
    }

    /// Opens the outputs; of those that run already (by their identity) only the wish to go on.
    pub(super) fn outputs(
        &self,
        config: &Config,
        running: &[String],
    ) -> Result<Vec<Planned>, String> {
        let mut config = config.clone();
        config.json_output |= self.args.json;
        let open = |output: &crate::config::OutputConfig| {
            let lane = output.lane(&config);
            let settings = output.settings_json();
            let plugin = self.plugin(&config, &output.plugin)?;
            let identity = format!("{} {settings} {lane:?}", plugin.path().display());
            let host = if running.contains(&identity) {
                None
            } else {
                let host = OutputHost::open(&plugin, &settings);
                Some(host.map_err(|error| format!("output {}: {error}", output.name()))?)
            };
            Ok(Planned {
                host,
                settings: lane,
                identity,
            })
        };
        config.all_outputs().iter().map(open).collect()
    }

    /// Whether there is a plugin for each output, without opening any.
    pub(super) fn find_outputs(&self, config: &Config) -> Result<(), String> {
        for output in config.all_outputs() {
            self.plugin(config, &output.plugin)?;
        }
        Ok(())
    }
}

/// What all rules put into alerts. A rule that is left out may use what this lanner lacks: its output is empty.
pub(in crate::cli) fn alert_rules(
    rules: &RuleHost,
    append: &[AppendOutput],
    registry: &FieldRegistry,
) -> Result<Vec<AlertRule>, String> {
    let compile = |rule: &Rule| match AlertRule::compile(rule, append, registry) {
        Ok(compiled) => Ok(compiled),
        Err(_) if !rule.enabled => Ok(AlertRule::new(rule, Template::default())),
        Err(error) => Err(format!("rule {:?}, output: {error}", rule.name)),
    };
    rules.rules().iter().map(compile).collect()
}

/// The host names whose addresses the rules need.
pub(super) fn names_to_look_up(rules: &mut RuleHost) -> Result<Vec<String>, String> {
    let comparisons = rules.comparisons().map_err(|error| error.to_string())?;
    Ok(host_names(&comparisons))
}

/// What the rules need, and what the state needs: nothing else is captured. And what of the latter alone can be
/// spared: all of it or nothing, as descriptors are either followed or looked up.
fn selection<'a>(rules: impl Iterator<Item = &'a RuleHost>) -> (SyscallSet, Spare) {
    let of = |rules: &RuleHost| match rules.event_types() {
        EventTypes::All => SyscallSet::all(),
        EventTypes::Only(names) => names
            .iter()
            .filter_map(|name| table::by_name(name))
            .collect(),
    };
    let wanted = rules.fold(SyscallSet::default(), |all, rules| all.union(&of(rules)));
    let spared = inspect::spared();
    let spare = if spared.without(&wanted) == spared {
        Spare {
            if_held: spared,
            ..Spare::NOTHING
        }
    } else {
        Spare::NOTHING
    };
    (wanted.union(&inspect::needed()), spare)
}
