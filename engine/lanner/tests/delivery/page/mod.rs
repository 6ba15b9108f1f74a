//! The web page of a running lanner: what the server answers, and what a browser makes of it.

mod browser;
mod pictures;
mod server;
mod webdriver;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use test_support::wait_for;

use crate::session::{Folder, Lanner};

/// Makes each file of a list once, and numbered files until `stop` is there.
const MAKER: &str = "
import os, sys, time
folder, stop, names = sys.argv[1], sys.argv[2], sys.argv[3:]
number = 0
while not os.path.exists(stop):
    name = names[number] if number < len(names) else f'{number:06}'
    path = os.path.join(folder, name)
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
    os.unlink(path)
    number += 1
    time.sleep(0.02 if number < len(names) + 5 else 0.5)
";

/// A lanner with a page.
pub(crate) struct Served {
    pub(crate) folder: Folder,
    pub(crate) lanner: Lanner,
    /// `127.0.0.1:PORT`
    pub(crate) address: String,
    pub(crate) token: String,
}

impl Served {
    /// With these rules, and a program that makes these files in `watched`.
    pub(crate) fn start(driver: &str, folder: Folder, rules: &Path, names: &[&str]) -> Self {
        config(&folder, rules, "");
        let lanner = maker(driver, &folder, names);
        let (address, token) = invited(&lanner);
        Self {
            folder,
            lanner,
            address,
            token,
        }
    }

    /// Ends lanner and the program, and starts both again: same address, same token, another run.
    pub(crate) fn restart(self, rules: &Path, names: &[&str]) -> Self {
        let Self {
            folder,
            lanner,
            address,
            token,
        } = self;
        folder.stop();
        lanner.end();
        fs::remove_file(folder.path("stop")).expect("the file is there");
        let port = address.rsplit(':').next().expect("a port");
        folder.put(
            "lanner.yaml",
            &format!(
                "rules_files: [{}]\nwebserver: {{enabled: true, listen_port: {port}, page: {{enabled: true, token: {token}}}}}\n",
                rules.display()
            ),
        );
        let lanner = wait_for("the port is free", || {
            let lanner = maker("ptrace", &folder, names);
            let said = wait_for("lanner says how it went", || {
                let lines = lanner.err.lock().expect("lines").join("\n");
                (lines.contains("page: http://") || lines.contains("cannot listen"))
                    .then_some(lines)
            });
            if said.contains("page: http://") {
                return Some(lanner);
            }
            lanner.end();
            None
        });
        Self {
            folder,
            lanner,
            address,
            token,
        }
    }

    /// The page, with its token.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/#token={}", self.address, self.token)
    }

    pub(crate) fn end(self) {
        self.folder.stop();
        self.lanner.end();
    }
}

/// A lanner with the configuration of a folder, and a program that makes these files in `watched`.
fn maker(driver: &str, folder: &Folder, names: &[&str]) -> Lanner {
    let paths = ["lanner.yaml", "watched", "stop"].map(|name| folder.path(name));
    let [config, watched, stop] = paths.each_ref().map(|path| path.to_str().expect("a text"));
    let options = ["--driver", driver, "-c", config];
    let command = ["--", "python3", "-c", MAKER, watched, stop];
    Lanner::start(&[&options, &command[..], names].concat())
}

/// A configuration with a page at a port that is free.
pub(crate) fn config(folder: &Folder, rules: &Path, more: &str) -> PathBuf {
    folder.put(
        "lanner.yaml",
        &format!(
            "rules_files: [{}]\nwebserver: {{enabled: true, listen_port: 0, page: {{enabled: true}}}}\n{more}",
            rules.display()
        ),
    )
}

/// The address and the token that lanner prints.
pub(crate) fn invited(lanner: &Lanner) -> (String, String) {
    wait_for(
        &format!("lanner says where the page is: {:?}", lanner.err),
        || {
            let lines = lanner.err.lock().expect("lines");
            let line = lines
                .iter()
                .find_map(|line| line.split_once("page: http://"));
            let (address, token) = line?.1.split_once("/#token=")?;
            Some((address.to_owned(), token.to_owned()))
        },
    )
}

/// Sends one request; the answer's status, head and body.
pub(crate) fn ask(address: &str, head: &str, body: &str) -> Option<(u16, String, Vec<u8>)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .ok()?;
    let length = body.len();
    write!(stream, "{head}Content-Length: {length}\r\n\r\n{body}").ok()?;
    let (mut bytes, mut part) = (Vec::new(), [0; 4096]);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|part| part == b"\r\n\r\n") {
            break end;
        }
        match stream.read(&mut part).ok()? {
            0 => return None,
            got => bytes.extend_from_slice(&part[..got]),
        }
    };
    let head = text(&bytes[..end]).to_ascii_lowercase();
    let mut body = bytes.split_off(end + 4);
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length?.trim().parse().ok()?;
    while body.len() < length {
        match stream.read(&mut part).ok()? {
            0 => return None,
            got => body.extend_from_slice(&part[..got]),
        }
    }
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, head, body))
}

/// A question to the page of this lanner.
pub(crate) fn facts(served: &Served, path: &str) -> Option<Value> {
    let (address, token) = (&served.address, &served.token);
    let head =
        format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n");
    let (status, _, body) = ask(address, &head, "")?;
    (status == 200).then(|| serde_json::from_slice(&body).ok())?
}

/// Where pictures of the documentation are.
pub(crate) fn images() -> PathBuf {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/images");
    fs::create_dir_all(&docs).expect("a folder");
    docs
}
