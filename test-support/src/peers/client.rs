//! A gRPC client that shares no code with ours: grpcio, with a codec written from the wire format (`peers/client.py`).
//! It needs a python3 with grpcio (Debian: python3-grpcio).

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{ChildStdout, Command, Stdio};

use serde_json::Value;

use super::Running;
use crate::skipped;

/// Finds a python3 with grpcio. Reports the test as skipped if there is none.
#[must_use]
pub fn python() -> Option<&'static str> {
    let found = ["/usr/bin/python3", "python3"].into_iter().find(|python| {
        let tried = Command::new(python)
            .args(["-c", "import grpc"])
            .stderr(Stdio::null())
            .status();
        tried.is_ok_and(|status| status.success())
    });
    if found.is_none() {
        skipped("there is no python3 with grpcio");
    }
    found
}

/// A script for [`python`] that makes and removes pods through CRI, as the kubelet does. Its first lines list its
/// arguments.
pub const CRI: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/cri.py");

/// A running client; see the module.
#[derive(Debug)]
pub struct Client {
    process: Running,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Client {
    /// Starts a client. `client.py` lists the arguments in its first lines.
    #[must_use]
    pub fn start(python: &str, args: &[&str]) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/client.py");
        let mut process = Command::new(python)
            .env("GRPC_VERBOSITY", "NONE")
            .args(["-B", script])
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self {
            process: Running(process),
            lines,
        }
    }

    /// Reads the next line that the client prints.
    pub fn line(&mut self) -> String {
        self.lines
            .next()
            .expect("the client prints one more line")
            .unwrap()
    }

    /// Waits until the client is connected.
    pub fn ready(&mut self) {
        assert_eq!(self.line(), "ready");
    }

    /// Writes a line to the client's standard input.
    pub fn write_line(&mut self, word: &str) {
        writeln!(self.process.0.stdin.as_mut().unwrap(), "{word}").unwrap();
    }

    /// Reads all lines until the client ends, each a JSON value.
    pub fn rest(&mut self) -> Vec<Value> {
        let lines = self.lines.by_ref();
        lines
            .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
            .collect()
    }
}
