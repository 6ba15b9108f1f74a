//! Folders that lanner makes.

use std::io;
use std::path::Path;

use super::walk::{Folders, Walk};
use super::{FileError, Trusted, user};

/// Makes a folder, and those on the way that are not there, with this mode (mkdir(2), such as 0o700). What is there already is left
/// as it is.
///
/// Each is made below a folder that is open, so another user cannot lead the path elsewhere meanwhile.
///
/// # Errors
///
/// The system refuses, or the path leads over a link of another user, or through a folder where other users may replace names.
pub fn make_folder(path: &Path, mode: u32) -> io::Result<()> {
    let trusted = Trusted::RootAnd(user());
    let made = Walk::new(path, trusted, Folders::OthersMayAdd).make_folder(mode);
    made.map_err(|error| match error {
        FileError::Unreadable { source, .. } => source,
        other => io::Error::new(io::ErrorKind::PermissionDenied, other),
    })
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, lchown, symlink};

    use super::*;

    #[test]
    fn folders_are_made_with_their_mode_and_what_is_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("one/two/three");
        make_folder(&path, 0o700).unwrap();
        for made in [&path, path.parent().unwrap()] {
            let mode = fs::metadata(made).unwrap().permissions().mode();
            assert_eq!(mode & 0o7777, 0o700, "{made:?}");
        }
        make_folder(&path, 0o777).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
            0o700
        );
        // a link of one's own is followed, also where it leads nowhere yet
        symlink(folder.path().join("later"), folder.path().join("link")).unwrap();
        make_folder(&folder.path().join("link/four"), 0o700).unwrap();
        assert!(folder.path().join("later/four").is_dir());
        fs::write(folder.path().join("file"), "").unwrap();
        let error = make_folder(&folder.path().join("file/five"), 0o700).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotADirectory);
    }

    #[test]
    fn links_of_other_users_lead_no_folder_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let (shared, real) = (folder.path().join("shared"), folder.path().join("real"));
        fs::create_dir(&shared).unwrap();
        fs::create_dir(&real).unwrap();
        fs::set_permissions(&shared, Permissions::from_mode(0o1777)).unwrap();
        symlink(&real, shared.join("link")).unwrap();
        if lchown(shared.join("link"), Some(65_534), None).is_err() {
            eprintln!("skipped: only root can make files of another user");
            return;
        }
        let error = make_folder(&shared.join("link/new"), 0o700).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        assert!(error.to_string().contains("user 65534"), "{error}");
        assert!(fs::read_dir(&real).unwrap().next().is_none());
        make_folder(&shared.join("own/new"), 0o700).unwrap();
    }
}
