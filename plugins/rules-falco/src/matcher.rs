//! One comparison, ready to run: the operator and its values in the form that compares fastest.

use std::cmp::Ordering;
use std::net::IpAddr;

use lanner_plugin::Value;
use memchr::memmem::Finder;

use crate::ast::{Op, Quantifier};
use crate::glob;

/// Compares one value. A value of another type than expected, or none, does not fit: not even `!=`.
#[derive(Debug)]
pub(crate) enum Matcher {
    Exists,
    Text(TextMatcher),
    /// Only texts and buffers; the opposite of what is inside.
    NotText(TextMatcher),
    TextOrder(Op, Box<[u8]>),
    Number(Op, Number),
    NumberIn(Box<[Number]>),
    Bool(Box<[bool]>),
    NotBool(bool),
    Ip(Box<[IpRange]>),
    NotIp(IpRange),
    /// The value's type is known only now: whichever fits.
    Dynamic(Vec<Matcher>),
    Quantified(Quantifier, Vec<Matcher>),
}

/// Comparisons of texts and buffers.
#[derive(Debug)]
pub(crate) enum TextMatcher {
    Equal(Box<[u8]>),
    In(TextSet),
    Prefix(Box<[u8]>),
    Suffix(Box<[u8]>),
    Contains(Box<Finder<'static>>),
    /// The pattern is in lower case.
    ContainsFolded(Box<[u8]>),
    Glob(Box<[u8]>, bool),
    PathPrefix(Box<[Box<[u8]>]>),
}

/// Texts to look up, sorted by length and then by bytes.
#[derive(Debug)]
pub(crate) struct TextSet {
    texts: Box<[Box<[u8]>]>,
    /// Bit n: there is a text of length n (63: or longer). Most look-ups end here.
    lengths: u64,
}

/// A number in a condition.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Number {
    Whole(i128),
    Fraction(f64),
}

/// An address, or all that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct IpRange {
    address: IpAddr,
    bits: u8,
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
            Self::NumberIn(numbers) => Number::of(value).is_some_and(|value| {
                let equal = |number: &Number| value.compare(*number) == Some(Ordering::Equal);
                numbers.iter().any(equal)
            }),
            Self::Bool(values) => matches!(value, Value::Bool(value) if values.contains(&value)),
            Self::NotBool(not) => matches!(value, Value::Bool(value) if value != *not),
            Self::Ip(ranges) => {
                matches!(value, Value::Ip(ip) if ranges.iter().any(|range| range.contains(ip)))
            }
            Self::NotIp(range) => matches!(value, Value::Ip(ip) if !range.contains(ip)),
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
            Self::Equal(expected) => text == &**expected,
            Self::In(set) => set.contains(text),
            Self::Prefix(prefix) => text.starts_with(prefix),
            Self::Suffix(suffix) => text.ends_with(suffix),
            Self::Contains(finder) => finder.find(text).is_some(),
            Self::ContainsFolded(wanted) => {
                wanted.is_empty()
                    || text
                        .windows(wanted.len())
                        .any(|window| window.eq_ignore_ascii_case(wanted))
            }
            Self::Glob(pattern, fold) => glob::matches(pattern, text, *fold),
            Self::PathPrefix(patterns) => patterns
                .iter()
                .any(|pattern| glob::path_prefix(pattern, text)),
        }
    }
}

impl TextSet {
    pub(crate) fn new(texts: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let mut texts: Vec<Box<[u8]>> = texts.into_iter().map(Vec::into_boxed_slice).collect();
        texts.sort_unstable_by(|a, b| order(a, b));
        texts.dedup();
        Self {
            lengths: texts.iter().fold(0, |bits, text| bits | length_bit(text)),
            texts: texts.into_boxed_slice(),
        }
    }

    fn contains(&self, text: &[u8]) -> bool {
        self.lengths & length_bit(text) != 0
            && self
                .texts
                .binary_search_by(|candidate| order(candidate, text))
                .is_ok()
    }
}

fn order(a: &[u8], b: &[u8]) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

fn length_bit(text: &[u8]) -> u64 {
    1 << text.len().min(63)
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

impl IpRange {
    /// `address` or `address/bits`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(bits) => bits.parse().ok().filter(|bits| *bits <= most)?,
            None => most,
        };
        Some(Self { address, bits })
    }

    fn contains(&self, ip: IpAddr) -> bool {
        // An IPv4 address seen through an IPv6 socket is the same address.
        match (self.address, ip.to_canonical()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                let differ = u128::from(u32::from(a) ^ u32::from(b)) << 96;
                differ.leading_zeros() >= u32::from(self.bits)
            }
            (IpAddr::V6(a), _) => {
                let IpAddr::V6(b) = ip else { return false };
                let differ = u128::from(a) ^ u128::from(b);
                differ.leading_zeros() >= u32::from(self.bits)
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
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
    fn a_value_of_another_type_never_fits() {
        let matchers = [
            Matcher::Number(Op::Ne, Number::Whole(1)),
            Matcher::NotBool(true),
            Matcher::NotText(TextMatcher::Equal((*b"x").into())),
        ];
        for matcher in matchers {
            assert!(!matcher.matches(Value::None));
            assert!(!matcher.matches(Value::Ip(IpAddr::from([1, 1, 1, 1]))));
        }
    }

    #[test]
    fn ranges_of_addresses() {
        let contains = |range: &str, ip: &str| {
            let range = IpRange::parse(range).unwrap();
            range.contains(ip.parse().unwrap())
        };
        assert!(contains("10.0.0.0/8", "10.255.0.1"));
        assert!(!contains("10.0.0.0/8", "11.0.0.1"));
        assert!(contains("0.0.0.0/0", "192.0.2.1"));
        assert!(contains("192.0.2.1", "192.0.2.1"));
        assert!(!contains("192.0.2.1", "192.0.2.2"));
        assert!(contains("fe80::/10", "fe80::1"));
        assert!(!contains("::/0", "192.0.2.1"));
        assert!(contains("127.0.0.0/8", "::ffff:127.0.0.1"));
        assert!(IpRange::parse("10.0.0.0/33").is_none());
        assert!(IpRange::parse("10.0.0").is_none());
    }

    #[test]
    fn a_set_finds_what_is_in_it_and_nothing_else() {
        let long = "x".repeat(80);
        let texts = ["bash", "sh", "", "zsh", &long];
        let set = TextSet::new(texts.iter().map(|text| text.as_bytes().to_vec()));
        for text in texts {
            assert!(set.contains(text.as_bytes()), "{text}");
        }
        for text in ["ash", "s", "bashx", "y", &"x".repeat(81)] {
            assert!(!set.contains(text.as_bytes()), "{text}");
        }
    }
}
