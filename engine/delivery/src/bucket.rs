//! A token bucket, on a clock that its owner reads.

use super::settings::Rate;

/// Fills by the rate, up to the burst; starts full.
#[derive(Debug, Clone, Copy)]
pub struct Bucket {
    rate: Rate,
    tokens: f64,
    /// When it was filled last, in nanoseconds.
    filled_ns: u64,
}

impl Bucket {
    /// A full bucket.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self {
            rate,
            tokens: f64::from(rate.burst),
            filled_ns: 0,
        }
    }

    /// Takes a token, if there is one. A clock that goes backwards fills nothing.
    pub fn take(&mut self, now_ns: u64) -> bool {
        let passed = now_ns.saturating_sub(self.filled_ns);
        self.filled_ns = self.filled_ns.max(now_ns);
        #[expect(clippy::cast_precision_loss, reason = "nanoseconds of hours fit")]
        let filled = passed as f64 / 1e9 * self.rate.per_second;
        self.tokens = (self.tokens + filled).min(f64::from(self.rate.burst));
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let mut bucket = Bucket::new(Rate {
            per_second: 2.0,
            burst: 3,
        });
        let start = 1_000_000_000_000;
        let passed = |bucket: &mut Bucket, at: u64| (0..10).filter(|_| bucket.take(at)).count();
        assert_eq!(passed(&mut bucket, start), 3);
        assert_eq!(passed(&mut bucket, start + 1_000_000_000), 2);
        assert_eq!(passed(&mut bucket, start), 0, "the clock went back");
        assert_eq!(passed(&mut bucket, start + 1_500_000_000), 1);
        assert_eq!(passed(&mut bucket, start + 60_000_000_000), 3);
    }
}
