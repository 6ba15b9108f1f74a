//! When to look for children that have not made a call yet. A child that makes none is seen only while it exists, so
//! that the first looks come soon after the call that makes it.

use std::time::{Duration, Instant};

use libc::pid_t;

/// When the first look comes after the call was let go. A fork takes about as long.
const FIRST: Duration = Duration::from_micros(150);
/// Each pause is twice the one before it. After a pause of this length, the next call of the parent decides.
const LAST: Duration = Duration::from_millis(40);

/// A look at the children of a thread that is in a call which makes one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    tid: pid_t,
    due: Instant,
    pause: Duration,
}

impl Look {
    /// The thread.
    pub(crate) fn tid(&self) -> pid_t {
        self.tid
    }
}

/// The looks that are to come.
#[derive(Debug, Default)]
pub(crate) struct Looks(Vec<Look>);

impl Looks {
    /// A thread is about to make a child.
    pub(crate) fn expect(&mut self, tid: pid_t) {
        self.0.retain(|look| look.tid != tid);
        self.0.push(Look {
            tid,
            due: Instant::now() + FIRST,
            pause: FIRST,
        });
    }

    /// A look whose time has come. It is taken out.
    pub(crate) fn take_due(&mut self) -> Option<Look> {
        if self.0.is_empty() {
            return None;
        }
        let now = Instant::now();
        let at = self.0.iter().position(|look| look.due <= now)?;
        Some(self.0.swap_remove(at))
    }

    /// A look has found nothing: another one follows, unless this was the last.
    pub(crate) fn again(&mut self, look: Look) {
        let pause = look.pause * 2;
        if pause <= LAST {
            self.0.push(Look {
                due: Instant::now() + pause,
                pause,
                ..look
            });
        }
    }

    /// How long until the next look.
    pub(crate) fn patience(&self) -> Duration {
        let next = self.0.iter().map(|look| look.due).min();
        next.map_or(Duration::MAX, |due| {
            due.saturating_duration_since(Instant::now())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_become_rare_and_end() {
        let mut looks = Looks::default();
        assert_eq!(looks.patience(), Duration::MAX);
        looks.expect(7);
        looks.expect(7);
        let mut seen = 0;
        while looks.patience() != Duration::MAX {
            std::thread::sleep(looks.patience());
            if let Some(look) = looks.take_due() {
                assert_eq!(look.tid(), 7);
                assert!(looks.take_due().is_none(), "one look for each thread");
                seen += 1;
                looks.again(look);
            }
        }
        assert_eq!(seen, 9);
    }
}
