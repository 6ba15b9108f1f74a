//! The listener of a filter with user notification (seccomp_unotify(2)), and what comes out of it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use libc::{Ioctl, c_ulong, pid_t, seccomp_notif, seccomp_notif_resp};

/// Requests of linux/seccomp.h, which libc does not have. `ID_VALID` has the direction that kernels before 5.17
/// expect; later ones take either.
const RECV: Ioctl = 0xc050_2100_u32 as Ioctl;
const SEND: Ioctl = 0xc018_2101_u32 as Ioctl;
const ID_VALID: Ioctl = 0x8008_2102_u32 as Ioctl;
const SET_FLAGS: Ioctl = 0x4008_2104_u32 as Ioctl;
/// Linux 6.6: a thread that lanner wakes, and lanner itself, wakes up on the CPU of the thread that wakes it.
const SYNC_WAKE_UP: c_ulong = 1;
/// Linux 5.5: the call is made as if there were no listener.
const CONTINUE: u32 = 1;

const _: () = assert!(size_of::<seccomp_notif>() == 80 && size_of::<seccomp_notif_resp>() == 24);

/// A thread that waits at the entry of a call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Notification {
    /// The id of this wait; no other wait ever has it.
    pub(crate) id: u64,
    /// The thread's id in lanner's PID namespace; 0: it has none there.
    pub(crate) tid: pid_t,
    /// AUDIT_ARCH_* (linux/audit.h), see [`arch`](crate::filter::arch).
    pub(crate) arch: u32,
    pub(crate) nr: u32,
    pub(crate) args: [u64; 6],
}

/// What a listener is ready for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ready {
    /// A thread waits.
    pub(crate) call: bool,
    /// No thread uses the filter any more. Reported from Linux 5.9 on.
    pub(crate) deserted: bool,
    /// The other descriptor is readable.
    pub(crate) other: bool,
}

/// The descriptor that seccomp(2) gives for a filter with notification.
#[derive(Debug)]
pub(crate) struct Listener(OwnedFd);

impl Listener {
    pub(crate) fn new(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// Has lanner and the waiting thread wake each other on one CPU. False: the kernel cannot.
    pub(crate) fn wake_on_one_cpu(&self) -> bool {
        // SAFETY: this request takes a number.
        unsafe { libc::ioctl(self.0.as_raw_fd(), SET_FLAGS, SYNC_WAKE_UP) == 0 }
    }

    /// Waits for a call, or for another descriptor to be readable.
    pub(crate) fn wait(&self, other: Option<BorrowedFd<'_>>, timeout: Duration) -> Ready {
        let [own, other] = poll([Some(self.as_fd()), other], timeout);
        let is = |events: i16, bits: i16| events & bits != 0;
        Ready {
            call: is(own, libc::POLLIN),
            deserted: is(own, libc::POLLHUP) && !is(own, libc::POLLIN),
            other: is(other, libc::POLLIN),
        }
    }

    /// The next thread that waits for an answer; blocks until there is one. None: it is gone already.
    pub(crate) fn receive(&self) -> Option<Notification> {
        // SAFETY: plain data, for which zeros are valid; the kernel demands them.
        let mut notif: seccomp_notif = unsafe { std::mem::zeroed() };
        // SAFETY: the kernel writes one notification; the request has its size in it.
        let error = unsafe { libc::ioctl(self.0.as_raw_fd(), RECV, &raw mut notif) };
        (error == 0).then(|| Notification {
            id: notif.id,
            tid: notif.pid.cast_signed(),
            arch: notif.data.arch,
            nr: notif.data.nr.cast_unsigned(),
            args: notif.data.args,
        })
    }

    /// Whether the thread still waits. Then what was read by its id is its own.
    pub(crate) fn is_valid(&self, id: u64) -> bool {
        // SAFETY: the kernel reads one number.
        unsafe { libc::ioctl(self.0.as_raw_fd(), ID_VALID, &raw const id) == 0 }
    }

    /// Lets the thread make its call.
    ///
    /// # Errors
    ///
    /// ENOENT: the thread does not wait any more. It was killed, or a signal has interrupted it.
    pub(crate) fn answer(&self, id: u64) -> io::Result<()> {
        self.respond(id, 0, CONTINUE)
    }

    /// Has the thread's call return this without being made: 0, or a negative error code.
    ///
    /// # Errors
    ///
    /// Those of [`Listener::answer`].
    pub(crate) fn finish(&self, id: u64, result: i32) -> io::Result<()> {
        self.respond(id, result, 0)
    }

    fn respond(&self, id: u64, error: i32, flags: u32) -> io::Result<()> {
        let response = seccomp_notif_resp {
            id,
            val: 0,
            error,
            flags,
        };
        // SAFETY: the kernel reads one response.
        if unsafe { libc::ioctl(self.0.as_raw_fd(), SEND, &raw const response) } == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Waits until one of two descriptors is readable. Which of them are? After an interruption, none.
pub(crate) fn readable(fds: [Option<BorrowedFd<'_>>; 2], timeout: Duration) -> [bool; 2] {
    poll(fds, timeout).map(|events| events & libc::POLLIN != 0)
}

/// ppoll(2) for two descriptors: their events.
fn poll(fds: [Option<BorrowedFd<'_>>; 2], timeout: Duration) -> [i16; 2] {
    let mut fds = fds.map(|fd| libc::pollfd {
        // ppoll ignores a negative descriptor
        fd: fd.map_or(-1, |fd| fd.as_raw_fd()),
        events: libc::POLLIN,
        revents: 0,
    });
    let timeout = libc::timespec {
        tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: i64::from(timeout.subsec_nanos()),
    };
    // SAFETY: the kernel reads and writes the two elements of `fds`.
    let ready = unsafe { libc::ppoll(fds.as_mut_ptr(), 2, &raw const timeout, std::ptr::null()) };
    fds.map(|fd| if ready > 0 { fd.revents } else { 0 })
}
