//! Stands by in case lanner is killed: a call that then waited for its answer would fail with ENOSYS
//! (seccomp_unotify(2)), which no program expects. The watchdog has the listener, too: it ends all that were
//! followed, and then whoever else makes such a call.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use libc::{c_uint, pid_t};

use super::listener::Listener;
use super::processes::pidfd;

/// Descriptors to close one by one, where close_range(2) is missing.
const FEW: RawFd = 1024;

/// Places for members of the family, by their ids.
const MEMBERS: usize = 16383;
/// Places that are looked at for one member.
const PROBES: usize = 16;

/// Memory that the watchdog shares.
#[derive(Debug)]
#[repr(C)]
struct Shared {
    /// Who waits for our answer; the kernel would tell the watchdog of nobody whom it has told us of.
    waits: AtomicI32,
    /// The processes that are followed; 0: a free place.
    members: [AtomicI32; MEMBERS],
}

#[derive(Debug)]
struct Waiting(NonNull<Shared>);

// SAFETY: atomic numbers in a mapping that lives as long as this.
unsafe impl Send for Waiting {}

impl Waiting {
    fn new() -> io::Result<Self> {
        // SAFETY: a new mapping, zeroed.
        let page = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                size_of::<Shared>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if page == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        NonNull::new(page.cast())
            .map(Self)
            .ok_or_else(|| io::ErrorKind::OutOfMemory.into())
    }

    fn shared(&self) -> &Shared {
        // SAFETY: mapped, aligned, and atomics whatever the other process does with them.
        unsafe { self.0.as_ref() }
    }

    /// The places where a member can be.
    fn places(&self, pid: pid_t) -> impl Iterator<Item = &AtomicI32> {
        let first = pid.unsigned_abs() as usize;
        (first..first + PROBES).filter_map(|at| self.shared().members.get(at % MEMBERS))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // SAFETY: mapped by new, unmapped once.
        unsafe { libc::munmap(self.0.as_ptr().cast(), size_of::<Shared>()) };
    }
}

/// The watchdog's handle: it ends with it.
#[derive(Debug)]
pub(crate) struct Watchdog {
    pid: pid_t,
    waiting: Waiting,
    /// Closed when lanner ends, however it does.
    _alive: OwnedFd,
}

impl Watchdog {
    /// Forks the watchdog for a command.
    pub(crate) fn new(listener: &Listener, command: pid_t) -> io::Result<Self> {
        let command = pidfd(command);
        let waiting = Waiting::new()?;
        let mut ends = [0; 2];
        // SAFETY: the kernel writes two descriptors, which are then ours. The child calls nothing but
        // async-signal-safe functions.
        unsafe {
            if libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) != 0 {
                return Err(io::Error::last_os_error());
            }
            let (life, alive) = (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1]));
            match libc::fork() {
                -1 => Err(io::Error::last_os_error()),
                0 => stand_by(listener, &life, command.as_ref(), &waiting),
                pid => Ok(Self {
                    pid,
                    waiting,
                    _alive: alive,
                }),
            }
        }
    }

    /// Who waits for our answer; 0: nobody.
    pub(crate) fn note(&self, tid: pid_t) {
        self.waiting.shared().waits.store(tid, Ordering::Relaxed);
    }

    /// A process is followed. Where there is no place for it, it dies at its next call.
    pub(crate) fn join(&self, pid: pid_t) {
        if let Some(place) = self
            .waiting
            .places(pid)
            .find(|place| place.load(Ordering::Relaxed) == 0)
        {
            place.store(pid, Ordering::Relaxed);
        }
    }

    /// A process has ended.
    pub(crate) fn leave(&self, pid: pid_t) {
        if let Some(place) = self
            .waiting
            .places(pid)
            .find(|place| place.load(Ordering::Relaxed) == pid)
        {
            place.store(0, Ordering::Relaxed);
        }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        // SAFETY: our own child, which nobody else waits for.
        unsafe {
            libc::kill(self.pid, libc::SIGKILL);
            libc::waitpid(self.pid, std::ptr::null_mut(), 0);
        }
    }
}

fn stand_by(
    listener: &Listener,
    life: &OwnedFd,
    command: Option<&OwnedFd>,
    waiting: &Waiting,
) -> ! {
    let mut kept = [
        listener.as_fd().as_raw_fd(),
        life.as_raw_fd(),
        command.map_or(-1, AsRawFd::as_raw_fd),
    ];
    kept.sort_unstable();
    // SAFETY: numbers and memory of this function; only async-signal-safe functions.
    unsafe {
        // what a terminal or a supervisor sends to lanner's group is not for it
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::sigprocmask(libc::SIG_BLOCK, &raw const all, std::ptr::null_mut());
        libc::prctl(libc::PR_SET_NAME, c"lanner-watchdog".as_ptr());
        // whoever reads from a pipe that lanner writes to must see its end; ours of the pipe is among them
        close_but(&kept);
        let mut byte = 0_u8;
        while libc::read(life.as_raw_fd(), (&raw mut byte).cast(), 1) < 0 {}
        if let Some(command) = command {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                command.as_raw_fd(),
                libc::SIGKILL,
                0,
                0,
            );
        }
        let shared = waiting.shared();
        for member in [&shared.waits].into_iter().chain(&shared.members) {
            let pid = member.load(Ordering::Relaxed);
            if pid > 0 {
                libc::kill(pid, libc::SIGKILL);
            }
        }
        loop {
            let ready = listener.wait(None, Duration::from_mins(1));
            if ready.deserted {
                libc::_exit(0);
            }
            if ready.call
                && let Some(call) = listener.receive()
                && call.tid > 0
            {
                libc::kill(call.tid, libc::SIGKILL);
            }
        }
    }
}

/// Closes all descriptors but these, which ascend; negative ones are none.
fn close_but(kept: &[RawFd]) {
    let mut from = 0;
    for end in kept
        .iter()
        .copied()
        .filter(|fd| *fd >= 0)
        .map(Some)
        .chain([None])
    {
        let to = end.map_or(c_uint::MAX, |fd| fd.cast_unsigned().wrapping_sub(1));
        let first: RawFd = from;
        if end != Some(first) {
            // SAFETY: closing what this process does not use any more.
            unsafe {
                if libc::syscall(libc::SYS_close_range, first, to, 0) != 0 {
                    let last = end.unwrap_or(FEW.max(first));
                    (first..last).for_each(|fd| {
                        libc::close(fd);
                    });
                }
            }
        }
        from = end.map_or(first, |fd| fd + 1);
    }
}
