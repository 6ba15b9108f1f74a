//! Rule plugin for the rules language of Falco. It compiles rule files into a program, looks up the fields of each event
//! at the host, and reports which rules match.
//!
//! | module | does |
//! |---|---|
//! | `source`, `yaml`, `yaml_lenient` | rule files as a tree with the position of every node |
//! | `keys`, `items`, `exceptions`, `versions` | lists, macros and rules; append and override |
//! | `text`, `lists` | the text of a condition, with exceptions and lists filled in |
//! | `ast`, `parse`, `quotes` | conditions as written |
//! | `operators` | the table of operators |
//! | `template` | the fields of output templates |
//! | `compile`, `checks`, `types` | looks up names, checks types, finds the event types of a condition |
//! | `around` | a check that means others |
//! | `hints`, `narrow`, `operands` | what Falco warns about in a condition, and what it refuses |
//! | `graph`, `link` | simplifies, orders and shares conditions, and sorts them by event type |
//! | `matcher`, `text_matcher`, `texts`, `numbers`, `addresses`, `glob`, `posix` | one comparison |
//! | `program` | compiled rules, and their evaluation for an event |
//! | `explain`, `comparisons`, `needs` | what a rule means, for people and for the host |
//! | `rules` | from rule files to a program: the modules above in order |
//!
//! docs/rules.md describes the language.

mod addresses;
mod around;
mod ast;
mod checks;
mod comparisons;
mod compile;
mod exceptions;
mod explain;
mod glob;
mod graph;
mod hints;
mod items;
mod keys;
mod link;
mod lists;
mod matcher;
mod narrow;
mod needs;
mod numbers;
mod operands;
mod operators;
mod parse;
mod posix;
mod program;
mod quotes;
mod rules;
mod source;
mod template;
mod text;
mod text_matcher;
mod texts;
mod types;
mod versions;
mod yaml;

use lanner_plugin::{
    Diagnostic, Error, Event, EventNeed, EventTypes, Explanation, FieldComparison, Host, Level,
    Matches, RuleCapture, RuleInfo, RulePlugin, RuleRequest, Severity,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::items::Items;
use crate::program::Program;
use crate::rules::{File, Loaded};

/// The settings of this plugin.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// How many rules may match one event.
    pub rule_matching: RuleMatching,
    /// What to do with a rule that uses a field or an event type that the host does not have.
    pub unknown_fields: UnknownFields,
    /// Refuse whatever Falco would refuse, so that the rules can be used there, too.
    pub strict_falco: bool,
}

/// How many rules may match one event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RuleMatching {
    /// Only the first matching rule, in load order.
    #[default]
    First,
    /// All matching rules.
    All,
}

/// What to do with a rule that uses a field or an event type that the host does not have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
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
    /// The event types that each rule needs.
    rule_types: Vec<EventTypes>,
    /// The fields that rules compare with constants.
    comparisons: Vec<FieldComparison>,
    /// What events of a type must fulfil so that a rule can match.
    needs: Vec<EventNeed>,
    program: Program,
    matching: RuleMatching,
    /// The definitions in the files, for `explain`.
    items: Items,
}

fn load(request: &RuleRequest<'_>, settings: Settings) -> Loaded {
    let files: Vec<File<'_>> = request
        .files()
        .map(|file| File {
            name: file.name(),
            text: file.text(),
        })
        .collect();
    rules::load(&files, request, settings)
}

impl RulePlugin for FalcoRules {
    type Settings = Settings;

    fn open(host: Host, request: &RuleRequest<'_>, settings: Settings) -> Result<Self, Error> {
        let loaded = load(request, settings);
        for diagnostic in &loaded.diagnostics {
            let level = match diagnostic.severity {
                // The error of `open` contains them.
                Severity::Error => continue,
                Severity::Warning => Level::Warn,
                Severity::Note => Level::Debug,
            };
            host.log(level, &diagnostic.to_string());
        }
        loaded.result.map_err(Error::from)
    }

    fn check(
        _host: Host,
        request: &RuleRequest<'_>,
        settings: Settings,
        report: &mut dyn FnMut(Diagnostic),
    ) -> Result<(), Error> {
        load(request, settings)
            .diagnostics
            .into_iter()
            .for_each(report);
        Ok(())
    }

    fn explain(&self, rule: usize) -> Option<Explanation> {
        let parts = explain::parts(&self.items, self.items.rules.get(rule)?);
        Some(Explanation {
            condition: parts.condition,
            event_types: self.rule_types.get(rule)?.clone(),
            fields: parts.fields.into_keys().collect(),
            parts: parts.names.into_iter().collect(),
        })
    }

    fn comparisons(&self) -> Vec<FieldComparison> {
        self.comparisons.clone()
    }

    fn needs(&self) -> Vec<EventNeed> {
        self.needs.clone()
    }

    fn captures(&self) -> Vec<RuleCapture> {
        let rules = (0..).zip(&self.items.rules);
        rules
            .filter(|(_, rule)| rule.capture.wanted)
            .map(|(at, rule)| rule.capture.of_rule(at))
            .collect()
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
