//! Output templates: the text of an alert, with fields in it. Compiled when rules are loaded, filled in
//! when one of them matches.
//!
//! `%field`, `%field[arg]` and `%evt.arg.name` stand for a field's value, or for `<NA>` where the event
//! does not have it. A `%` before anything that is not written like a field is a `%`. A `*` at the
//! beginning, which Falco's templates may have, says nothing.

use std::fmt::Write as _;

use crate::fields::{FieldId, FieldRegistry, View, escape};
use crate::plugin_host::Value;

/// Stands for a value that is not there.
const MISSING: &str = "<NA>";
/// A field of former versions of Falco that has come to stand for nothing.
const EMPTY_FIELD: &str = "container.info";

/// A template, ready to be filled in.
#[derive(Debug, Clone)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone)]
enum Part {
    Text(Box<str>),
    Field(TemplateField),
}

/// A field of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateField {
    /// As the template has it, without `%`.
    pub name: Box<str>,
    /// For [`View::value`].
    pub id: FieldId,
}

/// Why a template cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("output template, at byte {at}: {reason}")]
pub struct TemplateError {
    /// Where the field begins, in bytes.
    pub at: usize,
    /// What is wrong, and what was perhaps meant.
    pub reason: String,
}

impl Template {
    /// Understands a template.
    ///
    /// # Errors
    ///
    /// A field that does not exist, or whose argument is wrong.
    pub fn compile(text: &str, fields: &FieldRegistry) -> Result<Self, TemplateError> {
        let text = text.strip_prefix('*').unwrap_or(text);
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('%') {
            literal.push_str(&rest[..at]);
            let place = text.len() - rest.len() + at;
            rest = &rest[at + 1..];
            let (name, arg, length) =
                field_at(rest).map_err(|reason| TemplateError { at: place, reason })?;
            if length == 0 {
                literal.push('%');
                continue;
            }
            let written = &rest[..length];
            rest = &rest[length..];
            if name == EMPTY_FIELD {
                continue;
            }
            let id = fields
                .field(name, arg)
                .map_err(|reason| TemplateError { at: place, reason })?;
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal).into()));
            }
            parts.push(Part::Field(TemplateField {
                name: written.into(),
                id,
            }));
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Text(literal.into()));
        }
        Ok(Self { parts })
    }

    /// Appends the text for an event.
    pub fn render(&self, view: &View<'_>, out: &mut String) {
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Field(field) => write_value(out, view.value(field.id)),
            }
        }
    }

    /// The fields, in the order in which they stand; one that stands twice comes twice.
    pub fn fields(&self) -> impl Iterator<Item = &TemplateField> {
        self.parts.iter().filter_map(|part| match part {
            Part::Field(field) => Some(field),
            Part::Text(_) => None,
        })
    }
}

/// The field that a text begins with: name, argument, and length of both. Length 0: it is no field.
fn field_at(text: &str) -> Result<(&str, Option<&str>, usize), String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
    let end = text.find(|c| !is_name(c)).unwrap_or(text.len());
    // A full stop after a field ends the sentence.
    let name = text[..end].trim_end_matches('.');
    if text[end..].starts_with('(') && !name.is_empty() && !name.contains('.') {
        return Err(format!(
            "`%{name}(...)`: transformers are not supported in templates"
        ));
    }
    if !name.contains('.') {
        return Ok((name, None, 0));
    }
    let bracket = text[name.len()..].strip_prefix('[');
    let Some(inner) = bracket else {
        return Ok((name, None, name.len()));
    };
    match inner.split_once(']') {
        Some((arg, _)) => Ok((name, Some(arg), name.len() + arg.len() + 2)),
        None => Err(format!("the argument of `%{name}[` has no `]`")),
    }
}

/// Appends a value as text that is safe to show.
pub fn write_value(out: &mut String, value: Value<'_>) {
    let _ = match value {
        Value::None => write!(out, "{MISSING}"),
        Value::Bool(v) => write!(out, "{v}"),
        Value::I64(v) => write!(out, "{v}"),
        Value::U64(v) => write!(out, "{v}"),
        Value::F64(v) => write!(out, "{v}"),
        Value::Ip(v) => write!(out, "{v}"),
        Value::String(v) | Value::Bytes(v) => {
            escape(out, v);
            Ok(())
        }
        Value::List(list) => {
            for (at, value) in list.iter().enumerate() {
                out.push(if at == 0 { '(' } else { ',' });
                write_value(out, value);
            }
            out.push(')');
            Ok(())
        }
    };
}

#[cfg(test)]
mod tests;
