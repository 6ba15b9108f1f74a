//! Output templates: the text of an alert, with fields in it. They are compiled when rules are loaded and filled in when a
//! rule matches.
//!
//! `%field`, `%field[arg]` and `%evt.arg.name` become the field's value, or `<NA>` if the event does not have it. Where several
//! fields fit, the longest name counts: `%proc.nameand` is `%proc.name` and a text. `%10proc.name` has a width: the value is
//! cut or filled with blanks. `%tolower(field)` and other transformers become the transformer's result. A `%` that no name
//! follows stays a `%`. A `*` at the beginning, which templates of Falco may have, is ignored.

use std::fmt::Write as _;

use lanner_plugin::{Buffers, Term, Transformer, TransformerError};

use crate::{FieldId, FieldRegistry, escape};
use driver_api::table::{Kind, SYSCALLS};
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
    /// As the template has it, without `%` and width.
    pub name: Box<str>,
    term: Term<FieldId>,
    /// The number of bytes of its text. Any number if it is 0.
    width: usize,
    form: Form,
}

/// How a value is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// As its type says.
    Plain,
    /// Several values as one text with blanks: `%proc.aname` without a number.
    Joined,
    /// A number in hexadecimal, as Falco shows flags in `%evt.rawarg.flags`.
    Hexadecimal,
}

impl TemplateField {
    /// Hands the value for an event to `then`.
    pub fn value(&self, event: &impl FieldSource, then: &mut dyn FnMut(Value<'_>)) {
        match &self.term {
            Term::Field(id) => self.form.show(event.get(id.number()), then),
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

impl Form {
    fn of(term: &Term<FieldId>, kind: ResolvedField, written: &str) -> Self {
        let is_flags = |name: &str| {
            let params = SYSCALLS.iter().flat_map(|call| call.params);
            let mut named = params.filter(|param| param.name == name);
            named.any(|param| matches!(param.kind, Kind::Flags(..)))
        };
        match term {
            Term::Field(_) if kind.any && kind.kind == FieldKind::String => Self::Joined,
            Term::Field(_) if written.strip_prefix("evt.rawarg.").is_some_and(is_flags) => {
                Self::Hexadecimal
            }
            Term::Field(_) | Term::Text(_) | Term::List(_) | Term::Call(..) => Self::Plain,
        }
    }

    fn show(self, value: Value<'_>, then: &mut dyn FnMut(Value<'_>)) {
        match (self, value) {
            (Self::Joined, Value::List(list)) => {
                let texts = list.iter().filter_map(Value::as_bytes);
                let text: Vec<u8> = texts.collect::<Vec<_>>().join(&b' ');
                then(Value::String(&text));
            }
            (Self::Hexadecimal, Value::U64(number)) => {
                then(Value::String(format!("{number:X}").as_bytes()));
            }
            (Self::Hexadecimal, Value::I64(number)) => {
                then(Value::String(format!("{number:X}").as_bytes()));
            }
            (Self::Plain | Self::Joined | Self::Hexadecimal, value) => then(value),
        }
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
            let after = rest.trim_start_matches(|c: char| c.is_ascii_digit());
            let digits = &rest[..rest.len() - after.len()];
            let found = field_at(after, fields).map_err(|fault| TemplateError {
                at: place,
                reason: fault.to_string(),
            })?;
            let Some((term, kind, length)) = found else {
                literal.push('%');
                continue;
            };
            let written = &after[..length];
            rest = &after[length..];
            if written == EMPTY_FIELD {
                continue;
            }
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal).into()));
            }
            parts.push(Part::Field(TemplateField {
                name: written.into(),
                form: Form::of(&term, kind, written),
                term,
                width: digits.parse().unwrap_or(0).min(MAX_WIDTH),
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
                Part::Field(field) => {
                    let start = out.len();
                    field.value(event, &mut |value| write_value(out, value));
                    if field.width > 0 {
                        fit(out, start, field.width);
                    }
                }
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

/// The field or transformer after a `%`, its type, and the length of its text; `None` if there is none.
type FoundField = Option<(Term<FieldId>, ResolvedField, usize)>;

fn field_at(text: &str, fields: &FieldRegistry) -> Result<FoundField, Fault> {
    let mut reader = Reader {
        text,
        at: 0,
        depth: 0,
        fields,
    };
    let found = reader.operand()?;
    Ok(found.map(|(term, kind)| (term, kind, reader.at)))
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
                    width: 0,
                    form: Form::Plain,
                });
            }
        });
    }
    inner
}

/// Cuts the text after `start` to a width, at the end of a character, or fills it with blanks.
fn fit(out: &mut String, start: usize, width: usize) {
    let mut end = out.len().min(start + width);
    while !out.is_char_boundary(end) {
        end -= 1;
    }
    out.truncate(end);
    let blanks = start + width - end;
    out.extend(std::iter::repeat_n(' ', blanks));
}

/// The greatest width of a field.
const MAX_WIDTH: usize = 4096;

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
        let mut name = self.rest()[..end].to_owned();
        if !name.contains('.') {
            let call = !name.is_empty() && self.rest()[end..].starts_with('(');
            return if call {
                self.call(&name).map(Some)
            } else {
                Ok(None)
            };
        }
        if self.rest().starts_with(EMPTY_FIELD) {
            self.at += EMPTY_FIELD.len();
            let nothing = ResolvedField::new(0, FieldKind::String);
            return Ok(Some((Term::Text(Box::default()), nothing)));
        }
        // The longest name of a field, with an argument if it takes that.
        let mut fault = None;
        while name.contains('.') {
            // `%evt.arg.nope` is no parameter `n`.
            let last = name.rsplit('.').next().unwrap_or_default().len();
            let letter = last == 1 && name.len() < end && name.contains("arg.");
            if !name.ends_with('.') && !letter {
                for bracket in [true, false] {
                    match self.field(&name, bracket) {
                        Ok(Some(found)) => return Ok(Some(found)),
                        Ok(None) => {}
                        Err(error) => drop(fault.get_or_insert(error)),
                    }
                }
            }
            name.pop();
        }
        match fault {
            Some(fault) => Err(fault),
            None => Ok(None),
        }
    }

    /// The field of this name, with an argument in brackets or without one.
    fn field(
        &mut self,
        name: &str,
        bracket: bool,
    ) -> Result<Option<(Term<FieldId>, ResolvedField)>, Fault> {
        let start = self.at;
        let arg = if bracket {
            let inner = self.rest()[name.len()..].strip_prefix('[');
            let Some((arg, _)) = inner.and_then(|inner| inner.split_once(']')) else {
                return Ok(None);
            };
            Some(arg.to_owned())
        } else {
            None
        };
        let length = name.len() + arg.as_ref().map_or(0, |arg| arg.len() + 2);
        let arg = arg.as_deref().map(unquoted);
        let field = self.fields.resolve(name, arg)?;
        let id = self.fields.field(name, arg)?;
        self.at = start + length;
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
            let (term, kind) = self.argument(name)?;
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

    /// An argument of a transformer: a text, a number, a list, or a field.
    fn argument(&mut self, name: &str) -> Result<(Term<FieldId>, ResolvedField), Fault> {
        let text = ResolvedField::new(0, FieldKind::String);
        if let Some(quoted) = self.quoted(name)? {
            return Ok((Term::Text(quoted.into_bytes().into()), text));
        }
        let rest = self.rest();
        let digits = rest.trim_start_matches(['+', '-']);
        if digits.starts_with(|c: char| c.is_ascii_digit()) {
            let is_number = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '+' | '-');
            let end = rest.find(|c| !is_number(c)).unwrap_or(rest.len());
            let number = rest[..end].to_owned();
            self.at += end;
            return Ok((Term::Text(number.into_bytes().into()), text));
        }
        if !self.take('(') {
            let found = self.operand()?;
            return found.ok_or_else(|| Fault::NoField(name.to_owned()));
        }
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Fault::Depth);
        }
        let mut elements = Vec::new();
        self.blank();
        if !self.take(')') {
            loop {
                self.blank();
                elements.push(self.argument(name)?.0);
                self.blank();
                if self.take(')') {
                    break;
                }
                if !self.take(',') {
                    return Err(Fault::OpenParenthesis(name.to_owned()));
                }
            }
        }
        self.depth -= 1;
        Ok((Term::List(elements.into()), text.list()))
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
