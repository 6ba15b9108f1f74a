//! Who can write a plugin, or another file that lanner acts on. lanner may run as root, so only root and the user who runs
//! lanner may be able to change the file and every directory above it.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::error::PluginError;

const WRITABLE_BY_OTHERS: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// The properties of a file or directory that decide whether it is trusted.
#[derive(Debug, Clone, Copy)]
struct Owner {
    uid: u32,
    mode: u32,
    directory: bool,
}

impl From<&Metadata> for Owner {
    fn from(metadata: &Metadata) -> Self {
        Self {
            uid: metadata.uid(),
            mode: metadata.mode(),
            directory: metadata.is_dir(),
        }
    }
}

/// Returns the real path of a plugin that no other user can write, or why it is refused.
pub fn check(path: &Path) -> Result<PathBuf, PluginError> {
    check_from(path, 0)
}

/// The same for a file that the user names: other files in its directory do not matter.
pub fn check_file(path: &Path) -> Result<PathBuf, PluginError> {
    check_from(path, 1)
}

/// The same for a directory whose files are all used.
pub fn check_folder(path: &Path) -> Result<PathBuf, PluginError> {
    check_from(path, 1)
}

/// `level`: that of the path itself.
fn check_from(path: &Path, first: usize) -> Result<PathBuf, PluginError> {
    let unreadable = |source| PluginError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let real = fs::canonicalize(path).map_err(unreadable)?;
    // SAFETY: geteuid(2) cannot fail and touches nothing.
    let user = unsafe { libc::geteuid() };
    for (level, part) in real.ancestors().enumerate() {
        let level = level + first;
        let metadata = fs::metadata(part).map_err(unreadable)?;
        if let Some((reason, remedy)) = refusal(part, Owner::from(&metadata), level, user) {
            return Err(PluginError::NotTrusted {
                path: path.to_owned(),
                reason,
                remedy,
            });
        }
    }
    Ok(real)
}

/// Why a file (level 0), its directory (1) or one above (2 and up) is not trusted, and the remedy.
fn refusal(path: &Path, owner: Owner, level: usize, user: u32) -> Option<(String, String)> {
    let shown = path.display();
    if owner.uid != 0 && owner.uid != user {
        let reason = format!(
            "{shown} belongs to user {}, who is neither root nor the user running lanner ({user})",
            owner.uid
        );
        return Some((reason, format!("if you trust it: chown {user} {shown}")));
    }
    // In a sticky directory, others can add names, but not replace ours. That is enough further
    // up; in the plugin directory itself, other users must not be able to add anything.
    let sticky = level >= 2 && owner.directory && owner.mode & STICKY != 0;
    if owner.mode & WRITABLE_BY_OTHERS != 0 && !sticky {
        let mode = owner.mode & 0o7777;
        let reason = format!("users other than its owner may write to {shown} (mode {mode:04o})");
        return Some((reason, format!("if you trust it: chmod go-w {shown}")));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(uid: u32, mode: u32, directory: bool, level: usize) -> Option<String> {
        let owner = Owner {
            uid,
            mode,
            directory,
        };
        refusal(Path::new("/p"), owner, level, 1000).map(|(reason, _)| reason)
    }

    #[test]
    fn root_and_the_user_are_trusted_and_nobody_else() {
        assert_eq!(refused(0, 0o644, false, 0), None);
        assert_eq!(refused(1000, 0o755, false, 0), None);
        let other = refused(1001, 0o644, false, 0).unwrap();
        assert!(other.contains("belongs to user 1001"), "{other}");
    }

    #[test]
    fn what_others_may_write_is_refused() {
        for mode in [0o664, 0o646, 0o666] {
            assert!(refused(0, mode, false, 0).unwrap().contains("may write"));
        }
        assert!(refused(0, 0o775, true, 1).unwrap().contains("mode 0775"));
        assert!(refused(0, 0o777, true, 5).is_some());
    }

    #[test]
    fn a_sticky_directory_is_trusted_above_the_plugin_directory_only() {
        assert_eq!(refused(0, 0o1777, true, 2), None);
        assert!(refused(0, 0o1777, true, 1).is_some());
    }
}
