//! Conditions that the user types: compiling them, and completing the names of fields.

use std::sync::Arc;

use fields::{FIELDS, FieldRegistry, Fields, HostNames};
use inspect::Inspector;
use look::{Condition, ConditionError};
use plugin_host::{Plugin, PluginError};

use crate::text::LONGEST;

/// A compiled condition, with the fields that it asks for.
#[derive(Debug)]
pub(crate) struct Filter {
    pub(crate) text: String,
    pub(crate) condition: Condition,
    pub(crate) fields: Fields,
}

/// Compiles conditions.
#[derive(Debug, Clone)]
pub(crate) struct Compiler {
    /// The rule plugin, or why it was not found.
    plugin: Result<Plugin, Arc<PluginError>>,
    hostname: String,
}

impl Compiler {
    pub(crate) fn new(plugin: Result<Plugin, PluginError>, hostname: &str) -> Self {
        Self {
            plugin: plugin.map_err(Arc::new),
            hostname: hostname.to_owned(),
        }
    }

    /// Compiles a condition.
    pub(crate) fn compile(&self, text: &str) -> Result<Filter, FilterError> {
        match &self.plugin {
            Ok(plugin) => Ok(self.try_compile(plugin, text)?),
            Err(why) => Err(FilterError::NoPlugin(Arc::clone(why))),
        }
    }

    fn try_compile(&self, plugin: &Plugin, text: &str) -> Result<Filter, ConditionError> {
        let registry = FieldRegistry::new(&self.hostname);
        let mut condition = Condition::compile(NAME, text, plugin, &registry)?;
        let names = HostNames::watch(condition.host_names()?);
        Ok(Filter {
            text: text.to_owned(),
            condition,
            fields: registry.fields().with_names(names).with_times(true),
        })
    }
}

/// The name of the condition in messages of the rule plugin.
const NAME: &str = "filter";

/// Why a condition cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// The rule plugin, which compiles conditions, was not found.
    #[error(transparent)]
    NoPlugin(Arc<PluginError>),
    /// The rule plugin refuses the condition.
    #[error(transparent)]
    Refused(#[from] ConditionError),
}

impl FilterError {
    /// The reason alone, in lines: the user sees which condition it is about.
    pub(crate) fn reason(&self) -> String {
        driver_api::error::Chain(self).to_string()
    }
}

impl Filter {
    /// Whether an event fulfils the condition.
    pub(crate) fn matches(
        &mut self,
        inspector: &Inspector,
        event: &driver_api::event::Event<'_>,
        seen: &inspect::Seen,
        scratch: &fields::Scratch,
    ) -> bool {
        let view = fields::View::new(&self.fields, inspector, event, seen, scratch);
        self.condition.matches(&view)
    }
}

/// What completing a name gave.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Completion {
    /// What is to be inserted at the cursor.
    pub(crate) insert: String,
    /// The names that are possible, if there are several.
    pub(crate) choices: Vec<&'static str>,
}

/// Completes the field name that ends at the end of `before`.
pub(crate) fn complete(before: &str) -> Completion {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
    let word_at = before
        .char_indices()
        .rev()
        .take_while(|(_, c)| is_part(*c))
        .last();
    let word = word_at.map_or("", |(at, _)| &before[at..]);
    let names: Vec<&'static str> = FIELDS
        .iter()
        .filter(|field| !field.deprecated && field.name.starts_with(word))
        .map(|field| field.name)
        .collect();
    match names.as_slice() {
        [] => Completion::default(),
        [one] => Completion {
            insert: format!("{} ", &one[word.len()..]),
            choices: Vec::new(),
        },
        [first, rest @ ..] => {
            let common = rest.iter().fold(first.len(), |len, name| {
                let same = first.bytes().zip(name.bytes()).take_while(|(a, b)| a == b);
                len.min(same.count())
            });
            Completion {
                insert: first[word.len()..common].to_owned(),
                choices: names,
            }
        }
    }
}

/// The condition that a field has a text as its value. None: the text cannot be written as a value.
pub(crate) fn equals(field: &str, value: &str) -> Option<String> {
    let fits = !value.is_empty()
        && value.len() < LONGEST
        && !value.contains(['"', '\\'])
        && value.chars().all(|c| !c.is_control());
    fits.then(|| format!("{field} = \"{value}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tab_completes_names_as_far_as_they_agree() {
        let one = complete("evt.type = open and proc.cmdlin");
        assert_eq!(one.insert, "e ");
        assert!(one.choices.is_empty());
        let several = complete("not (fd.s");
        assert!(several.choices.contains(&"fd.sip") && several.choices.contains(&"fd.sport"));
        assert_eq!(several.insert, "");
        assert_eq!(complete("proc.nam").insert, "e ");
        assert_eq!(complete("nosuch.fie"), Completion::default());
        assert!(complete("").choices.len() > 100);
        assert_eq!(complete("contai").insert, "ner.");
    }

    #[test]
    fn a_value_that_cannot_be_quoted_makes_no_condition() {
        assert_eq!(
            equals("fd.name", "/etc/a b").as_deref(),
            Some("fd.name = \"/etc/a b\"")
        );
        for text in ["", "a\"b", "a\\x0a", "a\nb"] {
            assert_eq!(equals("fd.name", text), None, "{text:?}");
        }
    }
}
