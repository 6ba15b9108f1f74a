//! Waits for the next stop of a tracee, or until a time has passed.
//!
//! waitpid(2) has no timeout. A timer of this thread interrupts it with a signal. Once armed, it fires every few
//! milliseconds until it is disarmed: one that fires just before the call is not lost. It is armed once for many
//! waits.

use std::cell::Cell;
use std::io;
use std::mem::zeroed;
use std::ptr::null_mut;
use std::time::{Duration, Instant};

use libc::{c_int, pid_t, timer_t};

use crate::tracee::{self, NoTracees, Wait};

/// The time between two signals of an armed timer.
const INTERVAL: Duration = Duration::from_millis(5);

/// How long [`Waiter::next_soon`] looks for a stop.
const SOON: Duration = Duration::from_micros(50);

/// The signal by which the timer interrupts a wait: the last real-time signal but one, which programs rarely use.
pub(crate) fn timer_signal() -> c_int {
    libc::SIGRTMAX() - 1
}

/// Waits on behalf of the thread that made it.
#[derive(Debug)]
pub(super) struct Waiter {
    timer: timer_t,
    thread: pid_t,
    /// When the timer fires first. None: it is disarmed.
    fires: Cell<Option<Instant>>,
}

// SAFETY: `timer` is a pointer in type alone: the id of a timer of the process, which any thread may use.
unsafe impl Send for Waiter {}

/// The signal's handler. That it runs is what interrupts waitpid(2).
extern "C" fn interrupted(_: c_int) {}

fn gettid() -> pid_t {
    // SAFETY: gettid(2) has no effect and always succeeds.
    unsafe { libc::gettid() }
}

impl Waiter {
    pub(super) fn new() -> io::Result<Self> {
        let thread = gettid();
        let signal = timer_signal();
        let mut timer: timer_t = null_mut();
        // SAFETY: all structs are plain data for which zeros are valid, and outlive the calls. The handler does
        // nothing, so that it may run at any moment.
        unsafe {
            let mut action: libc::sigaction = zeroed();
            action.sa_sigaction = interrupted as *const () as usize;
            let mut event: libc::sigevent = zeroed();
            event.sigev_notify = libc::SIGEV_THREAD_ID;
            event.sigev_signo = signal;
            event.sigev_notify_thread_id = thread;
            // the signal may be blocked by a mask that was inherited from the program that started lanner
            let mut unblocked: libc::sigset_t = zeroed();
            libc::sigemptyset(&raw mut unblocked);
            libc::sigaddset(&raw mut unblocked, signal);
            libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const unblocked, null_mut());
            if libc::sigaction(signal, &raw const action, null_mut()) != 0
                || libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer) != 0
            {
                return Err(io::Error::last_os_error());
            }
        }
        do_not_signal_stops();
        Ok(Self {
            timer,
            thread,
            fires: Cell::new(None),
        })
    }

    /// The thread that waits, and whose tracees they are.
    pub(super) fn thread(&self) -> pid_t {
        self.thread
    }

    /// Whether the calling thread is the one that made this.
    pub(super) fn is_ours(&self) -> bool {
        self.thread == gettid()
    }

    fn arm(&self, first: Duration, interval: Duration) {
        let spec = |time: Duration| libc::timespec {
            tv_sec: libc::time_t::try_from(time.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: i64::from(time.subsec_nanos()),
        };
        let setting = libc::itimerspec {
            it_value: spec(first),
            it_interval: spec(interval),
        };
        // SAFETY: the timer is ours, and the setting outlives the call.
        unsafe { libc::timer_settime(self.timer, 0, &raw const setting, null_mut()) };
    }

    /// The next stop or end of a tracee of this thread. `None`: there is none yet, and perhaps the time has not passed.
    /// Leaves the timer armed for the next wait, until [`Waiter::rest`].
    pub(super) fn next(&self, timeout: Duration) -> Result<Option<Wait>, NoTracees> {
        if timeout.is_zero() {
            return tracee::wait(false);
        }
        let now = Instant::now();
        let limit = now + timeout;
        if self.fires.get().is_none_or(|at| at > limit || at < now) {
            self.arm(timeout, INTERVAL);
            self.fires.set(Some(limit));
        }
        tracee::wait(true)
    }

    /// A stop that is about to come. This does not sleep, because waking up would take longer than the stop does
    /// to come; other threads with work on this CPU go first.
    pub(super) fn next_soon(&self) -> Result<Option<Wait>, NoTracees> {
        let begin = Instant::now();
        loop {
            let stop = tracee::wait(false)?;
            if stop.is_some() || begin.elapsed() > SOON {
                return Ok(stop);
            }
            std::thread::yield_now();
        }
    }

    /// Disarms the timer: no wait follows for now.
    pub(super) fn rest(&self) {
        if self.fires.take().is_some() {
            self.arm(Duration::ZERO, Duration::ZERO);
        }
    }
}

/// Has the kernel send no SIGCHLD for stops, unless lanner has a handler for it: the thread that waits is woken
/// anyway. An executed program starts without this flag (execve(2)).
fn do_not_signal_stops() {
    // SAFETY: the action is read and written back with one more flag; it stays the default one.
    unsafe {
        let mut action: libc::sigaction = zeroed();
        if libc::sigaction(libc::SIGCHLD, null_mut(), &raw mut action) == 0
            && action.sa_sigaction == libc::SIG_DFL
        {
            action.sa_flags |= libc::SA_NOCLDSTOP;
            libc::sigaction(libc::SIGCHLD, &raw const action, null_mut());
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        // SAFETY: made in new, deleted once.
        unsafe { libc::timer_delete(self.timer) };
    }
}
