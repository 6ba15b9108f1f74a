//! Files that could not be written, or not to their end. Their alerts have been delivered with their names, so further alerts
//! say it.

use std::sync::{Arc, Mutex, PoisonError};

/// The most files that wait to be reported. The log has all of them.
const MOST: usize = 64;

/// A file that is not whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failed {
    /// Its name in the folder.
    pub(crate) name: String,
    /// Why.
    pub(crate) reason: String,
    /// It is not there any more: no event is in it.
    pub(crate) removed: bool,
}

/// What the threads that write say to the event path.
#[derive(Debug, Clone, Default)]
pub(crate) struct Failures {
    all: Arc<Mutex<Vec<Failed>>>,
}

impl Failures {
    pub(super) fn add(&self, failed: Failed) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() < MOST {
            all.push(failed);
        }
    }

    /// Those that have not been reported.
    pub(crate) fn take(&self) -> Vec<Failed> {
        std::mem::take(&mut *self.all.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
