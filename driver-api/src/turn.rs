//! How long one poll hands over events.

use std::time::{Duration, Instant};

/// How long one poll hands over events while more of them wait (clause 15 of the contract in
/// [`driver`](crate::driver)).
pub const TURN: Duration = Duration::from_millis(50);

/// How many events pass between two looks at the clock.
const BETWEEN_LOOKS: u32 = 8;

/// The time in which a poll hands over events. Under overload, events come faster than they are consumed, and whoever
/// polls has other things to do: signals, health, losses.
#[derive(Debug)]
pub struct Turn {
    until: Instant,
    events: u32,
}

impl Turn {
    /// Begins now.
    #[must_use]
    pub fn begin() -> Self {
        Self {
            until: Instant::now() + TURN,
            events: 0,
        }
    }

    /// Counts an event. Returns whether the remaining ones have to wait for the next poll.
    #[inline]
    pub fn is_over(&mut self) -> bool {
        self.events = self.events.wrapping_add(1);
        self.events.is_multiple_of(BETWEEN_LOOKS) && Instant::now() >= self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_ends_when_its_time_is_over_and_not_before() {
        let mut turn = Turn::begin();
        while !turn.is_over() {}
        assert!(Instant::now() >= turn.until);
        assert!((0..BETWEEN_LOOKS).any(|_| turn.is_over()));
    }
}
