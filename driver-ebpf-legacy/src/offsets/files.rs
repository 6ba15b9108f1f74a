//! The way from a task to its files and directories, and from those to their paths.

use std::ffi::CString;
use std::fs::{self, File};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::memfd::{MFdFlags, memfd_create};
use proc_pid::{Field, Stat};

use super::offset;
use super::peek::{Peek, is_pointer, pointers, u32_at, u64_at};
use crate::layout::{Offsets, have};

/// Bytes of a struct that are searched.
const STRUCT: usize = 512;
/// The most components of a path, crossed mounts included.
const COMPONENTS: usize = 96;

/// Open files of this process that the search knows everything about.
pub(super) struct Known {
    /// A memfd with a unique name.
    pub(super) memfd: OwnedFd,
    /// The same file by another descriptor.
    duplicate: OwnedFd,
    /// The name of its dentry.
    name: String,
    /// A file whose path crosses a mount.
    pub(super) proc: File,
    /// A file on disk.
    exe: Option<File>,
}

impl Known {
    pub(super) fn open(peek: &Peek) -> Option<Self> {
        let name = format!("lanner-offsets-{:x}", peek.magic);
        let memfd = memfd_create(
            CString::new(name.clone()).ok()?.as_c_str(),
            MFdFlags::MFD_CLOEXEC,
        )
        .ok()?;
        Some(Self {
            duplicate: memfd.try_clone().ok()?,
            memfd,
            name: format!("memfd:{name}"),
            proc: File::open("/proc/self/status").ok()?,
            exe: File::open("/proc/self/exe").ok(),
        })
    }
}

/// The target of a link in /proc, without the note that it is deleted.
fn link(path: &str) -> Option<String> {
    let target = fs::read_link(path).ok()?;
    let target = target.to_str()?;
    Some(
        target
            .strip_suffix(" (deleted)")
            .unwrap_or(target)
            .to_owned(),
    )
}

/// Finds `task->files` and `files->fdt`, and with them every open file of this process.
pub(super) fn descriptors(
    peek: &mut Peek,
    off: &mut Offsets,
    task: &[u8],
    known: &Known,
) -> Option<()> {
    let (memfd, duplicate, other) = (
        known.memfd.as_raw_fd(),
        known.duplicate.as_raw_fd(),
        known.proc.as_raw_fd(),
    );
    for (task_files, files) in pointers(task) {
        let Some(bytes) = peek.read(files, 96) else {
            continue;
        };
        for (fdt_at, fdt) in pointers(&bytes) {
            let Some(head) = peek.read(fdt, 16) else {
                continue;
            };
            let max = u32_at(&head, 0)?;
            let array = u64_at(&head, 8)?;
            if max == 0 || max % 64 != 0 || max > 1 << 26 || !is_pointer(array) {
                continue;
            }
            let mut file = |fd: i32| {
                u64::try_from(fd)
                    .ok()
                    .and_then(|fd| peek.read_u64(array + 8 * fd))
            };
            let Some(first) = file(memfd).filter(|&f| is_pointer(f)) else {
                continue;
            };
            if file(duplicate) == Some(first)
                && file(other).is_some_and(|f| f != first && is_pointer(f))
            {
                off.task_files = offset(task_files);
                off.files_fdt = offset(fdt_at);
                off.have |= have::FD;
                return Some(());
            }
        }
    }
    None
}

/// The struct file of a descriptor, found in the way of the programs.
pub(super) fn file_of(peek: &mut Peek, off: &Offsets, task: u64, fd: i32) -> Option<u64> {
    let files = peek.read_u64(task + u64::from(off.task_files))?;
    let fdt = peek.read_u64(files + u64::from(off.files_fdt))?;
    let array = peek.read_u64(fdt + 8)?;
    peek.read_u64(array + 8 * u64::try_from(fd).ok()?)
        .filter(|&file| is_pointer(file))
}

/// Finds `file->f_path`, the names in a dentry, and the mounts: by the file with the unique name, and by the file whose
/// path crosses a mount.
pub(super) fn paths(peek: &mut Peek, off: &mut Offsets, task: u64, known: &Known) -> Option<()> {
    let file = file_of(peek, off, task, known.memfd.as_raw_fd())?;
    let bytes = peek.read(file, STRUCT)?;
    let found = pointers(&bytes).find_map(|(at, _)| {
        let dentry = u64_at(&bytes, at + 8).filter(|&d| is_pointer(d))?;
        Some((at, names(peek, dentry, &known.name)?))
    })?;
    off.file_path = offset(found.0);
    off.dentry_parent = offset(found.1);
    let proc = file_of(peek, off, task, known.proc.as_raw_fd())?;
    let path = proc + u64::from(off.file_path);
    let (mnt, dentry) = (peek.read_u64(path)?, peek.read_u64(path + 8)?);
    let expected = link(&format!("/proc/self/fd/{}", known.proc.as_raw_fd()))?;
    let before = |off: &Offsets| u64::from(off.dentry_parent) - 8;
    // d_hash.pprev: a file in a directory is hashed, a memfd never is
    let memfd = peek.read_u64(file + u64::from(off.file_path) + 8)?;
    if peek.read_u64(memfd + before(off))? != 0 || peek.read_u64(dentry + before(off))? == 0 {
        return None;
    }
    for mount_mnt in (16..=128).step_by(8) {
        off.mount_mnt = mount_mnt;
        if walk(peek, off, mnt, dentry).is_some_and(|path| path.ends_with(&expected))
            && check_exe(peek, off, task, known)
        {
            off.have |= have::PATH;
            return Some(());
        }
    }
    None
}

/// The second proof: the path of a file on disk. If no such file can be opened, one proof has to do.
fn check_exe(peek: &mut Peek, off: &Offsets, task: u64, known: &Known) -> bool {
    let Some(fd) = known.exe.as_ref().map(AsRawFd::as_raw_fd) else {
        return true;
    };
    let (Some(file), Some(expected)) = (
        file_of(peek, off, task, fd),
        link(&format!("/proc/self/fd/{fd}")),
    ) else {
        return false;
    };
    walk_at(peek, off, file + u64::from(off.file_path))
        .is_some_and(|path| path.ends_with(&expected))
}

/// Finds `d_parent` in a dentry of this name. Hash, length and name follow it.
fn names(peek: &mut Peek, dentry: u64, name: &str) -> Option<usize> {
    let bytes = peek.read(dentry, 192)?;
    pointers(&bytes)
        .filter(|&(at, _)| at >= 24)
        .find_map(|(at, text)| {
            let len = u32_at(&bytes, at - 4)?;
            let parent = u64_at(&bytes, at - 16)?;
            let same = len as usize == name.len()
                && is_pointer(parent)
                && peek.read(text, name.len())? == name.as_bytes();
            same.then_some(at - 16)
        })
}

/// The path of the `struct path` at an address, walked in the way of the programs.
fn walk_at(peek: &mut Peek, off: &Offsets, path: u64) -> Option<String> {
    let (mnt, dentry) = (peek.read_u64(path)?, peek.read_u64(path + 8)?);
    (is_pointer(mnt) && is_pointer(dentry))
        .then(|| walk(peek, off, mnt, dentry))
        .flatten()
}

fn walk(peek: &mut Peek, off: &Offsets, mut mnt: u64, mut dentry: u64) -> Option<String> {
    let mut parts: Vec<String> = Vec::new();
    let mut root = peek.read_u64(mnt)?;
    for _ in 0..COMPONENTS {
        if dentry == root {
            let mount = mnt.checked_sub(u64::from(off.mount_mnt))?;
            let parent = peek.read_u64(mnt - 16).filter(|&p| is_pointer(p))?;
            if parent == mount {
                parts.reverse();
                return Some(format!("/{}", parts.join("/")));
            }
            dentry = peek.read_u64(mnt - 8).filter(|&d| is_pointer(d))?;
            mnt = parent + u64::from(off.mount_mnt);
            root = peek.read_u64(mnt)?;
            continue;
        }
        let names = peek.read(dentry + u64::from(off.dentry_parent), 24)?;
        let (parent, len, name) = (u64_at(&names, 0)?, u32_at(&names, 12)?, u64_at(&names, 16)?);
        if !is_pointer(parent)
            || !is_pointer(name & !7)
            || len == 0
            || len > 255
            || parent == dentry
        {
            return None;
        }
        parts.push(String::from_utf8(peek.read(name, len as usize)?).ok()?);
        dentry = parent;
    }
    None
}

/// Finds `task->fs->pwd`. Two paths follow each other there: the root and the working directory.
pub(super) fn cwd(peek: &mut Peek, off: &mut Offsets, task: &[u8]) -> Option<()> {
    let (root, cwd) = (link("/proc/self/root")?, link("/proc/self/cwd")?);
    for (task_fs, fs) in pointers(task) {
        let Some(bytes) = peek.read(fs, 96) else {
            continue;
        };
        for (at, _) in pointers(&bytes) {
            let four: Vec<u64> = (0..4)
                .filter_map(|n| u64_at(&bytes, at + 8 * n))
                .filter(|&p| is_pointer(p))
                .collect();
            if four.len() == 4
                && walk(peek, off, four[0], four[1]).is_some_and(|path| path.ends_with(&root))
                && walk(peek, off, four[2], four[3]).is_some_and(|path| path.ends_with(&cwd))
            {
                off.task_fs = offset(task_fs);
                off.fs_pwd = offset(at + 16);
                off.have |= have::CWD;
                return Some(());
            }
        }
    }
    None
}

/// Finds `task->mm`, and in it the bounds of the arguments and the environment, and the executable.
pub(super) fn memory(peek: &mut Peek, off: &mut Offsets, task: &[u8]) -> Option<()> {
    let stat = Stat::of_self().ok()?;
    let bounds: [u64; 4] = [
        stat.get(Field::ArgumentsStart)?,
        stat.get(Field::ArgumentsEnd)?,
        stat.get(Field::EnvironmentStart)?,
        stat.get(Field::EnvironmentEnd)?,
    ];
    if bounds[0] == 0 || bounds[3] == 0 {
        return None;
    }
    let bounds: Vec<u8> = bounds
        .iter()
        .flat_map(|bound| bound.to_ne_bytes())
        .collect();
    for (task_mm, mm) in pointers(task) {
        let Some(bytes) = peek.read(mm, 2048) else {
            continue;
        };
        let Some(mm_args) = bytes
            .windows(32)
            .step_by(8)
            .position(|w| w == bounds)
            .map(|n| n * 8)
        else {
            continue;
        };
        off.task_mm = offset(task_mm);
        off.mm_args = offset(mm_args);
        off.have |= have::STRINGS;
        let exe = link("/proc/self/exe")?;
        if !off.has(have::PATH) {
            return None;
        }
        // It follows the bounds in every kernel. Before them there could be another file of the same name.
        let at = pointers(&bytes).find_map(|(at, file)| {
            let path = walk_at(peek, off, file + u64::from(off.file_path))?;
            (at > mm_args && path.ends_with(&exe)).then_some(at)
        })?;
        off.mm_exe = offset(at);
        off.have |= have::EXE;
        return Some(());
    }
    None
}
