//! One comparison of a value, prepared for its operator and constants.

use lanner_plugin::{FieldKind, Value};

use crate::addresses::{IpRange, IpSet};
use crate::ast::{Quantifier, Word};
use crate::numbers::{Number, NumberSet};
use crate::operators::{Elements, Op, Ordered, Predicate};
use crate::source::{Problem, code};
use crate::text_matcher::{self, Pattern, TextMatcher, TextRelation, hexadecimal};

/// Compares one value. A missing value, or one of another type than expected, does not fit: not even `!=`.
#[derive(Debug)]
pub(crate) enum Matcher {
    Exists,
    Text(TextMatcher),
    /// Fits a text or a buffer that the inner matcher does not fit.
    NotText(TextMatcher),
    TextOrder(Ordered, Box<[u8]>),
    Number(Ordered, Number),
    NumberIn(NumberSet),
    Bool(Box<[bool]>),
    NotBool(bool),
    Ip(IpSet),
    NotIp(IpSet),
    /// For a field whose type differs from event to event: one of them has to fit.
    Dynamic(Vec<Matcher>),
    Quantified(Quantifier, Vec<Matcher>),
}

impl Matcher {
    /// Prepares an operator and its constants for a field of this type.
    pub(crate) fn new(op: Op, words: &[Word], kind: FieldKind) -> Result<Self, Problem> {
        let predicate = op.predicate();
        if predicate == Predicate::Exists {
            return Ok(Self::Exists);
        }
        match kind {
            FieldKind::Bool => {
                let expected = "`true` or `false`";
                let values = parse_all(words, expected, |text| text.parse().ok())?;
                Ok(match equality(op, words)? {
                    Equality::NotEqual => Self::NotBool(values.first().copied().unwrap_or(false)),
                    Equality::In => Self::Bool(values.into()),
                })
            }
            FieldKind::I64 | FieldKind::U64 | FieldKind::F64 => {
                let numbers = parse_all(words, "a number", Number::parse)?;
                match (predicate, numbers.as_slice()) {
                    (Predicate::Ordered(ordered), [number]) => Ok(Self::Number(ordered, *number)),
                    _ => equality(op, words).map(|_| Self::NumberIn(NumberSet::new(&numbers))),
                }
            }
            FieldKind::Ip => {
                let expected = "an address, or a network such as 10.0.0.0/8";
                let set = IpSet::new(&parse_all(words, expected, IpRange::parse)?);
                Ok(match equality(op, words)? {
                    Equality::NotEqual => Self::NotIp(set),
                    Equality::In => Self::Ip(set),
                })
            }
            FieldKind::String | FieldKind::Bytes => Self::text(predicate, words),
            FieldKind::Any => {
                // The constants are read as each type that they can be.
                let mut matchers = vec![Self::text(predicate, words)?];
                for kind in [FieldKind::Bool, FieldKind::I64, FieldKind::Ip] {
                    matchers.extend(Self::new(op, words, kind));
                }
                Ok(Self::Dynamic(matchers))
            }
        }
    }

    fn text(predicate: Predicate, words: &[Word]) -> Result<Self, Problem> {
        let texts = || words.iter().map(text_matcher::bytes).collect::<Vec<_>>();
        let first = || words.first().map_or_else(Box::default, text_matcher::bytes);
        Ok(match predicate {
            Predicate::Exists => Self::Exists,
            Predicate::Ordered(Ordered::Equal) | Predicate::Member(_) => {
                Self::Text(TextRelation::Equal.matcher(&texts()))
            }
            Predicate::Ordered(Ordered::NotEqual) => {
                Self::NotText(TextRelation::Equal.matcher(&[first()]))
            }
            Predicate::Ordered(
                ordered @ (Ordered::Less
                | Ordered::LessOrEqual
                | Ordered::Greater
                | Ordered::GreaterOrEqual),
            ) => Self::TextOrder(ordered, first()),
            Predicate::Text(relation) => Self::Text(relation.matcher(&texts())),
            Predicate::Hex(relation) => {
                let texts: Vec<_> = words.iter().map(hexadecimal).collect::<Result<_, _>>()?;
                Self::Text(relation.matcher(&texts))
            }
            Predicate::Pattern(pattern) => Self::Text(pattern.matcher(words)?),
        })
    }

    pub(crate) fn matches(&self, value: Value<'_>) -> bool {
        match self {
            Self::Exists => match value {
                Value::None => false,
                // `getopt` that finds nothing makes a list, as in Falco.
                Value::List(_)
                | Value::Bool(_)
                | Value::I64(_)
                | Value::U64(_)
                | Value::F64(_)
                | Value::String(_)
                | Value::Bytes(_)
                | Value::Ip(_) => true,
            },
            Self::Text(matcher) => value.as_bytes().is_some_and(|text| matcher.matches(text)),
            Self::NotText(matcher) => value.as_bytes().is_some_and(|text| !matcher.matches(text)),
            Self::TextOrder(ordered, text) => value
                .as_bytes()
                .is_some_and(|value| ordered.holds(Some(value.cmp(text)))),
            Self::Number(ordered, number) => {
                Number::of(value).is_some_and(|value| ordered.holds(value.compare(*number)))
            }
            Self::NumberIn(set) => Number::of(value).is_some_and(|value| set.contains(value)),
            Self::Bool(values) => matches!(value, Value::Bool(value) if values.contains(&value)),
            Self::NotBool(not) => matches!(value, Value::Bool(value) if value != *not),
            Self::Ip(set) => matches!(value, Value::Ip(ip) if set.contains(ip)),
            Self::NotIp(set) => matches!(value, Value::Ip(ip) if !set.contains(ip)),
            Self::Dynamic(matchers) => matchers.iter().any(|matcher| matcher.matches(value)),
            Self::Quantified(quantifier, matchers) => {
                let mut fitting = matchers.iter().map(|matcher| matcher.matches(value));
                match quantifier {
                    Quantifier::Any => fitting.any(|fits| fits),
                    // As in Falco, nothing fits all of no constants.
                    Quantifier::All => !matchers.is_empty() && fitting.all(|fits| fits),
                    Quantifier::One => fitting.filter(|fits| *fits).count() == 1,
                }
            }
        }
    }

    /// Guesses of the cost in nanoseconds and of the share of values that fit.
    pub(crate) fn guess(&self) -> (f32, f32) {
        match self {
            Self::Exists => (2.0, 0.9),
            Self::Bool(_) | Self::NotBool(_) => (2.0, 0.4),
            Self::Number(Ordered::Equal, _) => (2.0, 0.1),
            Self::Number(..) => (2.0, 0.5),
            Self::NumberIn(_) | Self::Ip(_) => (5.0, 0.2),
            Self::NotIp(_) => (5.0, 0.8),
            Self::Text(matcher) => matcher.guess(),
            Self::TextOrder(..) => (10.0, 0.3),
            Self::NotText(_) => (10.0, 0.8),
            Self::Dynamic(all) | Self::Quantified(_, all) => {
                (all.iter().map(|one| one.guess().0).sum(), 0.3)
            }
        }
    }
}

/// What an operator asks of a type that only knows equality.
enum Equality {
    In,
    NotEqual,
}

/// The equality that an operator asks for. Other operators are refused before, except for a field without a fixed
/// type, which then has no matcher for this type.
fn equality(op: Op, words: &[Word]) -> Result<Equality, Problem> {
    match op.predicate() {
        Predicate::Ordered(Ordered::Equal) | Predicate::Member(_) => Ok(Equality::In),
        Predicate::Ordered(Ordered::NotEqual) => Ok(Equality::NotEqual),
        Predicate::Exists
        | Predicate::Ordered(
            Ordered::Less | Ordered::LessOrEqual | Ordered::Greater | Ordered::GreaterOrEqual,
        )
        | Predicate::Text(_)
        | Predicate::Hex(_)
        | Predicate::Pattern(_) => {
            let message = format!("`{}` compares no such values", op.name());
            Err(match words.first() {
                Some(word) => Problem::new(&word.place, message).code(code::CONDITION),
                None => Problem::without_place(message).code(code::CONDITION),
            })
        }
    }
}

fn parse_all<T>(
    words: &[Word],
    expected: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, Problem> {
    let one = |word: &Word| {
        parse(&word.text).ok_or_else(|| {
            let message = format!("{expected} is needed here, not `{}`", word.text);
            Problem::new(&word.place, message).code(code::CONDITION)
        })
    };
    words.iter().map(one).collect()
}

/// Compares two values of an event, as in `proc.name = val(proc.pname)`. If one is missing, nothing fits.
pub(crate) fn compare(op: Op, left: Value<'_>, right: Value<'_>) -> bool {
    if !left.is_some() || !right.is_some() {
        return false;
    }
    match op.predicate() {
        Predicate::Exists => true,
        Predicate::Ordered(ordered) => compare_ordered(ordered, left, right),
        Predicate::Member(elements) => match (left, elements) {
            (Value::List(left), Elements::All) => left.iter().all(|left| is_member(left, right)),
            (Value::List(left), Elements::Any) => left.iter().any(|left| is_member(left, right)),
            (left, Elements::All | Elements::Any) => is_member(left, right),
        },
        Predicate::Text(relation) | Predicate::Hex(relation) => {
            both_texts(left, right, |left, right| relation.holds(left, right))
        }
        Predicate::Pattern(pattern) => match (pattern, right) {
            (Pattern::PathPrefix, Value::List(right)) => right
                .iter()
                .any(|right| both_texts(left, right, |left, right| pattern.fits(left, right))),
            (_, right) => both_texts(left, right, |left, right| pattern.fits(left, right)),
        },
    }
}

fn is_member(left: Value<'_>, right: Value<'_>) -> bool {
    match right {
        Value::List(right) => {
            let mut right = right.iter();
            right.any(|right| compare_ordered(Ordered::Equal, left, right))
        }
        right => compare_ordered(Ordered::Equal, left, right),
    }
}

fn compare_ordered(ordered: Ordered, left: Value<'_>, right: Value<'_>) -> bool {
    // Values of these types are equal or not, but have no order.
    let equality = |equal: bool| match ordered {
        Ordered::Equal => equal,
        Ordered::NotEqual => !equal,
        Ordered::Less | Ordered::LessOrEqual | Ordered::Greater | Ordered::GreaterOrEqual => false,
    };
    match (left, right) {
        (Value::Bool(a), Value::Bool(b)) => equality(a == b),
        (Value::Ip(a), Value::Ip(b)) => equality(a.to_canonical() == b.to_canonical()),
        (left, right) => match (left.as_bytes(), right.as_bytes()) {
            (Some(left), Some(right)) => ordered.holds(Some(left.cmp(right))),
            (None, _) | (_, None) => match (Number::of(left), Number::of(right)) {
                (Some(left), Some(right)) => ordered.holds(left.compare(right)),
                (None, _) | (_, None) => false,
            },
        },
    }
}

fn both_texts(left: Value<'_>, right: Value<'_>, fits: impl Fn(&[u8], &[u8]) -> bool) -> bool {
    match (left.as_bytes(), right.as_bytes()) {
        (Some(left), Some(right)) => fits(left, right),
        (None, _) | (_, None) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::texts::TextSet;

    #[test]
    fn large_numbers_compare_exactly() {
        let matcher = Matcher::Number(Ordered::Equal, Number::Whole(i128::from(u64::MAX)));
        assert!(matcher.matches(Value::U64(u64::MAX)));
        assert!(!matcher.matches(Value::U64(u64::MAX - 1)));
        assert!(!matcher.matches(Value::I64(-1)));
        let less = Matcher::Number(Ordered::Less, Number::Whole(0));
        assert!(less.matches(Value::I64(-1)));
        assert!(!less.matches(Value::U64(0)));
    }

    #[test]
    fn sets_of_numbers_hold_whole_ones_and_fractions() {
        let set = NumberSet::new(&["3", "-2", "1.5", "5e9"].map(|n| Number::parse(n).unwrap()));
        let matcher = Matcher::NumberIn(set);
        for inside in [
            Value::U64(3),
            Value::I64(-2),
            Value::F64(1.5),
            Value::U64(5_000_000_000),
        ] {
            assert!(matcher.matches(inside), "{inside:?}");
        }
        assert!(matcher.matches(Value::F64(3.0)));
        assert!(!matcher.matches(Value::U64(2)));
    }

    #[test]
    fn a_value_of_another_type_never_fits() {
        let matchers = [
            Matcher::Number(Ordered::NotEqual, Number::Whole(1)),
            Matcher::NotBool(true),
            Matcher::NotText(TextMatcher::In(TextSet::new([(*b"x").into()]))),
        ];
        for matcher in matchers {
            assert!(!matcher.matches(Value::None));
            assert!(!matcher.matches(Value::Ip(IpAddr::from([1, 1, 1, 1]))));
        }
    }

    #[test]
    fn two_values_of_an_event_are_compared() {
        let s = |text: &'static str| Value::String(text.as_bytes());
        for (op, left, right, expected) in [
            (Op::Eq, s("a"), s("a"), true),
            (Op::Ne, s("a"), s("a"), false),
            (Op::Ne, s("a"), Value::None, false),
            (Op::Lt, Value::I64(-1), Value::U64(0), true),
            (Op::Eq, s("1"), Value::U64(1), false),
            (Op::StartsWith, s("abc"), s("ab"), true),
            (Op::Icontains, s("xABx"), s("ab"), true),
            (Op::Pmatch, s("/etc/x"), s("/etc"), true),
            (Op::Glob, s("abc"), s("a*"), true),
            (Op::In, s("a"), s("a"), true),
        ] {
            assert_eq!(
                compare(op, left, right),
                expected,
                "{op:?} {left:?} {right:?}"
            );
        }
    }
}
