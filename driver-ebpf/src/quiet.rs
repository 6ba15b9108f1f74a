//! Loading programs with signals blocked: the verifier gives up with EAGAIN when a signal is pending.

use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};

/// Runs `load` with every signal of this thread blocked. Signals that come meanwhile are delivered afterwards.
pub fn undisturbed<T>(load: impl FnOnce() -> T) -> T {
    let mut before = SigSet::empty();
    let blocked = pthread_sigmask(
        SigmaskHow::SIG_SETMASK,
        Some(&SigSet::all()),
        Some(&mut before),
    )
    .is_ok();
    let result = load();
    if blocked {
        let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before), None);
    }
    result
}
