//! Containers: the default profile, fewer capabilities, profiles that forbid. lanner is their entry point.

use std::fs;
use std::process::Command;
use test_support::{is_root, podman_run, skipped};

use crate::cell::{Cell, SECRET_PATH, has};
use crate::look::{Mode, check, run};

/// A profile that allows everything but these calls, which get this answer.
fn profile(calls: &[&str], action: &str) -> String {
    let names: Vec<String> = calls.iter().map(|call| format!("{call:?}")).collect();
    format!(
        r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{{"names": [{}], "action": "{action}"}}]}}"#,
        names.join(", ")
    )
}

/// podman with a root directory of ours.
fn podman(cell: &Cell, options: &[&str]) -> Command {
    let mut podman = podman_run();
    podman.args(options).arg("--rootfs").arg(cell.root());
    podman
}

/// A root for containers, where they can be had.
fn cell() -> Option<Cell> {
    if !is_root() {
        skipped("containers: podman runs as root here");
        return None;
    }
    if !(has("podman") && has("runc")) {
        skipped("containers: podman or runc is not installed");
        return None;
    }
    let cell = Cell::new()?;
    let output = run(podman(&cell, &[]).arg("/bin/true"));
    if output.status.success() {
        return Some(cell);
    }
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    skipped(&format!("containers: podman cannot run one here: {why}"));
    None
}

const DRIVER: [&str; 2] = ["--driver", "ptrace"];

#[test]
fn the_default_profile_allows_trace_mode() {
    let Some(cell) = cell() else { return };
    let mut prison = podman(&cell, &[]);
    check(
        "default",
        Mode::Trace,
        &mut prison,
        "/lanner",
        &DRIVER,
        SECRET_PATH,
    );
    // and without a name that is what is left
    let mut prison = podman(&cell, &[]);
    check(
        "auto",
        Mode::Trace,
        &mut prison,
        "/lanner",
        &[],
        SECRET_PATH,
    );
}

#[test]
fn nobody_without_capabilities_can_trace() {
    let Some(cell) = cell() else { return };
    let bare = [
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges",
        "--user=65534:65534",
    ];
    let mut prison = podman(&cell, &bare);
    check(
        "bare",
        Mode::Trace,
        &mut prison,
        "/lanner",
        &DRIVER,
        SECRET_PATH,
    );
    let mut prison = podman(&cell, &bare);
    let options = ["--driver", "ptrace", "--ptrace-mode", "notify"];
    check(
        "bare, notify",
        Mode::Notify,
        &mut prison,
        "/lanner",
        &options,
        SECRET_PATH,
    );
}

/// Profiles that forbid ptrace, and more, and how calls are seen then.
#[test]
fn where_ptrace_is_forbidden_notify_mode_takes_over() {
    let Some(cell) = cell() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("profile.json");
    let option = format!("--security-opt=seccomp={}", file.display());
    let memory = ["ptrace", "process_vm_readv"];
    let pidfds = ["ptrace", "pidfd_open", "pidfd_send_signal", "close_range"];
    for (calls, action) in [
        (&memory[..1], "SCMP_ACT_ERRNO"),
        // whoever tries is killed
        (&memory[..1], "SCMP_ACT_KILL_PROCESS"),
        // memory is read through /proc then
        (&memory[..], "SCMP_ACT_ERRNO"),
        // and ends are looked for there
        (&pidfds[..], "SCMP_ACT_ERRNO"),
    ] {
        fs::write(&file, profile(calls, action)).expect("written");
        let what = format!("without {calls:?}, {action}");
        for more in [&[][..], &["--cap-drop=ALL", "--user=65534:65534"]] {
            let options = [&[option.as_str()], more].concat();
            let mut prison = podman(&cell, &options);
            check(
                &what,
                Mode::Notify,
                &mut prison,
                "/lanner",
                &DRIVER,
                SECRET_PATH,
            );
        }
    }
}

#[test]
fn where_no_memory_can_be_read_events_say_so() {
    let Some(cell) = cell() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("profile.json");
    // /proc/PID/mem is read by pread64, at an offset that no file has
    let far = r#"{"names": ["pread64"], "action": "SCMP_ACT_ERRNO",
        "args": [{"index": 3, "value": 4194304, "op": "SCMP_CMP_GE"}]}, "#;
    let profile = profile(&["ptrace", "process_vm_readv"], "SCMP_ACT_ERRNO");
    let profile = profile.replace(r#""syscalls": ["#, &format!(r#""syscalls": [{far}"#));
    fs::write(&file, profile).expect("written");
    let option = format!("--security-opt=seccomp={}", file.display());
    let mut prison = podman(&cell, &[&option]);
    check(
        "blind",
        Mode::NotifyBlind,
        &mut prison,
        "/lanner",
        &DRIVER,
        SECRET_PATH,
    );
}

#[test]
fn where_both_are_forbidden_the_message_says_so() {
    let Some(cell) = cell() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("profile.json");
    fs::write(&file, profile(&["ptrace", "seccomp"], "SCMP_ACT_ERRNO")).expect("written");
    let option = format!("--security-opt=seccomp={}", file.display());
    for driver in ["ptrace", "auto"] {
        let words = ["/lanner", "trace", "--driver", driver, "--", "/bin/true"];
        let output = run(podman(&cell, &[&option]).args(words));
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("forbids ptrace here"), "{said}");
        assert!(said.contains("forbids filters with notification"), "{said}");
    }
    let output = run(podman(&cell, &[&option]).args(["/lanner", "drivers"]));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("mode trace: not usable"), "{said}");
    assert!(said.contains("mode notify: not usable"), "{said}");
    assert!(
        said.contains("remedy: allow the calls ptrace and process_vm_readv"),
        "{said}"
    );
    assert!(
        said.contains("remedy: allow the calls seccomp and ioctl"),
        "{said}"
    );
}

/// As the entry point lanner is the first process: it gets orphans, and goes with its command.
#[test]
fn an_entry_point_tells_of_orphans_and_passes_the_status_on() {
    let Some(cell) = cell() else { return };
    for mode in ["trace", "notify"] {
        let words = [
            "/lanner",
            "trace",
            "--json",
            "--driver",
            "ptrace",
            "--ptrace-mode",
            mode,
        ];
        let script = "(sh -c '(sleep 0.2; exit 3) &'); sleep 1; exit 5";
        let mut prison = podman(&cell, &[]);
        prison
            .args(words)
            .args(["-e", "procexit", "--", "/bin/sh", "-c", script]);
        let output = run(&mut prison);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(5), "{mode}: {said}");
        let told = String::from_utf8_lossy(&output.stdout);
        for code in [5, 3] {
            assert!(
                told.contains(&format!("\"exit_code\":{code}")),
                "{mode}: {told}"
            );
        }
    }
}
