//! Prisons without a container: bubblewrap, a user namespace, nobody without anything.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use test_support::{is_root, skipped};

use crate::cell::{BIN, has};
use crate::look::{Mode, check, copy_program, run};

/// A file that everybody may read and that is always there.
const HOSTS: &str = "/etc/hosts";

/// A copy of the binary that everybody may run.
pub(crate) fn copy() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    let to = folder.path().join("lanner");
    copy_program(Path::new(BIN), &to);
    (folder, to)
}

/// As uid 65534 without anything, where we are root.
fn nobody() -> Vec<&'static str> {
    if is_root() {
        vec![
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "--bounding-set=-all",
            "--no-new-privs",
        ]
    } else {
        vec!["setpriv", "--no-new-privs"]
    }
}

/// The mode is chosen, or notify is asked for.
const MODES: [(Mode, &[&str]); 2] = [
    (Mode::Trace, &["--driver", "ptrace"]),
    (
        Mode::Notify,
        &["--driver", "ptrace", "--ptrace-mode", "notify"],
    ),
];

/// Runs the check behind these words, in both modes.
fn check_behind(what: &str, words: &[&str]) {
    let (_folder, lanner) = copy();
    let lanner = lanner.to_str().expect("a text");
    let Some((program, arguments)) = words.split_first() else {
        panic!("{what}: no words")
    };
    let attempt = run(Command::new(program).args(arguments).arg("/bin/true"));
    if !attempt.status.success() {
        let why = String::from_utf8_lossy(&attempt.stderr).into_owned();
        skipped(&format!("{what} cannot be had here: {why}"));
        return;
    }
    for (mode, options) in MODES {
        let mut prison = Command::new(program);
        prison.args(arguments).current_dir("/");
        check(what, mode, &mut prison, lanner, options, HOSTS);
    }
}

#[test]
fn nobody_without_anything_can_trace() {
    check_behind("nobody", &nobody());
}

#[test]
fn a_user_namespace_is_enough() {
    if !has("unshare") {
        skipped("a user namespace: there is no unshare");
        return;
    }
    check_behind("a user namespace", &["unshare", "-Ur"]);
    check_behind(
        "a user namespace with its own processes",
        &["unshare", "-Urpf", "--mount-proc"],
    );
}

#[test]
fn bubblewrap_lets_both_modes_work() {
    if !has("bwrap") {
        skipped("bubblewrap: it is not installed");
        return;
    }
    let words = [
        "bwrap",
        "--bind",
        "/",
        "/",
        "--dev",
        "/dev",
        "--proc",
        "/proc",
        "--unshare-pid",
        "--unshare-net",
        "--unshare-ipc",
        "--die-with-parent",
        "--cap-drop",
        "ALL",
    ];
    check_behind("bubblewrap", &words);
}

#[test]
fn without_proc_what_needs_it_says_so_and_the_rest_works() {
    if !is_root() || !has("unshare") {
        skipped("hiding /proc takes root and unshare");
        return;
    }
    let hidden = |args: &str| {
        let script =
            format!("mount --make-rprivate / && mount -t tmpfs none /proc && {BIN} {args} 2>&1");
        let output = Command::new("unshare")
            .args(["-m", "sh", "-c", &script])
            .output();
        String::from_utf8_lossy(&output.expect("unshare").stdout).into_owned()
    };
    let beside = Path::new(BIN).parent().expect("a folder");
    let plugin = beside.join("liboutput_console.so").display().to_string();
    for (args, expected) in [
        ("rules list", " enabled"),
        ("plugins list", "rules-falco"),
        (&*format!("plugins check {plugin}"), "it is good"),
        ("config check", "can be used"),
        ("run --driver ptrace -- true", "mount -t proc proc /proc"),
        ("trace -- true", "mount -t proc proc /proc"),
    ] {
        let said = hidden(args);
        assert!(said.contains(expected), "{args}: {said}");
        assert!(!said.contains("there is no plugin"), "{args}: {said}");
    }
}
