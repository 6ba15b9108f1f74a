//! `lanner run` with rules on this host: how soon it sees an event, and how much memory it uses.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{Error, Result};

/// How long an alert may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The measurements.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Live {
    /// The time from its start to the alert of the first event that it saw, in nanoseconds.
    pub(crate) first_event_ns: f64,
    /// Private memory, without the rings that it shares with the kernel, in bytes.
    pub(crate) own: u64,
    /// All its resident memory, in bytes.
    pub(crate) resident: u64,
}

/// Runs lanner with these rules and one more, which matches an event every millisecond.
pub(crate) fn run(lanner: &Path, driver: &str, rules: &Path) -> Result<Live> {
    let folder = tempfile::tempdir().map_err(Error::failed("make a folder"))?;
    let marker = folder.path().join("marker");
    let rule = folder.path().join("marker.yaml");
    let text = format!(
        "- rule: marker\n  desc: an event of the benchmark's\n  \
         condition: evt.type in (open, openat) and fd.name = {}\n  output: seen\n  priority: INFO\n",
        marker.display()
    );
    fs::write(&rule, text).map_err(Error::failed("write a rule"))?;
    let begin = Instant::now();
    let mut child = Command::new(lanner)
        .args(["run", "--driver", driver, "-r"])
        .arg(&rule)
        .arg("-r")
        .arg(rules)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(Error::failed("start lanner"))?;
    let seen = wait(&mut child, &marker, begin);
    let memory = memory(child.id());
    let _ = child.kill();
    let mut said = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        let _ = stderr.read_to_string(&mut said);
    }
    let _ = child.wait();
    let seen = seen.ok_or_else(|| format!("lanner saw nothing: {}", said.trim()))?;
    let (own, resident) = memory.ok_or("lanner's memory cannot be read from /proc")?;
    Ok(Live {
        first_event_ns: seen.as_nanos() as f64,
        own,
        resident,
    })
}

/// Makes events until one has raised an alert. Returns the time of the alert.
fn wait(child: &mut Child, marker: &Path, begin: Instant) -> Option<Duration> {
    let stdout: ChildStdout = child.stdout.take()?;
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout)
            .lines()
            .map_while(std::result::Result::ok)
        {
            if line.contains("seen") {
                let _ = sender.send(begin.elapsed());
                return;
            }
        }
    });
    while begin.elapsed() < PATIENCE && matches!(child.try_wait(), Ok(None)) {
        let _ = File::create(marker);
        if let Ok(seen) = receiver.recv_timeout(Duration::from_millis(1)) {
            return Some(seen);
        }
    }
    None
}

/// `RssAnon` and `VmRSS` of proc_pid_status(5), in bytes.
fn memory(pid: u32) -> Option<(u64, u64)> {
    let status = proc_pid::Status::of(pid).ok()?;
    Some((status.memory("RssAnon")?, status.memory("VmRSS")?))
}
