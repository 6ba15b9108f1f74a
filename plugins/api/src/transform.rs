//! Transformers: functions of field values in conditions and in output templates, such as
//! `tolower(proc.name)`. Host and rule plugins share them, so that both mean the same.
//!
//! A [`Term`] is a field, a text, or a transformer of such. `F` is what stands for a field: a name
//! while it is being read, a number when it is looked up.

use std::cell::RefCell;
use std::fmt;
use std::io::Write;

use crate::rule::{FieldKind, ResolvedField};
use crate::value::{List, RawValue, Value};

/// How many options `getopt` tells apart.
const MAX_OPTIONS: usize = 64;

/// A function of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transformer {
    /// The field itself: `val(field)`, for the right side of a comparison.
    Val,
    /// ASCII letters in lower case.
    Lower,
    /// ASCII letters in upper case.
    Upper,
    /// What a text or a buffer in base64 says; padding is not needed.
    Base64,
    /// What follows the last `/`.
    Basename,
    /// Bytes of a text or a buffer, elements of a list.
    Len,
    /// `join(list, separator)`: the elements of a list as one text.
    Join,
    /// `concat(item, ...)`: fields and texts as one text.
    Concat,
    /// `getopt(args, "ab:")`: the letters of the options in a command line, as getopt(3) finds
    /// them; `getopt(args, "ab:")[b]` is an option's argument.
    Getopt,
}

/// A value to be worked out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Term<F> {
    /// A field.
    Field(F),
    /// A text.
    Text(Box<[u8]>),
    /// A transformer of other terms. The last is its argument in brackets.
    Call(Transformer, Box<[Term<F>]>, Option<Box<str>>),
}

/// Buffers for values that are put together; they are used again, so that a steady stream of events
/// allocates nothing.
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

impl Transformer {
    /// Every transformer under its name.
    pub const NAMES: &'static [(&'static str, Self)] = &[
        ("val", Self::Val),
        ("tolower", Self::Lower),
        ("toupper", Self::Upper),
        ("b64", Self::Base64),
        ("basename", Self::Basename),
        ("len", Self::Len),
        ("join", Self::Join),
        ("concat", Self::Concat),
        ("getopt", Self::Getopt),
    ];

    /// The transformer of this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        let found = Self::NAMES.iter().find(|(known, _)| *known == name)?;
        Some(found.1)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        let found = Self::NAMES.iter().find(|(_, known)| *known == self);
        found.map_or("?", |(name, _)| name)
    }

    /// What it makes of arguments of these types; a text is a field of type string. The `id` of the
    /// answer means nothing.
    ///
    /// # Errors
    ///
    /// What it needs instead, for the user.
    pub fn result(self, args: &[ResolvedField], has_option: bool) -> Result<ResolvedField, String> {
        let name = self.name();
        if args.iter().any(|arg| arg.any || arg.kind == FieldKind::Any) {
            return Err(format!(
                "`{name}` takes no field that stands for several values or has no fixed type"
            ));
        }
        if has_option && self != Self::Getopt {
            return Err(format!("`{name}(...)` takes no `[...]`"));
        }
        let is_text = |arg: &ResolvedField| arg.kind == FieldKind::String && !arg.list;
        let made = |kind| Ok(ResolvedField::new(0, kind));
        match (self, args) {
            (Self::Val, [arg]) => Ok(*arg),
            (Self::Lower | Self::Upper | Self::Basename, [arg])
                if arg.kind == FieldKind::String =>
            {
                Ok(*arg)
            }
            (Self::Lower | Self::Upper | Self::Basename, [_]) => {
                Err(format!("`{name}` needs a text"))
            }
            (Self::Base64, [arg])
                if matches!(arg.kind, FieldKind::String | FieldKind::Bytes) && !arg.list =>
            {
                Ok(*arg)
            }
            (Self::Base64, [_]) => Err(format!("`{name}` needs a text or a buffer")),
            (Self::Len, [arg])
                if arg.list || matches!(arg.kind, FieldKind::String | FieldKind::Bytes) =>
            {
                made(FieldKind::U64)
            }
            (Self::Len, [_]) => Err(format!("`{name}` needs a text, a buffer or a list")),
            (Self::Join, [list, separator]) if list.list && is_text(separator) => {
                made(FieldKind::String)
            }
            (Self::Join, _) => {
                Err("`join` needs a list and a text, as in `join(fd.types, \",\")`".to_owned())
            }
            (Self::Concat, [_, ..]) if args.iter().all(|arg| !arg.list) => made(FieldKind::String),
            (Self::Concat, _) => {
                Err("`concat` needs fields and texts, none of them a list".to_owned())
            }
            (Self::Getopt, [args, options])
                if args.kind == FieldKind::String && is_text(options) =>
            {
                let option = ResolvedField::new(0, FieldKind::String);
                Ok(if has_option { option } else { option.list() })
            }
            (Self::Getopt, _) => Err(
                "`getopt` needs a command line and the options, as in `getopt(proc.args, \"nt:\")`"
                    .to_owned(),
            ),
            (_, _) => Err(format!("`{name}` takes one argument")),
        }
    }
}

impl<F> Term<F> {
    /// The fields in it.
    pub fn fields(&self, found: &mut impl FnMut(&F)) {
        match self {
            Self::Field(field) => found(field),
            Self::Text(_) => {}
            Self::Call(_, args, _) => args.iter().for_each(|arg| arg.fields(found)),
        }
    }

    /// The same with other things for the fields.
    ///
    /// # Errors
    ///
    /// Whatever `change` fails with.
    pub fn try_map<G, E>(&self, change: &mut impl FnMut(&F) -> Result<G, E>) -> Result<Term<G>, E> {
        Ok(match self {
            Self::Field(field) => Term::Field(change(field)?),
            Self::Text(text) => Term::Text(text.clone()),
            Self::Call(transformer, args, option) => {
                let mut changed = Vec::with_capacity(args.len());
                for arg in args {
                    changed.push(arg.try_map(change)?);
                }
                Term::Call(*transformer, changed.into(), option.clone())
            }
        })
    }

    /// Works it out and hands it to `then`, once. [`Value::None`] where a field is missing that it
    /// needs.
    pub fn value<'e>(
        &self,
        buffers: &Buffers,
        get: &dyn Fn(&F) -> Value<'e>,
        then: &mut dyn FnMut(Value<'_>),
    ) {
        match self {
            Self::Field(field) => then(get(field)),
            Self::Text(text) => then(Value::String(text)),
            Self::Call(transformer, args, option) => {
                call(*transformer, args, option.as_deref(), buffers, get, then);
            }
        }
    }
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
    let second = match args.get(1) {
        Some(Term::Text(text)) => &**text,
        _ => b"",
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
        Transformer::Base64 => first.value(buffers, get, &mut |value| {
            let mut out = buffers.take();
            let decoded = value.as_bytes().is_some_and(|text| decode(text, &mut out));
            then(match value {
                Value::String(_) if decoded => Value::String(&out),
                Value::Bytes(_) if decoded => Value::Bytes(&out),
                _ => Value::None,
            });
            buffers.put_back(out);
        }),
        Transformer::Join => first.value(buffers, get, &mut |value| {
            let Value::List(list) = value else {
                return then(Value::None);
            };
            let mut out = buffers.take();
            for (at, element) in list.iter().enumerate() {
                if at > 0 {
                    out.extend_from_slice(second);
                }
                append(&mut out, element);
            }
            then(Value::String(&out));
            buffers.put_back(out);
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
        Transformer::Getopt => first.value(buffers, get, &mut |value| {
            then_options(value, second, option, then);
        }),
    }
}

/// Applies `change` to a text, or to each element of a list of texts. It answers with a part of the
/// text, or appends to the buffer.
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
                // The elements stand one after the other in the buffer.
                let mut ends = Vec::with_capacity(list.len());
                for element in list.iter() {
                    let text = element.as_bytes().unwrap_or_default();
                    if let Some(part) = change(text, &mut out) {
                        out.extend_from_slice(part);
                    }
                    ends.push(out.len());
                }
                let mut start = 0;
                let elements: Vec<RawValue<'_>> = ends
                    .into_iter()
                    .map(|end| {
                        let element = Value::String(&out[start..end]);
                        start = end;
                        RawValue::from(element)
                    })
                    .collect();
                then(Value::List(List::new(&elements)));
            }
            _ => then(Value::None),
        }
        buffers.put_back(out);
    });
}

/// Appends a value as text; false, and nothing appended, where there is none.
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

/// Decodes base64, of either alphabet (RFC 4648), with or without padding.
fn decode(text: &[u8], out: &mut Vec<u8>) -> bool {
    let end = text.iter().rposition(|byte| *byte != b'=');
    let text = &text[..end.map_or(0, |at| at + 1)];
    let (mut bits, mut count) = (0_u32, 0);
    for byte in text {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return false,
        };
        bits = bits << 6 | u32::from(six);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count).to_le_bytes()[0]);
        }
    }
    // One letter alone is six bits, and no byte.
    count < 6
}

/// The options of a command line, as getopt(3) finds them: up to the first argument that is none.
fn then_options(
    value: Value<'_>,
    known: &[u8],
    wanted: Option<&str>,
    then: &mut dyn FnMut(Value<'_>),
) {
    let mut found = [RawValue::from(Value::None); MAX_OPTIONS];
    let mut count = 0;
    let mut argument = None;
    let mut visit = |letter, text| {
        if let Some(slot) = found.get_mut(count) {
            *slot = RawValue::from(Value::String(letter));
            count += 1;
        }
        if wanted.is_some_and(|wanted| wanted.as_bytes() == letter) {
            argument = Some(text);
        }
    };
    match value {
        Value::String(line) => {
            let words = line
                .split(|byte| *byte == b' ')
                .filter(|word| !word.is_empty());
            options(words, known, &mut visit);
        }
        Value::List(list) => {
            let words = list.iter().map(|word| word.as_bytes().unwrap_or_default());
            options(words, known, &mut visit);
        }
        _ => return then(Value::None),
    }
    then(match wanted {
        Some(_) => argument.map_or(Value::None, Value::String),
        None => Value::List(List::new(&found[..count])),
    });
}

fn options<'a>(
    mut words: impl Iterator<Item = &'a [u8]>,
    known: &[u8],
    visit: &mut impl FnMut(&'a [u8], &'a [u8]),
) {
    while let Some(word) = words.next() {
        let Some(letters) = word.strip_prefix(b"-").filter(|rest| !rest.is_empty()) else {
            return;
        };
        if letters == b"-" {
            return;
        }
        for at in 0..letters.len() {
            let letter = &letters[at..=at];
            let place = known.iter().position(|known| *known == letter[0]);
            let Some(place) = place.filter(|_| letter != b":") else {
                continue;
            };
            if known.get(place + 1) != Some(&b':') {
                visit(letter, b"");
                continue;
            }
            let rest = &letters[at + 1..];
            let argument = if rest.is_empty() {
                words.next()
            } else {
                Some(rest)
            };
            if let Some(argument) = argument {
                visit(letter, argument);
            }
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::OwnedValue;

    fn text(text: &str) -> Term<u32> {
        Term::Text(text.as_bytes().into())
    }

    fn run(transformer: Transformer, args: Vec<Term<u32>>, option: Option<&str>) -> OwnedValue {
        let term = Term::Call(transformer, args.into(), option.map(Box::from));
        let types = ["ipv4", "file"].map(|name| RawValue::from(Value::String(name.as_bytes())));
        let get = |field: &u32| match field {
            1 => Value::String(b"/usr/bin/Cat"),
            2 => Value::List(List::new(&types)),
            3 => Value::U64(443),
            _ => Value::None,
        };
        let mut out = OwnedValue::None;
        term.value(&Buffers::default(), &get, &mut |value| {
            out = value.to_owned();
        });
        out
    }

    fn s(text: &str) -> OwnedValue {
        OwnedValue::String(text.as_bytes().to_vec())
    }

    #[test]
    fn each_does_what_it_says() {
        use Transformer::*;
        let field = Term::Field;
        assert_eq!(run(Lower, vec![field(1)], None), s("/usr/bin/cat"));
        assert_eq!(run(Upper, vec![field(1)], None), s("/USR/BIN/CAT"));
        assert_eq!(run(Basename, vec![field(1)], None), s("Cat"));
        assert_eq!(run(Basename, vec![text("/a/b/")], None), s(""));
        assert_eq!(run(Basename, vec![text("x")], None), s("x"));
        assert_eq!(run(Len, vec![field(1)], None), OwnedValue::U64(12));
        assert_eq!(run(Len, vec![field(2)], None), OwnedValue::U64(2));
        assert_eq!(run(Val, vec![field(3)], None), OwnedValue::U64(443));
        assert_eq!(run(Join, vec![field(2), text("; ")], None), s("ipv4; file"));
        let parts = vec![text("a"), field(3), text(":"), field(1)];
        assert_eq!(run(Concat, parts, None), s("a443:/usr/bin/Cat"));
        let upper = Term::Call(Upper, [field(2)].into(), None);
        assert_eq!(run(Join, vec![upper, text("")], None), s("IPV4FILE"));
    }

    #[test]
    fn what_is_missing_stays_missing() {
        use Transformer::*;
        for transformer in [
            Val, Lower, Upper, Base64, Basename, Len, Join, Concat, Getopt,
        ] {
            let args = vec![Term::Field(9), text("a")];
            assert_eq!(
                run(transformer, args, None),
                OwnedValue::None,
                "{transformer:?}"
            );
        }
    }

    #[test]
    fn base64_needs_no_padding_and_refuses_nonsense() {
        for (encoded, expected) in [
            ("Zm9v", Some("foo")),
            ("Zm8=", Some("fo")),
            ("Zm8", Some("fo")),
            ("Zg==", Some("f")),
            ("", Some("")),
            ("Z", None),
            ("Zm9v!", None),
        ] {
            let expected = expected.map_or(OwnedValue::None, s);
            assert_eq!(
                run(Transformer::Base64, vec![text(encoded)], None),
                expected,
                "{encoded}"
            );
        }
    }

    #[test]
    fn getopt_finds_options_as_the_c_library_does() {
        let letters = |line: &str, known: &str| match run(
            Transformer::Getopt,
            vec![text(line), text(known)],
            None,
        ) {
            OwnedValue::List(list) => list
                .iter()
                .map(|v| v.scalar().as_str().unwrap().to_owned())
                .collect::<String>(),
            other => panic!("{other:?}"),
        };
        let argument = |line: &str, known: &str, option: &str| {
            run(
                Transformer::Getopt,
                vec![text(line), text(known)],
                Some(option),
            )
        };
        assert_eq!(letters("-n -t 5 file -x", "nt:x"), "nt");
        assert_eq!(letters("-nt5", "nt:"), "nt");
        assert_eq!(letters("-q -n", "n"), "n");
        assert_eq!(letters("-n -- -t 5", "nt:"), "n");
        assert_eq!(letters("", "n"), "");
        assert_eq!(argument("-n -t 5", "nt:", "t"), s("5"));
        assert_eq!(argument("-nt5", "nt:", "t"), s("5"));
        assert_eq!(argument("-t", "nt:", "t"), OwnedValue::None);
        assert_eq!(argument("-n", "nt:", "t"), OwnedValue::None);
        assert_eq!(argument("-n", "nt:", "n"), s(""));
    }

    #[test]
    fn types_are_checked() {
        use Transformer::*;
        let string = ResolvedField::new(1, FieldKind::String);
        let number = ResolvedField::new(1, FieldKind::U64);
        let bytes = ResolvedField::new(1, FieldKind::Bytes);
        assert_eq!(Lower.result(&[string], false), Ok(string));
        assert!(Lower.result(&[number], false).is_err());
        assert!(Lower.result(&[string.any()], false).is_err());
        assert!(Lower.result(&[string, string], false).is_err());
        assert_eq!(Base64.result(&[bytes], false), Ok(bytes));
        assert_eq!(
            Len.result(&[number.list()], false).map(|f| f.kind),
            Ok(FieldKind::U64)
        );
        assert!(Len.result(&[number], false).is_err());
        assert!(Join.result(&[string, string], false).is_err());
        assert!(Concat.result(&[], false).is_err());
        assert!(
            Getopt
                .result(&[string, string], false)
                .is_ok_and(|f| f.list)
        );
        assert!(
            Getopt
                .result(&[string, string], true)
                .is_ok_and(|f| !f.list)
        );
        assert!(Lower.result(&[string], true).is_err());
    }
}
