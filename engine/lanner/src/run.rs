//! `lanner run` runs rules over events and delivers alerts. `lanner config` checks the configuration.

use std::path::Path;
use std::process::ExitCode;

use driver_api::error::Chain;
use session::config::LogLevel;
use session::{LoadConfig, Notice, Observer, Session, SessionError};

use super::watch::{self, CommandSignals};
use super::{Failure, lines, report, say, signals};
use command_line::{ConfigVerb, RunArgs};

impl From<SessionError> for Failure {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Thread(_) => Self::broken(Chain(&error)),
            SessionError::Configuration(_)
            | SessionError::Source(_)
            | SessionError::Output(_)
            | SessionError::Web(_)
            | SessionError::Capture(_) => Self::usage(Chain(&error)),
        }
    }
}

/// Reports to the user, on standard error, what happens in the session.
#[derive(Debug)]
struct Terminal;

impl Observer for Terminal {
    fn notice(&self, notice: &Notice<'_>) {
        match notice {
            Notice::RulePluginOff { plugin, reason } => {
                say(&format!("rule plugin {plugin} is switched off: {reason}"));
            }
            Notice::EndsAfterLoss => {
                say("events were lost, and the configuration says to end then");
            }
            Notice::Output(account) => report::output(account),
        }
    }

    fn command_began(&self, pid: u32) {
        CommandSignals.command_began(pid);
    }

    fn command_ended(&self) {
        CommandSignals.command_ended();
    }

    fn log_level(&self, level: LogLevel) {
        super::logging::set_level(level.name());
    }
}

pub(crate) fn run(args: &RunArgs) -> Result<ExitCode, Failure> {
    match &args.output {
        None => lines::need_stdout()?,
        Some(file) => lines::need_descriptor(file)?,
    }
    let session = Session::new(LoadConfig {
        config: args.config.clone(),
        options: args.options.clone(),
        rules: args.rules.clone(),
        plugin_dirs: args.plugin_dirs.clone(),
        json: args.json,
        output: args.output.clone(),
    })?;
    if let Some(level) = session.log_level() {
        super::logging::set_level(level.name());
    }
    let source = session.source(args.source.config());
    let control = signals::watch(&source, true, Box::new(Terminal))?;
    let opened = session.open(&source)?;
    if source.replay.is_none() {
        watch::tell_driver(opened.driver_reason(), opened.gaps());
    }
    if let Some(page) = opened.page() {
        say(page);
    }
    let summary = opened.run(&control)?;
    report::capture(&summary.stats);
    summary
        .workers
        .iter()
        .for_each(|worker| report::worker(worker));
    summary.outputs.iter().for_each(report::output);
    let status = summary
        .ended
        .map_err(|error| Failure::broken(Chain(&error)))?;
    let lost = (summary.outputs.iter()).any(|output| output.counts.lost() > 0);
    match status {
        // it is reported above
        None | Some(0) if lost => Ok(ExitCode::FAILURE),
        _ => Ok(report::exit_code(status)),
    }
}

/// `lanner config`
pub(crate) fn config(verb: &ConfigVerb) -> Result<ExitCode, Failure> {
    match verb {
        ConfigVerb::Schema => {
            let text = serde_json::to_string_pretty(&session::config::schema());
            let text = text.map_err(Failure::broken)? + "\n";
            super::print(text.as_bytes())
        }
        ConfigVerb::FromFalco(args) => {
            let converted = session::config::from_falco(&args.file)
                .map_err(|error| Failure::usage(Chain(&error)))?;
            converted.notes.iter().for_each(|note| say(note));
            super::print(converted.yaml.as_bytes())
        }
        ConfigVerb::Check(args) => {
            let faults = session::check(LoadConfig {
                config: args.file().map(Path::to_owned),
                options: args.options.clone(),
                plugin_dirs: args.plugin_dirs.clone(),
                ..LoadConfig::default()
            });
            if faults.is_empty() {
                say("the configuration and the rules can be used");
                return Ok(ExitCode::SUCCESS);
            }
            for fault in &faults {
                say(&Chain(fault).to_string());
            }
            Ok(ExitCode::FAILURE)
        }
    }
}
