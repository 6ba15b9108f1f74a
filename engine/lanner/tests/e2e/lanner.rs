//! Runs the binary and reads what it prints.

use std::ffi::OsStr;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use test_support::usable_drivers;

/// The binary under test.
pub(crate) const BIN: &str = env!("CARGO_BIN_EXE_lanner");

/// The drivers that can run for this user. The others are reported as skipped.
pub(crate) fn usable() -> Vec<&'static str> {
    let drivers: Vec<&str> = (drivers::registered().into_iter())
        .map(|driver| driver.name())
        .collect();
    usable_drivers(BIN, &drivers)
}

/// The options for each driver of [`usable`], and for both modes of a driver that has modes, as far as they are usable.
pub(crate) fn modes() -> Vec<Vec<String>> {
    let output = run(["drivers", "--json"]);
    let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let all = said["drivers"].as_array().expect("drivers");
    let modes_of = |driver: &str| -> Vec<String> {
        let of = all.iter().find(|one| one["name"] == driver);
        let modes = of.and_then(|one| one["modes"].as_array());
        let usable = modes
            .into_iter()
            .flatten()
            .filter(|mode| mode["usable"] == true);
        usable
            .filter_map(|mode| Some(mode["name"].as_str()?.to_owned()))
            .collect()
    };
    let mut options = Vec::new();
    for driver in usable() {
        let plain = vec!["--driver".to_owned(), driver.to_owned()];
        let modes = modes_of(driver);
        if modes.is_empty() {
            options.push(plain.clone());
        }
        options.extend(modes.into_iter().map(|mode| {
            let with = [format!("--{driver}-mode"), mode];
            plain.iter().cloned().chain(with).collect()
        }));
    }
    options
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
