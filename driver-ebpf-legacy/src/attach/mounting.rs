//! Mounting tracefs where only lanner sees it.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::thread;

use nix::mount::MsFlags;
use nix::sched::{CloneFlags, unshare};

use super::tracefs::{MARK, Tracefs, open_folder};
use crate::kernel::{Feature, Features};

/// Directories to mount it on in a mount namespace of our own: the first that exists is used.
const PRIVATE_MOUNT_POINTS: [&str; 3] = ["/sys/kernel/tracing", "/sys", "/tmp"];
/// Options that belong to the file system, and not to a mount of it: a new mount sets them for all.
const OF_ALL: [&str; 3] = ["uid=", "gid=", "mode="];

/// Why it cannot be mounted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MountError {
    #[error("a thread with mounts of its own cannot be started")]
    Thread(#[source] io::Error),
    #[error("lanner cannot have mounts of its own")]
    Namespace(#[source] io::Error),
    #[error("mounting it at {place}")]
    At { place: String, source: io::Error },
    #[error("in a mount of lanner's own, {MARK} cannot be looked up")]
    Closed(#[source] io::Error),
}

/// A mount of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mounted {
    /// The directory.
    pub(super) place: PathBuf,
    /// Those of [`OF_ALL`], with commas between them.
    pub(super) options: String,
}

/// The mounts that there are now.
pub(super) fn mounted() -> Vec<Mounted> {
    listed(&fs::read("/proc/thread-self/mounts").unwrap_or_default())
}

/// Those in the lines of `/proc/PID/mounts`.
fn listed(lines: &[u8]) -> Vec<Mounted> {
    let lines = String::from_utf8_lossy(lines);
    let mount = |line: &str| {
        let mut fields = line.split(' ').skip(1);
        let (place, kind, options) = (fields.next()?, fields.next()?, fields.next()?);
        if kind != "tracefs" {
            return None;
        }
        let options = options.split(',');
        let options: Vec<&str> = options
            .filter(|option| OF_ALL.iter().any(|name| option.starts_with(name)))
            .collect();
        Some(Mounted {
            place: PathBuf::from(unescaped(place)),
            options: options.join(","),
        })
    };
    lines.lines().filter_map(mount).collect()
}

/// A path of that file, where the kernel writes blanks and backslashes as three octal digits behind a backslash.
fn unescaped(path: &str) -> String {
    let mut pieces = path.split('\\');
    let mut result = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let code = piece
            .get(..3)
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => {
                result.push(char::from(code));
                result.push_str(&piece[3..]);
            }
            None => {
                result.push('\\');
                result.push_str(piece);
            }
        }
    }
    result
}

/// Mounts it with these options.
///
/// # Errors
///
/// lanner may not, or there is no such file system in this kernel.
pub(super) fn mount(features: Features, options: &str) -> Result<Tracefs, MountError> {
    if !features.hides(Feature::Fsmount)
        && let Ok(tracefs) = detached(options)
    {
        return Ok(tracefs);
    }
    in_namespace(options)
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
fn detached(options: &str) -> io::Result<Tracefs> {
    const CLOEXEC: u32 = 1; // FSOPEN_CLOEXEC, FSMOUNT_CLOEXEC
    const SET_STRING: u32 = 1; // FSCONFIG_SET_STRING
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
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let (name, value) = (CString::new(name)?, CString::new(value)?);
        // SAFETY: with FSCONFIG_SET_STRING fsconfig(2) reads two texts that end with NUL, and outlive the call.
        let set = unsafe {
            libc::syscall(
                libc::SYS_fsconfig,
                context.as_raw_fd(),
                SET_STRING,
                name.as_ptr(),
                value.as_ptr(),
                0,
            )
        };
        if set < 0 {
            return Err(io::Error::last_os_error());
        }
    }
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
    Tracefs::at(folder)
}

/// Mounts it in the mount namespace of a thread that ends at once. The open directory keeps the mount alive.
fn in_namespace(options: &str) -> Result<Tracefs, MountError> {
    let options = options.to_owned();
    let thread = thread::Builder::new()
        .name("lanner-tracefs".to_owned())
        .spawn(move || {
            let none: Option<&str> = None;
            let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
            unshare(CloneFlags::CLONE_NEWNS)
                .and_then(|()| nix::mount::mount(none, "/", none, private, none))
                .map_err(|error| MountError::Namespace(error.into()))?;
            let (kind, options) = (Some("tracefs"), Some(options.as_str()));
            let mut failed = None;
            for place in PRIVATE_MOUNT_POINTS {
                match nix::mount::mount(kind, place, kind, MsFlags::empty(), options) {
                    Ok(()) => {
                        return open_folder(Path::new(place))
                            .map_err(io::Error::from)
                            .and_then(Tracefs::at)
                            .map_err(MountError::Closed);
                    }
                    Err(error) => {
                        // the first says most: the directory that the kernel has for it
                        failed.get_or_insert(MountError::At {
                            place: place.to_owned(),
                            source: error.into(),
                        });
                    }
                }
            }
            Err(failed.unwrap_or(MountError::Namespace(io::ErrorKind::NotFound.into())))
        })
        .map_err(MountError::Thread)?;
    thread
        .join()
        .unwrap_or_else(|_| Err(MountError::Thread(io::ErrorKind::Other.into())))
}

#[cfg(test)]
mod tests {
    use test_support::{is_root, skipped};

    use super::*;

    #[test]
    fn mounts_are_listed_with_what_a_new_one_would_change() {
        let lines = b"proc /proc proc rw 0 0\n\
            tracefs /sys/kernel/tracing tracefs rw,relatime 0 0\n\
            tracefs /my\\040traces\\134x tracefs rw,nosuid,relatime,gid=5,mode=750 0 0\n";
        let mounted = |place: &str, options: &str| Mounted {
            place: place.into(),
            options: options.to_owned(),
        };
        assert_eq!(
            listed(lines),
            [
                mounted("/sys/kernel/tracing", ""),
                mounted("/my traces\\x", "gid=5,mode=750")
            ]
        );
        assert_eq!(unescaped("/a\\b"), "/a\\b");
    }

    #[test]
    fn it_can_be_mounted_where_no_other_process_sees_it() {
        if !is_root() {
            skipped("mounting needs root");
            return;
        }
        let before = fs::read_to_string("/proc/self/mounts").expect("mounts");
        let options = mounted()
            .first()
            .map_or_else(String::new, |mount| mount.options.clone());
        let by_descriptor = detached(&options);
        if let Err(error) = &by_descriptor {
            // fsopen(2) came with Linux 5.2
            assert_eq!(error.raw_os_error(), Some(libc::ENOSYS));
        }
        let in_namespace = in_namespace(&options).expect("root may mount");
        for tracefs in by_descriptor.into_iter().chain([in_namespace]) {
            assert!(tracefs.id("raw_syscalls/sys_exit").expect("an id") > 0);
            assert_eq!(
                tracefs
                    .field("raw_syscalls/sys_exit", "id")
                    .expect("a field"),
                8
            );
        }
        assert_eq!(
            fs::read_to_string("/proc/self/mounts").expect("mounts"),
            before
        );
    }

    #[test]
    fn a_mount_that_fails_names_its_place() {
        let error = MountError::At {
            place: "/sys/kernel/tracing".to_owned(),
            source: io::Error::from_raw_os_error(libc::ENOENT),
        };
        assert_eq!(error.to_string(), "mounting it at /sys/kernel/tracing");
    }
}
