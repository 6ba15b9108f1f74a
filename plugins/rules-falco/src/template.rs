//! The fields of a rule's output template.

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

/// The fields and transformers of a template, in order.
pub(crate) fn fields(part: &Scalar) -> Result<Vec<Operand>, Problem> {
    let scalar = Arc::new(part.clone());
    let text = &part.text;
    let mut fields = Vec::new();
    let mut next = 0;
    for (at, _) in text.match_indices('%') {
        if at < next || text[at..].starts_with(EMPTY_FIELD) {
            continue;
        }
        let rest = &text[at + 1..];
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
        let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        // A full stop after a field ends the sentence.
        let name = rest[..end].trim_end_matches('.');
        if rest[end..].starts_with('(') && !name.contains('.') && !name.is_empty() {
            let found =
                operand_at(&scalar, at + 1).map_err(|problem| problem.code(code::OUTPUT))?;
            match found {
                Some((operand, end)) => {
                    next = end;
                    fields.push(operand);
                }
                None => {
                    let message = format!("there is no transformer `{name}`");
                    let names = Transformer::NAMES.iter().map(|(name, _)| *name);
                    return Err(Problem::new(&scalar.place_of(at), message)
                        .code(code::OUTPUT)
                        .nearest(name, names));
                }
            }
            continue;
        }
        if !name.contains('.') {
            continue;
        }
        let (base, mut arg) = split_argument(name);
        if name.len() == end
            && let Some(inner) = rest[end..].strip_prefix('[')
        {
            let Some(close) = inner.find(']') else {
                let message = "this field's argument has no `]`";
                return Err(Problem::new(&scalar.place_of(at), message).code(code::OUTPUT));
            };
            arg = Some(&inner[..close]);
        }
        fields.push(Operand::field(FieldRef {
            name: base.to_owned(),
            arg: arg.map(str::to_owned),
            place: scalar.place_of(at),
        }));
    }
    Ok(fields)
}
