//! How calls end, as far as predicates tell it apart.

use std::fmt;

pub use crate::plan::outcome as bits;
use crate::table::SYMBOL_SETS;

/// A set of ways in which a call can end.
///
/// The interpreters of the plan in the kernel tell the same ways apart (`outcome_of` in driver-ebpf/bpf/predicate.h).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Outcome(u8);

impl Outcome {
    /// No way.
    pub const NONE: Self = Self(0);
    /// Without an error.
    pub const OK: Self = Self(bits::OK);
    /// There is no such file: `ENOENT`.
    pub const NOT_FOUND: Self = Self(bits::NOT_FOUND);
    /// The kernel refused: `EPERM`, `EACCES`, `EROFS`.
    pub const REFUSED: Self = Self(bits::REFUSED);
    /// It goes on without the program: `EINPROGRESS`.
    pub const BEGUN: Self = Self(bits::BEGUN);
    /// Another error. A call that a signal has interrupted ends so, or is made again.
    pub const OTHER_ERROR: Self = Self(bits::OTHER_ERROR);
    /// The event says nothing of how the call ends: it has not ended yet, or does not return.
    pub const UNFINISHED: Self = Self(1 << 7);
    /// With an error: the result is between -4095 and -1.
    pub const FAILED: Self =
        Self(bits::NOT_FOUND | bits::REFUSED | bits::BEGUN | bits::OTHER_ERROR);
    /// With or without an error.
    pub const FINISHED: Self = Self(bits::OK | Self::FAILED.0);
    /// Any way.
    pub const ANY: Self = Self(Self::FINISHED.0 | Self::UNFINISHED.0);

    /// The ways in which a call can finish, each with its errors. Other errors than these are [`OTHER_ERROR`](Self::OTHER_ERROR).
    pub const WAYS: [(Self, &[u16]); 5] = [
        (Self::OK, &[]),
        (Self::NOT_FOUND, &[2]),
        (Self::REFUSED, &[1, 13, 30]),
        (Self::BEGUN, &[115]),
        (Self::OTHER_ERROR, &[]),
    ];

    /// How a call ended that returned this.
    #[must_use]
    pub fn of(result: i64) -> Self {
        // IS_ERR_VALUE in include/linux/err.h
        if !(-4095..0).contains(&result) {
            return Self::OK;
        }
        let is = |error: &u16| i64::from(*error) == -result;
        let way = Self::WAYS.iter().find(|(_, errors)| errors.iter().any(is));
        way.map_or(Self::OTHER_ERROR, |(way, _)| *way)
    }

    /// The bits of [`bits`].
    #[must_use]
    pub fn bits(self) -> u8 {
        self.0 & Self::FINISHED.0
    }

    /// The ways that are in either set.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The ways that are in both sets. None: there are none.
    #[must_use]
    pub fn and(self, other: Self) -> Option<Self> {
        let both = Self(self.0 & other.0);
        (both != Self::NONE).then_some(both)
    }

    /// Whether all ways of the other set are in this one.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether a call has ended so, as far as it is known.
    #[must_use]
    pub fn holds(self, result: Option<i64>) -> bool {
        result.is_none_or(|result| self.covers(Self::of(result)))
    }
}

impl Default for Outcome {
    fn default() -> Self {
        Self::ANY
    }
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Outcome({self})")
    }
}

/// As a person reads it: `no error or ENOENT`. Empty: in any way.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.covers(Self::FINISHED) {
            return Ok(());
        }
        let mut words = Vec::new();
        if self.covers(Self::OK) {
            words.push("no error");
        }
        if self.covers(Self::FAILED) {
            words.push("an error");
        } else {
            let ways = Self::WAYS.iter().filter(|(way, _)| self.covers(*way));
            words.extend(
                ways.flat_map(|(_, errors)| errors.iter().copied())
                    .map(name),
            );
            if self.covers(Self::OTHER_ERROR) {
                words.push("another error");
            }
        }
        if words.is_empty() {
            words.push("no result");
        }
        f.write_str(&words.join(" or "))
    }
}

fn name(errno: u16) -> &'static str {
    let set = SYMBOL_SETS.iter().find(|set| set.name == "errno");
    let mut values = set.iter().flat_map(|set| set.values);
    let named = values.find(|(value, _)| *value == u64::from(errno));
    named.map_or("an unnamed error", |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_result_ends_in_one_way() {
        let ways: Vec<Outcome> = Outcome::WAYS.iter().map(|(way, _)| *way).collect();
        for result in [
            i64::MIN,
            -4096,
            -4095,
            -516,
            -115,
            -4,
            -2,
            -1,
            0,
            3,
            i64::MAX,
        ] {
            let held = ways.iter().filter(|way| way.holds(Some(result)));
            assert_eq!(held.count(), 1, "{result}");
            assert!(Outcome::FINISHED.holds(Some(result)) && Outcome::NONE.holds(None));
            assert!(!Outcome::UNFINISHED.holds(Some(result)));
            assert_eq!(
                Outcome::FAILED.holds(Some(result)),
                (-4095..0).contains(&result)
            );
        }
        for (result, way) in [
            (-2, Outcome::NOT_FOUND),
            (-1, Outcome::REFUSED),
            (-13, Outcome::REFUSED),
            (-30, Outcome::REFUSED),
            (-115, Outcome::BEGUN),
            (-4, Outcome::OTHER_ERROR),
        ] {
            assert_eq!(Outcome::of(result), way);
        }
    }

    #[test]
    fn it_can_be_read() {
        for (outcome, expected) in [
            (Outcome::ANY, ""),
            (Outcome::FINISHED, ""),
            (Outcome::OK, "no error"),
            (Outcome::FAILED, "an error"),
            (
                Outcome::OK.or(Outcome::REFUSED),
                "no error or EPERM or EACCES or EROFS",
            ),
            (
                Outcome::BEGUN.or(Outcome::OTHER_ERROR),
                "EINPROGRESS or another error",
            ),
            (Outcome::NONE, "no result"),
        ] {
            assert_eq!(outcome.to_string(), expected);
        }
    }
}
