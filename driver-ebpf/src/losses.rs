//! Reports lost events: a counter in the kernel that has grown becomes an event.

use driver_api::driver::Flow;
use driver_api::event::layout::LOST_CALLS;
use driver_api::event::{Event, EventBuilder, Header, Kind, Loss};
use driver_start::monotonic_ns;

/// The counters of lost events, and what of them is reported.
#[derive(Debug)]
pub struct Losses {
    counted: [u64; Loss::ALL.len()],
    reported: [u64; Loss::ALL.len()],
    /// Births, execs and ends among those that are reported.
    lives: u64,
    builder: EventBuilder,
}

impl Default for Losses {
    fn default() -> Self {
        Self {
            counted: [0; Loss::ALL.len()],
            reported: [0; Loss::ALL.len()],
            lives: 0,
            builder: EventBuilder::new(),
        }
    }
}

impl Losses {
    /// Events lost so far, by cause.
    pub fn counted(&self) -> [u64; Loss::ALL.len()] {
        self.counted
    }

    /// How many of the events that are reported as lost may be births, execs or ends.
    pub fn lives(&self) -> u64 {
        self.lives
    }

    /// Takes the counters as they are now, `lives` among them (see [`lives`](Self::lives)), and delivers an event for each cause that has grown. Returns how many events it
    /// has delivered.
    pub fn report(
        &mut self,
        counted: [u64; Loss::ALL.len()],
        lives: u64,
        sink: &mut dyn FnMut(Event<'_>) -> Flow,
    ) -> usize {
        self.counted = counted;
        let mut delivered = 0;
        let calls_alone = lives == self.lives;
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
            if calls_alone {
                args[2] = LOST_CALLS;
            }
            self.builder.begin(&Header {
                kind: Kind::Lost as u8,
                time_ns: monotonic_ns(),
                args,
                ..Header::default()
            });
            if let Ok(event) = self.builder.finish() {
                delivered += 1;
                if sink(event) == Flow::Stop {
                    break;
                }
            }
        }
        delivered
    }
}
