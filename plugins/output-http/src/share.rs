//! How many alerts go into the next request.
//!
//! A request that is refused has an alert at fault, or is too large. The next one has half as many, until one alert is refused
//! alone. So an alert that the receiver would take is never given up because of others.
//!
//! Each refused request with several alerts is one too many. There is credit for a few of them; requests that are taken earn
//! more. Without credit, each request has one alert. So a receiver that refuses everything gets about one request for each
//! alert.

use lanner_plugin::{InvalidSetting, at_least};

use crate::{Batch, Settings};

/// Without credit: after this many single alerts in a row that were taken, one larger request is tried.
const CALM: usize = 16;

/// The size of the next request, as the module describes it. It never exceeds `batch_alerts` and `batch_bytes`.
#[derive(Debug)]
pub(crate) struct Share {
    /// `batch_alerts`
    most: usize,
    /// `batch_bytes`
    bytes: usize,
    /// How many alerts the next request may have.
    now: usize,
    /// Up to this number of alerts, a request doubles after each that was taken. Beyond it, it grows by about an eighth.
    fast: usize,
    /// How many more requests with several alerts may be refused before each request has one alert.
    credit: usize,
    /// Without credit: how many single alerts in a row were taken.
    calm: usize,
}

impl Share {
    pub(crate) fn new(settings: &Settings) -> Result<Self, InvalidSetting> {
        at_least("batch_alerts", settings.batch_alerts, 1)?;
        at_least("batch_bytes", settings.batch_bytes, 1)?;
        let most = match settings.batch {
            Batch::None => 1,
            Batch::Array | Batch::Lines => settings.batch_alerts,
        };
        Ok(Self::with(most, settings.batch_bytes))
    }

    fn with(most: usize, bytes: usize) -> Self {
        Self {
            most,
            bytes,
            now: most,
            fast: most,
            credit: Self::most_credit(most),
            calm: 0,
        }
    }

    /// Enough for two searches of the alert at fault in the largest request.
    fn most_credit(most: usize) -> usize {
        let halvings = usize::BITS - most.leading_zeros();
        2 * halvings as usize
    }

    /// How many of these alerts the next request has: at least one.
    pub(crate) fn of(&self, alerts: &[&str]) -> usize {
        let most = if self.credit == 0 { 1 } else { self.now };
        let mut bytes = 0_usize;
        let fit = alerts.iter().take(most).take_while(|alert| {
            // Each has a comma or a line break.
            bytes = bytes.saturating_add(alert.len() + 1);
            bytes <= self.bytes
        });
        fit.count().max(1)
    }

    /// The receiver took a request with this number of alerts.
    pub(crate) fn accepted(&mut self, count: usize) {
        if self.credit == 0 {
            self.now = 1;
            self.calm += 1;
            if self.calm < CALM {
                return;
            }
            self.credit = 1;
        }
        self.calm = 0;
        let grown = if self.now < self.fast {
            self.now.saturating_mul(2).min(self.fast)
        } else {
            // The receiver's limit may be near.
            self.now.saturating_add(1 + self.now / 8)
        };
        self.now = grown.min(self.most);
        // Each alert beyond the first saved a request.
        self.credit = (self.credit + count - 1).min(Self::most_credit(self.most));
    }

    /// The receiver refused a request with this number of alerts, which are several.
    pub(crate) fn halve(&mut self, count: usize) {
        self.now = (count / 2).max(1);
        self.fast = self.now;
        self.calm = 0;
        self.credit = self.credit.saturating_sub(1);
    }

    /// The receiver refused one alert. The alerts after it may have the same fault, so the next request has one alert.
    pub(crate) fn refused_one(&mut self) {
        self.now = 1;
        self.fast = self.most;
        self.calm = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Delivers alerts to a receiver that refuses requests with an alert at fault, or with more than `limit` alerts. Returns the
    /// number of requests.
    fn requests(share: &mut Share, at_fault: &[bool], limit: usize) -> usize {
        let texts = vec!["x"; at_fault.len()];
        let (mut done, mut requests) = (0, 0);
        while done < at_fault.len() {
            let count = share.of(&texts[done..]);
            let refused = count > limit || at_fault[done..done + count].contains(&true);
            requests += 1;
            match (refused, count) {
                (false, _) => {
                    done += count;
                    share.accepted(count);
                }
                (true, 1) => {
                    assert!(at_fault[done], "only an alert at fault is given up");
                    done += 1;
                    share.refused_one();
                }
                (true, _) => share.halve(count),
            }
        }
        requests
    }

    #[test]
    fn a_receiver_gets_about_one_request_for_each_alert_at_the_most() {
        const ALERTS: usize = 3000;
        // Knuth's MMIX generator; the upper bits are the good ones
        let mut seed = 7_u64;
        let mut random = move |of: u64| {
            seed = (seed.wrapping_mul(6_364_136_223_846_793_005))
                .wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % of
        };
        let every = |step: usize| (0..ALERTS).map(move |at| at % step == step - 1).collect();
        let mut patterns: Vec<Vec<bool>> = [1, 2, 3, 4, 7, 16, 17, 18, 100]
            .into_iter()
            .map(every)
            .collect();
        for of in [2, 3, 5, 10, 50, 500] {
            patterns.push((0..ALERTS).map(|_| random(of) == 0).collect());
        }
        for most in [1, 2, 10, 256, 100_000] {
            for pattern in &patterns {
                let requests = requests(&mut Share::with(most, usize::MAX), pattern, usize::MAX);
                let bound = ALERTS + ALERTS / CALM + Share::most_credit(most);
                assert!(requests <= bound, "{most}: {requests} requests");
            }
            for limit in [1, 2, 3, 20] {
                let fine = [false; ALERTS];
                let requests = requests(&mut Share::with(most, usize::MAX), &fine, limit);
                let bound = ALERTS + ALERTS / CALM + Share::most_credit(most);
                assert!(
                    requests <= bound,
                    "{most}, at most {limit}: {requests} requests"
                );
            }
        }
    }

    #[test]
    fn one_alert_at_fault_costs_few_requests() {
        let mut pattern = [false; 3000];
        pattern[700] = true;
        let requests = requests(&mut Share::with(256, usize::MAX), &pattern, usize::MAX);
        assert!(requests < 50, "{requests}");
    }

    #[test]
    fn a_receiver_that_takes_alerts_again_gets_large_requests_again() {
        let mut share = Share::with(256, usize::MAX);
        requests(&mut share, &[true; 1000], usize::MAX);
        let requests = requests(&mut share, &[false; 3000], usize::MAX);
        assert!(requests < 50, "{requests}");
    }
}
