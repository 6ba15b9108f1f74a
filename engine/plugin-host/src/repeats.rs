//! Messages that a plugin logs again and again: the first one is written, and then at most one a minute, with the number of
//! those between them.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long the same message is not written again.
const INTERVAL: Duration = Duration::from_secs(60);

/// The last message of a plugin.
#[derive(Debug)]
struct Last {
    message: String,
    written: Instant,
    /// How often it came since then.
    count: u64,
}

static LAST: Mutex<BTreeMap<&'static str, Last>> = Mutex::new(BTreeMap::new());

/// Whether to write a message now. If so, returns how often the last message came without being written.
pub(super) fn admit(plugin: &'static str, message: &str, now: Instant) -> Option<u64> {
    let mut all = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    let before = match all.get_mut(plugin) {
        Some(last) if last.message == message && now < last.written + INTERVAL => {
            last.count += 1;
            return None;
        }
        Some(last) => last.count,
        None => 0,
    };
    let last = Last {
        message: message.to_owned(),
        written: now,
        count: 0,
    };
    all.insert(plugin, last);
    Some(before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_message_is_written_once_a_minute_with_a_count() {
        let begin = Instant::now();
        let again =
            |message: &str, seconds| admit("parrot", message, begin + Duration::from_secs(seconds));
        assert_eq!(again("a", 0), Some(0));
        assert_eq!(again("a", 1), None);
        assert_eq!(again("a", 59), None);
        assert_eq!(again("a", 60), Some(2));
        assert_eq!(again("a", 61), None);
        assert_eq!(again("b", 61), Some(1));
        assert_eq!(again("a", 61), Some(0));
        assert_eq!(admit("other", "a", begin), Some(0));
    }
}
