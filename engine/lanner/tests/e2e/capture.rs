//! An alert of a rule with `capture: true` has a file, which begins before the alert.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use serde_json::Value;
use test_support::wait_until;

use crate::lanner::{BIN, modes, run, stderr};

/// How long before the alert the file begins, in seconds. The stage waits that long, so it is short but for one run.
const SHORT: u64 = 2;
const LONG: u64 = 10;
const SECOND: u64 = 1_000_000_000;

/// The second rule says when events have been seen.
const RULES: &str = "- rule: marked file
  desc: d
  condition: evt.type in (open, openat, openat2) and fd.name endswith /capture-marker
  output: a marker
  priority: NOTICE
  capture: true
  capture_duration: 500
- rule: a line
  desc: d
  condition: evt.type in (open, openat, openat2) and fd.name endswith /before
  output: a line at %evt.rawtime
  priority: NOTICE
";

/// Opens a file each time a line comes, and the marker at the end.
const COMMAND: &str =
    "while read line; do cat before > /dev/null; done; cat capture-marker > /dev/null";

/// The same, with the call that is not needed in front.
const MASKED: &str =
    "kill -0 $$; while read line; do cat before > /dev/null; done; cat capture-marker > /dev/null";

struct Stage {
    folder: tempfile::TempDir,
    before: u64,
}

impl Stage {
    fn new(before: u64) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["before", "capture-marker"] {
            fs::write(folder.path().join(name), "x").expect("written");
        }
        fs::write(folder.path().join("rules.yaml"), RULES).expect("written");
        Self { folder, before }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn start(&self, mode: &[String], format: &str, more: &[&str]) -> Child {
        self.start_with(mode, format, more, COMMAND)
    }

    fn start_with(&self, mode: &[String], format: &str, more: &[&str], script: &str) -> Child {
        let mut command = Command::new(BIN);
        command
            .current_dir(self.folder.path())
            .args(["run", "--json", "-r", "rules.yaml"])
            .args(mode)
            .args([
                "-o",
                &format!(
                    "capture.path_prefix={}/files/alert",
                    self.folder.path().display()
                ),
            ])
            .args(["-o", &format!("capture.capture_before={}s", self.before)])
            .args(["-o", &format!("capture.format={format}")])
            .args(["-o", "capture.memory=64M"]);
        for option in more {
            command.args(["-o", option]);
        }
        command
            .args(["--output", "alerts.json", "--", "sh", "-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("lanner can be started")
    }

    fn alerts(&self, rule: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.path("alerts.json")).unwrap_or_default();
        text.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .filter(|alert: &Value| alert["rule"] == rule)
            .collect()
    }

    /// How long events have been seen.
    fn span_ns(&self) -> u64 {
        let time = |alert: &Value| {
            let value = &alert["output_fields"]["evt.rawtime"];
            let text = value.as_str().and_then(|text| text.parse().ok());
            text.or(value.as_u64()).expect("a time")
        };
        let lines = self.alerts("a line");
        let ends = lines.first().zip(lines.last());
        ends.map_or(0, |(first, last)| time(last).saturating_sub(time(first)))
    }

    /// Gives lines to the command until events have been seen for longer than the time before the alert.
    fn feed(&self, mut input: ChildStdin) {
        wait_until("events of a long enough time", || {
            input.write_all(b"line\n").expect("written");
            self.span_ns() > self.before * SECOND
        });
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

fn has_a_file(mode: &[String], format: &str, before: u64) {
    let driver = mode.join(" ");
    let stage = Stage::new(before);
    let mut child = stage.start(mode, format, &[]);
    stage.feed(child.stdin.take().expect("a pipe"));
    let output = child.wait_with_output().expect("lanner ends");
    let log = stderr(&output);
    let alerts = stage.alerts("marked file");
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
        first + before * SECOND <= marker,
        "{driver}: the file begins {} ms before the alert\n{log}",
        (marker - first) / 1_000_000
    );
    // the state of then: programs that started before the file did
    let unnamed = events.iter().find(|[.., program]| program == "<NA>");
    assert_eq!(unnamed, None, "{driver}");
}

#[test]
fn a_file_begins_before_the_alert_on_every_driver() {
    for mode in modes() {
        for format in ["scap", "lanner"] {
            has_a_file(&mode, format, SHORT);
        }
    }
    has_a_file(&modes()[0], "scap", LONG);
}

#[test]
fn no_alert_has_a_file_if_the_configuration_says_so() {
    let stage = Stage::new(SHORT);
    let mode = ["--driver", "ptrace"].map(str::to_owned);
    let mut child = stage.start(&mode, "scap", &["capture.enabled=false"]);
    drop(child.stdin.take());
    drop(child.wait_with_output());
    let alerts = stage.alerts("marked file");
    assert_eq!(alerts.len(), 1);
    assert!(alerts[0]["output_fields"].get("capture.file").is_none());
    assert!(!stage.path("files").exists());
}

/// A call that neither the rules nor the state need.
const UNNEEDED: &str = "kill";

/// The names of the calls in the file of the one alert, and how often each rule has matched.
fn kept(mode: &[String], selection: &str) -> (Vec<String>, [usize; 2]) {
    let stage = Stage::new(SHORT);
    let selection = format!("capture.capture_selection={selection}");
    let mut child = stage.start_with(mode, "scap", &[&selection], MASKED);
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(b"line\n").expect("written");
    drop(input);
    let log = stderr(&child.wait_with_output().expect("lanner ends"));
    let alerts = stage.alerts("marked file");
    let counts = [alerts.len(), stage.alerts("a line").len()];
    let name = alerts
        .first()
        .map(|alert| &alert["output_fields"]["capture.file"]);
    let name = name
        .and_then(Value::as_str)
        .unwrap_or_else(|| panic!("{mode:?}: {alerts:?}\n{log}"));
    let events = replayed(&stage.path("files").join(name), stage.folder.path());
    (
        events.into_iter().map(|[_, call, ..]| call).collect(),
        counts,
    )
}

#[test]
fn files_have_the_calls_that_the_selection_says_on_every_driver() {
    for mode in modes() {
        let (of_rules, alerts) = kept(&mode, "rules");
        let (all, same) = kept(&mode, "all");
        assert_eq!(alerts, [1, 1], "{mode:?}");
        assert_eq!(
            same, alerts,
            "{mode:?}: rules see what they would see otherwise"
        );
        let has = |events: &[String]| events.iter().any(|call| call == UNNEEDED);
        assert!(!has(&of_rules), "{mode:?}: {of_rules:?}");
        assert!(has(&all), "{mode:?}: {all:?}");
        // of the calls that rules need, those that no rule can match are kept, too
        assert!(
            of_rules.iter().any(|call| call.starts_with("open")),
            "{mode:?}: {of_rules:?}"
        );
    }
}
