//! CPU time and memory of lanner itself.

use std::fs;
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use crate::model::Cost;

/// Measures what lanner uses between two looks.
#[derive(Debug)]
pub(crate) struct Meter {
    at: Instant,
    cpu_us: i64,
}

impl Meter {
    pub(crate) fn new() -> Self {
        Self {
            at: Instant::now(),
            cpu_us: cpu_us(),
        }
    }

    /// What lanner has used since the last look.
    pub(crate) fn look(&mut self) -> Cost {
        let (passed, now) = (self.at.elapsed(), cpu_us());
        let used = now.saturating_sub(self.cpu_us).max(0);
        (self.at, self.cpu_us) = (Instant::now(), now);
        #[expect(clippy::cast_precision_loss, reason = "a percentage for people")]
        let cpu_percent = 100.0 * used as f64 / (passed.as_micros().max(1) as f64);
        Cost {
            cpu_percent,
            resident: resident(),
        }
    }
}

/// CPU time of all threads, in microseconds.
fn cpu_us() -> i64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF);
    usage.map_or(0, |usage| {
        (usage.user_time() + usage.system_time()).num_microseconds()
    })
}

/// Resident memory (proc_pid_statm(5)), in bytes.
fn resident() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
    // SAFETY: sysconf(3) takes a number.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    Some(pages * u64::try_from(page).ok()?)
}
