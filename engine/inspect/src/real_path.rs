//! Where a path leads, symbolic links included, as the file system is at this moment.
//!
//! The path is the program's, so nothing may happen because lanner looks at it: nothing is opened, no file system is asked
//! or mounted, and no link of /proc is followed. The kernel answers from its cache of names (`RESOLVE_CACHED`, Linux 5.12),
//! where the names are that the call has just looked up. It does not answer while it would have to note that a link was
//! followed, as it does for the first time after the link was made.

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use super::Inspector;
use super::process::Process;

/// The most bytes of a path.
const PATH_MAX: usize = 4096;
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

/// The directory of a path, and its last component. None: it has no component that is a name.
fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = path.iter().rposition(|&b| b != b'/')? + 1;
    let path = &path[..end];
    let slash = path.iter().rposition(|&b| b == b'/')?;
    let name = &path[slash + 1..];
    (!matches!(name, b"." | b"..")).then_some((&path[..=slash], name))
}

impl Inspector {
    /// Appends where a path leads, behind all symbolic links in its directories. `path` is absolute in the mount namespace
    /// of the thread `tid` of this process. `follows`: also behind a link that is the last component. False: not known,
    /// because a name is not in the kernel's cache, a link of /proc is in the path, or the kernel is older than Linux 5.12.
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
        if path.len() >= PATH_MAX || path.starts_with(b"/proc/") {
            return None;
        }
        let (root, below) = self.root_of(process, tid, path)?;
        let whole = || path_of(&cached(&root, below, follows)?);
        let Some((directory, name)) = split(below) else {
            out.extend_from_slice(&whole()?);
            return Some(());
        };
        if follows && let Some(found) = whole() {
            out.extend_from_slice(&found);
            return Some(());
        }
        let directory = path_of(&cached(&root, directory, true)?)?;
        out.extend_from_slice(&directory);
        if directory.last() != Some(&b'/') {
            out.push(b'/');
        }
        out.extend_from_slice(name);
        Some(())
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
mod tests {
    use super::*;
    use crate::testing::{Ev, feed};
    use crate::{Clock, Options};
    use driver_api::event::Ids;

    #[test]
    fn a_path_is_split_before_its_last_name() {
        assert_eq!(split(b"/a/b/"), Some((&b"/a/"[..], &b"b"[..])));
        assert_eq!(split(b"/a"), Some((&b"/"[..], &b"a"[..])));
        assert_eq!(split(b"/a/.."), None);
        assert_eq!(split(b"///"), None);
    }

    #[test]
    fn links_in_the_directories_are_followed() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().canonicalize().unwrap();
        std::fs::create_dir(at.join("real")).unwrap();
        std::fs::write(at.join("real/file"), b"x").unwrap();
        std::os::unix::fs::symlink("real", at.join("link")).unwrap();
        std::os::unix::fs::symlink("file", at.join("real/last")).unwrap();
        let pid = std::process::id();
        let mut inspector = Inspector::new(&Options {
            containers: None,
            clock: Clock::fixed(1),
            ..Options::default()
        });
        feed(
            &mut inspector,
            &[Ev::exec(pid, "/bin/x", &["x"], Ids::default())],
        );
        let process = inspector.process_by_pid(pid).unwrap();
        let find = |path: &str, follows| {
            // the names are in the cache once somebody has looked them up
            let path = at.join(path);
            let _ = std::fs::metadata(&path);
            let mut out = Vec::new();
            let found =
                inspector.real_path(process, pid, path.as_os_str().as_bytes(), follows, &mut out);
            found.then(|| String::from_utf8(out).unwrap())
        };
        let real = |name: &str| Some(at.join("real").join(name).display().to_string());
        if find("real/file", false).is_none() {
            println!("skipped: the kernel does not answer from its cache of names");
            return;
        }
        assert_eq!(find("link/file", false), real("file"));
        assert_eq!(find("link/new", false), real("new"));
        assert_eq!(find("link/last", false), real("last"));
        assert_eq!(find("link/last", true), real("file"));
        assert_eq!(find("link/../link/file", false), real("file"));
        assert_eq!(find("absent/file", false), None);
        let mut out = Vec::new();
        assert!(!inspector.real_path(process, pid, b"/proc/self/fd/3", true, &mut out));
    }
}
