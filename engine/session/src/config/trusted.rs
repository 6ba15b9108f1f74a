//! Refuses configuration and rule files that other users can write, because these files decide what lanner runs and sees.
//! Checked only if lanner runs as root or with capabilities.

use std::fs;
use std::path::{Path, PathBuf};

use plugin_host::trust;

use super::error::TrustError;

/// Refuses a file that other users can write or replace.
///
/// # Errors
///
/// The file is refused; the text has the remedy.
pub fn file(path: &Path) -> Result<(), TrustError> {
    // whoever runs lanner opened these, and handed them over as descriptors
    let handed_over = ["/dev/stdin", "/dev/fd", "/proc/self/fd"];
    if !is_privileged() || handed_over.iter().any(|at| path.starts_with(at)) {
        return Ok(());
    }
    trust::check_file(path)?;
    Ok(())
}

/// Whether this process is root or has a capability (`CapEff` in proc_pid_status(5)).
fn is_privileged() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    nix::unistd::geteuid().is_root()
        || effective.is_some_and(|bits| bits.trim().bytes().any(|digit| digit != b'0'))
}

/// The files of a folder that have one of these endings, sorted. Refuses a folder to which other users can add files.
///
/// # Errors
///
/// The folder is refused or cannot be read.
pub fn folder(path: &Path, endings: &[&str]) -> Result<Vec<PathBuf>, TrustError> {
    if is_privileged() {
        trust::check_folder(path)?;
    }
    let wrong = |source| TrustError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(wrong)? {
        let file = entry.map_err(wrong)?.path();
        let ending = file.extension().and_then(|ending| ending.to_str());
        if ending.is_some_and(|ending| endings.contains(&ending)) && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}
