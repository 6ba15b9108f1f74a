//! What Falco warns about in conditions that it takes, and what it knows about them without an event.

use lanner_plugin::ResolvedField;

use crate::ast::{Check, FieldRef, Word};
use crate::operators::{Op, Ordered, Predicate};
use crate::parse::split_argument;
use crate::source::{Problem, code};
use crate::text_matcher::Pattern;

/// Fields that Falco has deprecated: there are no entry events, and what needs them says the same of every event.
const DEPRECATED: &[&str] = &["evt.dir"];

/// Fields that Falco has deprecated for the same reason, and whose values lanner has.
const MEASURED: &[&str] = &[
    "evt.latency",
    "evt.latency.s",
    "evt.latency.ns",
    "evt.latency.human",
    "evt.latency.quantized",
    "evt.wait_latency",
];

/// Fields that Falco does not have, or beginnings of their names.
const OWN: &[&str] = &[
    "kernel.",
    "target.",
    "fs.realpath.",
    "proc.exe_flags",
    "evt.call",
    "evt.truncated",
    "evt.unreadable",
];

/// The first words of fields.
const CLASSES: &[&str] = &[
    "container",
    "evt",
    "fd",
    "fs",
    "group",
    "k8s",
    "kernel",
    "proc",
    "syscall",
    "thread",
    "user",
];

/// What is to be said about the use of a field that is `known` like this. `code` is Falco's code for a field that it does not
/// have.
pub(crate) fn of_field(
    field: &FieldRef,
    known: Option<ResolvedField>,
    code: &'static str,
) -> Option<Problem> {
    let full = field;
    let (place, arg) = (&field.place, &field.arg);
    let field = field.name.as_str();
    if let ("thread.cgroup", Some(arg)) = (field, arg) {
        let message = format!("Falco writes `thread.cgroup.{arg}`");
        return Some(Problem::refused_by_falco(code, place, message));
    }
    if DEPRECATED.contains(&field) {
        let message =
            format!("`{field}` is deprecated: events are those of calls that have returned");
        return Some(Problem::warning(code::DEPRECATED, place, message).help("leave it out"));
    }
    if MEASURED.contains(&field) {
        let message = format!("Falco has deprecated `{field}`, and has 0 in its place");
        return Some(Problem::note(code::DEPRECATED, place, message));
    }
    if known.is_some_and(|known| known.never) {
        let message = format!("no event has `{full}`");
        return Some(Problem::note(code::EMPTY, place, message));
    }
    let own = OWN.iter().any(|name| field.starts_with(name));
    own.then(|| {
        let message = format!("Falco has no field `{field}`");
        Problem {
            unknown_to_falco: true,
            ..Problem::refused_by_falco(code, place, message)
        }
    })
}

/// A warning about a constant: it looks like a field or a transformer, or a simpler operator could do the work of a
/// regular expression. `known` tells whether there is a field.
pub(crate) fn of_value(
    op: Op,
    word: &Word,
    known: impl Fn(&str, Option<&str>) -> bool,
) -> Option<Problem> {
    let text = word.text.as_str();
    let warn = |message: String| Some(Problem::warning(code::HINT, &word.place, message));
    if op.predicate() == Predicate::Pattern(Pattern::Regex) && is_simple(text) {
        return warn(format!(
            "`{text}` needs no regular expression: `=`, `contains`, `startswith` or `endswith` is faster"
        ));
    }
    let bare: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let (name, arg) = match bare.split_once('[') {
        Some((name, arg)) => (name, arg.strip_suffix(']')),
        None => (bare.as_str(), None),
    };
    let (name, arg) = match (split_argument(name), arg) {
        ((base, Some(arg)), None) => (base, Some(arg)),
        _ => (name, arg),
    };
    let class = name.split_once('.').map(|(class, _)| class);
    if class.is_some_and(|class| CLASSES.contains(&class)) && known(name, arg) {
        return warn(format!(
            "`{text}` is a text here, although there is such a field; write `val({text})` for its value"
        ));
    }
    let call = bare.split_once('(').filter(|_| bare.ends_with(')'));
    let names = lanner_plugin::Transformer::NAMES;
    if call.is_some_and(|(first, _)| names.iter().any(|(name, _)| *name == first)) {
        return warn(format!(
            "`{text}` is a text here, not a transformer; leave out the quotes"
        ));
    }
    None
}

/// Whether `=`, `contains`, `startswith` or `endswith` could replace a regular expression: it has no special signs, except
/// for anchors and `.*` at its ends.
fn is_simple(text: &str) -> bool {
    let bytes = text.as_bytes();
    let last = bytes.len().wrapping_sub(1);
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let anchor = (at == 0 && *byte == b'^') || (at == last && *byte == b'$');
        let at_end = (at == 0 && bytes.len() > 1) || at + 2 == bytes.len();
        let any = at_end && *byte == b'.' && bytes.get(at + 1).is_some_and(|b| b"+*?".contains(b));
        if any {
            at += 1;
        } else if !anchor && b".+*?^$()[]{}|\\".contains(byte) {
            return false;
        }
        at += 1;
    }
    true
}

/// What a check of `evt.num` gives for every event: the numbers of events begin with 1.
pub(crate) fn decided_by_number(check: &Check, values: &[Word]) -> Option<bool> {
    let field = check.left.plain()?;
    if field.name != "evt.num" || field.arg.is_some() || check.quantifier.is_some() {
        return None;
    }
    let numbers: Option<Vec<u64>> = values.iter().map(|word| word.text.parse().ok()).collect();
    let numbers = numbers?;
    if check.op == Op::In {
        return numbers.iter().all(|number| *number == 0).then_some(false);
    }
    let (Predicate::Ordered(ordered), [number]) = (check.op.predicate(), numbers.as_slice()) else {
        return None;
    };
    match (ordered, number) {
        (Ordered::Equal | Ordered::LessOrEqual, 0) | (Ordered::Less, 0 | 1) => Some(false),
        (Ordered::NotEqual | Ordered::Greater, 0) | (Ordered::GreaterOrEqual, 0 | 1) => Some(true),
        (
            Ordered::Equal
            | Ordered::NotEqual
            | Ordered::Less
            | Ordered::LessOrEqual
            | Ordered::Greater
            | Ordered::GreaterOrEqual,
            _,
        ) => None,
    }
}
