//! A condition in the language of rules. The rule plugin compiles it as the condition of a rule of its own.

use driver_api::request::SyscallSet;
use fields::{FieldRegistry, View, host_names};
use plugin_host::{Diagnostic, Plugin, PluginError, RuleFile, RuleHost, Severity};
use serde_json::json;
use tracing::subscriber::{NoSubscriber, with_default};

use super::error::ConditionError;

/// A compiled condition.
#[derive(Debug)]
pub struct Condition {
    rules: RuleHost,
    matches: Vec<u32>,
}

impl Condition {
    /// Compiles a condition, as that of a rule with this name. The log has what the rule plugin warns about.
    ///
    /// # Errors
    ///
    /// The rule plugin refuses the condition, or fails; the text has its reason.
    pub fn compile(
        name: &str,
        text: &str,
        plugin: &Plugin,
        registry: &FieldRegistry,
    ) -> Result<Self, ConditionError> {
        // JSON is YAML, too
        let rule = json!([{
            "rule": name,
            "desc": name,
            "condition": text,
            "output": "%evt.num",
            "priority": "INFORMATIONAL",
            // the user looks for a moment, and may want events of every type
            "warn_evttypes": false,
        }]);
        let file = RuleFile {
            name: name.to_owned(),
            text: rule.to_string().into_bytes(),
        };
        let files = [file];
        // what the plugin itself logs is about the rule
        let opened = with_default(NoSubscriber::new(), || {
            RuleHost::open(plugin, registry, &files, "")
        });
        let rules = opened.map_err(|error| match error {
            PluginError::Failed { reason, .. } => ConditionError::Refused(own_words(name, &reason)),
            error => error.into(),
        })?;
        for said in warnings(&RuleHost::check(plugin, registry, &files, "")?) {
            tracing::warn!("{name}: {said}");
        }
        Ok(Self {
            rules,
            matches: Vec::new(),
        })
    }

    /// The calls that can fulfil it.
    #[must_use]
    pub fn calls(&self) -> SyscallSet {
        session::calls_of(self.rules.event_types())
    }

    /// The names of hosts whose addresses it needs.
    ///
    /// # Errors
    ///
    /// The rule plugin failed; the text has its reason.
    pub fn host_names(&mut self) -> Result<Vec<String>, PluginError> {
        Ok(host_names(&self.rules.comparisons()?))
    }

    /// Whether an event fulfils it.
    pub fn matches(&mut self, view: &View<'_>) -> bool {
        self.rules.on_event(view, &mut self.matches);
        !self.matches.is_empty()
    }

    /// Why it cannot match any more: the plugin panicked.
    #[must_use]
    pub fn off(&self) -> Option<&str> {
        self.rules.off()
    }
}

/// What the rule plugin warns about: the messages and what would be right.
fn warnings(diagnostics: &[Diagnostic]) -> Vec<String> {
    let is_warning = |one: &&Diagnostic| one.severity == Severity::Warning;
    let words = |one: &Diagnostic| match one.help.as_str() {
        "" => one.message.clone(),
        help => format!("{}; {help}", one.message),
    };
    diagnostics.iter().filter(is_warning).map(words).collect()
}

/// What a message of the rule plugin says about the condition: the first error, and hints. The user did not write the rule that
/// the place and the excerpt are about.
fn own_words(name: &str, reason: &str) -> String {
    let mut lines = reason.trim().lines().map(str::trim);
    let mut words = without_place(name, lines.next().unwrap_or_default()).to_owned();
    let is_of_the_first = |line: &&str| without_place(name, line) == *line;
    for hint in lines
        .take_while(is_of_the_first)
        .filter_map(|line| line.strip_prefix("= "))
    {
        words.push_str("; ");
        words.push_str(hint);
    }
    words
}

/// A message without `NAME:LINE:COLUMN: ` at its beginning.
fn without_place<'a>(name: &str, message: &'a str) -> &'a str {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let place = message
        .strip_prefix(name)
        .and_then(|rest| rest.strip_prefix(':'));
    let Some(place) = place else { return message };
    let mut parts = place.splitn(3, ':');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(line), Some(column), Some(rest)) if is_number(line) && is_number(column) => {
            rest.trim()
        }
        _ => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_about_the_condition_and_not_about_the_rule_that_is_made_of_it() {
        assert_eq!(
            own_words("filter", "filter:1:31: a blank: after `and`\n"),
            "a blank: after `and`"
        );
        let reason = "--where:1:16: there is no field `fd.nmae`\n   1 | [{\"condition\":\"fd.nmae = 1\"}]\n     |       ^\n     \
                      = did you mean `fd.name`?\n--where:1:30: another error\n     = another hint\n";
        assert_eq!(
            own_words("--where", reason),
            "there is no field `fd.nmae`; did you mean `fd.name`?"
        );
        assert_eq!(
            own_words("filter", "fd.name: no such field"),
            "fd.name: no such field"
        );
    }

    #[test]
    fn warnings_are_messages_with_what_would_be_right() {
        let one = |severity, message: &str, help: &str| Diagnostic {
            severity,
            message: message.to_owned(),
            help: help.to_owned(),
            file: "--where".to_owned(),
            snippet: "[{\"condition\":".to_owned(),
            ..Diagnostic::default()
        };
        let said = warnings(&[
            one(Severity::Warning, "`evt.dir` is deprecated", "leave it out"),
            one(Severity::Note, "unimportant", ""),
            one(Severity::Warning, "a text", ""),
        ]);
        assert_eq!(said, ["`evt.dir` is deprecated; leave it out", "a text"]);
    }
}
