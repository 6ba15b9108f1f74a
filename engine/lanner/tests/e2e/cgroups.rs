//! Containers by their cgroups alone: of processes that end at once, and in recordings.

use std::fs;
use std::path::{Path, PathBuf};

use test_support::{is_root, skipped, wait_until};

use crate::lanner::{run, stderr, usable};

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
                "cat /etc/hosts; echo $$ > {procs}; exec sh -c 'cat /etc/hostname; exec cat /etc/passwd'"
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
fn processes_that_end_at_once_are_in_their_container() {
    if !is_root() {
        skipped("only root can make a cgroup");
        return;
    }
    let cgroup = Cgroup::new();
    let procs = cgroup.0.join("cgroup.procs");
    let procs = procs.to_str().expect("a text");
    let script = format!(
        "echo $$ > {procs}; exec sh -c 'for i in 1 2 3 4 5 6 7 8 9 10; do /bin/true $i; done; \
         for i in 1 2 3 4 5; do (exec /bin/true $i) & done; wait'"
    );
    for driver in usable() {
        let format = "%proc.name %container.id";
        let command = [
            "trace", "--driver", driver, "-e", "execve", "--format", format, "--",
        ];
        let output = run(command.iter().chain(&["/bin/sh", "-c", &script]));
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let children = said.lines().filter(|line| line.starts_with("true "));
        let (inside, outside): (Vec<_>, Vec<_>) =
            children.partition(|line| line.ends_with(&Cgroup::ID[..12]));
        assert_eq!(
            (inside.len(), outside.len()),
            (15, 0),
            "{driver}: {said}{}",
            stderr(&output)
        );
    }
}
