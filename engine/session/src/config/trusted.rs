//! Who may have written what root acts upon? Configuration and rules decide what is run and what is seen, so
//! that others must not have had a hand in them. Checked only if lanner runs as root, or with capabilities.

use std::fs;
use std::path::{Path, PathBuf};

use plugin_host::trust;

use super::error::TrustError;

/// Refuses a file that others may write, or replace.
///
/// # Errors
///
/// Why it is refused, and what would help.
pub fn file(path: &Path) -> Result<(), TrustError> {
    // what is handed over as a descriptor was opened by whoever runs lanner
    let handed_over = ["/dev/stdin", "/dev/fd", "/proc/self/fd"];
    if !is_privileged() || handed_over.iter().any(|at| path.starts_with(at)) {
        return Ok(());
    }
    trust::check_file(path)?;
    Ok(())
}

/// Root, or anybody with a capability (`CapEff` in proc_pid_status(5)).
fn is_privileged() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    nix::unistd::geteuid().is_root()
        || effective.is_some_and(|bits| bits.trim().bytes().any(|digit| digit != b'0'))
}

/// The files of a folder with these endings, sorted; refuses a folder to which others may add some.
///
/// # Errors
///
/// Why it is refused, or cannot be read.
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
