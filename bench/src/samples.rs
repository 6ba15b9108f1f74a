//! Measurements, and the figures that are computed from them: medians over rounds.
//!
//! The time that a contestant adds is computed within each round: its time minus the time of the same load alone in that
//! round. The figure is the median of these differences. So a machine that becomes slower from round to round does not
//! distort it.

use std::collections::BTreeMap;

use crate::tracer::Counters;
use crate::workshop::Load;

/// Fewer events than this give no reliable figure.
const MIN_EVENTS: u64 = 10_000;

/// One measurement.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// Nanoseconds per iteration.
    pub(crate) ns: f64,
    /// The counters of lanner's consumer for this measurement.
    pub(crate) counters: Option<Counters>,
}

/// All measurements of one part, by load, contestant and round.
#[derive(Debug, Default)]
pub(crate) struct Samples(BTreeMap<(Load, String), BTreeMap<usize, Sample>>);

impl Samples {
    pub(crate) fn add(&mut self, load: Load, contestant: &str, round: usize, sample: Sample) {
        self.0
            .entry((load, contestant.to_owned()))
            .or_default()
            .insert(round, sample);
    }

    fn of(&self, load: Load, contestant: &str) -> Option<&BTreeMap<usize, Sample>> {
        self.0.get(&(load, contestant.to_owned()))
    }

    /// The median time of one iteration, in nanoseconds.
    pub(crate) fn time(&self, load: Load, contestant: &str) -> Option<f64> {
        median(self.of(load, contestant)?.values().map(|s| s.ns).collect())
    }

    /// The median of the nanoseconds that a contestant adds to one iteration, compared with `base`.
    pub(crate) fn added(&self, load: Load, contestant: &str, base: &str) -> Option<f64> {
        median(self.differences(load, contestant, base)?)
    }

    /// The quartiles of the added time: a quarter of the rounds added less than the first, a quarter more than the second.
    pub(crate) fn quartiles(&self, load: Load, contestant: &str, base: &str) -> Option<(f64, f64)> {
        let mut differences = self.differences(load, contestant, base)?;
        differences.sort_by(f64::total_cmp);
        let at = |part: usize| differences.get((differences.len() - 1) * part / 4).copied();
        Some((at(1)?, at(3)?))
    }

    fn differences(&self, load: Load, contestant: &str, base: &str) -> Option<Vec<f64>> {
        let base = self.of(load, base)?;
        let differences: Vec<f64> = self
            .of(load, contestant)?
            .iter()
            .filter_map(|(round, sample)| Some(sample.ns - base.get(round)?.ns))
            .collect();
        (!differences.is_empty()).then_some(differences)
    }

    /// The time that one contestant adds, as a multiple of what another adds (each to its own base). None if the time that
    /// the other adds cannot be distinguished from 0.
    pub(crate) fn ratio(&self, load: Load, one: (&str, &str), other: (&str, &str)) -> Option<f64> {
        let (at_least, _) = self.quartiles(load, other.0, other.1)?;
        let other = self.added(load, other.0, other.1)?;
        let one = self.added(load, one.0, one.1)?;
        (at_least > 0.0).then_some(one / other)
    }

    /// The consumer's counters, added up over all rounds.
    pub(crate) fn counters(&self, load: Load, contestant: &str) -> Option<Counters> {
        let mut sum = Counters::default();
        for sample in self.of(load, contestant)?.values() {
            let counters = sample.counters?;
            sum.events += counters.events;
            sum.lost += counters.lost;
            sum.malformed += counters.malformed;
            sum.cpu_ns += counters.cpu_ns;
        }
        Some(sum)
    }

    /// The CPU time of the consumer for one event, in nanoseconds. None if there were too few events.
    pub(crate) fn cpu_per_event(&self, load: Load, contestant: &str) -> Option<f64> {
        let sum = self.counters(load, contestant)?;
        (sum.events >= MIN_EVENTS).then(|| sum.cpu_ns as f64 / sum.events as f64)
    }
}

/// The middle value, or the mean of the two in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    Some(if values.len().is_multiple_of(2) {
        f64::midpoint(values[middle - 1], upper)
    } else {
        upper
    })
}

/// The order of a round. Each item comes once. Rounds differ, and every run has the same orders.
pub(crate) fn shuffled<T>(mut items: Vec<T>, round: usize) -> Vec<T> {
    // xorshift64 (Marsaglia 2003)
    let mut state = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(round as u64 + 1);
    for at in (1..items.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        items.swap(at, usize::try_from(state % (at as u64 + 1)).unwrap_or(0));
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(ns: f64) -> Sample {
        Sample { ns, counters: None }
    }

    #[test]
    fn what_is_added_is_the_median_of_the_differences_within_rounds() {
        let mut samples = Samples::default();
        // the machine becomes slower from round to round; the difference stays 5, once it is 50
        for (round, (alone, more)) in [(10.0, 5.0), (20.0, 5.0), (40.0, 50.0)].iter().enumerate() {
            samples.add(Load::Getpid, "alone", round, sample(*alone));
            samples.add(Load::Getpid, "it", round, sample(alone + more));
        }
        assert_eq!(samples.added(Load::Getpid, "it", "alone"), Some(5.0));
        assert_eq!(samples.time(Load::Getpid, "alone"), Some(20.0));
        assert_eq!(samples.added(Load::Open, "it", "alone"), None);
    }

    #[test]
    fn there_is_no_ratio_to_a_contestant_that_adds_nothing() {
        let mut samples = Samples::default();
        for (name, ns) in [
            ("alone", 10.0),
            ("free", 9.0),
            ("two", 12.0),
            ("four", 14.0),
        ] {
            samples.add(Load::Getpid, name, 0, sample(ns));
        }
        let ratio = |one, other| samples.ratio(Load::Getpid, (one, "alone"), (other, "alone"));
        assert_eq!(ratio("two", "four"), Some(0.5));
        assert_eq!(ratio("two", "free"), None);
    }

    #[test]
    fn a_median_is_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(Vec::new()), None);
    }

    #[test]
    fn every_round_has_each_contestant_once() {
        let orders: Vec<Vec<u8>> = (0..8)
            .map(|round| shuffled((0..6).collect(), round))
            .collect();
        for order in &orders {
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2, 3, 4, 5]);
        }
        assert!(orders.windows(2).any(|pair| pair[0] != pair[1]));
    }
}
