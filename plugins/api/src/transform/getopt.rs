//! The options of a command line, for `getopt`, as Falco finds them.

use crate::value::{List, RawValue, Value};

/// This many options and values need no allocation.
const FEW: usize = 64;

/// Passes to `then` the options in a command line with their values, or the value of the option `wanted`.
///
/// `known` lists the letters of options, each with a `:` after it if a value follows. The result has `?` for an unknown
/// letter, and an empty text where a value is missing. The last one of several options `wanted` counts; an option without
/// values has its letter as value.
pub(super) fn evaluate(
    value: Value<'_>,
    known: &[u8],
    wanted: Option<&str>,
    then: &mut dyn FnMut(Value<'_>),
) {
    // Most command lines need no memory of their own.
    let mut few = [RawValue::from(Value::None); FEW];
    let (mut count, mut many) = (0, Vec::new());
    let mut argument = None;
    let mut visit = |letter: u8, option: Option<_>, text: Option<_>| match wanted {
        Some(wanted) if wanted.as_bytes() == [letter] => argument = text.or(option),
        Some(_) => {}
        None => {
            for text in option.into_iter().chain(text) {
                let value = RawValue::from(Value::String(text));
                match few.get_mut(count) {
                    Some(slot) => *slot = value,
                    None => many.push(value),
                }
                count += 1;
            }
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
        None if many.is_empty() => Value::List(List::new(&few[..count])),
        None => {
            many.splice(0..0, few);
            Value::List(List::new(&many))
        }
    });
}

/// Calls `visit` for each option with its letter, its name and its value, up to the first word that is not an option. Long
/// options are passed over.
fn options<'a>(
    mut words: impl Iterator<Item = &'a [u8]>,
    known: &[u8],
    visit: &mut impl FnMut(u8, Option<&'a [u8]>, Option<&'a [u8]>),
) {
    while let Some(word) = words.next() {
        let Some(letters) = word.strip_prefix(b"-").filter(|rest| !rest.is_empty()) else {
            return;
        };
        if letters == b"-" {
            return;
        }
        if letters.starts_with(b"-") {
            continue;
        }
        for (at, letter) in letters.iter().enumerate() {
            let place = known.iter().position(|known| known == letter);
            let Some(place) = place.filter(|_| *letter != b':') else {
                visit(b'?', Some(b"?"), None);
                continue;
            };
            let name = &letters[at..=at];
            if known.get(place + 1) != Some(&b':') {
                visit(*letter, Some(name), None);
                continue;
            }
            let rest = &letters[at + 1..];
            let value = if rest.is_empty() {
                words.next()
            } else {
                Some(rest)
            };
            match value {
                Some(value) => visit(*letter, Some(name), Some(value)),
                None => visit(*letter, None, Some(b"")),
            }
            break;
        }
    }
}
