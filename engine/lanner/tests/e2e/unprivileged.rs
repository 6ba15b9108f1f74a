//! lanner for nobody: uid 65534, no capability, no_new_privs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use test_support::{is_root, skipped};

use crate::lanner::BIN;

/// Copies a program. By another process: what a fork of another test has open for writing here cannot be executed
/// (ETXTBSY).
fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg(from).arg(to).status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "{}",
        from.display()
    );
}

/// A copy of binary and plugins that everybody may read, with folders that nobody else may write.
pub(crate) fn stage() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))
        .expect("the folder is ours");
    let from = Path::new(BIN).parent().expect("a folder");
    for name in ["lanner", "librules_falco.so", "liboutput_console.so"] {
        copy(&from.join(name), &folder.path().join(name));
    }
    let bin = folder.path().join("lanner");
    (folder, bin)
}

fn as_nobody(bin: &Path, args: &[&str]) -> std::process::Output {
    let prison = [
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "--bounding-set=-all",
        "--no-new-privs",
    ];
    through(&prison, bin, args)
}

pub(crate) fn through(prison: &[&str], bin: &Path, args: &[&str]) -> std::process::Output {
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command.args(prison).arg(bin);
        command
    } else {
        Command::new(bin)
    };
    command
        .args(args)
        .stdin(Stdio::null())
        .current_dir("/")
        .output()
        .expect("it can be started")
}

#[test]
fn nobody_can_run_rules_over_a_command() {
    let (_folder, bin) = stage();
    let output = as_nobody(&bin, &["run", "--", "cat", "/etc/hosts"]);
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{message}");
    assert_eq!(
        output.stdout,
        fs::read("/etc/hosts").expect("it can be read"),
        "{message}"
    );
    assert!(
        message.contains("driver ptrace, because ebpf-core"),
        "{message}"
    );
}

#[test]
fn nobody_gets_alerts() {
    let (folder, bin) = stage();
    let rules = folder.path().join("rules.yaml");
    fs::write(
        &rules,
        "- rule: Hosts read\n  desc: d\n  condition: evt.type = openat and evt.is_open_read = true and fd.name = /etc/hosts\n  \
         output: hosts read by %proc.name (%user.uid)\n  priority: INFO\n",
    )
    .expect("written");
    let output = as_nobody(
        &bin,
        &[
            "run",
            "-r",
            rules.to_str().expect("a text"),
            "--",
            "cat",
            "/etc/hosts",
        ],
    );
    let text = String::from_utf8_lossy(&output.stdout);
    let uid = if is_root() {
        65534
    } else {
        nix::unistd::geteuid().as_raw()
    };
    assert!(
        text.contains(&format!("Informational hosts read by cat ({uid})")),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn nobody_is_told_what_is_missing() {
    let (_folder, bin) = stage();
    let output = as_nobody(&bin, &["run", "--driver", "ebpf-core"]);
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(
        message.contains("CAP_BPF") && message.contains("CAP_PERFMON"),
        "{message}"
    );
    let output = as_nobody(&bin, &["run"]);
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(
        message.contains("ptrace") && message.contains("-- COMMAND"),
        "{message}"
    );
}

#[test]
fn nobody_cannot_attach_to_the_process_of_another_and_is_told_why() {
    if !is_root() {
        skipped("a process of another user, which only root can start");
        return;
    }
    let (_folder, bin) = stage();
    let mut other = Command::new("sleep").arg("600").spawn().expect("runs");
    let output = as_nobody(
        &bin,
        &["run", "-d", "ptrace", "-p", &other.id().to_string()],
    );
    other.kill().expect("it is still there");
    other.wait().expect("it is ours to wait for");
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(
        message.contains("belongs to user 0") && message.contains("CAP_SYS_PTRACE"),
        "{message}"
    );
}

/// The documented gap: a setuid program has its privilege under a privileged lanner alone.
#[test]
fn setuid_programs_have_their_privilege_where_lanner_may_give_it() {
    if !is_root() {
        skipped("a setuid program of another user, which only root can make");
        return;
    }
    let (folder, bin) = stage();
    let program = folder.path().join("id");
    copy(Path::new("/usr/bin/id"), &program);
    std::os::unix::fs::chown(&program, Some(4242), Some(4242)).expect("given away");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).expect("setuid");
    let program = program.to_str().expect("a text");
    let user = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    let id_of =
        |output: &std::process::Output| String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let alone = through(&user, Path::new(program), &["-u"]);
    assert_eq!(
        id_of(&alone),
        "4242",
        "alone: is {program} on a nosuid mount?"
    );
    let below_user = through(&user, &bin, &["run", "-d", "ptrace", "--", program, "-u"]);
    assert_eq!(id_of(&below_user), "65534");
    let below_root = Command::new(&bin)
        .args(["run", "-d", "ptrace", "--", program, "-u"])
        .stdin(Stdio::null())
        .output()
        .expect("it can be started");
    assert_eq!(id_of(&below_root), "4242");
}
