//! Files that decide what lanner does: configuration, rules, plugins, secrets, certificates, spools.
//!
//! lanner often runs as root. A file that another user can change would let that user decide what root runs. So each of
//! these files is opened here, and only here:
//!
//! - **The file that is checked is the file that is read.** The check goes from folder to folder by descriptor, follows
//!   links by itself, and ends with the descriptor that is read. A link that changes in the meantime changes nothing.
//! - **Each folder, each link and the file itself** must belong to root or to the user who runs lanner, and no other user
//!   may write to it. In a folder with the sticky bit (`/tmp`), others may add names, as they cannot replace ours.
//! - **A process that has more rights than its user trusts root alone.** The kernel says so (`AT_SECURE`, getauxval(3)):
//!   the program has file capabilities, and whoever started it may be anyone. What it opens for that user, it opens with
//!   that user's rights.
//! - **Only regular files of a bounded size are read.** Opening never waits, so a FIFO, a device or an endless file is an
//!   error. Exception: a descriptor that lanner was started with (`/dev/stdin`, `/dev/fd/N`) may be a pipe.
//!
//! A process without privileges has nothing to give away. There, owners are checked for plugins alone.
//!
//! Files that lanner writes have rules of their own: see [`WriteTarget`]. So have Unix sockets: see [`listen`].

mod folder;
mod rights;
mod socket;
mod walk;
mod write;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

pub use folder::make_folder;
use rights::{UsersRights, is_privileged, user};
pub use rights::{is_secure, is_set_id};
pub use socket::{check_socket, listen};
use walk::{Folders, Walk};
pub use write::{WriteTarget, append, check_writable, replace};

/// Why a file is not opened or not read. The text names the file and the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The system refuses.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another user can change what the path leads to.
    #[error("{} is refused: {reason}; {remedy}", path.display())]
    NotTrusted {
        /// The file.
        path: PathBuf,
        /// Who can change what.
        reason: String,
        /// What to do about it.
        remedy: String,
    },
    /// It is not a regular file.
    #[error("{} is {what}, and only regular files are read", path.display())]
    NotAFile {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// The system does not let it be written.
    #[error("cannot write {}: {source}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is nothing that can be written.
    #[error("{} is {what}, which cannot be written", path.display())]
    NotWritten {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// It is a FIFO without a reader.
    #[error(
        "cannot write {}: it is a FIFO, and no program has opened it for reading; start its reader first, such as `cat {}`",
        path.display(), path.display()
    )]
    NoReader {
        /// The FIFO.
        path: PathBuf,
    },
    /// It is larger than a file of its kind can sensibly be.
    #[error("{} has more than {most} bytes, the most that is read of a file of its kind", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most bytes that are read.
        most: u64,
    },
}

/// Whose files are trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trusted {
    /// Everybody's: this process has no privileges.
    Everyone,
    /// Root's, and those of the user with this id, who runs lanner.
    RootAnd(u32),
    /// Root's alone: this process has more rights than its user.
    Root,
}

impl Trusted {
    /// For files that are read.
    fn for_files() -> Self {
        if is_secure() {
            Self::Root
        } else if is_privileged() {
            Self::RootAnd(user())
        } else {
            Self::Everyone
        }
    }

    /// For files whose code runs in lanner's process.
    fn for_code() -> Self {
        if is_secure() {
            Self::Root
        } else {
            Self::RootAnd(user())
        }
    }
}

/// Opens a file that decides what lanner does, for reading.
///
/// # Errors
///
/// Another user can change the file, it is not a regular file, or it cannot be read.
pub fn open(path: &Path) -> Result<File, FileError> {
    match Trusted::for_files() {
        Trusted::Everyone => open_untrusted(path),
        trusted => open_as(path, trusted),
    }
}

fn open_as(path: &Path, trusted: Trusted) -> Result<File, FileError> {
    if trusted != Trusted::Root && is_handed_over(path) {
        return open_untrusted(path);
    }
    Ok(Walk::new(path, trusted, Folders::OthersMayAdd).open()?.0)
}

/// Reads a file that decides what lanner does, if it has at most `most` bytes.
///
/// # Errors
///
/// As for [`open`]; or the file is too large.
pub fn read(path: &Path, most: u64) -> Result<Vec<u8>, FileError> {
    read_opened(open(path)?, path, most)
}

/// As [`read`], for UTF-8.
///
/// # Errors
///
/// As for [`read`]; or the file is not UTF-8.
pub fn read_text(path: &Path, most: u64) -> Result<String, FileError> {
    read_opened_text(open(path)?, path, most)
}

/// Reads an open file to its end, if that comes within `most` bytes.
///
/// # Errors
///
/// It cannot be read, or is too large.
pub fn read_opened(file: File, path: &Path, most: u64) -> Result<Vec<u8>, FileError> {
    let mut bytes = Vec::new();
    let read = file.take(most.saturating_add(1)).read_to_end(&mut bytes);
    read.map_err(|source| FileError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    if bytes.len() as u64 > most {
        return Err(FileError::TooLarge {
            path: path.to_owned(),
            most,
        });
    }
    Ok(bytes)
}

/// As [`read_opened`], for UTF-8.
///
/// # Errors
///
/// As for [`read_opened`]; or the file is not UTF-8.
pub fn read_opened_text(file: File, path: &Path, most: u64) -> Result<String, FileError> {
    String::from_utf8(read_opened(file, path, most)?).map_err(|error| FileError::Unreadable {
        path: path.to_owned(),
        source: io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()),
    })
}

/// Opens a shared library whose code is to run in this process. Returns its path without links. No other user can make
/// that path lead to another file. The owners are checked even if this process has no privileges, and others may not add
/// files to the library's folder.
///
/// # Errors
///
/// As for [`open`].
pub fn library(path: &Path) -> Result<(File, PathBuf), FileError> {
    Walk::new(path, Trusted::for_code(), Folders::OthersMayNotAdd).open()
}

/// Resolves the links in the path of a file that decides what lanner does, for a library that opens the file by name. No other
/// user can make the result lead to another file.
///
/// # Errors
///
/// As for [`open`].
pub fn resolve(path: &Path) -> Result<PathBuf, FileError> {
    match Trusted::for_files() {
        Trusted::Everyone => open_untrusted(path).map(|_| path.to_owned()),
        trusted => Ok(Walk::new(path, trusted, Folders::OthersMayAdd).open()?.1),
    }
}

/// The files of a folder that have one of these endings, sorted. Refuses a folder to which other users can add files.
///
/// # Errors
///
/// The folder is refused or cannot be listed.
pub fn list(folder: &Path, endings: &[&str]) -> Result<Vec<PathBuf>, FileError> {
    let listed = match Trusted::for_files() {
        Trusted::Everyone => folder.to_owned(),
        trusted => Walk::new(folder, trusted, Folders::OthersMayNotAdd).folder()?,
    };
    list_in(folder, &listed, endings)
}

/// As [`list`], without a look at who may add files to the folder.
///
/// # Errors
///
/// The folder cannot be listed.
pub fn list_untrusted(folder: &Path, endings: &[&str]) -> Result<Vec<PathBuf>, FileError> {
    list_in(folder, folder, endings)
}

/// The files of `folder` with one of these endings. It reads the folder by the path `listed`, which leads to the same folder.
fn list_in(folder: &Path, listed: &Path, endings: &[&str]) -> Result<Vec<PathBuf>, FileError> {
    let unreadable = |source| FileError::Unreadable {
        path: folder.to_owned(),
        source,
    };
    let _rights = UsersRights::take();
    let mut files = Vec::new();
    for entry in fs::read_dir(listed).map_err(unreadable)? {
        let name = PathBuf::from(entry.map_err(unreadable)?.file_name());
        let ending = name.extension().and_then(|ending| ending.to_str());
        let file = folder.join(&name);
        if ending.is_some_and(|ending| endings.contains(&ending)) && !file.is_dir() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

/// Opens a file that lanner keeps data in, for reading and writing. A new file belongs to this process's user alone. A
/// link in the last place is refused.
///
/// # Errors
///
/// As for [`open`]; or the file cannot be made.
pub fn open_store(path: &Path) -> Result<File, FileError> {
    match Trusted::for_files() {
        Trusted::Everyone => {
            let opened = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC)
                .open(path);
            regular(opened, path)
        }
        trusted => Walk::new(path, trusted, Folders::OthersMayAdd).open_store(),
    }
}

/// Checks, without opening or making it, whether [`open_store`] would refuse a file. Folders that are missing can be made.
///
/// # Errors
///
/// Another user can change the file, or it is not a regular file.
pub fn check_store(path: &Path) -> Result<(), FileError> {
    let _rights = UsersRights::take();
    let existing = path
        .ancestors()
        .find(|part| part.as_os_str().is_empty() || fs::symlink_metadata(part).is_ok());
    match existing {
        // The file itself is there, or its folder is.
        Some(there) if there == path || path.parent() == Some(there) => {
            Walk::new(path, Trusted::for_files(), Folders::OthersMayAdd).check_store()
        }
        Some(there) => Walk::new(there, Trusted::for_files(), Folders::OthersMayAdd)
            .folder()
            .map(drop),
        None => Ok(()),
    }
}

/// Opens a file for reading without a look at its owners: a recording, or a file of tests. It must be a regular file or
/// a descriptor that lanner was started with.
///
/// # Errors
///
/// It cannot be read, or is not a regular file.
pub fn open_untrusted(path: &Path) -> Result<File, FileError> {
    let _rights = UsersRights::take();
    if is_handed_over(path) {
        return File::open(path).map_err(|source| FileError::Unreadable {
            path: path.to_owned(),
            source,
        });
    }
    // Even opening a device can have an effect.
    let before = fs::metadata(path).map_err(|source| FileError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    if let Some(what) = other_than_file(before.file_type()) {
        return Err(FileError::NotAFile {
            path: path.to_owned(),
            what,
        });
    }
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC)
        .open(path);
    regular(opened, path)
}

/// The opened file, if it is a regular one.
fn regular(opened: io::Result<File>, path: &Path) -> Result<File, FileError> {
    let kind = opened.and_then(|file| Ok((file.metadata()?.file_type(), file)));
    let (kind, file) = kind.map_err(|source| FileError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    match other_than_file(kind) {
        None => Ok(file),
        Some(what) => Err(FileError::NotAFile {
            path: path.to_owned(),
            what,
        }),
    }
}

/// How messages call a FIFO.
const FIFO: &str = "a FIFO";

/// What it is, if not a regular file.
fn other_than_file(kind: fs::FileType) -> Option<&'static str> {
    if kind.is_file() {
        None
    } else if kind.is_dir() {
        Some("a folder")
    } else if kind.is_fifo() {
        Some(FIFO)
    } else if kind.is_socket() {
        Some("a socket")
    } else if kind.is_symlink() {
        Some("a link")
    } else {
        Some("a device")
    }
}

/// Whether a path names a descriptor that whoever started lanner opened to be read.
fn is_handed_over(path: &Path) -> bool {
    path == Path::new("/dev/stdin") || is_numbered(path)
}

/// Whether a path names a descriptor that whoever started lanner opened to be written.
fn is_descriptor(path: &Path) -> bool {
    ["/dev/stdout", "/dev/stderr"]
        .map(Path::new)
        .contains(&path)
        || is_numbered(path)
}

/// Whether a path names a descriptor by its number.
fn is_numbered(path: &Path) -> bool {
    let Some(text) = path.to_str() else {
        return false;
    };
    let number = text
        .strip_prefix("/dev/fd/")
        .or_else(|| text.strip_prefix("/proc/self/fd/"));
    let is_number = |number: &str| number.bytes().all(|byte| byte.is_ascii_digit());
    number.is_some_and(|number| !number.is_empty() && is_number(number))
}

#[cfg(test)]
mod tests;
