//! What the command line says when it is used well, and when it is not.

use std::fs;
use std::process::Command;

use serde_json::Value;
use test_support::is_root;

use crate::lanner::{BIN, run, stderr, usable};

fn refused(args: &[&str], words: &[&str]) {
    let output = run(args);
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{args:?}: {message}");
    assert!(
        output.stdout.is_empty(),
        "{args:?} printed to standard output"
    );
    for word in words {
        assert!(
            message.contains(word),
            "{args:?}: {word:?} is not in {message:?}"
        );
    }
}

#[test]
fn a_driver_that_does_not_exist_is_refused() {
    refused(
        &["run", "--driver", "nosuch", "--", "true"],
        &["nosuch", "ebpf-core", "ebpf-legacy", "ptrace"],
    );
}

#[test]
fn a_driver_that_cannot_serve_is_refused() {
    refused(
        &["run", "--driver", "ptrace"],
        &["ptrace", "whole host", "-- COMMAND"],
    );
}

#[test]
fn a_bad_rule_file_is_refused_with_its_place() {
    let file = tempfile::Builder::new()
        .suffix(".yaml")
        .tempfile()
        .expect("a file");
    fs::write(file.path(), "- rule: r\n  desc: d\n  condition: evt.type = openat and fd.nam = /x\n  output: o\n  priority: INFO\n").expect("written");
    let path = file.path().to_str().expect("a text");
    let marker = tempfile::tempdir().expect("a folder");
    let mark = marker.path().join("mark");
    refused(
        &[
            "run",
            "--driver",
            "ptrace",
            "-r",
            path,
            "--",
            "touch",
            mark.to_str().expect("a text"),
        ],
        &[path, ":3:", "fd.nam"],
    );
    assert!(!mark.exists(), "the command was run all the same");
}

#[test]
fn a_rule_file_that_is_not_there_is_refused() {
    refused(
        &[
            "run",
            "--driver",
            "ptrace",
            "-r",
            "/nonexistent/rules.yaml",
            "--",
            "true",
        ],
        &["/nonexistent/rules.yaml"],
    );
}

#[test]
fn a_program_that_is_not_there_is_refused() {
    refused(
        &["run", "--driver", "ptrace", "--", "nosuchprogram"],
        &["nosuchprogram"],
    );
}

#[test]
fn a_process_that_is_not_there_is_refused() {
    refused(
        &["trace", "--driver", "ptrace", "-p", "4194000"],
        &["4194000"],
    );
}

#[test]
fn an_unknown_event_is_refused_with_the_nearest() {
    refused(
        &["trace", "-e", "openatt", "--", "true"],
        &["openatt", "openat"],
    );
}

#[test]
fn the_status_of_the_command_becomes_ours() {
    for driver in usable() {
        let status = |script: &str| {
            run([
                "trace", "--driver", driver, "-e", "getpid", "--", "sh", "-c", script,
            ])
            .status
            .code()
        };
        assert_eq!(status("exit 7"), Some(7), "{driver}");
        assert_eq!(status("kill -9 $$"), Some(137), "{driver}");
    }
}

#[test]
fn auto_says_which_driver_it_took_and_why() {
    let output = run(["trace", "-e", "getpid", "--", "true"]);
    let message = stderr(&output);
    let expected = if is_root() {
        "driver ebpf-core"
    } else {
        "driver ptrace, because ebpf-core"
    };
    assert!(message.contains(expected), "{message}");
}

#[test]
fn time_ends_a_session() {
    let output = run([
        "trace",
        "--driver",
        "ptrace",
        "-e",
        "getpid",
        "--duration",
        "300ms",
        "--",
        "sleep",
        "60",
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn the_lists_are_json() {
    let json = |args: [&str; 2]| -> Value {
        let output = run(args);
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        serde_json::from_slice(&output.stdout).expect("JSON")
    };
    let calls = json(["syscalls", "--json"]);
    let openat = calls
        .as_array()
        .expect("a list")
        .iter()
        .find(|c| c["name"] == "openat")
        .expect("openat")
        .clone();
    assert_eq!(openat["numbers"]["x86_64"], 257);
    assert_eq!(openat["params"][1]["name"], "path");
    let fields = json(["fields", "--json"]);
    for name in ["evt.type", "fd.name", "proc.cmdline", "user.uid"] {
        assert!(
            fields
                .as_array()
                .expect("a list")
                .iter()
                .any(|f| f["name"] == name),
            "{name}"
        );
    }
    let plugins = json(["plugins", "--json"]);
    for name in ["rules-falco", "output-console"] {
        assert!(
            plugins
                .as_array()
                .expect("a list")
                .iter()
                .any(|p| p["name"] == name && p["error"].is_null()),
            "{plugins}"
        );
    }
    let drivers = json(["drivers", "--json"]);
    assert_eq!(drivers["drivers"].as_array().map(Vec::len), Some(3));
    let best = usable()[0];
    assert_eq!(drivers["choice"]["command"]["driver"], best, "{drivers}");
    if !is_root() {
        let passed_over = &drivers["choice"]["host"]["passed_over"];
        assert_eq!(passed_over[2]["driver"], "ptrace", "{drivers}");
    }
}

#[test]
fn the_order_of_drivers_can_be_changed() {
    let command = ["-e", "openat", "--", "cat", "/etc/hosts"];
    let took = |output: &std::process::Output, line: &str| {
        assert!(output.status.success(), "{}", stderr(output));
        assert!(
            stderr(output).lines().any(|l| l == line),
            "{}",
            stderr(output)
        );
    };
    let options = ["trace", "--driver-order", "ptrace,ebpf-core"];
    took(
        &run([&options[..], &command].concat()),
        "lanner: driver ptrace",
    );
    let drivers = run(["drivers", "--json", "--driver-order", "ptrace,ebpf-core"]);
    let drivers: Value = serde_json::from_slice(&drivers.stdout).expect("JSON");
    assert_eq!(drivers["choice"]["command"]["driver"], "ptrace");
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("lanner.yaml");
    fs::write(&config, "driver_order: [ptrace]\n").expect("written");
    let config = config.to_str().expect("a text");
    took(
        &run(["run", "-c", config, "--", "true"]),
        "lanner: driver ptrace",
    );
    refused(
        &["trace", "--driver-order", "ptrace,nosuch", "--", "true"],
        &["nosuch", "ebpf-core", "ptrace"],
    );
    refused(
        &["trace", "--driver-order", "ptrace,ptrace", "--", "true"],
        &["ptrace", "twice"],
    );
}

#[test]
fn events_are_written_as_documented() {
    for driver in usable() {
        let output = run([
            "trace",
            "--driver",
            driver,
            "--json",
            "-e",
            "openat",
            "--",
            "cat",
            "/etc/hosts",
        ]);
        let line = String::from_utf8_lossy(&output.stdout)
            .lines()
            .find(|line| line.contains("\"path\":\"/etc/hosts\""))
            .map(str::to_owned)
            .unwrap_or_else(|| panic!("{driver}: {}", stderr(&output)));
        let event: Value = serde_json::from_str(&line).expect("JSON");
        let params = serde_json::json!({"dirfd": -100, "path": "/etc/hosts", "flags": "O_RDONLY", "mode": 0});
        assert_eq!(event["params"], params, "{driver}");
        assert_eq!(event["facts"]["path"], "/etc/hosts", "{driver}");
        assert_eq!(
            (
                &event["type"],
                &event["abi"],
                &event["comm"],
                &event["error"]
            ),
            (
                &Value::from("openat"),
                &Value::from(driver_api::event::Abi::NATIVE.name()),
                &Value::from("cat"),
                &Value::Null,
            )
        );
        assert_eq!(event["pid"], event["tid"]);
        assert!(event["ret"].as_i64().is_some_and(|fd| fd >= 3), "{event}");
        assert!(
            event["ppid"].as_u64() == Some(u64::from(std::process::id())) || event["ppid"].is_u64(),
            "{event}"
        );
    }
}

#[test]
fn a_copy_that_would_lack_its_plugins_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let to = folder.path().join("lanner");
    refused(
        &["copy", to.to_str().expect("a text")],
        &["built-in plugins"],
    );
    assert!(!to.exists(), "the file was written all the same");
}

#[test]
fn alerts_have_the_name_of_the_host_that_the_environment_gives() {
    let rules =
        "- rule: r\n  desc: d\n  condition: evt.type = execve\n  output: o\n  priority: INFO\n";
    let file = tempfile::NamedTempFile::with_suffix(".yaml").expect("a file");
    fs::write(file.path(), rules).expect("written");
    let mut lanner = Command::new(BIN);
    lanner.args(["run", "--driver", "ptrace", "--json", "-r"]);
    lanner.arg(file.path()).args(["--", "true"]);
    let output = lanner.env("LANNER_HOSTNAME", "node-1").output();
    let output = output.expect("lanner can be started");
    let line = String::from_utf8_lossy(&output.stdout);
    let line = line.lines().next().expect("an alert");
    let alert: Value = serde_json::from_str(line).expect("JSON");
    assert_eq!(alert["hostname"], "node-1");
}
