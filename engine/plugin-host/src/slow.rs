//! Calls of plugins, which cannot be interrupted. They run on a thread of their own. The caller waits for it up to a
//! deadline, and then learns which plugin is slow.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;

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

/// Does work that calls plugins, on a thread of its own, and waits until the deadline. Work that takes longer goes on there
/// and its result is dropped.
///
/// # Errors
///
/// The work's own error; or the name of the plugin whose call did not return in time.
pub fn within<T: Send + 'static>(
    patience: Duration,
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let (answer, answers) = channel();
    let thread = thread::Builder::new()
        .name("open".to_owned())
        .spawn(move || {
            // The caller may have stopped waiting.
            drop(answer.send(work()));
        });
    let thread = thread.map_err(|error| format!("no thread: {error}"))?;
    match answers.recv_timeout(patience) {
        Ok(result) => {
            drop(thread.join());
            result
        }
        Err(RecvTimeoutError::Disconnected) => Err("lanner is at fault: a panic".to_owned()),
        Err(RecvTimeoutError::Timeout) => {
            let all = UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner);
            let it = thread.thread().id();
            // The innermost call is the one that hangs.
            let found = all.iter().rfind(|(thread, ..)| *thread == it);
            let who = found.map_or_else(
                || "it".to_owned(),
                |(_, plugin, call)| format!("plugin `{plugin}` hangs: it was asked to {call}, and"),
            );
            Err(format!(
                "{who} has not returned for {patience:?} (plugin_deadline)"
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hangs_is_named_and_left_behind() {
        assert_eq!(within(Duration::from_secs(60), || Ok(7)), Ok(7));
        let (hold, held) = channel::<()>();
        let error = within(Duration::from_millis(50), move || {
            drop(Call::begin("other", "open"));
            let _call = Call::begin("sloth", "open");
            let _ = held.recv();
            Ok(())
        })
        .unwrap_err();
        assert!(
            error.starts_with("plugin `sloth` hangs: it was asked to open"),
            "{error}"
        );
        drop(hold);
    }
}
