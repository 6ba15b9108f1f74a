//! lanner killed in notify mode: its command would find no answer to its calls, and must not hang.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::cell::BIN;

/// How long the family may take to begin and to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// One process sleeps and makes no call, one makes them all the time.
const SCRIPT: &str =
    "sleep 300 & echo $! $$ > \"$0.new\"; mv \"$0.new\" \"$0\"; while :; do cat /dev/null; done";

fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < PATIENCE, "{what}: not after {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether a process has ended. Its parent may not have waited for it yet.
fn is_over(pid: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let state = status.lines().find_map(|line| line.strip_prefix("State:"));
    state.is_none_or(|state| state.trim_start().starts_with(['Z', 'X']))
}

#[test]
fn a_family_ends_with_its_lanner() {
    for mode in ["notify", "trace"] {
        let folder = tempfile::tempdir().expect("a folder");
        let told = folder.path().join("pids");
        let mut lanner = Command::new(BIN)
            .args(["trace", "--driver", "ptrace", "--ptrace-mode", mode])
            .args(["-e", "openat", "--", "/bin/sh", "-c", SCRIPT])
            .arg(&told)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("lanner can be started");
        wait_for("the family's birth", || told.exists());
        let pids = fs::read_to_string(&told).expect("it is there");
        let pids: Vec<&str> = pids.split_whitespace().collect();
        assert!(pids.iter().all(|pid| !is_over(pid)), "{mode}: {pids:?}");
        lanner.kill().expect("it is ours");
        lanner.wait().expect("it is ours");
        for pid in pids {
            wait_for(&format!("{mode}: the end of {pid}"), || is_over(pid));
        }
    }
}
