//! Alerts by rule. One thread counts, any may read.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use delivery::Verdict;
use plugin_host::{Priority, Rule};

/// The counters of all rules, in the order of their indices.
#[derive(Debug, Default)]
pub(crate) struct Board {
    rules: Vec<RuleCount>,
    /// The rule files that were loaded, and their SHA-256 sums.
    pub(crate) rule_sums: Vec<(String, String)>,
    /// The configuration files.
    pub(crate) config_sums: Vec<(String, String)>,
}

/// The counters of a rule.
#[derive(Debug)]
pub(crate) struct RuleCount {
    /// Its name.
    pub name: String,
    /// How serious a match is.
    pub priority: Priority,
    /// The source of its events.
    pub source: String,
    /// Its tags.
    pub tags: Vec<String>,
    matches: AtomicU64,
    limited: AtomicU64,
    duplicates: AtomicU64,
}

impl Board {
    /// Counters for these rules. A rule that was counted before keeps its counts.
    #[must_use]
    pub(crate) fn new(rules: &[Rule], before: &Self) -> Self {
        let count = |rule: &Rule| {
            let old = before.rules.iter().find(|old| old.name == rule.name);
            let from = |counter: fn(&RuleCount) -> &AtomicU64| {
                AtomicU64::new(old.map_or(0, |old| counter(old).load(Relaxed)))
            };
            RuleCount {
                name: rule.name.clone(),
                priority: rule.priority,
                source: rule.source.clone(),
                tags: rule.tags.clone(),
                matches: from(|old| &old.matches),
                limited: from(|old| &old.limited),
                duplicates: from(|old| &old.duplicates),
            }
        };
        Self {
            rules: rules.iter().map(count).collect(),
            ..Self::default()
        }
    }

    /// With the sums of the files that were loaded: names and sums of rule files, and of configuration files.
    #[must_use]
    pub(crate) fn with_sums(
        self,
        rule_sums: Vec<(String, String)>,
        config_sums: Vec<(String, String)>,
    ) -> Self {
        Self {
            rule_sums,
            config_sums,
            ..self
        }
    }

    /// A rule matched, and its alert was judged.
    pub(crate) fn count(&self, rule: usize, verdict: Verdict) {
        let Some(rule) = self.rules.get(rule) else {
            return;
        };
        rule.matches.fetch_add(1, Relaxed);
        match verdict {
            Verdict::Pass => {}
            Verdict::Limited => drop(rule.limited.fetch_add(1, Relaxed)),
            Verdict::Duplicate => drop(rule.duplicates.fetch_add(1, Relaxed)),
        }
    }

    /// The rules: matches, alerts left out by a rate, and as duplicates.
    pub(crate) fn rules(&self) -> impl Iterator<Item = (&RuleCount, [u64; 3])> {
        self.rules.iter().map(|rule| {
            let counts = [&rule.matches, &rule.limited, &rule.duplicates];
            (rule, counts.map(|counter| counter.load(Relaxed)))
        })
    }
}
