//! The folder of capture files. It is opened once, and everything happens in it by its descriptor: nothing that another user
//! does to a path leads elsewhere.

use std::error::Error;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use lanner_plugin::files;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::config::CaptureConfig;

/// Digits of the time and of the event's number in a file's name: files sort by their age.
const DIGITS: usize = 20;

/// The folder of capture files, and what is kept there.
#[derive(Debug)]
pub(crate) struct Folder {
    descriptor: File,
    /// How the names of files begin.
    prefix: String,
    extension: &'static str,
    max_files: usize,
    max_bytes: u64,
    max_age: Duration,
}

/// Whether files may be possible later: the disk is full or read-only by now.
fn may_pass(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(
        error.kind(),
        QuotaExceeded | ReadOnlyFilesystem | StorageFull
    )
}

fn warn_of(error: &dyn Error) {
    tracing::warn!("alerts have no files until their folder can be written: {error}");
}

/// A file that is kept.
#[derive(Debug)]
struct Kept {
    name: String,
    bytes: u64,
    age: Duration,
}

impl Folder {
    /// Opens the folder of the configuration. One that is not there is made, for its owner alone.
    pub(crate) fn open(config: &CaptureConfig) -> io::Result<Self> {
        let (path, prefix) = config.folder().ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                "capture.path_prefix does not end with the beginning of a name",
            )
        })?;
        files::check_store(&config.path_prefix).map_err(io::Error::other)?;
        let failed =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        if !path.is_dir() {
            files::make_folder(path, 0o700).map_err(failed)?;
        }
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let descriptor = open(path, flags, Mode::empty()).map_err(|error| failed(error.into()))?;
        let folder = Self {
            descriptor: descriptor.into(),
            prefix: prefix.to_owned(),
            extension: config.format.extension(),
            max_files: config.max_files,
            max_bytes: config.max_total_size.0,
            max_age: config.max_age.0,
        };
        folder.try_out().map_err(failed)?;
        Ok(folder)
    }

    /// Makes a file and removes it, so that an unusable folder is found before the first alert. A disk that is full or read-only
    /// is a warning, as files may be possible by then.
    fn try_out(&self) -> io::Result<()> {
        let (name, _file) = match self.create(0, u64::from(std::process::id())) {
            Ok(made) => made,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
            Err(error) if may_pass(&error) => {
                warn_of(&error);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        Ok(unlinkat(
            self.descriptor.as_fd(),
            name.as_str(),
            UnlinkatFlags::NoRemoveDir,
        )?)
    }

    /// Checks that no other user can make the folder another one, and that files can be written there. It need not exist. A
    /// disk that is full or read-only is a warning, as for [`open`](Self::open).
    pub(crate) fn check(config: &CaptureConfig) -> io::Result<()> {
        files::check_store(&config.path_prefix).map_err(io::Error::other)?;
        let folders = config.path_prefix.ancestors().skip(1);
        let there = folders
            .filter(|folder| *folder != "")
            .find(|folder| folder.exists());
        let unused = format!(".lanner-{}", std::process::id());
        let there = there.unwrap_or(Path::new("."));
        let Err(error) = files::check_writable(&there.join(unused)) else {
            return Ok(());
        };
        let cause = error.source().and_then(|source| source.downcast_ref());
        let exists = config.folder().is_some_and(|(folder, _)| folder.is_dir());
        if exists && cause.is_some_and(may_pass) {
            warn_of(&error);
            return Ok(());
        }
        Err(io::Error::other(error))
    }

    /// Creates a file for the event with this time of day and number, which only its owner may read. Gives its name too.
    pub(crate) fn create(&self, time_ns: u64, number: u64) -> io::Result<(String, File)> {
        let name = format!(
            "{}_{time_ns:0DIGITS$}_{number:0DIGITS$}.{}",
            self.prefix, self.extension
        );
        let flags =
            OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let owner = Mode::S_IRUSR | Mode::S_IWUSR;
        let file = openat(self.descriptor.as_fd(), name.as_str(), flags, owner)?;
        Ok((name, file.into()))
    }

    /// Removes a file.
    pub(crate) fn remove(&self, name: &str) {
        if let Err(error) = unlinkat(self.descriptor.as_fd(), name, UnlinkatFlags::NoRemoveDir) {
            tracing::warn!("the capture file {name} cannot be removed: {error}");
        }
    }

    /// Removes the oldest files beyond the limits.
    pub(crate) fn tidy(&self) {
        let mut kept = match self.kept() {
            Ok(kept) => kept,
            Err(error) => {
                tracing::warn!("the folder of capture files cannot be read: {error}");
                return;
            }
        };
        kept.sort_by(|one, other| one.name.cmp(&other.name));
        let mut count = kept.len();
        let mut bytes: u64 = kept.iter().map(|file| file.bytes).sum();
        // the newest is always kept
        for file in &kept[..kept.len().saturating_sub(1)] {
            let beyond =
                count > self.max_files || bytes > self.max_bytes || file.age > self.max_age;
            if beyond {
                self.remove(&file.name);
                count -= 1;
                bytes -= file.bytes;
            }
        }
    }

    /// The files in the folder that this lanner, or one before it, has made.
    fn kept(&self) -> io::Result<Vec<Kept>> {
        let now = SystemTime::now();
        // the folder itself, whatever its path leads to today
        let path = PathBuf::from(format!("/proc/self/fd/{}", self.descriptor.as_raw_fd()));
        let mut kept = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = std::str::from_utf8(name.as_bytes()).ok() else {
                continue;
            };
            if !self.is_ours(name) {
                continue;
            }
            // does not follow a link
            let Ok(about) = entry.metadata() else {
                continue;
            };
            if !about.is_file() || about.uid() != nix::unistd::geteuid().as_raw() {
                continue;
            }
            let changed = about.modified().unwrap_or(now);
            kept.push(Kept {
                name: name.to_owned(),
                bytes: about.len(),
                age: now.duration_since(changed).unwrap_or_default(),
            });
        }
        Ok(kept)
    }

    fn is_ours(&self, name: &str) -> bool {
        let number = |text: &str| text.len() == DIGITS && text.bytes().all(|b| b.is_ascii_digit());
        let numbers = name
            .strip_prefix(&self.prefix)
            .and_then(|rest| rest.strip_prefix('_'))
            .and_then(|rest| rest.rsplit_once('.'))
            .filter(|(_, extension)| matches!(*extension, "scap" | "rec"))
            .and_then(|(numbers, _)| numbers.split_once('_'));
        numbers.is_some_and(|(time, at)| number(time) && number(at))
    }
}
