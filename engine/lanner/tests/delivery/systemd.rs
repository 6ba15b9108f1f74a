//! The unit under a running systemd: it starts, is narrow, captures, reloads, is restarted when it hangs, and ends. Needs
//! root and systemd; nothing of the machine's own systemd, if it has one, is touched.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use driver_api::host::capability::{BPF, PERFMON, SYS_PTRACE};
use test_support::{skipped, wait_until};

use crate::session::BIN;

/// A systemd, booted by `systemd.sh`.
struct Systemd {
    child: Child,
    /// As this machine counts.
    pid: u32,
    folder: tempfile::TempDir,
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// The children of a process.
fn children(pid: u32) -> Vec<u32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let children = fs::read_to_string(path).unwrap_or_default();
    let numbers = children.split_whitespace();
    numbers.map(|pid| pid.parse().expect("a number")).collect()
}

impl Systemd {
    /// With these units, and these files where they are to be.
    fn boot(units: &[(&str, &str)], files: &[(PathBuf, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("units");
        for (name, text) in units {
            let file = path.join(name);
            fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
            fs::write(file, text).expect("a unit");
        }
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/delivery/systemd.sh");
        let log = fs::File::create(folder.path().join("log")).expect("a file");
        // what it mounts before it has a namespace of its own goes with this one
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", script]);
        command.arg(folder.path());
        for (from, to) in files {
            command.arg(from).arg(to);
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file"))
            .stderr(log)
            .spawn()
            .expect("unshare");
        let mut systemd = Self {
            pid: 0,
            child,
            folder,
        };
        wait_until("systemd is the first process", || {
            assert!(
                systemd.child.try_wait().expect("it is ours").is_none(),
                "{}",
                systemd.log()
            );
            let first = children(systemd.child.id()).first().copied();
            systemd.pid = first.unwrap_or_default();
            let name = fs::read_to_string(format!("/proc/{}/comm", systemd.pid));
            name.is_ok_and(|name| name.trim() == "systemd")
        });
        wait_until("it has started", || {
            let state = text(&systemd.inside(&["systemctl", "is-active", "basic.target"]));
            state.trim() == "active"
        });
        systemd
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn inside(&self, command: &[&str]) -> Output {
        Command::new("nsenter")
            .args(["--target", &self.pid.to_string(), "--mount", "--pid", "--"])
            .args(command)
            .stdin(Stdio::null())
            .output()
            .expect("nsenter")
    }

    fn done(&self, command: &[&str]) -> String {
        let output = self.inside(command);
        let said = text(&output);
        assert!(
            output.status.success(),
            "{command:?}: {said}\n{}\n{}\n{}",
            self.journal(),
            text(&self.inside(&["journalctl", "--no-pager", "-n", "40"])),
            self.log()
        );
        said
    }

    fn journal(&self) -> String {
        text(&self.inside(&["journalctl", "--no-pager", "-o", "cat", "-u", "lanner"]))
    }

    fn property(&self, name: &str) -> String {
        let show = ["systemctl", "show", "--value", "-p", name, "lanner"];
        self.done(&show).trim().to_owned()
    }

    /// Replaces the rules: each new file in /srv is seen.
    fn rules(&self, text: &str) {
        let script = format!("cat > /etc/lanner/rules.yaml <<'END'\n{text}\nEND");
        self.done(&["sh", "-c", &script]);
    }

    /// Makes files until an alert of one is in the journal; new ones, as the capture may have just begun.
    fn sees(&self, alert: &str) {
        let before = self.journal().matches(alert).count();
        let mut number = 0;
        wait_until(&format!("{alert}: {}", self.journal()), || {
            number += 1;
            self.done(&["touch", &format!("/srv/{number}"), "/srv/again"]);
            self.done(&["rm", &format!("/srv/{number}")]);
            self.journal().matches(alert).count() > before
        });
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        // all that is in its namespace ends with it
        let _ = self.child.kill();
        let _ = self.child.wait();
        let gone = |pid: u32| !Path::new(&format!("/proc/{pid}")).exists();
        for _ in 0..1000 {
            if gone(self.pid) {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let name = format!("lanner-test-{}", self.child.id());
        let script =
            "mount -t cgroup2 cgroup2 \"$1\" && find \"$1/$2\" -depth -type d -exec rmdir {} +";
        let _ = Command::new("unshare")
            .args([
                "--mount",
                "--propagation",
                "private",
                "sh",
                "-c",
                script,
                "sh",
            ])
            .arg(self.folder.path().join("cgroup"))
            .arg(name)
            .status();
    }
}

fn rule(name: &str) -> String {
    format!(
        "- rule: {name}\n  desc: d\n  condition: evt.type in (openat, open) and fd.name startswith /srv/ and \
         evt.arg.flags contains O_CREAT\n  output: {name} %fd.name\n  priority: NOTICE\n"
    )
}

#[test]
fn the_unit_runs_under_systemd() {
    if !nix::unistd::geteuid().is_root() || !Path::new("/lib/systemd/systemd").exists() {
        skipped("a systemd takes root, and systemd");
        return;
    }
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let built = Path::new(BIN).parent().expect("a folder");
    let unit = fs::read_to_string(top.join("packaging/lanner.service")).expect("the unit");
    let config = tempfile::NamedTempFile::new().expect("a file");
    let keys = "rules_files: [/etc/lanner/rules.yaml]\nwatch_config_files: false\noutputs:\n- plugin: output-file\n  \
                settings: {filename: /var/log/lanner/alerts}\n  spool: {}\n";
    fs::write(config.path(), keys).expect("a file");
    let rules = tempfile::NamedTempFile::new().expect("a file");
    fs::write(rules.path(), rule("First")).expect("a file");
    let plugins = "/usr/lib/lanner/plugins";
    let systemd = Systemd::boot(
        &[
            ("lanner.service", &unit),
            // half a minute is long
            ("lanner.service.d/test.conf", "[Service]\nWatchdogSec=3s\n"),
        ],
        &[
            (PathBuf::from(BIN), "/usr/bin/lanner"),
            (
                built.join("librules_falco.so"),
                &format!("{plugins}/librules_falco.so"),
            ),
            (
                built.join("liboutput_console.so"),
                &format!("{plugins}/liboutput_console.so"),
            ),
            (
                built.join("liboutput_file.so"),
                &format!("{plugins}/liboutput_file.so"),
            ),
            (config.path().to_owned(), "/etc/lanner/lanner.yaml"),
            (rules.path().to_owned(), "/etc/lanner/rules.yaml"),
        ],
    );
    systemd.done(&["systemctl", "start", "lanner"]);
    assert_eq!(systemd.property("ActiveState"), "active");
    assert_eq!(systemd.property("StatusText"), "watching");
    let main = systemd.property("MainPID");
    let status = systemd.done(&["cat", &format!("/proc/{main}/status")]);
    let line = |name: &str| {
        let found = status.lines().find_map(|line| line.strip_prefix(name));
        found.expect("it is there").trim().to_owned()
    };
    assert!(!line("Uid:").starts_with("0\t"), "{status}");
    assert_eq!(
        (line("NoNewPrivs:"), line("Seccomp:")),
        ("1".to_owned(), "2".to_owned())
    );
    let effective = u64::from_str_radix(&line("CapEff:"), 16).expect("a number");
    let allowed = [SYS_PTRACE, PERFMON, BPF];
    let needless = (0..64).filter(|at| effective & (1 << at) != 0 && !allowed.contains(at));
    assert_eq!(needless.collect::<Vec<_>>(), Vec::<u32>::new());

    systemd.sees("Notice First /srv/");
    let alerts = systemd.done(&["cat", "/var/log/lanner/alerts"]);
    assert!(alerts.contains("Notice First /srv/"), "{alerts}");

    systemd.rules(&rule("Second"));
    systemd.done(&["systemctl", "reload", "lanner"]);
    systemd.sees("Notice Second /srv/");
    systemd.rules("- rule: [");
    systemd.done(&["systemctl", "reload", "lanner"]);
    // it does not wait for the end of the reload
    wait_until("it is refused", || {
        let alert = "Critical Falco internal: hot restart failure";
        systemd.journal().contains(alert)
    });
    // the log has its levels
    let errors = [
        "journalctl",
        "--no-pager",
        "-o",
        "cat",
        "-p",
        "err",
        "-u",
        "lanner",
    ];
    let errors = systemd.done(&errors);
    assert!(errors.contains("the reload failed"), "{errors}");
    assert!(!errors.contains("Notice "), "{errors}");
    systemd.sees("Notice Second /srv/");
    assert_eq!(systemd.property("MainPID"), main, "it was never restarted");
    assert_eq!(systemd.property("NRestarts"), "0");

    systemd.rules(&rule("Third"));
    systemd.done(&["kill", "-STOP", &main]);
    wait_until("the watchdog has noticed", || {
        systemd.property("NRestarts") == "1" && systemd.property("ActiveState") == "active"
    });
    systemd.sees("Notice Third /srv/");
    systemd.done(&["systemctl", "stop", "lanner"]);
    assert_eq!(systemd.property("Result"), "success");
}
