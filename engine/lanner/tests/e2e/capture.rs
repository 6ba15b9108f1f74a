//! An alert of a rule with `capture: true` has a file, which begins before the alert.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use test_support::wait_until;

use crate::lanner::{BIN, run, stderr, usable};

/// How long before the alert the file begins. The stage waits that long, so it is short.
const BEFORE: &str = "2s";

const RULE: &str = "- rule: marked file
  desc: d
  condition: evt.type in (open, openat, openat2) and fd.name endswith /capture-marker
  output: a marker
  priority: NOTICE
  capture: true
  capture_duration: 500
";

/// Opens a file each time a line comes, and the marker at the end.
const COMMAND: &str =
    "while read line; do cat before > /dev/null; done; cat capture-marker > /dev/null; sleep 1";

struct Stage {
    folder: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["before", "capture-marker"] {
            fs::write(folder.path().join(name), "x").expect("written");
        }
        fs::write(folder.path().join("rules.yaml"), RULE).expect("written");
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn start(&self, driver: &str, format: &str, more: &[&str]) -> Child {
        let mut command = Command::new(BIN);
        command
            .current_dir(self.folder.path())
            .args(["run", "--json", "-d", driver, "-r", "rules.yaml"])
            .args([
                "-o",
                &format!(
                    "capture.path_prefix={}/files/alert",
                    self.folder.path().display()
                ),
            ])
            .args(["-o", &format!("capture.capture_before={BEFORE}")])
            .args(["-o", &format!("capture.format={format}")])
            .args(["-o", "capture.memory=4M"]);
        for option in more {
            command.args(["-o", option]);
        }
        command
            .args(["--output", "alerts.json", "--", "sh", "-c", COMMAND])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("lanner can be started")
    }

    fn alerts(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path("alerts.json")).unwrap_or_default();
        text.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }
}

/// Gives lines to the command, over more than the time before the alert, and ends.
fn feed(child: &mut Child) {
    use std::io::Write;
    let mut input = child.stdin.take().expect("a pipe");
    // the time is what is tested: events of more than two seconds
    for _ in 0..12 {
        input.write_all(b"line\n").expect("written");
        std::thread::sleep(Duration::from_millis(300));
    }
}

/// Replays a file. Gives time, type, descriptor and program of each event.
fn replayed(file: &Path, folder: &Path) -> Vec<[String; 4]> {
    let rules = folder.join("each.yaml");
    let rule = "- rule: each\n  desc: d\n  condition: evt.num > 0\n  \
                output: \"|begin|%evt.rawtime|%evt.type|%fd.name|%proc.name\"\n  priority: NOTICE\n";
    fs::write(&rules, rule).expect("written");
    let output = run([
        Path::new("run"),
        Path::new("--replay"),
        file,
        Path::new("-r"),
        &rules,
    ]);
    assert!(output.status.success(), "{}", stderr(&output));
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| {
            let fields = line.split_once("|begin|")?.1.split('|');
            fields
                .map(str::to_owned)
                .collect::<Vec<String>>()
                .try_into()
                .ok()
        })
        .collect()
}

fn has_a_file(driver: &str, format: &str) {
    let stage = Stage::new();
    let mut child = stage.start(driver, format, &[]);
    feed(&mut child);
    let output = child.wait_with_output().expect("lanner ends");
    let log = stderr(&output);
    let alerts = stage.alerts();
    let [alert] = alerts.as_slice() else {
        panic!("{driver}: {alerts:?}\n{log}");
    };
    let name = alert["output_fields"]["capture.file"].as_str();
    let name = name.unwrap_or_else(|| panic!("{driver}: {alert}\n{log}"));
    let file = stage.path("files").join(name);
    let events = replayed(&file, stage.folder.path());
    let time = |[time, ..]: &[String; 4]| time.parse::<u64>().expect("a time");
    let is_marker = |event: &&[String; 4]| event[2].ends_with("/capture-marker");
    let marker = events.iter().find(is_marker).map(time);
    let marker = marker.unwrap_or_else(|| panic!("{driver}: {events:?}\n{log}"));
    let first = events.first().map_or(marker, time);
    assert!(
        first + 2_000_000_000 <= marker,
        "{driver}: the file begins {} ms before the alert\n{log}",
        (marker - first) / 1_000_000
    );
    // the state of then: programs that started before the file did
    let unnamed = events.iter().find(|[.., program]| program == "<NA>");
    assert_eq!(unnamed, None, "{driver}");
}

#[test]
fn a_file_begins_before_the_alert_on_every_driver() {
    for driver in usable() {
        for format in ["scap", "lanner"] {
            has_a_file(driver, format);
        }
    }
}

#[test]
fn no_alert_has_a_file_if_the_configuration_says_so() {
    let stage = Stage::new();
    let mut child = stage.start("ptrace", "scap", &["capture.enabled=false"]);
    drop(child.stdin.take());
    wait_until("the alert", || !stage.alerts().is_empty());
    drop(child.wait_with_output());
    assert!(
        stage.alerts()[0]["output_fields"]
            .get("capture.file")
            .is_none()
    );
    assert!(!stage.path("files").exists());
}
