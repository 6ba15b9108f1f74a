//! The way to a file, folder by folder. Each step opens one name below a folder that is open and was checked, without
//! following links (openat(2), `O_NOFOLLOW`), and checks what it has opened.

use std::collections::VecDeque;
use std::ffi::{CString, OsStr, OsString};
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

use super::write::REMEDY;
use super::{FileError, Trusted, UsersRights, other_than_file};

/// path_resolution(7): the kernel follows as many.
const MAX_LINKS: u32 = 40;

const WRITABLE_BY_OTHERS: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// Whether others may add names to the folder of the file. They may never replace names there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Folders {
    /// As in a folder with the sticky bit: other files there do not matter.
    OthersMayAdd,
    /// Every file of the folder can be used.
    OthersMayNotAdd,
    /// The file is to be written (see `write`): links and the file count, and folders may belong to anyone.
    ForWriting,
}

/// What a check looks at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Owner {
    pub(super) uid: u32,
    pub(super) mode: u32,
    pub(super) kind: FileType,
}

impl Owner {
    /// Whether users that are not trusted can write to it.
    pub(super) fn others_may_write(self, trusted: Trusted) -> bool {
        let is_trusted = match trusted {
            Trusted::Everyone => true,
            Trusted::RootAnd(user) => self.uid == 0 || self.uid == user,
            Trusted::Root => self.uid == 0,
        };
        !is_trusted || self.mode & WRITABLE_BY_OTHERS != 0
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileType {
    Folder,
    Link,
    Other,
}

impl From<&Metadata> for Owner {
    fn from(metadata: &Metadata) -> Self {
        let kind = if metadata.is_dir() {
            FileType::Folder
        } else if metadata.is_symlink() {
            FileType::Link
        } else {
            FileType::Other
        };
        Self {
            uid: metadata.uid(),
            mode: metadata.mode(),
            kind,
        }
    }
}

/// A folder on the way, which is open.
struct Step {
    folder: File,
    name: OsString,
    owner: Owner,
}

/// The way to one file.
pub(super) struct Walk<'a> {
    path: &'a Path,
    trusted: Trusted,
    folders: Folders,
    /// The last name may be a socket.
    sockets: bool,
    /// Folders that are not there are made, with this mode (mkdir(2)).
    makes: Option<u32>,
    /// From the root to the present folder.
    steps: Vec<Step>,
    _rights: UsersRights,
}

/// Where a walk ends.
enum End {
    /// In the last folder itself.
    Folder,
    /// At this name in the last folder.
    File(OsString, Metadata),
    /// The last folder has no such name.
    Missing(OsString),
}

/// Where a socket is, or can be.
pub(super) struct SocketPlace {
    pub(super) folder: File,
    pub(super) name: OsString,
    /// The path without links.
    pub(super) path: PathBuf,
    /// What has this name.
    pub(super) there: Option<Metadata>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(path: &'a Path, trusted: Trusted, folders: Folders) -> Self {
        Self {
            path,
            trusted,
            folders,
            sockets: false,
            makes: None,
            steps: Vec::new(),
            _rights: UsersRights::take(),
        }
    }

    /// Opens the file for reading. Also returns its path without links.
    pub(super) fn open(mut self) -> Result<(File, PathBuf), FileError> {
        let (name, found) = match self.walk(true)? {
            End::File(name, found) => (name, found),
            End::Folder => return Err(self.not_a_file("a folder")),
            End::Missing(_) => return Err(self.missing()),
        };
        self.check_last_folder()?;
        let flags = libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY;
        let (file, opened) = self.open_file(&name, flags)?;
        if (opened.dev(), opened.ino()) != (found.dev(), found.ino()) {
            return Err(self.unreadable(io::Error::other("it was replaced while it was opened")));
        }
        Ok((file, self.real().join(name)))
    }

    /// Opens the file for reading and writing, or makes it. A link in the last place is refused.
    pub(super) fn open_store(mut self) -> Result<File, FileError> {
        let (End::File(name, _) | End::Missing(name)) = self.walk(false)? else {
            return Err(self.not_a_file("a folder"));
        };
        let flags = libc::O_RDWR | libc::O_CREAT | libc::O_NONBLOCK | libc::O_NOCTTY;
        Ok(self.open_file(&name, flags)?.0)
    }

    /// Checks what [`Walk::open_store`] checks, as far as that is possible without opening the file.
    pub(super) fn check_store(mut self) -> Result<(), FileError> {
        match self.walk(false)? {
            End::File(..) | End::Missing(_) => Ok(()),
            End::Folder => Err(self.not_a_file("a folder")),
        }
    }

    /// The place of a socket. A link in the last place is refused.
    pub(super) fn socket(mut self) -> Result<SocketPlace, FileError> {
        self.sockets = true;
        let (name, there) = match self.walk(false)? {
            End::File(name, found) => (name, Some(found)),
            End::Missing(name) => (name, None),
            End::Folder => return Err(self.not_a_file("a folder")),
        };
        let path = self.real().join(&name);
        match self.steps.pop() {
            Some(step) => Ok(SocketPlace {
                folder: step.folder,
                name,
                path,
                there,
            }),
            None => Err(self.missing()),
        }
    }

    /// The folder of a file to write, its owner, the file's name there, and what has that name.
    pub(super) fn target(mut self) -> Result<(File, Owner, OsString, Option<Metadata>), FileError> {
        let (name, found) = match self.walk(true)? {
            End::File(name, found) => (name, Some(found)),
            End::Missing(name) => (name, None),
            End::Folder => return Err(self.not_a_file("a folder")),
        };
        match self.steps.pop() {
            Some(step) => Ok((step.folder, step.owner, name, found)),
            None => Err(self.missing()),
        }
    }

    /// Makes what is not there of a folder and of those on the way, each below the one before, which is open.
    pub(super) fn make_folder(mut self, mode: u32) -> Result<(), FileError> {
        self.makes = Some(mode);
        match self.walk(true)? {
            End::Folder => Ok(()),
            End::File(..) => Err(self.unreadable(io::ErrorKind::NotADirectory.into())),
            End::Missing(_) => Err(self.missing()),
        }
    }

    /// The folder's path without links.
    pub(super) fn folder(mut self) -> Result<PathBuf, FileError> {
        match self.walk(true)? {
            End::Folder => {
                self.check_last_folder()?;
                Ok(self.real())
            }
            End::File(..) => Err(self.unreadable(io::ErrorKind::NotADirectory.into())),
            End::Missing(_) => Err(self.missing()),
        }
    }

    /// Goes along the path, and checks everything on the way.
    fn walk(&mut self, follow_last: bool) -> Result<End, FileError> {
        let start = if self.path.is_absolute() || self.writes() {
            self.path.to_owned()
        } else {
            let here = std::env::current_dir().map_err(|error| self.unreadable(error))?;
            here.join(self.path)
        };
        self.enter(if start.is_absolute() { "/" } else { "." })?;
        let mut left = names(&start);
        let mut links = 0;
        while let Some(name) = left.pop_front() {
            // Without checks of folders, `..` is a name like any other.
            if name == ".." && !self.writes() {
                if self.steps.len() > 1 {
                    self.steps.pop();
                }
                continue;
            }
            let found = match self.look_or_make(&name) {
                Ok(found) => found,
                Err(error) if error.kind() == io::ErrorKind::NotFound && left.is_empty() => {
                    return Ok(End::Missing(name));
                }
                Err(error) => return Err(self.unreadable(error)),
            };
            let metadata = found.metadata().map_err(|error| self.unreadable(error))?;
            let owner = Owner::from(&metadata);
            let kind = metadata.file_type();
            let is_stream = (self.writes() && (kind.is_fifo() || kind.is_char_device()))
                || (self.sockets && kind.is_socket());
            if owner.kind == FileType::Other
                && left.is_empty()
                && !is_stream
                && let Some(what) = other_than_file(kind)
            {
                return Err(self.not_a_file(what));
            }
            if self.sockets && kind.is_socket() {
                // everyone may be allowed to connect
                self.check_step(Owner { mode: 0, ..owner }, &self.real().join(&name), false)?;
            } else {
                self.check(&name, owner)?;
            }
            match owner.kind {
                FileType::Folder => self.steps.push(Step {
                    folder: found,
                    name,
                    owner,
                }),
                FileType::Link if left.is_empty() && !follow_last => {
                    return Err(self.not_a_file("a link"));
                }
                FileType::Link => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(self.unreadable(io::Error::from_raw_os_error(libc::ELOOP)));
                    }
                    let target = read_link(&found).map_err(|error| self.unreadable(error))?;
                    if target.is_absolute() {
                        self.steps.clear();
                        self.enter("/")?;
                    }
                    for name in names(&target).into_iter().rev() {
                        left.push_front(name);
                    }
                }
                FileType::Other if left.is_empty() => return Ok(End::File(name, metadata)),
                FileType::Other => {
                    return Err(self.unreadable(io::ErrorKind::NotADirectory.into()));
                }
            }
        }
        Ok(End::Folder)
    }

    /// Begins at `/` or at `.`.
    fn enter(&mut self, start: &str) -> Result<(), FileError> {
        let flags = libc::O_PATH | libc::O_DIRECTORY;
        let folder = open_at(libc::AT_FDCWD, OsStr::new(start), flags, FOR_OWNER);
        let folder = File::from(folder.map_err(|error| self.unreadable(error))?);
        let metadata = folder.metadata().map_err(|error| self.unreadable(error))?;
        let owner = Owner::from(&metadata);
        self.steps.push(Step {
            folder,
            name: OsString::from(start),
            owner,
        });
        self.check_step(owner, &self.real(), false)
    }

    /// What has this name in the present folder, which may be a new folder.
    fn look_or_make(&self, name: &OsStr) -> io::Result<File> {
        match (self.look(name), self.makes) {
            (Err(error), Some(mode)) if error.kind() == io::ErrorKind::NotFound => {
                let there = make_at(self.present(), name, mode);
                if let Err(error) = there
                    && error.kind() != io::ErrorKind::AlreadyExists
                {
                    return Err(error);
                }
                self.look(name)
            }
            (found, _) => found,
        }
    }

    /// What has this name in the present folder; a link is not followed. A folder is opened as one, because that is what
    /// mounts an automount point (open(2), `O_PATH`).
    fn look(&self, name: &OsStr) -> io::Result<File> {
        let found = self.open_below(name, libc::O_PATH | libc::O_DIRECTORY);
        let found = match found {
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                self.open_below(name, libc::O_PATH)
            }
            other => other,
        };
        Ok(File::from(found?))
    }

    /// Opens the regular file of this name in the present folder, and checks what was opened.
    fn open_file(&self, name: &OsStr, flags: i32) -> Result<(File, Metadata), FileError> {
        let opened = self.open_below(name, flags);
        let file = File::from(opened.map_err(|error| self.unreadable(error))?);
        let metadata = file.metadata().map_err(|error| self.unreadable(error))?;
        if let Some(what) = other_than_file(metadata.file_type()) {
            return Err(self.not_a_file(what));
        }
        self.check(name, Owner::from(&metadata))?;
        Ok((file, metadata))
    }

    fn open_below(&self, name: &OsStr, flags: i32) -> io::Result<OwnedFd> {
        open_at(self.present(), name, flags | libc::O_NOFOLLOW, FOR_OWNER)
    }

    /// The descriptor of the present folder.
    fn present(&self) -> i32 {
        self.steps.last().map_or(-1, |step| step.folder.as_raw_fd())
    }

    /// Checks what has this name in the present folder.
    fn check(&self, name: &OsStr, owner: Owner) -> Result<(), FileError> {
        self.check_step(owner, &self.real().join(name), true)
    }

    /// Checks that others may not add names to the present folder, where that matters.
    fn check_last_folder(&self) -> Result<(), FileError> {
        match (self.folders, self.steps.last()) {
            (Folders::OthersMayNotAdd, Some(step)) => {
                self.check_step(step.owner, &self.real(), false)
            }
            _ => Ok(()),
        }
    }

    fn check_step(&self, owner: Owner, at: &Path, sticky: bool) -> Result<(), FileError> {
        let refused = if self.writes() {
            foreign(at, owner, self.trusted)
        } else {
            refusal(at, owner, self.trusted, sticky)
        };
        match refused {
            None => Ok(()),
            Some((reason, remedy)) => Err(FileError::NotTrusted {
                path: self.path.to_owned(),
                reason,
                remedy,
            }),
        }
    }

    /// The path of the present folder, without links.
    fn real(&self) -> PathBuf {
        self.steps.iter().map(|step| &step.name).collect()
    }

    fn writes(&self) -> bool {
        self.folders == Folders::ForWriting
    }

    fn unreadable(&self, source: io::Error) -> FileError {
        let path = self.path.to_owned();
        if self.writes() {
            FileError::Unwritable { path, source }
        } else {
            FileError::Unreadable { path, source }
        }
    }

    fn missing(&self) -> FileError {
        self.unreadable(io::Error::from_raw_os_error(libc::ENOENT))
    }

    fn not_a_file(&self, what: &'static str) -> FileError {
        let path = self.path.to_owned();
        if self.writes() {
            FileError::NotWritten { path, what }
        } else {
            FileError::NotAFile { path, what }
        }
    }
}

/// The names in a path, without `.` and the root.
fn names(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some(OsString::from("..")),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}

/// Why something is not trusted, and the remedy. `sticky`: a folder to which others can add names is good enough, if they
/// cannot replace names there.
pub(super) fn refusal(
    path: &Path,
    owner: Owner,
    trusted: Trusted,
    sticky: bool,
) -> Option<(String, String)> {
    let shown = path.display();
    let uid = owner.uid;
    let refused = match trusted {
        Trusted::Everyone => return None,
        Trusted::RootAnd(user) if uid != 0 && uid != user => Some((
            format!(
                "{shown} belongs to user {uid}, who is neither root nor the user running lanner ({user})"
            ),
            format!("if you trust it: chown -h {user} {shown}"),
        )),
        Trusted::Root if uid != 0 => Some((
            format!(
                "{shown} belongs to user {uid}, and a lanner that has more rights than its user (file \
                 capabilities) trusts root alone"
            ),
            "run lanner as root or without file capabilities, or let root own the file".to_owned(),
        )),
        Trusted::RootAnd(_) | Trusted::Root => None,
    };
    if refused.is_some() {
        return refused;
    }
    // everyone may write to a link, which means nothing (symlink(7))
    let sticky = sticky && owner.kind == FileType::Folder && owner.mode & STICKY != 0;
    if owner.kind != FileType::Link && owner.mode & WRITABLE_BY_OTHERS != 0 && !sticky {
        let mode = owner.mode & 0o7777;
        return Some((
            format!("users other than its owner may write to {shown} (mode {mode:04o})"),
            format!("if you trust it: chmod go-w {shown}"),
        ));
    }
    None
}

/// Why a link or a file on the way to a file that is written is not used, and the remedy.
fn foreign(path: &Path, owner: Owner, trusted: Trusted) -> Option<(String, String)> {
    let Trusted::RootAnd(user) = trusted else {
        return None;
    };
    let what = match owner.kind {
        FileType::Folder => return None,
        FileType::Link => "the link ",
        FileType::Other => "",
    };
    let (shown, uid) = (path.display(), owner.uid);
    (uid != 0 && uid != user).then(|| {
        let reason = format!(
            "{what}{shown} belongs to user {uid}, who is neither root nor the user running lanner ({user})"
        );
        (reason, REMEDY.to_owned())
    })
}

/// The permissions of a file that lanner makes for itself.
const FOR_OWNER: u32 = 0o600;

/// openat(2) with `O_CLOEXEC`. `mode` are the permissions of a file that is made.
pub(super) fn open_at(folder: i32, name: &OsStr, flags: i32, mode: u32) -> io::Result<OwnedFd> {
    let name = CString::new(name.as_bytes())?;
    // SAFETY: the name ends with a null byte and lives through the call; the folder is open, or -1, which is an error.
    let fd = unsafe { libc::openat(folder, name.as_ptr(), flags | libc::O_CLOEXEC, mode) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just opened it, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// mkdirat(2).
fn make_at(folder: i32, name: &OsStr, mode: u32) -> io::Result<()> {
    let name = CString::new(name.as_bytes())?;
    // SAFETY: as for `open_at`.
    match unsafe { libc::mkdirat(folder, name.as_ptr(), mode) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Where an open link leads (readlinkat(2) with an empty name).
fn read_link(link: &File) -> io::Result<PathBuf> {
    let mut target = vec![0_u8; libc::PATH_MAX as usize];
    // SAFETY: the kernel writes at most as many bytes as the vector has.
    let len = unsafe {
        libc::readlinkat(
            link.as_raw_fd(),
            c"".as_ptr(),
            target.as_mut_ptr().cast(),
            target.len(),
        )
    };
    let len = usize::try_from(len).map_err(|_| io::Error::last_os_error())?;
    target.truncate(len);
    if target.is_empty() {
        return Err(io::Error::from_raw_os_error(libc::ENOENT));
    }
    Ok(PathBuf::from(OsString::from_vec(target)))
}
