//! Counters of the rows.

use look::Tallied;

/// How long calls took, of those where it is known.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Times {
    calls: u64,
    total_ns: u64,
    longest_ns: u64,
}

impl Times {
    pub(crate) fn add(&mut self, ns: u64) {
        self.calls += 1;
        self.total_ns = self.total_ns.saturating_add(ns);
        self.longest_ns = self.longest_ns.max(ns);
    }

    /// The mean time, in nanoseconds.
    pub(crate) fn mean_ns(&self) -> Option<u64> {
        self.total_ns.checked_div(self.calls)
    }

    /// The time of the call that took longest, in nanoseconds.
    pub(crate) fn longest_ns(&self) -> Option<u64> {
        (self.calls > 0).then_some(self.longest_ns)
    }
}

/// Events, errors, and events in a second.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Count {
    pub(crate) events: u64,
    pub(crate) errors: u64,
    /// Events with a result. The others were seen at their entry alone.
    pub(crate) results: u64,
    /// Events in a second, since the tick before the last.
    pub(crate) rate: f64,
    /// Events at the last tick.
    before: u64,
    /// Ticks without an event.
    pub(crate) idle: u32,
}

impl Count {
    pub(crate) fn add(&mut self, outcome: Outcome) {
        self.events += 1;
        match outcome {
            Outcome::Unknown => {}
            Outcome::Good => self.results += 1,
            Outcome::Failed => {
                self.results += 1;
                self.errors += 1;
            }
        }
    }

    /// Adds another count to this one.
    pub(crate) fn join(&mut self, other: &Self) {
        self.events += other.events;
        self.errors += other.errors;
        self.results += other.results;
        self.before += other.before;
    }

    #[expect(clippy::cast_precision_loss, reason = "a rate is for people")]
    pub(crate) fn tick(&mut self, passed: Passed) {
        let new = self.events - self.before;
        self.before = self.events;
        self.idle = if new > 0 {
            0
        } else {
            self.idle.saturating_add(1)
        };
        self.rate = match passed {
            Passed::Since(seconds) if seconds > 0.0 => new as f64 / seconds,
            Passed::InAll(seconds) if seconds > 0.0 => self.events as f64 / seconds,
            Passed::Since(_) | Passed::InAll(_) => 0.0,
        };
    }

    /// Errors. None: the driver does not report results.
    pub(crate) fn known_errors(&self) -> Option<u64> {
        (self.results > 0 || self.events == 0).then_some(self.errors)
    }
}

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Good,
    Failed,
    /// The event has no result.
    Unknown,
}

/// What a rate is per.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Passed {
    /// Seconds since the last tick.
    Since(f64),
    /// Seconds that a recording lasted up to now.
    InAll(f64),
}

/// Events about a file or a connection, with the bytes that were moved.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Traffic {
    pub(crate) count: Count,
    pub(crate) read: u64,
    pub(crate) written: u64,
}

impl Tallied for Traffic {}

impl Traffic {
    pub(crate) fn join(&mut self, other: Self) {
        self.count.join(&other.count);
        self.read += other.read;
        self.written += other.written;
    }
}

/// Events of a container.
#[derive(Debug, Clone, Default)]
pub(crate) struct ContainerCount {
    pub(crate) count: Count,
    pub(crate) alerts: u64,
    /// Its name, image and runtime, as far as they are known.
    pub(crate) name: String,
    pub(crate) image: String,
    pub(crate) runtime: &'static str,
}

impl Tallied for ContainerCount {
    // each of its two texts has at most LONGEST bytes
    const BYTES: usize = size_of::<Self>() + 2 * crate::text::LONGEST;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_the_time_since_the_last_tick_or_of_all_time() {
        let mut count = Count::default();
        for _ in 0..10 {
            count.add(Outcome::Good);
        }
        count.tick(Passed::Since(2.0));
        assert!((count.rate - 5.0).abs() < 1e-9 && count.idle == 0);
        count.tick(Passed::Since(2.0));
        assert!(count.rate.abs() < 1e-9 && count.idle == 1);
        count.tick(Passed::InAll(4.0));
        assert!((count.rate - 2.5).abs() < 1e-9);
        count.tick(Passed::InAll(0.0));
        assert!(count.rate.abs() < 1e-9);
    }

    #[test]
    fn errors_are_unknown_where_no_event_has_a_result() {
        let mut count = Count::default();
        assert_eq!(count.known_errors(), Some(0));
        count.add(Outcome::Unknown);
        assert_eq!(count.known_errors(), None);
        count.add(Outcome::Failed);
        assert_eq!(count.known_errors(), Some(1));
    }
}
