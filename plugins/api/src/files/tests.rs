//! Who may own what, and that a file cannot be swapped between the check and the reading.

use std::ffi::CString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{PermissionsExt, symlink};

use super::walk::{FileType, Owner, refusal};
use super::*;

const LIMIT: u64 = 1000;

fn refused(uid: u32, mode: u32, kind: FileType, sticky: bool) -> Option<String> {
    let owner = Owner { uid, mode, kind };
    let refused = refusal(Path::new("/p"), owner, Trusted::RootAnd(1000), sticky);
    refused.map(|(reason, _)| reason)
}

#[test]
fn root_and_the_user_are_trusted_and_no_one_else() {
    assert_eq!(refused(0, 0o644, FileType::Other, false), None);
    assert_eq!(refused(1000, 0o755, FileType::Other, false), None);
    assert_eq!(refused(1000, 0o777, FileType::Link, false), None);
    for kind in [FileType::Other, FileType::Link, FileType::Folder] {
        let other = refused(1001, 0o644, kind, true).unwrap();
        assert!(other.contains("belongs to user 1001"), "{other}");
    }
}

#[test]
fn a_process_with_more_rights_than_its_user_trusts_root_alone() {
    let owner = |uid| Owner {
        uid,
        mode: 0o644,
        kind: FileType::Other,
    };
    assert!(refusal(Path::new("/p"), owner(0), Trusted::Root, false).is_none());
    let (reason, _) = refusal(Path::new("/p"), owner(1000), Trusted::Root, false).unwrap();
    assert!(reason.contains("trusts root alone"), "{reason}");
}

#[test]
fn what_others_may_write_is_refused() {
    for mode in [0o664, 0o646, 0o666] {
        let reason = refused(0, mode, FileType::Other, false).unwrap();
        assert!(reason.contains("may write"), "{reason}");
    }
    let folder = refused(0, 0o775, FileType::Folder, true).unwrap();
    assert!(folder.contains("mode 0775"), "{folder}");
    assert_eq!(refused(0, 0o1777, FileType::Folder, true), None);
    assert!(refused(0, 0o1777, FileType::Folder, false).is_some());
    assert!(refused(0, 0o1777, FileType::Other, true).is_some());
}

/// A folder that only this user can change, and which has one file.
fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "ours").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    (folder, file)
}

fn me() -> Trusted {
    Trusted::RootAnd(user())
}

fn walk(path: &Path) -> Result<Vec<u8>, FileError> {
    read_opened(open_as(path, me())?, path, LIMIT)
}

#[test]
fn links_and_parents_lead_where_they_lead_for_the_kernel() {
    let (folder, file) = folder();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("below")).unwrap();
    symlink("../file", at("below/up")).unwrap();
    symlink(&file, at("absolute")).unwrap();
    symlink("below/up", at("chain")).unwrap();
    symlink("below", at("folder")).unwrap();
    for way in [
        "file",
        "./file",
        "below/../file",
        "below/up",
        "absolute",
        "chain",
        "folder/up",
        "folder/../file",
    ] {
        assert_eq!(walk(&at(way)).unwrap(), b"ours", "{way}");
        let (_, real) = library(&at(way)).unwrap();
        assert_eq!(real, fs::canonicalize(&file).unwrap(), "{way}");
    }
    assert_eq!(
        list(&at("below"), &["yaml"]).unwrap(),
        Vec::<PathBuf>::new()
    );
}

#[test]
fn what_is_no_file_is_named_and_nothing_waits() {
    let (folder, file) = folder();
    let at = |name: &str| folder.path().join(name);
    symlink("round", at("round")).unwrap();
    symlink("nothing", at("dangling")).unwrap();
    let fifo = CString::new(at("fifo").as_os_str().as_bytes()).unwrap();
    // SAFETY: mkfifo(3) reads a text that ends with a null byte.
    assert_eq!(unsafe { libc::mkfifo(fifo.as_ptr(), 0o600) }, 0);
    for (path, expected) in [
        (at("round"), "Too many levels"),
        (at("dangling"), "No such file"),
        (at("nothing"), "No such file"),
        (at("nothing/file"), "No such file"),
        (file.join("below"), "ot a directory"),
        (folder.path().to_owned(), "is a folder"),
        (at("fifo"), "is a FIFO"),
        (PathBuf::from("/dev/zero"), "is a device"),
        (PathBuf::new(), "is a folder"),
    ] {
        for result in [walk(&path), read(&path, LIMIT)] {
            let text = result.unwrap_err().to_string();
            let empty = path.as_os_str().is_empty();
            assert!(text.contains(expected) || empty, "{path:?}: {text}");
        }
        assert!(open_untrusted(&path).is_err(), "{path:?}");
    }
    fs::write(&file, vec![b'x'; 1001]).unwrap();
    let large = read(&file, LIMIT).unwrap_err().to_string();
    assert!(large.contains("more than 1000 bytes"), "{large}");
}

#[test]
fn descriptors_that_lanner_was_started_with_may_be_pipes() {
    for path in ["/dev/stdin", "/dev/fd/7", "/proc/self/fd/63"] {
        assert!(is_handed_over(Path::new(path)), "{path}");
    }
    for path in ["/dev/fd", "/dev/fd/", "/dev/fd/3/x", "/dev/fd/../x", "/x"] {
        assert!(!is_handed_over(Path::new(path)), "{path}");
    }
}

#[test]
fn a_store_is_made_for_its_user_and_no_link_leads_away() {
    let (folder, file) = folder();
    let store = folder.path().join("store");
    open_store(&store).unwrap();
    let mode = fs::metadata(&store).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    open_store(&store).unwrap();
    let link = folder.path().join("link");
    symlink(&file, &link).unwrap();
    assert!(open_store(&link).is_err());
    for (path, good) in [
        (store.clone(), true),
        (folder.path().join("new"), true),
        (folder.path().join("new/folders/store"), true),
        (link.clone(), false),
        (store.join("below"), false),
        (store.join("below/folders/store"), false),
        (folder.path().to_owned(), false),
        (PathBuf::from("/dev/null"), false),
        (PathBuf::new(), false),
    ] {
        let checked = check_store(&path);
        assert_eq!(checked.is_ok(), good, "{path:?}: {checked:?}");
    }
    assert!(!folder.path().join("new").exists(), "a check makes nothing");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    // only a privileged process has something to give away
    assert_eq!(open_store(&store).is_err(), is_privileged());
    assert_eq!(check_store(&store).is_err(), is_privileged());
}

/// Another user's folder, in which a link leads to our file and, a moment later, to theirs.
#[test]
fn a_link_that_flips_never_leads_to_a_foreign_file() {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::{Duration, Instant};

    const OTHER: u32 = 12345;
    if user() != 0 {
        eprintln!("skipped: only root can make files of another user");
        return;
    }
    let (folder, file) = folder();
    let theirs = folder.path().join("theirs");
    fs::create_dir(&theirs).unwrap();
    let at = |name: &str| theirs.join(name);
    fs::write(at("file"), "foreign").unwrap();
    symlink(&file, at("link")).unwrap();
    symlink(at("file"), at("other")).unwrap();
    for name in ["", "file", "link", "other"] {
        std::os::unix::fs::lchown(at(name), Some(OTHER), None).unwrap();
    }
    // A link of root's, in root's folder, that is swapped: only root does that, and both ends are root's.
    let own = folder.path().join("own");
    fs::write(folder.path().join("second"), "ours").unwrap();
    symlink(&file, &own).unwrap();
    symlink(folder.path().join("second"), folder.path().join("own2")).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let text = |path: PathBuf| CString::new(path.into_os_string().into_vec()).unwrap();
            let pairs = [
                (text(at("link")), text(at("other"))),
                (text(own.clone()), text(folder.path().join("own2"))),
            ];
            while !done.load(Ordering::Relaxed) {
                for (one, two) in &pairs {
                    // SAFETY: renameat2(2) reads two texts that end with a null byte.
                    let failed = unsafe {
                        libc::renameat2(
                            libc::AT_FDCWD,
                            one.as_ptr(),
                            libc::AT_FDCWD,
                            two.as_ptr(),
                            libc::RENAME_EXCHANGE,
                        )
                    };
                    assert_eq!(failed, 0);
                }
            }
        });
        let until = Instant::now() + Duration::from_secs(10);
        let mut read_ours = false;
        while Instant::now() < until {
            match walk(&at("link")) {
                Ok(text) => assert_eq!(text, b"ours"),
                Err(FileError::NotTrusted { .. }) => {}
                Err(error) => panic!("{error}"),
            }
            match walk(&own) {
                Ok(text) => {
                    read_ours = true;
                    assert_eq!(text, b"ours");
                }
                Err(FileError::Unreadable { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        done.store(true, Ordering::Relaxed);
        assert!(read_ours);
    });
}
