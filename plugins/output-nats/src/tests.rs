//! Against nats-server with JetStream.

use std::time::{Duration, Instant};

use lanner_plugin::testing::{self, Alert};
use peers::NatsServer;
use serde_json::{Value, json};

use super::*;

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
    let settings = serde_json::from_value(settings).unwrap();
    (Output::open(host, settings).unwrap(), heard)
}

fn alerts(range: std::ops::Range<u32>) -> Vec<Alert> {
    range
        .map(|number| Alert::new("A rule", &format!("number {number}")))
        .collect()
}

/// Emits until all is delivered.
fn deliver(output: &mut Output, mut alerts: &[Alert]) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match testing::emit(output, alerts) {
            Delivery::Delivered => return,
            Delivery::TryAgain { delivered, reason } => {
                alerts = &alerts[delivered..];
                assert!(Instant::now() < deadline, "not within a minute: {reason}");
                std::thread::sleep(Duration::from_millis(20));
            }
            Delivery::GiveUp { reason, .. } => panic!("{reason}"),
        }
    }
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
    // as after an acknowledgement that was lost
    deliver(&mut output, &alerts(290..310));
    assert_eq!(heard.metric("duplicates_total"), Some(10.0));
    let messages = server.messages();
    assert_eq!(numbers(&messages), (0..310).collect::<Vec<_>>());
    assert_eq!(messages[0].0, "lanner.alerts.tester.Warning");
    assert_eq!(messages[0].1["rule"], "A rule");
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
    server.again();
    deliver(&mut output, &alerts(50..100));
    let messages = server.messages();
    let mut got = numbers(&messages);
    // what was sent while the server was away may come before what was offered again
    got.sort_unstable();
    assert_eq!(got, (0..100).collect::<Vec<_>>());
    assert_eq!(messages[99].0, "A_rule.syscall");
}

#[test]
fn a_wrong_password_and_a_missing_stream_are_told() {
    let Some(server) = NatsServer::start(&["--user", "me", "--pass", "secret"]) else {
        return;
    };
    let (mut right, _) = open(&server, &json!({"user": "me", "password": "secret"}));
    deliver(&mut right, &alerts(0..1));
    let (mut wrong, _) = open(&server, &json!({"user": "me", "password": "wrong"}));
    let answer = testing::emit(&mut wrong, &alerts(0..1));
    assert!(
        matches!(&answer, Delivery::TryAgain { delivered: 0, reason } if reason.contains("authorization")),
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
        (json!({"subject": "alerts.>"}), "`subject`"),
        (json!({"subject": "alerts.{rule}x"}), "`subject`"),
        (json!({"user": "me"}), "`password`"),
        (
            json!({"ca_cert": "/nonexistent"}),
            "/nonexistent: No such file",
        ),
    ] {
        let settings = serde_json::from_value(settings).unwrap();
        let error = Output::open(testing::host(), settings)
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
    }
}
