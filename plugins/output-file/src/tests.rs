//! Against real files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use lanner_plugin::testing::{self, emit_messages as emit};
use serde_json::{Value, json};
use test_support::last_words;

use super::*;

/// Opens an output that writes to `path`. `more` has further settings.
fn open(path: &Path, more: Value) -> Output {
    let mut settings = more;
    settings["filename"] = json!(path);
    testing::open(&settings).unwrap()
}

/// The last word of each line of a file.
fn words(path: &Path) -> Vec<String> {
    last_words(&fs::read_to_string(path).unwrap())
}

#[test]
fn lines_are_appended_to_a_file_that_others_cannot_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("alerts");
    let mut output = open(&path, json!({}));
    assert_eq!(emit(&mut output, &["one", "two"]), Delivery::Delivered);
    assert_eq!(words(&path), ["one", "two"]);
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let mut json = open(&path, json!({"json": true, "sync": true}));
    assert_eq!(emit(&mut json, &["three"]), Delivery::Delivered);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.lines().nth(2).unwrap().starts_with("{\"hostname\":"));
}

#[test]
fn a_file_that_was_moved_is_written_until_it_is_opened_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (path, moved) = (folder.path().join("alerts"), folder.path().join("moved"));
    let mut output = open(&path, json!({}));
    fs::rename(&path, &moved).unwrap();
    emit(&mut output, &["one"]);
    output.reopen().unwrap();
    emit(&mut output, &["two"]);
    assert_eq!(
        (words(&moved), words(&path)),
        (vec!["one".to_owned()], vec!["two".to_owned()])
    );

    let mut output = open(&path, json!({"keep_alive": false}));
    fs::rename(&path, &moved).unwrap();
    emit(&mut output, &["three"]);
    assert_eq!(words(&path), ["three"]);
}

#[test]
fn a_full_file_is_rotated_and_no_line_is_lost_or_torn() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("alerts");
    let mut output = open(&path, json!({"max_size_mb": 1, "keep": 2}));
    // 40 lines of 100,000 bytes; ten fit into a file
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
    // Every write to /dev/full fails as on a full disk (full(4)).
    let mut output = open(Path::new("/dev/full"), json!({}));
    let answer = emit(&mut output, &["one"]);
    assert!(
        matches!(&answer, Delivery::TryAgain { delivered: 0, reason } if reason.contains("No space")),
        "{answer:?}"
    );
}

#[test]
fn mistakes_are_known_at_once() {
    for (settings, expected) in [
        (
            json!({"filename": "/nonexistent/alerts"}),
            "/nonexistent/alerts: No such file",
        ),
        (json!({"filename": "/tmp/x", "mode": "rw"}), "`mode`"),
        (json!({"filename": "/tmp/x", "keep": 0}), "`keep`"),
        (json!({}), "filename"),
    ] {
        let error = testing::refusal::<Output>(&settings).unwrap();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn the_page_describes_the_settings() {
    let schema = schemars::schema_for!(Settings);
    test_support::assert_documented("output-file", schema.as_value());
}

#[test]
fn a_disk_that_is_full_or_read_only_at_the_start_is_waited_for() {
    use std::process::Command;
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path();
    let mount = |options: &str| {
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", options, "lanner-test"])
            .arg(disk);
        mount.status().is_ok_and(|status| status.success())
    };
    // one inode is the folder's: no file can be made
    for (bad, good) in [
        ("size=1m,nr_inodes=1", "remount,nr_inodes=9"),
        ("size=1m,ro", "remount,rw"),
    ] {
        if !mount(bad) {
            test_support::skipped("a full disk takes a mount, and so root");
            return;
        }
        let path = disk.join("alerts");
        let settings: Settings = serde_json::from_value(json!({"filename": &path})).unwrap();
        let checked = Output::check(&settings).map_err(|error| error.to_string());
        let warnings = Output::warnings(&settings);
        let mut output = open(&path, json!({}));
        let while_bad = emit(&mut output, &["one"]);
        let mended = mount(good);
        let after = emit(&mut output, &["one"]);
        let written = fs::read_to_string(&path).unwrap_or_default();
        drop(output);
        assert!(
            Command::new("umount")
                .arg(disk)
                .status()
                .is_ok_and(|status| status.success())
        );
        assert!(mended, "{good}");
        assert_eq!(checked, Ok(()), "{bad}");
        assert_eq!(warnings.is_empty(), !bad.contains("ro"), "{warnings:?}");
        assert!(matches!(while_bad, Delivery::TryAgain { .. }), "{bad}");
        assert_eq!(after, Delivery::Delivered, "{bad}");
        assert_eq!(last_words(&written), ["one"]);
    }
}
