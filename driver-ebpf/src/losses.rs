//! Reports lost events: a counter in the kernel that has grown becomes an event.

use driver_api::driver::Flow;
use driver_api::event::layout::LOST_CALLS;
use driver_api::event::{Event, EventBuilder, EventKind, Header, Loss};
use driver_start::monotonic_ns;

/// The counters of lost events, and what of them is reported.
#[derive(Debug)]
pub struct Losses {
    counted: [u64; Loss::ALL.len()],
    reported: [u64; Loss::ALL.len()],
    /// Births, execs and ends among those that are counted.
    lives: u64,
    /// Some of these are not reported yet.
    some_lives: bool,
    builder: EventBuilder,
}

impl Default for Losses {
    fn default() -> Self {
        Self {
            counted: [0; Loss::ALL.len()],
            reported: [0; Loss::ALL.len()],
            lives: 0,
            some_lives: false,
            builder: EventBuilder::new(),
        }
    }
}

impl Losses {
    /// Events lost so far, by cause.
    pub fn counted(&self) -> [u64; Loss::ALL.len()] {
        self.counted
    }

    /// How many of the lost events may be births, execs or ends, as of the last report.
    pub fn lives(&self) -> u64 {
        self.lives
    }

    /// Whether births, execs or ends were lost whose cause was not counted yet at the last report.
    pub fn owes_report(&self) -> bool {
        self.some_lives
    }

    /// Takes the counters as they are now, `lives` among them (see [`lives`](Self::lives)), and delivers an event for
    /// each cause that has grown. Returns how many events it has delivered.
    pub fn report(
        &mut self,
        counted: [u64; Loss::ALL.len()],
        lives: u64,
        sink: &mut dyn FnMut(Event<'_>) -> Flow,
    ) -> usize {
        self.counted = counted;
        let mut delivered = 0;
        // the counters are not read at the same moment
        self.some_lives |= lives != self.lives;
        self.lives = lives;
        for (at, cause) in Loss::ALL.into_iter().enumerate() {
            let new = counted[at].saturating_sub(self.reported[at]);
            if new == 0 {
                continue;
            }
            self.reported[at] = counted[at];
            let mut args = [0; 6];
            args[0] = new;
            args[1] = cause as u64;
            if !self.some_lives {
                args[2] = LOST_CALLS;
            }
            self.builder.begin(&Header {
                kind: EventKind::Lost as u8,
                time_ns: monotonic_ns(),
                args,
                ..Header::default()
            });
            if let Ok(event) = self.builder.finish() {
                delivered += 1;
                if sink(event) == Flow::Stop {
                    // another report follows
                    return delivered;
                }
            }
        }
        if delivered > 0 {
            self.some_lives = false;
        }
        delivered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is reported: how many, and whether they are calls alone.
    fn reported(losses: &mut Losses, full: u64, lives: u64) -> Vec<(u64, bool)> {
        let mut counted = [0; Loss::ALL.len()];
        counted[Loss::BufferFull as usize] = full;
        let mut seen = Vec::new();
        losses.report(counted, lives, &mut |event| {
            seen.push((event.header().args[0], event.lost_calls_alone()));
            Flow::Continue
        });
        seen
    }

    #[test]
    fn a_report_says_whether_lives_may_be_among_the_lost_events() {
        let mut losses = Losses::default();
        assert_eq!(reported(&mut losses, 5, 0), [(5, true)]);
        assert_eq!(reported(&mut losses, 6, 1), [(1, false)]);
        assert_eq!(reported(&mut losses, 8, 1), [(2, true)]);
        // a loss between the two readings is counted by one of them first
        assert_eq!(reported(&mut losses, 8, 2), []);
        assert_eq!(reported(&mut losses, 9, 2), [(1, false)]);
        assert_eq!(reported(&mut losses, 10, 2), [(1, true)]);
        assert_eq!(losses.lives(), 2);
    }
}
