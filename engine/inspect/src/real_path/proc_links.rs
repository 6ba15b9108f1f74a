//! The links of /proc that lead somewhere else than their text says: to descriptors, working directories and roots.

use std::borrow::Cow;
use std::os::fd::OwnedFd;

use super::places;
use crate::Inspector;
use crate::process::Process;

/// A link of /proc that leads somewhere else than its text says (proc_pid_fd(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MagicLink {
    /// The process whose link it is. None: that of the thread itself.
    pub(super) pid: Option<u32>,
    pub(super) to: To,
}

/// What it leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum To {
    Descriptor(i32),
    Directory,
    Root,
}

/// The link that a path begins with, and the rest, which begins with `/` or is empty.
pub(super) fn magic_link(path: &[u8]) -> Option<(MagicLink, Vec<u8>)> {
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

/// The inode of the root directory of each procfs (include/linux/proc_ns.h, `PROC_ROOT_INO`).
const ROOT_INODE: u64 = 1;

/// A path, and the process and thread in whose mount namespace it is.
#[derive(Debug)]
pub(super) struct Path<'a> {
    pub(super) process: &'a Process,
    pub(super) tid: u32,
    pub(super) path: Cow<'a, [u8]>,
}

/// A name in a path that is being followed, and the names behind it.
fn joined<'n>(before: &[u8], names: impl Iterator<Item = &'n [u8]>) -> Vec<u8> {
    let mut path = before.to_vec();
    if path.ends_with(b"/") {
        path.pop();
    }
    for name in names {
        path.push(b'/');
        path.extend_from_slice(name);
    }
    path
}

impl Inspector {
    /// The path behind a link of /proc, where the state knows it. `rest` is what follows the link.
    pub(super) fn behind<'a>(
        &'a self,
        process: &'a Process,
        tid: u32,
        link: MagicLink,
        rest: &[u8],
    ) -> Option<Path<'a>> {
        if !self.has_proc(process, tid) {
            return None;
        }
        let proc_fs = self.proc_fs.as_ref()?;
        // the thread's own link is known in every namespace of process ids, others in that of the host
        let on_host = process.vpid.is_none_or(|vpid| vpid == process.pid);
        let (process, tid) = match link.pid {
            None => (process, tid),
            Some(pid) if on_host && (pid == process.pid || pid == tid) => (process, pid),
            Some(pid) if on_host => (self.process_of_thread(pid)?, pid),
            Some(_) => return None,
        };
        let place = match link.to {
            To::Descriptor(fd) => {
                let key = self.processes.key(process.pid)?;
                let known = self.current_descriptor(key, tid, fd);
                let known = known.map(|descriptor| descriptor.name.to_vec());
                known.or_else(|| proc_fs.link(tid, &format!("fd/{fd}")))?
            }
            To::Directory => self.cwd(process, tid).to_vec(),
            // the path of a root directory is as the mount namespace has it
            To::Root => {
                let found = proc_fs.link(tid, "root");
                // of an own root that is not that of the mount namespace, the event has the path
                found.or_else(|| link.pid.is_none().then(|| b"/".to_vec()))?
            }
        };
        place.starts_with(b"/").then_some(())?;
        let mut path = place;
        if path.ends_with(b"/") && !rest.is_empty() {
            path.pop();
        }
        path.extend_from_slice(rest);
        Some(Path {
            process,
            tid,
            path: Cow::Owned(path),
        })
    }

    /// Whether /proc is what it should be for a thread: anything can be mounted there in a namespace of its own.
    fn has_proc(&self, process: &Process, tid: u32) -> bool {
        let place = || {
            let (root, _) = self.root_of(process, tid, b"/")?;
            places::cached(&root, b"/proc", true)
        };
        place().is_some_and(|place| self.is_proc(process, tid, &place))
    }

    /// Whether a place is in a procfs. Its file system is not asked, as it may be one that never answers.
    pub(super) fn is_proc(&self, process: &Process, tid: u32, place: &OwnedFd) -> bool {
        let found = self.file_system(process, tid, place);
        found.is_some_and(|name| name == "proc")
    }

    /// The path behind the first link of /proc below a directory of a procfs, wherever that is mounted. `names` are what
    /// follows the directory. None: there is none, or it leads to no path.
    pub(super) fn expanded_in_proc<'a>(
        &'a self,
        process: &'a Process,
        tid: u32,
        directory: OwnedFd,
        names: &[&[u8]],
        follows: bool,
    ) -> Option<Path<'a>> {
        let mut names = names.to_vec();
        let is_root = places::look(&directory)?.inode == ROOT_INODE;
        if is_root {
            let usual = joined(b"/proc", names.iter().copied());
            if let Some((link, rest)) = magic_link(&usual)
                && (follows || !rest.is_empty())
                && let Some(found) = self.behind(process, tid, link, &rest)
            {
                return Some(found);
            }
        }
        // `self` would lead to lanner
        let number = process.vpid.unwrap_or(process.pid).to_string();
        match names.first() {
            Some(&b"self") if is_root => names[0] = number.as_bytes(),
            Some(&b"thread-self") if is_root && tid == process.pid => names[0] = number.as_bytes(),
            Some(&b"thread-self") if is_root => return None,
            _ => {}
        }
        let mut directory = directory;
        let mut names = names.into_iter();
        while let Some(name) = names.next() {
            if name == b".." {
                return None;
            }
            let place = places::in_proc(&directory, name)?;
            if !places::look(&place)?.is_link {
                directory = place;
                continue;
            }
            if names.len() == 0 && !follows {
                return None;
            }
            let said = places::read_link(&place).filter(|said| said.starts_with(b"/"))?;
            let said = said.strip_suffix(b" (deleted)").unwrap_or(&said);
            return Some(Path {
                process,
                tid,
                path: Cow::Owned(joined(said, names)),
            });
        }
        None
    }
}
