//! From rule files to loaded rules, with everything that is wrong with them.

use std::sync::Arc;

use lanner_plugin::RuleInfo;

use crate::compile::{Compiler, Names};
use crate::items::{Items, Rule};
use crate::source::{Problem, Source};
use crate::{FalcoRules, Settings, UnknownFields, template, yaml};

/// How many problems are told at once.
const MAX_PROBLEMS: usize = 20;

/// What came of loading.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) result: Result<FalcoRules, String>,
    pub(crate) warnings: Vec<String>,
    /// For whoever debugs rules.
    pub(crate) notes: Vec<String>,
}

/// Loads rule files, in this order.
pub(crate) fn load(sources: Vec<Source>, names: &impl Names, settings: Settings) -> Loaded {
    let mut items = Items::default();
    for source in sources {
        match yaml::parse(&Arc::new(source)) {
            Ok(documents) => {
                for document in documents {
                    items.add_document(&document);
                }
            }
            Err(problem) => items.problems.push(problem),
        }
    }
    let mut problems = std::mem::take(&mut items.problems);
    let mut warnings = std::mem::take(&mut items.warnings);
    let mut notes = Vec::new();

    let mut compiler = Compiler::new(names, &items);
    let mut rules = Vec::new();
    for rule in &items.rules {
        let mut enabled = rule.enabled && rule.source == "syscall";
        match compile(&mut compiler, rule) {
            Ok(true) => {}
            Ok(false) if rule.warn_event_types && enabled => {
                let name = &rule.name;
                let message = format!(
                    "rule `{}` looks at events of every type, which is slow",
                    name.text
                );
                warnings.push(
                    Problem::new(&name.place, message)
                        .help("say which in its condition: `evt.type in (openat, ...)`"),
                );
            }
            Ok(false) => {}
            Err(mut problem) => {
                let skip =
                    rule.skip_if_unknown || settings.unknown_fields == UnknownFields::SkipRule;
                compiler.no_rule();
                enabled = false;
                if problem.unknown_to_host && skip {
                    let name = &rule.name.text;
                    problem.message = format!("rule `{name}` is left out: {}", problem.message);
                    warnings.push(problem);
                } else {
                    problems.push(problem);
                }
            }
        }
        if rule.source != "syscall" {
            let message = format!(
                "rule `{}` is left out: its source is `{}`, and only `syscall` is there",
                rule.name.text, rule.source
            );
            warnings.push(Problem::new(&rule.name.place, message));
        }
        rules.push(RuleInfo {
            name: rule.name.text.clone(),
            description: rule.description.trim().to_owned(),
            priority: rule.priority,
            source: rule.source.clone(),
            tags: rule.tags.clone(),
            output: template::clean(&rule.output),
            enabled,
        });
    }
    for (name, unused) in &items.macros {
        if !compiler.used_macro(name) {
            notes.push(format!("{}: macro `{name}` is not used", unused.place));
            // Its faults are worth knowing, except for what this host lacks.
            if let Err(problem) = compiler.check_macro(name, &unused.place)
                && !problem.unknown_to_host
            {
                problems.push(problem);
            }
        }
    }
    notes.sort();
    let (program, event_types) = compiler.finish();
    let result = if problems.is_empty() {
        Ok(FalcoRules {
            rules,
            event_types,
            program,
            matching: settings.rule_matching,
        })
    } else {
        Err(report(&problems))
    };
    Loaded {
        result,
        warnings: warnings.iter().map(Problem::to_string).collect(),
        notes,
    }
}

/// Returns whether the rule says which event types it wants.
fn compile<N: Names>(compiler: &mut Compiler<'_, N>, rule: &Rule) -> Result<bool, Problem> {
    for part in &rule.output {
        for field in template::fields(part)? {
            compiler.field(&field)?;
        }
    }
    let mut exceptions = Vec::new();
    for exception in &rule.exceptions {
        exceptions.extend(exception.condition()?);
    }
    let enabled = rule.enabled && rule.source == "syscall";
    compiler.rule(&rule.condition, exceptions, enabled)
}

fn report(problems: &[Problem]) -> String {
    let mut texts: Vec<String> = Vec::new();
    for problem in problems {
        // A fault in a macro is found once by every rule that uses it.
        let text = problem.to_string();
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    let left_out = texts.len().saturating_sub(MAX_PROBLEMS);
    texts.truncate(MAX_PROBLEMS);
    if left_out > 0 {
        texts.push(format!("... and {left_out} more"));
    }
    texts.join("\n")
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "files_tests.rs"]
mod files_tests;
