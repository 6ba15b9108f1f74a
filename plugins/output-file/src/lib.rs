//! Output plugin: alerts as lines in a file. It can rotate the file, and it opens the file anew (`reopen`, SIGUSR1) when
//! another program has rotated it.
//!
//! A batch is one write(2) of whole lines in append mode, so that the lines of several writers do not mix. If the file
//! takes only a part of a batch, the plugin cuts that part off again. `rotate` has the names of rotated files.

mod rotate;

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use lanner_plugin::files::{self, WriteTarget};
use lanner_plugin::{
    Alerts, Delivery, Error, Host, InvalidSetting, Level, OutputPlugin, Permissions, at_least,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// What a user can set for this plugin.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The file. It is created if it does not exist; its folder must exist. A file or a link of another user is refused.
    pub filename: PathBuf,
    /// Keep the file open. If false, it is opened for each batch, so that it can be moved at any time.
    #[serde(default = "yes")]
    pub keep_alive: bool,
    /// JSON lines instead of text lines.
    #[serde(default)]
    pub json: bool,
    /// Rotate the file before it grows beyond this size in MiB. 0: never.
    #[serde(default)]
    pub max_size_mb: u64,
    /// Rotate the file when it is this many hours old, counted from its creation. 0: never.
    #[serde(default)]
    pub max_age_hours: u64,
    /// How many rotated files to keep. `NAME.1` is the newest.
    #[serde(default = "five")]
    #[schemars(range(min = 1, max = 1000))]
    pub keep: u32,
    /// Permissions of a new file, as octal digits of chmod(1).
    #[serde(default = "Permissions::private")]
    pub mode: Permissions,
    /// Also write to a FIFO or a device. A FIFO without a reader is an error; with a slow one, alerts wait.
    #[serde(default)]
    pub special: bool,
    /// Write the file's contents to the disk (fdatasync(2)) before a batch counts as delivered.
    #[serde(default)]
    pub sync: bool,
}

fn yes() -> bool {
    true
}

fn five() -> u32 {
    5
}

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
enum FileError {
    #[error(transparent)]
    Open(#[from] files::FileError),
    #[error("cannot read the size of {}", path.display())]
    Size { path: PathBuf, source: io::Error },
    #[error("cannot rotate {}", path.display())]
    Rotate { path: PathBuf, source: io::Error },
    #[error("cannot write to {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot write {} to the disk", path.display())]
    Sync { path: PathBuf, source: io::Error },
    #[error("{} was full again right after its rotation; does another program write to it?", path.display())]
    StillFull { path: PathBuf },
}

/// The output.
#[derive(Debug)]
pub struct Output {
    settings: Settings,
    /// Permissions of a new file.
    mode: u32,
    open: Option<OpenFile>,
}

/// A file that is open, where it is, and its size.
#[derive(Debug)]
struct OpenFile {
    target: WriteTarget,
    file: File,
    size: u64,
}

impl OutputPlugin for Output {
    type Settings = Settings;

    fn check(settings: &Settings) -> Result<(), Error> {
        check(settings)?;
        check_kind(settings)?;
        match files::check_writable(&settings.filename) {
            Err(error) if !is_of_the_disk(&error) => Err(error.into()),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn warnings(settings: &Settings) -> Vec<String> {
        let checked = files::check_writable(&settings.filename);
        let error = checked.err().filter(is_of_the_disk);
        error.map(|error| waiting(&error)).into_iter().collect()
    }

    fn open(host: Host, settings: Settings) -> Result<Self, Error> {
        let mode = check(&settings)?;
        let mut output = Self {
            settings,
            mode,
            open: None,
        };
        // Reports a mistyped name at once.
        match output.file() {
            Ok(_) => {}
            Err(FileError::Open(error)) if is_of_the_disk(&error) => {
                host.log(Level::Warn, &waiting(&error));
            }
            Err(error) => return Err(error.into()),
        }
        if !output.settings.keep_alive {
            output.open = None;
        }
        Ok(output)
    }

    fn emit(&mut self, alerts: &Alerts<'_>) -> Delivery {
        let json = self.settings.json;
        let lines: Vec<&str> = alerts.iter().map(|alert| alert.line(json)).collect();
        let (delivered, failed) = self.write_lines(&lines);
        if !self.settings.keep_alive {
            self.open = None;
        }
        match failed {
            None => Delivery::Delivered,
            // Every cause can pass: a full disk, a folder that does not exist yet.
            Some(error) => Delivery::try_again(delivered, &error),
        }
    }

    fn reopen(&mut self) -> Result<(), Error> {
        self.open = None;
        if self.settings.keep_alive {
            self.file()?;
        }
        Ok(())
    }
}

/// Whether the disk is at fault, and not the settings: it is full or read-only. That can pass.
fn is_of_the_disk(error: &files::FileError) -> bool {
    use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    let files::FileError::Unwritable { source, .. } = error else {
        return false;
    };
    matches!(
        source.kind(),
        QuotaExceeded | ReadOnlyFilesystem | StorageFull
    )
}

fn waiting(error: &files::FileError) -> String {
    format!("{error}; alerts wait in memory until it can be written")
}

/// Checks that the file is a regular one, or one that the user wants nevertheless: a FIFO waits for its reader, and what a
/// device takes is often lost.
fn check_kind(settings: &Settings) -> Result<(), Error> {
    let path = &settings.filename;
    if path.as_os_str().is_empty() {
        return Err(InvalidSetting::new("filename", "it is empty; name a file").into());
    }
    let target = WriteTarget::find(path)?;
    let reason = match target.special() {
        None => return Ok(()),
        Some(what) if settings.max_size_mb > 0 || settings.max_age_hours > 0 => format!(
            "{} is {what}, which cannot be rotated; remove `max_size_mb` and `max_age_hours`",
            path.display()
        ),
        Some(what) if target.name().is_some() && !settings.special => format!(
            "{} is {what}, and alerts are kept in a regular file; name another file, or set `special: true`",
            path.display()
        ),
        Some(_) => return Ok(()),
    };
    Err(InvalidSetting::new("filename", reason).into())
}

/// Checks settings, and returns the permissions of a new file.
fn check(settings: &Settings) -> Result<u32, InvalidSetting> {
    at_least("keep", settings.keep, 1)?;
    settings.mode.bits("mode")
}

impl OpenFile {
    fn new(path: &Path, mode: u32) -> Result<Self, FileError> {
        let target = WriteTarget::find(path)?;
        let file = target.append(mode)?;
        let metadata = file.metadata().map_err(|source| FileError::Size {
            path: path.to_owned(),
            source,
        })?;
        let size = metadata.len();
        Ok(Self { target, file, size })
    }
}

impl Output {
    /// The open file. Opens it if it is not open.
    fn file(&mut self) -> Result<&mut OpenFile, FileError> {
        match &mut self.open {
            Some(open) => Ok(open),
            none => {
                let opened = OpenFile::new(&self.settings.filename, self.mode)?;
                Ok(none.insert(opened))
            }
        }
    }

    /// Writes lines. Returns how many were written and, if not all, why.
    fn write_lines(&mut self, lines: &[&str]) -> (usize, Option<FileError>) {
        let mut done = 0;
        while done < lines.len() {
            match self.write_into_one_file(&lines[done..]) {
                Ok(0) => {
                    let path = self.settings.filename.clone();
                    return (done, Some(FileError::StillFull { path }));
                }
                Ok(count) => done += count,
                Err(error) => return (done, Some(error)),
            }
        }
        (done, None)
    }

    /// Writes as many lines as fit into one file. Rotates the file first if it is full or old.
    fn write_into_one_file(&mut self, lines: &[&str]) -> Result<usize, FileError> {
        let path = self.settings.filename.clone();
        let first = lines.first().map_or(0, |line| line.len() as u64 + 1);
        let (max_size, max_age, keep) = (
            self.settings.max_size_mb,
            self.settings.max_age_hours,
            self.settings.keep,
        );
        let open = self.file()?;
        // a device that took the file's place since the check is not renamed
        let is_rotated = open.target.special().is_none();
        let max_age = if is_rotated { max_age } else { 0 };
        let limit = match max_size {
            mib @ 1.. if is_rotated => mib.saturating_mul(1 << 20),
            _ => u64::MAX,
        };
        // An empty file takes any line, however long it is.
        let full = open.size > 0 && open.size.saturating_add(first) > limit;
        if full || rotate::is_old(&open.file, open.size, max_age) {
            let rotated = rotate::rotate(&open.target, keep);
            self.open = None;
            if let Err(source) = rotated {
                return Err(FileError::Rotate { path, source });
            }
        }
        let sync = self.settings.sync;
        let open = self.file()?;
        let mut batch = Vec::new();
        let mut count = 0;
        for line in lines {
            let before = open.size + batch.len() as u64;
            if before > 0 && before + line.len() as u64 + 1 > limit {
                break;
            }
            batch.extend_from_slice(line.as_bytes());
            batch.push(b'\n');
            count += 1;
        }
        if let Err(source) = open.file.write_all(&batch) {
            // The host offers the whole batch again, so no part of it can stay.
            let _ = open.file.set_len(open.size);
            self.open = None;
            return Err(FileError::Write { path, source });
        }
        open.size += batch.len() as u64;
        if sync && let Err(source) = open.file.sync_data() {
            return Err(FileError::Sync { path, source });
        }
        Ok(count)
    }
}

lanner_plugin::export_plugin! {
    name: "output-file",
    description: "Alerts as text or JSON lines in a file, with rotation.",
    output: Output,
}

#[cfg(test)]
mod tests;
