//! Reads what a program can withhold, in a process that lanner can do without.
//!
//! A page of a file on a FUSE file system comes from a program. If it never does, its reader waits, and not even SIGKILL
//! ends the wait. Meanwhile the kernel can keep every other reader of that process's memory waiting, too, whichever page
//! it wants. So while there are such file systems, a helper reads, and lanner waits for the helper as long as it has
//! patience. A helper that does not come back is left alone: the value is a fault, and so are all values of that process
//! until the helper does come back.

use std::cell::RefCell;
use std::io;
use std::mem::{MaybeUninit, size_of, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::null_mut;
use std::time::{Duration, Instant};

use driver_api::support::Gap;
use libc::{c_void, pid_t};
use proc_pid::{Stat, State};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::forked;
use crate::threads;

/// How long lanner waits for the first helper. Where others have not come back, it waits for a part of this, so that many
/// pages that never come hold it up hardly longer than one.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often lanner looks at a helper that it waits for, and the shortest wait.
const LOOK: Duration = Duration::from_millis(50);
/// The longest wait for a helper that wants to go on and gets no CPU.
const STARVED: Duration = Duration::from_secs(60);
/// How many helpers may be waiting for pages. Beyond, all values are faults until one comes back.
const MOST: usize = 256;
/// The bytes of one answer.
const ROOM: usize = 4096;
const PAGE: u64 = 4096;

/// What a helper does. All but the first need a descriptor, which comes with the request.
#[derive(Debug, Clone, Copy)]
#[repr(u32)]
enum Operation {
    /// process_vm_readv(2), which leaves the memory to its process while it waits for a page.
    Memory = 1,
    /// pread(2)
    File = 2,
    /// The type of the descriptor's file system (statfs(2)).
    FileSystem = 3,
}

#[derive(Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Request {
    at: u64,
    len: u32,
    operation: u32,
    tid: i32,
    unused: u32,
}

impl Request {
    fn new(operation: Operation, tid: pid_t, at: u64, len: usize) -> Self {
        Self {
            at,
            len: u32::try_from(len).unwrap_or(0),
            operation: operation as u32,
            tid,
            unused: 0,
        }
    }
}

/// An answer: the result, then bytes.
#[derive(Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Answer {
    result: i64,
    bytes: [u8; ROOM],
}

/// A process that reads. It ends when this is dropped, or as soon as what it waits for comes.
#[derive(Debug)]
struct Helper {
    pid: u32,
    socket: OwnedFd,
}

/// A helper that has not come back.
#[derive(Debug)]
struct Stuck {
    helper: Helper,
    /// The process whose memory it reads.
    tgid: u32,
}

#[derive(Debug, Default)]
struct Readers {
    idle: Option<Helper>,
    stuck: Vec<Stuck>,
}

thread_local! {
    static READERS: RefCell<Readers> = RefCell::default();
}

/// What is not captured of programs that use such pages.
pub(crate) fn gap() -> Gap {
    Gap::new(
        "memory that a FUSE file system brings late",
        "lanner waits for such a page for a second, and less while it waits for others: then the value is a fault, and so \
         are all values of that process until the page comes. While the host has such file systems, another process reads, \
         so that calls with memory take longer. Where that process may not use process_vm_readv(2), as with \
         kernel.yama.ptrace_scope 1 and without CAP_SYS_PTRACE, the program cannot change its memory until the page comes",
        "use an eBPF driver",
    )
}

/// Reads the memory of a thread. Returns the number of bytes; 0 if they do not come. None: that is forbidden.
pub(crate) fn memory(tid: pid_t, at: u64, into: &mut [u8]) -> Option<usize> {
    let mut done = 0;
    while done < into.len() {
        let at = at.wrapping_add(done as u64);
        // the kernel reads nothing of a part that it cannot read as a whole
        let len = usize::try_from(PAGE - at % PAGE).map_or(1, |len| len.min(into.len() - done));
        let part = &mut into[done..done + len];
        let request = Request::new(Operation::Memory, tid, at, len);
        match READERS.with_borrow_mut(|readers| readers.ask(None, &request, part)) {
            Some(error)
                if [libc::EPERM, libc::ENOSYS]
                    .map(|e| -i64::from(e))
                    .contains(&error) =>
            {
                return None;
            }
            Some(got) if got == part.len() as i64 => done += len,
            Some(_) | None => break,
        }
    }
    Some(done)
}

/// Reads a file of the thread `tid` from this place, as pread(2) does. Returns the number of bytes; 0 if they do not come.
pub(crate) fn file(tid: pid_t, file: BorrowedFd<'_>, at: u64, into: &mut [u8]) -> usize {
    let mut done = 0;
    for part in into.chunks_mut(ROOM) {
        let at = at.wrapping_add(done as u64);
        let request = Request::new(Operation::File, tid, at, part.len());
        let got = READERS.with_borrow_mut(|readers| readers.ask(Some(file), &request, part));
        let got = got.and_then(|got| usize::try_from(got).ok()).unwrap_or(0);
        done += got;
        if got < part.len() {
            break;
        }
    }
    done
}

/// The type of the file system (statfs(2)) on which a file of the thread `tid` is. None: the file system does not say.
pub(crate) fn file_system(tid: pid_t, file: BorrowedFd<'_>) -> Option<u32> {
    let request = Request::new(Operation::FileSystem, tid, 0, 0);
    READERS
        .with_borrow_mut(|readers| readers.ask(Some(file), &request, &mut []))
        .and_then(|found| u32::try_from(found).ok())
}

/// The type of a file system, whose width differs between C libraries.
pub(crate) fn type_of(found: &libc::statfs) -> u32 {
    found.f_type as u32
}

impl Readers {
    /// Has a helper answer. None: it does not answer in time, or there is none.
    fn ask(
        &mut self,
        file: Option<BorrowedFd<'_>>,
        request: &Request,
        into: &mut [u8],
    ) -> Option<i64> {
        let tid = request.tid;
        self.take_back();
        let mut tgid = None;
        if !self.stuck.is_empty() {
            tgid = threads::tgid(tid.unsigned_abs());
            let withholds = |stuck: &Stuck| Some(stuck.tgid) == tgid;
            if self.stuck.len() >= MOST || self.stuck.iter().any(withholds) {
                return None;
            }
        }
        let helper = match self.idle.take() {
            Some(helper) => helper,
            None => Helper::new().ok()?,
        };
        helper.send(file, request).ok()?;
        let divisor = u32::try_from(self.stuck.len()).map_or(u32::MAX, |stuck| stuck + 1);
        match helper.wait((PATIENCE / divisor).max(LOOK), into) {
            Waited::Answer(result) => {
                self.idle = Some(helper);
                Some(result)
            }
            Waited::Nothing => {
                let tgid = tgid.or_else(|| threads::tgid(tid.unsigned_abs()));
                self.stuck.push(Stuck {
                    helper,
                    tgid: tgid.unwrap_or(tid.unsigned_abs()),
                });
                None
            }
            Waited::Gone => None,
        }
    }

    /// Looks which helpers have come back.
    fn take_back(&mut self) {
        let idle = &mut self.idle;
        self.stuck.retain_mut(
            |stuck| match stuck.helper.answer(libc::MSG_DONTWAIT, &mut []) {
                Waited::Nothing => true,
                Waited::Gone => false,
                Waited::Answer(_) => {
                    if idle.is_none()
                        && let Ok(socket) = stuck.helper.socket.try_clone()
                    {
                        let pid = stuck.helper.pid;
                        *idle = Some(Helper { pid, socket });
                    }
                    false
                }
            },
        );
    }
}

/// What became of a request.
enum Waited {
    Answer(i64),
    Nothing,
    Gone,
}

impl Helper {
    /// Forks a helper.
    fn new() -> io::Result<Self> {
        let mut ends = [0; 2];
        let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
        // SAFETY: the kernel writes two descriptors.
        if unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptors are new, and ours alone.
        let [ours, theirs] = ends.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
        let look = libc::timeval {
            tv_sec: 0,
            tv_usec: libc::suseconds_t::from(LOOK.subsec_micros()),
        };
        // SAFETY: the kernel reads one struct timeval.
        unsafe {
            libc::setsockopt(
                ours.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_RCVTIMEO,
                (&raw const look).cast(),
                size_of::<libc::timeval>() as libc::socklen_t,
            );
        }
        // The helper is a grandchild, so that lanner does not have to wait for its end.
        // SAFETY: the child calls only async-signal-safe functions, does not allocate, and never returns.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: as above.
            unsafe {
                if libc::fork() == 0 {
                    serve(theirs.as_raw_fd());
                }
                libc::_exit(0);
            }
        }
        drop(theirs);
        if child < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: waitpid(2) gets no memory.
        while unsafe { libc::waitpid(child, null_mut(), 0) } < 0
            && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
        {}
        let mut helper = Self {
            pid: 0,
            socket: ours,
        };
        // its first message is its id
        match helper.wait(STARVED, &mut []) {
            Waited::Answer(pid) => {
                helper.pid = u32::try_from(pid).unwrap_or(0);
                Ok(helper)
            }
            Waited::Nothing | Waited::Gone => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    fn send(&self, file: Option<BorrowedFd<'_>>, request: &Request) -> io::Result<()> {
        let mut parts = libc::iovec {
            iov_base: request.as_bytes().as_ptr().cast_mut().cast(),
            iov_len: size_of::<Request>(),
        };
        let mut control = Control::new();
        let mut message = message(&mut parts, &mut control);
        // SAFETY: the control buffer has room for one header and one descriptor, and everything outlives the call.
        let sent = unsafe {
            if let Some(file) = file {
                let header = libc::CMSG_FIRSTHDR(&raw const message);
                (*header).cmsg_level = libc::SOL_SOCKET;
                (*header).cmsg_type = libc::SCM_RIGHTS;
                (*header).cmsg_len = libc::CMSG_LEN(size_of::<RawFd>() as u32) as _;
                libc::CMSG_DATA(header)
                    .cast::<RawFd>()
                    .write_unaligned(file.as_raw_fd());
            } else {
                message.msg_controllen = 0;
            }
            libc::sendmsg(
                self.socket.as_raw_fd(),
                &raw const message,
                libc::MSG_NOSIGNAL,
            )
        };
        if sent < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// Waits for an answer: as long as there is patience, and longer while the helper only lacks a CPU.
    fn wait(&self, patience: Duration, into: &mut [u8]) -> Waited {
        let begun = Instant::now();
        loop {
            match self.answer(0, into) {
                Waited::Nothing => {}
                done @ (Waited::Answer(_) | Waited::Gone) => return done,
            }
            let waited = begun.elapsed();
            if waited > STARVED || (waited >= patience && self.waits()) {
                return Waited::Nothing;
            }
        }
    }

    /// Whether it waits for something else than a CPU.
    fn waits(&self) -> bool {
        let state = Stat::of(self.pid).map(|stat| stat.state());
        !matches!(state, Ok(State::Running))
    }

    /// Takes an answer that has come, or comes while this looks.
    fn answer(&self, flags: i32, into: &mut [u8]) -> Waited {
        let mut answer = MaybeUninit::<Answer>::uninit();
        // SAFETY: the kernel writes at most the size of an answer.
        let got = unsafe {
            libc::recv(
                self.socket.as_raw_fd(),
                answer.as_mut_ptr().cast(),
                size_of::<Answer>(),
                flags,
            )
        };
        let Ok(got) = usize::try_from(got) else {
            return match io::Error::last_os_error().kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Waited::Nothing,
                _ => Waited::Gone,
            };
        };
        // SAFETY: the kernel has written the first `got` bytes.
        let got = unsafe { std::slice::from_raw_parts(answer.as_ptr().cast::<u8>(), got) };
        let Some((result, bytes)) = got.split_first_chunk() else {
            return Waited::Gone;
        };
        let len = bytes.len().min(into.len());
        into[..len].copy_from_slice(&bytes[..len]);
        Waited::Answer(i64::from_ne_bytes(*result))
    }
}

/// Room for one descriptor that comes with a message.
#[repr(C, align(8))]
struct Control([u8; 64]);

impl Control {
    const fn new() -> Self {
        Self([0; 64])
    }
}

/// A message with one part, and one descriptor beside it.
fn message(part: &mut libc::iovec, control: &mut Control) -> libc::msghdr {
    // SAFETY: plain data, for which zeros are valid.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_iov = part;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut control.0).cast::<c_void>();
    // SAFETY: computes a number.
    message.msg_controllen = unsafe { libc::CMSG_SPACE(size_of::<RawFd>() as u32) } as _;
    message
}

/// What a helper does: answers requests until lanner closes its end. It does not allocate.
fn serve(socket: RawFd) -> ! {
    forked::settle(c"lanner-reader", [socket]);
    let mut answer = Answer {
        // SAFETY: getpid(2) always succeeds.
        result: i64::from(unsafe { libc::getpid() }),
        bytes: [0; ROOM],
    };
    let mut len = 0;
    loop {
        let filled = size_of::<i64>() + len;
        let mut request = Request::new(Operation::Memory, 0, 0, 0);
        let mut part = libc::iovec {
            iov_base: (&raw mut request).cast(),
            iov_len: size_of::<Request>(),
        };
        let mut control = Control::new();
        let mut message = message(&mut part, &mut control);
        // SAFETY: the messages are in memory of this function. A descriptor that came with one is its own.
        unsafe {
            let answered = (&raw const answer).cast();
            if libc::send(socket, answered, filled, libc::MSG_NOSIGNAL) < 0
                || libc::recvmsg(socket, &raw mut message, libc::MSG_CMSG_CLOEXEC) <= 0
            {
                libc::_exit(0);
            }
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            let file: RawFd = if header.is_null() {
                -1
            } else {
                libc::CMSG_DATA(header).cast::<RawFd>().read_unaligned()
            };
            let room = ROOM.min(request.len as usize);
            let into: *mut c_void = answer.bytes.as_mut_ptr().cast();
            if request.operation == Operation::Memory as u32 {
                answer.result = read_memory(request.tid, request.at, into, room);
            } else if request.operation == Operation::File as u32 {
                answer.result = libc::pread(file, into, room, request.at.cast_signed()) as i64;
            } else {
                let mut found: libc::statfs = zeroed();
                let error = libc::fstatfs(file, &raw mut found);
                answer.result = if error == 0 {
                    i64::from(type_of(&found))
                } else {
                    -1
                };
            }
            len = if request.operation == Operation::FileSystem as u32 {
                0
            } else {
                usize::try_from(answer.result).map_or(0, |len| len.min(ROOM))
            };
            if file >= 0 {
                libc::close(file);
            }
        }
    }
}

/// process_vm_readv(2). Returns the number of bytes, or a negative error.
///
/// # Safety
///
/// There are `len` bytes at `into`.
unsafe fn read_memory(tid: pid_t, at: u64, into: *mut c_void, len: usize) -> i64 {
    let Ok(address) = usize::try_from(at) else {
        return -i64::from(libc::EFAULT);
    };
    let local = libc::iovec {
        iov_base: into,
        iov_len: len,
    };
    let remote = libc::iovec {
        iov_base: address as *mut c_void,
        iov_len: len,
    };
    // SAFETY: the local vector describes the caller's bytes; the remote one is an address in the other process, which the
    // kernel checks.
    let got = unsafe { libc::process_vm_readv(tid, &raw const local, 1, &raw const remote, 1, 0) };
    if got < 0 {
        let error = io::Error::last_os_error().raw_os_error();
        return -i64::from(error.unwrap_or(libc::EFAULT));
    }
    got as i64
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;
    use std::os::fd::AsFd;

    use super::*;

    fn ours() -> pid_t {
        std::process::id().cast_signed()
    }

    #[test]
    fn a_file_is_read_as_pread_would() -> io::Result<()> {
        let mut file = tempfile::tempfile()?;
        let data: Vec<u8> = (0..10_000_u32).map(|n| n as u8).collect();
        file.write_all(&data)?;
        for (at, len) in [(0, 10), (5, 0), (100, 9000), (9_990, 100), (20_000, 5)] {
            let mut into = vec![0; len];
            let got = super::file(ours(), file.as_fd(), at as u64, &mut into);
            let there = data.get(at..).unwrap_or_default();
            let expected = &there[..len.min(there.len())];
            assert_eq!(&into[..got], expected, "{len} bytes at {at}");
        }
        assert!(file_system(ours(), file.as_fd()).is_some());
        Ok(())
    }

    #[test]
    fn memory_is_read_up_to_what_cannot_be_read() {
        let mut data = vec![7_u8; 3 * 4096];
        let at = data.as_ptr() as u64;
        let mut into = vec![0; 2 * 4096 + 100];
        assert_eq!(memory(ours(), at, &mut into), Some(into.len()));
        assert!(into.iter().all(|byte| *byte == 7));
        data.clear();
        assert_eq!(memory(ours(), 16, &mut into), Some(0));
    }

    #[test]
    fn what_does_not_come_is_not_waited_for_again_until_it_has_come() -> io::Result<()> {
        let file = File::open("/proc/self/stat")?;
        let parent = std::os::unix::process::parent_id().cast_signed();
        let reads = |tid| super::file(tid, file.as_fd(), 0, &mut [0; 8]);
        assert_eq!(reads(ours()), 8);
        let helper = READERS.with_borrow(|readers| readers.idle.as_ref().map(|helper| helper.pid));
        let helper = helper.expect("the helper that has answered").cast_signed();
        // a helper that is stopped answers as late as one that waits for a page
        // SAFETY: takes numbers; the helper lives as long as this thread's end of its socket.
        unsafe { libc::kill(helper, libc::SIGSTOP) };
        assert_eq!(reads(ours()), 0);
        assert_eq!(reads(ours()), 0, "nothing of this process is read");
        assert_eq!(reads(parent), 8, "others are read");
        // SAFETY: as above.
        unsafe { libc::kill(helper, libc::SIGCONT) };
        test_support::wait_until("the helper comes back", || reads(ours()) == 8);
        Ok(())
    }
}
