//! `struct task_struct`: ids, relatives, credentials, exit codes. Children of this process have values that the search
//! chose.

use std::fs::File;
use std::io::{self, PipeWriter, Read, Write, pipe};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{getresgid, getresuid};

use super::error::OffsetsError;
use super::offset;
use super::peek::{
    PAUSE, Peek, REPETITIONS, identify, is_pointer, offsets_of, pointers, u32_at, u64_at,
};
use crate::layout::{Caller, Offsets, have};

/// Bytes of a task_struct that are searched. The fields are before the registers at its end.
const TASK: usize = 8192;

/// How long the search waits for the last process of the family, in milliseconds.
const READY: u16 = 2000;

/// Indices in the map `callers`. 0 is this thread.
const THREAD: u8 = 1;
const MIDDLE: u8 = 2;
const LEAF: u8 = 3;
const ENDING: u8 = 4;

/// Reads the bytes of a task that are searched.
pub(super) fn bytes_of(peek: &mut Peek, task: u64) -> Vec<u8> {
    peek.read_prefix(task, TASK)
}

/// Finds `pid`, which `tgid` follows. They differ in a thread that is not the first of its process.
pub(super) fn pid(peek: &mut Peek) -> Result<u32, OffsetsError> {
    let magic = peek.magic;
    let (identified, wait) = mpsc::channel();
    let (end, ended) = mpsc::channel::<()>();
    thread::scope(|scope| {
        thread::Builder::new()
            .name("lanner-offsets".to_owned())
            .spawn_scoped(scope, move || {
                // again and again, because the kernel can skip the program
                loop {
                    identify(magic, THREAD);
                    if identified.send(()).is_err()
                        || ended.recv_timeout(PAUSE) != Err(RecvTimeoutError::Timeout)
                    {
                        break;
                    }
                }
            })
            .map_err(OffsetsError::Thread)?;
        let thread = (0..REPETITIONS).find_map(|_| {
            wait.recv().ok()?;
            peek.caller(THREAD)
        });
        let bytes = thread
            .map(|thread| bytes_of(peek, thread.task))
            .unwrap_or_default();
        drop(end);
        let thread = thread.ok_or(OffsetsError::NoAnswer)?;
        offsets_of(&bytes, thread.tid())
            .find(|&at| u32_at(&bytes, at + 4) == Some(thread.tgid()))
            .map(offset)
            .ok_or(OffsetsError::NoProcessIds)
    })
}

/// Forks a child that runs `child` and then ends with the exit code that it returned. Returns the child's process id.
///
/// # Errors
///
/// The kernel refused another process, for example because of a limit.
///
/// # Safety
///
/// `child` must call only async-signal-safe functions (signal-safety(7)): other threads may have held locks when the
/// process was copied.
pub(super) unsafe fn fork(child: impl FnOnce() -> i32) -> io::Result<libc::pid_t> {
    // SAFETY: fork(2) touches no memory of this process.
    match unsafe { libc::fork() } {
        0 => {
            let code = child();
            // SAFETY: _exit(2) ends the child. It runs no destructor and no exit handler.
            unsafe { libc::_exit(code) }
        }
        pid if pid > 0 => Ok(pid),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Forks as [`fork`] does. A failure is logged: what the child would have shown is then not found.
///
/// # Safety
///
/// That of [`fork`].
pub(super) unsafe fn fork_or_log(child: impl FnOnce() -> i32) -> Option<libc::pid_t> {
    // SAFETY: the caller's promise.
    let forked = unsafe { fork(child) };
    forked
        .inspect_err(|error| {
            tracing::warn!(
                "cannot start a child process that shows where the kernel keeps things: {error}"
            );
        })
        .ok()
}

/// Waits for a child to end, and returns its wait status.
pub(super) fn wait(pid: libc::pid_t) -> i32 {
    let mut status = 0;
    // SAFETY: waitpid(2) writes the status, which outlives the call.
    while unsafe { libc::waitpid(pid, &raw mut status, 0) } < 0
        && io::Error::last_os_error().raw_os_error() == Some(libc::EINTR)
    {}
    status
}

/// Finds `exit_code`, by two children that have ended and have not been waited for.
pub(super) fn exit_code(peek: &mut Peek, off: &mut Offsets) -> Option<()> {
    let magic = peek.magic;
    let mut ended = |code: u32| {
        // SAFETY: the child makes one system call.
        let pid = unsafe {
            fork_or_log(|| {
                identify(magic, ENDING);
                i32::try_from(code).unwrap_or(0)
            })
        }?;
        let id = libc::id_t::try_from(pid).ok()?;
        // SAFETY: siginfo_t is plain data, for which zeros are valid. waitid(2) writes one. With WNOWAIT the child remains
        // to be waited for.
        let left = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            libc::waitid(
                libc::P_PID,
                id,
                &raw mut info,
                libc::WEXITED | libc::WNOWAIT,
            )
        };
        let bytes = peek.caller(ENDING).map(|child| bytes_of(peek, child.task));
        wait(pid);
        if left == 0 { bytes } else { None }
    };
    let (first, second) = (ended(0x2a)?, ended(0x55)?);
    let at = offsets_of(&first, 0x2a00).find(|&at| u32_at(&second, at) == Some(0x5500))?;
    off.task_exit_code = offset(at);
    off.have |= have::EXIT;
    Some(())
}

/// Ids that no process has by chance: real, effective, saved.
const GIDS: [u32; 3] = [64_001, 64_002, 64_003];
const UIDS: [u32; 3] = [64_004, 64_005, 64_006];

/// A new session of three processes: its leader, the leader's child in a process group of its own, and the child's
/// child, the leaf. The leaf waits while its task_struct is searched.
pub(super) struct Family {
    middle: Caller,
    leaf: Caller,
    /// The leaf's task_struct.
    pub(super) bytes: Vec<u8>,
    /// The leaf has the ids [`UIDS`] and [`GIDS`].
    has_ids: bool,
    /// The session's controlling terminal.
    terminal: Option<Terminal>,
    _processes: Processes,
}

/// The processes of a family, which end when this is dropped.
struct Processes {
    /// The leader, which waits for the others.
    leader: libc::pid_t,
    /// Ends the leaf.
    end: PipeWriter,
}

impl Family {
    pub(super) fn new(peek: &mut Peek) -> Option<Self> {
        let magic = peek.magic;
        let terminal = Terminal::open();
        let path = terminal.as_ref().map(|terminal| terminal.path.as_ptr());
        let (mut ready_out, ready_in) = pipe().ok()?;
        let (end_out, end) = pipe().ok()?;
        let (ready, ended) = (ready_in.as_raw_fd(), end_out.as_raw_fd());
        // SAFETY: the processes make system calls alone, on descriptors and a path that were made before.
        let leader = unsafe {
            fork_or_log(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                libc::setsid();
                if let Some(path) = path {
                    // the first terminal that a session's leader opens becomes the controlling one
                    libc::open(path, libc::O_RDWR);
                }
                run_child(|| {
                    libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                    libc::setpgid(0, 0);
                    identify(magic, MIDDLE);
                    run_child(|| leaf(magic, ready, ended))
                })
            })
        }?;
        let processes = Processes { leader, end };
        // The processes have copies of it. Once none of them runs, reading ends.
        drop(ready_in);
        let mut fds = [PollFd::new(ready_out.as_fd(), PollFlags::POLLIN)];
        if !poll(&mut fds, PollTimeout::from(READY)).is_ok_and(|ready| ready > 0) {
            return None;
        }
        let mut answer = [0];
        ready_out.read_exact(&mut answer).ok()?;
        let leaf = peek.caller(LEAF)?;
        Some(Self {
            middle: peek.caller(MIDDLE)?,
            leaf,
            bytes: bytes_of(peek, leaf.task),
            has_ids: answer[0] == 1,
            terminal,
            _processes: processes,
        })
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        // Closing the pipe might not do: a process that another thread has forked meanwhile may hold it, too.
        let _ = self.end.write_all(&[0]);
        wait(self.leader);
    }
}

/// Forks a child, waits for it, and returns an exit code. This is async-signal-safe.
///
/// # Safety
///
/// That of [`fork`].
unsafe fn run_child(child: impl FnOnce() -> i32) -> i32 {
    // SAFETY: the caller's promise.
    match unsafe { fork(child) } {
        Ok(pid) => {
            wait(pid);
            0
        }
        // the pipe closes, so that the search does not wait for the leaf
        Err(_) => 1,
    }
}

/// What the leaf does: it takes ids of its own, reports that it is ready, and waits for the end.
///
/// # Safety
///
/// For a forked child; both descriptors are open pipes.
unsafe fn leaf(magic: u32, ready: i32, ended: i32) -> i32 {
    // SAFETY: system calls on memory of this function. libc's setresuid(3) must not be used: it would signal threads
    // that the fork has not copied.
    unsafe {
        let ids = |call, [real, effective, saved]: [u32; 3]| {
            libc::syscall(call, real, effective, saved) == 0
        };
        let done = [u8::from(
            ids(libc::SYS_setresgid, GIDS) && ids(libc::SYS_setresuid, UIDS),
        )];
        identify(magic, LEAF);
        // Each process dies with its parent, and the leader with lanner. This is set late because a change of ids resets
        // it (prctl(2)).
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        libc::write(ready, done.as_ptr().cast(), 1);
        let mut byte = [0u8];
        libc::read(ended, byte.as_mut_ptr().cast(), 1);
    }
    0
}

/// Finds `real_parent`, which `parent` follows. Both are the same in a process that is not traced.
pub(super) fn parent(off: &mut Offsets, family: &Family) -> Option<()> {
    let bytes = &family.bytes;
    let parent = family.middle.task;
    let at = pointers(bytes)
        .find(|&(at, to)| to == parent && u64_at(bytes, at + 8) == Some(parent))?
        .0;
    off.task_real_parent = offset(at);
    off.have |= have::PARENT;
    Some(())
}

/// The leaf's ids in the order of `struct cred` (include/linux/cred.h): user and group, first the real ones, then the saved,
/// the effective, and those for files.
fn ids(family: &Family) -> Option<Vec<u32>> {
    if family.has_ids {
        let [(uid, gid), (euid, egid), (suid, sgid)] = [0, 1, 2].map(|n| (UIDS[n], GIDS[n]));
        return Some(vec![uid, gid, suid, sgid, euid, egid]);
    }
    // A leaf that is not permitted to choose its ids has those of lanner. If all four are the same, eight known words in a
    // row can be searched for, unless they are zero.
    let (users, groups) = (getresuid().ok()?, getresgid().ok()?);
    let same = users.real == users.effective
        && users.real == users.saved
        && groups.real == groups.effective
        && groups.real == groups.saved;
    let (uid, gid) = (users.real.as_raw(), groups.real.as_raw());
    (same && uid != 0 && gid != 0).then(|| [uid, gid].repeat(4))
}

/// Finds `cred`, which follows `real_cred` and is the same, and the ids in it.
pub(super) fn credentials(peek: &mut Peek, off: &mut Offsets, family: &Family) -> Option<()> {
    let ids: Vec<u8> = ids(family)?
        .iter()
        .flat_map(|id| id.to_ne_bytes())
        .collect();
    let bytes = &family.bytes;
    let (at, uid) = pointers(bytes)
        .filter(|&(at, to)| u64_at(bytes, at + 8) == Some(to))
        .find_map(|(at, cred)| {
            let bytes = peek.read(cred, 96)?;
            Some((
                at + 8,
                bytes.windows(ids.len()).step_by(4).position(|w| w == ids)? * 4,
            ))
        })?;
    off.task_cred = offset(at);
    off.cred_uid = offset(uid);
    off.have |= have::CRED;
    Some(())
}

/// Finds the process group and the session. Since Linux 4.19 the signal_struct has pointers to the struct pid of the
/// process, the group and the session, and the task has the thread's. Before that the task has those of the thread, the
/// group and the session, each after a list node.
pub(super) fn groups(peek: &mut Peek, off: &mut Offsets, family: &Family) -> Option<()> {
    let (leaf, group) = (family.leaf.tid(), family.middle.tid());
    let own: Vec<u64> = pointers(&family.bytes).map(|(_, to)| to).collect();
    let mut number = None;
    for (at, signal) in pointers(&family.bytes) {
        let Some(bytes) = read_signal(peek, signal) else {
            continue;
        };
        let found = pointers(&bytes).find_map(|(o, pid)| {
            let (group_pid, session_pid) = (u64_at(&bytes, o + 8)?, u64_at(&bytes, o + 16)?);
            let shape = own.contains(&pid)
                && is_pointer(group_pid)
                && is_pointer(session_pid)
                && group_pid != pid
                && session_pid != group_pid;
            let nr = shape
                .then(|| pid_number(peek, (pid, leaf), (group_pid, group)))
                .flatten()?;
            Some((o + 8, nr, session_pid))
        });
        if let Some((groups, nr, session)) = found {
            off.task_signal = offset(at);
            off.groups = offset(groups);
            off.groups_in_task = 0;
            off.groups_stride = 8;
            number = Some((nr, session));
            break;
        }
    }
    if number.is_none() {
        number = pointers(&family.bytes).find_map(|(at, pid)| {
            let (group_pid, session_pid) = (
                u64_at(&family.bytes, at + 24)?,
                u64_at(&family.bytes, at + 48)?,
            );
            let shape = is_pointer(group_pid) && is_pointer(session_pid) && group_pid != pid;
            let nr = shape
                .then(|| pid_number(peek, (pid, leaf), (group_pid, group)))
                .flatten()?;
            off.groups = offset(at + 24);
            off.groups_in_task = 1;
            off.groups_stride = 24;
            Some((nr, session_pid))
        });
    }
    let (nr, session) = number?;
    off.pid_nr = offset(nr);
    let leader = peek
        .read(session, nr + 4)
        .and_then(|bytes| u32_at(&bytes, nr))?;
    if leader == 0 || leader == leaf || leader == group {
        return None;
    }
    off.have |= have::GROUPS;
    Some(())
}

/// Finds `thread_pid`, by the thread ids in what it points to. Before Linux 4.19 the first of the task's links to its
/// struct pids has the same pointer.
pub(super) fn thread_pid(
    peek: &mut Peek,
    off: &mut Offsets,
    task: &[u8],
    family: &Family,
) -> Option<()> {
    let (leaf, mine) = (family.leaf.tid(), peek.caller(0)?.tid());
    let nr = off.pid_nr as usize;
    let mut number = |pid: u64| peek.read(pid, nr + 4).and_then(|bytes| u32_at(&bytes, nr));
    let at = pointers(&family.bytes).find(|&(at, pid)| {
        let own = u64_at(task, at).filter(|own| is_pointer(*own));
        number(pid) == Some(leaf) && own.is_some_and(|own| number(own) == Some(mine))
    })?;
    off.task_thread_pid = offset(at.0);
    off.have |= have::THREAD_PID;
    Some(())
}

/// Finds the number in the initial PID namespace in a struct pid, by two of them whose numbers are known.
fn pid_number(
    peek: &mut Peek,
    (one, is): (u64, u32),
    (other, is_other): (u64, u32),
) -> Option<usize> {
    let (one, other) = (peek.read(one, 160)?, peek.read(other, 160)?);
    offsets_of(&one, is).find(|&at| u32_at(&other, at) == Some(is_other))
}

/// A pseudo-terminal with a number that is not small, so that it cannot be mistaken for a counter.
struct Terminal {
    number: u32,
    path: std::ffi::CString,
    _masters: Vec<File>,
}

impl Terminal {
    fn open() -> Option<Self> {
        const MIN_NUMBER: u32 = 16;
        const MAX_TRIES: usize = 64;
        let mut masters = Vec::new();
        loop {
            let master = File::options()
                .read(true)
                .write(true)
                .open("/dev/ptmx")
                .ok()?;
            let (mut number, unlocked) = (0u32, 0i32);
            // SAFETY: TIOCGPTN writes a number, TIOCSPTLCK reads one (ioctl_tty(2)). Both outlive the calls.
            let errors = unsafe {
                libc::ioctl(master.as_raw_fd(), libc::TIOCGPTN, &raw mut number)
                    | libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlocked)
            };
            masters.push(master);
            if errors != 0 || masters.len() > MAX_TRIES {
                return None;
            }
            if number >= MIN_NUMBER {
                let path = std::ffi::CString::new(format!("/dev/pts/{number}")).ok()?;
                return Some(Self {
                    number,
                    path,
                    _masters: masters,
                });
            }
        }
    }
}

/// Finds `signal->tty`, its index, and the numbers in its driver (include/linux/tty_driver.h).
pub(super) fn terminal(peek: &mut Peek, off: &mut Offsets, family: &Family) -> Option<()> {
    // major, minor_start and num of the driver of Unix98 pseudo-terminals
    const SLAVES: [u32; 3] = [136, 0, 1 << 20];
    let number = family.terminal.as_ref()?.number;
    let numbers: Vec<u8> = SLAVES.iter().flat_map(|n| n.to_ne_bytes()).collect();
    for (at, signal) in pointers(&family.bytes) {
        // it is known if the process groups were found in it
        if off.task_signal != 0 && off.task_signal != offset(at) {
            continue;
        }
        let Some(bytes) = read_signal(peek, signal) else {
            continue;
        };
        let Some(found) = terminal_in(peek, &bytes, number, &numbers) else {
            continue;
        };
        off.task_signal = offset(at);
        off.signal_tty = offset(found.tty);
        off.tty_index = offset(found.index);
        off.tty_driver = offset(found.driver);
        off.driver_major = offset(found.major);
        off.have |= have::TTY;
        return Some(());
    }
    None
}

/// Offsets on the way from a signal_struct to the numbers of its terminal.
struct TerminalOffsets {
    /// The pointer to the tty_struct, in the signal_struct.
    tty: usize,
    /// The index, in the tty_struct.
    index: usize,
    /// The pointer to the driver, in the tty_struct.
    driver: usize,
    /// The major number, in the tty_driver.
    major: usize,
}

/// Finds the terminal with this number in a signal_struct.
fn terminal_in(
    peek: &mut Peek,
    bytes: &[u8],
    number: u32,
    numbers: &[u8],
) -> Option<TerminalOffsets> {
    pointers(bytes).find_map(|(tty, address)| {
        let bytes = peek.read(address, 64)?;
        let index = offsets_of(&bytes, number).next()?;
        let (driver, major) = pointers(&bytes).find_map(|(driver, address)| {
            let bytes = peek.read(address, 160)?;
            let major = bytes
                .windows(numbers.len())
                .step_by(4)
                .position(|w| w == numbers)?
                * 4;
            Some((driver, major))
        })?;
        Some(TerminalOffsets {
            tty,
            index,
            driver,
            major,
        })
    })
}

/// Reads a signal_struct of a process with one thread. Its first members tell it from other structs: sigcnt, live,
/// nr_threads.
fn read_signal(peek: &mut Peek, signal: u64) -> Option<Vec<u8>> {
    let bytes = peek.read(signal, 1024).or_else(|| peek.read(signal, 512))?;
    let one = u32_at(&bytes, 0)? <= 64 && u32_at(&bytes, 4)? == 1 && u32_at(&bytes, 8)? == 1;
    one.then_some(bytes)
}
