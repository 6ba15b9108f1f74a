//! One answer from another thread, which may be loading a plugin that hangs. A channel of the standard library makes
//! thread-local memory at the first wait of a thread, for which glibc takes the lock of the dynamic linker: the waiting thread
//! would hang together with dlopen(3), whatever its deadline. A mutex and a condition variable need no such lock.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::crash;

#[derive(Debug)]
enum State<T> {
    Pending,
    Given(T),
    /// The answering thread has ended without an answer; in a call of this plugin, if there is one.
    Gone(Option<&'static str>),
}

#[derive(Debug)]
struct Slot<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

/// The side that answers.
#[derive(Debug)]
pub(crate) struct Answer<T>(Arc<Slot<T>>);

/// The side that waits.
#[derive(Debug)]
pub(crate) struct Question<T>(Arc<Slot<T>>);

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// Not within the time.
    Late,
    /// The answering thread has panicked.
    Panicked,
    /// A call of this plugin has ended the answering thread (pthread_exit(3)).
    Ended(&'static str),
}

/// Both sides.
pub(crate) fn ask<T>() -> (Answer<T>, Question<T>) {
    let slot = Arc::new(Slot {
        state: Mutex::new(State::Pending),
        changed: Condvar::new(),
    });
    (Answer(Arc::clone(&slot)), Question(slot))
}

impl<T> Slot<T> {
    fn set(&self, new: State<T>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*state, State::Pending) {
            *state = new;
            self.changed.notify_all();
        }
    }
}

impl<T> Answer<T> {
    /// Answers. The other side may have stopped waiting.
    pub(crate) fn give(self, answer: T) {
        self.0.set(State::Given(answer));
    }
}

impl<T> Drop for Answer<T> {
    fn drop(&mut self) {
        // This is the answering thread. A panic would have left the call of a plugin before it comes here.
        self.0.set(State::Gone(crash::called()));
    }
}

impl<T> Question<T> {
    /// Waits for the answer, for `patience` at most.
    pub(crate) fn wait(self, patience: Duration) -> Result<T, NoAnswer> {
        let until = Instant::now() + patience;
        let slot = &self.0;
        let mut state = slot.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match std::mem::replace(&mut *state, State::Pending) {
                State::Given(answer) => return Ok(answer),
                State::Gone(None) => return Err(NoAnswer::Panicked),
                State::Gone(Some(plugin)) => return Err(NoAnswer::Ended(plugin)),
                State::Pending => {}
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(NoAnswer::Late);
            }
            let woken = slot.changed.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_comes_or_its_absence_has_a_reason() {
        const LONG: Duration = Duration::from_secs(60);
        let (answer, question) = ask();
        std::thread::spawn(move || answer.give(7));
        assert_eq!(question.wait(LONG), Ok(7));
        let (answer, question) = ask::<u8>();
        std::thread::spawn(move || drop(answer));
        assert_eq!(question.wait(LONG), Err(NoAnswer::Panicked));
        let (answer, question) = ask::<u8>();
        assert_eq!(question.wait(Duration::ZERO), Err(NoAnswer::Late));
        // the other side has stopped waiting
        answer.give(7);
    }
}
