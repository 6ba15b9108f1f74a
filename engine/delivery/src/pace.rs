//! How an output is called: how long to pause after a failure, and how many alerts to offer at once.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use super::BATCH;

/// How many alerts the first call has.
const FIRST: usize = 32;

/// See the module.
#[derive(Debug)]
pub(super) struct Pace {
    /// The first pause, and the longest.
    pauses: (Duration, Duration),
    next: Duration,
    /// A call that takes longer has too many alerts.
    long: Duration,
    /// How many alerts to offer at once.
    batch: usize,
    /// The last call that was too long: its alerts and its time.
    slow: Option<(usize, Duration)>,
    /// Fewer alerts took as long.
    fixed: bool,
    random: RandomState,
    drawn: u64,
}

impl Pace {
    pub(super) fn new(pauses: (Duration, Duration), deadline: Duration) -> Self {
        Self {
            pauses,
            next: pauses.0,
            long: deadline / 2,
            batch: FIRST,
            slow: None,
            fixed: false,
            random: RandomState::new(),
            drawn: 0,
        }
    }

    /// How many alerts to offer at once.
    pub(super) fn batch(&self) -> usize {
        self.batch
    }

    /// The output works.
    pub(super) fn worked(&mut self) {
        self.next = self.pauses.0;
    }

    /// The pause after a failure. It doubles with each failure in which no alert was delivered. A fifth of it is random,
    /// so that many hosts that wait for one receiver do not all come back at the same time.
    pub(super) fn pause(&mut self, delivered: bool) -> Duration {
        if delivered {
            // The receiver takes alerts, but not as fast as they come.
            self.next = (self.next / 2).max(self.pauses.0);
        }
        let pause = self.next;
        self.next = (self.next * 2).min(self.pauses.1.max(self.pauses.0));
        self.drawn += 1;
        let random = u32::try_from(self.random.hash_one(self.drawn) % 1024).unwrap_or(0);
        pause - pause / 5 * random / 1024
    }

    /// A call took this time for this number of alerts. A plugin that takes long for each alert gets fewer at once, so that
    /// the call does not exceed the deadline.
    pub(super) fn took(&mut self, alerts: usize, time: Duration) {
        if time < self.long / 4 {
            self.batch = (self.batch * 2).min(BATCH);
            return;
        }
        if time < self.long || alerts == 0 || self.fixed {
            return;
        }
        match self.slow {
            Some((before, took)) if alerts <= before / 2 && time > took / 4 * 3 => {
                self.fixed = true;
                self.batch = BATCH;
            }
            _ => {
                self.slow = Some((alerts, time));
                self.batch = (alerts / 2).max(1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn pace() -> Pace {
        Pace::new((SECOND, SECOND * 8), SECOND * 10)
    }

    #[test]
    fn pauses_grow_while_nothing_is_delivered() {
        let mut pace = pace();
        let mut check = |delivered, seconds: u32| {
            let pause = pace.pause(delivered);
            let most = SECOND * seconds;
            assert!(pause <= most && pause >= most / 5 * 4, "{pause:?} {most:?}");
        };
        for seconds in [1, 2, 4, 8, 8] {
            check(false, seconds);
        }
        // A receiver that takes one alert at a time is not asked at full speed.
        for _ in 0..3 {
            check(true, 4);
        }
        check(false, 8);
        pace.worked();
        assert!(pace.pause(false) <= SECOND);
    }

    #[test]
    fn who_is_slow_with_each_alert_gets_fewer_at_once() {
        let mut pace = pace();
        let each = Duration::from_millis(100);
        for _ in 0..20 {
            let batch = u32::try_from(pace.batch()).unwrap();
            pace.took(pace.batch(), each * batch);
        }
        assert!((12..=50).contains(&pace.batch()), "{}", pace.batch());
        pace.took(pace.batch(), each);
        assert!(pace.batch() > 12);
    }

    #[test]
    fn who_is_slow_whatever_the_number_gets_all() {
        let mut pace = pace();
        for _ in 0..20 {
            pace.took(pace.batch(), SECOND * 6);
        }
        assert_eq!(pace.batch(), BATCH);
    }
}
