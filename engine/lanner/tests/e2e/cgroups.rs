//! Containers by their cgroups: of processes that end at once or move themselves, and in recordings.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use test_support::{PATIENCE, is_root, skipped};

use crate::lanner::{BIN, run, stderr, usable};

/// A cgroup that looks like that of a container of Docker's. It is removed in the end.
struct Cgroup {
    folder: PathBuf,
    /// The container's id, as fields show it.
    id: String,
}

impl Cgroup {
    /// Makes one in a hierarchy of version 1 or in that of version 2. Its id has only this digit, so that tests which run at the
    /// same time have containers of their own.
    fn new(digit: &str) -> Self {
        let roots = [
            "/sys/fs/cgroup/freezer",
            "/sys/fs/cgroup/unified",
            "/sys/fs/cgroup",
        ];
        let mut roots = roots.iter().map(Path::new);
        let root = roots.find(|root| root.join("cgroup.procs").exists());
        let docker = root.expect("a hierarchy of cgroups").join("docker");
        let folder = docker.join(digit.repeat(64));
        fs::create_dir_all(&folder).expect("a cgroup");
        Self {
            folder,
            id: digit.repeat(12),
        }
    }

    /// The file that takes the processes of the cgroup.
    fn procs(&self) -> String {
        self.folder.join("cgroup.procs").display().to_string()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // The kernel takes a moment to see that it is empty. A failure here must not hide that of the test.
        let begun = Instant::now();
        while fs::remove_dir(&self.folder).is_err() && begun.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn a_replay_knows_the_container_of_each_process() {
    if !is_root() {
        skipped("only root can make a cgroup");
        return;
    }
    let cgroup = Cgroup::new("a");
    let procs = cgroup.procs();
    for driver in usable() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["file.rec", "file.scap"] {
            let file = folder.path().join(name);
            let file = file.to_str().expect("a text");
            // what is recorded of a process is read from /proc while it lives
            let script = format!(
                "cat /etc/hosts; echo $$ > {procs}; exec sh -c 'cat /etc/hostname; sleep 2; exec cat /etc/passwd'"
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
            let container = format!("{} docker", cgroup.id);
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
    let cgroup = Cgroup::new("b");
    let procs = cgroup.procs();
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
            children.partition(|line| line.ends_with(&cgroup.id));
        assert_eq!(
            (inside.len(), outside.len()),
            (15, 0),
            "{driver}: {said}{}",
            stderr(&output)
        );
    }
}

/// What a replay says of the files that are opened: name and container.
fn opened(file: &str) -> String {
    let format = "%fd.name %container.id %container.name %container.image.repository";
    let replay = [
        "trace", "--replay", file, "-e", "openat", "--format", format,
    ];
    String::from_utf8_lossy(&run(replay).stdout).into_owned()
}

#[test]
fn a_process_that_moves_itself_is_in_its_container_from_then_on() {
    if !is_root() {
        skipped("only root can make a cgroup");
        return;
    }
    let cgroup = Cgroup::new("c");
    let procs = cgroup.procs();
    // the shell itself opens the files, and nothing is executed between them
    let script = format!(
        "read x < /etc/hosts; echo $$ > {procs}; read x < /etc/hostname; sleep 1; read x < /etc/passwd; sleep 1"
    );
    let within = format!("/etc/passwd {}", cgroup.id);
    let without = "/etc/hosts host";
    for driver in usable() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name).display().to_string();
        let check = |what: &str, said: &str| {
            for line in [&within, without] {
                let has = said.lines().any(|of| of.starts_with(line));
                assert!(has, "{driver}, {what}: {said}");
            }
        };
        let sh = ["--", "/bin/sh", "-c", &script];
        let format = "%fd.name %container.id";
        let live = [
            "trace", "--driver", driver, "-e", "openat", "--format", format,
        ];
        let output = run(live.iter().chain(&sh));
        check("live", &String::from_utf8_lossy(&output.stdout));
        for (name, other) in [("a.rec", "b.scap"), ("c.scap", "d.rec")] {
            let (file, converted) = (path(name), path(other));
            let record = ["record", "--driver", driver, "-o", &file];
            let output = run(record.iter().chain(&sh));
            assert!(output.status.success(), "{driver}: {}", stderr(&output));
            check(name, &opened(&file));
            let output = run(["convert", &file, &converted]);
            assert!(output.status.success(), "{driver}: {}", stderr(&output));
            check(other, &opened(&converted));
        }
    }
}

/// Answers as Docker does, below a folder that lanner takes for the host's root, until the test's process ends.
fn docker(root: &Path) {
    use std::io::{BufRead, BufReader, Write};
    fs::create_dir(root.join("run")).expect("a folder");
    let listener = std::os::unix::net::UnixListener::bind(root.join("run/docker.sock"));
    let listener = listener.expect("a socket");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut from = BufReader::new(stream);
            let mut asked = String::new();
            while from.read_line(&mut asked).is_ok_and(|read| read > 2) {}
            let body = if asked.contains("/containers/") {
                r#"{"Name":"/web","Image":"sha256:6f7e","Config":{"Image":"a/shop:2"}}"#
            } else {
                r#"{"RepoTags":["a/shop:2"]}"#
            };
            let length = body.len();
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}");
            drop(from.get_mut().write_all(answer.as_bytes()));
        }
    });
}

#[test]
fn a_replay_elsewhere_knows_names_and_images_of_containers() {
    if !is_root() {
        skipped("only root can make a cgroup");
        return;
    }
    let host = tempfile::tempdir().expect("a folder");
    docker(host.path());
    let cgroup = Cgroup::new("d");
    let script = format!(
        "echo $$ > {}; exec sh -c 'sleep 1; read x < /etc/hostname; sleep 1; read x < /etc/passwd'",
        cgroup.procs()
    );
    let line = format!("/etc/passwd {} web a/shop", cgroup.id);
    for driver in usable() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name).display().to_string();
        for (name, others) in [
            ("a.rec", ["b.scap", "c.rec"]),
            ("d.scap", ["e.rec", "f.scap"]),
        ] {
            let mut file = path(name);
            let output = std::process::Command::new(BIN)
                .env("LANNER_HOST_ROOT", host.path())
                .args(["record", "--driver", driver, "-o", &file])
                .args(["--", "/bin/sh", "-c", &script])
                .output()
                .expect("it starts");
            assert!(output.status.success(), "{driver}: {}", stderr(&output));
            let said = opened(&file);
            assert!(
                said.lines().any(|of| of == line),
                "{driver}, {name}: {said}"
            );
            for other in others {
                let converted = path(other);
                let output = run(["convert", &file, &converted]);
                assert!(output.status.success(), "{driver}: {}", stderr(&output));
                let said = opened(&converted);
                assert!(
                    said.lines().any(|of| of == line),
                    "{driver}, {other}: {said}"
                );
                file = converted;
            }
        }
    }
}
