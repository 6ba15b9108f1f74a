//! The arguments of `lanner top`.

use std::path::PathBuf;

use clap::Args;
use session::config::DEFAULT_RULES_PLUGIN;
use top::{Request, RuleChoice, Target};

use super::SourceArgs;

/// `lanner top`.
#[derive(Debug, Args)]
pub struct TopArgs {
    /// A rule file or a folder of rule files, for alerts; may be repeated. Without any: the default rules.
    #[arg(short, long = "rules", value_name = "FILE")]
    pub rules: Vec<PathBuf>,
    /// Run no rules: there are no alerts.
    #[arg(long, conflicts_with = "rules")]
    pub no_rules: bool,
    /// Names of system calls and classes, as for `lanner trace`. Without: everything. Fewer calls cost less.
    #[arg(short, long = "events", value_name = "NAME")]
    pub events: Vec<String>,
    /// Count only events that fulfil this condition, written as the condition of a rule. The key / changes it.
    #[arg(long = "where", value_name = "CONDITION")]
    pub condition: Option<String>,
    /// Where plugins are; may be repeated. The rule plugin compiles rules and conditions.
    #[arg(long = "plugin-dir", value_name = "DIR")]
    pub plugin_dirs: Vec<PathBuf>,
    /// Whose events.
    #[command(flatten)]
    pub source: SourceArgs,
}

impl TopArgs {
    /// What the library is asked for.
    pub fn request(&self) -> Request {
        Request {
            events: self.events.clone(),
            condition: self.condition.clone(),
            rules: if self.no_rules {
                RuleChoice::None
            } else if self.rules.is_empty() {
                RuleChoice::Default
            } else {
                RuleChoice::Files(self.rules.clone())
            },
            rules_plugin: DEFAULT_RULES_PLUGIN.to_owned(),
            plugin_dirs: self.plugin_dirs.clone(),
        }
    }

    /// What is watched.
    pub fn target(&self) -> Target {
        let source = &self.source;
        let command = source.command.first();
        let words = match (&source.replay, command) {
            (Some(file), _) => file.display().to_string(),
            (None, Some(_)) => {
                let words = source.command.iter().map(|word| word.to_string_lossy());
                words.collect::<Vec<_>>().join(" ")
            }
            (None, None) if source.pids.is_empty() => "whole host".to_owned(),
            (None, None) => {
                let pids: Vec<String> = source.pids.iter().map(u32::to_string).collect();
                format!("processes {}", pids.join(", "))
            }
        };
        Target {
            words,
            is_command: command.is_some(),
            is_host: source.replay.is_none() && command.is_none() && source.pids.is_empty(),
        }
    }
}
