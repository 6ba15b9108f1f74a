//! After events were lost, a process has the fields of the program that it runs, or none.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use test_support::{is_root, skipped, wait_until};

use crate::lanner::{BIN, usable};

/// `flood FOLDER` starts programs until there is a file `stop`. A program `tN` opens the file `own/tN` and executes the next
/// one, four in a row. In between, other files are opened, so that buffers fill.
const PROGRAM: &str = r#"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char path[4096];

static const char *in(const char *folder, const char *format, int number)
{
	int length = snprintf(path, sizeof(path), "%s/", folder);

	snprintf(path + length, sizeof(path) - length, format, number);
	return path;
}

static void run(const char *folder, int number, int left)
{
	char count[16];

	snprintf(count, sizeof(count), "%d", left);
	execl(in(folder, "t%d", number % 8), in(folder, "t%d", number % 8), folder, count, NULL);
	_exit(1);
}

int main(int argc, char **argv)
{
	const char *name = strrchr(argv[0], '/') + 1;
	int number = atoi(name + 1), round = 0;

	if (strcmp(name, "flood") != 0) {
		for (int i = 0; i < 4; i++)
			close(open(in(argv[1], "own/t%d", number), O_RDONLY));
		if (atoi(argv[2]) > 0)
			run(argv[1], number + 1, atoi(argv[2]) - 1);
		return 0;
	}
	while (access(in(argv[1], "stop", 0), F_OK) != 0) {
		if (fork() == 0)
			run(argv[1], round, 3);
		for (int i = 0; i < 100; i++)
			close(open("/etc/hostname", O_RDONLY));
		wait(NULL);
		close(open(in(argv[1], "round%d", round++ % 4), O_CREAT | O_TRUNC | O_WRONLY, 0600));
	}
	return 0;
}
"#;

fn furnish(folder: &Path) {
    fs::write(folder.join("flood.c"), PROGRAM).expect("written");
    let status = Command::new("cc")
        .args(["-O1", "-w", "-o", "flood", "flood.c"])
        .current_dir(folder)
        .status();
    assert!(status.expect("cc").success());
    fs::create_dir(folder.join("own")).expect("a folder");
    for number in 0..8 {
        let name = format!("t{number}");
        fs::copy(folder.join("flood"), folder.join(&name)).expect("a program");
        fs::write(folder.join("own").join(&name), "").expect("a file");
    }
    let rule = format!(
        "- rule: Own file\n  desc: d\n  condition: evt.type in (open, openat) and fd.name startswith {}/own/\n  \
         output: x %fd.name %proc.name %proc.exepath %proc.cmdline\n  priority: NOTICE\n",
        folder.display()
    );
    fs::write(folder.join("rules.yaml"), rule).expect("written");
}

/// What an alert says of a process that opened `own/tN`: 1 if it is all of the program `tN`, 0 if something is missing. What
/// is there is of that program.
fn judge(alert: &Value, driver: &str) -> usize {
    let fields = &alert["output_fields"];
    let file = fields["fd.name"].as_str().expect("a name");
    let expected = file.rsplit('/').next().expect("a name");
    if fields["proc.name"].is_null() {
        assert!(fields["proc.exepath"].is_null(), "{driver}: {alert}");
        return 0;
    }
    assert_eq!(fields["proc.name"], expected, "{driver}: {alert}");
    let texts = ["proc.exepath", "proc.cmdline"].map(|field| fields[field].as_str());
    let [program, line] = texts;
    let is_program = |path: &str| path.ends_with(&format!("/{expected}"));
    assert!(program.is_none_or(is_program), "{driver}: {alert}");
    let begins = |line: &str| line.starts_with(expected);
    assert!(line.is_none_or(begins), "{driver}: {alert}");
    usize::from(program.is_some() && line.is_some())
}

#[test]
fn after_losses_a_process_has_the_fields_of_its_program_or_none() {
    if !is_root() {
        skipped("drivers that lose events need privilege");
        return;
    }
    // a driver that holds the command does not lose its events
    for driver in usable().into_iter().filter(|driver| *driver != "ptrace") {
        let folder = tempfile::tempdir().expect("a folder");
        furnish(folder.path());
        let at = |name: &str| folder.path().join(name);
        let mut lanner = Command::new(BIN)
            .args(["run", "--driver", driver, "--buffer", "64K"])
            .args(["-o", "json_output=true", "-r"])
            .args([at("rules.yaml").as_os_str(), "--".as_ref()])
            .args([at("flood").as_os_str(), folder.path().as_os_str()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("lanner can be started");
        let out = BufReader::new(lanner.stdout.take().expect("piped"));
        let reader = std::thread::spawn(move || -> Vec<String> {
            out.lines().map_while(Result::ok).collect()
        });
        let pid = Pid::from_raw(lanner.id().cast_signed());
        for _ in 0..12 {
            wait_until("the flood goes on", || at("round0").exists());
            kill(pid, Signal::SIGSTOP).expect("it runs");
            // more than the buffers hold
            for _ in 0..8 {
                fs::remove_file(at("round0")).expect("it is there");
                wait_until("the flood goes on", || at("round0").exists());
            }
            kill(pid, Signal::SIGCONT).expect("it runs");
            let _ = fs::remove_file(at("round0"));
        }
        fs::write(at("stop"), "").expect("written");
        let output = lanner.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(" lost ("), "nothing was lost: {said}");
        let lines = reader.join().expect("the reader ends");
        let alerts: Vec<Value> = lines
            .iter()
            .filter_map(|line| serde_json::from_str(line).ok())
            .filter(|alert: &Value| alert["rule"] == "Own file")
            .collect();
        let known: usize = alerts.iter().map(|alert| judge(alert, driver)).sum();
        eprintln!(
            "{driver}: {known} of {} alerts name the program",
            alerts.len()
        );
        assert!(known > 0, "{driver}: {said}");
    }
}
