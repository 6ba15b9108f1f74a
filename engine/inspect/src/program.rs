//! The files and capabilities of running programs. They come from the driver if it reports them, otherwise from /proc.

use std::fs;
use std::path::{Path, PathBuf};

use driver_api::event::{Layer, Program};

use super::Inspector;
use super::follow::u32_in;
use super::patient;
use super::proc_fs;
use super::process::Process;

/// The file of an executable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProgramFile {
    /// Its inode.
    pub inode: u64,
    /// Time of the last change of its inode, in nanoseconds since the epoch.
    pub ctime_ns: u64,
    /// Time of the last change of its contents, in nanoseconds since the epoch.
    pub mtime_ns: u64,
    /// Type and permissions.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Its layer in an overlay file system. None: not known.
    pub layer: Option<Layer>,
}

impl ProgramFile {
    /// Whether the permission bits let a user write to it. Root always may; access control lists are ignored. If the owner is
    /// not known (`u32::MAX`), the bits already say what the process may, whoever it is.
    #[must_use]
    pub fn is_writable_by(&self, uid: u32, gid: u32) -> bool {
        let bit = if uid == self.uid {
            0o200
        } else if gid == self.gid {
            0o020
        } else {
            0o002
        };
        let is_root = uid == 0 && self.uid != u32::MAX;
        is_root || self.mode & bit != 0
    }

    /// None: the fact does not know it.
    pub(super) fn of_fact(program: &Program) -> Option<Self> {
        decode::program::has_file(program).then(|| Self {
            inode: program.inode,
            ctime_ns: program.ctime_ns,
            mtime_ns: program.mtime_ns,
            mode: program.mode,
            uid: program.uid,
            gid: program.gid,
            layer: Layer::from_u32(program.layer),
        })
    }

    /// The file behind a path, such as `/proc/PID/exe`. Its file system is not asked, which may be a program that never
    /// answers.
    pub(super) fn at(path: &Path) -> Option<Self> {
        let file = proc_fs::status(path)?;
        let ns = |time: libc::statx_timestamp| {
            let ns = time.tv_sec.saturating_mul(1_000_000_000);
            u64::try_from(ns.saturating_add(time.tv_nsec.into())).unwrap_or(0)
        };
        Some(Self {
            inode: file.stx_ino,
            ctime_ns: ns(file.stx_ctime),
            mtime_ns: ns(file.stx_mtime),
            mode: file.stx_mode.into(),
            uid: file.stx_uid,
            gid: file.stx_gid,
            layer: None,
        })
    }
}

/// The path of an executable as Falco has it, from the kernel's: without ` (deleted)`, and `memfd:NAME` for a memfd.
pub(super) fn path_of(kernels: &[u8]) -> &[u8] {
    let path = kernels.strip_suffix(b" (deleted)").unwrap_or(kernels);
    match path.strip_prefix(b"/") {
        Some(name) if name.starts_with(b"memfd:") => name,
        Some(_) | None => path,
    }
}

/// Sets of capabilities, bits of `1 << CAP_*` (capabilities(7)).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Kept across exec.
    pub inheritable: u64,
    /// Can be made effective.
    pub permitted: u64,
    /// What the kernel checks.
    pub effective: u64,
}

impl Capabilities {
    /// Two of `struct __user_cap_data_struct` (capset(2)): the lower halves, and the upper ones.
    pub(super) fn for_capset(self) -> [[u32; 3]; 2] {
        let sets = [self.effective, self.permitted, self.inheritable];
        [sets.map(u32_in), sets.map(|set| u32_in(set >> 32))]
    }

    /// None: the fact does not know them.
    pub(super) fn of_fact(program: &Program) -> Option<Self> {
        decode::program::has_capabilities(program).then_some(Self {
            inheritable: program.cap_inheritable,
            permitted: program.cap_permitted,
            effective: program.cap_effective,
        })
    }
}

/// The fact that tells another state what this one knows of a program. None: nothing.
pub(super) fn fact(process: &Process) -> Option<Program> {
    let capabilities = process.main_credentials.capabilities;
    if process.file.is_none() && capabilities.is_none() {
        return None;
    }
    let file = process.file.unwrap_or_default();
    let unknown = decode::program::UNKNOWN_CAPABILITIES;
    let set = |of: fn(Capabilities) -> u64| capabilities.map_or(unknown, of);
    Some(Program {
        inode: file.inode,
        ctime_ns: file.ctime_ns,
        mtime_ns: file.mtime_ns,
        cap_inheritable: set(|sets| sets.inheritable),
        cap_permitted: set(|sets| sets.permitted),
        cap_effective: set(|sets| sets.effective),
        mode: file.mode,
        uid: file.uid,
        gid: file.gid,
        layer: file.layer.map_or(Layer::UNKNOWN, |layer| layer as u32),
    })
}

impl From<proc_pid::Capabilities> for Capabilities {
    fn from(sets: proc_pid::Capabilities) -> Self {
        Self {
            inheritable: sets.inheritable,
            permitted: sets.permitted,
            effective: sets.effective,
        }
    }
}

impl Inspector {
    /// The capabilities of a thread. If they are not known, /proc is asked.
    #[must_use]
    pub fn capabilities(&self, process: &Process, tid: u32) -> Option<Capabilities> {
        process.credentials(tid).capabilities.or_else(|| {
            let proc_fs = self.proc_fs.as_ref().filter(|_| !process.ended)?;
            proc_fs.capabilities(tid)
        })
    }

    /// The layer of a process's executable in an overlay file system.
    #[must_use]
    pub fn program_layer(&self, process: &Process) -> Option<Layer> {
        if let Some(layer) = process.file.as_ref().and_then(|file| file.layer) {
            return Some(layer);
        }
        self.layer(process, &process.exe)
    }

    /// The layer of a path in the overlay file system of a process's container. It is upper if the path exists in the
    /// upper directory.
    #[must_use]
    pub fn layer(&self, process: &Process, path: &[u8]) -> Option<Layer> {
        use std::os::unix::ffi::OsStrExt;
        let container = process.cgroups.container.as_ref()?;
        let upper = container.upper(|| {
            let proc_fs = self.proc_fs.as_ref()?;
            let pid = [process.pid, container.pid()]
                .into_iter()
                .find(|pid| proc_fs.exists(*pid))?;
            upper_of(&proc_fs.read(pid, "mountinfo")?)
        })?;
        let inner = path.strip_prefix(b"/").filter(|path| !path.is_empty())?;
        let written = upper.join(std::ffi::OsStr::from_bytes(inner));
        let folder = self.proc_fs.as_ref()?.path(process.pid, "");
        // the mounts, and so the folder, are what the process says
        let is_there = patient::ask(&folder, move || fs::symlink_metadata(written).is_ok())?;
        Some(if is_there { Layer::Upper } else { Layer::Lower })
    }
}

/// The upper directory of the overlay that is mounted on `/`, from `/proc/PID/mountinfo` (proc_pid_mountinfo(5)).
fn upper_of(mountinfo: &[u8]) -> Option<PathBuf> {
    let text = std::str::from_utf8(mountinfo).ok()?;
    let is_root = |line: &&str| line.split(' ').nth(4) == Some("/") && line.contains(" - overlay ");
    let line = text.lines().rfind(is_root)?;
    let options = line.rsplit(' ').next()?;
    let upper = options
        .split(',')
        .find_map(|option| option.strip_prefix("upperdir="))?;
    Some(PathBuf::from(upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_upper_directory_is_that_of_the_overlay_at_the_root() {
        let text = b"1 0 0:5 / / rw - overlay overlay rw,lowerdir=/l,upperdir=/var/x/diff,workdir=/var/x/work\n\
            2 1 0:6 / /proc rw - proc proc rw\n3 1 0:7 / /o rw - overlay overlay rw,upperdir=/no\n";
        assert_eq!(upper_of(text), Some(PathBuf::from("/var/x/diff")));
        assert_eq!(upper_of(b"1 0 8:1 / / rw - ext4 /dev/sda rw\n\xff"), None);
    }

    #[test]
    fn who_may_write_follows_owner_group_and_others() {
        let file = ProgramFile {
            mode: 0o100_575,
            uid: 10,
            gid: 20,
            ..ProgramFile::default()
        };
        assert!(file.is_writable_by(0, 0));
        assert!(!file.is_writable_by(10, 20));
        assert!(file.is_writable_by(11, 20));
        assert!(!file.is_writable_by(11, 21));
        // a capture says what the process may, and not whose the file is
        for (mode, writable) in [(0o100_555, false), (0o100_777, true)] {
            let file = ProgramFile {
                mode,
                uid: u32::MAX,
                gid: u32::MAX,
                ..file
            };
            for uid in [0, 10, u32::MAX] {
                assert_eq!(file.is_writable_by(uid, 20), writable);
            }
        }
    }
}
