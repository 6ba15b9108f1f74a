//! Output templates: the text of an alert, with fields in it. They are compiled when rules are loaded and filled in when a
//! rule matches.
//!
//! `%field`, `%field[arg]` and `%evt.arg.name` become the field's value, or `<NA>` if the event does not have it.
//! `%tolower(field)` and other transformers become the transformer's result. A `%` that no field name follows stays a `%`.
//! A `*` at the beginning, which templates of Falco may have, is ignored.

use std::fmt::Write as _;

use lanner_plugin::{Buffers, Term, Transformer, TransformerError};

use crate::{FieldId, FieldRegistry, escape};
use lanner_plugin::{
    FieldKind, FieldResolver, FieldSource, OwnedValue, ResolvedField, UnknownName, Value,
};
use suggest::did_you_mean;

/// The text of a value that the event does not have.
const MISSING: &str = "<NA>";
/// A field of former versions of Falco that is always empty.
const EMPTY_FIELD: &str = "container.info";

/// A template, ready to be filled in.
#[derive(Debug, Clone, Default)]
pub struct Template {
    parts: Vec<Part>,
    /// Fields within transformers.
    inner: Vec<TemplateField>,
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
    term: Term<FieldId>,
}

impl TemplateField {
    /// Hands the value for an event to `then`.
    pub fn value(&self, event: &impl FieldSource, then: &mut dyn FnMut(Value<'_>)) {
        match &self.term {
            Term::Field(id) => then(event.get(id.number())),
            term => {
                let get = |id: &FieldId| event.get(id.number());
                term.value(&Buffers::default(), &get, then);
            }
        }
    }

    /// The value for an event, kept.
    #[must_use]
    pub fn owned(&self, event: &impl FieldSource) -> OwnedValue {
        let mut owned = OwnedValue::None;
        self.value(event, &mut |value| owned = value.to_owned());
        owned
    }
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

/// What is wrong with a field or a transformer in a template.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Field(#[from] UnknownName),
    #[error(transparent)]
    Arguments(#[from] TransformerError),
    #[error("there is no transformer `{name}`{help}")]
    Transformer { name: String, help: String },
    #[error("more than {MAX_DEPTH} nested transformers")]
    Depth,
    #[error("the argument of `%{0}[` has no `]`")]
    OpenBracket(String),
    #[error("`%{0}(` has no `)`")]
    OpenParenthesis(String),
    #[error("a text in `%{0}(...)` has no end")]
    OpenQuote(String),
    #[error("`%{0}(...)` needs a field")]
    NoField(String),
}

impl Template {
    /// Compiles a template.
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
            let found = field_at(rest, fields).map_err(|fault| TemplateError {
                at: place,
                reason: fault.to_string(),
            })?;
            let Some((term, length)) = found else {
                literal.push('%');
                continue;
            };
            let written = &rest[..length];
            rest = &rest[length..];
            if written == EMPTY_FIELD {
                continue;
            }
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal).into()));
            }
            parts.push(Part::Field(TemplateField {
                name: written.into(),
                term,
            }));
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Text(literal.into()));
        }
        let inner = inner_fields(&parts, fields);
        Ok(Self { parts, inner })
    }

    /// Appends the text for an event.
    pub fn render(&self, event: &impl FieldSource, out: &mut String) {
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Field(field) => field.value(event, &mut |value| write_value(out, value)),
            }
        }
    }

    /// Calls `sink` with every field that the text is made of, also those within transformers.
    pub fn ids(&self, sink: &mut dyn FnMut(FieldId)) {
        for part in &self.parts {
            if let Part::Field(field) = part {
                field.term.fields(&mut |id| sink(*id));
            }
        }
    }

    /// The fields in the order of the text; one that is written twice comes twice. Fields within transformers follow at the
    /// end, because Falco shows them, too.
    pub fn fields(&self) -> impl Iterator<Item = &TemplateField> {
        let written = self.parts.iter().filter_map(|part| match part {
            Part::Field(field) => Some(field),
            Part::Text(_) => None,
        });
        written.chain(&self.inner)
    }
}

/// The field or transformer after a `%`, and the length of its text; `None` if there is none.
type Found = Option<(Term<FieldId>, usize)>;

fn field_at(text: &str, fields: &FieldRegistry) -> Result<Found, Fault> {
    let mut reader = Reader {
        text,
        at: 0,
        depth: 0,
        fields,
    };
    let found = reader.operand()?;
    Ok(found.map(|(term, _)| (term, reader.at)))
}

/// Fields within transformers, each once.
fn inner_fields(parts: &[Part], fields: &FieldRegistry) -> Vec<TemplateField> {
    let mut inner: Vec<TemplateField> = Vec::new();
    for part in parts {
        let Part::Field(TemplateField {
            term: term @ Term::Call(..),
            ..
        }) = part
        else {
            continue;
        };
        term.fields(&mut |id| {
            let name = fields.name(*id);
            if inner.iter().all(|known| known.name != name) {
                inner.push(TemplateField {
                    name,
                    term: Term::Field(*id),
                });
            }
        });
    }
    inner
}

/// The deepest nesting of transformers.
const MAX_DEPTH: usize = 100;

/// Reads a field or a transformer.
struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    fields: &'a FieldRegistry,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn blank(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn take(&mut self, sign: char) -> bool {
        let there = self.rest().starts_with(sign);
        self.at += if there { sign.len_utf8() } else { 0 };
        there
    }

    fn operand(&mut self) -> Result<Option<(Term<FieldId>, ResolvedField)>, Fault> {
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
        let end = self
            .rest()
            .find(|c| !is_name(c))
            .unwrap_or(self.rest().len());
        // A full stop after a field ends the sentence.
        let name = self.rest()[..end].trim_end_matches('.').to_owned();
        let whole = name.len() == end;
        if !name.contains('.') {
            let call = !name.is_empty() && self.rest()[end..].starts_with('(');
            return if call {
                self.call(&name).map(Some)
            } else {
                Ok(None)
            };
        }
        self.at += name.len();
        if name == EMPTY_FIELD {
            let nothing = ResolvedField::new(0, FieldKind::String);
            return Ok(Some((Term::Text(Box::default()), nothing)));
        }
        let arg = if whole && self.take('[') {
            Some(self.bracket(&name)?)
        } else {
            None
        };
        let field = self.fields.resolve(&name, arg.as_deref())?;
        let id = self.fields.field(&name, arg.as_deref())?;
        Ok(Some((Term::Field(id), field)))
    }

    /// The text up to the `]`.
    fn bracket(&mut self, name: &str) -> Result<String, Fault> {
        let (arg, _) = self
            .rest()
            .split_once(']')
            .ok_or_else(|| Fault::OpenBracket(name.to_owned()))?;
        let arg = arg.to_owned();
        self.at += arg.len() + 1;
        Ok(arg)
    }

    fn call(&mut self, name: &str) -> Result<(Term<FieldId>, ResolvedField), Fault> {
        let names = Transformer::NAMES.iter().map(|(name, _)| *name);
        let transformer = Transformer::by_name(name).ok_or_else(|| Fault::Transformer {
            name: name.to_owned(),
            help: did_you_mean(name, names),
        })?;
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Fault::Depth);
        }
        self.at += name.len() + 1;
        let (mut args, mut types) = (Vec::new(), Vec::new());
        loop {
            self.blank();
            let (term, kind) = match self.quoted(name)? {
                Some(text) => (
                    Term::Text(text.into_bytes().into()),
                    ResolvedField::new(0, FieldKind::String),
                ),
                None => self
                    .operand()?
                    .ok_or_else(|| Fault::NoField(name.to_owned()))?,
            };
            args.push(term);
            types.push(kind);
            self.blank();
            if self.take(')') {
                break;
            }
            if !self.take(',') {
                return Err(Fault::OpenParenthesis(name.to_owned()));
            }
        }
        self.depth -= 1;
        let option = if transformer == Transformer::Getopt && self.take('[') {
            Some(self.bracket(name)?.into_boxed_str())
        } else {
            None
        };
        let kind = transformer.result(&types, option.is_some())?;
        Ok((Term::Call(transformer, args.into(), option), kind))
    }

    /// A text in quotes; the escapes are those of a quote and a backslash.
    fn quoted(&mut self, name: &str) -> Result<Option<String>, Fault> {
        let Some(quote) = self
            .rest()
            .chars()
            .next()
            .filter(|c| matches!(c, '"' | '\''))
        else {
            return Ok(None);
        };
        let mut text = String::new();
        let mut chars = self.rest().char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            if c == quote {
                self.at += at + 1;
                return Ok(Some(text));
            }
            match (c, chars.clone().next()) {
                ('\\', Some((_, next))) if next == quote || next == '\\' => {
                    text.push(next);
                    chars.next();
                }
                _ => text.push(c),
            }
        }
        Err(Fault::OpenQuote(name.to_owned()))
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
