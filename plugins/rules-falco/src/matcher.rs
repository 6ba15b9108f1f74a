//! One comparison, ready to run: the operator and its values in the form that compares fastest.

use std::borrow::Cow;
use std::cmp::Ordering;

use aho_corasick::AhoCorasick;
use lanner_plugin::{List, Value};
use memchr::memmem::Finder;
use regex::Regex;

use crate::addresses::IpSet;
use crate::ast::{Op, Quantifier};
use crate::glob;
use crate::texts::{Affixes, TextSet};

/// Compares one value. A value of another type than expected, or none, does not fit: not even `!=`.
#[derive(Debug)]
pub(crate) enum Matcher {
    Exists,
    Text(TextMatcher),
    /// Only texts and buffers; the opposite of what is inside.
    NotText(TextMatcher),
    TextOrder(Op, Box<[u8]>),
    Number(Op, Number),
    NumberIn(NumberSet),
    Bool(Box<[bool]>),
    NotBool(bool),
    Ip(IpSet),
    NotIp(IpSet),
    /// The value's type is known only now: whichever fits.
    Dynamic(Vec<Matcher>),
    Quantified(Quantifier, Vec<Matcher>),
}

/// Comparisons of texts and buffers. Where there are several texts, one has to fit.
#[derive(Debug)]
pub(crate) enum TextMatcher {
    In(TextSet),
    Affix(Affixes),
    Contains(Box<Finder<'static>>),
    ContainsAny(Box<AhoCorasick>),
    /// For more texts than an automaton can number; true: whatever the case of letters.
    ContainsEach(Box<[Box<[u8]>]>, bool),
    Glob(Box<[u8]>, bool),
    PathPrefix(Box<[Box<[u8]>]>),
    /// Anchored at both ends.
    Regex(Box<Regex>),
}

/// A number in a condition.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Number {
    Whole(i128),
    Fraction(f64),
}

/// Numbers to look up.
#[derive(Debug)]
pub(crate) struct NumberSet {
    /// In order.
    whole: Box<[i128]>,
    fractions: Box<[f64]>,
}

impl Matcher {
    pub(crate) fn matches(&self, value: Value<'_>) -> bool {
        match self {
            Self::Exists => match value {
                Value::None => false,
                Value::List(list) => !list.is_empty(),
                _ => true,
            },
            Self::Text(matcher) => value.as_bytes().is_some_and(|text| matcher.matches(text)),
            Self::NotText(matcher) => value.as_bytes().is_some_and(|text| !matcher.matches(text)),
            Self::TextOrder(op, text) => value
                .as_bytes()
                .is_some_and(|value| holds(*op, Some(value.cmp(text)))),
            Self::Number(op, number) => {
                Number::of(value).is_some_and(|value| holds(*op, value.compare(*number)))
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
                    Quantifier::All => fitting.all(|fits| fits),
                    Quantifier::One => fitting.filter(|fits| *fits).count() == 1,
                }
            }
        }
    }
}

/// Compares two values of an event, as in `proc.name = val(proc.pname)`. Where one is missing,
/// nothing fits.
pub(crate) fn compare(op: Op, left: Value<'_>, right: Value<'_>) -> bool {
    let any_of = |right: List<'_>| right.iter().any(|right| compare(Op::Eq, left, right));
    match (op, left, right) {
        (_, Value::None, _) | (_, _, Value::None) => false,
        (Op::In, Value::List(left), right) => {
            !left.is_empty() && left.iter().all(|left| compare(Op::In, left, right))
        }
        (Op::Intersects, Value::List(left), right) => {
            left.iter().any(|left| compare(Op::In, left, right))
        }
        (Op::In | Op::Intersects, _, Value::List(right)) => any_of(right),
        (Op::In | Op::Intersects, ..) => compare(Op::Eq, left, right),
        (Op::Pmatch, _, Value::List(right)) => {
            right.iter().any(|right| compare(Op::Pmatch, left, right))
        }
        (Op::Eq | Op::Ne, Value::Bool(a), Value::Bool(b)) => (a == b) == (op == Op::Eq),
        (Op::Eq | Op::Ne, Value::Ip(a), Value::Ip(b)) => {
            (a.to_canonical() == b.to_canonical()) == (op == Op::Eq)
        }
        _ => match (left.as_bytes(), right.as_bytes()) {
            (Some(left), Some(right)) => compare_texts(op, left, right),
            _ => match (Number::of(left), Number::of(right)) {
                (Some(left), Some(right)) => holds(op, left.compare(right)),
                _ => false,
            },
        },
    }
}

fn compare_texts(op: Op, left: &[u8], right: &[u8]) -> bool {
    match op {
        Op::Contains | Op::Bcontains => memchr::memmem::find(left, right).is_some(),
        Op::Icontains => {
            right.is_empty()
                || left
                    .windows(right.len())
                    .any(|window| window.eq_ignore_ascii_case(right))
        }
        Op::StartsWith | Op::BstartsWith => left.starts_with(right),
        Op::EndsWith => left.ends_with(right),
        Op::Glob => glob::matches(right, left, false),
        Op::Iglob => glob::matches(right, left, true),
        Op::Pmatch => glob::path_prefix(right, left),
        op => holds(op, Some(left.cmp(right))),
    }
}

fn holds(op: Op, ordering: Option<Ordering>) -> bool {
    let Some(ordering) = ordering else {
        return op == Op::Ne;
    };
    match op {
        Op::Eq => ordering.is_eq(),
        Op::Ne => ordering.is_ne(),
        Op::Lt => ordering.is_lt(),
        Op::Le => ordering.is_le(),
        Op::Gt => ordering.is_gt(),
        Op::Ge => ordering.is_ge(),
        _ => false,
    }
}

impl TextMatcher {
    fn matches(&self, text: &[u8]) -> bool {
        match self {
            Self::In(set) => set.contains(text),
            Self::Affix(affixes) => affixes.fit(text),
            Self::Contains(finder) => finder.find(text).is_some(),
            Self::ContainsAny(automaton) => automaton.is_match(text),
            Self::ContainsEach(texts, fold) => {
                let op = if *fold { Op::Icontains } else { Op::Contains };
                texts.iter().any(|wanted| compare_texts(op, text, wanted))
            }
            Self::Glob(pattern, fold) => glob::matches(pattern, text, *fold),
            Self::PathPrefix(patterns) => patterns
                .iter()
                .any(|pattern| glob::path_prefix(pattern, text)),
            Self::Regex(regex) => {
                // What is not UTF-8 is replaced, as a regular expression speaks of characters.
                let text: Cow<'_, str> = String::from_utf8_lossy(text);
                regex.is_match(&text)
            }
        }
    }
}

impl NumberSet {
    pub(crate) fn new(numbers: &[Number]) -> Self {
        let mut whole: Vec<i128> = Vec::new();
        let mut fractions = Vec::new();
        for number in numbers {
            match number {
                Number::Whole(number) => whole.push(*number),
                Number::Fraction(number) => fractions.push(*number),
            }
        }
        whole.sort_unstable();
        whole.dedup();
        Self {
            whole: whole.into(),
            fractions: fractions.into(),
        }
    }

    fn contains(&self, value: Number) -> bool {
        let equal = |other| value.compare(other) == Some(Ordering::Equal);
        let in_whole = match value {
            Number::Whole(number) => self.whole.binary_search(&number).is_ok(),
            Number::Fraction(_) => self.whole.iter().any(|whole| equal(Number::Whole(*whole))),
        };
        in_whole
            || self
                .fractions
                .iter()
                .any(|fraction| equal(Number::Fraction(*fraction)))
    }
}

impl Number {
    fn of(value: Value<'_>) -> Option<Self> {
        match value {
            Value::I64(value) => Some(Self::Whole(value.into())),
            Value::U64(value) => Some(Self::Whole(value.into())),
            Value::F64(value) => Some(Self::Fraction(value)),
            _ => None,
        }
    }

    fn compare(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Whole(a), Self::Whole(b)) => Some(a.cmp(&b)),
            (a, b) => a.as_f64().partial_cmp(&b.as_f64()),
        }
    }

    fn as_f64(self) -> f64 {
        match self {
            Self::Whole(whole) => whole as f64,
            Self::Fraction(fraction) => fraction,
        }
    }

    /// Decimal, `0x` hexadecimal, or with a fraction or an exponent.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (digits, negative) = match text.strip_prefix('-') {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        if !digits.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        let whole = match digits.strip_prefix("0x").or(digits.strip_prefix("0X")) {
            Some(hex) => Some(i128::from(u64::from_str_radix(hex, 16).ok()?)),
            None => digits.parse::<i128>().ok(),
        };
        match whole {
            Some(whole) => Some(Self::Whole(if negative { -whole } else { whole })),
            None => text.parse().ok().map(Self::Fraction),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn numbers_are_read_as_falco_reads_them() {
        assert_eq!(Number::parse("22"), Some(Number::Whole(22)));
        assert_eq!(Number::parse("-1"), Some(Number::Whole(-1)));
        assert_eq!(Number::parse("0x1F"), Some(Number::Whole(31)));
        assert_eq!(Number::parse("5e9"), Some(Number::Fraction(5e9)));
        assert_eq!(Number::parse("1.5"), Some(Number::Fraction(1.5)));
        for bad in ["", "-", "x", "0x", "0xg", "1x", "inf", "NaN", "--1"] {
            assert_eq!(Number::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn large_numbers_compare_exactly() {
        let matcher = Matcher::Number(Op::Eq, Number::Whole(i128::from(u64::MAX)));
        assert!(matcher.matches(Value::U64(u64::MAX)));
        assert!(!matcher.matches(Value::U64(u64::MAX - 1)));
        assert!(!matcher.matches(Value::I64(-1)));
        let less = Matcher::Number(Op::Lt, Number::Whole(0));
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
            Matcher::Number(Op::Ne, Number::Whole(1)),
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
