//! A gRPC client of another make: grpcio, with a codec written from the wire format (`client.py`). Needs a python3 that
//! has grpcio (Debian: python3-grpcio).

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{ChildStdout, Command, Stdio};

use serde_json::Value;

use super::{Running, skipped};

/// A python3 with grpcio; without one the test is left out, where that is allowed.
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

/// A script for [`python`] that makes and removes pods as the kubelet does (CRI); it says with which arguments.
pub const CRI: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cri.py");

/// See the module.
#[derive(Debug)]
pub struct Client {
    process: Running,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Client {
    /// Starts it; `client.py` says with which arguments.
    #[must_use]
    pub fn start(python: &str, args: &[&str]) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/src/client.py");
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

    /// The next line that it says.
    pub fn line(&mut self) -> String {
        self.lines.next().expect("the client says more").unwrap()
    }

    /// Waits until it is connected.
    pub fn ready(&mut self) {
        assert_eq!(self.line(), "ready");
    }

    /// Tells it something.
    pub fn tell(&mut self, word: &str) {
        writeln!(self.process.0.stdin.as_mut().unwrap(), "{word}").unwrap();
    }

    /// Everything that it says until its end.
    pub fn rest(&mut self) -> Vec<Value> {
        let lines = self.lines.by_ref();
        lines
            .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
            .collect()
    }
}
