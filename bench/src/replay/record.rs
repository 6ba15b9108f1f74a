//! Records real events: builds, a web server under load, a shell at work, and whatever else the host does meanwhile.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::workshop::{Affinity, Load, Workshop, look_up};
use crate::{Error, Result, say};

/// Requests of the web server's client in one round.
const REQUESTS: u32 = 1500;
/// The most rounds. If they do not suffice, something is wrong.
const ROUNDS: usize = 40;

/// What a shell does.
const SHELL: &str = r#"
for i in 1 2 3 4 5 6 7 8 9 10; do
	ls -l /usr/bin | sort -k5 -n | tail -n 3
	find /usr/include /usr/lib/python3 -name '*.h' 2>/dev/null | head -n 500 | xargs cat | wc -l
	grep -rl define /usr/include/linux 2>/dev/null | wc -l
	tar -C /usr/include -cf - linux 2>/dev/null | gzip -1 | wc -c
	for f in /etc/*.conf; do sed -e 's/#.*//' "$f" | tr a-z A-Z | cut -c1-9 | uniq -c; done
	date; id; hostname; uname -a; ps ax
done >/dev/null
"#;

/// Fetches the same page again and again.
const CLIENT: &str = r#"
import http.client, sys
for i in range(int(sys.argv[2])):
    c = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]))
    c.request("GET", "/page")
    c.getresponse().read()
    c.close()
"#;

/// A program that ends when this is dropped.
struct Running(Child);

impl Running {
    fn ask(&self, signal: Signal) {
        let _ = kill(Pid::from_raw(self.0.id().cast_signed()), signal);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.ask(Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

/// Records until there are at least `wanted` events. Returns their number.
pub(crate) fn record(lanner: &Path, file: &Path, wanted: u64, workshop: &Workshop) -> Result<u64> {
    let mut child = Command::new(lanner)
        .args(["record", "--driver", "ebpf-core", "--buffer", "64M", "-o"])
        .arg(file)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(Error::failed("start lanner record"))?;
    let stderr = child.stderr.take();
    let recorder = Running(child);
    let mut said = BufReader::new(stderr.ok_or("lanner has no standard error")?);
    let mut line = String::new();
    said.read_line(&mut line)
        .map_err(Error::failed("read from lanner record"))?;
    if !line.contains("driver") {
        let _ = said.read_to_string(&mut line);
        return Err(Error::unexpected(format!("lanner record: {}", line.trim())));
    }
    let mut position = 0;
    let mut events = 0;
    for round in 1..=ROUNDS {
        say(&format!(
            "recording, round {round}: {events} events of {wanted}"
        ));
        for _ in 0..2 {
            if workshop.has(Load::Build) {
                workshop.run(Load::Build, 1, Affinity::Anywhere, &[])?;
            }
        }
        shell()?;
        serve()?;
        events += count(file, &mut position)?;
        if events >= wanted {
            break;
        }
    }
    recorder.ask(Signal::SIGTERM);
    let mut rest = String::new();
    let _ = said.read_to_string(&mut rest);
    drop(recorder);
    for line in rest.lines() {
        say(line);
    }
    events += count(file, &mut position)?;
    if events < wanted {
        return Err(Error::unexpected(format!(
            "only {events} events were recorded"
        )));
    }
    Ok(events)
}

fn shell() -> Result<()> {
    let status = Command::new("sh")
        .args(["-c", SHELL])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .map_err(Error::failed("run sh"))?;
    Error::check("the shell", status)
}

/// Runs Python's web server and a client. Without python nothing is served.
fn serve() -> Result<()> {
    let Some(python) = look_up("python3") else {
        return Ok(());
    };
    let folder = tempfile::tempdir().map_err(Error::failed("make a folder"))?;
    fs::write(folder.path().join("page"), [b'x'; 4096]).map_err(Error::failed("write a page"))?;
    let port = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .map_err(Error::failed("find a port"))?
        .port()
        .to_string();
    let child = Command::new(&python)
        .args([
            "-u",
            "-m",
            "http.server",
            "--bind",
            "127.0.0.1",
            port.as_str(),
        ])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut server = Running(child.map_err(Error::failed("start python3"))?);
    let mut line = String::new();
    if let Some(stdout) = server.0.stdout.take() {
        // it prints a line when it listens
        let _ = BufReader::new(stdout).read_line(&mut line);
    }
    let status = Command::new(&python)
        .args(["-c", CLIENT, &port, &REQUESTS.to_string()])
        .stdin(Stdio::null())
        .status()
        .map_err(Error::failed("run python3"))?;
    Error::check("the web server's client", status)
}

/// Counts the complete events of a recording from `position` on, and moves it to their end.
fn count(path: &Path, position: &mut u64) -> Result<u64> {
    /// Bytes before the first event.
    const HEAD: u64 = 24;
    let failed = |error: std::io::Error| Error::failed(format!("read {}", path.display()))(error);
    *position = (*position).max(HEAD);
    let mut file = File::open(path).map_err(failed)?;
    let end = file.metadata().map_err(failed)?.len();
    file.seek(SeekFrom::Start(*position)).map_err(failed)?;
    let mut file = BufReader::with_capacity(1 << 20, file);
    let mut events = 0;
    loop {
        let mut length = [0; 4];
        if *position + 4 > end || file.read_exact(&mut length).is_err() {
            return Ok(events);
        }
        let length = u32::from_ne_bytes(length);
        if length < 4 || *position + u64::from(length) > end {
            return Ok(events);
        }
        file.seek_relative(i64::from(length) - 4).map_err(failed)?;
        *position += u64::from(length);
        events += 1;
    }
}
