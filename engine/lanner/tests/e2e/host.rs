//! Host-wide: while a build runs and a loop opens and closes, nothing is lost, or it is counted.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;
use test_support::{is_root, skipped};

use crate::lanner::{BIN, usable};

const LOOPS: usize = 300_000;

const PROGRAM: &str = r#"
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
int main(int argc, char **argv)
{
	for (long i = atol(argv[1]); i > 0; i--)
		close(open("/etc/hostname", O_RDONLY));
	return 0;
}
"#;

/// Twenty small programs with a makefile: real compiler and linker runs.
fn furnish(folder: &std::path::Path) {
    let mut makefile = String::from("all:");
    for at in 0..20 {
        fs::write(
            folder.join(format!("p{at}.c")),
            format!("#include <stdio.h>\nint main(void) {{ return printf(\"{at}\") < 0; }}\n"),
        )
        .expect("written");
        makefile.push_str(&format!(" p{at}"));
    }
    fs::write(folder.join("Makefile"), makefile + "\n").expect("written");
    fs::write(folder.join("loop.c"), PROGRAM).expect("written");
    let status = Command::new("cc")
        .args(["-O1", "-o", "loop", "loop.c"])
        .current_dir(folder)
        .status()
        .expect("cc");
    assert!(status.success());
}

#[test]
fn a_busy_host_is_captured_without_silent_loss() {
    if !is_root() {
        skipped("capturing the whole host needs privilege");
        return;
    }
    for driver in usable().into_iter().filter(|driver| *driver != "ptrace") {
        let folder = tempfile::tempdir().expect("a folder");
        furnish(folder.path());
        let mut lanner = Command::new(BIN)
            .args([
                "trace",
                "--driver",
                driver,
                "--json",
                "-e",
                "openat,close,execve",
                "--duration",
                "120s",
                "--buffer",
                "32M",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("lanner can be started");
        let mut messages = BufReader::new(lanner.stderr.take().expect("piped"));
        let mut line = String::new();
        messages.read_line(&mut line).expect("a line");
        assert!(line.contains(&format!("driver {driver}")), "{line}");
        let reader = std::thread::spawn({
            let stdout = lanner.stdout.take().expect("piped");
            move || count(BufReader::new(stdout))
        });
        let mut make = Command::new("make")
            .arg("-j2")
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("make");
        let looped = Command::new(folder.path().join("loop"))
            .arg(LOOPS.to_string())
            .status()
            .expect("the loop");
        assert!(looped.success() && make.wait().expect("make").success());
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(lanner.id() as i32),
            nix::sys::signal::Signal::SIGTERM,
        )
        .expect("kill");
        lanner.wait().expect("it ends");
        let counts = reader.join().expect("the reader ends");
        let mut rest = String::new();
        std::io::Read::read_to_string(&mut messages, &mut rest).expect("text");
        eprintln!("{driver}: {counts:?} {rest}");
        // own calls of the loop: every one is there, or among the lost
        assert!(
            counts.opens + counts.lost >= LOOPS as u64,
            "{driver}: {counts:?} {rest}"
        );
        assert!(
            counts.closes + counts.lost >= LOOPS as u64,
            "{driver}: {counts:?} {rest}"
        );
        assert!(
            counts.compilers + counts.lost >= 20,
            "{driver}: {counts:?} {rest}"
        );
        assert_eq!(
            counts.lost > 0,
            rest.contains(" lost ("),
            "{driver}: losses are reported: {rest}"
        );
    }
}

#[derive(Debug, Default)]
struct Counts {
    opens: u64,
    closes: u64,
    compilers: u64,
    lost: u64,
}

fn count(lines: impl BufRead) -> Counts {
    let mut counts = Counts::default();
    for line in lines.lines().map_while(Result::ok) {
        if line.contains("\"type\":\"lost\"") {
            let event: Value = serde_json::from_str(&line).expect("JSON");
            counts.lost += event["count"].as_u64().expect("a count");
        } else if line.contains("\"comm\":\"loop\"") {
            counts.opens += u64::from(line.contains("\"path\":\"/etc/hostname\""));
            counts.closes += u64::from(line.contains("\"type\":\"close\""));
        } else if line.contains("\"type\":\"execve\"") {
            counts.compilers += u64::from(line.contains("/cc1\""));
        }
    }
    counts
}
