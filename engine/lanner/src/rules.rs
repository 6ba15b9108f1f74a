//! `lanner rules`: checks, lists, explains and tests rules. The rule plugin gives the answers.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use driver_api::error::Chain;
use serde_json::{Value, json};

use super::args::{RuleCheckArgs, RuleExplainArgs, RuleListArgs, RuleTestArgs, RuleVerb, UseArgs};
use super::{Failure, print, say};
use fields::FieldRegistry;
use plugin_host::{
    self, Diagnostic, EventTypes, Explanation, Plugin, Rule, RuleFile, RuleHost, Severity,
};
use session::config::trusted;
use session::rule_tests::{self, Bench, Outcome, Suite};
use session::{plugin_directories, rule_files};
use suggest::did_you_mean;

/// Columns of an explanation's text.
const WIDTH: usize = 96;

pub(crate) fn rules(verb: RuleVerb) -> Result<ExitCode, Failure> {
    match verb {
        RuleVerb::Check(args) => check(&args),
        RuleVerb::List(args) => list(&args),
        RuleVerb::Explain(args) => explain(&args),
        RuleVerb::Test(args) => test(&args),
    }
}

fn plugin(args: &UseArgs) -> Result<Plugin, Failure> {
    let directories = plugin_directories(args.plugin_dirs.clone(), &args.plugin);
    plugin_host::find(&directories, &args.plugin).map_err(Failure::usage)
}

/// The settings of the rule plugin, as JSON.
fn settings(args: &UseArgs) -> String {
    let mut settings = serde_json::Map::new();
    if args.skip_unknown {
        settings.insert("unknown_fields".to_owned(), "skip-rule".into());
    }
    if args.strict_falco {
        settings.insert("strict_falco".to_owned(), true.into());
    }
    if settings.is_empty() {
        return String::new();
    }
    Value::Object(settings).to_string()
}

fn open(args: &UseArgs, files: &[RuleFile], registry: &FieldRegistry) -> Result<RuleHost, Failure> {
    RuleHost::open(&plugin(args)?, registry, files, &settings(args)).map_err(Failure::usage)
}

fn check(args: &RuleCheckArgs) -> Result<ExitCode, Failure> {
    let files = rule_files(&args.files).map_err(Failure::usage)?;
    let registry = FieldRegistry::new("");
    let mut found = RuleHost::check(
        &plugin(&args.using)?,
        &registry,
        &files,
        &settings(&args.using),
    )
    .map_err(Failure::broken)?;
    found.splice(0..0, args.files.iter().filter_map(|path| untrusted(path)));
    let count = |severity| found.iter().filter(|one| one.severity == severity).count();
    let errors = count(Severity::Error);
    let warnings = count(Severity::Warning);
    let good = errors == 0 && (warnings == 0 || !args.strict);
    let mut missing: Vec<&str> = found.iter().map(|one| one.missing.as_str()).collect();
    missing.retain(|name| !name.is_empty());
    missing.sort_unstable();
    missing.dedup();
    if args.using.json {
        let of = |severity| -> Vec<Value> {
            let some = found.iter().filter(|one| one.severity == severity);
            some.map(diagnostic_json).collect()
        };
        let document = json!({
            "files": files.iter().map(|file| &file.name).collect::<Vec<_>>(),
            "successful": good,
            "errors": of(Severity::Error),
            "warnings": of(Severity::Warning),
            "notes": of(Severity::Note),
            "missing": missing,
        });
        print(format!("{document:#}\n").as_bytes())?;
    } else {
        let mut text = String::new();
        for one in found
            .iter()
            .filter(|one| args.notes || one.severity != Severity::Note)
        {
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
            plural(files.len(), "file"),
            plural(errors, "error"),
            plural(warnings, "warning"),
            plural(count(Severity::Note), "note"),
        );
        print(text.as_bytes())?;
    }
    Ok(ExitCode::from(u8::from(!good)))
}

/// A warning about a file that `lanner run` would refuse, because other users can write it.
fn untrusted(path: &Path) -> Option<Diagnostic> {
    let error = trusted::file(path).err()?;
    Some(Diagnostic {
        severity: Severity::Warning,
        code: "LOAD_UNTRUSTED_FILE".to_owned(),
        message: format!("`lanner run` will refuse this file: {}", Chain(&error)),
        file: path.display().to_string(),
        ..Diagnostic::default()
    })
}

fn plural(count: usize, what: &str) -> String {
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

fn list(args: &RuleListArgs) -> Result<ExitCode, Failure> {
    let files = rule_files(&args.files).map_err(Failure::usage)?;
    let registry = FieldRegistry::new("");
    let host = open(&args.using, &files, &registry)?;
    if args.using.json {
        let rows: Vec<Value> = host.rules().iter().map(rule_json).collect();
        return print(format!("{:#}\n", Value::from(rows)).as_bytes());
    }
    let mut text = String::new();
    for rule in host.rules() {
        let off = if rule.enabled { "" } else { " (disabled)" };
        let priority = rule.priority.name();
        let _ = writeln!(text, "{priority:<13} {}{off}", rule.name);
        if !rule.tags.is_empty() {
            let _ = writeln!(text, "{:<13} {}", "", rule.tags.join(", "));
        }
    }
    let enabled = host.rules().iter().filter(|rule| rule.enabled).count();
    let _ = writeln!(
        text,
        "{}, {enabled} enabled",
        plural(host.rules().len(), "rule")
    );
    print(text.as_bytes())
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

fn explain(args: &RuleExplainArgs) -> Result<ExitCode, Failure> {
    let files = rule_files(&args.rules).map_err(Failure::usage)?;
    let registry = FieldRegistry::new("");
    let mut host = open(&args.using, &files, &registry)?;
    let wanted = host.rules().iter().position(|rule| rule.name == args.rule);
    let at = wanted.ok_or_else(|| {
        let names = host.rules().iter().map(|rule| rule.name.as_str());
        let help = did_you_mean(&args.rule, names);
        Failure::usage(format!("there is no rule {:?}{help}", args.rule))
    })?;
    let explanation = host
        .explain(u32::try_from(at).unwrap_or(u32::MAX))
        .map_err(Failure::broken)?;
    let rule = &host.rules()[at];
    if args.using.json {
        let mut document = rule_json(rule);
        document["condition"] = explanation.condition.into();
        document["event_types"] = match explanation.event_types {
            EventTypes::All => "all".into(),
            EventTypes::Only(names) => names.into(),
        };
        document["fields"] = explanation.fields.into();
        document["parts"] = explanation.parts.into();
        return print(format!("{document:#}\n").as_bytes());
    }
    print(explained(rule, &explanation).as_bytes())
}

fn explained(rule: &Rule, explanation: &Explanation) -> String {
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

fn test(args: &RuleTestArgs) -> Result<ExitCode, Failure> {
    let mut failed = 0;
    let mut passed = 0;
    let mut rows = Vec::new();
    for path in &args.files {
        let outcomes = suite(args, path)?;
        for outcome in outcomes {
            let good = outcome.failures.is_empty();
            *(if good { &mut passed } else { &mut failed }) += 1;
            if args.using.json {
                rows.push(json!({
                    "file": path,
                    "test": outcome.name,
                    "passed": good,
                    "failures": outcome.failures,
                }));
            } else {
                let word = if good { "ok" } else { "FAILED" };
                let mut text = format!("{word:<6} {}\n", outcome.name);
                for failure in &outcome.failures {
                    let _ = writeln!(text, "       {failure}");
                }
                print(text.as_bytes())?;
            }
        }
    }
    if args.using.json {
        print(format!("{:#}\n", Value::from(rows)).as_bytes())?;
    } else {
        say(&format!(
            "{} passed, {failed} failed",
            plural(passed, "test")
        ));
    }
    Ok(ExitCode::from(u8::from(failed > 0)))
}

fn suite(args: &RuleTestArgs, path: &Path) -> Result<Vec<Outcome>, Failure> {
    let suite = Suite::read(path).map_err(|error| Failure::usage(Chain(&error)))?;
    let named = if args.rules.is_empty() {
        &suite.rules
    } else {
        &args.rules
    };
    let files = rule_files(named).map_err(Failure::usage)?;
    let registry = FieldRegistry::new("test-host");
    let host = open(&args.using, &files, &registry)?;
    let of_file = |reason: String| Failure::usage(format!("{}: {reason}", path.display()));
    for name in suite
        .tests
        .iter()
        .flat_map(|test| &test.events)
        .flat_map(|step| &step.alerts)
    {
        for name in name {
            if !host.rules().iter().any(|rule| rule.name == *name) {
                let names = host.rules().iter().map(|rule| rule.name.as_str());
                let help = did_you_mean(name, names);
                return Err(of_file(format!("there is no rule `{name}`{help}")));
            }
        }
    }
    rule_tests::resolve(&suite, &registry).map_err(of_file)?;
    let alerts = session::alert_rules(&host, &[], &registry)
        .map_err(|error| Failure::usage(Chain(&error)))?;
    let templates = alerts.into_iter().map(|rule| rule.template).collect();
    let mut bench = Bench::new(host, templates, &registry);
    let outcomes = suite.tests.iter().map(|test| {
        let named = |reason| of_file(format!("test `{}`: {reason}", test.name));
        bench.run(test, &registry).map_err(named)
    });
    outcomes.collect()
}
