//! `lanner drivers --fix`: each command closes its gap.

use std::process::Command;

use serde_json::Value;
use test_support::{is_root, skipped};

use crate::lanner::{run, stderr};
use crate::unprivileged::{stage, through};

/// A user without capabilities of its own, who may gain those of a file.
const USER: [&str; 3] = ["--reuid=65534", "--regid=65534", "--clear-groups"];

/// The gaps of a driver, as a user sees them.
fn gaps(bin: &std::path::Path, driver: &str) -> Vec<Value> {
    let output = through(&USER, bin, &["drivers", "--json"]);
    let document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let drivers = document["drivers"].as_array().expect("drivers").iter();
    let found = drivers.filter(|one| one["name"] == driver);
    found
        .flat_map(|one| one["gaps"].as_array().expect("gaps").clone())
        .collect()
}

fn loading(gaps: &[Value]) -> Option<&Value> {
    gaps.iter()
        .find(|gap| gap["what"] == "loading BPF programs")
}

#[test]
fn the_commands_close_the_gap() {
    if !is_root() {
        return skipped("giving a file capabilities needs root");
    }
    let (_folder, bin) = stage();
    let before = gaps(&bin, "ebpf-core");
    let Some(gap) = loading(&before) else {
        return skipped("this build has no driver ebpf-core");
    };
    let text = through(&USER, &bin, &["drivers", "--fix"]);
    let text = String::from_utf8_lossy(&text.stdout);
    let command = gap["fix"][0]["commands"][0].as_str().expect("a command");
    let status = Command::new("/bin/sh").args(["-c", command]).status();
    assert!(status.is_ok_and(|status| status.success()), "{command}");
    assert_eq!(loading(&gaps(&bin, "ebpf-core")), None, "{command}");
    // all of the text can be pasted: here, no line of it but setcap(8) changes the host
    let pasted: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("setcap ") || line.starts_with('#') || line.is_empty())
        .collect();
    let status = Command::new("setcap").arg("-r").arg(&bin).status();
    assert!(status.is_ok_and(|status| status.success()));
    let script = pasted.join("\n");
    let status = Command::new("/bin/sh").args(["-ec", &script]).status();
    assert!(status.is_ok_and(|status| status.success()), "{script}");
    for driver in ["ebpf-core", "ebpf-legacy"] {
        assert_eq!(loading(&gaps(&bin, driver)), None, "{driver}: {script}");
    }
}

#[test]
fn who_may_not_watch_the_host_is_told_where_the_commands_are() {
    if !is_root() {
        return skipped("another user needs root");
    }
    let (_folder, bin) = stage();
    let output = through(&USER, &bin, &["trace", "-e", "openat"]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("`lanner drivers --fix`"), "{said}");
}

#[test]
fn what_no_command_closes_is_left_out() {
    let output = run(["drivers", "--fix"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!text.contains("PID namespace"), "{text}");
    let document = run(["drivers", "--fix", "--json"]);
    assert!(serde_json::from_slice::<Value>(&document.stdout).is_ok());
}
