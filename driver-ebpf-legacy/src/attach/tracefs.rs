//! tracefs: the numbers of tracepoints, the offsets of the fields in their records, and probes by name. It is used
//! through a descriptor of its directory, so it can be mounted where no other process sees it.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::thread;

use nix::fcntl::{OFlag, open, openat};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::Mode;

use crate::kernel::{Feature, Features};

/// Where it is usually mounted.
const MOUNT_POINTS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];
/// Directories to mount it on in a mount namespace of our own: the first that exists is used.
const PRIVATE_MOUNT_POINTS: [&str; 3] = ["/sys/kernel/tracing", "/sys", "/tmp"];
/// A file that tells tracefs from an empty directory.
const MARK: &str = "events/enable";

/// Why tracefs cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TracefsError {
    #[error("tracefs is not mounted, and lanner cannot mount it: mount -t tracefs tracefs {}", MOUNT_POINTS[0])]
    Mount(#[source] io::Error),
    #[error("cannot read {path} in tracefs")]
    Read { path: String, source: io::Error },
    #[error("cannot write {command:?} to {path} in tracefs")]
    Write {
        path: &'static str,
        command: String,
        source: io::Error,
    },
    #[error("the id of the tracepoint {tracepoint} is {text:?}, which is no number")]
    Id { tracepoint: String, text: String },
    #[error("the record of the tracepoint {tracepoint} has no field {field}")]
    NoField {
        tracepoint: &'static str,
        field: &'static str,
    },
}

/// The file system of the kernel's tracing.
#[derive(Debug)]
pub(crate) struct Tracefs {
    folder: OwnedFd,
}

impl Tracefs {
    /// Finds it where it is mounted. Otherwise mounts it where only lanner sees it, if lanner may mount.
    pub(crate) fn open(features: Features) -> Result<Self, TracefsError> {
        if !features.hides(Feature::MountedTracefs) {
            let mut places = MOUNT_POINTS.iter().map(PathBuf::from).chain(mounted());
            if let Some(found) = places.find_map(|place| Self::at(open_folder(&place).ok()?)) {
                return Ok(found);
            }
        }
        let detached = if features.hides(Feature::Fsmount) {
            Err(io::ErrorKind::Unsupported.into())
        } else {
            detached()
        };
        detached
            .or_else(|_| in_namespace())
            .map_err(TracefsError::Mount)
    }

    fn at(folder: OwnedFd) -> Option<Self> {
        let tracefs = Self { folder };
        tracefs.file(MARK, OFlag::O_PATH).is_ok().then_some(tracefs)
    }

    fn file(&self, path: &str, flags: OFlag) -> io::Result<File> {
        Ok(openat(&self.folder, path, flags | OFlag::O_CLOEXEC, Mode::empty())?.into())
    }

    /// Reads a file.
    pub(crate) fn read(&self, path: &str) -> Result<String, TracefsError> {
        let mut text = String::new();
        self.file(path, OFlag::O_RDONLY)
            .and_then(|mut file| file.read_to_string(&mut text))
            .map_err(|source| TracefsError::Read {
                path: path.to_owned(),
                source,
            })?;
        Ok(text)
    }

    /// Writes a command to a file that takes commands, such as `kprobe_events`.
    pub(crate) fn append(&self, path: &'static str, command: &str) -> Result<(), TracefsError> {
        self.file(path, OFlag::O_WRONLY | OFlag::O_APPEND)
            .and_then(|mut file| file.write_all(format!("{command}\n").as_bytes()))
            .map_err(|source| TracefsError::Write {
                path,
                command: command.to_owned(),
                source,
            })
    }

    /// The number of a tracepoint, `category/name`.
    pub(crate) fn id(&self, tracepoint: &str) -> Result<u64, TracefsError> {
        let text = self.read(&format!("events/{tracepoint}/id"))?;
        text.trim().parse().map_err(|_| TracefsError::Id {
            tracepoint: tracepoint.to_owned(),
            text: text.clone(),
        })
    }

    /// The offset of a field in the record of a tracepoint.
    pub(crate) fn field(
        &self,
        tracepoint: &'static str,
        field: &'static str,
    ) -> Result<u32, TracefsError> {
        let text = self.read(&format!("events/{tracepoint}/format"))?;
        offset(&text, field).ok_or(TracefsError::NoField { tracepoint, field })
    }
}

fn open_folder(path: &Path) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    open(path, flags, Mode::empty())
}

/// Finds a field's offset in the lines of a `format` file (`field:pid_t pid; offset:8; size:4; signed:1;`, with tabs).
fn offset(format: &str, field: &str) -> Option<u32> {
    format.lines().find_map(|line| {
        let (declaration, rest) = line.trim().strip_prefix("field:")?.split_once(';')?;
        let name = declaration
            .rsplit(|c: char| c.is_whitespace() || c == '*')
            .next()?;
        let (name, _) = name.split_once('[').unwrap_or((name, ""));
        if name != field {
            return None;
        }
        rest.trim()
            .strip_prefix("offset:")?
            .split(';')
            .next()?
            .parse()
            .ok()
    })
}

/// The directories where it is mounted now.
fn mounted() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let fields = mounts
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>());
    fields
        .filter(|fields| fields.get(2) == Some(&"tracefs"))
        .filter_map(|fields| fields.get(1).map(PathBuf::from))
        .collect()
}

/// Owns the descriptor that a system call returned.
///
/// # Safety
///
/// A result of 0 or more is a descriptor that the call has just made, and that nothing else owns.
unsafe fn descriptor(result: libc::c_long) -> io::Result<OwnedFd> {
    match i32::try_from(result) {
        // SAFETY: the caller's promise.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Mounts it without attaching it to a directory: the mount ends with its descriptor (since Linux 5.2).
fn detached() -> io::Result<Tracefs> {
    const CLOEXEC: u32 = 1; // FSOPEN_CLOEXEC, FSMOUNT_CLOEXEC
    const CMD_CREATE: u32 = 6; // FSCONFIG_CMD_CREATE
    let nothing: *const libc::c_char = std::ptr::null();
    // SAFETY: fsopen(2) reads a name that ends with NUL, and returns a new descriptor.
    let context = unsafe {
        descriptor(libc::syscall(
            libc::SYS_fsopen,
            c"tracefs".as_ptr(),
            CLOEXEC,
        ))
    }?;
    // SAFETY: with FSCONFIG_CMD_CREATE fsconfig(2) takes null pointers, and reads no memory.
    let created = unsafe {
        libc::syscall(
            libc::SYS_fsconfig,
            context.as_raw_fd(),
            CMD_CREATE,
            nothing,
            nothing,
            0,
        )
    };
    if created < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: fsmount(2) takes numbers, and returns a new descriptor.
    let folder = unsafe {
        descriptor(libc::syscall(
            libc::SYS_fsmount,
            context.as_raw_fd(),
            CLOEXEC,
            0,
        ))
    }?;
    Tracefs::at(folder).ok_or_else(|| unmarked("the new mount"))
}

/// A tracefs at this place in which nothing can be found, as its files cannot be looked up.
fn unmarked(place: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::PermissionDenied,
        format!("{MARK} cannot be found in {place}"),
    )
}

/// Mounts it in the mount namespace of a thread that ends at once. The open directory keeps the mount alive.
fn in_namespace() -> io::Result<Tracefs> {
    let thread = thread::Builder::new()
        .name("lanner-tracefs".to_owned())
        .spawn(|| {
            let none: Option<&str> = None;
            unshare(CloneFlags::CLONE_NEWNS)?;
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
            let tracefs = Some("tracefs");
            let mut last = nix::Error::ENOENT;
            for place in PRIVATE_MOUNT_POINTS {
                match mount(tracefs, place, tracefs, MsFlags::empty(), none) {
                    Ok(()) => {
                        return Tracefs::at(open_folder(Path::new(place))?)
                            .ok_or_else(|| unmarked(place));
                    }
                    Err(error) => last = error,
                }
            }
            Err(last.into())
        })?;
    thread
        .join()
        .unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
}

#[cfg(test)]
mod tests {
    use test_support::{is_root, skipped};

    use super::*;

    const NEWTASK: &str = "name: task_newtask\nID: 139\nformat:\n\
        \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\n\
        \tfield:pid_t pid;\toffset:8;\tsize:4;\tsigned:1;\n\
        \tfield:char comm[16];\toffset:12;\tsize:16;\tsigned:0;\n\
        \tfield:unsigned long clone_flags;\toffset:32;\tsize:8;\tsigned:0;\n\
        \tfield:const char * name;\toffset:48;\tsize:8;\tsigned:0;\n";

    #[test]
    fn a_field_is_found_by_its_name() {
        assert_eq!(offset(NEWTASK, "pid"), Some(8));
        assert_eq!(offset(NEWTASK, "comm"), Some(12));
        assert_eq!(offset(NEWTASK, "clone_flags"), Some(32));
        assert_eq!(offset(NEWTASK, "name"), Some(48));
        assert_eq!(offset(NEWTASK, "flags"), None);
    }

    #[test]
    fn it_can_be_mounted_where_no_other_process_sees_it() {
        if !is_root() {
            skipped("mounting needs root");
            return;
        }
        let before = fs::read_to_string("/proc/self/mounts").expect("mounts");
        for tracefs in [detached(), in_namespace()] {
            match tracefs {
                Ok(tracefs) => {
                    assert!(tracefs.id("raw_syscalls/sys_exit").expect("an id") > 0);
                    assert_eq!(
                        tracefs
                            .field("raw_syscalls/sys_exit", "id")
                            .expect("a field"),
                        8
                    );
                }
                // fsopen(2) came with Linux 5.2
                Err(error) => assert_eq!(error.raw_os_error(), Some(libc::ENOSYS)),
            }
        }
        assert_eq!(
            fs::read_to_string("/proc/self/mounts").expect("mounts"),
            before
        );
    }
}
