//! The folder /proc/TID, held open while its thread is stopped. All that is read through it is of one thread, and
//! is found without a walk from the root. Nothing is allocated.

use std::cell::RefCell;
use std::ffi::CStr;
use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use proc_pid::Stat;

/// The longest path there is (linux/limits.h).
pub(crate) const PATH_MAX: usize = 4096;

/// The folder of a thread.
#[derive(Debug)]
pub(crate) struct ProcDir(OwnedFd);

/// A short path, made on the stack.
struct Short {
    bytes: [u8; 64],
}

impl Short {
    /// None: it does not fit. The path of a number always does.
    fn new(what: std::fmt::Arguments<'_>) -> Option<Self> {
        let mut bytes = [0; 64];
        // the last byte stays a NUL
        let mut room = &mut bytes[..63];
        room.write_fmt(what).ok()?;
        Some(Self { bytes })
    }

    fn c_str(&self) -> Option<&CStr> {
        CStr::from_bytes_until_nul(&self.bytes).ok()
    }
}

/// The target of a link.
pub(crate) struct Link {
    /// Initialised up to `len`.
    bytes: [MaybeUninit<u8>; PATH_MAX],
    len: usize,
}

impl Link {
    /// The target, if it is a path. The links of pipes, sockets and anonymous inodes are not.
    pub(crate) fn path(&self) -> Option<&[u8]> {
        Some(self.text()).filter(|text| text.starts_with(b"/"))
    }

    /// The target as the kernel gives it.
    pub(crate) fn text(&self) -> &[u8] {
        let text = self.bytes.get(..self.len).unwrap_or_default();
        // SAFETY: the kernel has written the first `len` bytes.
        unsafe { text.assume_init_ref() }
    }

    fn read(folder: i32, name: &CStr) -> Option<Self> {
        let mut link = Self {
            bytes: [const { MaybeUninit::uninit() }; PATH_MAX],
            len: 0,
        };
        // SAFETY: the name is a C string; the kernel writes at most PATH_MAX bytes, and there are as many.
        let len = unsafe {
            libc::readlinkat(
                folder,
                name.as_ptr(),
                link.bytes.as_mut_ptr().cast(),
                PATH_MAX,
            )
        };
        link.len = usize::try_from(len).ok()?;
        Some(link)
    }
}

/// The folder of descriptors that was used last. It is held open if it is used again after the two questions about a new
/// descriptor: its file, and its path.
#[derive(Debug, Default)]
struct Descriptors {
    tid: u32,
    uses: u32,
    folder: Option<OwnedFd>,
}

/// The uses of a folder before it is opened.
const USES: u32 = 2;

thread_local! {
    static DESCRIPTORS: RefCell<Descriptors> = RefCell::default();
}

/// Asks about a thread's descriptor, by a folder and a name in it.
fn ask_about<T>(tid: u32, fd: i64, ask: impl Fn(i32, &CStr) -> Option<T>) -> Option<T> {
    DESCRIPTORS.with_borrow_mut(|last| {
        if last.tid != tid {
            *last = Descriptors {
                tid,
                ..Descriptors::default()
            };
        }
        if last.folder.is_none() && last.uses >= USES {
            let name = Short::new(format_args!("/proc/{tid}/fd"))?;
            last.folder = open(
                libc::AT_FDCWD,
                name.c_str()?,
                libc::O_PATH | libc::O_DIRECTORY,
            );
        }
        last.uses = last.uses.saturating_add(1);
        if let Some(folder) = &last.folder {
            let name = Short::new(format_args!("{fd}"))?;
            if let Some(answer) = ask(folder.as_raw_fd(), name.c_str()?) {
                return Some(answer);
            }
            // its thread is gone, and another thread may have the id by now
            last.folder = None;
        }
        let name = Short::new(format_args!("/proc/{tid}/fd/{fd}"))?;
        ask(libc::AT_FDCWD, name.c_str()?)
    })
}

/// The target of a thread's descriptor.
pub(crate) fn descriptor(tid: u32, fd: i64) -> Option<Link> {
    ask_about(tid, fd, Link::read)
}

/// The target of a link in a thread's folder.
pub(crate) fn of_thread(tid: u32, name: &str) -> Option<Link> {
    let path = Short::new(format_args!("/proc/{tid}/{name}"))?;
    Link::read(libc::AT_FDCWD, path.c_str()?)
}

/// The status of the file behind a thread's descriptor (stat(2)).
pub(crate) fn descriptor_status(tid: u32, fd: i64) -> Option<libc::stat> {
    ask_about(tid, fd, status)
}

/// The flags that the file behind a thread's descriptor was opened with, without `O_CLOEXEC`, which is the descriptor's.
pub(crate) fn descriptor_flags(tid: u32, fd: i64) -> Option<u32> {
    let name = Short::new(format_args!("/proc/{tid}/fdinfo/{fd}"))?;
    let file = open(libc::AT_FDCWD, name.c_str()?, libc::O_RDONLY)?;
    let mut room = [0; 256];
    let text = std::str::from_utf8(read(&file, &mut room)?).ok()?;
    let flags = text.lines().find_map(|line| line.strip_prefix("flags:"))?;
    let flags = u32::from_str_radix(flags.trim(), 8).ok()?;
    Some(flags & !libc::O_CLOEXEC.cast_unsigned())
}

/// Reads a file, as far as there is room.
fn read<'a>(file: &OwnedFd, into: &'a mut [u8]) -> Option<&'a [u8]> {
    // SAFETY: the kernel writes at most as many bytes as `into` has.
    let got = unsafe { libc::read(file.as_raw_fd(), into.as_mut_ptr().cast(), into.len()) };
    into.get(..usize::try_from(got).ok()?)
}

/// The status of a file (stat(2)), or of the folder itself if the name is empty. Its file system is not asked, if the kernel can
/// do without: it may be one that never answers.
fn status(folder: i32, name: &CStr) -> Option<libc::stat> {
    let flags = libc::AT_EMPTY_PATH;
    let mut found = MaybeUninit::<libc::statx>::zeroed();
    // SAFETY: the name is a C string; the kernel writes one struct statx, for which all bit patterns are valid.
    let found = unsafe {
        let error = libc::statx(
            folder,
            name.as_ptr(),
            flags | libc::AT_STATX_DONT_SYNC,
            libc::STATX_BASIC_STATS,
            found.as_mut_ptr(),
        );
        (error == 0).then(|| found.assume_init())
    };
    let mut status = MaybeUninit::<libc::stat>::zeroed();
    let Some(found) = found else {
        // a container's profile may forbid the newer call
        // SAFETY: as above, with one struct stat.
        return unsafe {
            let error = libc::fstatat(folder, name.as_ptr(), status.as_mut_ptr(), flags);
            (error == 0).then(|| status.assume_init())
        };
    };
    // SAFETY: zeros are valid.
    let mut status = unsafe { status.assume_init() };
    status.st_dev = libc::makedev(found.stx_dev_major, found.stx_dev_minor);
    status.st_ino = found.stx_ino;
    status.st_mode = found.stx_mode.into();
    status.st_uid = found.stx_uid;
    status.st_gid = found.stx_gid;
    status.st_mtime = found.stx_mtime.tv_sec;
    status.st_mtime_nsec = found.stx_mtime.tv_nsec.into();
    status.st_ctime = found.stx_ctime.tv_sec;
    status.st_ctime_nsec = found.stx_ctime.tv_nsec.into();
    Some(status)
}

/// Whether one of a process's descriptors is a link to this.
pub(crate) fn has_descriptor(pid: u32, target: &[u8]) -> bool {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd"));
    entries.into_iter().flatten().flatten().any(|entry| {
        std::fs::read_link(entry.path())
            .is_ok_and(|link| link.as_os_str().as_encoded_bytes() == target)
    })
}

fn open(folder: i32, name: &CStr, flags: i32) -> Option<OwnedFd> {
    // SAFETY: the path is a C string; the new descriptor is ours alone.
    unsafe {
        let fd = libc::openat(folder, name.as_ptr(), flags | libc::O_CLOEXEC);
        (fd >= 0).then(|| OwnedFd::from_raw_fd(fd))
    }
}

impl ProcDir {
    /// None: the thread is gone.
    pub(crate) fn open(tid: u32) -> Option<Self> {
        let name = Short::new(format_args!("/proc/{tid}"))?;
        let flags = libc::O_PATH | libc::O_DIRECTORY;
        open(libc::AT_FDCWD, name.c_str()?, flags).map(Self)
    }

    /// A file of the folder.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or the thread is gone.
    pub(crate) fn file(&self, name: &CStr) -> io::Result<OwnedFd> {
        open(self.0.as_raw_fd(), name, libc::O_RDONLY).ok_or_else(io::Error::last_os_error)
    }

    /// Reads a file, as far as there is room.
    pub(crate) fn read<'a>(&self, name: &CStr, into: &'a mut [u8]) -> Option<&'a [u8]> {
        let file = open(self.0.as_raw_fd(), name, libc::O_RDONLY)?;
        read(&file, into)
    }

    /// The file `stat` (proc_pid_stat(5)), which fits into a kilobyte.
    pub(crate) fn stat<'a>(&self, room: &'a mut [u8; 1024]) -> Option<Stat<&'a [u8]>> {
        Stat::parse(self.read(c"stat", room)?).ok()
    }

    /// The target of a link.
    pub(crate) fn link(&self, name: &CStr) -> Option<Link> {
        Link::read(self.0.as_raw_fd(), name)
    }

    /// A link's target, as a mere place: nothing is asked of its file system.
    pub(crate) fn place(&self, name: &CStr) -> Option<OwnedFd> {
        open(self.0.as_raw_fd(), name, libc::O_PATH)
    }

    /// The status of a link's target (stat(2)), or of the folder itself if the name is empty.
    pub(crate) fn status(&self, name: &CStr) -> Option<libc::stat> {
        status(self.0.as_raw_fd(), name)
    }
}
