//! Recordings: what was recorded raises the same alerts wherever and whenever it is replayed.

use std::fs;
use std::path::{Path, PathBuf};

use test_support::{is_root, skipped, wait_until};

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
        let text = |path: &Path| path.to_str().expect("a text").to_owned();
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

/// A folder of cgroups that looks like that of a container of Docker's. It is removed in the end.
struct Cgroup(PathBuf);

impl Cgroup {
    const ID: &str = "3ad7b26ded6d8e7b23da7d48fe889434573036c27ae5a74837233de441c3601e";

    /// Makes one in a hierarchy of version 1 or in that of version 2.
    fn new() -> Self {
        let roots = [
            "/sys/fs/cgroup/freezer",
            "/sys/fs/cgroup/unified",
            "/sys/fs/cgroup",
        ];
        let root = roots
            .iter()
            .map(Path::new)
            .find(|root| root.join("cgroup.procs").exists());
        let group = root
            .expect("a hierarchy of cgroups")
            .join("docker")
            .join(Self::ID);
        fs::create_dir_all(&group).expect("a cgroup");
        Self(group)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // the kernel takes a moment to see that it is empty
        wait_until("the cgroup is empty", || fs::remove_dir(&self.0).is_ok());
    }
}

#[test]
fn a_replay_knows_the_container_of_each_process() {
    if !is_root() {
        skipped("only root can make a cgroup");
        return;
    }
    let cgroup = Cgroup::new();
    let procs = cgroup.0.join("cgroup.procs");
    let procs = procs.to_str().expect("a text");
    for driver in usable() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["file.rec", "file.scap"] {
            let file = folder.path().join(name);
            let file = file.to_str().expect("a text");
            let script = format!(
                "cat /etc/hosts; echo $$ > {procs}; cat /etc/hostname; exec cat /etc/passwd"
            );
            let command = [
                "--driver", driver, "-o", file, "--", "/bin/sh", "-c", &script,
            ];
            let output = run(["record"].iter().chain(&command));
            assert!(output.status.success(), "{driver}: {}", stderr(&output));
            let format = "%fd.name %container.id %container.type";
            let output = run([
                "trace", "--replay", file, "-e", "openat", "--format", format,
            ]);
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            let container = format!("{} docker", &Cgroup::ID[..12]);
            let has = |line: String| said.lines().any(|of| of == line);
            assert!(
                has("/etc/hosts host host".to_owned()),
                "{driver}, {name}: {said}"
            );
            assert!(
                has(format!("/etc/hostname {container}")),
                "{driver}, {name}: {said}"
            );
            assert!(
                has(format!("/etc/passwd {container}")),
                "{driver}, {name}: {said}"
            );
        }
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
