//! Events on their way to a plugin's thread, in batches.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use delivery::alert::Kept;

#[derive(Debug, Default)]
struct Post {
    events: Vec<Kept>,
    end: bool,
}

/// See the module. Bounded by whoever puts events into it.
#[derive(Debug, Default)]
pub(super) struct Queue {
    post: Mutex<Post>,
    news: Condvar,
}

impl Queue {
    /// Nothing panics while it holds the lock, and if it did, the post would still be whole.
    fn post(&self) -> MutexGuard<'_, Post> {
        self.post.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn put(&self, events: &mut Vec<Kept>) {
        let mut post = self.post();
        let first = post.events.is_empty();
        post.events.append(events);
        drop(post);
        if first {
            self.news.notify_one();
        }
    }

    pub(super) fn end(&self) {
        self.post().end = true;
        self.news.notify_one();
    }

    /// Waits for events; none: this is the end.
    pub(super) fn take(&self) -> Vec<Kept> {
        let mut post = self.post();
        while post.events.is_empty() && !post.end {
            post = self.news.wait(post).unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::take(&mut post.events)
    }
}
