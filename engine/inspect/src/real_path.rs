//! Where a path leads, symbolic links included, as the file system is at this moment.
//!
//! The path is the program's, so nothing may happen because lanner looks at it: nothing is opened, and no file system is
//! asked or mounted. The kernel answers from its cache of names (`RESOLVE_CACHED`, Linux 5.12), which has the names that the
//! call has just looked up. It refuses if it would have to note that a link was followed, as for a link that is new. Such a
//! link is read, if its file system answers at once. Links in /proc to descriptors, working directories and roots of processes
//! are not read if the state knows where they lead ([`proc_links`]).

use std::borrow::Cow;
use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use super::Inspector;
use super::process::Process;
use places::{PATH_MAX, cached, look, path_of, read_link, type_of_mount};
use proc_links::{Path, magic_link};

mod places;
mod proc_links;

/// The most links of a path that are read.
const LINKS: usize = 8;
/// File systems that need no other process or host to read a link.
const AT_ONCE: [&str; 14] = [
    "ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "zfs", "bcachefs", "tmpfs", "ramfs",
    "devtmpfs", "rootfs", "squashfs", "erofs",
];
/// How many ancestors are asked for the root directory of a thread that has ended.
const ANCESTORS: usize = 3;
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
        let mut at = Path {
            process,
            tid,
            path: Cow::Borrowed(path),
        };
        for _ in 0..=LINKS {
            if let Some((link, rest)) = magic_link(&at.path)
                && (follows || !rest.is_empty())
                && let Some(behind) = self.behind(at.process, at.tid, link, &rest)
            {
                // the path behind the link is the kernel's, and a name in that directory needs no look at the file system
                let is_name = rest.iter().rposition(|&b| b == b'/') == Some(0);
                if rest.is_empty() || (!follows && is_name) {
                    out.extend_from_slice(&behind.path);
                    return Some(());
                }
                at = behind;
                continue;
            }
            if let Some(()) = self.find_cached(&at, follows, out) {
                return Some(());
            }
            at = self.expanded(&at, follows)?;
        }
        None
    }

    /// The path with what its first symbolic link says in the place of the link. None: there is none, or it cannot be read
    /// at once.
    fn expanded<'a>(&'a self, at: &Path<'a>, follows: bool) -> Option<Path<'a>> {
        let Path { process, tid, path } = at;
        if path.len() >= PATH_MAX {
            return None;
        }
        let (root, below) = self.root_of(process, *tid, path)?;
        let before = &path[..path.len() - below.len()];
        let names: Vec<&[u8]> = below
            .split(|&b| b == b'/')
            .filter(|name| !matches!(*name, b"" | b"."))
            .collect();
        let mut reached = Vec::new();
        let mut device = None;
        for (name, behind) in names.iter().zip(1..) {
            let directory = reached.len();
            reached.push(b'/');
            reached.extend_from_slice(name);
            let rest = &names[behind..];
            if rest.is_empty() && !follows {
                return None;
            }
            let place = cached(&root, &reached, false)?;
            let found = look(&place)?;
            if !found.is_link {
                let entered = device.replace(found.device) != Some(found.device);
                if entered && found.device.0 == 0 && self.is_proc(process, *tid, &place) {
                    return self.expanded_in_proc(process, *tid, place, rest, follows);
                }
                continue;
            }
            if !self.answers_at_once(process, *tid, &place) {
                return None;
            }
            let said = read_link(&place)?;
            let mut expanded = before.to_vec();
            if !said.starts_with(b"/") {
                expanded.extend_from_slice(&reached[..directory]);
                expanded.push(b'/');
            }
            expanded.extend_from_slice(&said);
            for name in rest {
                expanded.push(b'/');
                expanded.extend_from_slice(name);
            }
            return Some(Path {
                process,
                tid: *tid,
                path: Cow::Owned(expanded),
            });
        }
        None
    }

    /// The type of the file system that a place is in. The file system is not asked.
    fn file_system(&self, process: &Process, tid: u32, place: &OwnedFd) -> Option<String> {
        let proc_fs = self.proc_fs.as_ref()?;
        let own = format!("fdinfo/{}", place.as_raw_fd());
        let info = String::from_utf8(proc_fs.read(std::process::id(), &own)?).ok()?;
        let id = info.lines().find_map(|line| line.strip_prefix("mnt_id:"))?;
        // ids of mounts differ between namespaces
        [tid, process.pid, std::process::id()]
            .iter()
            .find_map(|pid| {
                let mounts = proc_fs.read(*pid, "mountinfo").unwrap_or_default();
                let mounts = String::from_utf8_lossy(&mounts);
                type_of_mount(&mounts, id.trim()).map(str::to_owned)
            })
    }

    /// Whether the file system of a place needs nothing but this kernel.
    fn answers_at_once(&self, process: &Process, tid: u32, place: &OwnedFd) -> bool {
        let found = self.file_system(process, tid, place);
        found.is_some_and(|name| AT_ONCE.contains(&&*name))
    }

    fn find_cached(&self, at: &Path<'_>, follows: bool, out: &mut Vec<u8>) -> Option<()> {
        let path = &*at.path;
        // `self` would lead to lanner
        if path.len() >= PATH_MAX || path.starts_with(b"/proc/") {
            return None;
        }
        let (root, below) = self.root_of(at.process, at.tid, path)?;
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
            let last = cached(&root, below, false);
            if last.is_some_and(|last| look(&last).is_some_and(|found| found.is_link)) {
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
            let root = places::place(&CString::new(name.as_os_str().as_bytes()).ok()?)?;
            let below = match places::link(&name)?.as_slice() {
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
                on_host.then(|| Some((places::place(c"/")?, path)))?
            })
    }
}

#[cfg(test)]
mod tests;
