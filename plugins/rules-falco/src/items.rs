//! The items of rule files: lists, macros and rules. Later items change or replace earlier ones.

use std::collections::HashMap;
use std::sync::Arc;

use lanner_plugin::Priority;

use crate::ast::Word;
use crate::exceptions::Exception;
use crate::keys::{Change, Keys};
use crate::parse::ConditionText;
use crate::source::{Place, Problem, code};
use crate::versions;
use crate::yaml::{Node, Scalar};

/// All definitions of the files.
#[derive(Debug, Default)]
pub(crate) struct Items {
    pub(crate) lists: HashMap<String, List>,
    pub(crate) macros: HashMap<String, Macro>,
    /// In the order of their first definition.
    pub(crate) rules: Vec<Rule>,
    rule_indices: HashMap<String, usize>,
    pub(crate) problems: Vec<Problem>,
    /// The number of items so far.
    count: usize,
}

/// Named values.
#[derive(Debug)]
pub(crate) struct List {
    pub(crate) words: Vec<Word>,
    pub(crate) place: Place,
}

/// A named part of conditions.
#[derive(Debug)]
pub(crate) struct Macro {
    pub(crate) condition: ConditionText,
    pub(crate) place: Place,
    /// Its number among the items of all files.
    pub(crate) order: usize,
}

/// A rule.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) name: Scalar,
    pub(crate) condition: ConditionText,
    /// The template. It has several parts if a later item appended to it.
    pub(crate) output: Vec<Scalar>,
    pub(crate) description: String,
    pub(crate) priority: Priority,
    pub(crate) source: String,
    pub(crate) tags: Vec<String>,
    pub(crate) enabled: bool,
    pub(crate) exceptions: Vec<Exception>,
    pub(crate) warn_event_types: bool,
    pub(crate) skip_if_unknown: bool,
    /// Its number among the items of all files.
    pub(crate) order: usize,
}

impl Items {
    /// Adds the items of one YAML document.
    pub(crate) fn add_document(&mut self, document: &Node) {
        let items = match document {
            Node::Sequence(_, items) => items,
            Node::Scalar(scalar) if scalar.is_null() => return,
            other => {
                let message = format!("a rule file is a list of items, not {}", other.kind());
                self.problems.push(
                    Problem::new(other.place(), message)
                        .code(code::ITEM)
                        .help("items begin with `- rule:`, `- macro:` or `- list:`"),
                );
                return;
            }
        };
        for item in items {
            if let Err(problem) = self.add(item) {
                self.problems.push(problem);
            }
        }
    }

    fn add(&mut self, item: &Arc<Node>) -> Result<(), Problem> {
        self.count += 1;
        let mut keys = Keys::new(item)?;
        let named = |problem: Problem, name: &Scalar| Problem {
            item: problem.item.or_else(|| Some(name.text.as_str().into())),
            ..problem
        };
        if let Some(name) = keys.text("list")? {
            self.add_list(&name, &mut keys)
                .map_err(|problem| named(problem, &name))?;
        } else if let Some(name) = keys.text("macro")? {
            self.add_macro(&name, &mut keys)
                .map_err(|problem| named(problem, &name))?;
        } else if let Some(name) = keys.text("rule")? {
            self.add_rule(name.clone(), &mut keys)
                .map_err(|problem| named(problem, &name))?;
        } else if let Some(version) = keys.text("required_engine_version")? {
            versions::engine(&version)?;
        } else if let Some(plugins) = keys.take("required_plugin_versions") {
            self.problems.extend(versions::plugins(&plugins)?);
        } else {
            let message = "this item is unknown and ignored";
            let problem = Problem::warning(code::UNKNOWN_ITEM, item.place(), message);
            self.problems
                .push(problem.help("items begin with `- rule:`, `- macro:` or `- list:`"));
            return Ok(());
        }
        self.problems.extend(keys.unknown());
        Ok(())
    }

    /// Warns about `append`, which Falco has deprecated.
    fn warn_append(&mut self, keys: &Keys) {
        if let Some(place) = keys.place_of("append") {
            let message = "`append` is deprecated";
            let problem = Problem::warning(code::DEPRECATED, place, message);
            self.problems
                .push(problem.help("write `override:` with `append` for each key"));
        }
    }

    fn check_name(&mut self, code: &'static str, kind: &str, name: &Scalar) {
        let text = &name.text;
        let valid = text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !valid {
            let message = format!("conditions cannot use `{text}` as the name of a {kind}");
            let problem = Problem::warning(code, &name.place, message);
            self.problems.push(
                problem
                    .help("a name consists of letters, digits and `_`, and begins with a letter"),
            );
        }
    }

    fn add_list(&mut self, name: &Scalar, keys: &mut Keys) -> Result<(), Problem> {
        let items = keys.texts("items")?;
        let change = keys.change(&["items"], &["items"])?;
        let Some(items) = items else {
            return Err(Problem::new(&name.place, "a list needs `items`").code(code::ITEM));
        };
        self.warn_append(keys);
        let words = items.into_iter().map(Word::of_item);
        match (change.of("items"), self.lists.get_mut(&name.text)) {
            (Change::Append, Some(list)) => list.words.extend(words),
            (Change::Define, _) => {
                self.check_name(code::LIST_NAME, "list", name);
                let list = List {
                    words: words.collect(),
                    place: name.place.clone(),
                };
                self.lists.insert(name.text.clone(), list);
            }
            (Change::Replace, Some(list)) => list.words = words.collect(),
            (_, None) => return Err(nothing_before("list", name, self.lists.keys())),
        }
        Ok(())
    }

    fn add_macro(&mut self, name: &Scalar, keys: &mut Keys) -> Result<(), Problem> {
        let condition = keys.text("condition")?;
        let change = keys.change(&["condition"], &["condition"])?;
        let Some(condition) = condition else {
            let message = "a macro needs a `condition`";
            return Err(Problem::new(&name.place, message).code(code::ITEM));
        };
        self.warn_append(keys);
        match (change.of("condition"), self.macros.get_mut(&name.text)) {
            (Change::Append, Some(known)) => {
                known.condition.append(condition);
            }
            (Change::Define, _) => {
                self.check_name(code::MACRO_NAME, "macro", name);
                let known = Macro {
                    condition: ConditionText::new(condition),
                    place: name.place.clone(),
                    order: self.count,
                };
                self.macros.insert(name.text.clone(), known);
            }
            (Change::Replace, Some(known)) => known.condition = ConditionText::new(condition),
            (_, None) => return Err(nothing_before("macro", name, self.macros.keys())),
        }
        Ok(())
    }

    fn add_rule(&mut self, name: Scalar, keys: &mut Keys) -> Result<(), Problem> {
        let condition = keys.text("condition")?;
        let output = keys.text("output")?;
        let description = keys.text("desc")?;
        let priority = match keys.text("priority")? {
            Some(text) => Some(text.text.parse().map_err(|error| {
                Problem::new(&text.place, format!("`{}` is {error}", text.text))
            })?),
            None => None,
        };
        let source = keys.text("source")?;
        let tags = keys.texts("tags")?;
        let tags = tags.map(|tags| tags.into_iter().map(|tag| tag.text).collect::<Vec<_>>());
        let enabled = keys.boolean("enabled")?;
        let exceptions = match keys.take("exceptions") {
            Some(node) => Some(Exception::read_all(&node)?),
            None => None,
        };
        let warn_event_types = keys.boolean("warn_evttypes")?;
        let skip_if_unknown = keys.boolean("skip-if-unknown-filter")?;
        for key in ["capture", "capture_duration"] {
            if let Some(node) = keys.take(key) {
                let message = format!("`{key}` is ignored: lanner writes no capture files");
                self.problems
                    .push(Problem::warning(code::LEFT_OUT, node.place(), message));
            }
        }
        let change = keys.change(
            &["condition", "output", "desc", "tags", "exceptions"],
            &[
                "condition",
                "output",
                "desc",
                "priority",
                "tags",
                "exceptions",
                "enabled",
                "warn_evttypes",
                "skip-if-unknown-filter",
                "capture",
                "capture_duration",
            ],
        )?;

        self.warn_append(keys);
        let known = self.rule_indices.get(&name.text).copied();
        let only_enabled = enabled.is_some() && condition.is_none() && output.is_none();
        if change.is_definition() && !(only_enabled && known.is_some()) {
            let place = name.place.clone();
            let need = |what: &str| {
                Problem::new(&place, format!("a rule needs `{what}`")).code(code::ITEM)
            };
            let rule = Rule {
                condition: ConditionText::new(condition.ok_or_else(|| need("condition"))?),
                output: vec![output.ok_or_else(|| need("output"))?],
                description: description.ok_or_else(|| need("desc"))?.text,
                priority: priority.ok_or_else(|| need("priority"))?,
                source: source.map_or_else(|| "syscall".to_owned(), |source| source.text),
                tags: tags.unwrap_or_default(),
                enabled: enabled.unwrap_or(true),
                exceptions: exceptions.unwrap_or_default(),
                warn_event_types: warn_event_types.unwrap_or(true),
                skip_if_unknown: skip_if_unknown.unwrap_or(false),
                order: self.count,
                name,
            };
            self.problems
                .extend(Exception::duplicates(&rule.exceptions));
            match known {
                Some(index) => self.rules[index] = rule,
                None => {
                    let at = self.rules.len();
                    self.rule_indices.insert(rule.name.text.clone(), at);
                    self.rules.push(rule);
                }
            }
            return Ok(());
        }
        if change.is_definition()
            && let Some(place) = keys.place_of("enabled")
        {
            let message = "`enabled` without `override` is deprecated";
            let problem = Problem::warning(code::DEPRECATED, place, message);
            self.problems
                .push(problem.help("add `override: {enabled: replace}`"));
        }

        let Some(rule) = known.and_then(|index| self.rules.get_mut(index)) else {
            let names = self.rules.iter().map(|rule| &rule.name.text);
            return Err(nothing_before("rule", &name, names));
        };
        let append = |key: &str| change.of(key) == Change::Append;
        match condition {
            Some(text) if append("condition") => rule.condition.append(text),
            Some(text) => rule.condition = ConditionText::new(text),
            None => {}
        }
        match output {
            Some(text) if append("output") => rule.output.push(text),
            Some(text) => rule.output = vec![text],
            None => {}
        }
        match description {
            Some(text) if append("desc") => {
                rule.description.push(' ');
                rule.description.push_str(&text.text);
            }
            Some(text) => rule.description = text.text,
            None => {}
        }
        match tags {
            Some(tags) if append("tags") => rule.tags.extend(tags),
            Some(tags) => rule.tags = tags,
            None => {}
        }
        match exceptions {
            Some(exceptions) if append("exceptions") => {
                self.problems.extend(Exception::without_values(&exceptions));
                Exception::append_all(&mut rule.exceptions, exceptions)?;
            }
            Some(exceptions) => rule.exceptions = exceptions,
            None => {}
        }
        // The appended part may use macros that were defined since.
        rule.order = self.count;
        rule.priority = priority.unwrap_or(rule.priority);
        rule.enabled = enabled.unwrap_or(rule.enabled);
        rule.warn_event_types = warn_event_types.unwrap_or(rule.warn_event_types);
        rule.skip_if_unknown = skip_if_unknown.unwrap_or(rule.skip_if_unknown);
        Ok(())
    }
}

fn nothing_before<'a>(
    kind: &str,
    name: &Scalar,
    known: impl Iterator<Item = &'a String>,
) -> Problem {
    let name_text = &name.text;
    let message = format!("there is no earlier {kind} `{name_text}` to append to or override");
    Problem::new(&name.place, message).nearest(name_text, known.map(String::as_str))
}

impl Word {
    /// An element of a YAML list. Falco's lists often have quotes inside YAML's quotes around an element with blanks or
    /// signs. They are not part of the element.
    pub(crate) fn of_item(item: Scalar) -> Self {
        let unquoted = crate::parse::unquote(&item.text).filter(|(_, end)| *end == item.text.len());
        let quoted = unquoted.is_some();
        Self {
            text: unquoted.map_or(item.text, |(text, _)| text),
            quoted,
            place: item.place,
        }
    }
}
