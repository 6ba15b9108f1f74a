//! Recordings: what was recorded raises the same alerts wherever and whenever it is replayed.

use std::fs;

use crate::lanner::{run, stderr, usable};

const RULES: &str = "
- rule: hosts read
  desc: d
  condition: evt.type in (open, openat) and fd.name = /etc/hosts and proc.name = cat
  output: file=%fd.name parent=%proc.pname session=%proc.sid above=%proc.aname[2] cwd=%proc.cwd args=%proc.args
  priority: INFO
";

#[test]
fn a_recording_raises_the_same_alert_each_time() {
    for driver in usable() {
        let folder = tempfile::tempdir().expect("a folder");
        let rules = folder.path().join("rules.yaml");
        let file = folder.path().join("events");
        fs::write(&rules, RULES).expect("written");
        let text = |path: &std::path::Path| path.to_str().expect("a text").to_owned();
        let output = run([
            "record",
            "--driver",
            driver,
            "-o",
            &text(&file),
            "--",
            "/bin/sh",
            "-c",
            "cat /etc/hosts; exit 3",
        ]);
        assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
        assert!(
            stderr(&output).contains(" events recorded"),
            "{}",
            stderr(&output)
        );
        let replay = || run(["run", "--replay", &text(&file), "-r", &text(&rules)]);
        let first = replay();
        let said = String::from_utf8_lossy(&first.stdout).into_owned();
        assert_eq!(
            said.lines().count(),
            1,
            "{driver}: {said}{}",
            stderr(&first)
        );
        // its shell, and what had started that one, as it was before the recording began
        assert!(
            said.contains("file=/etc/hosts parent=sh "),
            "{driver}: {said}"
        );
        assert!(!said.contains("session=<NA>"), "{driver}: {said}");
        assert!(!said.contains("above=<NA>"), "{driver}: {said}");
        assert!(said.contains("args=/etc/hosts"), "{driver}: {said}");
        assert_eq!(first.stdout, replay().stdout, "{driver}");
        let traced = run(["trace", "--replay", &text(&file), "-e", "execve"]);
        let lines = String::from_utf8_lossy(&traced.stdout).into_owned();
        let execs = lines.lines().filter(|line| line.contains("execve("));
        assert!(execs.count() >= 2, "{driver}: {lines}");
    }
}

#[test]
fn what_cannot_be_replayed_is_refused_with_the_reason() {
    let output = run(["trace", "--replay", "/etc/hosts"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("is no recording of lanner's"));
    let output = run(["trace", "--replay", "/etc/hosts", "-p", "1"]);
    assert_eq!(output.status.code(), Some(2));
}
