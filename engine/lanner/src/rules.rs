//! `lanner rules`: checks, lists, explains and tests rules. The rule plugin gives the answers.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use driver_api::error::Chain;
use serde_json::{Value, json};

use super::{Failure, print, say};
use command_line::{RuleCheckArgs, RuleExplainArgs, RuleListArgs, RuleTestArgs, RuleVerb, UseArgs};
use fields::FieldRegistry;
use plugin_host::{self, Diagnostic, Plugin, RuleFile, RuleHost, Severity};
use session::reference::{self, Form, plural};
use session::rule_tests::{self, Bench, Outcome, Suite};
use session::{RuleFilesError, plugin_directories, rule_files, untrusted_rules};
use suggest::did_you_mean;

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
    found.splice(0..0, untrusted_rules(&args.files).iter().map(untrusted));
    let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
    let checked = reference::CheckedRules {
        files: &names,
        found: &found,
        strict: args.strict,
        notes: args.notes,
    };
    print(checked.show(form(&args.using)).as_bytes())?;
    Ok(ExitCode::from(u8::from(!checked.is_good())))
}

/// A warning about a file or a folder that `lanner run` would refuse, because other users can write to it.
fn untrusted((path, error): &(PathBuf, RuleFilesError)) -> Diagnostic {
    let what = if path.is_dir() { "folder" } else { "file" };
    Diagnostic {
        severity: Severity::Warning,
        code: "LOAD_UNTRUSTED_FILE".to_owned(),
        message: format!("`lanner run` will refuse this {what}: {}", Chain(error)),
        file: path.display().to_string(),
        ..Diagnostic::default()
    }
}

fn list(args: &RuleListArgs) -> Result<ExitCode, Failure> {
    let files = rule_files(&args.files).map_err(Failure::usage)?;
    let registry = FieldRegistry::new("");
    let host = open(&args.using, &files, &registry)?;
    print(reference::rules(host.rules(), form(&args.using)).as_bytes())
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
    let captured = session::events_for([&host].into_iter());
    let text = reference::rule(
        &host.rules()[at],
        &explanation,
        &captured,
        form(&args.using),
    );
    print(text.as_bytes())
}

fn form(args: &UseArgs) -> Form {
    if args.json { Form::Json } else { Form::Text }
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
    let of_file = |error| Failure::usage(format!("{}: {}", path.display(), Chain(&error)));
    rule_tests::check_rules(&suite, &host).map_err(of_file)?;
    rule_tests::resolve(&suite, &registry).map_err(of_file)?;
    let alerts = session::alert_rules(&host, &[], &registry)
        .map_err(|error| Failure::usage(Chain(&error)))?;
    let templates = alerts.into_iter().map(|rule| rule.template).collect();
    let mut bench = Bench::new(host, templates, &registry);
    let outcomes = suite.tests.iter();
    let outcomes = outcomes.map(|test| bench.run(test, &registry).map_err(of_file));
    outcomes.collect()
}
