//! The service: its notifications to the manager, and its unit.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use test_support::PATIENCE;

use crate::session::{BIN, Folder, MAKER};

/// What a manager hears.
struct Manager(UnixDatagram);

impl Manager {
    fn hear(&self, word: &str) -> String {
        let mut buffer = [0; 4096];
        loop {
            let len = self.0.recv(&mut buffer).expect("a message in time");
            let text = String::from_utf8_lossy(&buffer[..len]).into_owned();
            if text.lines().any(|line| line.starts_with(word)) {
                return text;
            }
        }
    }
}

#[test]
fn the_service_manager_is_told() {
    let folder = Folder::new();
    let rules = folder.rule("A", "");
    let (watched, stop) = (folder.path("watched"), folder.path("stop"));
    let socket = folder.path("notify");
    let manager = Manager(UnixDatagram::bind(&socket).expect("a socket"));
    manager
        .0
        .set_read_timeout(Some(PATIENCE))
        .expect("a patience");
    let mut maker = Command::new("python3")
        .args(["-c", MAKER])
        .args([&watched, &stop])
        .arg("0.01")
        .stdout(Stdio::null())
        .spawn()
        .expect("python3");
    let beside = Path::new(BIN).parent().expect("a folder");
    let mut lanner = Command::new(BIN)
        .args([
            "run",
            "--driver",
            "ptrace",
            "-p",
            &maker.id().to_string(),
            "--plugin-dir",
        ])
        .arg(beside)
        .arg("-r")
        .arg(&rules)
        .env("NOTIFY_SOCKET", &socket)
        .env(
            "WATCHDOG_USEC",
            Duration::from_millis(300).as_micros().to_string(),
        )
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("lanner starts");
    let signal = |signal| {
        kill(
            nix::unistd::Pid::from_raw(lanner.id().cast_signed()),
            signal,
        )
        .expect("a signal");
    };
    manager.hear("READY=1");
    for _ in 0..3 {
        manager.hear("WATCHDOG=1");
    }
    signal(Signal::SIGHUP);
    let reloading = manager.hear("RELOADING=1");
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    manager.hear("READY=1");
    signal(Signal::SIGTERM);
    manager.hear("STOPPING=1");
    lanner.wait().expect("it ends");
    fs::write(&stop, "").expect("a file");
    maker.wait().expect("it ends");
}

#[test]
fn the_unit_is_sound_and_narrow() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/lanner.service");
    let text = fs::read_to_string(unit).expect("the unit");
    let folder = tempfile::tempdir().expect("a folder");
    let copy = folder.path().join("lanner.service");
    // the program is looked for
    fs::write(&copy, text.replace("/usr/bin/lanner", BIN)).expect("a copy");
    let analyze = |args: &[&str]| {
        Command::new("systemd-analyze")
            .args(args)
            .arg(&copy)
            .output()
    };
    let Ok(verified) = analyze(&["verify"]) else {
        test_support::skipped("systemd-analyze is not installed");
        return;
    };
    let said = String::from_utf8_lossy(&verified.stderr);
    assert!(
        verified.status.success() && !said.contains("lanner.service:"),
        "{said}"
    );
    // in tenths: 2.3, which capabilities, the network and /proc make up
    let narrow = analyze(&["security", "--offline=true", "--threshold=30"]).expect("it runs");
    assert!(
        narrow.status.success(),
        "{}{}",
        String::from_utf8_lossy(&narrow.stdout),
        String::from_utf8_lossy(&narrow.stderr)
    );
}
