//! Rule plugin: the Falco rules language. It stands between the engine, which answers look-ups of
//! fields, and the alerts, which the engine makes from the rules that match.
//!
//! | module | does |
//! |---|---|
//! | `source`, `yaml` | rule files as a tree that knows where everything stands |
//! | `keys`, `items`, `exceptions` | lists, macros and rules; append and override |
//! | `ast`, `parse` | conditions, as written |
//! | `template` | the fields of output templates |
//! | `compile`, `checks`, `types` | names looked up, types checked, event types worked out |
//! | `matcher`, `glob` | one comparison |
//! | `program` | compiled rules, and an event's way through them |
//!
//! docs/rules.md has the language.

mod ast;
mod checks;
mod compile;
mod exceptions;
mod glob;
mod items;
mod keys;
mod matcher;
mod parse;
mod program;
mod rules;
mod source;
mod template;
mod types;
mod yaml;

use lanner_plugin::{
    Error, Event, EventTypes, Host, Level, Matches, RuleInfo, RulePlugin, RuleRequest,
};
use serde::Deserialize;

use crate::program::Program;
use crate::source::Source;

/// What a user can set for this plugin.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// How many rules may match one event.
    pub rule_matching: RuleMatching,
    /// What to do with a rule that uses a field or an event type that the host does not have.
    pub unknown_fields: UnknownFields,
}

/// How many rules may match one event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RuleMatching {
    /// Only the first, in the order in which they were loaded.
    #[default]
    First,
    /// All that do.
    All,
}

/// What to do with a rule that uses a field or an event type that the host does not have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnknownFields {
    /// Refuse the rule files, unless the rule has `skip-if-unknown-filter: true`.
    #[default]
    Error,
    /// Leave the rule out, with a warning.
    SkipRule,
}

/// Loaded rules.
#[derive(Debug)]
pub struct FalcoRules {
    rules: Vec<RuleInfo>,
    event_types: EventTypes,
    program: Program,
    matching: RuleMatching,
}

impl RulePlugin for FalcoRules {
    type Settings = Settings;

    fn open(host: Host, request: &RuleRequest<'_>, settings: Settings) -> Result<Self, Error> {
        let mut sources = Vec::new();
        for file in request.files() {
            let name = file.name();
            let text = std::str::from_utf8(file.text())
                .map_err(|error| format!("{name}: this is not UTF-8: {error}"))?;
            sources.push(Source {
                text: text.to_owned(),
                name,
            });
        }
        let loaded = rules::load(sources, request, settings);
        for warning in &loaded.warnings {
            host.log(Level::Warn, warning);
        }
        for note in &loaded.notes {
            host.log(Level::Debug, note);
        }
        loaded.result.map_err(Error::from)
    }

    fn rules(&self) -> &[RuleInfo] {
        &self.rules
    }

    fn event_types(&self) -> EventTypes {
        self.event_types.clone()
    }

    fn on_event(&mut self, event: &Event<'_>, matches: &mut Matches<'_>) {
        let all = self.matching == RuleMatching::All;
        self.program.run(event, |rule| {
            matches.add(rule as usize);
            all
        });
    }
}

lanner_plugin::export_plugin! {
    name: "rules-falco",
    description: "The Falco rules language.",
    rules: FalcoRules,
}
