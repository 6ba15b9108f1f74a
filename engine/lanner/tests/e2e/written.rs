//! Files that lanner writes, in folders that other users can write to.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use test_support::{is_root, skipped};

use crate::lanner::{BIN, stderr};
use crate::unprivileged::stage;

/// A user who leaves links and files for others.
const STRANGER: u32 = 12345;
/// A user who runs lanner.
const USER: u32 = 23456;

/// A folder as /tmp is. A file that must stay as it is lies beside it.
struct Shared {
    _folder: tempfile::TempDir,
    tmp: PathBuf,
    precious: PathBuf,
}

impl Shared {
    fn new(owner: u32) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mode = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("permissions");
        };
        mode(folder.path(), 0o755);
        let (tmp, precious) = (folder.path().join("tmp"), folder.path().join("precious"));
        fs::create_dir(&tmp).expect("a folder");
        mode(&tmp, 0o1777);
        fs::write(&precious, "precious").expect("a file");
        lchown(&precious, Some(owner), None).expect("an owner");
        Self {
            _folder: folder,
            tmp,
            precious,
        }
    }

    fn is_untouched(&self) -> bool {
        fs::read(&self.precious).is_ok_and(|text| text == b"precious")
    }
}

/// Writes to a path in each way that there is, as a user: the way, its output, and the status of a refusal.
fn write(bin: &Path, user: u32, path: &Path) -> Vec<(&'static str, Output, i32)> {
    let run = |args: &[&OsStr]| {
        let mut command = Command::new("setpriv");
        command.arg(format!("--reuid={user}")).arg("--clear-groups");
        let output = command.arg(bin).args(args).current_dir("/").output();
        output.expect("lanner can be started")
    };
    let file = format!(
        "file_output={{enabled: true, filename: {}}}",
        path.display()
    );
    let way = |verb: &[&str], option: &str, value: &OsStr, rest: &[&str]| {
        let mut args: Vec<&OsStr> = verb.iter().map(OsStr::new).collect();
        args.extend([OsStr::new(option), value]);
        args.extend(rest.iter().map(OsStr::new));
        run(&args)
    };
    let command = ["--driver", "ptrace", "--", "true"];
    let name = path.as_os_str();
    vec![
        ("trace", way(&["trace"], "-o", name, &command), 2),
        ("record", way(&["record"], "-o", name, &command), 2),
        ("run", way(&["run"], "--output", name, &command), 2),
        (
            "output-file",
            way(&["run"], "-o", file.as_ref(), &command),
            2,
        ),
        (
            "check",
            way(&["config", "check"], "-o", file.as_ref(), &[]),
            1,
        ),
    ]
}

#[test]
fn links_and_files_that_another_user_left_are_refused_and_not_followed() {
    if !is_root() {
        skipped("only root can act as several users");
        return;
    }
    let (_stage, staged) = stage_with_file_output();
    for (bin, user) in [(Path::new(BIN), 0), (&*staged, USER)] {
        let shared = Shared::new(user);
        let at = |name: &str| shared.tmp.join(name);
        symlink(&shared.precious, at("link")).expect("a link");
        symlink(shared.tmp.parent().expect("a folder"), at("folder")).expect("a link");
        symlink(at("fresh"), at("dangling")).expect("a link");
        fs::write(at("file"), "theirs").expect("a file");
        fs::set_permissions(at("file"), fs::Permissions::from_mode(0o666)).expect("permissions");
        for name in ["link", "folder", "dangling", "file"] {
            lchown(at(name), Some(STRANGER), None).expect("an owner");
        }
        for name in ["link", "folder/precious", "dangling", "file"] {
            for (way, output, status) in write(bin, user, &at(name)) {
                let said = stderr(&output);
                assert_eq!(output.status.code(), Some(status), "{way} {name}: {said}");
                assert!(
                    said.contains("belongs to user 12345"),
                    "{way} {name}: {said}"
                );
                assert!(
                    said.contains("remove it, or write to another file"),
                    "{said}"
                );
            }
        }
        assert!(shared.is_untouched());
        assert!(!at("fresh").exists());
        assert_eq!(fs::read(at("file")).expect("a file"), b"theirs");
    }
}

#[test]
fn links_and_files_of_ones_own_are_written_in_any_folder() {
    if !is_root() {
        skipped("only root can act as several users");
        return;
    }
    let (_stage, staged) = stage_with_file_output();
    for (bin, user) in [(Path::new(BIN), 0), (&*staged, USER)] {
        let shared = Shared::new(user);
        lchown(&shared.tmp, Some(USER), None).expect("an owner");
        let link = shared.tmp.join("link");
        symlink(&shared.precious, &link).expect("a link");
        lchown(&link, Some(user), None).expect("an owner");
        for path in [link, shared.tmp.join("new")] {
            for (way, output, _) in write(bin, user, &path) {
                let said = stderr(&output);
                assert!(output.status.success(), "{way} {}: {said}", path.display());
            }
        }
        assert!(!shared.is_untouched());
    }
}

/// As [`stage`], with the output that writes files.
fn stage_with_file_output() -> (tempfile::TempDir, PathBuf) {
    let (folder, bin) = stage();
    let from = Path::new(BIN).parent().expect("a folder");
    let plugin = "liboutput_file.so";
    fs::copy(from.join(plugin), folder.path().join(plugin)).expect("a copy");
    (folder, bin)
}
