//! A gRPC client that shares no code with ours: grpcio, with a codec written from the wire format (`peers/client.py`).
//! It needs a python3 with grpcio: the system's (Debian: python3-grpcio), which is old, or the current one of the Python
//! package index. Falco's own client (`peers/falcos_client.py`) comes from there, too.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

use super::Running;
use crate::skipped;

/// A python3 with grpcio.
#[derive(Debug, Clone)]
pub struct Python {
    program: &'static str,
    /// A folder with further modules, which come before those of the system.
    modules: Option<PathBuf>,
}

impl Python {
    /// A command that starts it.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(self.program);
        command.env("GRPC_VERBOSITY", "NONE").arg("-B");
        if let Some(modules) = &self.modules {
            command.env("PYTHONPATH", modules);
        }
        command
    }

    /// The program, without the modules.
    #[must_use]
    pub fn program(&self) -> &'static str {
        self.program
    }

    fn has(&self, modules: &str) -> bool {
        let tried = self
            .command()
            .args(["-c", &format!("import {modules}")])
            .stderr(Stdio::null())
            .status();
        tried.is_ok_and(|status| status.success())
    }
}

/// The places of python3, best first. `tools/peers` uses the same.
const PYTHONS: [&str; 2] = ["/usr/bin/python3", "python3"];

/// Finds a python3 with the system's grpcio. Reports the test as skipped if there is none.
#[must_use]
pub fn python() -> Option<&'static Python> {
    static FOUND: OnceLock<Option<Python>> = OnceLock::new();
    let found = FOUND.get_or_init(|| find(None, "grpc"));
    if found.is_none() {
        skipped("there is no python3 with grpcio");
    }
    found.as_ref()
}

/// Finds a python3 with the current grpcio and Falco's client package, both from the Python package index, which
/// `tools/peers` installs. Reports the test as skipped if they are missing.
#[must_use]
pub fn current_python() -> Option<&'static Python> {
    static FOUND: OnceLock<Option<Python>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/peers/python");
        let there = modules.join("falco").exists();
        find(Some(&modules), "grpc, falco").filter(|_| there)
    });
    if found.is_none() {
        skipped("grpcio and falco are not in target/peers/python; tools/peers installs them");
    }
    found.as_ref()
}

fn find(modules: Option<&Path>, needed: &str) -> Option<Python> {
    let pythons = PYTHONS.map(|program| Python {
        program,
        modules: modules.map(Path::to_owned),
    });
    pythons.into_iter().find(|python| python.has(needed))
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
    pub fn start(python: &Python, args: &[&str]) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/client.py");
        Self::start_script(python, script, args)
    }

    /// Starts Falco's own client. `falcos_client.py` lists the arguments in its first lines.
    #[must_use]
    pub fn start_falcos(python: &Python, args: &[&str]) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/falcos_client.py");
        Self::start_script(python, script, args)
    }

    fn start_script(python: &Python, script: &str, args: &[&str]) -> Self {
        let mut process = python
            .command()
            .arg(script)
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
