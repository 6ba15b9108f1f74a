//! Where a path leads, symbolic links included, as the file system is at this moment.
//!
//! The path is the program's, so nothing may happen because lanner looks at it: nothing is opened, and no file system is
//! asked or mounted. Of the links in /proc, those to the process's own descriptors, working directory and root are known to
//! the state; no other is followed. The kernel answers from its cache of names (`RESOLVE_CACHED`, Linux 5.12),
//! where the names are that the call has just looked up. It does not answer while it would have to note that a link was
//! followed, as it does for the first time after the link was made. Such a link is read, if its file system is one that
//! answers at once.

use std::borrow::Cow;
use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use super::Inspector;
use super::process::Process;

/// The most bytes of a path.
const PATH_MAX: usize = 4096;
/// The most links of a path that are read.
const LINKS: usize = 8;
/// File systems that need no other process or host to read a link.
const AT_ONCE: [&str; 14] = [
    "ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "zfs", "bcachefs", "tmpfs", "ramfs",
    "devtmpfs", "rootfs", "squashfs", "erofs",
];
/// How many ancestors are asked for the root directory of a thread that has ended.
const ANCESTORS: usize = 3;
/// include/uapi/linux/openat2.h
const RESOLVE_NO_MAGICLINKS: u64 = 0x02;
const RESOLVE_IN_ROOT: u64 = 0x10;
const RESOLVE_CACHED: u64 = 0x20;

/// Opens a file as a mere place in the file system. None: it is not there.
fn place(path: &CStr) -> Option<OwnedFd> {
    // SAFETY: the path is a C string; a new descriptor is ours alone.
    unsafe {
        let fd = libc::open(path.as_ptr(), libc::O_PATH | libc::O_CLOEXEC);
        (fd >= 0).then(|| OwnedFd::from_raw_fd(fd))
    }
}

/// The same below a root directory, by names that the kernel has in its cache.
fn cached(root: &OwnedFd, path: &[u8], follows: bool) -> Option<OwnedFd> {
    let path = CString::new(path).ok()?;
    let no_follow = if follows { 0 } else { libc::O_NOFOLLOW };
    let flags = libc::O_PATH | libc::O_CLOEXEC | no_follow;
    let how = [
        u64::from(flags.cast_unsigned()),
        0,
        RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_CACHED,
    ];
    // SAFETY: the kernel reads the path and the structure; a new descriptor is ours alone.
    unsafe {
        let fd = libc::syscall(
            libc::SYS_openat2,
            root.as_raw_fd(),
            path.as_ptr(),
            how.as_ptr(),
            size_of_val(&how),
        );
        let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0)?;
        Some(OwnedFd::from_raw_fd(fd))
    }
}

/// The path of a place. None: it has none.
fn path_of(place: &OwnedFd) -> Option<Vec<u8>> {
    link(Path::new(&format!("/proc/self/fd/{}", place.as_raw_fd())))
}

fn link(path: &Path) -> Option<Vec<u8>> {
    let target = std::fs::read_link(path).ok()?;
    let target = target.as_os_str().as_bytes();
    target.starts_with(b"/").then(|| target.to_vec())
}

/// Whether a place is a symbolic link. The file system is not asked.
fn is_link(place: &OwnedFd) -> bool {
    // SAFETY: the kernel fills the structure, which is valid as zeros; the path is a C string.
    unsafe {
        let mut found: libc::statx = std::mem::zeroed();
        let flags = libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC;
        let fd = place.as_raw_fd();
        libc::statx(fd, c"".as_ptr(), flags, libc::STATX_TYPE, &raw mut found) == 0
            && u32::from(found.stx_mode) & libc::S_IFMT == libc::S_IFLNK
    }
}

/// What a symbolic link says.
fn read_link(link: &OwnedFd) -> Option<Vec<u8>> {
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
fn type_of_mount<'t>(mountinfo: &'t str, id: &str) -> Option<&'t str> {
    let of = |line: &&str| line.split(' ').next() == Some(id);
    let line = mountinfo.lines().find(of)?;
    line.split_once(" - ")?.1.split(' ').next()
}

/// The directory of a path, and its last component. None: it has no component that is a name.
fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = path.iter().rposition(|&b| b != b'/')? + 1;
    let path = &path[..end];
    let slash = path.iter().rposition(|&b| b == b'/')?;
    let name = &path[slash + 1..];
    (!matches!(name, b"." | b"..")).then_some((&path[..=slash], name))
}

/// A link of /proc that leads somewhere else than its text says (proc_pid_fd(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct MagicLink {
    /// The process whose link it is. None: that of the thread itself.
    pid: Option<u32>,
    to: To,
}

/// What it leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum To {
    Descriptor(i32),
    Directory,
    Root,
}

/// The link that a path begins with, and the rest, which begins with `/` or is empty.
fn magic_link(path: &[u8]) -> Option<(MagicLink, Vec<u8>)> {
    let mut names = path
        .split(|&b| b == b'/')
        .filter(|name| !matches!(*name, b"" | b"."));
    let number = |name: &[u8]| std::str::from_utf8(name).ok()?.parse::<u32>().ok();
    let mut pid = None;
    let to = match names.next()? {
        b"dev" => match names.next()? {
            b"fd" => To::Descriptor(names.next().and_then(number)?.try_into().ok()?),
            b"stdin" => To::Descriptor(0),
            _ => return None,
        },
        b"proc" => {
            let whose = names.next()?;
            if !matches!(whose, b"self" | b"thread-self") {
                pid = Some(number(whose)?);
            }
            let mut what = names.next()?;
            if what == b"task" {
                pid = Some(names.next().and_then(number)?);
                what = names.next()?;
            }
            match what {
                b"fd" => To::Descriptor(names.next().and_then(number)?.try_into().ok()?),
                b"cwd" => To::Directory,
                b"root" => To::Root,
                _ => return None,
            }
        }
        _ => return None,
    };
    let mut rest = Vec::new();
    for name in names {
        rest.push(b'/');
        rest.extend_from_slice(name);
    }
    Some((MagicLink { pid, to }, rest))
}

impl Inspector {
    /// Appends where a path leads, behind all symbolic links in its directories. `path` is absolute in the mount namespace
    /// of the thread `tid` of this process. `follows`: also behind a link that is the last component. False: not known,
    /// because a name is not in the kernel's cache, another link of /proc is in the path, or the kernel is older than Linux
    /// 5.12.
    pub fn real_path(
        &self,
        process: &Process,
        tid: u32,
        path: &[u8],
        follows: bool,
        out: &mut Vec<u8>,
    ) -> bool {
        self.find(process, tid, path, follows, out).is_some()
    }

    fn find(
        &self,
        process: &Process,
        tid: u32,
        path: &[u8],
        follows: bool,
        out: &mut Vec<u8>,
    ) -> Option<()> {
        let mut path = Cow::Borrowed(path);
        for _ in 0..=LINKS {
            if let Some(()) = self.find_cached(process, tid, &path, follows, out) {
                return Some(());
            }
            path = Cow::Owned(self.expanded(process, tid, &path, follows)?);
        }
        None
    }

    /// The path with what its first symbolic link says in the place of the link. None: there is none, or it cannot be read
    /// at once.
    fn expanded(&self, process: &Process, tid: u32, path: &[u8], follows: bool) -> Option<Vec<u8>> {
        if path.len() >= PATH_MAX {
            return None;
        }
        let (root, below) = self.root_of(process, tid, path)?;
        let before = &path[..path.len() - below.len()];
        let mut names = below
            .split(|&b| b == b'/')
            .filter(|name| !matches!(*name, b"" | b"."))
            .peekable();
        let mut reached = Vec::new();
        while let Some(name) = names.next() {
            let directory = reached.len();
            reached.push(b'/');
            reached.extend_from_slice(name);
            if names.peek().is_none() && !follows {
                return None;
            }
            let place = cached(&root, &reached, false)?;
            if !is_link(&place) {
                continue;
            }
            if !self.answers_at_once(process, tid, &place) {
                return None;
            }
            let said = read_link(&place)?;
            let mut expanded = before.to_vec();
            if !said.starts_with(b"/") {
                expanded.extend_from_slice(&reached[..directory]);
                expanded.push(b'/');
            }
            expanded.extend_from_slice(&said);
            for name in names {
                expanded.push(b'/');
                expanded.extend_from_slice(name);
            }
            return Some(expanded);
        }
        None
    }

    /// Whether the file system of a place needs nothing but this kernel.
    fn answers_at_once(&self, process: &Process, tid: u32, place: &OwnedFd) -> bool {
        let Some(proc_fs) = self.proc_fs.as_ref() else {
            return false;
        };
        let own = format!("fdinfo/{}", place.as_raw_fd());
        let info = proc_fs
            .read(std::process::id(), &own)
            .and_then(|info| String::from_utf8(info).ok());
        let id = info.as_ref().and_then(|info| {
            let id = info.lines().find_map(|line| line.strip_prefix("mnt_id:"))?;
            Some(id.trim())
        });
        let Some(id) = id else {
            return false;
        };
        // ids of mounts differ between namespaces
        [tid, process.pid, std::process::id()].iter().any(|pid| {
            let mounts = proc_fs.read(*pid, "mountinfo").unwrap_or_default();
            let mounts = String::from_utf8_lossy(&mounts);
            type_of_mount(&mounts, id).is_some_and(|name| AT_ONCE.contains(&name))
        })
    }

    fn find_cached(
        &self,
        process: &Process,
        tid: u32,
        path: &[u8],
        follows: bool,
        out: &mut Vec<u8>,
    ) -> Option<()> {
        if path.len() >= PATH_MAX {
            return None;
        }
        let behind = match magic_link(path) {
            Some((link, rest)) if follows || !rest.is_empty() => {
                let behind = self.behind(process, tid, link, &rest)?;
                // the directory's path is the kernel's, and a name in it needs no look at the file system
                if !follows && rest.iter().rposition(|&b| b == b'/') == Some(0) {
                    out.extend_from_slice(&behind);
                    return Some(());
                }
                Cow::Owned(behind)
            }
            _ => Cow::Borrowed(path),
        };
        let path = &*behind;
        if path.starts_with(b"/proc/") {
            return None;
        }
        let (root, below) = self.root_of(process, tid, path)?;
        let whole = || path_of(&cached(&root, below, follows)?);
        let Some((directory, name)) = split(below) else {
            out.extend_from_slice(&whole()?);
            return Some(());
        };
        if follows {
            if let Some(found) = whole() {
                out.extend_from_slice(&found);
                return Some(());
            }
            // a link that the kernel does not follow now, or whose target is not there: it is to be read
            if cached(&root, below, false).is_some_and(|last| is_link(&last)) {
                return None;
            }
        }
        let directory = path_of(&cached(&root, directory, true)?)?;
        out.extend_from_slice(&directory);
        if directory.last() != Some(&b'/') {
            out.push(b'/');
        }
        out.extend_from_slice(name);
        Some(())
    }

    /// The path behind a link of /proc.
    fn behind(&self, process: &Process, tid: u32, link: MagicLink, rest: &[u8]) -> Option<Vec<u8>> {
        let on_host = process.vpid.is_none_or(|vpid| vpid == process.pid);
        let is_own = |pid| on_host && (pid == process.pid || pid == tid);
        if !link.pid.is_none_or(is_own) || !self.has_proc(process, tid) {
            return None;
        }
        let proc_fs = self.proc_fs.as_ref()?;
        let place = match link.to {
            To::Descriptor(fd) => {
                let key = self.processes.key(process.pid)?;
                let known = self.current_descriptor(key, tid, fd);
                let known = known.map(|descriptor| descriptor.name.to_vec());
                known.or_else(|| proc_fs.link(tid, &format!("fd/{fd}")))?
            }
            To::Directory => self.cwd(process, tid).to_vec(),
            // the path of a root directory is as the mount namespace has it
            To::Root => proc_fs.link(tid, "root").unwrap_or_else(|| b"/".to_vec()),
        };
        place.starts_with(b"/").then_some(())?;
        let mut path = place;
        if path.ends_with(b"/") && !rest.is_empty() {
            path.pop();
        }
        path.extend_from_slice(rest);
        Some(path)
    }

    /// Whether /proc is what it should be for a thread: anything can be mounted there in a namespace of its own.
    fn has_proc(&self, process: &Process, tid: u32) -> bool {
        /// include/uapi/linux/magic.h
        const PROC_SUPER_MAGIC: u64 = 0x9fa0;
        let Some((root, _)) = self.root_of(process, tid, b"/") else {
            return false;
        };
        let Some(place) = cached(&root, b"/proc", true) else {
            return false;
        };
        // SAFETY: the kernel fills the structure, which is valid as zeros.
        unsafe {
            let mut found: libc::statfs = std::mem::zeroed();
            libc::fstatfs(place.as_raw_fd(), &raw mut found) == 0
                // the C libraries differ in its type
                && u64::try_from(found.f_type) == Ok(PROC_SUPER_MAGIC)
        }
    }

    /// The root directory of a thread, and the path below it.
    fn root_of<'p>(
        &self,
        process: &Process,
        tid: u32,
        path: &'p [u8],
    ) -> Option<(OwnedFd, &'p [u8])> {
        let proc_fs = self.proc_fs.as_ref()?;
        let of_thread = |tid: u32| {
            let name = proc_fs.path(tid, "root");
            let root = place(&CString::new(name.as_os_str().as_bytes()).ok()?)?;
            let below = match link(&name)?.as_slice() {
                b"/" => path,
                root => path
                    .strip_prefix(root)
                    .filter(|below| below.starts_with(b"/"))?,
            };
            Some((root, below))
        };
        if let Some(found) = of_thread(tid).or_else(|| of_thread(process.pid)) {
            return Some(found);
        }
        let container = |of: &Process| of.cgroups.container.as_ref().map(Arc::as_ptr);
        let above = |of: &Process| of.parent.and_then(|key| self.processes.get(key));
        let ancestors = std::iter::successors(above(process), |last| above(last));
        ancestors
            .take(ANCESTORS)
            // another container has another root directory
            .take_while(|ancestor| container(ancestor) == container(process))
            .find_map(|ancestor| of_thread(ancestor.pid))
            .or_else(|| {
                let on_host = process.cgroups.container.is_none();
                on_host.then(|| Some((place(c"/")?, path)))?
            })
    }
}

#[cfg(test)]
mod tests;
