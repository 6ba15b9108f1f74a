//! tracefs: the numbers of tracepoints, where the fields of their records stand, and probes by name. It is used
//! through a descriptor of its directory, so it may be mounted where nobody sees it.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::PathBuf;
use std::thread;

use nix::fcntl::{OFlag, open, openat};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::Mode;

use super::lacks;

/// Where it is, or can be, mounted.
const PLACES: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];
/// Directories to mount it on in a namespace of our own: the first that there is.
const UNSEEN: [&str; 3] = ["/sys/kernel/tracing", "/sys", "/tmp"];
/// What tells tracefs from an empty directory.
const MARK: &str = "events/enable";

/// The file system of the kernel's tracing.
#[derive(Debug)]
pub(crate) struct Tracefs {
    folder: OwnedFd,
}

impl Tracefs {
    /// Finds it where it is mounted; otherwise mounts it where only we see it, if we may.
    pub(crate) fn open() -> Result<Self, String> {
        let mut found = None;
        if !lacks("tracefs") {
            found = PLACES
                .iter()
                .map(PathBuf::from)
                .chain(mounted())
                .find_map(|place| {
                    Self::at(
                        open(
                            &place,
                            OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
                            Mode::empty(),
                        )
                        .ok()?,
                    )
                });
        }
        if let Some(found) = found {
            return Ok(found);
        }
        let said = |error: io::Error| {
            format!(
                "tracefs is not mounted, and cannot be mounted by lanner ({error}): mount -t tracefs tracefs {}",
                PLACES[0]
            )
        };
        detached().or_else(|_| in_namespace()).map_err(said)
    }

    fn at(folder: OwnedFd) -> Option<Self> {
        let tracefs = Self { folder };
        tracefs.file(MARK, OFlag::O_PATH).is_ok().then_some(tracefs)
    }

    fn file(&self, path: &str, how: OFlag) -> io::Result<File> {
        Ok(openat(&self.folder, path, how | OFlag::O_CLOEXEC, Mode::empty())?.into())
    }

    /// What a file says.
    pub(crate) fn read(&self, path: &str) -> io::Result<String> {
        let mut text = String::new();
        self.file(path, OFlag::O_RDONLY)?
            .read_to_string(&mut text)?;
        Ok(text)
    }

    /// Adds a command to those that a file holds.
    pub(crate) fn append(&self, path: &str, command: &str) -> io::Result<()> {
        let mut file = self.file(path, OFlag::O_WRONLY | OFlag::O_APPEND)?;
        file.write_all(format!("{command}\n").as_bytes())
    }

    /// The number of a tracepoint, `category/name`.
    pub(crate) fn id(&self, tracepoint: &str) -> io::Result<u64> {
        let text = self.read(&format!("events/{tracepoint}/id"))?;
        text.trim()
            .parse()
            .map_err(|_| io::Error::other(format!("{tracepoint} has the id {text:?}")))
    }

    /// Where a field stands in the record of a tracepoint.
    pub(crate) fn field(&self, tracepoint: &str, field: &str) -> io::Result<u32> {
        let text = self.read(&format!("events/{tracepoint}/format"))?;
        offset(&text, field)
            .ok_or_else(|| io::Error::other(format!("{tracepoint} has no field {field}")))
    }
}

/// A field's offset, of the lines of a `format` (`field:pid_t pid; offset:8; size:4; signed:1;`, with tabs).
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

/// Wherever else it is mounted.
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

fn descriptor(result: libc::c_long) -> io::Result<OwnedFd> {
    match i32::try_from(result) {
        // SAFETY: a descriptor that the kernel has just made, and nobody else's.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A mount that is attached nowhere and ends with its descriptor (since Linux 5.2).
fn detached() -> io::Result<Tracefs> {
    const CLOEXEC: u32 = 1; // FSOPEN_CLOEXEC, FSMOUNT_CLOEXEC
    const CMD_CREATE: u32 = 6;
    if lacks("fsmount") {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let nothing: *const libc::c_char = std::ptr::null();
    // SAFETY: fsopen(2) reads a name that ends with NUL; the others take numbers and no memory.
    unsafe {
        let context = descriptor(libc::syscall(
            libc::SYS_fsopen,
            c"tracefs".as_ptr(),
            CLOEXEC,
        ))?;
        if libc::syscall(
            libc::SYS_fsconfig,
            context.as_raw_fd(),
            CMD_CREATE,
            nothing,
            nothing,
            0,
        ) < 0
        {
            return Err(io::Error::last_os_error());
        }
        let folder = descriptor(libc::syscall(
            libc::SYS_fsmount,
            context.as_raw_fd(),
            CLOEXEC,
            0,
        ))?;
        Tracefs::at(folder).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// A mount in the namespace of a thread that ends at once; its directory stays open.
fn in_namespace() -> io::Result<Tracefs> {
    let hidden = || -> io::Result<Tracefs> {
        let none: Option<&str> = None;
        unshare(CloneFlags::CLONE_NEWNS)?;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
        let mut last = nix::Error::ENOENT;
        for place in UNSEEN {
            match mount(
                Some("tracefs"),
                place,
                Some("tracefs"),
                MsFlags::empty(),
                none,
            ) {
                Ok(()) => {
                    let how = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
                    let folder = open(place, how, Mode::empty())?;
                    return Tracefs::at(folder).ok_or_else(|| io::ErrorKind::NotFound.into());
                }
                Err(error) => last = error,
            }
        }
        Err(last.into())
    };
    let thread = thread::Builder::new()
        .name("lanner-tracefs".to_owned())
        .spawn(hidden)?;
    thread
        .join()
        .unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
}

#[cfg(test)]
mod tests {
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
    fn it_can_be_mounted_where_nobody_sees_it() {
        if !nix::unistd::geteuid().is_root() {
            println!("skipped: mounting needs root");
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
                // before 5.2
                Err(error) => assert_eq!(error.raw_os_error(), Some(libc::ENOSYS)),
            }
        }
        assert_eq!(
            fs::read_to_string("/proc/self/mounts").expect("mounts"),
            before
        );
    }
}
