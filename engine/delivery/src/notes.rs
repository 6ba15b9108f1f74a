//! Log lines about an output that fails. The first failure is reported at once. After that, one line a minute counts those
//! that followed.

use std::time::{Duration, Instant};

/// The time between two lines.
const INTERVAL: Duration = Duration::from_secs(60);

/// Failures of one kind.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// Not before this time.
    next: Option<Instant>,
    /// What no line has counted yet.
    untold: usize,
    /// The last reason, without a line of its own.
    reason: String,
    /// The log says that the output fails.
    failing: bool,
}

impl Notes {
    /// Counts failures. Returns their number and the reason if a line is due.
    pub(super) fn add(&mut self, now: Instant, count: usize, reason: String) -> Option<Line> {
        self.untold += count;
        self.reason = reason;
        if self.next.is_some_and(|next| now < next) {
            return None;
        }
        self.next = Some(now + INTERVAL);
        self.failing = true;
        self.rest()
    }

    /// Failures that no line has counted.
    pub(super) fn rest(&mut self) -> Option<Line> {
        let count = std::mem::take(&mut self.untold);
        let reason = std::mem::take(&mut self.reason);
        (count > 0).then_some(Line { count, reason })
    }

    /// The output works. Returns whether a line should say so.
    pub(super) fn works(&mut self) -> bool {
        std::mem::take(&mut self.failing)
    }
}

/// What a line says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Failures since the last line.
    pub(super) count: usize,
    /// The reason for the last one.
    pub(super) reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_has_a_line_and_those_of_a_minute_share_one() {
        let mut notes = Notes::default();
        let begin = Instant::now();
        let line = |count, reason: &str| {
            let reason = reason.to_owned();
            Some(Line { count, reason })
        };
        let mut add = |seconds, reason: &str| {
            notes.add(begin + Duration::from_secs(seconds), 2, reason.to_owned())
        };
        assert_eq!(add(0, "a"), line(2, "a"));
        assert_eq!(add(1, "b"), None);
        assert_eq!(add(59, "c"), None);
        assert_eq!(add(60, "d"), line(6, "d"));
        assert_eq!(add(61, "e"), None);
        assert!(notes.works());
        assert!(!notes.works());
        assert_eq!(notes.rest(), line(2, "e"));
        assert_eq!(notes.rest(), None);
    }
}
