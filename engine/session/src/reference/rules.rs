//! Rules: what is wrong with them, which there are, and what one amounts to.

use std::fmt::Write as _;

use driver_api::predicate::Shown;
use driver_api::selection::Selection;
use driver_api::support::Tested;
use driver_api::table::Syscall;
use drivers::registered;
use plugin_host::{Diagnostic, EventTypes, Explanation, Rule, Severity};
use serde_json::{Value, json};

use super::Form;

/// Columns of an explanation's text.
const WIDTH: usize = 96;

/// Rule files, and what a check found in them.
#[derive(Debug)]
pub struct CheckedRules<'a> {
    /// The names of the files.
    pub files: &'a [&'a str],
    /// What was found.
    pub found: &'a [Diagnostic],
    /// Warnings count as errors do.
    pub strict: bool,
    /// Whether the text shows notes.
    pub notes: bool,
}

impl CheckedRules<'_> {
    /// Whether the files can be used.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.count(Severity::Error) == 0 && (self.count(Severity::Warning) == 0 || !self.strict)
    }

    fn of(&self, severity: Severity) -> impl Iterator<Item = &Diagnostic> {
        self.found
            .iter()
            .filter(move |one| one.severity == severity)
    }

    fn count(&self, severity: Severity) -> usize {
        self.of(severity).count()
    }

    /// All that was found, as text or JSON; a page of documentation is the text.
    #[must_use]
    pub fn show(&self, form: Form) -> String {
        let mut missing: Vec<&str> = self.found.iter().map(|one| one.missing.as_str()).collect();
        missing.retain(|name| !name.is_empty());
        missing.sort_unstable();
        missing.dedup();
        if form == Form::Json {
            let rows =
                |severity| -> Vec<Value> { self.of(severity).map(diagnostic_json).collect() };
            let document = json!({
                "files": self.files,
                "successful": self.is_good(),
                "errors": rows(Severity::Error),
                "warnings": rows(Severity::Warning),
                "notes": rows(Severity::Note),
                "missing": missing,
            });
            return format!("{document:#}\n");
        }
        let mut text = String::new();
        let shown = |one: &&Diagnostic| self.notes || one.severity != Severity::Note;
        for one in self.found.iter().filter(shown) {
            let named = Diagnostic {
                message: format!("{}: {}", one.severity.name(), one.message),
                ..one.clone()
            };
            let _ = writeln!(text, "{named}");
        }
        if !missing.is_empty() {
            let _ = writeln!(text, "this lanner lacks: {}", missing.join(", "));
        }
        let _ = writeln!(
            text,
            "{}, {}, {}, {}",
            plural(self.files.len(), "file"),
            plural(self.count(Severity::Error), "error"),
            plural(self.count(Severity::Warning), "warning"),
            plural(self.count(Severity::Note), "note"),
        );
        text
    }
}

/// A number and a noun: `1 file`, `2 files`.
#[must_use]
pub fn plural(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn diagnostic_json(one: &Diagnostic) -> Value {
    let some = |text: &str| {
        if text.is_empty() {
            Value::Null
        } else {
            text.into()
        }
    };
    let place = (one.line > 0).then(|| json!({"line": one.line, "column": one.column}));
    json!({
        "code": some(&one.code),
        "message": one.message,
        "help": some(&one.help),
        "item": some(&one.item),
        "missing": some(&one.missing),
        "file": some(&one.file),
        "position": place,
        "snippet": some(&one.snippet),
        "text": one.to_string(),
    })
}

/// The rules, as text or JSON; a page of documentation is the text.
#[must_use]
pub fn rules(rules: &[Rule], form: Form) -> String {
    if form == Form::Json {
        let rows: Vec<Value> = rules.iter().map(rule_json).collect();
        return format!("{:#}\n", Value::from(rows));
    }
    let mut text = String::new();
    for rule in rules {
        let off = if rule.enabled { "" } else { " (disabled)" };
        let priority = rule.priority.name();
        let _ = writeln!(text, "{priority:<13} {}{off}", rule.name);
        if !rule.tags.is_empty() {
            let _ = writeln!(text, "{:<13} {}", "", rule.tags.join(", "));
        }
    }
    let enabled = rules.iter().filter(|rule| rule.enabled).count();
    let _ = writeln!(text, "{}, {enabled} enabled", plural(rules.len(), "rule"));
    text
}

fn rule_json(rule: &Rule) -> Value {
    json!({
        "name": rule.name,
        "description": rule.description,
        "priority": rule.priority.name(),
        "source": rule.source,
        "tags": rule.tags,
        "output": rule.output,
        "enabled": rule.enabled,
    })
}

/// What a rule amounts to, as text or JSON; a page of documentation is the text. `captured`: the events that are captured for
/// all rules of its files and for the state.
#[must_use]
pub fn rule(rule: &Rule, explanation: &Explanation, captured: &Selection, form: Form) -> String {
    let captured = limits(explanation, captured);
    let tested = if captured.is_empty() {
        Vec::new()
    } else {
        places()
    };
    if form != Form::Json {
        return explained(rule, explanation, &captured, &tested);
    }
    let mut document = rule_json(rule);
    document["condition"] = explanation.condition.as_str().into();
    document["event_types"] = match &explanation.event_types {
        EventTypes::All => "all".into(),
        EventTypes::Only(names) => names.as_slice().into(),
    };
    document["captured"] = captured
        .into_iter()
        .map(|(name, limit)| (name.to_owned(), Value::from(limit)))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let tested = tested.into_iter().map(|(driver, mode, tested)| {
        json!({
            "driver": driver,
            "mode": mode,
            "arguments": tested.arguments.name(),
            "result": tested.result.name(),
        })
    });
    document["tested"] = tested.collect::<Vec<_>>().into();
    document["fields"] = explanation.fields.as_slice().into();
    document["parts"] = explanation.parts.as_slice().into();
    format!("{document:#}\n")
}

/// The calls of a rule that are captured in part, each with the events that are captured.
fn limits(explanation: &Explanation, captured: &Selection) -> Vec<(&'static str, String)> {
    let is_of_rule = |call: &Syscall| match &explanation.event_types {
        EventTypes::All => true,
        EventTypes::Only(names) => names.iter().any(|name| name == call.event_type().name),
    };
    let limited = captured.predicates().filter(|(call, _)| is_of_rule(call));
    limited
        .map(|(call, predicate)| (call.name, Shown(predicate, call).to_string()))
        .collect()
}

/// A driver, one of its modes if it has several, and where it tests which events are captured.
type TestedBy = (&'static str, Option<&'static str>, Tested);

/// Where the drivers of this lanner test which events are captured.
fn places() -> Vec<TestedBy> {
    let mut all = Vec::new();
    for driver in registered() {
        let modes = driver.modes().iter();
        let modes = modes.map(|mode| (driver.name(), Some(mode.name), mode.driver.tested()));
        all.extend(modes);
        if driver.modes().is_empty() {
            all.push((driver.name(), None, driver.tested()));
        }
    }
    all
}

fn explained(
    rule: &Rule,
    explanation: &Explanation,
    captured: &[(&'static str, String)],
    tested: &[TestedBy],
) -> String {
    let mut text = String::new();
    let off = if rule.enabled { "" } else { ", disabled" };
    let _ = writeln!(text, "{} ({}{off})", rule.name, rule.priority.name());
    wrap(&mut text, &rule.description);
    if !rule.tags.is_empty() {
        let _ = writeln!(text, "\ntags");
        wrap(&mut text, &rule.tags.join(", "));
    }
    let _ = writeln!(text, "\ncondition, with macros and lists filled in");
    wrap_words(&mut text, words(&explanation.condition));
    let types = match &explanation.event_types {
        EventTypes::All => "all".to_owned(),
        EventTypes::Only(names) if names.is_empty() => "none: it never matches".to_owned(),
        EventTypes::Only(names) => names.join(", "),
    };
    let _ = writeln!(text, "\nevent types");
    wrap(&mut text, &types);
    if !captured.is_empty() {
        let _ = writeln!(text, "\ncaptured alone, for all rules and the state");
        for (name, limit) in captured {
            wrap(&mut text, &format!("{name}: {limit}"));
        }
        let _ = writeln!(text, "\nwhere the drivers test that");
        for (driver, mode, tested) in tested {
            let mode = mode.map_or_else(String::new, |mode| format!(", {mode} mode"));
            let Tested { arguments, result } = tested;
            let line = format!("{driver}{mode}: arguments {arguments}, the result {result}");
            wrap(&mut text, &line);
        }
    }
    let _ = writeln!(text, "\nfields");
    wrap(&mut text, &explanation.fields.join(", "));
    if !explanation.parts.is_empty() {
        let _ = writeln!(text, "\nmade from");
        wrap(&mut text, &explanation.parts.join(", "));
    }
    let _ = writeln!(text, "\noutput");
    wrap(&mut text, &rule.output);
    text
}

/// Appends lines of limited width, broken at blanks.
fn wrap(out: &mut String, text: &str) {
    wrap_words(out, text.split_whitespace());
}

/// The words of a condition. Blanks in quotes do not end a word.
fn words(condition: &str) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    let words = condition.split(move |c: char| {
        quoted ^= c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        c == ' ' && !quoted
    });
    words.filter(|word| !word.is_empty())
}

fn wrap_words<'a>(out: &mut String, words: impl Iterator<Item = &'a str>) {
    let mut width = 0;
    for word in words {
        let length = word.chars().count();
        if width > 0 && width + 1 + length > WIDTH {
            out.push('\n');
            width = 0;
        }
        out.push_str(if width == 0 { "  " } else { " " });
        out.push_str(word);
        width += if width == 0 { 2 + length } else { 1 + length };
    }
    out.push('\n');
}
