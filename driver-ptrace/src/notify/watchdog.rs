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
    /// The threads that wait for lanner's answer, by their ids; 0: a free place. The kernel reports them to lanner alone.
    waiting: [AtomicI32; PLACES],
    /// The followed processes, by their ids; 0: a free place.
    processes: [AtomicI32; PLACES],
}

#[derive(Debug)]
struct SharedMemory(NonNull<Shared>);

// SAFETY: the mapping lives as long as this and has atomic numbers alone, which any thread may use.
unsafe impl Send for SharedMemory {}
// SAFETY: as above.
unsafe impl Sync for SharedMemory {}

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
}

/// The places where an id can be.
fn places_of(all: &[AtomicI32; PLACES], id: pid_t) -> impl Iterator<Item = &AtomicI32> {
    let first = id.unsigned_abs() as usize;
    (first..first + PROBES).filter_map(|at| all.get(at % PLACES))
}

/// Replaces a number in one of an id's places, if one has it.
fn replace(all: &[AtomicI32; PLACES], id: pid_t, (from, to): (pid_t, pid_t)) {
    // lanner's threads may be looking for a free place at the same time
    let order = Ordering::Relaxed;
    let mut places = places_of(all, id);
    places.any(|place| place.compare_exchange(from, to, order, order).is_ok());
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

    /// Notes a thread that waits for lanner's answer.
    pub(crate) fn note_waiting(&self, tid: pid_t) {
        replace(&self.memory.shared().waiting, tid, (0, tid));
    }

    /// A thread that was noted does not wait any more.
    pub(crate) fn forget_waiting(&self, tid: pid_t) {
        replace(&self.memory.shared().waiting, tid, (tid, 0));
    }

    /// A process is followed. If there is no place for it, it is killed at its next call instead of at once.
    pub(crate) fn add(&self, pid: pid_t) {
        replace(&self.memory.shared().processes, pid, (0, pid));
    }

    /// A process has ended.
    pub(crate) fn remove(&self, pid: pid_t) {
        replace(&self.memory.shared().processes, pid, (pid, 0));
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
        for place in shared.waiting.iter().chain(&shared.processes) {
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
