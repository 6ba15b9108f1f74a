//! `lanner run`: rules over events, and alerts to the outputs.
//!
//! | file | does |
//! |---|---|
//! | `prepare` | from the command line and the configuration to what runs; nothing that runs is touched |
//! | `lanes` | the same for rule plugins beside the event path |
//! | `matcher` | the event path |
//! | `reload` | notices changes and signals, prepares anew, and hands over to the event path |
//! | `monitor` | looks once a second for what was lost, and tells the service manager that lanner lives |

mod lanes;
mod matcher;
mod monitor;
mod prepare;
mod reload;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use driver_api::request::Omit;

use super::args::{ConfigArgs, ConfigVerb, RunArgs};
use super::session;
use super::{Failure, say};
use crate::config::{Config, trusted};
use crate::delivery::{Account, Outputs};
use crate::inspect::{self, Inspector};
use crate::plugin_host::RuleFile;
use crate::rule_lanes::LaneStatus;
use crate::telemetry::{Telemetry, service, web};

use matcher::Matcher;
use prepare::Blueprint;
pub(super) use prepare::alert_rules;
use reload::Reloader;

/// The rules of a build tree or of a binary that was copied somewhere by itself.
const BUILT_IN: &str = include_str!("../../../../rules/lanner_rules.yaml");
/// Where `make install` puts them.
const INSTALLED: &str = "/etc/lanner/lanner_rules.yaml";

pub(crate) fn run(args: RunArgs) -> Result<ExitCode, Failure> {
    let blueprint = Arc::new(Blueprint::new(args));
    let loaded = blueprint.configuration().map_err(Failure::usage)?;
    if let Some(level) = loaded.config.log_level {
        super::logging::set_level(level.name());
    }
    let source = blueprint.source(&loaded.config);
    let wanted = loaded.clone();
    let opened = blueprint.within(&loaded.config, move |blueprint| {
        let prepared = blueprint.prepare(&wanted, None)?;
        Ok((prepared, blueprint.outputs(&wanted.config, &[])?))
    });
    let (prepared, planned) = opened.map_err(Failure::usage)?;
    let telemetry = Arc::new(Telemetry::default());
    let (selection, omit) = (prepared.selection, prepared.omit);
    session::watch(&source, selection, omit, |opened| {
        let held = opened.holds && omit != Omit::NOTHING;
        let mut inspector = Inspector::new(&inspect::Options {
            held,
            ..opened.options()
        });
        opened.scan(&mut inspector, &source);
        telemetry.set_driver(opened.facts);
        let outputs = Arc::new(Outputs::start(planned).map_err(Failure::usage)?);
        if loaded.config.webserver.enabled {
            let (telemetry, outputs) = (Arc::clone(&telemetry), Arc::clone(&outputs));
            web::start(&loaded.config.webserver, telemetry, outputs).map_err(Failure::usage)?;
        }
        let broken = |error: std::io::Error| Failure::broken(error.to_string());
        let reloader = Reloader::new(blueprint, &loaded, prepared, held, &telemetry, &outputs);
        let format = reloader.format();
        let monitor = monitor::start(
            loaded.config.syscall_event_drops.clone(),
            format,
            Arc::clone(&telemetry),
            Arc::clone(&outputs),
        )
        .map_err(broken)?;
        let (initial, handover, reloader) = reloader.start().map_err(broken)?;
        service::ready("watching");
        Matcher::new(
            initial, inspector, telemetry, outputs, handover, reloader, monitor,
        )
        .map_err(broken)
    })
}

/// `lanner config`
pub(crate) fn config(verb: ConfigVerb) -> Result<ExitCode, Failure> {
    match verb {
        ConfigVerb::Schema => {
            let text = serde_json::to_string_pretty(&crate::config::schema());
            let text = text.map_err(Failure::broken)? + "\n";
            super::print(text.as_bytes())
        }
        ConfigVerb::Check(ConfigArgs { config, options }) => {
            let blueprint = Arc::new(Blueprint::new(RunArgs::of_configuration(config, options)));
            let loaded = blueprint.configuration().map_err(broken)?;
            let wanted = loaded.clone();
            let checked = blueprint.within(&loaded.config, move |blueprint| {
                drop(blueprint.prepare(&wanted, None)?);
                blueprint.find_outputs(&wanted.config)
            });
            checked.map_err(broken)?;
            say("the configuration and the rules can be used");
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Exit code 1: there are errors.
fn broken(message: String) -> Failure {
    Failure::broken(message)
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

/// The rule files that lanner acts upon: files, and folders of them. And where they came from.
fn trusted_rule_files(named: &[PathBuf]) -> Result<(Vec<RuleFile>, Vec<PathBuf>), String> {
    let mut paths = Vec::new();
    let mut watched = Vec::new();
    for path in named {
        watched.push(path.clone());
        if path.is_dir() {
            let files = trusted::folder(path, &["yaml", "yml"])?;
            watched.extend_from_slice(&files);
            paths.extend(files);
        } else {
            paths.push(path.clone());
        }
    }
    if named.is_empty() && Path::new(INSTALLED).exists() {
        paths.push(PathBuf::from(INSTALLED));
        watched.push(PathBuf::from(INSTALLED));
    }
    for path in &paths {
        trusted::file(path)?;
    }
    if paths.is_empty() && !named.is_empty() {
        return Err("`rules_files` names folders without a rule file (*.yaml)".to_owned());
    }
    let files = rule_files_of(&paths)?;
    Ok((files, watched))
}

fn rule_files_of(paths: &[PathBuf]) -> Result<Vec<RuleFile>, String> {
    rule_files(paths).map_err(|failure| failure.message)
}

/// What an output lost is never lost in silence.
fn report(account: &Account) {
    let counts = &account.counts;
    if counts.spooled > 0 {
        say(&format!(
            "output {}: {} alerts wait on disk for the next start",
            account.output, counts.spooled
        ));
    }
    if counts.lost() == 0 {
        return;
    }
    let causes: Vec<String> = (counts.losses().iter())
        .filter(|(_, count)| *count > 0)
        .map(|(cause, count)| format!("{cause} {count}"))
        .collect();
    say(&format!(
        "output {}: {} alerts delivered, {} lost ({})",
        account.output,
        counts.delivered,
        counts.lost(),
        causes.join(", ")
    ));
}

/// Nor is what a rule plugin did not see.
fn report_lane(lane: &LaneStatus) {
    if lane.lost() > 0 {
        let (plugin, lost) = (lane.plugin(), lane.lost());
        say(&format!("rule plugin {plugin}: {lost} events lost"));
    }
}

/// Whether a file of the configuration says so.
fn watches_files(config: &Config) -> bool {
    config.watch_config_files
}
