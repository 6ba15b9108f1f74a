//! tracefs: the numbers of tracepoints, the offsets of the fields in their records, and probes by name. It is used
//! through a descriptor of its directory, so it can be mounted where no other process sees it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;

use super::mounting::{self, MountError};
use crate::kernel::{Feature, Features};

/// Where it is usually mounted.
pub(super) const MOUNT_POINTS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];
/// A file that tells tracefs from an empty directory.
pub(super) const MARK: &str = "events/enable";

/// Why tracefs cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TracefsError {
    #[error("tracefs is not mounted where lanner can reach it, and lanner cannot mount it")]
    Mount(#[source] MountError),
    #[error("tracefs is mounted at {}, and lanner may not read it", place.display())]
    Closed { place: PathBuf, source: io::Error },
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
        let mounted = mounting::mounted();
        if !features.hides(Feature::MountedTracefs) {
            // first those that are mounted: looking into debugfs mounts another
            let usual = MOUNT_POINTS.iter().map(PathBuf::from);
            for place in mounted.iter().map(|mount| mount.place.clone()).chain(usual) {
                let Ok(folder) = open_folder(&place) else {
                    continue;
                };
                match Self::at(folder) {
                    Ok(found) => return Ok(found),
                    // All mounts are of one file system, and a new one would not only be as closed: before Linux 6.10 it sets
                    // owner and mode of all to those of its own options.
                    Err(source) if source.kind() == io::ErrorKind::PermissionDenied => {
                        return Err(TracefsError::Closed { place, source });
                    }
                    Err(_) => {}
                }
            }
        }
        let options = mounted.first().map_or("", |mount| &mount.options);
        mounting::mount(features, options).map_err(TracefsError::Mount)
    }

    /// The tracefs that this directory is the root of.
    ///
    /// # Errors
    ///
    /// It is none, or its files cannot be looked up.
    pub(super) fn at(folder: OwnedFd) -> io::Result<Self> {
        let tracefs = Self { folder };
        tracefs.file(MARK, OFlag::O_PATH)?;
        Ok(tracefs)
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

pub(super) fn open_folder(path: &Path) -> nix::Result<OwnedFd> {
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
}
