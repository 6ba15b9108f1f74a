//! [`Term`]: fields, texts and calls of transformers, and their evaluation.

use std::cell::RefCell;
use std::fmt;
use std::io::Write;

use super::{Transformer, base64, getopt};
use crate::value::{List, RawValue, Value};

/// A value to compute. `F` identifies a field: by its name after parsing, by its id after the look-up.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Term<F> {
    /// A field.
    Field(F),
    /// A text.
    Text(Box<[u8]>),
    /// A list: `join(",", (proc.name, "x"))`. Its elements become texts.
    List(Box<[Term<F>]>),
    /// A transformer, its arguments, and the option in brackets: `getopt(proc.args, "ab:")[b]`.
    Call(Transformer, Box<[Term<F>]>, Option<Box<str>>),
}

/// Buffers for values that are put together. They are reused, so a steady stream of events allocates nothing.
#[derive(Default)]
pub struct Buffers(RefCell<Vec<Vec<u8>>>);

impl fmt::Debug for Buffers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Buffers").finish()
    }
}

impl Buffers {
    fn take(&self) -> Vec<u8> {
        let mut buffer = self.0.borrow_mut().pop().unwrap_or_default();
        buffer.clear();
        buffer
    }

    fn put_back(&self, buffer: Vec<u8>) {
        self.0.borrow_mut().push(buffer);
    }
}

impl<F> Term<F> {
    /// Calls `found` for each field in the term.
    pub fn fields(&self, found: &mut impl FnMut(&F)) {
        match self {
            Self::Field(field) => found(field),
            Self::Text(_) => {}
            Self::List(args) | Self::Call(_, args, _) => {
                args.iter().for_each(|arg| arg.fields(found));
            }
        }
    }

    /// The same term with every field replaced by `change`.
    ///
    /// # Errors
    ///
    /// The first error of `change`.
    pub fn try_map<G, E>(&self, change: &mut impl FnMut(&F) -> Result<G, E>) -> Result<Term<G>, E> {
        Ok(match self {
            Self::Field(field) => Term::Field(change(field)?),
            Self::Text(text) => Term::Text(text.clone()),
            Self::List(elements) => Term::List(map_all(elements, change)?),
            Self::Call(transformer, args, option) => {
                Term::Call(*transformer, map_all(args, change)?, option.clone())
            }
        })
    }

    /// Computes the value and passes it to `then`, once. [`Value::None`] if a field that it needs is missing.
    pub fn value<'e>(
        &self,
        buffers: &Buffers,
        get: &dyn Fn(&F) -> Value<'e>,
        then: &mut dyn FnMut(Value<'_>),
    ) {
        match self {
            Self::Field(field) => then(get(field)),
            Self::Text(text) => then(Value::String(text)),
            Self::List(elements) => list(elements, buffers, get, then),
            Self::Call(transformer, args, option) => {
                call(*transformer, args, option.as_deref(), buffers, get, then);
            }
        }
    }
}

fn map_all<F, G, E>(
    terms: &[Term<F>],
    change: &mut impl FnMut(&F) -> Result<G, E>,
) -> Result<Box<[Term<G>]>, E> {
    let mut changed = Vec::with_capacity(terms.len());
    for term in terms {
        changed.push(term.try_map(change)?);
    }
    Ok(changed.into())
}

/// Passes a list of texts to `then`, or no value if an element has none.
fn list<'e, F>(
    elements: &[Term<F>],
    buffers: &Buffers,
    get: &dyn Fn(&F) -> Value<'e>,
    then: &mut dyn FnMut(Value<'_>),
) {
    let mut out = buffers.take();
    let mut ends = Vec::with_capacity(elements.len());
    let mut whole = true;
    for element in elements {
        element.value(buffers, get, &mut |value| {
            whole &= append(&mut out, value);
        });
        ends.push(out.len());
    }
    if whole {
        pieces(&out, &ends, then);
    } else {
        then(Value::None);
    }
    buffers.put_back(out);
}

/// Passes the list of the texts that end at these bytes of a buffer to `then`.
fn pieces(buffer: &[u8], ends: &[usize], then: &mut dyn FnMut(Value<'_>)) {
    let mut start = 0;
    let mut elements: Vec<RawValue<'_>> = Vec::with_capacity(ends.len());
    for end in ends {
        elements.push(RawValue::from(Value::String(&buffer[start..*end])));
        start = *end;
    }
    then(Value::List(List::new(&elements)));
}

fn call<'e, F>(
    transformer: Transformer,
    args: &[Term<F>],
    option: Option<&str>,
    buffers: &Buffers,
    get: &dyn Fn(&F) -> Value<'e>,
    then: &mut dyn FnMut(Value<'_>),
) {
    let Some(first) = args.first() else {
        return then(Value::None);
    };
    // The second argument, for those that have one.
    let with_second = |then: &mut dyn FnMut(Value<'_>)| match args.get(1) {
        Some(second) => second.value(buffers, get, then),
        None => then(Value::None),
    };
    match transformer {
        Transformer::Val => first.value(buffers, get, then),
        Transformer::Len => first.value(buffers, get, &mut |value| {
            then(match value {
                Value::String(bytes) | Value::Bytes(bytes) => Value::U64(bytes.len() as u64),
                Value::List(list) => Value::U64(list.len() as u64),
                _ => Value::None,
            });
        }),
        Transformer::Basename => each(first, buffers, get, then, |text, _| {
            let start = text.iter().rposition(|byte| *byte == b'/');
            Some(&text[start.map_or(0, |at| at + 1)..])
        }),
        Transformer::Lower => each(first, buffers, get, then, |text, out| {
            out.extend(text.iter().map(u8::to_ascii_lowercase));
            None
        }),
        Transformer::Upper => each(first, buffers, get, then, |text, out| {
            out.extend(text.iter().map(u8::to_ascii_uppercase));
            None
        }),
        Transformer::Base64 => first.value(buffers, get, &mut |value| decode(value, buffers, then)),
        Transformer::Join => first.value(buffers, get, &mut |first| {
            with_second(&mut |second| join(first, second, buffers, then));
        }),
        Transformer::Concat => {
            let mut out = buffers.take();
            let mut whole = true;
            for arg in args {
                arg.value(buffers, get, &mut |value| whole &= append(&mut out, value));
            }
            then(if whole {
                Value::String(&out)
            } else {
                Value::None
            });
            buffers.put_back(out);
        }
        Transformer::Getopt => first.value(buffers, get, &mut |line| {
            with_second(&mut |known| match known.as_bytes() {
                Some(known) => getopt::evaluate(line, known, option, then),
                None => then(Value::None),
            });
        }),
    }
}

/// Decodes a text in Base64, or all texts of a list.
fn decode(value: Value<'_>, buffers: &Buffers, then: &mut dyn FnMut(Value<'_>)) {
    let mut out = buffers.take();
    let mut decode = |value: Value<'_>| {
        let text = value.as_bytes();
        text.is_some_and(|text| base64::decode(text, &mut out))
            .then_some(out.len())
    };
    match value {
        Value::List(list) => {
            let ends: Option<Vec<usize>> = list.iter().map(decode).collect();
            match ends {
                Some(ends) => pieces(&out, &ends, then),
                None => then(Value::None),
            }
        }
        one => {
            let decoded = decode(one).is_some();
            then(match one {
                Value::String(_) if decoded => Value::String(&out),
                Value::Bytes(_) if decoded => Value::Bytes(&out),
                _ => Value::None,
            });
        }
    }
    buffers.put_back(out);
}

/// Joins the elements of a list by a separator. The two come in either order.
fn join(first: Value<'_>, second: Value<'_>, buffers: &Buffers, then: &mut dyn FnMut(Value<'_>)) {
    let (list, separator) = match (first, second) {
        (separator, Value::List(list)) | (Value::List(list), separator) => (list, separator),
        _ => return then(Value::None),
    };
    let Some(separator) = separator.as_bytes() else {
        return then(Value::None);
    };
    let mut out = buffers.take();
    for (at, element) in list.iter().enumerate() {
        if at > 0 {
            out.extend_from_slice(separator);
        }
        append(&mut out, element);
    }
    then(Value::String(&out));
    buffers.put_back(out);
}

/// Applies `change` to a text, or to each element of a list of texts. `change` returns a part of the text, or
/// appends its result to the buffer and returns none.
fn each<'e, F>(
    term: &Term<F>,
    buffers: &Buffers,
    get: &dyn Fn(&F) -> Value<'e>,
    then: &mut dyn FnMut(Value<'_>),
    change: for<'t> fn(text: &'t [u8], out: &mut Vec<u8>) -> Option<&'t [u8]>,
) {
    term.value(buffers, get, &mut |value| {
        let mut out = buffers.take();
        match value {
            Value::String(text) => match change(text, &mut out) {
                Some(part) => then(Value::String(part)),
                None => then(Value::String(&out)),
            },
            Value::List(list) => {
                // The elements follow each other in the buffer.
                let mut ends = Vec::with_capacity(list.len());
                for element in list.iter() {
                    let text = element.as_bytes().unwrap_or_default();
                    if let Some(part) = change(text, &mut out) {
                        out.extend_from_slice(part);
                    }
                    ends.push(out.len());
                }
                pieces(&out, &ends, then);
            }
            _ => then(Value::None),
        }
        buffers.put_back(out);
    });
}

/// Appends a value as text. Returns false and appends nothing if there is no value.
fn append(out: &mut Vec<u8>, value: Value<'_>) -> bool {
    // Writing to a vector cannot fail.
    let _ = match value {
        Value::None | Value::List(_) => return false,
        Value::Bool(v) => write!(out, "{v}"),
        Value::I64(v) => write!(out, "{v}"),
        Value::U64(v) => write!(out, "{v}"),
        Value::F64(v) => write!(out, "{v}"),
        Value::Ip(v) => write!(out, "{v}"),
        Value::String(v) | Value::Bytes(v) => out.write_all(v),
    };
    true
}
