//! nats-server with JetStream, and the messages in its stream.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

use async_nats::jetstream;
use async_nats::jetstream::consumer::{AckPolicy, pull};
use serde_json::Value;
use tokio::runtime::Builder;
use tokio_stream::StreamExt;

use super::{Running, daemon};
use crate::wait_for;

/// A running server, and the folder in which it stores messages.
#[derive(Debug)]
pub struct NatsServer {
    process: Running,
    /// Its port at 127.0.0.1.
    pub port: u16,
    folder: tempfile::TempDir,
}

impl NatsServer {
    /// Starts a server with further options. Returns nothing, and reports the test as skipped, if it is not installed.
    #[must_use]
    pub fn start(more: &[&str]) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        // The server chooses a port and writes it to a file.
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

    /// Kills the server, whatever it is doing.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts the server again, with the same port and folder.
    pub fn restart(&mut self) {
        let port = self.port.to_string();
        self.process = run(&port, self.folder.path(), &[]).unwrap();
        wait_for("nats-server listens", || {
            TcpStream::connect(("127.0.0.1", self.port)).ok()
        });
    }

    /// Deletes the stream LANNER.
    pub fn delete_stream(&self) {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let address = format!("nats://127.0.0.1:{}", self.port);
            let context = jetstream::new(async_nats::connect(address).await.unwrap());
            context.delete_stream("LANNER").await.unwrap();
        });
    }

    /// The messages that are in the stream LANNER now, in its order: subject and content.
    #[must_use]
    pub fn messages(&self) -> Vec<(String, Value)> {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let address = format!("nats://127.0.0.1:{}", self.port);
            let context = jetstream::new(async_nats::connect(address).await.unwrap());
            // There is no such stream, or the server is not ready yet.
            let Ok(mut stream) = context.get_stream("LANNER").await else {
                return Vec::new();
            };
            // More messages can arrive while these are read.
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
