//! systemd-journald in namespaces of its own, with an empty /run: it touches nothing of the host's journal.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::{Running, daemon};
use crate::wait_until;

/// A running daemon; see the module.
#[derive(Debug)]
pub struct Journald {
    /// Fields are dropped in this order: the daemon is killed before its folder is removed.
    process: Running,
    program: PathBuf,
    /// What the daemon sees as /run. It outlives the daemon, so that another one finds the journal.
    run: tempfile::TempDir,
}

impl Journald {
    /// Starts the daemon. Returns nothing, and reports the test as skipped, if it is not installed.
    #[must_use]
    pub fn start() -> Option<Self> {
        let program = daemon("systemd-journald")?;
        let run = tempfile::tempdir().unwrap();
        let process = spawn(&program, &run);
        let started = Self {
            process,
            program,
            run,
        };
        started.wait();
        Some(started)
    }

    /// The socket that takes entries.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.run.path().join("systemd/journal/socket")
    }

    /// The entries of one program (`SYSLOG_IDENTIFIER`), as `journalctl -o json` prints them, oldest first.
    #[must_use]
    pub fn entries(&self, program: &str) -> Vec<serde_json::Value> {
        let output = Command::new("journalctl")
            .args(["--quiet", "--all", "--output=json", "-t", program, "-D"])
            .arg(self.run.path().join("log/journal"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The messages of lanner's entries, oldest first.
    #[must_use]
    pub fn messages(&self) -> Vec<String> {
        let message = |entry: &serde_json::Value| entry["MESSAGE"].as_str().map(str::to_owned);
        self.entries("lanner").iter().filter_map(message).collect()
    }

    /// Kills the daemon.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts the daemon again, with the same journal.
    pub fn restart(&mut self) {
        self.process = spawn(&self.program, &self.run);
        self.wait();
    }

    fn wait(&self) {
        wait_until("journald's socket", || {
            let socket = std::os::unix::net::UnixDatagram::unbound().unwrap();
            socket.connect(self.socket()).is_ok()
        });
    }
}

fn spawn(program: &PathBuf, run: &tempfile::TempDir) -> Running {
    for folder in ["systemd/journal", "log/journal"] {
        std::fs::create_dir_all(run.path().join(folder)).unwrap();
    }
    let mut command = Command::new("unshare");
    if !nix::unistd::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    let process = command
        .args([
            "--mount",
            "sh",
            "-c",
            r#"mount --bind "$1" /run && exec "$2""#,
            "sh",
        ])
        .arg(run.path())
        .arg(program)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    Running(process)
}
