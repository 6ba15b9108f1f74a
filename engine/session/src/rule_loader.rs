//! Loads the configuration, the rules and the plugins, at the start and for each reload. A reload does this on a thread of
//! its own and changes nothing that runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use driver_api::request::{Omit, SyscallSet};
use driver_api::selection::Selection;

use crate::claims::Claims;
use crate::config::{AlertLimits, CaptureSelection, Config, Loaded, Matching};
use crate::counters::Board;
use crate::error::{LoadError, RuleOutputError};
use crate::flight;
use crate::host_name::host_name;
use crate::page;
use crate::rule_files::{has_nothing, has_rules, plugin_directories, trusted_rule_files};
use crate::rule_workers::RuleWorker;
use crate::source::SourceConfig;
use crate::worker_loader;
use delivery::alert::{AlertFormat, AlertRule, AppendOutput};
use delivery::{Planned, QueueSettings, RuleLimits};
use fields::template::Template;
use fields::{FieldRegistry, Fields, HostNames, Needs, calls_of_type, host_names};
use plugin_host::{
    self, EventTypes, OutputHost, Pins, Plugin, Priority, Rule, RuleFile, RuleHost, files,
};

/// How long plugins may take to open.
const OPENING: Duration = Duration::from_secs(30);

/// Which configuration to load, and what replaces parts of it.
#[derive(Debug, Clone, Default)]
pub struct LoadConfig {
    /// The configuration file. None: the defaults.
    pub config: Option<PathBuf>,
    /// Values that replace those of the configuration, as `key=value`.
    pub options: Vec<String>,
    /// Rule files and folders. Empty: those of the configuration.
    pub rules: Vec<PathBuf>,
    /// Directories of plugins. Empty: those of the configuration.
    pub plugin_dirs: Vec<PathBuf>,
    /// Makes alerts JSON, even if the configuration does not.
    pub json: bool,
    /// Where alerts go instead of standard output.
    pub output: Option<PathBuf>,
}

/// Loads configuration and rules: at the start and for each reload.
#[derive(Debug)]
pub(super) struct RuleLoader {
    args: LoadConfig,
    pub(super) hostname: String,
}

/// Rules that can run, and everything that belongs to them.
#[derive(Debug)]
pub(super) struct RuleSet {
    pub(super) rules: RuleHost,
    pub(super) templates: Vec<AlertRule>,
    pub(super) fields: Fields,
    pub(super) format: AlertFormat,
    pub(super) limits: RuleLimits,
    pub(super) board: Arc<Board>,
    /// Rule plugins beside the event path, in the order in which their rules are on the board.
    pub(super) workers: Vec<RuleWorker>,
    pub(super) least: Priority,
    pub(super) selection: Selection,
    /// What the rules and the state need of it, if more is captured for the files of alerts. Rules see nothing else.
    pub(super) judged: Option<SyscallSet>,
    /// Which alerts have files.
    pub(super) captures: flight::Plan,
    pub(super) omit: Omit,
    /// The files and folders that it was loaded from.
    pub(super) files: Vec<PathBuf>,
    /// Rule files that are empty, or all if there is no rule: an accident, more often than not.
    pub(super) empty: Vec<String>,
    /// The names of all rule files, and whether each has rules.
    pub(super) has_rules: Vec<(String, bool)>,
}

impl RuleSet {
    /// Notes whether events say how long their calls took.
    pub(super) fn has_times(&mut self, times: bool) {
        self.fields = std::mem::take(&mut self.fields).with_times(times);
    }
}

/// The files that rules are loaded from.
struct RuleSources {
    files: Vec<RuleFile>,
    /// These files, those of the configuration, and the folders that they are in.
    watched: Vec<PathBuf>,
    /// The checksums of both, by file name.
    rule_sums: Vec<(String, String)>,
    config_sums: Vec<(String, String)>,
    /// The names of empty files.
    empty: Vec<String>,
}

/// Rules that were opened to ask them something.
#[derive(Debug)]
pub(super) struct OpenedRules {
    /// The plugins with their rules.
    pub(super) hosts: Vec<RuleHost>,
    /// The names of the files of `rules_files`, and their SHA-256 sums.
    pub(super) sums: Vec<(String, String)>,
}

impl RuleLoader {
    pub(super) fn new(args: LoadConfig) -> Self {
        let hostname = host_name();
        Self { args, hostname }
    }

    /// Reads the configuration and applies the options.
    pub(super) fn configuration(&self) -> Result<Loaded, LoadError> {
        let mut loaded = Config::load(self.args.config.as_deref(), &self.args.options)?;
        if let Some(file) = &self.args.output {
            let json = self.args.json || loaded.config.json_output;
            loaded.config.replace_stdout(file, json);
        }
        Ok(loaded)
    }

    /// Completes the source by the configuration. What the caller set has priority.
    pub(super) fn source(config: &Config, mut source: SourceConfig) -> SourceConfig {
        // the caller's limits come later, and so win
        let mut limits: Vec<(String, u32)> = config.limits.clone().into_iter().collect();
        limits.append(&mut source.limits);
        source.limits = limits;
        if let (drivers::AUTO, Some(driver)) = (source.driver.as_str(), &config.driver) {
            source.driver.clone_from(driver);
        }
        if source.driver_order.is_empty() {
            source.driver_order.clone_from(&config.driver_order);
        }
        source.btf = source.btf.or_else(|| config.btf.clone());
        source
    }

    /// The plugin of this name, if it is the one that was pinned.
    pub(super) fn plugin(&self, config: &Config, name: &str) -> Result<Plugin, LoadError> {
        let pins = Pins::new(config.plugin_sums.clone())?;
        let plugin = plugin_host::find_pinned(&self.directories(config), name, &pins)?;
        Ok(plugin)
    }

    fn directories(&self, config: &Config) -> Vec<PathBuf> {
        let named = if self.args.plugin_dirs.is_empty() {
            config.plugin_dirs.clone()
        } else {
            self.args.plugin_dirs.clone()
        };
        plugin_directories(named, &config.rules_plugin)
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

    /// Reads the files of rules.
    fn read(&self, loaded: &Loaded) -> Result<RuleSources, LoadError> {
        let (from, named) = self.named_files(&loaded.config);
        let (files, mut watched) =
            trusted_rule_files(named).map_err(|source| LoadError::RuleFiles { from, source })?;
        watched.extend_from_slice(&loaded.files);
        let config_sums = loaded.files.iter().filter_map(|file| {
            // A file that was removed since then has no sum.
            Some((file_name(file), plugin_host::sum(file).ok()?))
        });
        let is_empty = |file: &&RuleFile| has_nothing(&file.text);
        let empty: Vec<String> = (files.iter().filter(is_empty))
            .map(|file| file.name.clone())
            .collect();
        Ok(RuleSources {
            rule_sums: sums(&files),
            config_sums: config_sums.collect(),
            files,
            watched,
            empty,
        })
    }

    /// Loads the rules. The counters of rules that are also on the board `before` go on from there.
    pub(super) fn load(
        &self,
        loaded: &Loaded,
        before: Option<&Board>,
    ) -> Result<RuleSet, LoadError> {
        let config = &loaded.config;
        let RuleSources {
            files,
            mut watched,
            rule_sums,
            config_sums,
            mut empty,
        } = self.read(loaded)?;
        let registry = FieldRegistry::new(&self.hostname);
        let mut rules = self.open(config, &registry, &files)?;
        let templates = alerts_of(&rules, config, &registry)?;
        let mut names = names_to_look_up(&mut rules)?;
        let mut all = rules.rules().to_vec();
        if all.is_empty() {
            empty = files.iter().map(|file| file.name.clone()).collect();
        }
        warn_about_empty(&files, all.is_empty());
        let mut workers = Vec::new();
        for wanted in &config.rule_plugins {
            let worker =
                worker_loader::load(self, config, wanted, &registry, all.len(), &mut names)?;
            watched.extend(worker.watched);
            all.extend(worker.rules);
            workers.push(worker.worker);
        }
        let beside = workers.iter().filter_map(RuleWorker::rules);
        let (selection, omit) = selection(
            [&rules]
                .into_iter()
                .chain(beside.map(|worker| &worker.host)),
        );
        let captures = flight::Plan::new(&config.capture, templates.len(), &rules.captures()?);
        let (selection, judged, omit) = captured(config, &captures, selection, omit);
        let selection = selection.with_times(registry.needs_times());
        let limits = &config.alert_limits;
        check_names_of_limits(limits, &all)?;
        warn_about_append_output(&config.append_output, &all);
        Ok(RuleSet {
            limits: RuleLimits::new(rules.rules().iter().map(|rule| limits.of(&rule.name))),
            board: Board::new(&all, before.unwrap_or(&Board::default()))
                .with_sums(rule_sums, config_sums)
                .into(),
            workers,
            templates,
            fields: registry.fields().with_names(HostNames::watch(names)),
            format: self.format(config),
            least: config.priority.priority(),
            selection,
            judged,
            captures,
            omit,
            files: watched,
            empty,
            has_rules: (files.iter())
                .map(|file| (file.name.clone(), has_rules(&file.text)))
                .collect(),
            rules,
        })
    }

    /// Opens these rules.
    fn open(
        &self,
        config: &Config,
        registry: &FieldRegistry,
        files: &[RuleFile],
    ) -> Result<RuleHost, LoadError> {
        let plugin = self.plugin(config, &config.rules_plugin)?;
        let settings = match config.rule_matching {
            Some(Matching::All) => r#"{"rule_matching":"all"}"#,
            _ => "",
        };
        Ok(RuleHost::open(&plugin, registry, files, settings)?)
    }

    /// Opens the rules of the configuration once more, to ask them something: those of `rules_files`, and then those of each
    /// of `rule_plugins`.
    pub(super) fn open_again(&self, config: &Config) -> Result<OpenedRules, LoadError> {
        let (from, named) = self.named_files(config);
        let (files, _) =
            trusted_rule_files(named).map_err(|source| LoadError::RuleFiles { from, source })?;
        let registry = FieldRegistry::new(&self.hostname);
        let mut hosts = vec![self.open(config, &registry, &files)?];
        for wanted in &config.rule_plugins {
            let (host, _) = worker_loader::open(self, config, wanted, &registry)?;
            hosts.push(host);
        }
        Ok(OpenedRules {
            hosts,
            sums: sums(&files),
        })
    }

    /// The rule files that are named, and where.
    fn named_files<'a>(&'a self, config: &'a Config) -> (&'static str, &'a [PathBuf]) {
        if self.args.rules.is_empty() {
            ("rules_files", &config.rules_files)
        } else {
            ("-r", &self.args.rules)
        }
    }

    /// Does work that calls plugins on a thread of its own, so that a plugin that hangs is reported and left behind.
    pub(super) fn within<T: Send + 'static>(
        self: &Arc<Self>,
        config: &Config,
        work: impl FnOnce(&Self) -> Result<T, LoadError> + Send + 'static,
    ) -> Result<T, LoadError> {
        let patience = config.plugin_deadline.map_or(OPENING, |time| time.0);
        let loader = Arc::clone(self);
        plugin_host::within(patience, move || work(&loader))?
    }

    /// Opens the outputs. Outputs that run already, by their identity, are not opened again.
    pub(super) fn outputs(
        &self,
        config: &Config,
        running: &[String],
    ) -> Result<Vec<Planned>, LoadError> {
        let mut config = config.clone();
        config.json_output |= self.args.json;
        // All are checked before one is opened: a configuration that is refused leaves no trace.
        self.faults_of_outputs(&config, running)
            .into_iter()
            .next()
            .map_or(Ok(()), Err)?;
        let open = |output: &crate::config::OutputConfig| {
            let queue = output.queue(&config);
            let settings = output.settings_json();
            let plugin = self.plugin(&config, &output.plugin)?;
            let identity = identity(&plugin, &settings, &queue);
            let host = if running.contains(&identity) {
                None
            } else {
                let host = OutputHost::open_checked(&plugin, &settings);
                Some(host.map_err(|source| LoadError::Output {
                    output: output.name().to_owned(),
                    source,
                })?)
            };
            Ok(Planned {
                host,
                settings: queue,
                identity,
            })
        };
        config.all_outputs().iter().map(open).collect()
    }

    /// What is wrong with the outputs that do not run, without opening any.
    pub(super) fn faults_of_outputs(&self, config: &Config, running: &[String]) -> Vec<LoadError> {
        let outputs = config.all_outputs();
        let mut claims = Claims::of(&config.webserver);
        let check = |output: &crate::config::OutputConfig| {
            let plugin = self.plugin(config, &output.plugin)?;
            claims.add(output, &plugin)?;
            self.check_output(config, output, &plugin, running)
        };
        let faults = outputs.iter().map(check);
        faults.filter_map(Result::err).collect()
    }

    fn check_output(
        &self,
        config: &Config,
        output: &crate::config::OutputConfig,
        plugin: &Plugin,
        running: &[String],
    ) -> Result<(), LoadError> {
        let settings = output.settings_json();
        let queue = output.queue(config);
        if running.contains(&identity(plugin, &settings, &queue)) {
            return Ok(());
        }
        if let Some(spool) = &queue.spool {
            files::check_store(&spool.path).map_err(|source| LoadError::Spool {
                output: output.name().to_owned(),
                source,
            })?;
            delivery::check_spool(&spool.path).map_err(|source| LoadError::SpoolFile {
                output: output.name().to_owned(),
                source,
            })?;
        }
        OutputHost::check(plugin, &settings).map_err(|source| LoadError::Output {
            output: output.name().to_owned(),
            source,
        })
    }
}

/// What makes an output the same one before and after a reload.
fn identity(plugin: &Plugin, settings: &str, queue: &QueueSettings) -> String {
    format!("{} {settings} {queue:?}", plugin.path().display())
}

/// Compiles the outputs of all rules. The output of a disabled rule is empty if it does not compile, because such a rule
/// may use fields that this version lacks.
///
/// # Errors
///
/// What is appended does not compile, or else the first enabled rule whose output does not.
pub fn alert_rules(
    rules: &RuleHost,
    append: &[AppendOutput],
    registry: &FieldRegistry,
) -> Result<Vec<AlertRule>, RuleOutputError> {
    AppendOutput::check(append, registry)?;
    let compile = |rule: &Rule| match AlertRule::compile(rule, append, registry) {
        Ok(compiled) => Ok(compiled),
        Err(_) if !rule.enabled => Ok(AlertRule::new(rule, Template::default())),
        Err(source) => Err(RuleOutputError::Rule {
            rule: rule.name.clone(),
            source,
        }),
    };
    rules.rules().iter().map(compile).collect()
}

/// [`alert_rules`], with what the page shows of each alert.
pub(super) fn alerts_of(
    rules: &RuleHost,
    config: &Config,
    registry: &FieldRegistry,
) -> Result<Vec<AlertRule>, RuleOutputError> {
    let alerts = alert_rules(rules, &config.append_output, registry)?;
    if !config.webserver.page.enabled {
        return Ok(alerts);
    }
    let with_context = |alert: AlertRule| {
        let rule = alert.name.clone();
        let alert = alert.with_context(page::CONTEXT, registry);
        alert.map_err(|source| RuleOutputError::Rule { rule, source })
    };
    alerts.into_iter().map(with_context).collect()
}

/// The host names whose addresses the rules need.
pub(super) fn names_to_look_up(rules: &mut RuleHost) -> Result<Vec<String>, LoadError> {
    let comparisons = rules.comparisons()?;
    Ok(host_names(&comparisons))
}

/// The events that the rules and the state need: nothing else is captured. Also what the driver may omit.
fn selection<'a>(rules: impl Iterator<Item = &'a RuleHost>) -> (Selection, Omit) {
    let mut wanted = SyscallSet::default();
    let events = events_for(rules.inspect(|rules| {
        wanted = wanted.union(&calls_of(rules.event_types()));
    }));
    let (_, mut omit) = with_state(&wanted);
    if omit.if_held != SyscallSet::empty() {
        let looked_up = inspect::looked_up().without(&wanted);
        omit.if_held = omit.if_held.union(&looked_up);
    }
    (events, omit)
}

/// The events that these rules and the state need.
#[must_use]
pub fn events_for<'a>(rules: impl Iterator<Item = &'a RuleHost>) -> Selection {
    rules.fold(inspect::needed_events(), |all, rules| {
        all.union(&events_of(rules))
    })
}

/// The events that the rules of a plugin need.
fn events_of(rules: &RuleHost) -> Selection {
    let needs = Needs::new(rules.needs());
    let mut events = Selection::default();
    for call in calls_of(rules.event_types()).iter() {
        events.add(call, &needs.predicate(call));
    }
    events
}

/// The calls whose events have these types.
#[must_use]
pub fn calls_of(types: &EventTypes) -> SyscallSet {
    match types {
        EventTypes::All => SyscallSet::all(),
        EventTypes::Only(names) => names.iter().flat_map(|name| calls_of_type(name)).collect(),
    }
}

/// These calls, and those that the state needs; and the calls that a driver may omit if it holds processes. Those are the
/// calls that only serve to follow descriptors. If one of them is wanted, none is omitted, because the state either follows
/// descriptors or looks them up.
#[must_use]
pub fn with_state(wanted: &SyscallSet) -> (SyscallSet, Omit) {
    let if_held = inspect::omitted_if_held();
    let omit = if if_held.without(wanted) == if_held {
        Omit {
            if_held,
            ..Omit::NOTHING
        }
    } else {
        Omit::NOTHING
    };
    (wanted.union(&inspect::needed()), omit)
}

/// What is captured, which calls of it the rules see (`None`: all), and what the driver may omit. Files of alerts need more
/// than the rules do.
fn captured(
    config: &Config,
    captures: &flight::Plan,
    selection: Selection,
    omit: Omit,
) -> (Selection, Option<SyscallSet>, Omit) {
    let selects_all = config.capture.capture_selection == CaptureSelection::All;
    match (captures.is_on(), selects_all) {
        (false, _) => (selection, None, omit),
        // they show what the calls around a match did, failed ones, too
        (true, false) => (Selection::from(*selection.calls()), None, omit),
        (true, true) => {
            let judged = Some(*selection.calls());
            (SyscallSet::all().into(), judged, Omit::NOTHING)
        }
    }
}

/// Warns about files without rules: those that say nothing, or all if there is no rule at all.
fn warn_about_empty(files: &[RuleFile], no_rules: bool) {
    let says_nothing = |file: &&RuleFile| no_rules || file.text.trim_ascii().is_empty();
    for file in files.iter().filter(says_nothing) {
        tracing::warn!("{} is empty: it has no rules", file.name);
    }
}

/// Checks that each limit is about a rule that exists.
fn check_names_of_limits(limits: &AlertLimits, rules: &[Rule]) -> Result<(), LoadError> {
    let is_known = |name: &String| rules.iter().any(|rule| rule.name == *name);
    let Some(unknown) = limits.rules.keys().find(|name| !is_known(name)) else {
        return Ok(());
    };
    let names = rules.iter().map(|rule| rule.name.as_str());
    Err(LoadError::NoSuchRule {
        rule: unknown.clone(),
        hint: suggest::nearest(unknown, names).map_or_else(
            || "; `lanner rules list FILE` lists the rules of a file".to_owned(),
            |near| format!("; did you mean `{near}`?"),
        ),
    })
}

/// Names the entries of `append_output` that are meant for rules which there are not.
fn warn_about_append_output(entries: &[AppendOutput], rules: &[Rule]) {
    for (entry, matches) in AppendOutput::idle(entries, rules) {
        let names = || rules.iter().map(|rule| rule.name.as_str());
        let unknown = matches
            .rule
            .as_deref()
            .filter(|name| !names().any(|known| known == *name));
        let why = match unknown {
            Some(name) => {
                let near = suggest::nearest(name, names());
                let near =
                    near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
                format!("there is no rule `{name}`{near}")
            }
            None => "no rule has this name, source and all of these tags".to_owned(),
        };
        tracing::warn!("append_output[{entry}] is appended to no alert: {why}");
    }
}

/// The names of rule files, and their SHA-256 sums.
fn sums(files: &[RuleFile]) -> Vec<(String, String)> {
    let sum = |file: &RuleFile| {
        let sum = plugin_host::sum_of_bytes(&file.text);
        (file_name(Path::new(&file.name)), sum)
    };
    files.iter().map(sum).collect()
}

/// The last part of a path, which metrics show.
fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}
