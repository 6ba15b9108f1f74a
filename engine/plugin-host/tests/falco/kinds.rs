//! The kinds of differences, and those that are accepted: docs/rules.md lists them with their reasons.

use std::collections::BTreeMap;

/// How lanner differs from Falco.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// lanner refuses what Falco takes.
    Narrower,
    /// The same with `strict_falco`.
    StrictNarrower,
    /// lanner takes what Falco refuses, even with `strict_falco`.
    Wider,
    /// Both refuse it, for different reasons.
    Codes,
    /// Both take it, with different warnings.
    Warnings,
    /// Both take it, but the condition becomes another one.
    Condition,
    /// A condition matches other values.
    Match,
}

/// Codes that Falco does not have.
pub(crate) const OWN_CODES: &[&str] = &[
    "LOAD_LEFT_OUT",
    "LOAD_ORDER",
    "LOAD_EMPTY_FIELD",
    "LOAD_WRAPPED_NUMBER",
    "LOAD_UNTRUSTED_FILE",
];

/// Differences by name, each listed in docs/rules.md.
const ACCEPTED: &[(&str, Kind)] = &[];

/// Compared answers.
#[derive(Debug, Default)]
pub(crate) struct Report {
    compared: usize,
    differences: BTreeMap<Kind, Vec<String>>,
}

impl Report {
    pub(crate) fn add(&mut self, name: &str, difference: Option<(Kind, String)>) {
        self.compared += 1;
        if let Some((kind, text)) = difference
            && !ACCEPTED.contains(&(name, kind))
        {
            let all = self.differences.entry(kind).or_default();
            all.push(format!("{name}: {text}"));
        }
    }

    /// Prints the agreement, and fails if a difference is not accepted.
    pub(crate) fn finish(self) {
        let count: usize = self.differences.values().map(Vec::len).sum();
        eprintln!("{} of {} agree", self.compared - count, self.compared);
        for (kind, differences) in &self.differences {
            eprintln!("{kind:?}: {}", differences.len());
            for difference in differences {
                eprintln!("  {kind:?} {difference}");
            }
        }
        assert_eq!(count, 0, "differences that are not accepted");
    }
}
