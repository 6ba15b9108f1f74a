//! From rule files to loaded rules, with a diagnostic for every problem.

use std::collections::HashSet;
use std::sync::Arc;

use lanner_plugin::{Diagnostic, RuleInfo, Severity};

use crate::ast::FieldRef;
use crate::compile::{Compiler, Names};
use crate::exceptions::{Exception, with_exceptions};
use crate::hints;
use crate::items::{Items, Rule, SYSCALL};
use crate::parse::lone_operand;
use crate::source::{Problem, SourceFile, code};
use crate::yaml::Scalar;
use crate::{FalcoRules, Settings, UnknownFields, explain, operands, template, yaml};

/// The number of errors that the error of `open` shows.
const MAX_ERRORS: usize = 20;

/// The number of diagnostics about rule files at most.
const MAX_DIAGNOSTICS: usize = 1000;

/// The result of loading rule files.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) result: Result<FalcoRules, RulesRefused>,
    /// Errors, warnings and notes, in the order of the files.
    pub(crate) diagnostics: Vec<Diagnostic>,
}

/// The rule files have errors, so nothing is loaded.
#[derive(Debug, thiserror::Error)]
#[error("{errors}")]
pub(crate) struct RulesRefused {
    /// The first errors, each with its position, its line and the remedy, and the number of the others.
    pub(crate) errors: String,
}

/// A rule file that the host has read.
#[derive(Debug)]
pub(crate) struct File<'a> {
    pub(crate) name: String,
    pub(crate) text: &'a [u8],
}

/// Loads rule files in this order.
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
            tags: rule.tags.iter().cloned().collect(),
            output: template::clean(&rule.output),
            enabled,
        });
    }
    check_macros(&mut compiler, &items, &mut problems);
    if problems.iter().all(|one| one.severity != Severity::Error) {
        note_unused(&compiler, &items, &mut problems);
    }
    problems.append(&mut compiler.notes);
    if settings.strict_falco {
        for problem in problems.iter_mut().filter(|one| one.falco_refuses) {
            problem.severity = Severity::Error;
        }
    }
    let linked = compiler.finish();
    let diagnostics = in_order(problems, files);
    let result = match refusal(&diagnostics) {
        None => Ok(FalcoRules {
            rules,
            event_types: linked.wanted,
            rule_types: linked.rule_types,
            comparisons: linked.comparisons,
            needs: linked.needs,
            program: linked.program,
            matching: settings.rule_matching,
            items,
        }),
        Some(refused) => Err(refused),
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
    let source = SourceFile {
        name: file.name.clone(),
        text: text.to_owned(),
    };
    let mut notes = Vec::new();
    for document in yaml::parse(&Arc::new(source), &mut notes)? {
        items.add_document(&document);
    }
    items.problems.append(&mut notes);
    Ok(())
}

/// Compiles a rule or leaves it out. Returns whether it can match.
fn add<N: Names>(
    compiler: &mut Compiler<'_, N>,
    items: &Items,
    rule: &Rule,
    settings: Settings,
    problems: &mut Vec<Problem>,
) -> bool {
    if rule.source != SYSCALL {
        compiler.no_rule();
        problems.push(of_rule(rule, other_source(rule)));
        return false;
    }
    let notes_before = compiler.notes.len();
    let compiled = compile(compiler, rule);
    if rule.skip_if_unknown {
        drop_notes_behind_unknown_field(&mut compiler.notes, notes_before);
    }
    match compiled {
        Ok(names_types) => {
            if !names_types && rule.warn_event_types {
                problems.push(of_rule(rule, every_type(rule)));
            }
            // as in Falco, a rule that is switched off may be switched on later
            rule.enabled
        }
        Err(problem) => {
            compiler.no_rule();
            let found = with_missing(compiler, items, rule, problem);
            problems.extend(
                found
                    .into_iter()
                    .map(|problem| of_rule(rule, left_out_if_unknown(rule, settings, problem))),
            );
            false
        }
    }
}

/// The problem, of this rule if it is not of a macro or list.
fn of_rule(rule: &Rule, problem: Problem) -> Problem {
    Problem {
        item: problem
            .item
            .or_else(|| Some(rule.name.text.as_str().into())),
        ..problem
    }
}

fn other_source(rule: &Rule) -> Problem {
    let message = format!(
        "rule `{}` is left out: its source is `{}`, and lanner has only `{SYSCALL}`",
        rule.name.text, rule.source
    );
    Problem::warning(code::SOURCE, &rule.name.place, message)
}

fn every_type(rule: &Rule) -> Problem {
    let message = format!(
        "rule `{}` evaluates events of every type, which is slow",
        rule.name.text
    );
    Problem::warning(code::NO_TYPES, &rule.name.place, message)
        .help("name the types in its condition: `evt.type in (openat, ...)`")
}

/// Falco stops at the first thing that it refuses. If that is a field, it leaves the rule out, and sees nothing else in it:
/// notes on what else it would refuse go. `of_rule`: the first note on the rule.
fn drop_notes_behind_unknown_field(notes: &mut Vec<Problem>, of_rule: usize) {
    let first = notes[of_rule..].iter().find(|note| note.falco_refuses);
    if first.is_some_and(|first| first.unknown_to_falco) {
        let of_rule = notes.split_off(of_rule);
        notes.extend(of_rule.into_iter().filter(|note| !note.falco_refuses));
    }
}

/// The problem that ended a rule's compilation. If that is a name that the host does not have, also the others.
fn with_missing<N: Names>(
    compiler: &mut Compiler<'_, N>,
    items: &Items,
    rule: &Rule,
    problem: Problem,
) -> Vec<Problem> {
    if problem.missing.is_none() {
        return vec![problem];
    }
    let mut found = missing(compiler, items, rule);
    // The problem itself has the right code.
    match found.iter_mut().find(|one| one.missing == problem.missing) {
        Some(same) => *same = problem,
        None => found.push(problem),
    }
    found
}

/// The problem as a warning if it is a missing name for which the rule may be left out, else as it is.
fn left_out_if_unknown(rule: &Rule, settings: Settings, mut problem: Problem) -> Problem {
    let may_skip = rule.skip_if_unknown || settings.unknown_fields == UnknownFields::SkipRule;
    let Some(missing) = problem.missing.as_deref().filter(|_| may_skip) else {
        return problem;
    };
    // Falco leaves no rule out for a parameter that it does not know.
    let is_parameter = missing.starts_with("evt.arg[") || missing.starts_with("evt.rawarg[");
    if !(settings.strict_falco && is_parameter) {
        let said = &problem.message;
        problem.message = format!("rule `{}` is left out: {said}", rule.name.text).into();
        problem.severity = Severity::Warning;
        problem.code = code::FILTER;
    }
    problem
}

/// A problem for each name in a rule that the host does not have.
fn missing<N: Names>(compiler: &mut Compiler<'_, N>, items: &Items, rule: &Rule) -> Vec<Problem> {
    let parts = explain::parts(items, rule);
    let mut missing: Vec<Problem> = Vec::new();
    for part in &rule.output {
        missing.extend(output(compiler, part).err());
    }
    // The compiler itself handles `evt.type` and `evt.dir`.
    let here = |name: &String| {
        matches!(name.as_str(), "evt.type" | "syscall.type" | "evt.dir")
            || name.starts_with("evt.around[")
    };
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

/// Compiles a rule. Returns whether it names the event types that it needs.
fn compile<N: Names>(compiler: &mut Compiler<'_, N>, rule: &Rule) -> Result<bool, Problem> {
    for field in rule.exceptions.iter().flat_map(Exception::fields) {
        let found = lone_operand(field).and_then(|operand| compiler.operand(&operand));
        found.map_err(|problem| problem.code(code::VALIDATE))?;
    }
    let condition = with_exceptions(&rule.condition, &rule.exceptions)?;
    for part in &rule.output {
        output(compiler, part)?;
    }
    if rule.output.iter().all(|part| part.text.trim().is_empty()) {
        let message = "Falco needs a text in the output";
        let note = Problem::refused_by_falco(code::OUTPUT, &rule.name.place, message);
        compiler.notes.push(note);
    }
    compiler.rule(&condition, rule.enabled)
}

/// Checks the fields of a template, and warns about those that are deprecated.
fn output<N: Names>(compiler: &mut Compiler<'_, N>, part: &Scalar) -> Result<(), Problem> {
    let names = compiler.names;
    let found = template::fields(part, &mut compiler.notes, |field| {
        names.field(&field.name, field.arg.as_deref()).is_ok()
    })?;
    for operand in found {
        let resolved = compiler.operand(&operand);
        resolved.map_err(|problem| problem.code(code::OUTPUT))?;
        let notes = &mut compiler.notes;
        operand.term.fields(&mut |field: &FieldRef| {
            let known = names.field(&field.name, field.arg.as_deref()).ok();
            notes.extend(hints::of_field(field, known, code::OUTPUT));
        });
        notes.extend(operands::of_operand(names, &operand, code::OUTPUT));
    }
    Ok(())
}

/// Checks macros that no rule uses.
fn check_macros<'a, N: Names>(
    compiler: &mut Compiler<'a, N>,
    items: &'a Items,
    problems: &mut Vec<Problem>,
) {
    for one in &items.macros {
        if compiler.used_macro(&one.name) {
            continue;
        }
        if let Err(problem) = compiler.check_macro(one) {
            problems.push(Problem {
                item: Some(one.name.as_str().into()),
                ..problem
            });
        }
    }
}

/// Notes macros and lists that nothing uses.
fn note_unused<N: Names>(compiler: &Compiler<'_, N>, items: &Items, problems: &mut Vec<Problem>) {
    for one in &items.macros {
        if !compiler.used_macro(&one.name) {
            let message = format!("macro `{}` is not used", one.name);
            problems.push(Problem::note(code::UNUSED_MACRO, &one.place, message));
        }
    }
    for (at, list) in items.lists.iter().enumerate() {
        if !compiler.lists.is_used(at) {
            let message = format!("list `{}` is not used", list.name);
            problems.push(Problem::note(code::UNUSED_LIST, &list.place, message));
        }
    }
}

/// The diagnostics without duplicates, in the order of the files. Those without a position come first.
fn in_order(mut problems: Vec<Problem>, files: &[File<'_>]) -> Vec<Diagnostic> {
    // Errors first, so that the limit drops the least important ones.
    problems.sort_by_key(|problem| problem.severity);
    let mut said = HashSet::new();
    let mut diagnostics: Vec<Diagnostic> = Vec::new();
    for problem in problems {
        if diagnostics.len() == MAX_DIAGNOSTICS {
            break;
        }
        let diagnostic = problem.diagnostic();
        // Every rule that uses a macro reports the macro's problems again.
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

/// The refusal because of all errors. None if there are no errors.
fn refusal(diagnostics: &[Diagnostic]) -> Option<RulesRefused> {
    let errors = diagnostics
        .iter()
        .filter(|diagnostic| diagnostic.severity == Severity::Error);
    let mut texts: Vec<String> = errors.map(Diagnostic::to_string).collect();
    let left_out = texts.len().saturating_sub(MAX_ERRORS);
    texts.truncate(MAX_ERRORS);
    if left_out > 0 {
        texts.push(format!("... and {left_out} more"));
    }
    let errors = texts.join("\n");
    (!errors.is_empty()).then_some(RulesRefused { errors })
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "capture_tests.rs"]
mod capture_tests;

#[cfg(test)]
#[path = "comparisons_tests.rs"]
mod comparisons_tests;

#[cfg(test)]
#[path = "needs_tests.rs"]
mod needs_tests;

#[cfg(test)]
#[path = "exceptions_tests.rs"]
mod exceptions_tests;

#[cfg(test)]
#[path = "language_tests.rs"]
mod language_tests;

#[cfg(test)]
#[path = "falco_tests.rs"]
mod falco_tests;

#[cfg(test)]
#[path = "operands_tests.rs"]
mod operands_tests;

#[cfg(test)]
#[path = "files_tests.rs"]
mod files_tests;

#[cfg(test)]
#[path = "hostile_tests.rs"]
mod hostile_tests;

#[cfg(test)]
#[path = "agreement_tests.rs"]
mod agreement_tests;
