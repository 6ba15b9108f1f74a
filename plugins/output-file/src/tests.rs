//! Against real files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use lanner_plugin::testing::{self, Alert};

use super::*;

fn open(path: &Path, more: &str) -> Output {
    let settings = format!("{{\"filename\":{path:?}{more}}}");
    let settings = serde_json::from_str(&settings).unwrap();
    Output::open(testing::host(), settings).unwrap()
}

fn emit(output: &mut Output, messages: &[&str]) -> Delivery {
    let alerts: Vec<Alert> = messages.iter().map(|text| Alert::new("r", text)).collect();
    testing::emit(output, &alerts)
}

/// The last word of each line.
fn words(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let last = |line: &str| line.rsplit(' ').next().unwrap().to_owned();
    text.lines().map(last).collect()
}

#[test]
fn lines_are_appended_to_a_file_that_others_cannot_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("alerts");
    let mut output = open(&path, "");
    assert_eq!(emit(&mut output, &["one", "two"]), Delivery::Delivered);
    assert_eq!(words(&path), ["one", "two"]);
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let mut json = open(&path, ",\"json\":true,\"sync\":true");
    assert_eq!(emit(&mut json, &["three"]), Delivery::Delivered);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.lines().nth(2).unwrap().starts_with("{\"hostname\":"));
}

#[test]
fn a_file_that_was_moved_is_written_until_it_is_opened_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (path, moved) = (folder.path().join("alerts"), folder.path().join("moved"));
    let mut output = open(&path, "");
    fs::rename(&path, &moved).unwrap();
    emit(&mut output, &["one"]);
    output.reopen().unwrap();
    emit(&mut output, &["two"]);
    assert_eq!(
        (words(&moved), words(&path)),
        (vec!["one".to_owned()], vec!["two".to_owned()])
    );

    let mut output = open(&path, ",\"keep_alive\":false");
    fs::rename(&path, &moved).unwrap();
    emit(&mut output, &["three"]);
    assert_eq!(words(&path), ["three"]);
}

#[test]
fn a_full_file_is_rotated_and_no_line_is_lost_or_torn() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("alerts");
    let mut output = open(&path, ",\"max_size_mb\":1,\"keep\":2");
    // 40 lines of 100,000 bytes: ten to a file
    let numbers: Vec<String> = (0..40)
        .map(|n| format!("{}{n:02}", "x".repeat(99_961)))
        .collect();
    let messages: Vec<&str> = numbers.iter().map(String::as_str).collect();
    assert_eq!(emit(&mut output, &messages[..25]), Delivery::Delivered);
    for message in &messages[25..] {
        assert_eq!(emit(&mut output, &[message]), Delivery::Delivered);
    }
    let ends = |name: &str| -> Vec<String> {
        let words = words(&folder.path().join(name));
        words
            .iter()
            .map(|word| word[word.len() - 2..].to_owned())
            .collect()
    };
    let range = |from: u32, to: u32| (from..to).map(|n| format!("{n:02}")).collect::<Vec<_>>();
    assert_eq!(ends("alerts.2"), range(10, 20));
    assert_eq!(ends("alerts.1"), range(20, 30));
    assert_eq!(ends("alerts"), range(30, 40));
    assert!(!folder.path().join("alerts.3").exists());
    for name in ["alerts", "alerts.1", "alerts.2"] {
        assert!(fs::metadata(folder.path().join(name)).unwrap().len() <= 1 << 20);
    }
}

#[test]
fn what_cannot_be_written_is_offered_again() {
    // /dev/full: every write fails as on a full disk (full(4))
    let mut output = open(Path::new("/dev/full"), "");
    let answer = emit(&mut output, &["one"]);
    assert!(
        matches!(&answer, Delivery::TryAgain { delivered: 0, reason } if reason.contains("No space")),
        "{answer:?}"
    );
}

#[test]
fn mistakes_are_known_at_once() {
    let settings = |text: &str| serde_json::from_str::<Settings>(text);
    for (text, expected) in [
        (
            r#"{"filename":"/nonexistent/alerts"}"#,
            "/nonexistent/alerts: No such file",
        ),
        (r#"{"filename":"/tmp/x","mode":"rw"}"#, "`mode`"),
        (r#"{"filename":"/tmp/x","keep":0}"#, "`keep`"),
    ] {
        let error = Output::open(testing::host(), settings(text).unwrap()).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    assert!(settings("{}").unwrap_err().to_string().contains("filename"));
}
