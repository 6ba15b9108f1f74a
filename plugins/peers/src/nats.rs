//! nats-server with JetStream, and what is in its stream.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

use async_nats::jetstream;
use async_nats::jetstream::consumer::{AckPolicy, pull};
use serde_json::Value;
use tokio::runtime::Builder;
use tokio_stream::StreamExt;

use super::{Running, daemon, wait_for};

/// See the module.
#[derive(Debug)]
pub struct NatsServer {
    process: Running,
    /// Where it listens, at 127.0.0.1.
    pub port: u16,
    folder: tempfile::TempDir,
}

impl NatsServer {
    /// Starts it, with more options perhaps. None: there is none, and the test is left out where that is allowed.
    #[must_use]
    pub fn start(more: &[&str]) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        // the server chooses a port, and writes a file that names it
        let dir = at.display().to_string();
        let more = [&["--ports_file_dir", &dir], more].concat();
        let process = run("-1", at, &more)?;
        let file = at.join(format!("nats-server_{}.ports", process.0.id()));
        let port = wait_for("nats-server's port", || {
            let ports = fs::read_to_string(&file).unwrap_or_default();
            let ports: Value = serde_json::from_str(&ports).unwrap_or_default();
            ports["nats"][0].as_str()?.rsplit(':').next()?.parse().ok()
        });
        Some(Self {
            process,
            port,
            folder,
        })
    }

    /// Ends it, in the middle of whatever it does.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again, at the same port.
    pub fn again(&mut self) {
        let port = self.port.to_string();
        self.process = run(&port, self.folder.path(), &[]).unwrap();
        wait_for("nats-server listens", || {
            TcpStream::connect(("127.0.0.1", self.port)).ok()
        });
    }

    /// What is in the stream LANNER now, in its order: subject and content.
    #[must_use]
    pub fn messages(&self) -> Vec<(String, Value)> {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let address = format!("nats://127.0.0.1:{}", self.port);
            let context = jetstream::new(async_nats::connect(address).await.unwrap());
            // there is none, or the server is not ready to tell
            let Ok(mut stream) = context.get_stream("LANNER").await else {
                return Vec::new();
            };
            // more may come meanwhile
            let held = stream.info().await.unwrap().state.messages;
            let config = pull::Config {
                ack_policy: AckPolicy::None,
                ..pull::Config::default()
            };
            let consumer = stream.create_consumer(config).await.unwrap();
            let mut messages = Vec::new();
            while (messages.len() as u64) < held {
                let mut fetched = consumer
                    .fetch()
                    .max_messages(1000)
                    .messages()
                    .await
                    .unwrap();
                while let Some(message) = fetched.next().await {
                    let message = message.unwrap();
                    let content = serde_json::from_slice(&message.payload).unwrap();
                    messages.push((message.subject.to_string(), content));
                }
            }
            messages
        })
    }
}

fn run(port: &str, folder: &Path, more: &[&str]) -> Option<Running> {
    let process = Command::new(daemon("nats-server")?)
        .args(["-js", "-a", "127.0.0.1", "-p", port, "-sd"])
        .arg(folder)
        .args(more)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    Some(Running(process.unwrap()))
}
