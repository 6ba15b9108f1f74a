//! `Retry-After` (RFC 9110, section 10.2.3): no request is sent before the time that the receiver asked for.

use std::time::{Duration, Instant, SystemTime};

/// The longest wait. A receiver that asks for more is asked again after this time.
const LONGEST: Duration = Duration::from_secs(3600);

/// A wait that a receiver asked for.
#[derive(Debug, Default)]
pub(crate) struct Wait {
    until: Option<Instant>,
}

/// The receiver asked to wait.
#[derive(Debug, thiserror::Error)]
#[error("the receiver asked to wait {0} more seconds")]
pub(crate) struct AskedToWait(u64);

impl Wait {
    pub(crate) fn begin(&mut self, time: Option<Duration>) {
        self.until = time.map(|time| Instant::now() + time.min(LONGEST));
    }

    /// The rest of the wait.
    pub(crate) fn left(&self, now: Instant) -> Option<AskedToWait> {
        let left = self.until?.checked_duration_since(now)?;
        (!left.is_zero()).then(|| AskedToWait(left.as_secs() + 1))
    }
}

/// The time that a header asks for: a number of seconds, or a date.
pub(crate) fn retry_after(header: &str) -> Option<Duration> {
    let header = header.trim();
    if !header.is_empty() && header.bytes().all(|digit| digit.is_ascii_digit()) {
        // what does not fit is far in the future
        return Some(Duration::from_secs(header.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(header).ok()?;
    date.duration_since(SystemTime::now()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates_are_understood() {
        assert_eq!(retry_after(" 120 "), Some(Duration::from_secs(120)));
        let endless = retry_after("99999999999999999999");
        assert_eq!(endless, Some(Duration::from_secs(u64::MAX)));
        let mut wait = Wait::default();
        wait.begin(endless);
        assert!(wait.left(Instant::now()).is_some());
        let later = SystemTime::now() + Duration::from_secs(100);
        let left = retry_after(&httpdate::fmt_http_date(later)).unwrap();
        assert!(left > Duration::from_secs(90) && left <= Duration::from_secs(100));
        for header in ["Wed, 21 Oct 2015 07:28:00 GMT", "soon", "-1", ""] {
            assert_eq!(retry_after(header), None, "{header}");
        }
        let mut wait = Wait::default();
        wait.begin(Some(Duration::from_secs(u64::MAX)));
        assert!(wait.left(Instant::now()).is_some());
        assert!(wait.left(Instant::now() + LONGEST).is_none());
    }
}
