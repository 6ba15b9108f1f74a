//! Rotation: `alerts` becomes `alerts.1`, `alerts.1` becomes `alerts.2`, and the last one goes. Renames alone, so that
//! a crash in between loses nothing but the oldest file.

use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Whether a file with contents was begun so many hours ago. Where the file system does not tell when it was made
/// (btime, statx(2)), when it was last written stands for it.
pub(crate) fn is_old(path: &Path, size: u64, hours: u64) -> bool {
    if hours == 0 || size == 0 {
        return false;
    }
    let Ok(metadata) = fs::metadata(path) else {
        return false;
    };
    let begun = metadata.created().or_else(|_| metadata.modified());
    begun.is_ok_and(|begun| older(begun, SystemTime::now(), hours))
}

fn older(begun: SystemTime, now: SystemTime, hours: u64) -> bool {
    let limit = Duration::from_secs(hours.saturating_mul(3600));
    now.duration_since(begun).is_ok_and(|age| age >= limit)
}

/// Makes way for a new file and keeps so many old ones.
pub(crate) fn rotate(path: &Path, keep: u32) -> io::Result<()> {
    for number in (1..keep).rev() {
        rename(&numbered(path, number), &numbered(path, number + 1))?;
    }
    rename(path, &numbered(path, 1))
}

/// Renames, unless there is nothing to rename.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{number}"));
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn age_is_counted_in_hours() {
        let begun = SystemTime::UNIX_EPOCH;
        let at = |seconds| begun + Duration::from_secs(seconds);
        assert!(!older(begun, at(3599), 1));
        assert!(older(begun, at(3600), 1));
        // a clock that was set back
        assert!(!older(at(10), begun, 1));
    }
}
