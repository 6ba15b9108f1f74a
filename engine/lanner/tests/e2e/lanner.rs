//! Runs the binary and reads what it prints.

use std::ffi::OsStr;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// The binary under test.
pub(crate) const BIN: &str = env!("CARGO_BIN_EXE_lanner");

/// Whether tests run as root.
pub(crate) fn root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// The drivers that can run for this user; the others are named.
pub(crate) fn usable() -> Vec<&'static str> {
    let output = run(["drivers", "--json"]);
    let answer: Value = serde_json::from_slice(&output.stdout).expect("drivers --json prints JSON");
    drivers::registered()
        .into_iter()
        .map(|driver| driver.name())
        .filter(|name| {
            let row = answer["drivers"]
                .as_array()
                .and_then(|rows| rows.iter().find(|r| r["name"] == **name));
            let usable = row.is_some_and(|row| row["usable"] == true);
            if !usable {
                eprintln!(
                    "skipped: driver {name} cannot run here: {}",
                    row.map(|r| r["gaps"].to_string()).unwrap_or_default()
                );
                assert!(
                    !(root() && std::env::var_os("LANNER_NO_SKIP").is_some()),
                    "driver {name} was skipped"
                );
            }
            usable
        })
        .collect()
}

/// Says that a part was left out; where nothing may be, that is a failure.
pub(crate) fn skipped(what: &str) {
    eprintln!("skipped: {what}");
    assert!(
        std::env::var_os("LANNER_NO_SKIP").is_none(),
        "{what} was skipped"
    );
}

/// Runs lanner to its end.
pub(crate) fn run<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Output {
    Command::new(BIN)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .expect("lanner can be started")
}

/// Standard error as text.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The events that `lanner trace --json` prints for a command.
pub(crate) fn trace(driver: &str, events: &str, command: &[&str]) -> Vec<Value> {
    let mut args = vec!["trace", "--driver", driver, "--json", "-e", events, "--"];
    args.extend(command);
    let output = run(&args);
    let lines: Vec<Value> = output
        .stdout
        .split(|b| *b == b'\n')
        .filter(|line| line.first() == Some(&b'{'))
        .filter_map(|line| serde_json::from_slice(line).ok())
        .filter(|event: &Value| event.get("pid").is_some() || event["type"] == "lost")
        .collect();
    assert!(
        !lines.is_empty(),
        "driver {driver} printed no event: {}",
        stderr(&output)
    );
    assert!(
        !lines.iter().any(|e| e["type"] == "lost"),
        "driver {driver} lost events: {}",
        stderr(&output)
    );
    lines
}
