//! Waiting for what happens soon, but not at a known time.

use std::time::{Duration, Instant};

/// How long a test waits for anything. It is long, because the machine may be slow and busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How long to sleep between two looks.
const PAUSE: Duration = Duration::from_millis(5);

/// Calls `look` until it returns a value. `what` names the value in the failure.
///
/// # Panics
///
/// `look` returned nothing for [`PATIENCE`].
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = look() {
            return value;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(PAUSE);
    }
}

/// Calls `holds` until it returns true. `what` names the condition in the failure.
///
/// # Panics
///
/// `holds` returned false for [`PATIENCE`].
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    wait_for(what, || holds().then_some(()));
}
