//! Who is followed: processes by their pidfds, which tell their ends, and the threads that have spoken.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use libc::{c_int, pid_t};

use crate::capture::IdHasher;
use crate::facts::Owner;
use crate::proc_dir::ProcDir;

type Map<T> = HashMap<pid_t, T, std::hash::BuildHasherDefault<IdHasher>>;

/// How often processes without a pidfd are looked at.
const LOOK: Duration = Duration::from_millis(20);
/// Births without a child that are remembered when their threads have ended.
const UNCLAIMED: usize = 64;
/// `PIDFD_GET_INFO`, `PIDFD_INFO_EXIT` of linux/pidfd.h (6.15), and the size of the first `struct pidfd_info`.
const GET_INFO: libc::c_ulong = 0xc040_ff0b;
const INFO_EXIT: u64 = 8;
const INFO_WORDS: usize = 8;

/// A call of the clone family whose child has not been seen yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Birth {
    /// The child is a thread of the same process.
    pub(crate) thread: bool,
    /// clone(2)'s flags; 0: fork(2).
    pub(crate) flags: u64,
}

/// Who made a child, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Maker {
    pub(crate) tid: pid_t,
    pub(crate) tgid: pid_t,
    pub(crate) owner: Owner,
    pub(crate) flags: u64,
}

/// A thread.
#[derive(Debug)]
pub(crate) struct Thread {
    pub(crate) tgid: pid_t,
    pub(crate) owner: Owner,
    /// It has made a call that may have changed the owner.
    pub(crate) owner_is_stale: bool,
    pub(crate) birth: Option<Birth>,
}

/// An exec that was entered.
#[derive(Debug)]
pub(crate) struct Begun {
    /// Who entered it.
    pub(crate) tid: pid_t,
    /// Its event as far as the entry can tell.
    pub(crate) event: Vec<u8>,
    /// The program before it.
    pub(crate) before: Option<Vec<u8>>,
}

/// A process.
#[derive(Debug)]
pub(crate) struct Process {
    pidfd: Option<OwnedFd>,
    pub(crate) threads: Vec<pid_t>,
    /// The status that it is about to end with, from its own word.
    pub(crate) leaving: Option<i32>,
    pub(crate) exec: Option<Begun>,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Processes {
    epoll: OwnedFd,
    processes: Map<Process>,
    pub(crate) threads: Map<Thread>,
    /// Execs that were entered.
    pub(crate) execs: usize,
    unclaimed: Vec<Maker>,
    /// Those that have no pidfd.
    strays: Vec<pid_t>,
    looked: Instant,
}

/// A descriptor that is readable when the process has ended (pidfd_open(2), Linux 5.3).
pub(crate) fn pidfd(pid: pid_t) -> Option<OwnedFd> {
    // SAFETY: numbers; the descriptor that comes back is ours.
    unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, pid, 0);
        let fd = c_int::try_from(fd).ok().filter(|fd| *fd >= 0)?;
        Some(OwnedFd::from_raw_fd(fd))
    }
}

impl Processes {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: takes a number; the descriptor that comes back is ours.
        let epoll = unsafe {
            let fd = libc::epoll_create1(libc::EPOLL_CLOEXEC);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(fd)
        };
        Ok(Self {
            epoll,
            processes: Map::default(),
            threads: Map::default(),
            execs: 0,
            unclaimed: Vec::new(),
            strays: Vec::new(),
            looked: Instant::now(),
        })
    }

    /// Readable when a process has ended.
    pub(crate) fn ends(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.processes.is_empty()
    }

    pub(crate) fn has_strays(&self) -> bool {
        !self.strays.is_empty()
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
            birth: None,
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
            self.strays.push(tgid);
        }
        let process = Process {
            pidfd,
            threads: vec![tid],
            leaving: None,
            exec: None,
        };
        self.processes.insert(tgid, process);
    }

    /// A thread has ended.
    pub(crate) fn remove_thread(&mut self, tid: pid_t) {
        let Some(thread) = self.threads.remove(&tid) else {
            return;
        };
        if let Some(process) = self.processes.get_mut(&thread.tgid) {
            process.threads.retain(|other| *other != tid);
        }
        if let Some(birth) = thread.birth.filter(|birth| !birth.thread) {
            if self.unclaimed.len() == UNCLAIMED {
                self.unclaimed.remove(0);
            }
            self.unclaimed.push(maker(tid, &thread, birth.flags));
        }
    }

    /// A process has ended, and its threads with it.
    pub(crate) fn remove(&mut self, tgid: pid_t) -> Option<Process> {
        let process = self.processes.remove(&tgid)?;
        self.execs -= usize::from(process.exec.is_some());
        self.strays.retain(|stray| *stray != tgid);
        for tid in &process.threads {
            self.remove_thread(*tid);
        }
        Some(process)
    }

    /// Those that have ended. Those without a pidfd are looked at now and then, or `now`.
    pub(crate) fn ended(&mut self, now: bool) -> Vec<pid_t> {
        // SAFETY: plain data; the kernel writes at most as many as there are.
        let mut ended = unsafe {
            let mut events: [libc::epoll_event; 64] = std::mem::zeroed();
            let got = libc::epoll_wait(self.epoll.as_raw_fd(), events.as_mut_ptr(), 64, 0);
            let got = usize::try_from(got).unwrap_or(0);
            events[..got]
                .iter()
                .filter_map(|event| pid_t::try_from(event.u64).ok())
                .collect::<Vec<_>>()
        };
        if self.has_strays() && (now || self.looked.elapsed() > LOOK) {
            self.looked = Instant::now();
            ended.extend(self.strays.iter().filter(|pid| is_over(**pid)));
        }
        ended
    }

    /// Ends a process that is followed.
    pub(crate) fn kill(&self, tgid: pid_t) {
        let pidfd = self.processes.get(&tgid).and_then(|p| p.pidfd.as_ref());
        // SAFETY: numbers. Without a pidfd, the process has not been seen to end.
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

    /// Who made a child: of the parent that /proc names, the thread that has made such a call last; where the
    /// parent is gone, whoever has ended without its child having been seen. Each call has one child.
    pub(crate) fn maker(&mut self, parent: Option<pid_t>, is_thread: bool) -> Option<Maker> {
        let claim = |tid: pid_t, threads: &mut Map<Thread>| {
            let thread = threads.get_mut(&tid)?;
            let birth = thread.birth.filter(|birth| birth.thread == is_thread)?;
            thread.birth = None;
            Some(maker(tid, thread, birth.flags))
        };
        let parent = parent.filter(|parent| self.processes.contains_key(parent));
        if let Some(process) = parent.and_then(|parent| self.processes.get(&parent)) {
            let threads = &mut self.threads;
            if let Some(maker) = process.threads.iter().find_map(|tid| claim(*tid, threads)) {
                return Some(maker);
            }
            // made by a call that was not seen, or by one whose child is told already
            let tid = *process.threads.first()?;
            return self.threads.get(&tid).map(|thread| maker(tid, thread, 0));
        }
        if !self.unclaimed.is_empty() {
            return Some(self.unclaimed.remove(0));
        }
        let waiting = self
            .threads
            .iter()
            .find(|(_, thread)| thread.birth.is_some());
        let tid = waiting.map(|(tid, _)| *tid)?;
        claim(tid, &mut self.threads)
    }

    /// The wait status of a process that has ended; none: nobody told.
    pub(crate) fn status(&self, tgid: pid_t) -> Option<i32> {
        let process = self.processes.get(&tgid);
        let pidfd = process.and_then(|process| process.pidfd.as_ref());
        let told = || pidfd.and_then(exit_info);
        adopted(tgid)
            .or_else(told)
            .or_else(|| of_zombie(tgid))
            // its parent has waited for it meanwhile
            .or_else(told)
            .or_else(|| process.and_then(|process| process.leaving))
    }
}

fn maker(tid: pid_t, thread: &Thread, flags: u64) -> Maker {
    Maker {
        tid,
        tgid: thread.tgid,
        owner: thread.owner,
        flags,
    }
}

/// Reaps a process whose parent is gone and which is our child thereby; the command is one from the start.
fn adopted(pid: pid_t) -> Option<i32> {
    let mut status = 0;
    // SAFETY: the kernel writes one int. A followed process that is our child is nobody else's to reap.
    let got = unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG | libc::__WALL) };
    (got == pid).then_some(status)
}

/// What the kernel keeps of a process that was waited for: Linux 6.15.
fn exit_info(pidfd: &OwnedFd) -> Option<i32> {
    let mut info = [0_u64; INFO_WORDS];
    info[0] = INFO_EXIT;
    // SAFETY: the kernel writes at most as many bytes as the request says there are.
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

/// The fields of /proc/PID/stat behind the name (proc(5)), from the third on.
fn stat<const N: usize>(pid: pid_t, fields: [usize; N]) -> Option<[String; N]> {
    let mut room = [0; 1024];
    let text = ProcDir::open(pid.unsigned_abs())?.read(c"stat", &mut room)?;
    let behind = text.iter().rposition(|b| *b == b')')? + 2;
    let words: Vec<&str> = std::str::from_utf8(text.get(behind..)?)
        .ok()?
        .split_ascii_whitespace()
        .collect();
    Some(fields.map(|field| words.get(field - 3).copied().unwrap_or_default().to_owned()))
}

/// The status of a process that nobody has waited for yet: field 52.
fn of_zombie(pid: pid_t) -> Option<i32> {
    let [state, code] = stat(pid, [3, 52])?;
    // those whom the kernel does not tell get a 0 (fs/proc/array.c)
    (state == "Z")
        .then(|| code.parse().ok())?
        .filter(|code| *code != 0)
}

fn is_over(pid: pid_t) -> bool {
    stat(pid, [3]).is_none_or(|[state]| matches!(state.as_str(), "Z" | "X"))
}

/// The threads of a process, or the children of a thread (where the kernel has CONFIG_PROC_CHILDREN).
pub(crate) fn offspring(tgid: pid_t, tid: pid_t, threads: bool) -> Vec<pid_t> {
    if threads {
        let Ok(entries) = fs::read_dir(format!("/proc/{tgid}/task")) else {
            return Vec::new();
        };
        return entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect();
    }
    fs::read_to_string(format!("/proc/{tgid}/task/{tid}/children"))
        .unwrap_or_default()
        .split_ascii_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect()
}
