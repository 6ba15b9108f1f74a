//! Puts a filter with a listener into the calling process and hands the listener to lanner.
//!
//! From the moment the filter is there its process can make none of the calls that lanner asks for, as nobody
//! answers yet: it cannot send the listener away itself. A helper that shares its table of descriptors, but
//! not its filter, does that.

use std::io;
use std::mem::{MaybeUninit, zeroed};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use libc::{c_int, c_long, c_void, pid_t, sock_filter};

use super::listener::Listener;

/// How long the helper waits for the listener: times of [`A_MOMENT`].
const MOMENTS: u32 = 40_000;
/// In nanoseconds.
const A_MOMENT: c_long = 50_000;
/// How long lanner waits for it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Room for one passed descriptor (unix(7), `CMSG_SPACE(sizeof(int))`), aligned as `struct cmsghdr` is.
#[repr(C, align(8))]
struct Control([u8; 24]);

/// Both ends of the way that the listener takes.
#[derive(Debug)]
pub(crate) struct Way {
    ours: OwnedFd,
    theirs: OwnedFd,
}

impl Way {
    pub(crate) fn new() -> io::Result<Self> {
        let mut fds = [0; 2];
        // SAFETY: the kernel writes two descriptors, which are then ours.
        unsafe {
            let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
            if libc::socketpair(libc::AF_UNIX, kind, 0, fds.as_mut_ptr()) != 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(Self {
                ours: OwnedFd::from_raw_fd(fds[0]),
                theirs: OwnedFd::from_raw_fd(fds[1]),
            })
        }
    }

    /// The end that the filtered process has.
    pub(crate) fn their_end(&self) -> RawFd {
        self.theirs.as_raw_fd()
    }

    /// Takes the listener, once the process has its filter. An error: it has none, or has ended.
    pub(crate) fn take(self) -> io::Result<Listener> {
        drop(self.theirs);
        let mut poll = libc::pollfd {
            fd: self.ours.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // an interruption is not the end of patience
        for _ in 0..PATIENCE.as_millis() / 100 {
            // SAFETY: one element.
            if unsafe { libc::poll(&raw mut poll, 1, 100) } > 0 {
                let (listener, helper) = receive(self.ours.as_raw_fd())?;
                // SAFETY: the helper is a child of ours that ends by itself; no status is asked for.
                unsafe { libc::waitpid(helper, std::ptr::null_mut(), libc::__WALL) };
                return Ok(Listener::new(listener));
            }
        }
        Err(io::ErrorKind::TimedOut.into())
    }
}

/// A message with the helper's id and the listener.
fn receive(socket: RawFd) -> io::Result<(OwnedFd, pid_t)> {
    let mut helper: pid_t = 0;
    let mut control = Control([0; 24]);
    let mut part = libc::iovec {
        iov_base: (&raw mut helper).cast(),
        iov_len: size_of::<pid_t>(),
    };
    // SAFETY: the vectors describe `helper` and `control`, which outlive the call; the control message is
    // looked at only where the kernel says that there is one of the size.
    unsafe {
        let mut message: libc::msghdr = zeroed();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = (&raw mut control).cast();
        message.msg_controllen = size_of::<Control>();
        let got = libc::recvmsg(socket, &raw mut message, libc::MSG_CMSG_CLOEXEC);
        if got < 0 {
            return Err(io::Error::last_os_error());
        }
        let head = libc::CMSG_FIRSTHDR(&raw const message);
        if got == 0 || head.is_null() || (*head).cmsg_type != libc::SCM_RIGHTS {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let fd = libc::CMSG_DATA(head).cast::<c_int>().read_unaligned();
        Ok((OwnedFd::from_raw_fd(fd), helper))
    }
}

/// Puts the filter into the calling process, between fork and exec: no allocation here, and no call behind
/// it. `socket` is [`Way::their_end`].
pub(crate) fn install(filter: &[sock_filter], privileged: bool, socket: RawFd) -> Result<(), i32> {
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).map_err(|_| libc::E2BIG)?,
        filter: filter.as_ptr().cast_mut(),
    };
    // SAFETY: numbers, and a program that outlives the call.
    unsafe {
        if !privileged && libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 {
            return Err(errno());
        }
        // the lowest free number is the next that the kernel gives
        let place = libc::fcntl(socket, libc::F_DUPFD_CLOEXEC, 0);
        if place < 0 {
            return Err(errno());
        }
        libc::close(place);
        // as fork(2), but with one table of descriptors, and as a child of lanner's, so that the program has
        // no child that it did not make
        let flags = libc::CLONE_FILES | libc::CLONE_PARENT;
        let helper = libc::syscall(libc::SYS_clone, c_long::from(flags), 0, 0, 0, 0);
        if helper < 0 {
            return Err(errno());
        }
        if helper == 0 {
            pass_on(socket, place);
        }
        let notify = |flags: libc::c_ulong| {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                flags,
                &raw const program,
            )
        };
        // Linux 5.19: once lanner has the call, no signal but a deadly one interrupts it
        let listener = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
        let mut got = notify(listener | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV);
        if got < 0 && errno() == libc::EINVAL {
            got = notify(listener);
        }
        if got < 0 {
            let error = errno();
            libc::kill(helper as pid_t, libc::SIGKILL);
            return Err(error);
        }
    }
    Ok(())
}

fn errno() -> i32 {
    // SAFETY: the place of this thread's errno.
    unsafe { *libc::__errno_location() }
}

/// The helper: waits until the descriptor is there, sends it, ends.
fn pass_on(socket: RawFd, place: RawFd) -> ! {
    let pause = libc::timespec {
        tv_sec: 0,
        tv_nsec: A_MOMENT,
    };
    // SAFETY: numbers, and memory of this function alone; the control message is built where there is room.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
        for _ in 0..MOMENTS {
            if libc::fcntl(place, libc::F_GETFD) >= 0 {
                let mut own = libc::getpid();
                let mut control = Control([0; 24]);
                let mut part = libc::iovec {
                    iov_base: (&raw mut own).cast(),
                    iov_len: size_of::<pid_t>(),
                };
                let mut message = MaybeUninit::<libc::msghdr>::zeroed().assume_init();
                message.msg_iov = &raw mut part;
                message.msg_iovlen = 1;
                message.msg_control = (&raw mut control).cast::<c_void>();
                message.msg_controllen = size_of::<Control>();
                let head = libc::CMSG_FIRSTHDR(&raw const message);
                (*head).cmsg_level = libc::SOL_SOCKET;
                (*head).cmsg_type = libc::SCM_RIGHTS;
                (*head).cmsg_len = libc::CMSG_LEN(4) as usize;
                libc::CMSG_DATA(head).cast::<c_int>().write_unaligned(place);
                libc::sendmsg(socket, &raw const message, libc::MSG_NOSIGNAL);
                libc::_exit(0);
            }
            libc::nanosleep(&raw const pause, std::ptr::null_mut());
        }
        libc::_exit(1)
    }
}
