//! Against real programs.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use lanner_plugin::testing::{self, emit_messages as emit};
use serde_json::{Value, json};
use test_support::{PATIENCE, last_words, wait_until};

use super::*;

/// Opens an output for `program`. `more` has further settings.
fn open(program: &str, more: Value) -> Output {
    let mut settings = more;
    settings["program"] = json!(program);
    testing::open(&settings).unwrap()
}

/// The last word of each line of a file, or nothing if it does not exist.
fn words(path: &Path) -> Vec<String> {
    last_words(&fs::read_to_string(path).unwrap_or_default())
}

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("got");
    (folder, path)
}

#[test]
fn a_program_is_started_for_each_batch() {
    let (_folder, path) = folder();
    let program = format!("echo begin >> {0}; cat >> {0}", path.display());
    let mut output = open(&program, json!({}));
    assert_eq!(emit(&mut output, &["one", "two"]), Delivery::Delivered);
    assert_eq!(emit(&mut output, &["three"]), Delivery::Delivered);
    assert_eq!(words(&path), ["begin", "one", "two", "begin", "three"]);
    let mut output = open(&program, json!({"single": true, "json": true}));
    fs::remove_file(&path).unwrap();
    assert_eq!(emit(&mut output, &["one", "two"]), Delivery::Delivered);
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.matches("begin\n{").count(), 2, "{text}");
}

#[test]
fn a_program_that_fails_gets_the_alerts_again() {
    let (_folder, path) = folder();
    // It fails once.
    let program = format!(
        "cat >> {0}; [ -e {0}.again ] || {{ touch {0}.again; exit 3; }}",
        path.display()
    );
    let mut output = open(&program, json!({}));
    let answer = emit(&mut output, &["one"]);
    assert!(
        matches!(&answer, Delivery::TryAgain { delivered: 0, reason } if reason.contains("status: 3")),
        "{answer:?}"
    );
    assert_eq!(emit(&mut output, &["one"]), Delivery::Delivered);
    assert!(matches!(
        emit(&mut open("exec /nonexistent", json!({})), &["one"]),
        Delivery::TryAgain { .. }
    ));
    // A program that does not read its input has not failed.
    assert_eq!(
        emit(&mut open("exit 0", json!({})), &["one"]),
        Delivery::Delivered
    );
}

#[test]
fn a_program_that_hangs_is_killed_with_all_that_it_started() {
    let (_folder, path) = folder();
    let program = format!("sleep 1000 & echo $! > {}; wait", path.display());
    let mut output = open(&program, json!({"timeout": 1}));
    let answer = emit(&mut output, &["one"]);
    assert!(
        matches!(&answer, Delivery::TryAgain { delivered: 0, reason } if reason.contains("killed")),
        "{answer:?}"
    );
    let sleeper = fs::read_to_string(&path).unwrap();
    // It is gone, or a zombie whose parent has not waited for it yet.
    wait_until("the end of all processes", || {
        let state = fs::read_to_string(format!("/proc/{}/stat", sleeper.trim()));
        state.map_or(true, |state| state.contains(") Z "))
    });
}

#[test]
fn a_living_program_gets_all_and_is_started_again_when_it_ends() {
    let (_folder, path) = folder();
    // It takes three lines, then ends.
    let program = format!("head -n 3 >> {}", path.display());
    let mut output = open(&program, json!({"keep_alive": true}));
    assert_eq!(emit(&mut output, &["1"]), Delivery::Delivered);
    assert_eq!(emit(&mut output, &["2", "3"]), Delivery::Delivered);
    wait_until("three lines", || words(&path) == ["1", "2", "3"]);
    wait_until("the end of the program", || output_ended(&mut output));
    assert_eq!(emit(&mut output, &["4"]), Delivery::Delivered);
    // reopen waits until the program ends, so that all that it read is written.
    output.reopen().unwrap();
    assert_eq!(words(&path), ["1", "2", "3", "4"]);
}

fn output_ended(output: &mut Output) -> bool {
    output.child.as_mut().is_some_and(Child::has_ended)
}

#[test]
fn a_living_program_that_does_not_read_delays_and_loses_nothing() {
    let (_folder, path) = folder();
    let gate = path.with_extension("gate");
    let program = format!(
        "while ! [ -e {0} ]; do sleep 0.01; done; cat > {1}",
        gate.display(),
        path.display()
    );
    let mut output = open(&program, json!({"keep_alive": true, "timeout": 1}));
    // More than a pipe holds (64 KiB, pipe(7)).
    let messages: Vec<String> = (0..200)
        .map(|n| format!("{} {n}", "x".repeat(1000)))
        .collect();
    let mut left: Vec<&str> = messages.iter().map(String::as_str).collect();
    match emit(&mut output, &left) {
        Delivery::TryAgain { delivered, reason } => {
            assert!(reason.contains("did not read"), "{reason}");
            assert!((1..200).contains(&delivered), "{delivered}");
            left.drain(..delivered);
        }
        other => panic!("{other:?}"),
    }
    fs::write(&gate, "").unwrap();
    let deadline = Instant::now() + PATIENCE;
    while let Delivery::TryAgain { delivered, .. } = emit(&mut output, &left) {
        left.drain(..delivered);
        assert!(Instant::now() < deadline);
    }
    drop(output);
    let numbers: Vec<String> = (0..200).map(|n| n.to_string()).collect();
    assert_eq!(words(&path), numbers);
}

#[test]
fn the_page_describes_the_settings() {
    let schema = schemars::schema_for!(Settings);
    test_support::assert_documented("output-program", schema.as_value());
}

#[test]
fn programs_that_are_started_for_each_alert_take_about_a_second_of_a_call() {
    let (_folder, path) = folder();
    let program = format!("sleep 0.3; cat >> {}", path.display());
    let mut output = open(&program, json!({"single": true}));
    let messages: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    let messages: Vec<&str> = messages.iter().map(String::as_str).collect();
    let answer = emit(&mut output, &messages);
    let Delivery::GoOn {
        delivered,
        refused: 0,
        ..
    } = answer
    else {
        panic!("{answer:?}");
    };
    assert!((1..10).contains(&delivered), "{delivered}");
    assert_eq!(words(&path), messages[..delivered]);
}
