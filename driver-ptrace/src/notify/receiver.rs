//! Receives notifications at once, on a thread that does nothing else.
//!
//! Until lanner has received the notification of a call, a signal ends the call; from then on, only a fatal signal does
//! (`SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV`). While the capture is busy with one call, others are made.

use std::collections::VecDeque;
use std::io;
use std::mem::zeroed;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::listener::{Listener, Notification, Ready, readable};
use super::watchdog::Watchdog;

/// How long the thread waits at most, in case nothing wakes it.
const PATIENCE: Duration = Duration::from_mins(1);

/// What the thread and the capture share.
#[derive(Debug)]
struct Shared {
    listener: Arc<Listener>,
    watchdog: Option<Arc<Watchdog>>,
    received: Mutex<VecDeque<Notification>>,
    /// Readable while something was received, and once the listener is deserted.
    came: Event,
    /// Readable once the thread is to end.
    stop: Event,
    deserted: AtomicBool,
}

impl Shared {
    fn received(&self) -> MutexGuard<'_, VecDeque<Notification>> {
        // a push or a pop that has panicked leaves a queue that can be used
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the thread does.
    fn receive(&self) {
        hurry();
        loop {
            let ready = self.listener.wait(Some(self.stop.as_fd()), PATIENCE);
            if ready.other {
                return;
            }
            if ready.deserted {
                self.deserted.store(true, Ordering::Release);
                self.came.raise();
                return;
            }
            if ready.call
                && let Some(call) = self.listener.receive()
            {
                if let Some(watchdog) = &self.watchdog {
                    watchdog.note_waiting(call.tid);
                }
                let mut received = self.received();
                received.push_back(call);
                if received.len() == 1 {
                    self.came.raise();
                }
            }
        }
    }
}

/// The thread. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Receiver {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Receiver {
    /// Begins to receive.
    ///
    /// # Errors
    ///
    /// The kernel refused a descriptor or a thread.
    pub(crate) fn new(
        listener: Arc<Listener>,
        watchdog: Option<Arc<Watchdog>>,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            listener,
            watchdog,
            received: Mutex::default(),
            came: Event::new()?,
            stop: Event::new()?,
            deserted: AtomicBool::new(false),
        });
        let of_thread = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("receiver".to_owned())
            .spawn(move || of_thread.receive())?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Waits for a call, or for another descriptor to be readable.
    pub(crate) fn wait(&self, other: Option<BorrowedFd<'_>>, timeout: Duration) -> Ready {
        let [_, other] = readable([Some(self.shared.came.as_fd()), other], timeout);
        // first: a listener that is deserted receives nothing any more
        let deserted = self.shared.deserted.load(Ordering::Acquire);
        let call = !self.shared.received().is_empty();
        Ready {
            call,
            deserted: deserted && !call,
            other,
        }
    }

    /// The next call that waits for an answer.
    pub(crate) fn next(&self) -> Option<Notification> {
        let mut received = self.shared.received();
        let next = received.pop_front();
        if received.is_empty() && !self.shared.deserted.load(Ordering::Acquire) {
            self.shared.came.lower();
        }
        next
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.shared.stop.raise();
        if let Some(thread) = self.thread.take() {
            // it does not panic
            let _ = thread.join();
        }
    }
}

/// Something to wait for (eventfd(2)).
#[derive(Debug)]
struct Event(OwnedFd);

impl Event {
    fn new() -> io::Result<Self> {
        // SAFETY: eventfd(2) takes numbers.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new, and ours alone.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    fn raise(&self) {
        let one = 1_u64;
        // SAFETY: the kernel reads eight bytes. It refuses only a number that would be too large.
        unsafe { libc::write(self.0.as_raw_fd(), (&raw const one).cast(), 8) };
    }

    fn lower(&self) {
        let mut number = 0_u64;
        // SAFETY: the kernel writes eight bytes, or nothing if the event is not raised.
        unsafe { libc::read(self.0.as_raw_fd(), (&raw mut number).cast(), 8) };
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Lets the calling thread run before others, if lanner may do that: it never runs long. Signals are for other threads.
fn hurry() {
    // SAFETY: plain data, for which zeros are valid; both outlive the calls.
    unsafe {
        let mut parameters: libc::sched_param = zeroed();
        parameters.sched_priority = 1;
        let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
        libc::sched_setscheduler(0, policy, &raw const parameters);
        let mut all: libc::sigset_t = zeroed();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const all, std::ptr::null_mut());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use driver_api::table::by_name;
    use test_support::skipped;

    use super::super::launch::{self, ListenerChannel};
    use super::*;

    const CALLERS: usize = 3;
    const PATIENCE: Duration = Duration::from_secs(20);

    extern "C" fn handle(_: i32) {}

    /// What the child does: its own children make a call at the same time. The status is 0 if none of them fails.
    ///
    /// # Safety
    ///
    /// It runs between fork and the end of a process.
    unsafe fn make_calls(filter: &[libc::sock_filter], channel: &ListenerChannel) -> i32 {
        // SAFETY: the filter is there; the other calls take numbers, and memory that outlives them.
        unsafe {
            libc::alarm(60);
            if launch::install(filter, false, channel.their_end()).is_err() {
                return 2;
            }
            let mut action: libc::sigaction = zeroed();
            action.sa_sigaction = handle as *const () as usize;
            libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut());
            for _ in 0..CALLERS {
                if libc::fork() == 0 {
                    libc::alarm(60);
                    libc::_exit(i32::from(libc::syscall(libc::SYS_getppid) <= 0));
                }
            }
            let mut failed = 0;
            for _ in 0..CALLERS {
                let mut status = 0;
                libc::waitpid(-1, &raw mut status, 0);
                failed |= i32::from(status != 0);
            }
            failed
        }
    }

    #[test]
    fn a_signal_ends_no_call_while_others_are_not_answered() {
        if !launch::can_wait_firmly() {
            skipped("Linux 5.19 has SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV");
            return;
        }
        let call = by_name("getppid").expect("a call of the table");
        let filter = super::super::program(&[call].into_iter().collect());
        let channel = ListenerChannel::new().expect("sockets");
        // SAFETY: the child makes system calls alone, and ends.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: as above.
            unsafe { libc::_exit(make_calls(&filter, &channel)) };
        }
        let listener = Arc::new(channel.take_listener().expect("a filter"));
        let receiver = Receiver::new(Arc::clone(&listener), None).expect("a thread");
        let begin = Instant::now();
        while receiver.shared.received().len() < CALLERS {
            assert!(begin.elapsed() < PATIENCE, "{:?}", receiver.shared);
            thread::sleep(Duration::from_millis(1));
        }
        let calls: Vec<Notification> = receiver.shared.received().iter().copied().collect();
        for call in &calls {
            // SAFETY: kill(2) takes numbers. The thread waits for its answer.
            unsafe { libc::kill(call.tid, libc::SIGUSR1) };
        }
        for expected in calls {
            assert!(receiver.wait(None, PATIENCE).call);
            let call = receiver.next().expect("it was received");
            assert_eq!(call.id, expected.id);
            listener.answer(call.id).expect("it still waits");
        }
        let mut status = 0;
        // SAFETY: the kernel writes one int.
        unsafe { libc::waitpid(child, &raw mut status, 0) };
        assert_eq!(status, 0, "a call has failed");
        let end = receiver.wait(None, PATIENCE);
        assert!(end.deserted && !end.call, "{end:?}");
    }
}
