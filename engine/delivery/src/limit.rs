//! Limits by rule, on the event path: a rate of alerts, and no alert that repeats a recent one. Off unless configured;
//! dropped alerts are counted.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use plugin_host::{Alert, OwnedValue};

use super::bucket::Bucket;
use super::settings::Rate;

/// The most distinct alerts of one rule that are remembered; when there are more, all are forgotten.
const REMEMBERED: usize = 4096;

/// The limits of one rule.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct RuleLimit {
    /// Alerts a second.
    pub rate: Option<Rate>,
    /// How long after an alert the same one is dropped: same rule and same fields, except the time.
    pub deduplicate: Option<Duration>,
}

/// Whether an alert goes on to the outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It does.
    Pass,
    /// There were too many of its rule.
    Limited,
    /// It was there a moment ago.
    Duplicate,
}

/// The limits of all rules and their current state. Used by one thread.
#[derive(Debug, Default)]
pub struct RuleLimits {
    rules: Vec<Standing>,
}

#[derive(Debug, Default)]
struct Standing {
    bucket: Option<Bucket>,
    deduplicate_ns: Option<u64>,
    /// By what an alert says: when it was let through last.
    said: HashMap<u64, u64>,
}

impl RuleLimits {
    /// Limits, one for each rule in the order of their indices.
    #[must_use]
    pub fn new(limits: impl IntoIterator<Item = RuleLimit>) -> Self {
        let standing = |limit: RuleLimit| Standing {
            bucket: limit.rate.map(Bucket::new),
            deduplicate_ns: limit
                .deduplicate
                .map(|time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)),
            said: HashMap::new(),
        };
        Self {
            rules: limits.into_iter().map(standing).collect(),
        }
    }

    /// Judges an alert by the time of its event.
    pub fn judge(&mut self, rule: usize, alert: &Alert) -> Verdict {
        let Some(standing) = self.rules.get_mut(rule) else {
            return Verdict::Pass;
        };
        if let Some(time) = standing.deduplicate_ns
            && standing.is_repeated(alert, time)
        {
            return Verdict::Duplicate;
        }
        let bucket = standing.bucket.as_mut();
        if bucket.is_none_or(|bucket| bucket.take(alert.time_ns)) {
            Verdict::Pass
        } else {
            Verdict::Limited
        }
    }
}

impl Standing {
    fn is_repeated(&mut self, alert: &Alert, time: u64) -> bool {
        if self.said.len() >= REMEMBERED {
            let now = alert.time_ns;
            self.said.retain(|_, last| now.saturating_sub(*last) < time);
            if self.said.len() >= REMEMBERED {
                self.said.clear();
            }
        }
        match self.said.entry(what_it_says(alert)) {
            Entry::Occupied(last) if alert.time_ns.saturating_sub(*last.get()) < time => true,
            Entry::Occupied(mut last) => {
                last.insert(alert.time_ns);
                false
            }
            Entry::Vacant(place) => {
                place.insert(alert.time_ns);
                false
            }
        }
    }
}

/// The fields, without those that every event has anew.
fn what_it_says(alert: &Alert) -> u64 {
    let mut hasher = DefaultHasher::new();
    for (name, value) in &alert.fields {
        if !name.starts_with("evt.time") && !name.starts_with("evt.rawtime") && name != "evt.num" {
            name.hash(&mut hasher);
            hash(value, &mut hasher);
        }
    }
    hasher.finish()
}

fn hash(value: &OwnedValue, into: &mut DefaultHasher) {
    std::mem::discriminant(value).hash(into);
    match value {
        OwnedValue::None => {}
        OwnedValue::Bool(v) => v.hash(into),
        OwnedValue::I64(v) => v.hash(into),
        OwnedValue::U64(v) => v.hash(into),
        OwnedValue::F64(v) => v.to_bits().hash(into),
        OwnedValue::String(v) | OwnedValue::Bytes(v) => v.hash(into),
        OwnedValue::Ip(v) => v.hash(into),
        OwnedValue::List(v) => v.iter().for_each(|element| hash(element, into)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plugin_host::Priority;

    const SECOND: u64 = 1_000_000_000;

    fn alert(time_ns: u64, file: &str) -> Alert {
        Alert {
            time_ns,
            rule: "r".to_owned(),
            priority: Priority::Notice,
            source: "syscall".to_owned(),
            hostname: "box".to_owned(),
            tags: Vec::new(),
            text: format!("{time_ns} {file}"),
            json: String::new(),
            fields: vec![
                ("evt.time".to_owned(), OwnedValue::U64(time_ns)),
                ("fd.name".to_owned(), OwnedValue::String(file.into())),
            ],
            context: Vec::new(),
        }
    }

    #[test]
    fn without_limits_everything_passes() {
        let mut limits = RuleLimits::new([RuleLimit::default()]);
        assert!((0..1000).all(|at| limits.judge(0, &alert(at, "/a")) == Verdict::Pass));
        assert_eq!(
            limits.judge(7, &alert(0, "/a")),
            Verdict::Pass,
            "an unknown rule"
        );
    }

    #[test]
    fn the_same_alert_is_left_out_for_a_while_and_another_one_is_not() {
        let mut limits = RuleLimits::new([RuleLimit {
            deduplicate: Some(Duration::from_secs(10)),
            rate: None,
        }]);
        assert_eq!(limits.judge(0, &alert(0, "/a")), Verdict::Pass);
        assert_eq!(limits.judge(0, &alert(SECOND, "/a")), Verdict::Duplicate);
        assert_eq!(limits.judge(0, &alert(SECOND, "/b")), Verdict::Pass);
        assert_eq!(
            limits.judge(0, &alert(9 * SECOND, "/a")),
            Verdict::Duplicate
        );
        assert_eq!(limits.judge(0, &alert(10 * SECOND, "/a")), Verdict::Pass);
        assert_eq!(
            limits.judge(0, &alert(11 * SECOND, "/a")),
            Verdict::Duplicate
        );
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut limits = RuleLimits::new([RuleLimit {
            deduplicate: Some(Duration::from_secs(1)),
            rate: None,
        }]);
        for at in 0..3 * REMEMBERED as u64 {
            limits.judge(0, &alert(at, &at.to_string()));
            assert!(limits.rules[0].said.len() <= REMEMBERED);
        }
    }

    #[test]
    fn a_rate_is_by_rule() {
        let rate = Rate {
            per_second: 1.0,
            burst: 2,
        };
        let limit = RuleLimit {
            rate: Some(rate),
            deduplicate: None,
        };
        let mut limits = RuleLimits::new([limit, RuleLimit::default()]);
        let passed = |limits: &mut RuleLimits, rule, at| {
            (0..10)
                .filter(|_| limits.judge(rule, &alert(at, "/a")) == Verdict::Pass)
                .count()
        };
        assert_eq!(passed(&mut limits, 0, 1000 * SECOND), 2);
        assert_eq!(passed(&mut limits, 0, 1001 * SECOND), 1);
        assert_eq!(passed(&mut limits, 1, 1001 * SECOND), 10);
    }
}
