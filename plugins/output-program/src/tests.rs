//! Against real programs.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lanner_plugin::testing::{self, Alert};

use super::*;

fn open(program: &str, more: &str) -> Output {
    let settings = format!("{{\"program\":{program:?}{more}}}");
    let settings = serde_json::from_str(&settings).unwrap();
    Output::open(testing::host(), settings).unwrap()
}

fn emit(output: &mut Output, messages: &[&str]) -> Delivery {
    let alerts: Vec<Alert> = messages.iter().map(|text| Alert::new("r", text)).collect();
    testing::emit(output, &alerts)
}

fn words(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let last = |line: &str| line.rsplit(' ').next().unwrap().to_owned();
    text.lines().map(last).collect()
}

fn wait_for(mut what: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !what() {
        assert!(
            Instant::now() < deadline,
            "it did not happen within a minute"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
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
    let mut output = open(&program, "");
    assert_eq!(emit(&mut output, &["one", "two"]), Delivery::Delivered);
    assert_eq!(emit(&mut output, &["three"]), Delivery::Delivered);
    assert_eq!(words(&path), ["begin", "one", "two", "begin", "three"]);
    let mut output = open(&program, ",\"single\":true,\"json\":true");
    fs::remove_file(&path).unwrap();
    assert_eq!(emit(&mut output, &["one", "two"]), Delivery::Delivered);
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.matches("begin\n{").count(), 2, "{text}");
}

#[test]
fn a_program_that_fails_gets_the_alerts_again() {
    let (_folder, path) = folder();
    // fails once
    let program = format!(
        "cat >> {0}; [ -e {0}.again ] || {{ touch {0}.again; exit 3; }}",
        path.display()
    );
    let mut output = open(&program, "");
    let answer = emit(&mut output, &["one"]);
    assert!(
        matches!(&answer, Delivery::TryAgain { delivered: 0, reason } if reason.contains("status: 3")),
        "{answer:?}"
    );
    assert_eq!(emit(&mut output, &["one"]), Delivery::Delivered);
    assert!(matches!(
        emit(&mut open("exec /nonexistent", ""), &["one"]),
        Delivery::TryAgain { .. }
    ));
    // one that does not want to read is no failure
    assert_eq!(emit(&mut open("exit 0", ""), &["one"]), Delivery::Delivered);
}

#[test]
fn a_program_that_hangs_is_killed_with_all_that_it_started() {
    let (_folder, path) = folder();
    let program = format!("sleep 1000 & echo $! > {}; wait", path.display());
    let mut output = open(&program, ",\"timeout\":1");
    let answer = emit(&mut output, &["one"]);
    assert!(
        matches!(&answer, Delivery::TryAgain { delivered: 0, reason } if reason.contains("killed")),
        "{answer:?}"
    );
    let sleeper = fs::read_to_string(&path).unwrap();
    // gone, or a zombie that nobody has waited for yet
    wait_for(|| {
        let state = fs::read_to_string(format!("/proc/{}/stat", sleeper.trim()));
        state.map_or(true, |state| state.contains(") Z "))
    });
}

#[test]
fn a_living_program_gets_all_and_is_started_again_when_it_ends() {
    let (_folder, path) = folder();
    // takes three lines, then ends
    let program = format!("head -n 3 >> {}", path.display());
    let mut output = open(&program, ",\"keep_alive\":true");
    assert_eq!(emit(&mut output, &["1"]), Delivery::Delivered);
    assert_eq!(emit(&mut output, &["2", "3"]), Delivery::Delivered);
    wait_for(|| words(&path) == ["1", "2", "3"]);
    wait_for(|| output_ended(&mut output));
    assert_eq!(emit(&mut output, &["4"]), Delivery::Delivered);
    // reopen ends it well, and so what it had is written
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
    let mut output = open(&program, ",\"keep_alive\":true,\"timeout\":1");
    // more than a pipe holds (64 KiB, pipe(7))
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
    let deadline = Instant::now() + Duration::from_secs(60);
    while let Delivery::TryAgain { delivered, .. } = emit(&mut output, &left) {
        left.drain(..delivered);
        assert!(Instant::now() < deadline);
    }
    drop(output);
    let numbers: Vec<String> = (0..200).map(|n| n.to_string()).collect();
    assert_eq!(words(&path), numbers);
}
