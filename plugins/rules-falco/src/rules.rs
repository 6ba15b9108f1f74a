//! From rule files to loaded rules, with everything that is wrong with them.

use std::collections::HashSet;
use std::sync::Arc;

use lanner_plugin::{Diagnostic, RuleInfo, Severity};

use crate::ast::FieldRef;
use crate::compile::{Compiler, Names};
use crate::items::{Items, Rule};
use crate::source::{Problem, Source, code};
use crate::{FalcoRules, Settings, UnknownFields, explain, template, yaml};

/// How many errors are told at once when rules are loaded.
const MAX_ERRORS: usize = 20;

/// How many things are said about rule files in all.
const MAX_DIAGNOSTICS: usize = 1000;

/// What came of loading.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The rules, or all errors in one text.
    pub(crate) result: Result<FalcoRules, String>,
    /// Errors, warnings and notes, in the order of the files.
    pub(crate) diagnostics: Vec<Diagnostic>,
}

/// A rule file as the host has read it.
#[derive(Debug)]
pub(crate) struct File<'a> {
    pub(crate) name: String,
    pub(crate) text: &'a [u8],
}

/// Loads rule files, in this order.
pub(crate) fn load(files: &[File<'_>], names: &impl Names, settings: Settings) -> Loaded {
    let mut items = Items::default();
    for file in files {
        if let Err(problem) = read(file, &mut items) {
            items.problems.push(problem);
        }
    }
    let mut problems = std::mem::take(&mut items.problems);
    let mut compiler = Compiler::new(names, &items);
    let mut rules = Vec::new();
    for rule in &items.rules {
        let enabled = add(&mut compiler, &items, rule, settings, &mut problems);
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
    check_unused(&mut compiler, &items, &mut problems);
    problems.append(&mut compiler.notes);
    let linked = compiler.finish();
    let diagnostics = in_order(problems, files);
    let result = match report(&diagnostics) {
        None => Ok(FalcoRules {
            rules,
            event_types: linked.wanted,
            rule_types: linked.rule_types,
            comparisons: linked.comparisons,
            program: linked.program,
            matching: settings.rule_matching,
            items,
        }),
        Some(errors) => Err(errors),
    };
    Loaded {
        result,
        diagnostics,
    }
}

fn read(file: &File<'_>, items: &mut Items) -> Result<(), Problem> {
    let of_file = |message: String| {
        Problem::without_place(format!("{}: {message}", file.name)).code(code::READ)
    };
    let text = match std::str::from_utf8(file.text) {
        Ok(text) => text,
        Err(error) => {
            let line = file.text[..error.valid_up_to()]
                .iter()
                .filter(|byte| **byte == b'\n')
                .count();
            return Err(of_file(format!("line {} is not UTF-8", line + 1)));
        }
    };
    let source = Source {
        name: file.name.clone(),
        text: text.to_owned(),
    };
    for document in yaml::parse(&Arc::new(source))? {
        items.add_document(&document);
    }
    Ok(())
}

/// Compiles a rule, or leaves it out. Returns whether it can match.
fn add<N: Names>(
    compiler: &mut Compiler<'_, N>,
    items: &Items,
    rule: &Rule,
    settings: Settings,
    problems: &mut Vec<Problem>,
) -> bool {
    let name = &rule.name;
    let of_rule = |problem: Problem| Problem {
        item: problem.item.or_else(|| Some(name.text.as_str().into())),
        ..problem
    };
    if rule.source != "syscall" {
        let message = format!(
            "rule `{}` is left out: its source is `{}`, and only `syscall` is there",
            name.text, rule.source
        );
        compiler.no_rule();
        problems.push(of_rule(Problem::warning(
            code::SOURCE,
            &name.place,
            message,
        )));
        return false;
    }
    compiler.begin_rule(rule.order);
    match compile(compiler, rule) {
        Ok(false) if rule.warn_event_types && rule.enabled => {
            let message = format!(
                "rule `{}` looks at events of every type, which is slow",
                name.text
            );
            let problem = Problem::warning(code::NO_TYPES, &name.place, message);
            problems.push(of_rule(
                problem.help("say which in its condition: `evt.type in (openat, ...)`"),
            ));
            true
        }
        Ok(_) => rule.enabled,
        Err(problem) => {
            let skip = rule.skip_if_unknown || settings.unknown_fields == UnknownFields::SkipRule;
            compiler.no_rule();
            let found = if problem.missing.is_some() {
                missing(compiler, items, rule)
            } else {
                vec![problem]
            };
            problems.extend(found.into_iter().map(|problem| {
                let mut problem = of_rule(problem);
                if problem.missing.is_some() && skip {
                    let said = &problem.message;
                    problem.message = format!("rule `{}` is left out: {said}", name.text).into();
                    problem.severity = Severity::Warning;
                }
                problem
            }));
            false
        }
    }
}

/// Everything that the host lacks for a rule.
fn missing<N: Names>(compiler: &mut Compiler<'_, N>, items: &Items, rule: &Rule) -> Vec<Problem> {
    let parts = explain::parts(items, rule);
    let mut missing: Vec<Problem> = Vec::new();
    for part in &rule.output {
        for operand in template::fields(part).unwrap_or_default() {
            let mut look = |field: &FieldRef| missing.extend(compiler.field(field).err());
            operand.term.fields(&mut look);
        }
    }
    // `evt.type` and `evt.dir` are understood here.
    let here = |name: &String| matches!(name.as_str(), "evt.type" | "syscall.type" | "evt.dir");
    let fields = parts.fields.iter().filter(|(name, _)| !here(name));
    missing.extend(fields.filter_map(|(_, field)| compiler.field(field).err()));
    missing.extend(
        parts
            .types
            .iter()
            .filter_map(|word| compiler.type_number(word).err()),
    );
    compiler.note_used(parts.names);
    missing
}

/// Returns whether the rule says which event types it wants.
fn compile<N: Names>(compiler: &mut Compiler<'_, N>, rule: &Rule) -> Result<bool, Problem> {
    for part in &rule.output {
        for operand in template::fields(part)? {
            compiler.operand(&operand)?;
        }
    }
    let mut exceptions = Vec::new();
    for exception in &rule.exceptions {
        exceptions.extend(exception.condition()?);
    }
    compiler.rule(&rule.condition, exceptions, rule.enabled)
}

/// Faults of macros and lists that no rule uses are worth knowing, except for what this host lacks.
fn check_unused<N: Names>(
    compiler: &mut Compiler<'_, N>,
    items: &Items,
    problems: &mut Vec<Problem>,
) {
    let mut unused: Vec<_> = items
        .macros
        .iter()
        .filter(|(name, _)| !compiler.used_macro(name))
        .collect();
    unused.sort_by_key(|(_, one)| one.order);
    for (name, one) in unused {
        let message = format!("macro `{name}` is not used");
        problems.push(Problem::note(code::UNUSED_MACRO, &one.place, message));
        compiler.begin_rule(usize::MAX);
        if let Err(problem) = compiler.check_macro(name, &one.place)
            && problem.missing.is_none()
        {
            problems.push(Problem {
                item: Some(name.as_str().into()),
                ..problem
            });
        }
    }
    for (name, list) in &items.lists {
        if !compiler.used_list(name) {
            let message = format!("list `{name}` is not used");
            problems.push(Problem::note(code::UNUSED_LIST, &list.place, message));
        }
    }
}

/// Each thing once, in the order of the files; what is about no place comes first.
fn in_order(mut problems: Vec<Problem>, files: &[File<'_>]) -> Vec<Diagnostic> {
    // If some have to go, then not the errors.
    problems.sort_by_key(|problem| problem.severity);
    let mut said = HashSet::new();
    let mut diagnostics: Vec<Diagnostic> = Vec::new();
    for problem in problems {
        if diagnostics.len() == MAX_DIAGNOSTICS {
            break;
        }
        let diagnostic = problem.diagnostic();
        // A fault in a macro is found once by every rule that uses it.
        if said.insert(diagnostic.to_string()) {
            diagnostics.push(diagnostic);
        }
    }
    let order = |diagnostic: &Diagnostic| {
        let file = files.iter().position(|file| file.name == diagnostic.file);
        (file, diagnostic.line, diagnostic.column)
    };
    diagnostics.sort_by_key(order);
    diagnostics
}

/// All errors in one text; none if there are none.
fn report(diagnostics: &[Diagnostic]) -> Option<String> {
    let errors = diagnostics
        .iter()
        .filter(|diagnostic| diagnostic.severity == Severity::Error);
    let mut texts: Vec<String> = errors.map(Diagnostic::to_string).collect();
    let left_out = texts.len().saturating_sub(MAX_ERRORS);
    texts.truncate(MAX_ERRORS);
    if left_out > 0 {
        texts.push(format!("... and {left_out} more"));
    }
    (!texts.is_empty()).then(|| texts.join("\n"))
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "comparisons_tests.rs"]
mod comparisons_tests;

#[cfg(test)]
#[path = "language_tests.rs"]
mod language_tests;

#[cfg(test)]
#[path = "files_tests.rs"]
mod files_tests;

#[cfg(test)]
#[path = "hostile_tests.rs"]
mod hostile_tests;

#[cfg(test)]
#[path = "agreement_tests.rs"]
mod agreement_tests;
