//! Files that lanner writes: alerts, events, recordings.
//!
//! The danger is not who can read the folder, but where a name in it leads. In `/tmp` and in every other folder that a user
//! can write to, this user can leave a link or a file under the name that lanner will use: lanner would overwrite the file
//! at the other end of the link, or write into a file that this user reads. So
//!
//! - a link counts only if it belongs to root or to the user who runs lanner, wherever it is on the way;
//! - a file that exists is used only if it belongs to one of the two. In a folder that other users can write to, it must
//!   have no other name (hard link) either;
//! - a new file is made with `O_EXCL`, and everything below a folder is opened by the folder's descriptor.
//!
//! This holds for every user: also one without privileges has files that must not be overwritten.

use std::ffi::{CString, OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::walk::{Folders, Walk, open_at};
use super::{FIFO, FileError, Trusted, UsersRights, is_descriptor, other_than_file, user};

/// The place of a file to write: its folder, which stays open, and its name there.
#[derive(Debug)]
pub struct WriteTarget {
    path: PathBuf,
    place: Destination,
}

#[derive(Debug)]
enum Destination {
    /// A descriptor that lanner was started with, such as `/dev/stdout`.
    Descriptor,
    /// A name in a folder.
    Name {
        folder: File,
        name: OsString,
        /// Whether there is a file of this name.
        exists: bool,
        /// What it is, if not a regular file.
        special: Option<&'static str>,
        /// Whether other users can make names in the folder.
        shared: bool,
    },
}

/// Opens a file to append to it, or makes it with these permissions (less the umask).
///
/// # Errors
///
/// The path leads to a file or over a link of another user, or the file cannot be written.
pub fn append(path: &Path, mode: u32) -> Result<File, FileError> {
    WriteTarget::find(path)?.append(mode)
}

/// Opens a file and empties it, or makes it with these permissions (less the umask).
///
/// # Errors
///
/// As for [`append`].
pub fn replace(path: &Path, mode: u32) -> Result<File, FileError> {
    let target = WriteTarget::find(path)?;
    let file = target.open(OpenOptions::new().write(true).truncate(true), 0, mode)?;
    let emptied = match file.metadata() {
        Ok(metadata) if metadata.is_file() => file.set_len(0),
        Ok(_) => Ok(()),
        Err(error) => Err(error),
    };
    emptied.map_err(|source| target.unwritable(source))?;
    Ok(file)
}

/// Checks, without opening or making it, that a file can be written.
///
/// # Errors
///
/// As for [`append`].
pub fn check_writable(path: &Path) -> Result<(), FileError> {
    let _rights = UsersRights::take();
    let target = WriteTarget::find(path)?;
    let Destination::Name {
        folder,
        name,
        exists,
        ..
    } = &target.place
    else {
        return Ok(());
    };
    let (name, rights) = if *exists {
        (name.as_os_str(), libc::W_OK)
    } else {
        (OsStr::new("."), libc::W_OK | libc::X_OK)
    };
    let name = CString::new(name.as_bytes()).map_err(|error| target.unwritable(error.into()))?;
    // SAFETY: the folder is open, and the name ends with a null byte and lives through the call.
    let result =
        unsafe { libc::faccessat(folder.as_raw_fd(), name.as_ptr(), rights, libc::AT_EACCESS) };
    if result != 0 {
        return Err(target.unwritable(io::Error::last_os_error()));
    }
    if *exists {
        return Ok(());
    }
    takes_files(folder).map_err(|source| target.unwritable(source))
}

/// Checks, without leaving a file behind, that a new file can be made in this folder. Access rights do not show that: root has
/// all of them, but even root cannot make a file in proc.
fn takes_files(folder: &File) -> io::Result<()> {
    // SAFETY: zeros are a valid statfs.
    let mut about: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is open, and the struct lives through the call.
    if unsafe { libc::fstatfs(folder.as_raw_fd(), &raw mut about) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let magic = about.f_type as u32;
    if let Some((_, name)) = WITHOUT_FILES.iter().find(|(known, _)| *known == magic) {
        let reason = format!("no file can be made in {name}, the file system of its folder");
        return Err(io::Error::new(io::ErrorKind::Unsupported, reason));
    }
    // Security modules and quotas can refuse it as well. Making a file without a name asks them.
    let flags = libc::O_TMPFILE | libc::O_WRONLY;
    match open_at(folder.as_raw_fd(), OsStr::new("."), flags, 0o600) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error),
        // A disk that is full can have room later, and not every file system has files without a name.
        Ok(_) | Err(_) => Ok(()),
    }
}

/// File systems of the kernel's own that take no new file that keeps what is written to it, with their numbers in statfs(2)
/// (include/uapi/linux/magic.h, and fs/*).
const WITHOUT_FILES: [(u32, &str); 22] = [
    (0x0000_9fa0, "proc"),
    (0x6265_6572, "sysfs"),
    (0x6367_7270, "cgroup2"),
    (0x0027_e0eb, "cgroup"),
    (0x6462_6720, "debugfs"),
    (0x7472_6163, "tracefs"),
    (0xcafe_4a11, "bpf"),
    (0x7363_6673, "securityfs"),
    (0xf97c_ff8c, "selinuxfs"),
    (0x4341_5d53, "smackfs"),
    (0x6165_676c, "pstore"),
    (0xde5e_81e4, "efivarfs"),
    (0x0000_1cd1, "devpts"),
    (0x6265_6570, "configfs"),
    (0x6573_5543, "fusectl"),
    (0x4249_4e4d, "binfmt_misc"),
    (0x6e73_6673, "nsfs"),
    (0x0000_0187, "autofs"),
    (0x1980_0202, "mqueue"),
    (0x9584_58f6, "hugetlbfs"),
    (0x6759_6969, "rpc_pipefs"),
    (0x0765_5821, "resctrl"),
];

impl WriteTarget {
    /// Goes to the folder of a file, and checks the way and the file, if it exists.
    ///
    /// # Errors
    ///
    /// The path leads to a file or over a link of another user, or its folder cannot be entered.
    pub fn find(path: &Path) -> Result<Self, FileError> {
        let place = if is_descriptor(path) {
            Destination::Descriptor
        } else {
            let trusted = Trusted::RootAnd(user());
            let (folder, owner, name, found) =
                Walk::new(path, trusted, Folders::ForWriting).target()?;
            Destination::Name {
                folder,
                name,
                exists: found.is_some(),
                special: found.and_then(|found| other_than_file(found.file_type())),
                shared: owner.others_may_write(trusted),
            }
        };
        Ok(Self {
            path: path.to_owned(),
            place,
        })
    }

    /// Opens the file to append to it, or makes it with these permissions (less the umask).
    ///
    /// # Errors
    ///
    /// The file cannot be written, or another user made it after [`WriteTarget::find`].
    pub fn append(&self, mode: u32) -> Result<File, FileError> {
        self.open(OpenOptions::new().append(true), libc::O_APPEND, mode)
    }

    /// What is there, if it is no regular file and no new one: a FIFO, a device, or a descriptor such as `/dev/stdout`.
    #[must_use]
    pub fn special(&self) -> Option<&'static str> {
        match &self.place {
            Destination::Descriptor => Some("a descriptor"),
            Destination::Name { special, .. } => *special,
        }
    }

    /// The file's name in its folder; links are followed. None: it is a descriptor, such as `/dev/stdout`.
    #[must_use]
    pub fn name(&self) -> Option<&OsStr> {
        match &self.place {
            Destination::Descriptor => None,
            Destination::Name { name, .. } => Some(name),
        }
    }

    /// Gives a file of the folder another name there. A file that has that name is replaced.
    ///
    /// # Errors
    ///
    /// As rename(2); or the target is not a name in a folder.
    pub fn rename(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        let Destination::Name { folder, .. } = &self.place else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let _rights = UsersRights::take();
        let (from, to) = (CString::new(from.as_bytes())?, CString::new(to.as_bytes())?);
        let folder = folder.as_raw_fd();
        // SAFETY: the folder is open, and both names end with a null byte and live through the call.
        match unsafe { libc::renameat(folder, from.as_ptr(), folder, to.as_ptr()) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Opens a descriptor by `options`, and a file by `flags`.
    fn open(&self, options: &OpenOptions, flags: i32, mode: u32) -> Result<File, FileError> {
        let _rights = UsersRights::take();
        let (folder, name, exists, shared) = match &self.place {
            Destination::Descriptor => {
                let opened = options
                    .clone()
                    .custom_flags(libc::O_NOCTTY)
                    .open(&self.path);
                return opened.map_err(|source| self.unwritable(source));
            }
            Destination::Name {
                folder,
                name,
                exists,
                shared,
                ..
            } => (folder, name, *exists, *shared),
        };
        let how = if exists {
            // Opening a FIFO without a reader would wait.
            libc::O_NONBLOCK
        } else {
            libc::O_CREAT | libc::O_EXCL
        };
        let flags = flags | how | libc::O_WRONLY | libc::O_NOFOLLOW | libc::O_NOCTTY;
        let file = open_at(folder.as_raw_fd(), name, flags, mode);
        let file = file.map_err(|source| match source.raw_os_error() {
            // fifo(7): there is no reader, and opening it must not wait for one
            Some(libc::ENXIO) if self.is_fifo() => FileError::NoReader {
                path: self.path.clone(),
            },
            _ => self.unwritable(source),
        })?;
        let file = File::from(file);
        let metadata = file.metadata().map_err(|source| self.unwritable(source))?;
        let refused = |reason: String| FileError::NotTrusted {
            path: self.path.clone(),
            reason,
            remedy: REMEDY.to_owned(),
        };
        let owner = metadata.uid();
        if owner != 0 && owner != user() {
            return Err(refused(format!("it belongs to user {owner}")));
        }
        if shared && metadata.is_file() && metadata.nlink() > 1 {
            return Err(refused(
                "it has another name (hard link), and other users may write to its folder"
                    .to_owned(),
            ));
        }
        let kind = metadata.file_type();
        if kind.is_fifo() || kind.is_char_device() {
            // It was opened so that this does not wait. Writing may wait.
            // SAFETY: the descriptor is open, and fcntl(2) with F_SETFL takes a number.
            unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFL, flags & libc::O_APPEND) };
        }
        Ok(file)
    }

    fn is_fifo(&self) -> bool {
        self.special() == Some(FIFO)
    }

    fn unwritable(&self, source: io::Error) -> FileError {
        FileError::Unwritable {
            path: self.path.clone(),
            source,
        }
    }
}

/// What to do about a file or a link of another user.
pub(super) const REMEDY: &str = "remove it, or write to another file";

#[cfg(test)]
mod tests;
