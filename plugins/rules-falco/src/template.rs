//! The fields of a rule's output template. As in Falco, a `%` begins a field or a transformer, perhaps with a width:
//! `%proc.name`, `%10proc.name`, `%tolower(proc.name)`. Of the names that fit, the longest one of a field counts.

use std::sync::Arc;

use lanner_plugin::Transformer;

use crate::ast::{FieldRef, Operand};
use crate::parse::{operand_at, split_argument};
use crate::source::{Problem, code};
use crate::yaml::Scalar;

/// A field that templates for Falco still contain. Current Falco replaces it by nothing.
const EMPTY_FIELD: &str = "%container.info";

/// The template without [`EMPTY_FIELD`].
pub(crate) fn clean(parts: &[Scalar]) -> String {
    let parts: Vec<_> = parts.iter().map(|part| part.text.trim()).collect();
    parts.join(" ").replace(EMPTY_FIELD, "").trim().to_owned()
}

/// The fields and transformers of a template, in order. `known` tells whether there is a field. `notes` gets warnings and
/// what Falco refuses.
pub(crate) fn fields(
    part: &Scalar,
    notes: &mut Vec<Problem>,
    known: impl Fn(&FieldRef) -> bool,
) -> Result<Vec<Operand>, Problem> {
    let scalar = Arc::new(part.clone());
    let text = &part.text;
    let mut fields = Vec::new();
    let mut next = 0;
    for (at, _) in text.match_indices('%') {
        if at < next {
            continue;
        }
        let place = scalar.place_of(at);
        if text[at..].starts_with(EMPTY_FIELD) {
            let message = "`%container.info` is deprecated, and left out";
            notes.push(Problem::warning(code::DEPRECATED, &place, message));
            continue;
        }
        let digits = |c: char| c.is_ascii_digit();
        let start = text.len() - text[at + 1..].trim_start_matches(digits).len();
        let rest = &text[start..];
        let word = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let word = &rest[..word.unwrap_or(rest.len())];
        if !word.starts_with(|c: char| c.is_ascii_alphabetic()) {
            let message = "Falco needs a field after `%`";
            notes.push(Problem {
                unknown_to_falco: true,
                ..Problem::refused_by_falco(code::OUTPUT, &place, message)
            });
            continue;
        }
        if rest[word.len()..].starts_with('(') {
            let found = operand_at(&scalar, start).map_err(|problem| problem.code(code::OUTPUT))?;
            let Some((operand, end)) = found else {
                let message = format!("there is no transformer `{word}`");
                let names = Transformer::NAMES.iter().map(|(name, _)| *name);
                return Err(Problem::new(&place, message)
                    .code(code::OUTPUT)
                    .nearest(word, names));
            };
            if word == Transformer::Val.name() {
                let message = "Falco does not take `val` in an output";
                notes.push(Problem::refused_by_falco(code::OUTPUT, &place, message));
            }
            next = end;
            fields.push(operand);
            continue;
        }
        let candidates = candidates(rest);
        let field = |candidate: &Candidate<'_>| FieldRef {
            name: candidate.name.to_owned(),
            arg: candidate.arg.map(str::to_owned),
            place: place.clone(),
        };
        let found = candidates.iter().find(|candidate| known(&field(candidate)));
        match (found, candidates.first()) {
            (Some(found), _) => {
                next = start + found.length;
                fields.push(Operand::field(field(found)));
            }
            // The look-up of the whole name says what is wrong with it.
            (None, Some(first)) => fields.push(Operand::field(field(first))),
            (None, None) => {
                let message = format!("there is no field `{word}`");
                let problem = Problem::new(&place, message).code(code::OUTPUT);
                return Err(Problem {
                    missing: Some(word.into()),
                    ..problem.help("a field is written like `%proc.name`")
                });
            }
        }
    }
    Ok(fields)
}

/// A name that may be that of a field.
struct Candidate<'a> {
    name: &'a str,
    arg: Option<&'a str>,
    /// The length of its text.
    length: usize,
}

/// What may be the field at the beginning of a text, the longest first.
fn candidates(text: &str) -> Vec<Candidate<'_>> {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.')));
    let whole = end.unwrap_or(text.len());
    let mut name = &text[..whole];
    let mut candidates = Vec::new();
    while name.contains('.') {
        if !name.ends_with('.') {
            let inner = text[name.len()..].strip_prefix('[');
            if let Some(inner) = inner
                && let Some(close) = inner.find(']')
            {
                candidates.push(Candidate {
                    name,
                    arg: Some(unquoted(&inner[..close])),
                    length: name.len() + close + 2,
                });
            }
            let (base, arg) = split_argument(name);
            // `%evt.arg.nope` is no parameter `n`.
            if name.len() == whole || arg.is_none_or(|arg| arg.len() > 1) {
                candidates.push(Candidate {
                    name: base,
                    arg,
                    length: name.len(),
                });
            }
        }
        name = &name[..name.len() - 1];
    }
    candidates
}

/// An argument without the quotes that may be around it.
fn unquoted(arg: &str) -> &str {
    for quote in ['"', '\''] {
        let inner = arg.strip_prefix(quote);
        if let Some(inner) = inner.and_then(|arg| arg.strip_suffix(quote)) {
            return inner;
        }
    }
    arg
}
