//! Waits for the next stop of a tracee, or for some time.
//!
//! waitpid(2) knows no timeout. A timer of this thread interrupts it: it fires again and again until it
//! is disarmed, so that one that fires just before the call is no loss. It is set once for many waits.

use std::cell::Cell;
use std::io;
use std::mem::zeroed;
use std::ptr::null_mut;
use std::time::{Duration, Instant};

use libc::{c_int, pid_t, timer_t};

/// Between two firings of an armed timer.
const AGAIN: Duration = Duration::from_millis(5);

/// How long a stop that is about to come is looked for.
const SOON: Duration = Duration::from_micros(50);

/// Waits on behalf of the thread that made it.
#[derive(Debug)]
pub(crate) struct Waiter {
    timer: timer_t,
    thread: pid_t,
    /// When the timer fires first; none: it is not set.
    fires: Cell<Option<Instant>>,
}

// SAFETY: the timer is an id of the process; only the thread that made it waits with it.
unsafe impl Send for Waiter {}

extern "C" fn interrupted(_: c_int) {}

fn gettid() -> pid_t {
    // SAFETY: gettid(2) has no effect and always succeeds.
    unsafe { libc::gettid() }
}

/// The signal by which the timer interrupts a wait. Programs rarely use the last real-time signals but one.
pub(crate) fn timer_signal() -> i32 {
    libc::SIGRTMAX() - 1
}

impl Waiter {
    pub(crate) fn new() -> io::Result<Self> {
        let thread = gettid();
        let signal = timer_signal();
        let mut timer: timer_t = null_mut();
        // SAFETY: all structs are plain data, zeroed and then filled; the handler does nothing.
        unsafe {
            let mut action: libc::sigaction = zeroed();
            action.sa_sigaction = interrupted as *const () as usize;
            let mut event: libc::sigevent = zeroed();
            event.sigev_notify = libc::SIGEV_THREAD_ID;
            event.sigev_signo = signal;
            event.sigev_notify_thread_id = thread;
            // a mask inherited from whoever started us must not keep it away
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
        unsignalled();
        Ok(Self {
            timer,
            thread,
            fires: Cell::new(None),
        })
    }

    /// The thread that waits, whose tracees they are.
    pub(crate) fn thread(&self) -> pid_t {
        self.thread
    }

    /// Whether the calling thread is the one that made this.
    pub(crate) fn is_ours(&self) -> bool {
        self.thread == gettid()
    }

    fn arm(&self, first: Duration, again: Duration) {
        let spec = |time: Duration| libc::timespec {
            tv_sec: libc::time_t::try_from(time.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: i64::from(time.subsec_nanos()),
        };
        let setting = libc::itimerspec {
            it_value: spec(first),
            it_interval: spec(again),
        };
        // SAFETY: the timer is ours, and the setting outlives the call.
        unsafe { libc::timer_settime(self.timer, 0, &raw const setting, null_mut()) };
    }

    /// The next stop or end of a tracee of this thread: its id and wait status. `Ok(None)`: none yet,
    /// perhaps sooner than asked for. An error: there are no tracees. Leaves the timer set for the next
    /// wait: [`Waiter::rest`] ends that.
    pub(crate) fn next(&self, timeout: Duration) -> Result<Option<(pid_t, c_int)>, NoTracees> {
        if timeout.is_zero() {
            return wait(libc::WNOHANG);
        }
        let now = Instant::now();
        let limit = now + timeout;
        if self.fires.get().is_none_or(|at| at > limit || at < now) {
            self.arm(timeout, AGAIN);
            self.fires.set(Some(limit));
        }
        wait(0)
    }

    /// A stop that is about to come: looked for without sleeping, as waking up would take longer than it
    /// does. Whoever else has work on this CPU goes first.
    pub(crate) fn soon(&self) -> Result<Option<(pid_t, c_int)>, NoTracees> {
        let begin = Instant::now();
        loop {
            let stop = wait(libc::WNOHANG)?;
            if stop.is_some() || begin.elapsed() > SOON {
                return Ok(stop);
            }
            std::thread::yield_now();
        }
    }

    /// No wait follows for now.
    pub(crate) fn rest(&self) {
        if self.fires.take().is_some() {
            self.arm(Duration::ZERO, Duration::ZERO);
        }
    }
}

/// Has the kernel make no SIGCHLD of each stop, where nobody wants one: a thread that waits is woken
/// without it. A program that is executed gets the flags of a fresh start (execve(2)).
fn unsignalled() {
    // SAFETY: the action is read and written back with one flag more; the handler stays the default.
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

/// Nobody is left to wait for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NoTracees;

/// One waitpid(2); an interruption is no stop. Children of other threads are left alone.
fn wait(flags: c_int) -> Result<Option<(pid_t, c_int)>, NoTracees> {
    let mut status = 0;
    // SAFETY: the kernel writes one int.
    let tid = unsafe {
        libc::waitpid(
            -1,
            &raw mut status,
            flags | libc::__WALL | libc::__WNOTHREAD,
        )
    };
    match tid {
        0 => Ok(None),
        -1 if io::Error::last_os_error().raw_os_error() == Some(libc::ECHILD) => Err(NoTracees),
        -1 => Ok(None),
        tid => Ok(Some((tid, status))),
    }
}
