//! Rotation: `alerts` becomes `alerts.1`, `alerts.1` becomes `alerts.2`, and the oldest file is replaced. Files are only
//! renamed, so that a crash in between loses at most the oldest file.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::time::{Duration, SystemTime};

use lanner_plugin::files::WriteTarget;

/// Whether a file that is not empty is at least `hours` old. 0 hours: never. The age counts from the file's creation
/// (btime, statx(2)), or from its last change if the file system does not record the creation.
pub(crate) fn is_old(file: &File, size: u64, hours: u64) -> bool {
    if hours == 0 || size == 0 {
        return false;
    }
    let Ok(metadata) = file.metadata() else {
        return false;
    };
    let created = metadata.created().or_else(|_| metadata.modified());
    created.is_ok_and(|created| older(created, SystemTime::now(), hours))
}

fn older(created: SystemTime, now: SystemTime, hours: u64) -> bool {
    let limit = Duration::from_secs(hours.saturating_mul(3600));
    now.duration_since(created).is_ok_and(|age| age >= limit)
}

/// Renames a file, so that a new one can take its name, and keeps `keep` rotated files.
pub(crate) fn rotate(target: &WriteTarget, keep: u32) -> io::Result<()> {
    let Some(name) = target.name() else {
        return Err(io::Error::new(
            ErrorKind::Unsupported,
            "a descriptor has no name that can change",
        ));
    };
    for number in (1..keep).rev() {
        rename(target, &numbered(name, number), &numbered(name, number + 1))?;
    }
    rename(target, name, &numbered(name, 1))
}

/// Renames a file if it exists.
fn rename(target: &WriteTarget, from: &OsStr, to: &OsStr) -> io::Result<()> {
    match target.rename(from, to) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn numbered(name: &OsStr, number: u32) -> OsString {
    let mut name = name.to_owned();
    name.push(format!(".{number}"));
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn age_is_counted_in_hours() {
        let created = SystemTime::UNIX_EPOCH;
        let at = |seconds| created + Duration::from_secs(seconds);
        assert!(!older(created, at(3599), 1));
        assert!(older(created, at(3600), 1));
        // The clock was set back.
        assert!(!older(at(10), created, 1));
    }
}
