//! Against nats-server with JetStream.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use async_nats::jetstream;
use async_nats::jetstream::consumer::{AckPolicy, pull};
use lanner_plugin::testing::{self, Alert};
use serde_json::{Value, json};
use tokio_stream::StreamExt;

use super::*;

struct Server {
    process: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Server {
    /// None: there is no nats-server, and the test is left out where that is allowed.
    fn start(more: &[&str]) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        // the server chooses a port, and writes a file that names it
        let dir = at.display().to_string();
        let more = [&["--ports_file_dir", &dir], more].concat();
        let process = Self::process("-1", at, &more)?;
        let file = at.join(format!("nats-server_{}.ports", process.id()));
        let deadline = Instant::now() + Duration::from_secs(60);
        let port = loop {
            let ports = fs::read_to_string(&file).unwrap_or_default();
            let ports: Value = serde_json::from_str(&ports).unwrap_or_default();
            if let Some(url) = ports["nats"][0].as_str() {
                break url.rsplit(':').next().unwrap().parse().unwrap();
            }
            assert!(Instant::now() < deadline, "no port within a minute");
            std::thread::sleep(Duration::from_millis(10));
        };
        Some(Self {
            process,
            port,
            folder,
        })
    }

    fn process(port: &str, folder: &Path, more: &[&str]) -> Option<Child> {
        let program = [
            "/usr/sbin/nats-server",
            "/usr/bin/nats-server",
            "/usr/local/bin/nats-server",
        ]
        .into_iter()
        .find(|path| Path::new(path).exists());
        let Some(program) = program else {
            assert!(
                std::env::var_os("LANNER_NO_SKIP").is_none(),
                "skipped: there is no nats-server"
            );
            println!("skipped: there is no nats-server");
            return None;
        };
        let process = Command::new(program)
            .args(["-js", "-a", "127.0.0.1", "-p", port, "-sd"])
            .arg(folder)
            .args(more)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Some(process.unwrap())
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    fn again(&mut self) {
        self.process = Self::process(&self.port.to_string(), self.folder.path(), &[]).unwrap();
    }

    fn open(&self, more: &Value) -> (Output, &'static testing::Heard) {
        let mut settings = json!({
            "servers": [format!("nats://127.0.0.1:{}", self.port)],
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

    /// So many messages of the stream: subject and content.
    fn messages(&self, count: usize) -> Vec<(String, Value)> {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let address = format!("nats://127.0.0.1:{}", self.port);
            let context = jetstream::new(async_nats::connect(address).await.unwrap());
            let stream = context.get_stream("LANNER").await.unwrap();
            let config = pull::Config {
                ack_policy: AckPolicy::None,
                ..pull::Config::default()
            };
            let consumer = stream.create_consumer(config).await.unwrap();
            let mut fetched = consumer
                .fetch()
                .max_messages(count + 1)
                .messages()
                .await
                .unwrap();
            let mut messages = Vec::new();
            while let Some(message) = fetched.next().await {
                let message = message.unwrap();
                let content = serde_json::from_slice(&message.payload).unwrap();
                messages.push((message.subject.to_string(), content));
            }
            assert_eq!(messages.len(), count);
            messages
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
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
    let Some(server) = Server::start(&[]) else {
        return;
    };
    let (mut output, heard) = server.open(&json!({}));
    deliver(&mut output, &alerts(0..300));
    // as after an acknowledgement that was lost
    deliver(&mut output, &alerts(290..310));
    assert_eq!(heard.metric("duplicates_total"), Some(10.0));
    let messages = server.messages(310);
    assert_eq!(numbers(&messages), (0..310).collect::<Vec<_>>());
    assert_eq!(messages[0].0, "lanner.alerts.tester.Warning");
    assert_eq!(messages[0].1["rule"], "A rule");
}

#[test]
fn a_server_that_dies_and_comes_back_has_everything() {
    let Some(mut server) = Server::start(&[]) else {
        return;
    };
    let (mut output, _) = server.open(&json!({"subject": "{rule}.{source}"}));
    deliver(&mut output, &alerts(0..50));
    server.kill();
    let answer = testing::emit(&mut output, &alerts(50..100));
    assert!(
        matches!(answer, Delivery::TryAgain { delivered: 0, .. }),
        "{answer:?}"
    );
    server.again();
    deliver(&mut output, &alerts(50..100));
    let messages = server.messages(100);
    let mut got = numbers(&messages);
    // what was sent while the server was away may come before what was offered again
    got.sort_unstable();
    assert_eq!(got, (0..100).collect::<Vec<_>>());
    assert_eq!(messages[99].0, "A_rule.syscall");
}

#[test]
fn a_wrong_password_and_a_missing_stream_are_told() {
    let Some(server) = Server::start(&["--user", "me", "--pass", "secret"]) else {
        return;
    };
    let (mut right, _) = server.open(&json!({"user": "me", "password": "secret"}));
    deliver(&mut right, &alerts(0..1));
    let (mut wrong, _) = server.open(&json!({"user": "me", "password": "wrong"}));
    let answer = testing::emit(&mut wrong, &alerts(0..1));
    assert!(
        matches!(&answer, Delivery::TryAgain { delivered: 0, reason } if reason.contains("authorization")),
        "{answer:?}"
    );
    let (mut lost, _) = server.open(&json!({
        "user": "me", "password": "secret", "create_stream": false, "subject": "elsewhere",
    }));
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
