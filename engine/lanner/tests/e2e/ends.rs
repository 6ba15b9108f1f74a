//! How lanner ends when what it writes to fails: with status 1 and a message.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};
use test_support::wait_until;

use crate::lanner::{BIN, run, stderr};

/// Runs lanner in a shell, which can do to its standard output what a test wants.
fn in_shell(script: &str) -> Output {
    Command::new("sh")
        .args(["-c", script])
        .env("LANNER", BIN)
        .stdin(Stdio::null())
        .output()
        .expect("sh can be run")
}

/// A rule that each command sets off.
fn rule(folder: &tempfile::TempDir) -> String {
    let path = folder.path().join("rules.yaml");
    let text = "- rule: R\n  desc: d\n  condition: evt.type = execve\n  output: seen %proc.name\n  priority: INFO\n";
    fs::write(&path, text).expect("a file");
    path.display().to_string()
}

#[test]
fn a_full_disk_and_a_closed_output_end_with_status_1_and_a_message() {
    let folder = tempfile::tempdir().expect("a folder");
    let rule = rule(&folder);
    let (link, recording) = (folder.path().join("link"), folder.path().join("recording"));
    std::os::unix::fs::symlink("/dev/stdout", &link).expect("a link");
    for (script, expected) in [
        (
            "$LANNER trace --driver ptrace -- true > /dev/full".to_owned(),
            "cannot write to standard output: No space left on device",
        ),
        (
            "$LANNER trace --driver ptrace -o /dev/full -- true".to_owned(),
            "cannot write to /dev/full: No space left on device",
        ),
        (
            "$LANNER trace --driver ptrace -- true >&-".to_owned(),
            "standard output is closed",
        ),
        (
            "$LANNER run --driver ptrace -- true >&-".to_owned(),
            "standard output is closed",
        ),
        (
            "$LANNER trace --driver ptrace -o /proc/self/fd/1 -- true >&-".to_owned(),
            "standard output is closed",
        ),
        (
            "$LANNER trace --driver ptrace -o /dev/stderr -- true 2>&- >&-".to_owned(),
            "",
        ),
        (
            "$LANNER record --driver ptrace -o /dev/stdout -- true >&-".to_owned(),
            "standard output is closed",
        ),
        (
            format!(
                "$LANNER record --driver ptrace -o {} -- true >&-",
                link.display()
            ),
            "standard output is closed",
        ),
        (
            format!(
                "$LANNER record --driver ptrace -o {0} -- true && $LANNER convert {0} /dev/fd/1 >&-",
                recording.display()
            ),
            "standard output is closed",
        ),
        (
            "$LANNER run --driver ptrace --output /dev/stdout -- true >&-".to_owned(),
            "standard output is closed",
        ),
        (
            "$LANNER outputs test >&-".to_owned(),
            "standard output is closed",
        ),
        (
            format!("$LANNER run --driver ptrace -r {rule} -- true > /dev/full"),
            "0 alerts delivered, ",
        ),
        (
            "$LANNER record --driver ptrace -o /dev/full -- true".to_owned(),
            "No space left on device",
        ),
        (
            format!(
                "ulimit -f 1; $LANNER record --driver ptrace -o {} -- true",
                folder.path().join("limited").display()
            ),
            "File too large",
        ),
    ] {
        let output = in_shell(&script);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{script}: {said}");
        assert!(said.contains(expected), "{script}: {said}");
    }
}

#[test]
fn a_reader_that_goes_away_ends_a_trace() {
    let mut child = Command::new(BIN)
        .args(["trace", "--driver", "ptrace", "--", "sh", "-c"])
        .arg("while true; do /bin/true; done")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("lanner starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("cannot write to standard output"), "{said}");
}

/// Makes a pipe hold one page.
fn make_small(pipe: &impl AsRawFd) {
    // SAFETY: the descriptor is open, and the call takes numbers.
    let size = unsafe { libc::fcntl(pipe.as_raw_fd(), libc::F_SETPIPE_SZ, 4096) };
    assert_eq!(size, 4096);
}

fn has_bytes(pipe: &impl AsRawFd) -> bool {
    let mut bytes = 0;
    // SAFETY: FIONREAD writes one number (ioctl_tty(2)).
    let done = unsafe { libc::ioctl(pipe.as_raw_fd(), libc::FIONREAD, &raw mut bytes) };
    done == 0 && bytes > 0
}

#[test]
fn a_signal_ends_lanner_although_its_reader_stands_still() {
    let folder = tempfile::tempdir().expect("a folder");
    let fifo = folder.path().join("fifo");
    let fifo = fifo.to_str().expect("a text");
    nix::unistd::mkfifo(fifo, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
    // opened for both, it does not wait
    let held = fs::File::options().read(true).write(true).open(fifo);
    let held = held.expect("the FIFO");
    make_small(&held);
    for args in [
        &["trace"][..],
        &["trace", "--json"],
        &["record", "-o", "/dev/stdout"],
        &["record", "--format", "scap", "-o", "/dev/stdout"],
        // what is in the FIFO stays there, so this is the last
        &["trace", "-o", fifo],
    ] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        make_small(&reader);
        let mut child = Command::new(BIN)
            .args(args)
            .args(["--driver", "ptrace", "--", "sh", "-c"])
            .arg("while true; do /bin/true; done")
            .stdin(Stdio::null())
            .stdout(writer)
            .stderr(Stdio::piped())
            .spawn()
            .expect("lanner starts");
        wait_until("the pipe is full", || {
            has_bytes(&reader) || has_bytes(&held)
        });
        // SAFETY: a number, of a child that has not been waited for.
        let sent = unsafe { libc::kill(child.id().cast_signed(), libc::SIGTERM) };
        assert_eq!(sent, 0);
        wait_until("it ends", || {
            child.try_wait().is_ok_and(|end| end.is_some())
        });
        let output = child.wait_with_output().expect("it has ended");
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
        assert!(
            said.contains("its reader does not read"),
            "{args:?}: {said}"
        );
    }
}

#[test]
fn events_and_alerts_can_go_to_a_file_of_their_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let rule = rule(&folder);
    let file = folder.path().join("events");
    let path = file.to_str().expect("a text");
    let command = ["--", "sh", "-c", "printf half; /bin/true; echo ' a line'"];
    let trace = ["trace", "--driver", "ptrace", "-e", "execve", "-o", path];
    let alerts = ["run", "--driver", "ptrace", "-r", &rule, "--output", path];
    let json = [&alerts[..], &["--json"]].concat();
    for (args, expected) in [
        (&trace[..], "execve("),
        (&alerts, "Informational seen true"),
        (&json, "\"rule\":\"R\""),
    ] {
        let _ = fs::remove_file(&file);
        let output = run(args.iter().chain(&command));
        let said = stderr(&output);
        assert_eq!(output.stdout, b"half a line\n", "{args:?}: {said}");
        let text = fs::read_to_string(&file).expect("it was made");
        assert!(text.contains(expected), "{args:?}: {text}{said}");
        assert!(text.ends_with('\n'), "{args:?}: {text}");
    }
    let output = run(["run", "-o", path]);
    assert!(
        stderr(&output).contains("--output FILE"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_fifo_that_nobody_reads_is_named_with_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let rule = rule(&folder);
    let fifo = folder.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
    let path = fifo.to_str().expect("a text");
    let command = ["--driver", "ptrace", "--", "/bin/true"];
    for args in [
        &["run", "-r", &rule, "--output", path][..],
        &["trace", "-o", path],
        &["record", "-o", path],
    ] {
        let output = run(args.iter().chain(&command));
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        let expected = format!("start its reader first, such as `cat {path}`");
        assert!(said.contains(&expected), "{args:?}: {said}");
    }
}

#[test]
fn a_recording_is_its_owners_is_written_as_it_grows_and_says_that_it_was_cut_off() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("events");
    // a file that others could read is there already
    fs::write(&file, "").expect("a file");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("it is ours");
    let path = file.to_str().expect("a text");
    let mut child = Command::new(BIN)
        .args(["record", "--driver", "ptrace", "-o", path, "--", "sh", "-c"])
        .arg("while true; do /bin/true; sleep 0.05; done")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("lanner starts");
    let replayed = || {
        let output = run(["trace", "--replay", path, "-e", "execve"]);
        (
            String::from_utf8_lossy(&output.stdout)
                .matches("/bin/true")
                .count(),
            stderr(&output),
        )
    };
    // it is readable while it grows
    wait_until("events are in the file", || replayed().0 > 3);
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    let mode = fs::metadata(&file).expect("the file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let (events, said) = replayed();
    assert!(events > 3 && said.contains("was cut off"), "{said}");
    let output = run([
        "record",
        "--driver",
        "ptrace",
        "-o",
        path,
        "--",
        "/bin/true",
    ]);
    assert!(output.status.success(), "{}", stderr(&output));
    let (events, said) = replayed();
    assert!(events > 0 && !said.contains("cut off"), "{said}");
}

#[test]
fn an_event_that_does_not_exist_is_told_with_the_nearest_and_its_option() {
    let output = run(["trace", "-e", "opnat", "--", "true"]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains(
            "-e: there is no event `opnat`; did you mean `openat`? (`lanner syscalls` lists"
        ),
        "{said}"
    );
}
