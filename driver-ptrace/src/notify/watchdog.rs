//! A process that ends the command if lanner is killed. A call that waits for an answer would fail with ENOSYS then
//! (seccomp_unotify(2)), which no program expects. The watchdog has the listener, too: it kills all processes that
//! were followed, and then every thread that makes a call which the filter asks about.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use libc::pid_t;

use super::listener::Listener;
use super::processes::pidfd;
use crate::forked;

/// Places for followed processes.
const PLACES: usize = 16383;
/// How many places are looked at for one process.
const PROBES: usize = 16;

/// What lanner and the watchdog share.
#[derive(Debug)]
#[repr(C)]
struct Shared {
    /// The thread that waits for lanner's answer; 0: none. The kernel reports it to lanner alone.
    waiting: AtomicI32,
    /// The followed processes, by their ids; 0: a free place.
    processes: [AtomicI32; PLACES],
}

#[derive(Debug)]
struct SharedMemory(NonNull<Shared>);

// SAFETY: the mapping lives as long as this and has atomic numbers alone, which any thread may use.
unsafe impl Send for SharedMemory {}

impl SharedMemory {
    fn new() -> io::Result<Self> {
        // SAFETY: a new mapping. The kernel fills it with zeros, which are valid numbers.
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
        // SAFETY: mapped by new for as long as this lives, aligned to a page, and all that both processes do with it
        // is atomic.
        unsafe { self.0.as_ref() }
    }

    /// The places where a process can be.
    fn places(&self, pid: pid_t) -> impl Iterator<Item = &AtomicI32> {
        let first = pid.unsigned_abs() as usize;
        (first..first + PROBES).filter_map(|at| self.shared().processes.get(at % PLACES))
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        // SAFETY: mapped by new, and unmapped once: no reference outlives this.
        unsafe { libc::munmap(self.0.as_ptr().cast(), size_of::<Shared>()) };
    }
}

/// The running watchdog. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Watchdog {
    pid: pid_t,
    memory: SharedMemory,
    /// The kernel closes this pipe when lanner ends, in whatever way.
    _alive: OwnedFd,
}

impl Watchdog {
    /// Forks the watchdog for a command.
    ///
    /// # Errors
    ///
    /// The kernel refused memory, a pipe or a process.
    pub(crate) fn new(listener: &Listener, command: pid_t) -> io::Result<Self> {
        let command = pidfd(command);
        let memory = SharedMemory::new()?;
        let mut ends = [0; 2];
        // SAFETY: the kernel writes two descriptors.
        if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptors are new, and ours alone.
        let [life, alive] = ends.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
        // SAFETY: the child calls only async-signal-safe functions, does not allocate, and never returns.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => watch(listener, &life, command.as_ref(), &memory),
            pid => Ok(Self {
                pid,
                memory,
                _alive: alive,
            }),
        }
    }

    /// Notes the thread that waits for lanner's answer; 0: none.
    pub(crate) fn note_waiting(&self, tid: pid_t) {
        self.memory.shared().waiting.store(tid, Ordering::Relaxed);
    }

    /// A process is followed. If there is no place for it, it is killed at its next call instead of at once.
    pub(crate) fn add(&self, pid: pid_t) {
        if let Some(place) = self
            .memory
            .places(pid)
            .find(|place| place.load(Ordering::Relaxed) == 0)
        {
            place.store(pid, Ordering::Relaxed);
        }
    }

    /// A process has ended.
    pub(crate) fn remove(&self, pid: pid_t) {
        if let Some(place) = self
            .memory
            .places(pid)
            .find(|place| place.load(Ordering::Relaxed) == pid)
        {
            place.store(0, Ordering::Relaxed);
        }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        // SAFETY: kill(2) takes numbers. The watchdog is a child that was not waited for, so that the id is its own.
        unsafe { libc::kill(self.pid, libc::SIGKILL) };
        // SAFETY: waitpid(2) gets no memory.
        while unsafe { libc::waitpid(self.pid, std::ptr::null_mut(), 0) } < 0
            && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
        {}
    }
}

/// What the watchdog does: waits for lanner's end, and then kills. It does not allocate.
fn watch(
    listener: &Listener,
    life: &OwnedFd,
    command: Option<&OwnedFd>,
    memory: &SharedMemory,
) -> ! {
    forked::settle(
        c"lanner-watchdog",
        [
            listener.as_fd().as_raw_fd(),
            life.as_raw_fd(),
            command.map_or(-1, AsRawFd::as_raw_fd),
        ],
    );
    // SAFETY: these calls take numbers, and memory of this function that outlives them.
    unsafe {
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
        let shared = memory.shared();
        for place in [&shared.waiting].into_iter().chain(&shared.processes) {
            let pid = place.load(Ordering::Relaxed);
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
