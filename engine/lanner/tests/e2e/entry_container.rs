//! lanner as the entry point of a container: `ENTRYPOINT ["lanner","run","--driver","ptrace","--"]`, in podman
//! with its default profile, and with less.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use test_support::{is_root, podman_run, skipped};

use crate::entry::{LISTENER, ORPHANS, Running};
use crate::lanner::BIN;

/// A container whose programs are the host's.
struct Container {
    root: tempfile::TempDir,
    name: String,
}

impl Container {
    /// None: no containers here, which is said.
    fn new() -> Option<Self> {
        if !is_root() || Command::new("podman").arg("--version").output().is_err() {
            skipped("containers, which need root and podman");
            return None;
        }
        let root = tempfile::tempdir().expect("a folder");
        for folder in [
            "usr", "lib", "lib64", "bin", "proc", "sys", "dev", "tmp", "etc", "lanner", "run",
        ] {
            std::fs::create_dir(root.path().join(folder)).expect("a folder");
        }
        let name = root.path().file_name().expect("a name").to_string_lossy();
        Some(Self {
            name: format!("lanner-{}", name.trim_start_matches('.')),
            root,
        })
    }

    fn run(&self, options: &[&str], command: &[&str]) -> Running {
        let plugins = Path::new(BIN).parent().expect("a folder");
        let entry = "[\"/lanner/lanner\",\"run\",\"--driver\",\"ptrace\",\"--\"]";
        let mut podman = podman_run();
        podman
            .args(["--name", &self.name])
            .args(
                ["/usr", "/lib", "/lib64", "/bin"]
                    .iter()
                    .flat_map(|folder| ["-v".to_owned(), format!("{folder}:{folder}:ro")]),
            )
            .args(["-v", &format!("{}:/lanner:ro", plugins.display())])
            .args(options)
            .args(["--entrypoint", entry, "--rootfs"])
            .arg(self.root.path())
            .args(command);
        Running::new(&mut podman)
    }

    fn podman(&self, verb: &[&str]) {
        let output = Command::new("podman")
            .args(verb)
            .arg(&self.name)
            .stdin(Stdio::null())
            .output()
            .expect("podman can be started");
        assert!(
            output.status.success(),
            "podman {verb:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = Command::new("podman")
            .args(["rm", "-f", "-t", "0", "-i", &self.name])
            .output();
    }
}

/// podman's own options: the default profile, and an ordinary user without anything.
const PRISONS: [&[&str]; 2] = [
    &[],
    &[
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges",
        "--user=65534:65534",
    ],
];

#[test]
fn a_container_ends_with_its_command_and_keeps_no_zombies() {
    let Some(container) = Container::new() else {
        return;
    };
    for prison in PRISONS {
        let mut running = container.run(prison, &["python3", "-E", "-c", ORPHANS]);
        assert_eq!(running.line(), "pid True parent 1 zombies []", "{prison:?}");
        assert_eq!(running.end().code(), Some(5), "{prison:?}");
        let killed = container.run(prison, &["sh", "-c", "kill -KILL $$"]).end();
        assert_eq!(killed.code(), Some(128 + libc::SIGKILL), "{prison:?}");
    }
}

#[test]
fn a_containers_signals_reach_its_command() {
    let Some(container) = Container::new() else {
        return;
    };
    for prison in PRISONS {
        let mut running = container.run(prison, &["python3", "-E", "-c", LISTENER]);
        assert_eq!(running.line(), "ready", "{prison:?}");
        for (name, number) in [("HUP", 1), ("USR1", 10), ("WINCH", 28), ("INT", 2)] {
            container.podman(&["kill", "--signal", name]);
            assert!(
                running.line().starts_with(&format!("{number} ")),
                "{prison:?}"
            );
        }
        // SIGTERM, and SIGKILL for one that takes too long
        let begin = Instant::now();
        container.podman(&["stop", "-t", "60"]);
        assert!(
            begin.elapsed() < Duration::from_secs(60),
            "it had to be killed"
        );
        assert!(running.line().starts_with("15 "), "{prison:?}");
        assert_eq!(running.end().code(), Some(7), "{prison:?}");
    }
}
