//! The stage: the actor, what it reaches for, and a lanner that watches all ways in one run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::table::Mode;

pub(crate) const BIN: &str = env!("CARGO_BIN_EXE_lanner");

/// The actor's exit status where this kernel has no such way, and where the driver does not let it happen.
pub(crate) const CANNOT: i32 = 77;
pub(crate) const REFUSED: i32 = 78;

/// How often a run is repeated in which events were lost.
const RUNS: usize = 3;

fn run(command: &mut Command) -> Output {
    command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// The folder of this suite.
pub(crate) fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bypass")
}

pub(crate) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// What became of one way.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// The actor's exit status.
    pub(crate) status: i32,
    /// The rules that fired.
    pub(crate) fired: BTreeSet<String>,
}

/// By way.
pub(crate) type Outcomes = BTreeMap<String, Outcome>;

/// A folder with the actor, and listeners for it to reach.
pub(crate) struct Stage {
    folder: TempDir,
    _listeners: (TcpListener, UdpSocket, UnixListener),
}

impl Stage {
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("lanner-bypass")
            .tempdir_in("/var/tmp")
            .expect("a folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = tcp.local_addr().expect("bound").port();
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).expect("the same port");
        let unix = UnixListener::bind(folder.path().join("socket")).expect("a socket");
        let stage = Self {
            folder,
            _listeners: (tcp, udp, unix),
        };
        stage.compile(port);
        stage.write_rules(port);
        stage
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn compile(&self, port: u16) {
        let mut actor = Command::new("cc");
        actor.args(["-O1", "-w", "-pthread", "-o"]);
        actor.arg(self.path("actor"));
        actor.arg(format!("-DFOLDER=\"{}\"", self.folder.path().display()));
        actor.arg(format!("-DPORT={port}"));
        for entry in fs::read_dir(sources().join("actor")).expect("the sources are there") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|extension| extension == "c") {
                actor.arg(path);
            }
        }
        let canary = self.path("canary.c");
        fs::write(&canary, "int main(void) { return 0; }\n").expect("written");
        let mut canary_of = Command::new("cc");
        canary_of.args(["-O1", "-static", "-o"]);
        canary_of.arg(self.path("canary")).arg(canary);
        for command in [&mut actor, &mut canary_of] {
            let output = run(command);
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{command:?}: {said}");
        }
    }

    fn write_rules(&self, port: u16) {
        let folder = self.folder.path().display().to_string();
        let rules = fs::read_to_string(sources().join("rules.yaml")).expect("the rules are there");
        let rules = rules
            .replace("FOLDER", &folder)
            .replace("PORT", &port.to_string());
        let marker = format!(
            "\n- rule: marker\n  desc: A way begins or ends.\n  condition: >\n    evt.type in (open, openat) and fd.name \
             startswith {folder}/mark-\n  output: '%fd.name'\n  priority: DEBUG\n"
        );
        fs::write(self.path("rules.yaml"), rules + &marker).expect("written");
    }

    /// Lets the actor go all ways below a lanner of this mode.
    pub(crate) fn play(&self, mode: &Mode, ways: &[&str]) -> Outcomes {
        for _ in 1..RUNS {
            let (outcomes, lost) = self.play_once(mode, ways);
            if !lost {
                return outcomes;
            }
        }
        self.play_once(mode, ways).0
    }

    /// Whether events were lost is the second.
    fn play_once(&self, mode: &Mode, ways: &[&str]) -> (Outcomes, bool) {
        for way in ways.iter().chain(&[""]) {
            // the next run makes the markers anew
            let _ = fs::remove_file(self.path(&format!("mark-{way}")));
        }
        let mut lanner = Command::new(BIN);
        // a group of its own, which ways can send signals to
        lanner.process_group(0);
        lanner.args(["run", "--driver", mode.driver, "--buffer", "32M", "--json"]);
        if let Some(mode) = mode.mode {
            lanner.args(["--ptrace-mode", mode]);
        }
        lanner.args(["-o", "rule_matching=all", "-r"]);
        lanner.arg(workspace().join("rules/lanner_rules.yaml"));
        lanner.arg("-r").arg(self.path("rules.yaml"));
        lanner
            .arg("--")
            .arg(self.path("actor"))
            .arg("play")
            .args(ways);
        let output = run(&mut lanner);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{}: {said}", mode.name);
        let results = fs::read_to_string(self.path("results")).expect("the actor wrote them");
        let mut outcomes: Outcomes = results
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(way, status)| {
                let status = status.parse().expect("a number");
                (
                    way.to_owned(),
                    Outcome {
                        status,
                        ..Outcome::default()
                    },
                )
            })
            .collect();
        assert_eq!(outcomes.len(), ways.len(), "{}: {said}", mode.name);
        attribute(&output.stdout, &mut outcomes);
        (outcomes, said.contains(" lost ("))
    }
}

/// Gives each alert to the way between whose markers it came.
fn attribute(stdout: &[u8], outcomes: &mut Outcomes) {
    let mut alerts: Vec<Value> = String::from_utf8_lossy(stdout)
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    alerts.sort_by(|a, b| a["time"].as_str().cmp(&b["time"].as_str()));
    let mut way = String::new();
    for alert in &alerts {
        let rule = alert["rule"].as_str().unwrap_or_default();
        if rule == "marker" {
            let marker = alert["output"].as_str().unwrap_or_default();
            way = marker.rsplit("mark-").next().unwrap_or_default().to_owned();
        } else if let Some(outcome) = outcomes.get_mut(&way) {
            outcome.fired.insert(rule.to_owned());
        }
    }
}
