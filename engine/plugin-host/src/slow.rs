//! Calls of plugins, which cannot be interrupted. They run on a thread of their own. The caller waits for it up to a
//! deadline, and then learns which plugin is slow.

use std::sync::{Mutex, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;

use super::answer::{NoAnswer, ask};
use super::crash::Inside;

/// Calls that have not returned, by the thread that made them.
static UNFINISHED: Mutex<Vec<(ThreadId, &'static str, &'static str)>> = Mutex::new(Vec::new());

/// The name of the call that loads a plugin.
pub(super) const LOAD: &str = "load";

/// A call that has not returned.
#[derive(Debug)]
pub(super) struct Call {
    _inside: Inside,
}

impl Call {
    /// This thread calls a plugin.
    pub(super) fn begin(plugin: &'static str, call: &'static str) -> Self {
        let entry = (thread::current().id(), plugin, call);
        let mut all = UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(entry);
        Self {
            _inside: Inside::enter(plugin),
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let this = thread::current().id();
        let mut all = UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = all.iter().rposition(|(thread, ..)| *thread == this) {
            all.remove(at);
        }
    }
}

/// Whether a plugin is being loaded. If it hangs, exit(3) hangs as well: both need the lock of the dynamic linker.
#[must_use]
pub fn is_loading() -> bool {
    let all = UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner);
    all.iter().any(|(_, _, call)| *call == LOAD)
}

/// Why work that calls plugins has no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NoResult {
    /// The kernel refused a thread for the work.
    #[error("no thread to call plugins on")]
    Thread(#[source] std::io::Error),
    /// A plugin's call has not returned.
    #[error(
        "plugin `{plugin}` hangs: it was asked to {call}, and has not returned for {patience:?} (plugin_deadline)"
    )]
    Hangs {
        /// The plugin, or the file that it is loaded from.
        plugin: &'static str,
        /// What it was asked to do.
        call: &'static str,
        /// How long the work took.
        patience: Duration,
    },
    /// The work takes too long, but no plugin is called at the moment.
    #[error("calling plugins takes longer than {0:?} (plugin_deadline)")]
    Slow(Duration),
    /// A call of a plugin has ended the thread that called it.
    #[error(
        "plugin `{0}` ended the thread that called it (pthread_exit); a plugin ends threads of its own alone"
    )]
    Ended(&'static str),
    /// The work panicked.
    #[error("lanner is at fault: a panic while plugins were called")]
    Panic,
}

/// Does work that calls plugins, on a thread of its own, and waits until the deadline. Work that takes longer goes on there
/// and its result is dropped.
///
/// # Errors
///
/// There is no result within the deadline.
pub fn within<T: Send + 'static>(
    patience: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, NoResult> {
    let (answer, question) = ask();
    let thread = thread::Builder::new()
        .name("open".to_owned())
        .spawn(move || answer.give(work()));
    let thread = thread.map_err(NoResult::Thread)?;
    match question.wait(patience) {
        Ok(result) => {
            drop(thread.join());
            Ok(result)
        }
        Err(NoAnswer::Panicked) => Err(NoResult::Panic),
        Err(NoAnswer::Ended(plugin)) => Err(NoResult::Ended(plugin)),
        Err(NoAnswer::Late) => {
            let all = UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner);
            let it = thread.thread().id();
            // The innermost call is the one that hangs.
            match all.iter().rfind(|(thread, ..)| *thread == it) {
                Some((_, plugin, call)) => Err(NoResult::Hangs {
                    plugin,
                    call,
                    patience,
                }),
                None => Err(NoResult::Slow(patience)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn what_hangs_is_named_and_left_behind() {
        assert_eq!(within(Duration::from_secs(60), || 7).unwrap(), 7);
        let (hold, held) = channel::<()>();
        let error = within(Duration::from_millis(50), move || {
            drop(Call::begin("other", "open"));
            let _call = Call::begin("sloth", "open");
            let _ = held.recv();
        })
        .unwrap_err()
        .to_string();
        assert!(
            error.starts_with("plugin `sloth` hangs: it was asked to open"),
            "{error}"
        );
        drop(hold);
    }
}
