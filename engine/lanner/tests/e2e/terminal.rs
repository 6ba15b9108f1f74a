//! A user at a terminal (`terminal.py`): job control, keys that make signals, and who has the terminal, with
//! lanner and without.

use std::path::Path;
use std::process::Command;

use crate::lanner::{BIN, usable};

fn play(scene: &str, prefix: &[&str]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/terminal.py");
    let output = Command::new("python3")
        .arg("-E")
        .arg(script)
        .arg(scene)
        .args(prefix)
        .output()
        .expect("python3 can be started");
    assert!(
        output.status.success(),
        "{scene} through {prefix:?}: {}: {}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

fn everywhere(scene: &str) {
    play(scene, &["env"]);
    for driver in usable() {
        play(scene, &[BIN, "run", "-d", driver, "--"]);
    }
}

#[test]
fn a_shell_under_lanner_has_job_control() {
    everywhere("shell");
}

#[test]
fn lanner_is_a_job_like_its_command() {
    everywhere("job");
}
