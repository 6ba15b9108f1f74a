//! Containers of podman's, watched from the host: which container, what its runtime says, whose program.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use test_support::{is_root, podman_run, skipped};

use crate::lanner::{BIN, usable};

const RULES: &str = r#"
- rule: Container exec
  desc: A program runs in a container.
  condition: evt.type in (execve, execveat) and evt.failed = false and container.id != host and proc.args contains marker
  output: "%container.id %container.full_id %container.type %container.name %container.image %container.image.repository
    %container.image.tag %container.image.id %container.privileged %container.mount.dest[/srv*] %container.start_ts
    %container.duration %container.host_network %proc.vpid %proc.is_exe_upper_layer %proc.exe_ino.ctime %user.name
    %thread.cap_effective %proc.exepath %k8s.ns.name"
  priority: INFO
"#;

const BUSYBOX: &str = "/bin/busybox";

/// Whether containers can be made here; where not, that is said.
pub(crate) fn possible() -> bool {
    let podman = Command::new("podman").arg("--version").output();
    let possible = is_root() && podman.is_ok() && Path::new(BUSYBOX).exists();
    if !possible {
        skipped("containers, which need root, podman and a static busybox");
    }
    possible
}

/// A root directory in a tar archive: a static busybox, and users of its own.
pub(crate) fn archive(folder: &Path) -> PathBuf {
    let rootfs = folder.join("rootfs");
    for inner in ["bin", "etc", "tmp", "srv"] {
        fs::create_dir_all(rootfs.join(inner)).expect("a folder");
    }
    fs::copy(BUSYBOX, rootfs.join("bin/busybox")).expect("copied");
    for name in ["sh", "cp", "true", "sleep"] {
        std::os::unix::fs::symlink("busybox", rootfs.join("bin").join(name)).expect("a link");
    }
    fs::write(
        rootfs.join("etc/passwd"),
        "root:x:0:0::/:/bin/sh\nvisitor:x:4321:4321::/:/bin/sh\n",
    )
    .expect("written");
    let archive = folder.join("image.tar");
    let tar = Command::new("tar")
        .args(["-C"])
        .arg(&rootfs)
        .arg("-cf")
        .arg(&archive)
        .arg(".")
        .status();
    assert!(tar.expect("tar").success());
    archive
}

/// An image of a static busybox, with users of its own.
struct Image {
    name: String,
    _folder: tempfile::TempDir,
}

impl Image {
    /// None: no containers here, which is said.
    fn new() -> Option<Self> {
        if !possible() {
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let archive = archive(folder.path());
        let tag = folder.path().file_name().expect("a name").to_string_lossy();
        let name = format!(
            "localhost/lanner-test:{}",
            tag.trim_start_matches('.').to_lowercase()
        );
        let import = Command::new("podman")
            .args(["import", "-q"])
            .arg(&archive)
            .arg(&name)
            .stdout(Stdio::null())
            .status();
        assert!(import.expect("podman").success());
        Some(Self {
            name,
            _folder: folder,
        })
    }

    /// Runs a container to its end, and answers with its name.
    fn run(&self, options: &[&str], script: &str) -> String {
        let name = format!(
            "{}-{}",
            self.name.rsplit(':').next().unwrap_or_default(),
            options.len()
        );
        let output = podman_run()
            .args(["--name", &name])
            .args(options)
            .arg(&self.name)
            .args(["sh", "-c", script])
            .stdin(Stdio::null())
            .output()
            .expect("podman");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        name
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = Command::new("podman")
            .args(["rmi", "-f", &self.name])
            .output();
    }
}

/// `lanner run` that is watching.
pub(crate) struct Watcher {
    child: Child,
    alerts: std::sync::mpsc::Receiver<Value>,
}

impl Watcher {
    fn start(driver: &str, rules: &Path) -> Self {
        Self::with(driver, rules, &mut Command::new(BIN))
    }

    pub(crate) fn with(driver: &str, rules: &Path, lanner: &mut Command) -> Self {
        let mut child = lanner
            .args(["run", "--json", "--driver", driver, "-r"])
            .arg(rules)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("lanner");
        let mut messages = BufReader::new(child.stderr.take().expect("piped"));
        let mut line = String::new();
        messages.read_line(&mut line).expect("a line");
        assert!(line.contains(driver), "{line}");
        std::thread::spawn(move || std::io::copy(&mut messages, &mut std::io::sink()));
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let (sender, alerts) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Ok(alert) = serde_json::from_str(&line) {
                    let _ = sender.send(alert);
                }
            }
        });
        Self { child, alerts }
    }

    /// The fields of the next alert about that container and program.
    pub(crate) fn next(&self, container: &str, program: &str) -> Value {
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut others = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(alert) = self.alerts.recv_timeout(left) else {
                panic!("no alert about {program} in {container}, but {others:?}");
            };
            let fields = &alert["output_fields"];
            if fields["container.name"] == container && fields["proc.exepath"] == program {
                return fields.clone();
            }
            others.push(fields.clone());
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn containers_of_podman_are_known_from_the_host() {
    let Some(image) = Image::new() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let rules = folder.path().join("rules.yaml");
    fs::write(&rules, RULES).expect("written");
    for driver in usable().into_iter().filter(|driver| *driver != "ptrace") {
        let watcher = Watcher::start(driver, &rules);
        // one that lives for a moment
        let name = image.run(&[], "exec /bin/true marker");
        let fields = watcher.next(&name, "/bin/busybox");
        let id = fields["container.full_id"].as_str().expect("an id");
        assert_eq!(id.len(), 64, "{driver}");
        assert_eq!(fields["container.id"], id[..12], "{driver}");
        assert_eq!(fields["container.type"], "podman", "{driver}");
        assert_eq!(fields["container.image"], image.name, "{driver}");
        assert_eq!(
            fields["container.image.repository"],
            "localhost/lanner-test"
        );
        assert_eq!(fields["container.privileged"], false, "{driver}");
        assert_eq!(fields["container.host_network"], false, "{driver}");
        assert_eq!(fields["k8s.ns.name"], Value::Null);
        assert!(
            fields["container.start_ts"]
                .as_u64()
                .is_some_and(|ts| ts > 1_600_000_000_000_000_000)
        );
        let age = fields["container.duration"].as_u64().expect("an age");
        assert!(age < 60_000_000_000, "{driver}: {age}");
        // a program that is not of the image, of a user that only the container has
        let script = "cp /bin/busybox /tmp/true && /tmp/true marker; sleep 1";
        let options = [
            "--user",
            "4321",
            "--privileged",
            "--volume",
            "/srv:/srv:ro",
            "--tmpfs",
            "/run",
        ];
        let writable = ["--cap-add=all"];
        let name = image.run(&options, "exec sh -c 'sleep 1; : marker'");
        let fields = watcher.next(&name, "/bin/busybox");
        assert_eq!(fields["container.privileged"], true, "{driver}");
        assert_eq!(fields["container.mount.dest[/srv*]"], "/srv", "{driver}");
        assert_eq!(fields["user.name"], "visitor", "{driver}");
        assert_eq!(fields["proc.vpid"], 1, "{driver}");
        let name = image.run(&writable, script);
        let fields = watcher.next(&name, "/tmp/true");
        assert_eq!(fields["container.privileged"], false, "{driver}");
        if driver == "ebpf-core" {
            // these come from the kernel; another driver may be too late to ask
            assert_eq!(fields["proc.is_exe_upper_layer"], true, "{driver}");
            assert!(fields["proc.exe_ino.ctime"].is_u64(), "{driver}");
            let capabilities = fields["thread.cap_effective"].as_str().expect("names");
            assert!(capabilities.contains("CAP_SYS_ADMIN"), "{capabilities}");
        }
    }
}
