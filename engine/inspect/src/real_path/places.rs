//! Places in the file system: descriptors that name a file and open nothing (`O_PATH`).

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The most bytes of a path.
pub(super) const PATH_MAX: usize = 4096;
/// include/uapi/linux/openat2.h
const RESOLVE_NO_XDEV: u64 = 0x01;
const RESOLVE_NO_MAGICLINKS: u64 = 0x02;
const RESOLVE_IN_ROOT: u64 = 0x10;
const RESOLVE_CACHED: u64 = 0x20;

/// Opens a file as a mere place in the file system. None: it is not there.
pub(super) fn place(path: &CStr) -> Option<OwnedFd> {
    // SAFETY: the path is a C string; a new descriptor is ours alone.
    unsafe {
        let fd = libc::open(path.as_ptr(), libc::O_PATH | libc::O_CLOEXEC);
        (fd >= 0).then(|| OwnedFd::from_raw_fd(fd))
    }
}

/// The same below a root directory, by names that the kernel has in its cache.
pub(super) fn cached(root: &OwnedFd, path: &[u8], follows: bool) -> Option<OwnedFd> {
    let no_follow = if follows { 0 } else { libc::O_NOFOLLOW };
    open_in(
        root,
        path,
        no_follow,
        RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_CACHED,
    )
}

/// A name in a directory of procfs. It is not followed if it is a link, and nothing that is mounted there is entered, so that no
/// other file system is asked.
pub(super) fn in_proc(directory: &OwnedFd, name: &[u8]) -> Option<OwnedFd> {
    open_in(
        directory,
        name,
        libc::O_NOFOLLOW,
        RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV,
    )
}

/// openat2(2), for a mere place.
fn open_in(directory: &OwnedFd, path: &[u8], flags: i32, resolve: u64) -> Option<OwnedFd> {
    let path = CString::new(path).ok()?;
    let flags = libc::O_PATH | libc::O_CLOEXEC | flags;
    let how = [u64::from(flags.cast_unsigned()), 0, resolve];
    // SAFETY: the kernel reads the path and the structure; a new descriptor is ours alone.
    unsafe {
        let fd = libc::syscall(
            libc::SYS_openat2,
            directory.as_raw_fd(),
            path.as_ptr(),
            how.as_ptr(),
            size_of_val(&how),
        );
        let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0)?;
        Some(OwnedFd::from_raw_fd(fd))
    }
}

/// The path of a place. None: it has none.
pub(super) fn path_of(place: &OwnedFd) -> Option<Vec<u8>> {
    link(Path::new(&format!("/proc/self/fd/{}", place.as_raw_fd())))
}

pub(super) fn link(path: &Path) -> Option<Vec<u8>> {
    let target = std::fs::read_link(path).ok()?;
    let target = target.as_os_str().as_bytes();
    target.starts_with(b"/").then(|| target.to_vec())
}

/// What the kernel knows of a place without its file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileIdentity {
    pub(super) is_link: bool,
    /// Major and minor number.
    pub(super) device: (u32, u32),
    pub(super) inode: u64,
}

pub(super) fn look(place: &OwnedFd) -> Option<FileIdentity> {
    // SAFETY: the kernel fills the structure, which is valid as zeros; the path is a C string.
    let found = unsafe {
        let mut found: libc::statx = std::mem::zeroed();
        let flags = libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC;
        let (fd, wanted) = (place.as_raw_fd(), libc::STATX_TYPE | libc::STATX_INO);
        let failed = libc::statx(fd, c"".as_ptr(), flags, wanted, &raw mut found);
        (failed == 0).then_some(found)
    }?;
    Some(FileIdentity {
        is_link: u32::from(found.stx_mode) & libc::S_IFMT == libc::S_IFLNK,
        device: (found.stx_dev_major, found.stx_dev_minor),
        inode: found.stx_ino,
    })
}

/// What a symbolic link says.
pub(super) fn read_link(link: &OwnedFd) -> Option<Vec<u8>> {
    let mut said = vec![0_u8; PATH_MAX];
    // SAFETY: the kernel writes no more than the buffer has; the path is a C string.
    let length = unsafe {
        libc::readlinkat(
            link.as_raw_fd(),
            c"".as_ptr(),
            said.as_mut_ptr().cast(),
            said.len(),
        )
    };
    said.truncate(usize::try_from(length).ok()?);
    Some(said).filter(|said| !said.is_empty() && said.len() < PATH_MAX)
}

/// The type of the file system with this id in `/proc/PID/mountinfo` (proc_pid_mountinfo(5)).
pub(super) fn type_of_mount<'t>(mountinfo: &'t str, id: &str) -> Option<&'t str> {
    let of = |line: &&str| line.split(' ').next() == Some(id);
    let line = mountinfo.lines().find(of)?;
    line.split_once(" - ")?.1.split(' ').next()
}
