//! Against systemd-journald itself, in a mount namespace with a /run of its own.

use lanner_plugin::OwnedValue;
use lanner_plugin::testing::{self, Alert};
use serde_json::{Value, json};
use test_support::peers::Journald;
use test_support::{wait_for, wait_until};

use super::*;

fn open(daemon: &Journald, mut settings: Value) -> Output {
    settings["socket"] = json!(daemon.socket());
    testing::open(&settings).unwrap()
}

/// Emits alerts until they are delivered, then waits until the journal has `entries` entries of lanner in all.
fn deliver(daemon: &Journald, output: &mut Output, alerts: &[Alert], entries: usize) -> Vec<Value> {
    wait_until("delivery", || {
        testing::emit(output, alerts) == Delivery::Delivered
    });
    wait_for("the journal's entries", || {
        let got = daemon.entries("lanner");
        (got.len() >= entries).then_some(got)
    })
}

#[test]
fn an_entry_has_the_rule_and_the_fields() {
    let Some(daemon) = Journald::start() else {
        return;
    };
    let mut output = open(&daemon, json!({}));
    let mut alert = Alert::new("A \"rule\" = x", "two\nlines");
    alert.fields = [
        (
            "proc.name",
            OwnedValue::String(b"cat\nMESSAGE=forged".to_vec()),
        ),
        ("proc.aname[2]", OwnedValue::String(b"sh".to_vec())),
        ("fd.num", OwnedValue::I64(3)),
        ("fd.name", OwnedValue::None),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec();
    let got = deliver(&daemon, &mut output, &[alert], 1);
    let entry = &got[0];
    assert_eq!(entry["LANNER_RULE"], "A \"rule\" = x");
    assert_eq!(entry["PRIORITY"], "4");
    assert_eq!(entry["LANNER_PRIORITY"], "Warning");
    assert_eq!(entry["LANNER_SOURCE"], "syscall");
    assert_eq!(entry["LANNER_TAG"], "t1");
    assert_eq!(entry["LANNER_PROC_NAME"], "cat\nMESSAGE=forged");
    assert_eq!(entry["LANNER_PROC_ANAME_2"], "sh");
    assert_eq!(entry["LANNER_FD_NUM"], "3");
    assert_eq!(entry["LANNER_FD_NAME"], Value::Null);
    let message = entry["MESSAGE"].as_str().unwrap();
    assert!(message.ends_with("Warning two\nlines"), "{message}");
}

#[test]
fn an_entry_that_no_datagram_can_carry_arrives_whole() {
    let Some(daemon) = Journald::start() else {
        return;
    };
    let mut output = open(&daemon, json!({"fields": false}));
    let long = "x".repeat(600_000);
    let got = deliver(&daemon, &mut output, &[Alert::new("r", &long)], 1);
    let message = got[0]["MESSAGE"].as_str().unwrap();
    assert!(message.ends_with(&long), "{} bytes", message.len());
}

#[test]
fn alerts_wait_for_a_journal_that_is_not_there() {
    let Some(mut daemon) = Journald::start() else {
        return;
    };
    let mut output = open(&daemon, json!({"json": true, "app_name": "lanner"}));
    deliver(&daemon, &mut output, &[Alert::new("r", "one")], 1);
    daemon.kill();
    wait_until("the output to notice", || {
        matches!(
            testing::emit(&mut output, &[Alert::new("r", "two")]),
            Delivery::TryAgain { delivered: 0, .. }
        )
    });
    daemon.restart();
    let got = deliver(&daemon, &mut output, &[Alert::new("r", "three")], 2);
    let message = got.last().unwrap()["MESSAGE"].as_str().unwrap();
    let message: Value = serde_json::from_str(message).unwrap();
    assert_eq!(message["rule"], "r");
}

#[test]
fn the_reason_names_the_socket() {
    let mut output: Output = testing::open(&json!({"socket": "/nonexistent/socket"})).unwrap();
    let Delivery::TryAgain { reason, .. } = testing::emit(&mut output, &[Alert::new("r", "one")])
    else {
        panic!("it was delivered");
    };
    assert!(
        reason.starts_with("/nonexistent/socket: cannot connect; is systemd-journald running?"),
        "{reason}"
    );
}

#[test]
fn the_page_describes_the_settings() {
    let schema = schemars::schema_for!(Settings);
    test_support::assert_documented("output-journald", schema.as_value());
}
