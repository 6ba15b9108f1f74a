//! lanner where the system gives little of something, or what it reads is cut off or nested without end: each run ends with
//! a status of its own and a message, never with a panic or by a signal.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use test_support::{is_root, skipped};

use crate::lanner::{BIN, run, stderr, usable};

/// Runs lanner after a line of shell.
fn after(line: &str, args: &[&str]) -> Output {
    let script = format!("{line}; exec {BIN} \"$@\"");
    let mut shell = Command::new("sh");
    // a lanner that waits for what it cannot have would wait for ever; timeout(1) ends with 124
    shell.args(["-c", &format!("{line}; exec timeout 60 {BIN} \"$@\""), "sh"]);
    let output = shell.args(args).output();
    output.unwrap_or_else(|error| panic!("{script}: {error}"))
}

/// It ended well, or with a status and a message.
fn ended(output: &Output, what: &str) {
    let said = stderr(output);
    let code = output.status.code();
    assert!(matches!(code, Some(0..=2)), "{what}: {code:?} {said}");
    assert!(!said.contains("panicked"), "{what}: {said}");
    if code != Some(0) {
        assert!(said.contains("lanner: "), "{what}: {said}");
    }
}

/// A cgroup that limits the number of its tasks.
struct Tasks(PathBuf);

impl Tasks {
    fn new(most: u32) -> Option<Self> {
        for root in ["/sys/fs/cgroup", "/sys/fs/cgroup/pids"] {
            let folder = format!("{root}/lanner-test-{}-tasks-{most}", std::process::id());
            let group = Self(PathBuf::from(folder));
            // Without the controller of tasks there is no such file.
            let file = group.0.join("pids.max");
            if fs::create_dir(&group.0).is_ok()
                && file.exists()
                && fs::write(file, most.to_string()).is_ok()
            {
                return Some(group);
            }
        }
        None
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        // the processes in it have ended, which the kernel notes a moment later
        for _ in 0..100 {
            if fs::remove_dir(&self.0).is_ok() || !self.0.exists() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}

#[test]
fn where_no_process_or_thread_can_be_made_lanner_says_so() {
    if !is_root() {
        return skipped("only root can make a cgroup");
    }
    for driver in usable() {
        // the first of them are timeout(1) and lanner itself
        for most in 2..=12 {
            let Some(group) = Tasks::new(most) else {
                return skipped("this host has no cgroup of tasks that root can make");
            };
            let line = format!("echo $$ > {}/cgroup.procs", group.0.display());
            let args = ["run", "--driver", driver, "--", "/bin/true"];
            ended(
                &after(&line, &args),
                &format!("{driver} with {most} commands"),
            );
            let args = ["run", "--driver", driver, "--duration", "100ms"];
            if driver != "ptrace" {
                ended(&after(&line, &args), &format!("{driver} with {most} tasks"));
            }
        }
    }
}

#[test]
fn where_no_descriptor_is_left_lanner_says_so() {
    for driver in usable() {
        for most in [4, 5, 6, 7, 8, 10, 12, 15, 18, 22, 27, 33, 40, 50, 64] {
            let line = format!("ulimit -n {most}");
            let args = ["run", "--driver", driver, "--", "/bin/true"];
            ended(
                &after(&line, &args),
                &format!("{driver} with {most} descriptors"),
            );
        }
    }
}

#[test]
fn a_limit_on_the_size_of_files_is_an_error_and_no_death() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("events");
    let path = file.to_str().expect("a text");
    let command = ["sh", "-c", "for i in $(seq 100); do /bin/true; done"];
    for verb in [
        &["record", "-o", path][..],
        &["record", "--format", "scap", "-o", path],
        &["trace", "-o", path],
        &["trace", "--json", "-o", path],
    ] {
        let args = [verb, &["--driver", "ptrace", "--"], &command].concat();
        // in blocks of 512 bytes
        let output = after("ulimit -f 16", &args);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{verb:?}: {said}");
        assert!(said.contains("File too large"), "{verb:?}: {said}");
        let size = fs::metadata(&file).expect("the file").len();
        assert!(size > 0 && size <= 16 << 10, "{verb:?}: {size}");
    }
}

#[test]
fn a_log_that_no_terminal_shows_has_no_colours() {
    let output = run(["run", "-vv", "--driver", "ptrace", "--", "/bin/true"]);
    let said = stderr(&output);
    assert!(said.contains("lanner: driver ptrace"), "{said}");
    assert!(!said.contains('\u{1b}'), "{said}");
}

#[test]
fn a_limit_of_nothing_is_a_gap_that_is_told() {
    let output = run([
        "run",
        "--driver",
        "ptrace",
        "-o",
        "limits.path=0",
        "--",
        "true",
    ]);
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("rules about paths cannot match"), "{said}");
}

#[test]
fn what_is_nested_without_end_is_an_error_or_no_trouble() {
    let option = format!("outputs{}=1", "[0]".repeat(20_000));
    let output = run(["run", "--driver", "ptrace", "-o", &option, "--", "true"]);
    assert_eq!(output.status.code(), Some(2), "{:?}", output.status);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("rules.yaml");
    let lists: String = (0..5000)
        .map(|at| format!("- list: l{at}\n  items: [l{}]\n", at + 1))
        .collect();
    let rule = "- list: l5000\n  items: [a]\n- rule: r\n  desc: d\n  \
                condition: evt.type = openat and proc.name in (l0)\n  output: o\n  priority: INFO\n";
    fs::write(&file, lists + rule).expect("a file");
    let output = run(["rules", "check", file.to_str().expect("a text")]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", stderr(&output));
}

#[test]
fn a_plugin_that_was_copied_in_part_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let whole = std::path::Path::new(BIN).with_file_name("liboutput_file.so");
    let whole = fs::read(whole).expect("the plugin");
    let path = folder.path().to_str().expect("a text");
    for length in [64, 4096, 100_000, whole.len() - 1] {
        fs::write(folder.path().join("liboutput_file.so"), &whole[..length]).expect("a file");
        let output = run(["plugins", "list", "--plugin-dir", path]);
        let said = stderr(&output) + &String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{length}: {said}");
        assert!(said.contains("liboutput_file.so is cut off"), "{said}");
        let output = run([
            "run",
            "--plugin-dir",
            path,
            "--driver",
            "ptrace",
            "--",
            "true",
        ]);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("liboutput_file.so is cut off"), "{said}");
    }
}
