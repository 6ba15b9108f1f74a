//! Least privilege as docs/drivers.md has it, tried with the very words of that page; and hosts that lack tracefs or
//! the kernel's types.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use driver_api::host::capability::{BPF, PERFMON, SYS_ADMIN, SYS_PTRACE};
use test_support::{is_root, skipped};

use crate::bare::copy;
use crate::cell::{BIN, has};
use crate::look::run;

const PAGE: &str = include_str!("../../../../docs/drivers.md");
const HOSTS: &str = "/etc/hosts";
const CORE: &str = "ebpf-core";
const TYPES: &str = "/sys/kernel/btf/vmlinux";

/// No driver asks for it (include/uapi/linux/capability.h).
const SYS_MODULE: u32 = 16;

/// Whether what these tests need is here.
fn ready(what: &str, programs: &[&str]) -> bool {
    if !is_root() {
        skipped(&format!("{what}: only root can give capabilities"));
        return false;
    }
    if let Some(missing) = programs.iter().find(|program| !has(program)) {
        skipped(&format!("{what}: there is no {missing}"));
        return false;
    }
    true
}

/// The rest of the page's line that has these words.
fn documented(words: &str) -> &'static str {
    let line = PAGE.lines().find_map(|line| line.trim().split_once(words));
    line.unwrap_or_else(|| panic!("docs/drivers.md has no {words:?}"))
        .1
}

/// The capabilities of the page's systemd unit, as setpriv(1) names them.
fn of_the_unit() -> String {
    let names = documented("AmbientCapabilities=").split_whitespace();
    let names: Vec<String> = names
        .map(|name| format!("+{}", name.trim_start_matches("CAP_").to_lowercase()))
        .collect();
    names.join(",")
}

/// Nobody, with the capabilities of the page's systemd unit and no others.
fn as_the_unit() -> Command {
    let names = of_the_unit();
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(format!("--bounding-set=-all,{names}"))
        .arg(format!("--inh-caps=-all,{names}"))
        .arg(format!("--ambient-caps=-all,{names}"))
        .current_dir("/");
    command
}

/// Runs `lanner trace` behind these words, with a command that opens a file, and looks for that.
fn sees(what: &str, prison: &mut Command, lanner: &Path, options: &[&str]) {
    prison.arg(lanner).args(["trace", "-e", "openat"]);
    let output = run(prison.args(options).args(["--", "cat", HOSTS]));
    let (told, said) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{what}: {said}");
    let open = format!("\"{HOSTS}\", O_RDONLY) = ");
    assert!(told.contains(&open), "{what}: {told}{said}");
}

/// A lanner that captures the whole host, until it is dropped.
struct Watching(Child);

impl Watching {
    fn begin(mut prison: Command, lanner: &Path) -> Self {
        let mut child = prison
            .arg(lanner)
            .args(["trace", "-e", "reboot", "--driver", CORE])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("setpriv or lanner can be run");
        let said = BufReader::new(child.stderr.take().expect("it is piped"));
        let watching = Self(child);
        let mut lines = said.lines().map_while(Result::ok);
        let first = lines.next().unwrap_or_default();
        assert_eq!(first, format!("lanner: driver {CORE}"));
        watching
    }

    /// A line of each thread's status, as a set of bits.
    fn sets(&self, line: &str) -> BTreeSet<u64> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.0.id())).expect("it runs");
        let status =
            tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("status")).ok());
        let set = |status: String| {
            let bits = status.lines().find_map(|l| {
                l.strip_prefix(line)?
                    .strip_prefix(':')
                    .map(str::trim)
                    .map(str::to_owned)
            });
            bits.and_then(|bits| u64::from_str_radix(&bits, 16).ok())
        };
        status.filter_map(set).collect()
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_documented_capabilities_are_enough_and_unneeded_ones_are_given_up() {
    if !ready("least privilege", &["setpriv"]) {
        return;
    }
    let (_folder, lanner) = copy();
    sees(
        "the unit's capabilities",
        &mut as_the_unit(),
        &lanner,
        &["--driver", CORE],
    );
    let watching = Watching::begin(as_the_unit(), &lanner);
    for line in ["CapEff", "CapPrm", "CapInh", "CapAmb"] {
        let left = 1_u64 << BPF | 1 << SYS_PTRACE;
        assert_eq!(watching.sets(line), BTreeSet::from([left]), "{line}");
    }
}

#[test]
fn without_the_documented_capabilities_the_refusal_names_them() {
    if !ready("least privilege", &["setpriv"]) {
        return;
    }
    let (_folder, lanner) = copy();
    let words = [
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "--bounding-set=-all",
        "--inh-caps=-all",
    ];
    let mut nobody = Command::new("setpriv");
    nobody
        .args(words)
        .current_dir("/")
        .arg(&lanner)
        .args(["trace", "--driver", CORE, "--", "true"]);
    let output = run(&mut nobody);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("CAP_BPF") && said.contains("CAP_PERFMON"),
        "{said}"
    );
}

#[test]
fn root_gives_up_what_is_not_needed() {
    if !ready("giving up capabilities", &[]) {
        return;
    }
    let mut nothing = Command::new("env");
    nothing.current_dir("/");
    let watching = Watching::begin(nothing, Path::new(BIN));
    for line in ["CapEff", "CapPrm"] {
        let sets = watching.sets(line);
        assert!(!sets.is_empty());
        for set in sets {
            let gone = 1_u64 << PERFMON | 1 << SYS_ADMIN | 1 << SYS_MODULE;
            assert_eq!(set & gone, 0, "{line}: {set:x}");
            assert_ne!(set & 1 << BPF, 0, "{line}: {set:x}");
        }
    }
}

#[test]
fn the_documented_file_capabilities_are_enough() {
    if !ready("file capabilities", &["setpriv", "setcap"]) {
        return;
    }
    let (_folder, lanner) = copy();
    let capabilities = documented("setcap ")
        .split_whitespace()
        .next()
        .expect("the page names some");
    let set = run(Command::new("setcap").arg(capabilities).arg(&lanner));
    assert!(
        set.status.success(),
        "{}",
        String::from_utf8_lossy(&set.stderr)
    );
    let mut nobody = Command::new("setpriv");
    nobody
        .args([
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "--inh-caps=-all",
        ])
        .current_dir("/");
    sees(
        "the file's capabilities",
        &mut nobody,
        &lanner,
        &["--driver", CORE],
    );
}

#[test]
fn in_a_user_namespace_lanner_says_before_what_opening_finds() {
    let inside = || {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", BIN]);
        command
    };
    let said = run(inside().args(["drivers", "--json"]));
    if !has("unshare") || !said.status.success() {
        skipped("a user namespace: here none can be made");
        return;
    }
    let said: serde_json::Value = serde_json::from_slice(&said.stdout).expect("JSON");
    for driver in [CORE, "ebpf-legacy"] {
        let all = said["drivers"].as_array().expect("drivers");
        let named = all.iter().find(|each| each["name"] == driver);
        let named = named.expect("it is in this build");
        assert_eq!(named["usable"], false, "{named}");
        let output = run(inside().args(["trace", "--driver", driver, "--", "true"]));
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{told}");
        for gap in named["gaps"].as_array().expect("gaps") {
            let why = gap["why"].as_str().expect("a text");
            assert!(told.contains(why), "{driver}: {why}: {told}");
        }
        assert!(told.contains("user namespace"), "{told}");
    }
}

/// In a mount namespace where this shell command has been run.
fn where_(prepared: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", &format!("{prepared}; exec \"$@\""), "sh"]);
    command
}

#[test]
fn without_tracefs_both_ebpf_drivers_work() {
    if !ready("a host without tracefs", &["unshare"]) {
        return;
    }
    let gone = "umount -q /sys/kernel/debug/tracing /sys/kernel/tracing /sys/kernel/debug; \
                ! [ -d /sys/kernel/tracing/events ] || exit 99";
    for driver in [CORE, "ebpf-legacy"] {
        sees(
            driver,
            &mut where_(gone),
            Path::new(BIN),
            &["--driver", driver],
        );
    }
}

#[test]
fn a_file_stands_in_for_the_types_of_a_kernel_that_has_none() {
    if !ready("a kernel without types", &["unshare"]) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("types");
    if fs::copy(TYPES, &file).is_err() {
        skipped("a kernel without types: there are none that could be hidden");
        return;
    }
    let hidden = "mount -t tmpfs none /sys/kernel/btf || exit 99";
    let file = file.to_str().expect("a text");
    sees(
        "--btf",
        &mut where_(hidden),
        Path::new(BIN),
        &["--driver", CORE, "--btf", file],
    );
    // where the kernel has its own, too
    sees(
        "--btf",
        &mut Command::new("env"),
        Path::new(BIN),
        &["--driver", CORE, "--btf", file],
    );
    let mut without = where_(hidden);
    without
        .arg(BIN)
        .args(["trace", "--driver", CORE, "--", "true"]);
    let output = run(&mut without);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("--btf FILE"), "{said}");
    let mut broken = where_(hidden);
    broken
        .arg(BIN)
        .args(["trace", "--driver", CORE, "--btf", HOSTS, "--", "true"]);
    let output = run(&mut broken);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("types"), "{said}");
}
