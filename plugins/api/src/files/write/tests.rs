//! No name that another user left leads lanner to a file.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

/// A user who is neither root nor the one who runs the tests.
const OTHER: u32 = 12345;

/// A folder as /tmp is, with a file of ours beside it.
fn shared() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let tmp = folder.path().join("tmp");
    fs::create_dir(&tmp).unwrap();
    fs::set_permissions(&tmp, fs::Permissions::from_mode(0o1777)).unwrap();
    let ours = folder.path().join("ours");
    fs::write(&ours, "precious").unwrap();
    (folder, tmp, ours)
}

/// Tries each way to write to a path. All must be refused, with this text.
fn refuse(path: &Path, expected: &str) {
    let answers = [
        append(path, 0o600).map(drop),
        replace(path, 0o600).map(drop),
        check_writable(path),
    ];
    for answer in answers {
        let text = answer.unwrap_err().to_string();
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn links_and_files_of_other_users_are_refused_with_a_remedy() {
    if user() != 0 {
        eprintln!("skipped: only root can make files of another user");
        return;
    }
    let (_folder, tmp, ours) = shared();
    let at = |name: &str| tmp.join(name);
    let give = |name: &str| std::os::unix::fs::lchown(at(name), Some(OTHER), None).unwrap();
    symlink(&ours, at("link")).unwrap();
    symlink("/nonexistent/new", at("dangling")).unwrap();
    symlink(tmp.parent().unwrap(), at("folder")).unwrap();
    fs::write(at("file"), "theirs").unwrap();
    for name in ["link", "dangling", "folder", "file"] {
        give(name);
    }
    for path in [
        at("link"),
        at("dangling"),
        at("folder/ours"),
        at("folder/new"),
    ] {
        refuse(&path, "the link ");
        refuse(&path, "belongs to user 12345");
        refuse(&path, REMEDY);
    }
    refuse(&at("file"), "belongs to user 12345");
    fs::hard_link(&ours, at("hard")).unwrap();
    let text = replace(&at("hard"), 0o600).unwrap_err().to_string();
    assert!(text.contains("hard link"), "{text}");
    assert_eq!(fs::read(&ours).unwrap(), b"precious");
    assert_eq!(fs::read(at("file")).unwrap(), b"theirs");
}

#[test]
fn links_of_ours_and_folders_of_others_are_used() {
    let (folder, tmp, ours) = shared();
    symlink(&ours, tmp.join("link")).unwrap();
    symlink("link", tmp.join("chain")).unwrap();
    symlink("../fresh", tmp.join("to_new")).unwrap();
    if user() == 0 {
        std::os::unix::fs::chown(&tmp, Some(OTHER), None).unwrap();
    }
    for name in ["link", "chain", "../tmp/./link"] {
        check_writable(&tmp.join(name)).unwrap();
        append(&tmp.join(name), 0o600)
            .unwrap()
            .write_all(b"+")
            .unwrap();
    }
    assert_eq!(fs::read(&ours).unwrap(), b"precious+++");
    drop(replace(&tmp.join("chain"), 0o600).unwrap());
    assert_eq!(fs::read(&ours).unwrap(), b"");
    check_writable(&tmp.join("to_new")).unwrap();
    assert!(
        !folder.path().join("fresh").exists(),
        "a check makes nothing"
    );
    drop(append(&tmp.join("to_new"), 0o640).unwrap());
    let mode = fs::metadata(folder.path().join("fresh")).unwrap().mode();
    assert_eq!(mode & 0o727, 0o600);
}

#[test]
fn what_cannot_be_written_is_named() {
    let (_folder, tmp, ours) = shared();
    refuse(&tmp, "is a folder, which cannot be written");
    refuse(&tmp.join("missing/file"), "cannot write ");
    refuse(&ours.join("file"), "ot a directory");
    let socket = tmp.join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    refuse(&socket, "is a socket, which cannot be written");
    let fifo = tmp.join("fifo");
    let name = CString::new(fifo.as_os_str().as_bytes()).unwrap();
    // SAFETY: mkfifo(3) reads a text that ends with a null byte.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    // Without a reader, opening it would wait.
    let unread = append(&fifo, 0o600).unwrap_err().to_string();
    assert!(
        unread.contains("no program has opened it for reading") && unread.contains("`cat "),
        "{unread}"
    );
    let _reader = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(&fifo)
        .unwrap();
    append(&fifo, 0o600).unwrap().write_all(b"x").unwrap();
    for device in ["/dev/null", "/dev/stderr"] {
        append(Path::new(device), 0o600).unwrap();
        replace(Path::new(device), 0o600).unwrap();
    }
}

#[test]
fn a_file_system_without_files_is_known_before_one_is_made() {
    let (_folder, tmp, _) = shared();
    check_writable(&tmp.join("new")).unwrap();
    assert!(fs::read_dir(&tmp).unwrap().next().is_none());
    for (folder, name) in [("/proc", "proc"), ("/sys", "sysfs"), ("/dev/pts", "devpts")] {
        // without privileges, the kernel's access rights say it first
        let refused = check_writable(&Path::new(folder).join("new")).unwrap_err();
        let expected = if user() == 0 {
            format!("no file can be made in {name}")
        } else {
            "Permission denied".to_owned()
        };
        assert!(refused.to_string().contains(&expected), "{refused}");
    }
}

#[test]
fn a_target_stays_in_its_folder() {
    let (_folder, tmp, _) = shared();
    let target = WriteTarget::find(&tmp.join("log")).unwrap();
    target.append(0o600).unwrap().write_all(b"1").unwrap();
    // The folder's name leads elsewhere now.
    fs::rename(&tmp, tmp.with_extension("moved")).unwrap();
    target
        .rename(OsStr::new("log"), OsStr::new("log.1"))
        .unwrap();
    assert_eq!(
        fs::read(tmp.with_extension("moved").join("log.1")).unwrap(),
        b"1"
    );
}
