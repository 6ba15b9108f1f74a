//! A running `lanner`, its files, and what it says.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use test_support::wait_until;

use crate::stage::library;

pub(crate) const BIN: &str = env!("CARGO_BIN_EXE_lanner");

/// Drivers that can be had here: ptrace always, core as root.
pub(crate) fn drivers() -> Vec<&'static str> {
    if nix::unistd::geteuid().is_root() {
        vec!["ptrace", "ebpf-core"]
    } else {
        vec!["ptrace"]
    }
}

/// A folder with a configuration and rules.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("watched")).expect("a folder");
        Self(folder)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Replaces a file as editors do: another one takes its name.
    pub(crate) fn put(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        let new = self.path("new~");
        fs::write(&new, text).expect("a file");
        fs::rename(&new, &path).expect("it takes the name");
        path
    }

    /// A rule that sees every file that is made in `watched`, and says its own name; another call may be wanted.
    pub(crate) fn rule(&self, name: &str, more: &str) -> PathBuf {
        let watched = self.path("watched");
        self.put(
            "rules.yaml",
            &format!(
                "- rule: {name}\n  desc: d\n  condition: evt.type in (openat, open{more}) and \
                 fd.name startswith {}/ and evt.arg.flags contains O_CREAT\n  output: {name} %fd.name\n  \
                 priority: NOTICE\n",
                watched.display()
            ),
        )
    }
}

impl Folder {
    /// A session with a configuration, of a program that makes numbered files in `watched`, `pause` seconds apart, until
    /// [`Folder::stop`].
    pub(crate) fn lanner(&self, driver: &str, config: &Path, pause: &str) -> Lanner {
        let options = ["-c", config.to_str().expect("a text")];
        let places = (&*self.path("watched"), &*self.path("stop"));
        Lanner::of_maker(driver, &options, places, pause)
    }

    /// As [`Folder::lanner`], of a lanner with a web server at a socket, which it returns once the server answers. `more`
    /// are further settings of the server.
    pub(crate) fn lanner_with_web(&self, rules: &Path, more: &str) -> (Lanner, PathBuf) {
        let socket = self.path("web");
        let config = self.put(
            "lanner.yaml",
            &format!(
                "rules_files: [{}]\nwebserver: {{enabled: true, unix_socket: {}{more}}}\n",
                rules.display(),
                socket.display(),
            ),
        );
        let lanner = self.lanner("ptrace", &config, "0.01");
        wait_until(&format!("it answers {:?}", lanner.err), || {
            get(&socket, "/healthz").is_some()
        });
        (lanner, socket)
    }

    /// Ends the program that makes files.
    pub(crate) fn stop(&self) {
        fs::write(self.path("stop"), "").expect("a file");
    }
}

/// A session.
pub(crate) struct Lanner {
    pub(crate) child: Child,
    pub(crate) out: Arc<Mutex<Vec<String>>>,
    pub(crate) err: Arc<Mutex<Vec<String>>>,
    readers: Vec<JoinHandle<()>>,
}

impl Lanner {
    pub(crate) fn start(args: &[&str]) -> Self {
        let beside = Path::new(BIN)
            .parent()
            .expect("a folder")
            .display()
            .to_string();
        let gate = library().parent().expect("a folder").display().to_string();
        let mut child = Command::new(BIN)
            .args(["run", "-v", "--plugin-dir", &beside, "--plugin-dir", &gate])
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("lanner starts");
        let (out, err) = (Arc::default(), Arc::default());
        let readers = vec![
            read(child.stdout.take().expect("a pipe"), Arc::clone(&out)),
            read(child.stderr.take().expect("a pipe"), Arc::clone(&err)),
        ];
        Self {
            child,
            out,
            err,
            readers,
        }
    }

    /// Of a program that makes numbered files in `watched` until `stop` is there, `pause` seconds apart.
    pub(crate) fn of_maker(
        driver: &str,
        options: &[&str],
        (watched, stop): (&Path, &Path),
        pause: &str,
    ) -> Self {
        let (watched, stop) = (
            watched.to_str().expect("a text"),
            stop.to_str().expect("a text"),
        );
        let command = ["--", "python3", "-c", MAKER, watched, stop, pause];
        Self::start(&[&["--driver", driver], options, &command].concat())
    }

    pub(crate) fn said(&self, word: &str) -> usize {
        let err = self.err.lock().expect("lines");
        err.iter().filter(|line| line.contains(word)).count()
    }

    pub(crate) fn alerts(&self, word: &str) -> usize {
        let out = self.out.lock().expect("lines");
        out.iter().filter(|line| line.contains(word)).count()
    }

    pub(crate) fn wait_for(&self, word: &str) {
        wait_until(&format!("lanner says {word:?}: {:?}", self.err), || {
            self.said(word) > 0
        });
    }

    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(self.child.id().cast_signed());
        nix::sys::signal::kill(pid, signal).expect("a signal");
    }

    /// Waits for its end; what it printed.
    pub(crate) fn end(self) -> (Vec<String>, Vec<String>) {
        let (out, err, _) = self.end_with_status();
        (out, err)
    }

    /// Waits for its end; what it printed, and its status.
    pub(crate) fn end_with_status(mut self) -> (Vec<String>, Vec<String>, ExitStatus) {
        let status = self.child.wait().expect("it ends");
        for reader in self.readers.drain(..) {
            reader.join().expect("all is read");
        }
        let take = |lines: &Mutex<Vec<String>>| lines.lock().expect("lines").clone();
        (take(&self.out), take(&self.err), status)
    }
}

fn read(from: impl Read + Send + 'static, into: Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            into.lock().expect("lines").push(line);
        }
    })
}

/// One request to a Unix socket; status line and body.
pub(crate) fn get(socket: &Path, path: &str) -> Option<(String, String)> {
    let mut stream = UnixStream::connect(socket).ok()?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.lines().next()?.to_owned(), body.to_owned()))
}

/// Makes numbered files until `stop` is there. What it prints is one write: alerts go into the same pipe.
pub(crate) const MAKER: &str = "
import os, sys, time
folder, stop, pause = sys.argv[1], sys.argv[2], float(sys.argv[3])
number = 0
while not (number % 64 == 0 and os.path.exists(stop)):
    name = f'{folder}/{number:09}'
    os.close(os.open(name, os.O_CREAT | os.O_WRONLY))
    os.unlink(name)
    number += 1
    if pause: time.sleep(pause)
os.write(1, f'made {number}\\n'.encode())
";
