//! Puts a filter with a listener into a process between fork and exec, and hands the listener to lanner.
//!
//! Once it has the filter, the process cannot send the listener away itself: it must make none of the calls that the
//! filter asks about, because nothing answers yet. A helper does it, which shares the process's table of
//! descriptors, but not its filter.

use std::io;
use std::mem::zeroed;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use libc::{c_int, c_long, c_ulong, pid_t, sock_filter};

use super::listener::Listener;
use crate::filter::{self, errno};

/// How many times the helper looks for the listener, and how long it pauses in between, in nanoseconds.
const LOOKS: u32 = 40_000;
const PAUSE_NS: c_long = 50_000;
/// How long lanner waits for the helper.
const PATIENCE: Duration = Duration::from_secs(5);

/// Room for one passed descriptor (unix(7), `CMSG_SPACE(sizeof(int))`), aligned like `struct cmsghdr`.
#[repr(C, align(8))]
struct Control([u8; 24]);

/// A pair of sockets through which the listener comes to lanner.
#[derive(Debug)]
pub(crate) struct ListenerChannel {
    ours: OwnedFd,
    theirs: OwnedFd,
}

impl ListenerChannel {
    /// Does not allocate.
    ///
    /// # Errors
    ///
    /// The kernel refused to make sockets.
    pub(crate) fn new() -> io::Result<Self> {
        let mut fds = [0; 2];
        let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
        // SAFETY: the kernel writes two descriptors.
        if unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, fds.as_mut_ptr()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptors are new, and ours alone.
        let [ours, theirs] = fds.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
        Ok(Self { ours, theirs })
    }

    /// The end for the filtered process.
    pub(crate) fn their_end(&self) -> RawFd {
        self.theirs.as_raw_fd()
    }

    /// Takes the listener, once the process has its filter. Does not allocate.
    ///
    /// # Errors
    ///
    /// No listener came: the process has no filter, or has ended.
    pub(crate) fn take_listener(self) -> io::Result<Listener> {
        drop(self.theirs);
        let mut poll = libc::pollfd {
            fd: self.ours.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // short waits: a signal interrupts only one of them
        for _ in 0..PATIENCE.as_millis() / 100 {
            // SAFETY: the kernel reads and writes one element.
            if unsafe { libc::poll(&raw mut poll, 1, 100) } > 0 {
                let (listener, helper) = receive(self.ours.as_raw_fd())?;
                // SAFETY: waitpid(2) gets no memory. The helper is a child of lanner's that ends by itself.
                unsafe { libc::waitpid(helper, std::ptr::null_mut(), libc::__WALL) };
                return Ok(Listener::new(listener));
            }
        }
        Err(io::ErrorKind::TimedOut.into())
    }
}

/// The bytes of a message: a process id.
fn part_of(id: &mut pid_t) -> libc::iovec {
    libc::iovec {
        iov_base: std::ptr::from_mut(id).cast(),
        iov_len: size_of::<pid_t>(),
    }
}

/// A message of these bytes, and a descriptor in `control`. It points to both.
fn message_of(part: &mut libc::iovec, control: &mut Control) -> libc::msghdr {
    // SAFETY: plain data, for which zeros are valid.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_iov = part;
    message.msg_iovlen = 1;
    message.msg_control = std::ptr::from_mut(control).cast();
    // the C libraries differ in its type
    message.msg_controllen = size_of::<Control>() as _;
    message
}

/// Receives a message with the helper's id and the listener.
fn receive(socket: RawFd) -> io::Result<(OwnedFd, pid_t)> {
    let mut helper: pid_t = 0;
    let mut control = Control([0; 24]);
    let mut part = part_of(&mut helper);
    let mut message = message_of(&mut part, &mut control);
    // SAFETY: the vectors of the message describe `helper` and `control`, which outlive the call.
    let got = unsafe { libc::recvmsg(socket, &raw mut message, libc::MSG_CMSG_CLOEXEC) };
    if got < 0 {
        return Err(io::Error::last_os_error());
    }
    let is_whole = usize::try_from(got) == Ok(size_of::<pid_t>()) && helper > 0;
    // SAFETY: the kernel has set the length of what it wrote into `control`. CMSG_FIRSTHDR gives a header that is
    // within it, or null. A header of this length has one descriptor behind it, which is new and ours alone.
    unsafe {
        let head = libc::CMSG_FIRSTHDR(&raw const message);
        let has_descriptor = !head.is_null()
            && (*head).cmsg_level == libc::SOL_SOCKET
            && (*head).cmsg_type == libc::SCM_RIGHTS
            && u64::try_from((*head).cmsg_len) == Ok(libc::CMSG_LEN(4).into());
        if !has_descriptor {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let fd = libc::CMSG_DATA(head).cast::<c_int>().read_unaligned();
        let listener = OwnedFd::from_raw_fd(fd);
        if is_whole {
            Ok((listener, helper))
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }
}

/// Puts the filter into the calling process, and has a helper send its listener through `socket`, which is
/// [`ListenerChannel::their_end`].
///
/// # Errors
///
/// The errno of the call that failed.
///
/// # Safety
///
/// The calling process is the child of a fork that is about to execute a program: it has one thread, and makes no
/// call afterwards that the filter asks about, other than that exec. This function calls only async-signal-safe
/// functions, and does not allocate.
pub(crate) unsafe fn install(
    filter: &[sock_filter],
    privileged: bool,
    socket: RawFd,
) -> Result<(), i32> {
    filter::allow_filters(privileged)?;
    // SAFETY: the call takes numbers.
    let place = unsafe { libc::fcntl(socket, libc::F_DUPFD_CLOEXEC, 0) };
    if place < 0 {
        return Err(errno());
    }
    // The lowest free number is the next that the kernel gives: the listener's. No other thread can take it.
    // SAFETY: the descriptor is new, and nothing else uses it.
    unsafe { libc::close(place) };
    // like fork(2), but with a shared table of descriptors, and as a child of lanner's: the program must not have a
    // child that it did not make
    let flags = libc::CLONE_FILES | libc::CLONE_PARENT;
    // SAFETY: without CLONE_VM, the helper has its own copy of memory. It calls only async-signal-safe functions.
    let helper = unsafe { libc::syscall(libc::SYS_clone, c_long::from(flags), 0, 0, 0, 0) };
    if helper < 0 {
        return Err(errno());
    }
    if helper == 0 {
        pass_on(socket, place);
    }
    let listener: c_ulong = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    let installed = match filter::install(filter, FIRM_LISTENER) {
        Err(libc::EINVAL) => filter::install(filter, listener),
        installed => installed,
    };
    if installed.is_err() {
        // SAFETY: kill(2) takes numbers. The helper was not waited for, so that the id is its own.
        unsafe { libc::kill(helper as pid_t, libc::SIGKILL) };
    }
    installed.map(|_| ())
}

/// Linux 5.19: once lanner has received a notification, only a fatal signal interrupts the call.
const FIRM_LISTENER: c_ulong =
    libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;

/// Whether this kernel has [`FIRM_LISTENER`]. seccomp(2) looks at the flags before it reads the filter.
pub(super) fn can_wait_firmly() -> bool {
    let operation = c_long::from(libc::SECCOMP_SET_MODE_FILTER);
    // SAFETY: the filter is a null pointer, which the kernel refuses with EFAULT. So no filter is installed.
    let refused =
        unsafe { libc::syscall(libc::SYS_seccomp, operation, FIRM_LISTENER, 0_usize) } != 0;
    refused && errno() == libc::EFAULT
}

/// The helper: waits until the descriptor exists, sends it, and ends.
fn pass_on(socket: RawFd, place: RawFd) -> ! {
    let pause = libc::timespec {
        tv_sec: 0,
        tv_nsec: PAUSE_NS,
    };
    // SAFETY: these calls take numbers, and memory of this function that outlives them.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
        for _ in 0..LOOKS {
            if libc::fcntl(place, libc::F_GETFD) >= 0 {
                send(socket, place);
                libc::_exit(0);
            }
            libc::nanosleep(&raw const pause, std::ptr::null_mut());
        }
        libc::_exit(1)
    }
}

/// Sends a message with the calling process's id and a descriptor.
fn send(socket: RawFd, descriptor: RawFd) {
    // SAFETY: getpid(2) always succeeds.
    let mut own = unsafe { libc::getpid() };
    let mut control = Control([0; 24]);
    let mut part = part_of(&mut own);
    let message = message_of(&mut part, &mut control);
    // SAFETY: `control` has room for the header and one descriptor behind it, and is aligned; the vectors of the
    // message describe memory of this function that outlives the call.
    unsafe {
        let head = libc::CMSG_FIRSTHDR(&raw const message);
        (*head).cmsg_level = libc::SOL_SOCKET;
        (*head).cmsg_type = libc::SCM_RIGHTS;
        (*head).cmsg_len = libc::CMSG_LEN(4) as _;
        libc::CMSG_DATA(head)
            .cast::<c_int>()
            .write_unaligned(descriptor);
        libc::sendmsg(socket, &raw const message, libc::MSG_NOSIGNAL);
    }
}
