//! Against nats-server with JetStream.

use std::ops::Range;

use lanner_plugin::testing::{self, Alert};
use serde_json::{Value, json};
use test_support::peers::NatsServer;
use test_support::wait_until;

use super::*;

/// Opens an output for `server`. `more` has further settings.
fn open(server: &NatsServer, more: &Value) -> (Output, &'static testing::Heard) {
    let mut settings = json!({
        "servers": [format!("nats://127.0.0.1:{}", server.port)],
        "timeout": 2,
    });
    settings
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    let (host, heard) = testing::host_with_ears();
    (testing::open_on(host, &settings).unwrap(), heard)
}

fn alerts(range: Range<u32>) -> Vec<Alert> {
    range
        .map(|number| Alert::new("A rule", &format!("number {number}")))
        .collect()
}

/// Emits alerts until all are delivered.
fn deliver(output: &mut Output, mut alerts: &[Alert]) {
    wait_until("the delivery of all alerts", || {
        match testing::emit(output, alerts) {
            Delivery::Delivered => true,
            Delivery::TryAgain { delivered, .. } => {
                alerts = &alerts[delivered..];
                false
            }
            Delivery::GiveUp { reason, .. } | Delivery::GoOn { reason, .. } => panic!("{reason}"),
        }
    });
}

fn numbers(messages: &[(String, Value)]) -> Vec<u32> {
    let number = |text: &str| text.rsplit(' ').next().unwrap().parse().unwrap();
    messages
        .iter()
        .map(|(_, content)| number(content["output"].as_str().unwrap()))
        .collect()
}

#[test]
fn alerts_are_in_the_stream_once_and_in_order() {
    let Some(server) = NatsServer::start(&[]) else {
        return;
    };
    let (mut output, heard) = open(&server, &json!({}));
    deliver(&mut output, &alerts(0..300));
    // Ten alerts come again, as they do when their acknowledgements are lost.
    deliver(&mut output, &alerts(290..310));
    assert_eq!(heard.metric("duplicates_total"), Some(10.0));
    let messages = server.messages();
    assert_eq!(numbers(&messages), (0..310).collect::<Vec<_>>());
    assert_eq!(messages[0].0, "lanner.alerts.tester.Warning");
    assert_eq!(messages[0].1["rule"], "A rule");
}

#[test]
fn a_stream_that_was_deleted_is_made_again() {
    let Some(server) = NatsServer::start(&[]) else {
        return;
    };
    let (mut output, _) = open(&server, &json!({}));
    deliver(&mut output, &alerts(0..10));
    server.delete_stream();
    deliver(&mut output, &alerts(10..20));
    let messages = server.messages();
    assert_eq!(numbers(&messages), (10..20).collect::<Vec<_>>());
}

#[test]
fn an_alert_that_is_larger_than_the_server_allows_is_refused_alone() {
    let Some(server) = NatsServer::start(&[]) else {
        return;
    };
    let (mut output, _) = open(&server, &json!({}));
    let mut three = alerts(0..3);
    // The server's default is 1 MiB.
    three[1] = Alert::new("A rule", &"x".repeat(1 << 20));
    match testing::emit(&mut output, &three) {
        Delivery::GoOn {
            delivered: 1,
            refused: 1,
            reason,
        } => assert!(!reason.is_empty()),
        other => panic!("{other:?}"),
    }
    deliver(&mut output, &three[2..]);
    assert_eq!(numbers(&server.messages()), [0, 2]);
}

#[test]
fn a_server_that_dies_and_comes_back_has_everything() {
    let Some(mut server) = NatsServer::start(&[]) else {
        return;
    };
    let (mut output, _) = open(&server, &json!({"subject": "{rule}.{source}"}));
    deliver(&mut output, &alerts(0..50));
    server.kill();
    let answer = testing::emit(&mut output, &alerts(50..100));
    assert!(
        matches!(answer, Delivery::TryAgain { delivered: 0, .. }),
        "{answer:?}"
    );
    server.restart();
    deliver(&mut output, &alerts(50..100));
    let messages = server.messages();
    let mut got = numbers(&messages);
    // Alerts that were sent while the server was away can come before those that were offered again.
    got.sort_unstable();
    assert_eq!(got, (0..100).collect::<Vec<_>>());
    assert_eq!(messages[99].0, "A_rule.syscall");
}

#[test]
fn a_wrong_password_and_a_missing_stream_are_reported() {
    let Some(server) = NatsServer::start(&["--user", "me", "--pass", "secret"]) else {
        return;
    };
    let (mut right, _) = open(&server, &json!({"user": "me", "password": "secret"}));
    deliver(&mut right, &alerts(0..1));
    let (mut wrong, _) = open(&server, &json!({"user": "me", "password": "wrong"}));
    let answer = testing::emit(&mut wrong, &alerts(0..1));
    assert!(
        matches!(&answer, Delivery::TryAgain { delivered: 0, reason } if reason.contains("Authorization")),
        "{answer:?}"
    );
    let (mut lost, _) = open(
        &server,
        &json!({
            "user": "me", "password": "secret", "create_stream": false, "subject": "elsewhere",
        }),
    );
    let answer = testing::emit(&mut lost, &alerts(0..1));
    assert!(
        matches!(answer, Delivery::TryAgain { delivered: 0, .. }),
        "{answer:?}"
    );
}

#[test]
fn mistakes_are_known_at_once() {
    for (settings, expected) in [
        (json!({"servers": []}), "`servers`"),
        (json!({"servers": ["nats://:::"]}), "`servers`"),
        (json!({"servers": ["nats://host:0"]}), "`servers`"),
        (json!({"servers": ["ws://host"]}), "`servers`"),
        (json!({"servers": ["nats://me:secret@host"]}), "`servers`"),
        (json!({"servers": ["nats://host:4222/path"]}), "`servers`"),
        (json!({"servers": [""]}), "`servers`"),
        (json!({"subject": "alerts.>"}), "`subject`"),
        (json!({"subject": "alerts.{rule}x"}), "`subject`"),
        (json!({"user": "me"}), "`password`"),
        (
            json!({"ca_cert": "/nonexistent"}),
            "/nonexistent: No such file",
        ),
    ] {
        let error = testing::refusal::<Output>(&settings).unwrap();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn the_page_describes_the_settings() {
    let schema = schemars::schema_for!(Settings);
    test_support::assert_documented("output-nats", schema.as_value());
}
