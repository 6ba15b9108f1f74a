//! Numbers in conditions.

use std::cmp::Ordering;

use lanner_plugin::Value;

/// A number in a condition.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Number {
    Whole(i128),
    Fraction(f64),
}

/// Numbers to look up.
#[derive(Debug)]
pub(crate) struct NumberSet {
    /// Sorted.
    whole: Box<[i128]>,
    fractions: Box<[f64]>,
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

    pub(crate) fn contains(&self, value: Number) -> bool {
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
    /// The number that a value is.
    pub(crate) fn of(value: Value<'_>) -> Option<Self> {
        match value {
            Value::I64(value) => Some(Self::Whole(value.into())),
            Value::U64(value) => Some(Self::Whole(value.into())),
            Value::F64(value) => Some(Self::Fraction(value)),
            Value::None
            | Value::Bool(_)
            | Value::String(_)
            | Value::Bytes(_)
            | Value::Ip(_)
            | Value::List(_) => None,
        }
    }

    pub(crate) fn compare(self, other: Self) -> Option<Ordering> {
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

    /// Decimal, `0x` hexadecimal, or with a fraction or an exponent; with or without a sign. Blanks may come before it, as in
    /// scanf(3).
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = without_blanks(text);
        let (digits, negative) = match text.strip_prefix('-') {
            Some(rest) => (rest, true),
            None => (text.strip_prefix('+').unwrap_or(text), false),
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

/// A text without the blanks that it begins with, as isspace(3) has them.
pub(crate) fn without_blanks(text: &str) -> &str {
    text.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '\x0b')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_falco_reads_them() {
        assert_eq!(Number::parse("22"), Some(Number::Whole(22)));
        assert_eq!(Number::parse("-1"), Some(Number::Whole(-1)));
        assert_eq!(Number::parse("+5"), Some(Number::Whole(5)));
        assert_eq!(Number::parse("0x1F"), Some(Number::Whole(31)));
        assert_eq!(Number::parse(" \t\x0b5"), Some(Number::Whole(5)));
        assert_eq!(Number::parse("5e9"), Some(Number::Fraction(5e9)));
        assert_eq!(Number::parse("1.5"), Some(Number::Fraction(1.5)));
        for bad in [
            "", "-", "x", "0x", "0xg", "1x", "inf", "NaN", "--1", "+-1", "5 ", "- 5",
        ] {
            assert_eq!(Number::parse(bad), None, "{bad}");
        }
    }
}
