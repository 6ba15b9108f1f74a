//! The options of a command line, for `getopt`.

use crate::value::{List, RawValue, Value};

/// The number of options that `getopt` returns at most.
const MAX_OPTIONS: usize = 64;

/// Passes to `then` the letters of the options in a command line, or the argument of the option `wanted`.
pub(super) fn evaluate(
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

/// Calls `visit` for each option and its argument, as getopt(3) finds them: up to the first word that is not an option.
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
