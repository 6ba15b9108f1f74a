//! `lanner run`: rules over events, and alerts to the outputs.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use driver_api::driver::Flow;
use driver_api::event::{Event, Flags};
use driver_api::request::{Spare, SyscallSet};
use driver_api::table;

use super::args::RunArgs;
use super::session::{self, Consumer};
use super::{Failure, say};
use crate::alert::{AlertFormat, AlertRule, AppendOutput, LateAlerts};
use crate::config::{Config, Matching};
use crate::delivery::Outputs;
use crate::fields::{FieldRegistry, Fields, HostNames, Scratch, View, names_in};
use crate::inspect::{self, Inspector};
use crate::plugin_host::{self, EventTypes, OutputHost, Rule, RuleFile, RuleHost};
use crate::template::Template;

/// The rules of a build tree or of a binary that was copied somewhere by itself.
const BUILT_IN: &str = include_str!("../../../rules/lanner_rules.yaml");
/// Where `make install` puts them.
const INSTALLED: &str = "/etc/lanner/lanner_rules.yaml";

pub(crate) fn run(args: RunArgs) -> Result<ExitCode, Failure> {
    let config = match &args.config {
        Some(path) => Config::read(path).map_err(Failure::usage)?,
        None => Config::default(),
    };
    let mut source = args.source;
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
    source.btf = source.btf.or(config.btf);
    let directories = plugin_directories(if args.plugin_dirs.is_empty() {
        config.plugin_dirs
    } else {
        args.plugin_dirs
    });
    let files = rule_files(if args.rules.is_empty() {
        &config.rules_files
    } else {
        &args.rules
    })?;
    let hostname = nix::unistd::gethostname()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let registry = FieldRegistry::new(&hostname);
    let plugin = plugin_host::find(&directories, "rules-falco").map_err(Failure::usage)?;
    let settings = match config.rule_matching {
        Some(Matching::All) => r#"{"rule_matching":"all"}"#,
        _ => "",
    };
    let mut rules = RuleHost::open(&plugin, &registry, &files, settings).map_err(Failure::usage)?;
    let templates = alert_rules(&rules, &config.append_output, &registry)?;
    let output = plugin_host::find(&directories, "output-console").map_err(Failure::usage)?;
    let settings = if args.json || config.json_output {
        r#"{"json":true}"#
    } else {
        ""
    };
    let output = OutputHost::open(&output, settings).map_err(Failure::usage)?;
    let names = host_names(&mut rules);
    let (selection, spare) = selection(&rules);
    session::watch(&source, selection, spare, |opened| {
        let mut inspector = Inspector::new(&inspect::Options {
            held: opened.holds && spare != Spare::NOTHING,
            ..opened.options()
        });
        opened.scan(&mut inspector, &source);
        let outputs = Outputs::start(vec![output]).map_err(Failure::broken)?;
        Ok(Matcher {
            rules,
            templates,
            fields: registry.fields().with_names(HostNames::watch(names)),
            late: LateAlerts::default(),
            format: AlertFormat {
                static_fields: config.static_fields,
                ..AlertFormat::new(hostname)
            },
            inspector,
            scratch: Scratch::default(),
            matches: Vec::new(),
            outputs: Some(outputs),
        })
    })
}

/// Where plugins are, unless the user says: beside the executable, or below the prefix it was installed to.
pub(super) fn plugin_directories(named: Vec<PathBuf>) -> Vec<PathBuf> {
    if !named.is_empty() {
        return named;
    }
    let executable = std::env::current_exe().unwrap_or_default();
    let beside = executable.parent().map(Path::to_owned).unwrap_or_default();
    let installed = beside.join("../lib/lanner/plugins");
    if beside.join("librules_falco.so").exists() {
        vec![beside]
    } else {
        vec![installed]
    }
}

pub(super) fn rule_files(named: &[PathBuf]) -> Result<Vec<RuleFile>, Failure> {
    if !named.is_empty() {
        return named
            .iter()
            .map(|path| RuleFile::read(path).map_err(Failure::usage))
            .collect();
    }
    if Path::new(INSTALLED).exists() {
        return RuleFile::read(Path::new(INSTALLED))
            .map(|file| vec![file])
            .map_err(Failure::usage);
    }
    Ok(vec![RuleFile {
        name: "the default rules".to_owned(),
        text: BUILT_IN.as_bytes().to_vec(),
    }])
}

/// What all rules put into alerts. A rule that is left out may use what this lanner lacks: its output is empty.
fn alert_rules(
    rules: &RuleHost,
    append: &[AppendOutput],
    registry: &FieldRegistry,
) -> Result<Vec<AlertRule>, Failure> {
    let compile = |rule: &Rule| match AlertRule::compile(rule, append, registry) {
        Ok(compiled) => Ok(compiled),
        Err(_) if !rule.enabled => Ok(AlertRule::new(rule, Template::default())),
        Err(error) => Err(Failure::usage(format!(
            "rule {:?}, output: {error}",
            rule.name
        ))),
    };
    rules.rules().iter().map(compile).collect()
}

/// The outputs of all rules. One that is left out may use what this lanner lacks: its output is empty.
pub(super) fn output_templates(
    rules: &RuleHost,
    registry: &FieldRegistry,
) -> Result<Vec<Template>, Failure> {
    let compile = |rule: &Rule| match Template::compile(&rule.output, registry) {
        Ok(template) => Ok(template),
        Err(_) if !rule.enabled => Ok(Template::default()),
        Err(error) => Err(Failure::usage(format!(
            "rule {:?}, output: {error}",
            rule.name
        ))),
    };
    rules.rules().iter().map(compile).collect()
}

/// The names of hosts that rules compare addresses with.
fn host_names(rules: &mut RuleHost) -> Vec<String> {
    let count = u32::try_from(rules.rules().len()).unwrap_or(u32::MAX);
    let mut names: Vec<String> = (0..count)
        .filter_map(|at| rules.explain(at).ok())
        .flat_map(|rule| names_in(&rule.condition))
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// What the rules need, and what the state needs: nothing else is captured. And what of the latter alone can be
/// spared: all of it or nothing, as descriptors are either followed or looked up.
fn selection(rules: &RuleHost) -> (SyscallSet, Spare) {
    let wanted = match rules.event_types() {
        EventTypes::All => SyscallSet::all(),
        EventTypes::Only(names) => names
            .iter()
            .filter_map(|name| table::by_name(name))
            .collect(),
    };
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

/// Inspects events, matches them, and hands alerts on.
struct Matcher {
    rules: RuleHost,
    templates: Vec<AlertRule>,
    fields: Fields,
    format: AlertFormat,
    inspector: Inspector,
    scratch: Scratch,
    matches: Vec<u32>,
    late: LateAlerts,
    outputs: Option<Outputs>,
}

impl Matcher {
    /// Hands on alerts that waited for what a container's runtime says.
    fn push_late(&mut self) {
        if let Some(outputs) = &mut self.outputs {
            let sink = &mut |alert| outputs.push(alert);
            self.late
                .ready(&self.templates, &self.fields, &self.format, sink);
        }
    }
}

impl Consumer for Matcher {
    fn event(&mut self, event: &Event<'_>) -> Flow {
        let seen = self.inspector.update(event);
        if event.has(Flags::UNSELECTED) {
            return Flow::Continue;
        }
        {
            let view = View::new(&self.fields, &self.inspector, event, &seen, &self.scratch);
            self.rules.on_event(&view, &mut self.matches);
            for at in &self.matches {
                let rule = usize::try_from(*at)
                    .ok()
                    .and_then(|at| self.templates.get(at));
                if let (Some(rule), Some(outputs)) = (rule, &mut self.outputs)
                    && !self.late.keep(*at as usize, rule, &self.fields, &view)
                {
                    outputs.push(self.format.alert(rule, &view));
                }
            }
        }
        self.scratch.reset();
        Flow::Continue
    }

    fn idle(&mut self) -> Flow {
        self.push_late();
        match self.rules.off() {
            Some(reason) => {
                say(&format!("no rules are left: {reason}"));
                Flow::Stop
            }
            None => Flow::Continue,
        }
    }
}

impl Drop for Matcher {
    fn drop(&mut self) {
        while let Some(patience) = self.late.patience() {
            self.push_late();
            std::thread::sleep(patience.min(Duration::from_millis(10)));
        }
        for account in self.outputs.take().map(Outputs::finish).unwrap_or_default() {
            if account.lost() > 0 {
                say(&format!(
                    "output {}: {} alerts delivered, {} not (queue full {}, given up {}, still waiting {})",
                    account.output,
                    account.delivered,
                    account.lost(),
                    account.overflowed,
                    account.refused,
                    account.abandoned
                ));
            }
        }
    }
}
