//! Alerts from every driver, as text and as Falco's JSON object.

use std::fs;
use std::process::Output;

use serde_json::Value;

use crate::lanner::{run, stderr, usable};

const RULES: &str = r#"
- list: secrets
  items: [/etc/shadow, /etc/gshadow]
- macro: reads
  condition: (evt.type in (open, openat, openat2) and evt.is_open_read = true)
- rule: Secret read
  desc: Somebody reads a secret file.
  condition: reads and fd.name in (secrets) and proc.name = cat
  output: Secret read (file=%fd.name proc=%proc.name parent=%proc.pname cmd=%proc.cmdline uid=%user.uid time=%evt.time)
  priority: WARNING
  tags: [filesystem, T1003.008]
"#;

fn rules() -> tempfile::NamedTempFile {
    let file = tempfile::Builder::new()
        .suffix(".yaml")
        .tempfile()
        .expect("a file");
    fs::write(file.path(), RULES).expect("it can be written");
    file
}

/// What `cat` prints of the file is none of our business.
fn alert_lines(stdout: &[u8], word: &str) -> Vec<String> {
    String::from_utf8_lossy(stdout)
        .lines()
        .filter(|line| line.contains(word))
        .map(str::to_owned)
        .collect()
}

/// Runs a session of `cat /etc/shadow`. Returns the one line with an alert, which has a word.
fn one_alert(driver: &str, options: &[&str], word: &str) -> (Output, String) {
    let rules = rules();
    let path = rules.path().to_str().expect("a text");
    let begin = ["run", "--driver", driver, "-r", path];
    let command = ["--", "cat", "/etc/shadow"];
    let output = run([&begin[..], options, &command].concat());
    let mut lines = alert_lines(&output.stdout, word);
    assert_eq!(
        lines.len(),
        1,
        "{driver}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        stderr(&output)
    );
    (output, lines.remove(0))
}

#[test]
fn text_alerts() {
    for driver in usable() {
        let (output, line) = one_alert(driver, &[], "Warning Secret read");
        let (clock, rest) = line.split_once(": ").expect("HH:MM:SS.nnnnnnnnn: ...");
        assert_eq!(clock.len(), 18, "{line}");
        assert!(
            rest.starts_with("Warning Secret read (file=/etc/shadow proc=cat parent="),
            "{line}"
        );
        assert!(
            rest.contains(" cmd=cat /etc/shadow uid=") && rest.contains(" time="),
            "{line}"
        );
        assert_eq!(
            output.status.code(),
            Some(if test_support::is_root() { 0 } else { 1 })
        );
    }
}

#[test]
fn json_alerts() {
    for driver in usable() {
        let (_, line) = one_alert(driver, &["--json"], "\"rule\":\"Secret read\"");
        let alert: Value = serde_json::from_str(&line).expect("a JSON object");
        let keys: Vec<&String> = alert.as_object().expect("an object").keys().collect();
        assert_eq!(
            keys,
            [
                "hostname",
                "output",
                "output_fields",
                "priority",
                "rule",
                "source",
                "tags",
                "time"
            ]
        );
        assert_eq!(alert["priority"], "Warning");
        assert_eq!(alert["source"], "syscall");
        assert_eq!(
            alert["tags"],
            serde_json::json!(["filesystem", "T1003.008"])
                .as_array()
                .map(|t| {
                    let mut tags = t.clone();
                    tags.sort_by_key(ToString::to_string);
                    Value::Array(tags)
                })
                .expect("tags")
        );
        let fields = &alert["output_fields"];
        assert_eq!(fields["fd.name"], "/etc/shadow");
        assert_eq!(fields["proc.name"], "cat");
        assert_eq!(fields["proc.cmdline"], "cat /etc/shadow");
        assert!(fields["user.uid"].is_u64(), "{fields}");
        assert!(
            fields["evt.time"]
                .as_u64()
                .is_some_and(|t| t > 1_700_000_000_000_000_000),
            "{fields}"
        );
        let time = alert["time"].as_str().expect("a text");
        assert!(time.len() == 30 && time.ends_with('Z'), "{time}");
    }
}

#[test]
fn the_default_rules_notice_a_read_of_shadow() {
    for driver in usable() {
        let output = run(["run", "--driver", driver, "--", "cat", "/etc/shadow"]);
        let lines = alert_lines(&output.stdout, "/etc/shadow");
        assert!(!lines.is_empty(), "{driver}: {}", stderr(&output));
    }
}

#[test]
fn ordinary_work_raises_no_default_alert() {
    for driver in usable() {
        let output = run([
            "run",
            "--driver",
            driver,
            "--",
            "sh",
            "-c",
            "ls / | sort >/dev/null; cat /etc/hosts >/dev/null; id -u >/dev/null",
        ]);
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "",
            "{driver}: {}",
            stderr(&output)
        );
    }
}
