//! The items of rule files: lists, macros and rules. Later items change or replace earlier ones, as in Falco.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use lanner_plugin::{Priority, RuleCapture};

use crate::exceptions::{self, Exception};
use crate::keys::{Changes, Keys};
use crate::source::{Location, Problem, code};
use crate::text::Composed;
use crate::versions;
use crate::yaml::{Node, Scalar};

/// All definitions of the files.
#[derive(Debug, Default)]
pub(crate) struct Items {
    /// In the order of their first definition, like macros and rules.
    pub(crate) lists: Vec<List>,
    list_indices: HashMap<String, usize>,
    pub(crate) macros: Vec<Macro>,
    pub(crate) macro_indices: HashMap<String, usize>,
    pub(crate) rules: Vec<Rule>,
    rule_indices: HashMap<String, usize>,
    pub(crate) problems: Vec<Problem>,
    /// The number of items so far.
    count: usize,
}

/// Named values.
#[derive(Debug)]
pub(crate) struct List {
    pub(crate) name: String,
    pub(crate) elements: Vec<Arc<Scalar>>,
    pub(crate) place: Location,
    /// The number of its first definition among the items of all files.
    pub(crate) order: usize,
    /// The number of its last change.
    pub(crate) changed: usize,
}

/// A named part of conditions.
#[derive(Debug)]
pub(crate) struct Macro {
    pub(crate) name: String,
    pub(crate) condition: Composed,
    pub(crate) place: Location,
    /// The number of its first definition among the items of all files.
    pub(crate) order: usize,
    /// The number of its last change.
    pub(crate) changed: usize,
}

/// A rule.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) name: Scalar,
    pub(crate) condition: Composed,
    /// The template. It has several parts if a later item appended to it.
    pub(crate) output: Vec<Scalar>,
    pub(crate) description: String,
    pub(crate) priority: Priority,
    pub(crate) source: String,
    pub(crate) tags: BTreeSet<String>,
    pub(crate) enabled: bool,
    pub(crate) exceptions: Vec<Exception>,
    pub(crate) warn_event_types: bool,
    pub(crate) skip_if_unknown: bool,
    pub(crate) capture: Capture,
}

/// What a rule asks to keep in a file when it matches. None: as the configuration says.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Capture {
    pub(crate) wanted: bool,
    /// Milliseconds after the match; 0: as the configuration says.
    duration_ms: Option<u32>,
    /// Before it.
    before: Option<Duration>,
    events: Option<u32>,
    /// Megabytes.
    file_size: Option<u32>,
}

impl Capture {
    /// Reads the keys. Those that are not there stay as they are.
    fn read(&mut self, keys: &mut Keys) -> Result<(), Problem> {
        self.wanted = keys.boolean("capture")?.unwrap_or(self.wanted);
        self.duration_ms = keys.number("capture_duration")?.or(self.duration_ms);
        self.events = keys.number("capture_events")?.or(self.events);
        self.file_size = keys.number("capture_filesize")?.or(self.file_size);
        self.before = keys.time("capture_before")?.or(self.before);
        Ok(())
    }

    /// It as the host takes it, for the rule with this index.
    pub(crate) fn of_rule(&self, rule: u32) -> RuleCapture {
        let given = |number: Option<u32>| number.filter(|number| *number != 0).map(u64::from);
        RuleCapture {
            rule,
            duration: given(self.duration_ms).map(Duration::from_millis),
            before: self.before,
            events: given(self.events),
            bytes: given(self.file_size).map(|megabytes| megabytes << 20),
        }
    }
}

/// The keys of a rule that `override` can append.
const APPENDABLE: &[&str] = &["condition", "output", "desc", "tags", "exceptions"];

/// The keys of a rule that `override` can replace.
const REPLACEABLE: &[&str] = &[
    "condition",
    "output",
    "desc",
    "priority",
    "capture",
    "capture_duration",
    "capture_events",
    "capture_filesize",
    "capture_before",
    "tags",
    "exceptions",
    "enabled",
    "warn_evttypes",
    "skip-if-unknown-filter",
];

/// The source of rules about events of processes, the only one that lanner has.
pub(crate) const SYSCALL: &str = "syscall";

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
            if matches!(&**item, Node::Scalar(scalar) if scalar.is_null()) {
                continue;
            }
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
        if let Some(version) = keys.text("required_engine_version")? {
            versions::engine(&version)?;
        } else if let Some(plugins) = keys.take("required_plugin_versions") {
            self.problems.extend(versions::plugins(&plugins)?);
        } else if let Some(name) = keys.text("list")? {
            self.add_list(&name, &mut keys)
                .map_err(|problem| named(problem, &name))?;
        } else if let Some(name) = keys.text("macro")? {
            self.add_macro(&name, &mut keys)
                .map_err(|problem| named(problem, &name))?;
        } else if let Some(name) = keys.text("rule")? {
            self.add_rule(&name, &mut keys)
                .map_err(|problem| named(problem, &name))?;
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
    fn warn_append(&mut self, keys: &Keys, changes: &Changes) {
        if let Some(place) = keys.place_of("append").filter(|_| changes.append) {
            let message = "`append` is deprecated";
            let problem = Problem::warning(code::DEPRECATED, place, message);
            self.problems
                .push(problem.help("write `override:` with `append` for each key"));
        }
    }

    fn add_list(&mut self, name: &Scalar, keys: &mut Keys) -> Result<(), Problem> {
        if name
            .text
            .contains(|c: char| c.is_whitespace() || "()\"'=,".contains(c))
        {
            let message = format!("conditions can hardly use `{}` as a list's name", name.text);
            let problem = Problem::warning(code::LIST_NAME, &name.place, message);
            self.problems
                .push(problem.help("a name has no blanks and none of the signs ( ) \" ' = ,"));
        }
        let Some(elements) = keys.texts("items")? else {
            return Err(Problem::new(&name.place, "a list needs `items`").code(code::ITEM));
        };
        let changes = keys.changes((&["items"], &["items"]))?;
        self.warn_append(keys, &changes);
        let elements = elements.into_iter().map(Arc::new);
        let known = self.list_indices.get(&name.text);
        let list = known.and_then(|at| self.lists.get_mut(*at));
        match list {
            Some(list) => {
                if !changes.appends("items") {
                    list.elements.clear();
                    list.place = name.place.clone();
                }
                list.elements.extend(elements);
                list.changed = self.count;
            }
            None if changes.appends("items") => {
                let known = self.lists.iter().map(|list| list.name.as_str());
                return Err(nothing_before("list", name, known));
            }
            None => {
                self.list_indices
                    .insert(name.text.clone(), self.lists.len());
                self.lists.push(List {
                    name: name.text.clone(),
                    elements: elements.collect(),
                    place: name.place.clone(),
                    order: self.count,
                    changed: self.count,
                });
            }
        }
        Ok(())
    }

    fn add_macro(&mut self, name: &Scalar, keys: &mut Keys) -> Result<(), Problem> {
        let text = &name.text;
        let valid = text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !valid {
            let message = format!("conditions cannot use `{text}` as the name of a macro");
            let problem = Problem::warning(code::MACRO_NAME, &name.place, message);
            self.problems.push(
                problem
                    .help("a name consists of letters, digits and `_`, and begins with a letter"),
            );
        }
        let Some(condition) = keys.text("condition")? else {
            let message = "a macro needs a `condition`";
            return Err(Problem::new(&name.place, message).code(code::ITEM));
        };
        let changes = keys.changes((&["condition"], &["condition"]))?;
        self.warn_append(keys, &changes);
        let known = self.macro_indices.get(&name.text);
        match known.and_then(|at| self.macros.get_mut(*at)) {
            Some(known) => {
                if changes.appends("condition") {
                    known.condition.append(condition);
                } else {
                    known.condition = Composed::new(condition);
                    known.place = name.place.clone();
                }
                known.changed = self.count;
            }
            None if changes.appends("condition") => {
                let known = self.macros.iter().map(|known| known.name.as_str());
                return Err(nothing_before("macro", name, known));
            }
            None => {
                self.macro_indices
                    .insert(name.text.clone(), self.macros.len());
                self.macros.push(Macro {
                    name: name.text.clone(),
                    condition: Composed::new(condition),
                    place: name.place.clone(),
                    order: self.count,
                    changed: self.count,
                });
            }
        }
        Ok(())
    }

    fn add_rule(&mut self, name: &Scalar, keys: &mut Keys) -> Result<(), Problem> {
        let source = keys.take("source");
        let changes = keys.changes((APPENDABLE, REPLACEABLE))?;
        self.warn_append(keys, &changes);
        let essential = ["condition", "output", "desc", "priority"];
        let bare = !essential.iter().any(|key| keys.has(key));
        if changes.has_override() {
            keys.check_override(&changes, REPLACEABLE)?;
            self.override_rule(
                name,
                optional_source(source.as_deref())?.as_ref(),
                &changes,
                keys,
            )
        } else if changes.append {
            self.append_to_rule(name, optional_source(source.as_deref())?.as_ref(), keys)
        } else if bare {
            self.enable_rule(name, keys)
        } else {
            let source = source.map(|node| crate::keys::text("source", &node));
            self.define_rule(name, source.transpose()?, keys)
        }
    }

    /// The index of an earlier rule with this name. Its source cannot change.
    fn find_rule(&self, name: &Scalar, source: Option<&Scalar>) -> Result<Option<usize>, Problem> {
        let known = self.rule_indices.get(&name.text).copied();
        let old = known.map(|at| &self.rules[at].source);
        match (old, source) {
            (Some(old), Some(source)) if *old != source.text => {
                let message = format!("this rule has the source `{old}` already");
                Err(Problem::new(&source.place, message))
            }
            _ => Ok(known),
        }
    }

    fn earlier_rule(
        &mut self,
        name: &Scalar,
        source: Option<&Scalar>,
    ) -> Result<&mut Rule, Problem> {
        match self.find_rule(name, source)? {
            Some(at) => Ok(&mut self.rules[at]),
            None => {
                let names = self.rules.iter().map(|rule| rule.name.text.as_str());
                Err(nothing_before("rule", name, names))
            }
        }
    }

    fn define_rule(
        &mut self,
        name: &Scalar,
        source: Option<Scalar>,
        keys: &mut Keys,
    ) -> Result<(), Problem> {
        let condition = keys.text("condition")?;
        let output = keys.text("output")?;
        let description = keys.text("desc")?;
        let priority = keys.text("priority")?.as_ref().map(priority).transpose()?;
        let enabled = keys.boolean("enabled")?.unwrap_or(true);
        let mut capture = Capture::default();
        capture.read(keys)?;
        let warn_event_types = keys.boolean("warn_evttypes")?.unwrap_or(true);
        let skip_if_unknown = keys.boolean("skip-if-unknown-filter")?.unwrap_or(false);
        let tags = keys.texts("tags")?.unwrap_or_default();
        let mut exceptions = exceptions::read(keys, &mut self.problems, false)?.unwrap_or_default();
        let need = |what: &str| {
            let message = format!("a rule needs `{what}`");
            Problem::new(&name.place, message).code(code::ITEM)
        };
        let condition = condition.ok_or_else(|| need("condition"))?;
        let output = output.ok_or_else(|| need("output"))?;
        let description = description.ok_or_else(|| need("desc"))?;
        let priority = priority.ok_or_else(|| need("priority"))?;
        let known = self.find_rule(name, source.as_ref())?;
        for exception in &mut exceptions {
            exception.complete()?;
        }
        let rule = Rule {
            name: name.clone(),
            condition: Composed::new(condition),
            output: vec![output],
            description: description.text,
            priority,
            source: source.map_or_else(|| SYSCALL.to_owned(), |source| source.text),
            tags: tags.into_iter().map(|tag| tag.text).collect(),
            enabled,
            exceptions,
            warn_event_types,
            skip_if_unknown,
            capture,
        };
        match known {
            Some(index) => self.rules[index] = rule,
            None => {
                let at = self.rules.len();
                self.rule_indices.insert(name.text.clone(), at);
                self.rules.push(rule);
            }
        }
        Ok(())
    }

    /// `enabled` alone switches an earlier rule on or off.
    fn enable_rule(&mut self, name: &Scalar, keys: &mut Keys) -> Result<(), Problem> {
        let Some(enabled) = keys.boolean("enabled")? else {
            let message = "a rule needs `condition`, `output`, `desc` and `priority`";
            return Err(Problem::new(&name.place, message).code(code::ITEM));
        };
        if let Some(place) = keys.place_of("enabled") {
            let message = "`enabled` without `override` is deprecated";
            let problem = Problem::warning(code::DEPRECATED, place, message);
            self.problems
                .push(problem.help("add `override: {enabled: replace}`"));
        }
        self.ignore(keys, &["enabled"], "`enabled` stands alone");
        self.earlier_rule(name, None)?.enabled = enabled;
        Ok(())
    }

    /// `append: true` appends to the condition and the exceptions. As in Falco, it changes nothing else.
    fn append_to_rule(
        &mut self,
        name: &Scalar,
        source: Option<&Scalar>,
        keys: &mut Keys,
    ) -> Result<(), Problem> {
        let condition = keys.text("condition")?;
        let exceptions = exceptions::read(keys, &mut self.problems, true)?;
        self.ignore(
            keys,
            &["condition", "exceptions"],
            "`append: true` changes the condition and the exceptions only",
        );
        let rule = self.earlier_rule(name, source)?;
        if condition.is_none() && exceptions.is_none() {
            let message = "`append: true` needs a `condition` or `exceptions`";
            return Err(Problem::new(&name.place, message)
                .help("`override` can append to other keys: `override: {output: append}`"));
        }
        if let Some(condition) = condition {
            rule.condition.append(condition);
        }
        exceptions::append(&mut rule.exceptions, exceptions.unwrap_or_default())
    }

    /// Warns about keys of an item that change nothing.
    fn ignore(&mut self, keys: &mut Keys, but: &[&str], why: &str) {
        for key in REPLACEABLE.iter().filter(|key| !but.contains(key)) {
            if keys.take(key).is_some()
                && let Some(place) = keys.place_of(key)
            {
                let message = format!("`{key}` is ignored: {why}");
                let problem = Problem::warning(code::LEFT_OUT, place, message);
                self.problems
                    .push(problem.help(format!("write `override: {{{key}: replace}}`")));
            }
        }
    }

    fn override_rule(
        &mut self,
        name: &Scalar,
        source: Option<&Scalar>,
        changes: &Changes,
        keys: &mut Keys,
    ) -> Result<(), Problem> {
        let condition = keys.text("condition")?;
        let output = keys.text("output")?;
        let description = keys.text("desc")?;
        let new_priority = keys.text("priority")?.as_ref().map(priority).transpose()?;
        let tags = keys.texts("tags")?;
        let enabled = keys.boolean("enabled")?;
        let known = self.rule_indices.get(&name.text);
        let mut capture = known.map_or_else(Capture::default, |at| self.rules[*at].capture);
        capture.read(keys)?;
        let warn_event_types = keys.boolean("warn_evttypes")?;
        let skip_if_unknown = keys.boolean("skip-if-unknown-filter")?;
        let append_exceptions = changes.appends("exceptions");
        let mut exceptions = exceptions::read(keys, &mut self.problems, append_exceptions)?;
        for exception in exceptions
            .iter_mut()
            .flatten()
            .filter(|_| !append_exceptions)
        {
            if let Some(problem) = exception.without_comparators() {
                self.problems.push(problem);
            }
            exception.complete()?;
        }
        // As in Falco, a rule keeps its source, but only a new condition is checked for that.
        let rule = self.earlier_rule(name, source.filter(|_| condition.is_some()))?;
        match condition {
            Some(text) if changes.appends("condition") => rule.condition.append(text),
            Some(text) => rule.condition = Composed::new(text),
            None => {}
        }
        match output {
            Some(text) if changes.appends("output") => rule.output.push(text),
            Some(text) => rule.output = vec![text],
            None => {}
        }
        match description {
            Some(text) if changes.appends("desc") => {
                rule.description.push(' ');
                rule.description.push_str(&text.text);
            }
            Some(text) => rule.description = text.text,
            None => {}
        }
        if let Some(tags) = tags {
            if !changes.appends("tags") {
                rule.tags.clear();
            }
            rule.tags.extend(tags.into_iter().map(|tag| tag.text));
        }
        rule.priority = new_priority.unwrap_or(rule.priority);
        rule.enabled = enabled.unwrap_or(rule.enabled);
        rule.capture = capture;
        rule.warn_event_types = warn_event_types.unwrap_or(rule.warn_event_types);
        rule.skip_if_unknown = skip_if_unknown.unwrap_or(rule.skip_if_unknown);
        match exceptions {
            Some(exceptions) if append_exceptions => {
                exceptions::append(&mut rule.exceptions, exceptions)?;
            }
            Some(exceptions) => rule.exceptions = exceptions,
            None => {}
        }
        Ok(())
    }
}

/// The source of an item that changes a rule. It may have no value.
fn optional_source(node: Option<&Node>) -> Result<Option<Scalar>, Problem> {
    match node {
        Some(Node::Scalar(scalar)) if scalar.is_null() || scalar.text.is_empty() => Ok(None),
        Some(node) => crate::keys::text("source", node).map(Some),
        None => Ok(None),
    }
}

fn priority(text: &Scalar) -> Result<Priority, Problem> {
    let found: Result<Priority, _> = text.text.parse();
    let name = |priority: &Priority| priority.name().eq_ignore_ascii_case(&text.text);
    let known = |priority: &Priority| name(priority) || text.text.eq_ignore_ascii_case("info");
    match found {
        Ok(priority) if known(&priority) => Ok(priority),
        Ok(priority) => {
            let message = format!("`{}` is no priority", text.text);
            let help = format!("did you mean `{}`?", priority.name());
            Err(Problem::new(&text.place, message)
                .code(code::ITEM)
                .help(help))
        }
        Err(error) => {
            let message = format!("`{}` is {error}", text.text);
            Err(Problem::new(&text.place, message).code(code::ITEM))
        }
    }
}

fn nothing_before<'a>(kind: &str, name: &Scalar, known: impl Iterator<Item = &'a str>) -> Problem {
    let name_text = &name.text;
    let message = format!("there is no earlier {kind} `{name_text}` to append to or override");
    Problem::new(&name.place, message).nearest(name_text, known)
}
