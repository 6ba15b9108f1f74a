//! Which processes are followed, by pidfds that report their ends, and which of their threads are known.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use libc::{c_int, pid_t};
use proc_pid::{Field, State, TICKS_PER_SECOND};

use super::family::Image;
use crate::id_map::IdMap;
use crate::proc_dir::ProcDir;
use crate::threads::Owner;

/// The time between two looks at processes without a pidfd.
const LOOK: Duration = Duration::from_millis(20);
/// `PIDFD_GET_INFO`, `PIDFD_INFO_EXIT` of linux/pidfd.h (6.15), and the size of the first `struct pidfd_info`.
const GET_INFO: libc::Ioctl = 0xc040_ff0b_u32 as libc::Ioctl;
const INFO_EXIT: u64 = 8;
const INFO_WORDS: usize = 8;

/// The process that made a child, by its first thread: which one made the call is not known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parent {
    pub(crate) tid: pid_t,
    pub(crate) tgid: pid_t,
    pub(crate) owner: Owner,
}

/// What tells a program that processes execute from every other: a process shares it with those that it makes.
pub(crate) type Program = Arc<[u8]>;

/// How many processes that have ended are remembered.
const REMEMBERED: usize = 64;

/// A process that has ended, and may have left an orphan that has not made a call yet.
#[derive(Debug)]
struct Ended {
    parent: Parent,
    program: Program,
    /// When lanner noticed its end, in ticks since boot.
    at: u64,
}

/// A known thread.
#[derive(Debug)]
pub(crate) struct Thread {
    pub(crate) tgid: pid_t,
    pub(crate) owner: Owner,
    /// It has made a call that may have changed its owner.
    pub(crate) owner_is_stale: bool,
}

/// An exec that was entered, and may succeed or fail.
#[derive(Debug)]
pub(crate) struct PendingExec {
    /// The thread that entered it.
    pub(crate) tid: pid_t,
    /// Its event, with what its entry can say.
    pub(crate) event: Vec<u8>,
    /// What the process ran before it.
    pub(crate) before: Image,
}

/// A followed process.
#[derive(Debug)]
pub(crate) struct Process {
    pidfd: Option<OwnedFd>,
    pub(crate) threads: Vec<pid_t>,
    /// The status that its last thread has given to exit(2).
    pub(crate) leaving: Option<i32>,
    pub(crate) exec: Option<PendingExec>,
    /// What it runs. None: lanner may not know.
    program: Option<Program>,
    /// Its place among all processes, in the order in which they were first seen.
    order: u64,
}

/// All followed processes.
#[derive(Debug)]
pub(crate) struct Processes {
    epoll: OwnedFd,
    processes: IdMap<Process>,
    pub(crate) threads: IdMap<Thread>,
    /// How many processes have a pending exec.
    pub(crate) execs: usize,
    /// The processes that have no pidfd, and when they were looked at last.
    without_pidfd: Vec<pid_t>,
    looked: Instant,
    /// The processes that ended last.
    ended: VecDeque<Ended>,
    /// How many processes there have been.
    seen: u64,
}

/// A descriptor that becomes readable when the process has ended (pidfd_open(2), Linux 5.3).
pub(crate) fn pidfd(pid: pid_t) -> Option<OwnedFd> {
    // SAFETY: the call takes numbers; the new descriptor is ours alone.
    unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, pid, 0);
        let fd = c_int::try_from(fd).ok().filter(|fd| *fd >= 0)?;
        Some(OwnedFd::from_raw_fd(fd))
    }
}

impl Processes {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: the call takes a number; the new descriptor is ours alone.
        let epoll = unsafe {
            let fd = libc::epoll_create1(libc::EPOLL_CLOEXEC);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(fd)
        };
        Ok(Self {
            epoll,
            processes: IdMap::default(),
            threads: IdMap::default(),
            execs: 0,
            without_pidfd: Vec::new(),
            looked: Instant::now(),
            ended: VecDeque::with_capacity(REMEMBERED),
            seen: 0,
        })
    }

    /// Becomes readable when a process has ended.
    pub(crate) fn ends(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.processes.is_empty()
    }

    /// Whether the ends of some processes have to be looked for.
    pub(crate) fn lacks_pidfds(&self) -> bool {
        !self.without_pidfd.is_empty()
    }

    pub(crate) fn all(&self) -> Vec<pid_t> {
        self.processes.keys().copied().collect()
    }

    pub(crate) fn get_mut(&mut self, tgid: pid_t) -> Option<&mut Process> {
        self.processes.get_mut(&tgid)
    }

    pub(crate) fn has(&self, tgid: pid_t) -> bool {
        self.processes.contains_key(&tgid)
    }

    /// Follows a thread, and its process if that is new.
    pub(crate) fn add(&mut self, tid: pid_t, tgid: pid_t, owner: Owner) {
        let thread = Thread {
            tgid,
            owner,
            owner_is_stale: false,
        };
        self.threads.insert(tid, thread);
        if let Some(process) = self.processes.get_mut(&tgid) {
            process.threads.push(tid);
            return;
        }
        let pidfd = pidfd(tgid).filter(|pidfd| {
            let mut event = libc::epoll_event {
                events: libc::EPOLLIN.cast_unsigned(),
                u64: u64::from(tgid.unsigned_abs()),
            };
            // SAFETY: the kernel reads one event.
            unsafe {
                libc::epoll_ctl(
                    self.epoll.as_raw_fd(),
                    libc::EPOLL_CTL_ADD,
                    pidfd.as_raw_fd(),
                    &raw mut event,
                ) == 0
            }
        });
        if pidfd.is_none() {
            self.without_pidfd.push(tgid);
        }
        let process = Process {
            pidfd,
            threads: vec![tid],
            leaving: None,
            exec: None,
            program: None,
            order: self.seen,
        };
        self.seen += 1;
        self.processes.insert(tgid, process);
    }

    /// What a process runs.
    pub(crate) fn program(&self, tgid: pid_t) -> Option<&Program> {
        self.processes.get(&tgid)?.program.as_ref()
    }

    /// A process runs this.
    pub(crate) fn set_program(&mut self, tgid: pid_t, program: Option<Program>) {
        if let Some(process) = self.processes.get_mut(&tgid) {
            process.program = program;
        }
    }

    /// The process that made an orphan, as far as that can be told: the last one that ran the same program and has ended since the
    /// orphan's birth (`born`, in ticks since boot). If none was seen to end, it ended before its first call: then it is the first
    /// process that runs the program.
    pub(crate) fn parent_of_orphan(&self, program: &[u8], born: u64) -> Option<Parent> {
        let runs_it = |process: &&Process| process.program.as_deref() == Some(program);
        let running = || {
            self.processes
                .iter()
                .filter(|(_, process)| runs_it(process))
        };
        let ended = running().filter(|(tgid, _)| has_ended(**tgid));
        if let Some((tgid, _)) = ended.max_by_key(|(_, process)| process.order) {
            return self.parent(*tgid);
        }
        let ended = self.ended.iter().rev();
        let mut ended = ended.filter(|one| *one.program == *program && one.at >= born);
        if let Some(one) = ended.next() {
            return Some(one.parent);
        }
        let (tgid, _) = running().min_by_key(|(_, process)| process.order)?;
        self.parent(*tgid)
    }

    /// A thread has ended.
    pub(crate) fn remove_thread(&mut self, tid: pid_t) {
        let Some(thread) = self.threads.remove(&tid) else {
            return;
        };
        if let Some(process) = self.processes.get_mut(&thread.tgid) {
            process.threads.retain(|other| *other != tid);
        }
    }

    /// A process has ended, and its threads with it.
    pub(crate) fn remove(&mut self, tgid: pid_t) -> Option<Process> {
        let parent = self.parent(tgid);
        let process = self.processes.remove(&tgid)?;
        if let Some((parent, program)) = parent.zip(process.program.clone()) {
            if self.ended.len() == REMEMBERED {
                self.ended.pop_front();
            }
            let at = ticks_since_boot();
            self.ended.push_back(Ended {
                parent,
                program,
                at,
            });
        }
        self.execs -= usize::from(process.exec.is_some());
        self.without_pidfd.retain(|other| *other != tgid);
        for tid in &process.threads {
            self.remove_thread(*tid);
        }
        Some(process)
    }

    /// The processes that have ended. Those without a pidfd are looked at every now and then, and if `now` is set.
    pub(crate) fn ended(&mut self, now: bool) -> Vec<pid_t> {
        // SAFETY: plain data, for which zeros are valid; the kernel writes at most the 64 events that there are.
        let mut ended = unsafe {
            let mut events: [libc::epoll_event; 64] = std::mem::zeroed();
            let got = libc::epoll_wait(self.epoll.as_raw_fd(), events.as_mut_ptr(), 64, 0);
            let got = usize::try_from(got).unwrap_or(0);
            events[..got]
                .iter()
                .filter_map(|event| pid_t::try_from(event.u64).ok())
                .collect::<Vec<_>>()
        };
        if self.lacks_pidfds() && (now || self.looked.elapsed() > LOOK) {
            self.looked = Instant::now();
            ended.extend(self.without_pidfd.iter().filter(|pid| has_ended(**pid)));
        }
        ended
    }

    /// Kills a followed process.
    pub(crate) fn kill(&self, tgid: pid_t) {
        let pidfd = self.processes.get(&tgid).and_then(|p| p.pidfd.as_ref());
        // SAFETY: both calls take numbers. A process without a pidfd was not seen to end, so that its id is its own.
        unsafe {
            match pidfd {
                Some(fd) => libc::syscall(
                    libc::SYS_pidfd_send_signal,
                    fd.as_raw_fd(),
                    libc::SIGKILL,
                    0,
                    0,
                ),
                None => libc::kill(tgid, libc::SIGKILL).into(),
            };
        }
    }

    /// A process that is followed, as the parent of another one.
    pub(crate) fn parent(&self, tgid: pid_t) -> Option<Parent> {
        let tid = *self.processes.get(&tgid)?.threads.first()?;
        let owner = self.threads.get(&tid)?.owner;
        Some(Parent { tid, tgid, owner })
    }

    /// The wait status of a process that has ended. None: it cannot be found out.
    pub(crate) fn status(&self, tgid: pid_t) -> Option<i32> {
        let process = self.processes.get(&tgid);
        let pidfd = process.and_then(|process| process.pidfd.as_ref());
        let kept = || pidfd.and_then(exit_info);
        reaped(tgid)
            .or_else(kept)
            .or_else(|| of_zombie(tgid))
            // its parent may have waited for it meanwhile
            .or_else(kept)
            .or_else(|| process.and_then(|process| process.leaving))
    }
}

/// The time in which /proc has the births of processes.
fn ticks_since_boot() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the kernel writes one timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut now) };
    let (seconds, nanoseconds) = (now.tv_sec.cast_unsigned(), now.tv_nsec.cast_unsigned());
    seconds * TICKS_PER_SECOND + nanoseconds * TICKS_PER_SECOND / 1_000_000_000
}

/// Reaps a process that is lanner's child: the command, or an orphan.
fn reaped(pid: pid_t) -> Option<i32> {
    let mut status = 0;
    // SAFETY: the kernel writes one int. No other part of lanner waits for a followed process.
    let got = unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG | libc::__WALL) };
    (got == pid).then_some(status)
}

/// The wait status of a process that was waited for, which the kernel keeps with its pidfd (Linux 6.15).
fn exit_info(pidfd: &OwnedFd) -> Option<i32> {
    let mut info = [0_u64; INFO_WORDS];
    info[0] = INFO_EXIT;
    // SAFETY: the kernel writes at most 64 bytes, the size in the request, and `info` has as many.
    let error = unsafe { libc::ioctl(pidfd.as_raw_fd(), GET_INFO, info.as_mut_ptr()) };
    // the last 32 bits of the structure
    (error == 0 && info[0] & INFO_EXIT != 0).then(|| {
        i32::from_ne_bytes(
            (info[INFO_WORDS - 1].to_ne_bytes()[4..8])
                .try_into()
                .unwrap_or_default(),
        )
    })
}

/// The wait status of a process that was not waited for yet.
fn of_zombie(pid: pid_t) -> Option<i32> {
    let mut room = [0; 1024];
    let stat = ProcDir::open(pid.unsigned_abs())?.stat(&mut room)?;
    let status = stat.get(Field::ExitStatus);
    // the kernel also writes 0 if lanner is not allowed to know the status (fs/proc/array.c)
    status.filter(|status| stat.state() == State::Zombie && *status != 0)
}

fn has_ended(pid: pid_t) -> bool {
    let mut room = [0; 1024];
    let dir = ProcDir::open(pid.unsigned_abs());
    let stat = dir.and_then(|dir| dir.stat(&mut room));
    stat.is_none_or(|stat| stat.state().has_ended())
}
