//! Python's HTTP server, with and without TLS, which records each request. It needs python3.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::Running;

/// A running server; see the module.
#[derive(Debug)]
pub struct Receiver {
    process: Running,
    /// Its port at localhost.
    pub port: u16,
    folder: tempfile::TempDir,
    tls: Vec<PathBuf>,
}

impl Receiver {
    /// Starts a server that answers with these statuses (`200,500`), and then with 200. The first lines of
    /// `receiver.py` list what else can be among them. `tls` is empty, or has the files of its certificate and key, and
    /// perhaps of the authority that must have signed its clients' certificates.
    #[must_use]
    pub fn start(statuses: &str, tls: &[PathBuf]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (process, port) = run(folder.path(), statuses, 0, tls);
        Self {
            process,
            port,
            folder,
            tls: tls.to_vec(),
        }
    }

    /// Kills the server, whatever it is doing.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts the server again, with the same port.
    pub fn restart(&mut self) {
        (self.process, self.port) = run(self.folder.path(), "", self.port, &self.tls);
    }

    /// The requests that it received: `connection` (a number), `path`, `headers`, `body` and the `status` of its answer.
    #[must_use]
    pub fn notes(&self) -> Vec<Value> {
        let notes = fs::read_to_string(self.folder.path().join("notes")).unwrap_or_default();
        // The last line can still be incomplete.
        let whole = notes.rfind('\n').map_or("", |end| &notes[..end]);
        let notes = whole.lines().map(serde_json::from_str);
        notes.collect::<Result<_, _>>().unwrap()
    }

    /// All alerts that it received, in order.
    #[must_use]
    pub fn alerts(&self) -> Vec<Value> {
        self.notes().iter().flat_map(alerts).collect()
    }
}

fn run(folder: &Path, statuses: &str, port: u16, tls: &[PathBuf]) -> (Running, u16) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/receiver.py");
    let mut process = Command::new("python3")
        .args(["-B", script])
        .arg(folder.join("notes"))
        .args([statuses, &port.to_string()])
        .args(tls)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let printed = process.stdout.take().unwrap();
    let process = Running(process);
    let mut port = String::new();
    BufReader::new(printed).read_line(&mut port).unwrap();
    (process, port.trim().parse().unwrap())
}

/// The alerts of a request: one JSON object, an array of them, or one on each line.
fn alerts(note: &Value) -> Vec<Value> {
    let body = note["body"].as_str().unwrap();
    match serde_json::from_str(body) {
        Ok(Value::Array(alerts)) => alerts,
        Ok(alert) => vec![alert],
        Err(_) => body
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect(),
    }
}

/// The last word of each alert's text in a request.
///
/// # Panics
///
/// An alert has no text.
#[must_use]
pub fn words(note: &Value) -> Vec<String> {
    let word = |alert: &Value| {
        let text = alert["output"].as_str().unwrap();
        text.rsplit(' ').next().unwrap().to_owned()
    };
    alerts(note).iter().map(word).collect()
}
