//! `struct task_struct`: ids, relatives, credentials, ends. Children of ours show what we make them be.

use std::fs::File;
use std::io::{PipeWriter, Read, Write, pipe};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::mpsc;
use std::thread;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{getresgid, getresuid};

use super::layout::{Offsets, have};
use super::peek::{Looker, Peek, half_at, is_pointer, places, pointers, show, word_at};

/// Bytes of a task_struct that are searched: what is looked for stands before the registers at its end.
const TASK: usize = 8192;

/// How long the last process may take to be there.
const READY: u16 = 2000; // milliseconds

/// Places of `lookers`; 0 is ours.
const THREAD: u8 = 1;
const MIDDLE: u8 = 2;
const LEAF: u8 = 3;
const ENDING: u8 = 4;

pub(super) fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(0)
}

/// The bytes of a task, as far as they are searched.
pub(super) fn bytes_of(peek: &mut Peek, task: u64) -> Vec<u8> {
    peek.read_far(task, TASK)
}

/// `pid` and `tgid` stand side by side; in a thread that is not its process's first they differ.
pub(super) fn pid(peek: &mut Peek) -> Option<u32> {
    let magic = peek.magic;
    let (shown, wait) = mpsc::channel();
    let (end, ended) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            show(magic, THREAD);
            let _ = shown.send(());
            let _ = ended.recv();
        });
        let _ = wait.recv();
        let thread = peek.looker(THREAD);
        let bytes = thread
            .map(|thread| bytes_of(peek, thread.task))
            .unwrap_or_default();
        drop(end);
        let thread = thread?;
        places(&bytes, thread.tid())
            .find(|&at| half_at(&bytes, at + 4) == Some(thread.tgid()))
            .map(offset)
    })
}

/// Runs `child` in a fork, which then ends with its answer.
///
/// # Safety
///
/// `child` may call async-signal-safe functions only: other threads may have held locks.
pub(super) unsafe fn fork(child: impl FnOnce() -> i32) -> libc::pid_t {
    // SAFETY: the child runs `child` and leaves by _exit(2), which runs nothing of ours.
    unsafe {
        let pid = libc::fork();
        if pid == 0 {
            libc::_exit(child());
        }
        pid
    }
}

pub(super) fn wait(pid: libc::pid_t) -> i32 {
    let mut status = 0;
    // SAFETY: waitpid(2) writes the status, which outlives the call.
    while unsafe { libc::waitpid(pid, &raw mut status, 0) } < 0
        && std::io::Error::last_os_error().raw_os_error() == Some(libc::EINTR)
    {}
    status
}

/// `exit_code`, by two children that have ended and not been waited for.
pub(super) fn exit_code(peek: &mut Peek, off: &mut Offsets) -> Option<()> {
    let magic = peek.magic;
    let mut ended = |code: u32| {
        // SAFETY: getpgid(2) and _exit(2) are system calls and nothing else.
        let pid = unsafe {
            fork(|| {
                show(magic, ENDING);
                i32::try_from(code).unwrap_or(0)
            })
        };
        let id = libc::id_t::try_from(pid).ok()?;
        // SAFETY: siginfo_t is plain data; waitid(2) writes one, and WNOWAIT leaves the child to be waited for.
        let left = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            libc::waitid(
                libc::P_PID,
                id,
                &raw mut info,
                libc::WEXITED | libc::WNOWAIT,
            )
        };
        let bytes = peek.looker(ENDING).map(|child| bytes_of(peek, child.task));
        wait(pid);
        if left == 0 { bytes } else { None }
    };
    let (first, second) = (ended(0x2a)?, ended(0x55)?);
    let at = places(&first, 0x2a00).find(|&at| half_at(&second, at) == Some(0x5500))?;
    off.task_exit_code = offset(at);
    off.have |= have::EXIT;
    Some(())
}

/// Ids that nobody has by chance: real, effective, saved.
const GIDS: [u32; 3] = [64_001, 64_002, 64_003];
const UIDS: [u32; 3] = [64_004, 64_005, 64_006];

/// A session of three processes, each with its own place in it; the last one waits to be looked at.
pub(super) struct Family {
    middle: Looker,
    leaf: Looker,
    first: u32,
    bytes: Vec<u8>,
    has_ids: bool,
    terminal: Option<Terminal>,
    _processes: Processes,
}

/// The first of a session, which waits for the others, and the pipe that ends the last.
struct Processes {
    pid: libc::pid_t,
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
        // SAFETY: system calls and nothing else, on descriptors and a path that were made before.
        let pid = unsafe {
            fork(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                libc::setsid();
                if let Some(path) = path {
                    libc::open(path, libc::O_RDWR); // a session's first terminal is its controlling one
                }
                wait(fork(|| {
                    libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                    libc::setpgid(0, 0);
                    show(magic, MIDDLE);
                    wait(fork(|| leaf(magic, ready, ended)))
                }))
            })
        };
        if pid < 0 {
            return None;
        }
        let processes = Processes { pid, end };
        let mut fds = [PollFd::new(ready_out.as_fd(), PollFlags::POLLIN)];
        if !poll(&mut fds, PollTimeout::from(READY)).is_ok_and(|ready| ready > 0) {
            return None;
        }
        let mut answer = [0];
        ready_out.read_exact(&mut answer).ok()?;
        let leaf = peek.looker(LEAF)?;
        Some(Self {
            middle: peek.looker(MIDDLE)?,
            leaf,
            first: 0,
            bytes: bytes_of(peek, leaf.task),
            has_ids: answer[0] == 1,
            terminal,
            _processes: processes,
        })
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        // Not by closing the pipe: a process that another thread has forked meanwhile may hold it, too.
        let _ = self.end.write_all(&[0]);
        wait(self.pid);
    }
}

/// The last of the family: ids of its own, a sign, and a wait for the sign to end.
///
/// # Safety
///
/// For the child of a fork; the descriptors are open pipes.
unsafe fn leaf(magic: u32, ready: i32, ended: i32) -> i32 {
    // SAFETY: system calls on memory of this function. Not through libc's setresuid(3), which would
    // signal threads that the fork has not copied.
    unsafe {
        let ids = |call, [real, effective, saved]: [u32; 3]| {
            libc::syscall(call, real, effective, saved) == 0
        };
        let done = [u8::from(
            ids(libc::SYS_setresgid, GIDS) && ids(libc::SYS_setresuid, UIDS),
        )];
        show(magic, LEAF);
        // dies with the middle one, which dies with the first, which dies with lanner
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        libc::write(ready, done.as_ptr().cast(), 1);
        let mut byte = [0u8];
        libc::read(ended, byte.as_mut_ptr().cast(), 1);
    }
    0
}

/// `real_parent` stands before `parent`, and both are the same for one that nobody traces.
pub(super) fn parent(off: &mut Offsets, family: &Family) -> Option<()> {
    let bytes = &family.bytes;
    let parent = family.middle.task;
    let at = pointers(bytes)
        .find(|&(at, to)| to == parent && word_at(bytes, at + 8) == Some(parent))?
        .0;
    off.task_real_parent = offset(at);
    off.have |= have::PARENT;
    Some(())
}

/// The ids of the family's last one as they stand in `struct cred` (include/linux/cred.h): user and group each of
/// the real, the saved and the effective id, and of the one for files.
fn ids(family: &Family) -> Option<Vec<u32>> {
    if family.has_ids {
        let [(uid, gid), (euid, egid), (suid, sgid)] = [0, 1, 2].map(|n| (UIDS[n], GIDS[n]));
        return Some(vec![uid, gid, suid, sgid, euid, egid]);
    }
    // One that may not choose its ids has ours, where all four are the same. Eight words in a row are a sign, too,
    // unless they are zero.
    let (users, groups) = (getresuid().ok()?, getresgid().ok()?);
    let same = users.real == users.effective
        && users.real == users.saved
        && groups.real == groups.effective
        && groups.real == groups.saved;
    let (uid, gid) = (users.real.as_raw(), groups.real.as_raw());
    (same && uid != 0 && gid != 0).then(|| [uid, gid].repeat(4))
}

/// `real_cred` and `cred`, the same; in them the ids in their order.
pub(super) fn credentials(peek: &mut Peek, off: &mut Offsets, family: &Family) -> Option<()> {
    let ids: Vec<u8> = ids(family)?
        .iter()
        .flat_map(|id| id.to_ne_bytes())
        .collect();
    let bytes = &family.bytes;
    let (at, uid) = pointers(bytes)
        .filter(|&(at, to)| word_at(bytes, at + 8) == Some(to))
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

/// Process group and session: since 4.19 in the signal_struct (process, group, session; the thread's is in
/// the task as well), before in the task (thread, group, session, each behind a list node).
pub(super) fn groups(peek: &mut Peek, off: &mut Offsets, family: &mut Family) -> Option<()> {
    let (leaf, group) = (family.leaf.tid(), family.middle.tid());
    let own: Vec<u64> = pointers(&family.bytes).map(|(_, to)| to).collect();
    let mut number = None;
    for (at, signal) in pointers(&family.bytes) {
        // the task points into the struct, too
        let Some(bytes) = read_signal(peek, signal) else {
            continue;
        };
        let found = pointers(&bytes).find_map(|(o, pid)| {
            let (group_pid, session_pid) = (word_at(&bytes, o + 8)?, word_at(&bytes, o + 16)?);
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
                word_at(&family.bytes, at + 24)?,
                word_at(&family.bytes, at + 48)?,
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
    family.first = peek
        .read(session, nr + 4)
        .and_then(|bytes| half_at(&bytes, nr))?;
    // the leader was born before the others, and is nobody of them
    if family.first == 0 || family.first == leaf || family.first == group {
        return None;
    }
    off.have |= have::GROUPS;
    Some(())
}

/// Where in a struct pid its number in the first namespace stands, by two that are known.
fn pid_number(
    peek: &mut Peek,
    (one, is): (u64, u32),
    (other, is_other): (u64, u32),
) -> Option<usize> {
    let (one, other) = (peek.read(one, 160)?, peek.read(other, 160)?);
    places(&one, is).find(|&at| half_at(&other, at) == Some(is_other))
}

/// A pseudo-terminal whose number is no small one, so that it can be told from counters.
struct Terminal {
    number: u32,
    path: std::ffi::CString,
    _masters: Vec<File>,
}

impl Terminal {
    fn open() -> Option<Self> {
        const ENOUGH: u32 = 16;
        let mut masters = Vec::new();
        loop {
            let master = File::options()
                .read(true)
                .write(true)
                .open("/dev/ptmx")
                .ok()?;
            let (mut number, unlocked) = (0u32, 0i32);
            // SAFETY: TIOCGPTN writes one number, TIOCSPTLCK reads one (ioctl_tty(2)); both outlive the calls.
            let errors = unsafe {
                libc::ioctl(master.as_raw_fd(), libc::TIOCGPTN, &raw mut number)
                    | libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlocked)
            };
            masters.push(master);
            if errors != 0 || masters.len() > 64 {
                return None;
            }
            if number >= ENOUGH {
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

/// `signal->tty`, its index and its driver's numbers (include/linux/tty_driver.h).
pub(super) fn terminal(peek: &mut Peek, off: &mut Offsets, family: &Family) -> Option<()> {
    const SLAVES: [u32; 3] = [136, 0, 1 << 20]; // major, minor_start, num of the Unix98 ones
    let number = family.terminal.as_ref()?.number;
    let numbers: Vec<u8> = SLAVES.iter().flat_map(|n| n.to_ne_bytes()).collect();
    for (at, signal) in pointers(&family.bytes) {
        // where the groups were found in it, it is known
        if off.task_signal != 0 && off.task_signal != offset(at) {
            continue;
        }
        let Some(bytes) = read_signal(peek, signal) else {
            continue;
        };
        let Some((tty, index, driver, major)) = terminal_in(peek, &bytes, number, &numbers) else {
            continue;
        };
        off.task_signal = offset(at);
        off.signal_tty = offset(tty);
        off.tty_index = offset(index);
        off.tty_driver = offset(driver);
        off.driver_major = offset(major);
        off.have |= have::TTY;
        return Some(());
    }
    None
}

/// Of a signal_struct: where the terminal of this number is, its index in it, its driver, and the numbers in that.
fn terminal_in(
    peek: &mut Peek,
    bytes: &[u8],
    number: u32,
    numbers: &[u8],
) -> Option<(usize, usize, usize, usize)> {
    pointers(bytes).find_map(|(at, tty)| {
        let tty = peek.read(tty, 64)?;
        let index = places(&tty, number).next()?;
        let (driver, major) = pointers(&tty).find_map(|(o, driver)| {
            let bytes = peek.read(driver, 160)?;
            let major = bytes
                .windows(numbers.len())
                .step_by(4)
                .position(|w| w == numbers)?
                * 4;
            Some((o, major))
        })?;
        Some((at, index, driver, major))
    })
}

/// A signal_struct of a process with one thread, told by its first members: sigcnt, live, nr_threads. A task's.
fn read_signal(peek: &mut Peek, signal: u64) -> Option<Vec<u8>> {
    let bytes = peek.read(signal, 1024).or_else(|| peek.read(signal, 512))?;
    let one = half_at(&bytes, 0)? <= 64 && half_at(&bytes, 4)? == 1 && half_at(&bytes, 8)? == 1;
    one.then_some(bytes)
}

/// `loginuid` and `sessionid` stand between `audit_context` and `seccomp`, a little behind `signal`. Of a
/// process that nobody logged in for both are -1, as other numbers are: it has to be the only such place.
pub(super) fn loginuid(off: &mut Offsets, task: &[u8], family: &Family) -> Option<()> {
    const NEAR: usize = 256;
    let number = |path| {
        std::fs::read_to_string(path)
            .ok()?
            .trim()
            .parse::<u32>()
            .ok()
    };
    let (loginuid, session) = (
        number("/proc/self/loginuid")?,
        number("/proc/self/sessionid")?,
    );
    let signal = off.task_signal as usize;
    let fits = |bytes: &[u8], at: usize| {
        let context = word_at(bytes, at - 8)?;
        let mode = half_at(bytes, at + 8)?;
        let ids = half_at(bytes, at)? == loginuid && half_at(bytes, at + 4)? == session;
        Some(ids && (context == 0 || is_pointer(context)) && mode <= 2)
    };
    let mut found = places(task, loginuid).filter(|&at| {
        at > 8
            && (signal == 0 || (signal..signal + NEAR).contains(&at))
            && [task, &family.bytes]
                .iter()
                .all(|bytes| fits(bytes, at) == Some(true))
    });
    let at = found.next()?;
    if found.next().is_some() {
        return None;
    }
    off.task_loginuid = offset(at);
    off.have |= have::LOGINUID;
    Some(())
}
