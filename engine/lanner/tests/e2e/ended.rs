//! State of processes that /proc does not have any more when lanner looks, or has in another state: lanner is stopped until
//! the program has gone on. A traced program waits for lanner anyway.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use test_support::{is_root, skipped};

use crate::lanner::modes;
use crate::state::{as_texts, values};

/// The values of fields while lanner is stopped, from `stop()` to `go_on()` of the program.
fn values_of_ended(
    driver: &[String],
    folder: &Path,
    question: (&str, &[&str]),
    program: &str,
) -> Vec<Vec<String>> {
    const STOPS: &str = "import signal\nwatcher = os.getppid()\n\
        def stop():\n    os.kill(watcher, signal.SIGSTOP)\n\
        def go_on():\n    os.kill(watcher, signal.SIGCONT)\n";
    const WAITS: &str = "def stop():\n    pass\n\ndef go_on():\n    pass\n";
    let is_traced = driver.iter().any(|option| option.contains("ptrace"));
    let prelude = if is_traced { WAITS } else { STOPS };
    as_texts(&values(
        driver,
        folder,
        question,
        &format!("{prelude}{program}"),
    ))
}

/// Each file's name, which the program has chosen, says the value that the field has to have.
fn assert_named(found: &[Vec<String>], count: usize, name: &str, driver: &[String]) {
    assert_eq!(found.len(), count, "{driver:?}: {found:?}");
    for row in found {
        assert_eq!(row[0], name.replace('#', &row[1]), "{driver:?}: {found:?}");
    }
}

/// The program opens three files, each named for the terminal that it has then.
fn assert_terminals(program: &str) {
    let question = (
        "evt.type in (open, openat) and evt.arg.name startswith /nonexistent/terminal-",
        &["evt.arg.name", "proc.tty"][..],
    );
    let folder = tempfile::tempdir().expect("a folder");
    for driver in modes() {
        let found = values_of_ended(&driver, folder.path(), question, program);
        assert_named(&found, 3, "/nonexistent/terminal-#", &driver);
    }
}

#[test]
fn a_process_that_has_ended_had_this_group_in_its_own_namespace() {
    const PROGRAM: &str = r#"
stop()
libc.unshare(0x20000000)
first = os.fork()
if first == 0:
    miss('/0-mark')
    ready, stay = os.pipe(), os.pipe()
    leader = os.fork()
    if leader == 0:
        os.setpgid(0, 0)
        miss('/2-mark')
        os.write(ready[1], b'x')
        os.read(stay[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    member = os.fork()
    if member == 0:
        os.setpgid(0, leader)
        miss('/2-mark')
        if os.fork() == 0:
            miss('/2-mark')
            os.setsid()
            miss('/4-mark')
            os._exit(0)
        os.wait()
        os._exit(0)
    os.waitpid(member, 0)
    os.write(stay[1], b'x')
    os.waitpid(leader, 0)
    os._exit(0)
os.waitpid(first, 0)
go_on()
"#;
    if !is_root() {
        skipped("a PID namespace needs root");
        return;
    }
    let question = (
        "evt.type in (open, openat) and evt.arg.name endswith -mark",
        &["evt.arg.name", "proc.vpgid"][..],
    );
    let folder = tempfile::tempdir().expect("a folder");
    for driver in modes() {
        let found = values_of_ended(&driver, folder.path(), question, PROGRAM);
        assert_named(&found, 5, "/#-mark", &driver);
    }
}

#[test]
fn a_terminal_that_was_inherited_is_the_one_of_a_session_that_has_ended() {
    // as login_tty(3): openpty(3) has opened the terminal by its other side
    const PROGRAM: &str = r#"
import fcntl, termios
stop()
master, terminal = os.openpty()
number = os.fstat(terminal).st_rdev
if os.fork() == 0:
    os.setsid()
    miss('/nonexistent/terminal-0')
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
    miss(f'/nonexistent/terminal-{number}')
    if os.fork() == 0:
        miss(f'/nonexistent/terminal-{number}')
        os._exit(0)
    os.wait()
    os._exit(0)
os.wait()
os.close(terminal)
os.close(master)
go_on()
"#;
    assert_terminals(PROGRAM);
}

#[test]
fn the_terminal_of_a_process_that_has_ended_is_the_one_that_it_had() {
    const PROGRAM: &str = r#"
import fcntl, pty, signal, termios
master, terminal = pty.openpty()
number = os.fstat(terminal).st_rdev
if not os.fork():
    os.setsid()
    # a session that gives up its terminal is hung up
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    stop()
    terminal = os.open(os.ttyname(terminal), os.O_RDWR | os.O_NOCTTY)
    miss('/nonexistent/terminal-0')
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
    miss(f'/nonexistent/terminal-{number}')
    fcntl.ioctl(terminal, termios.TIOCNOTTY)
    miss('/nonexistent/terminal-0')
    os._exit(0)
os.wait()
go_on()
"#;
    assert_terminals(PROGRAM);
}

#[test]
fn a_program_has_its_own_file_or_none() {
    // the shell has gone when lanner sees that it was executed
    const PROGRAM: &str = r#"
import time
stop()
child = os.fork()
if child == 0:
    os.execv('/bin/sh', ['sh', '-c', 'exec sleep 1'])
time.sleep(0.5)
go_on()
os.waitpid(child, 0)
"#;
    let inode = fs::metadata("/bin/sh").expect("a shell").ino().to_string();
    let question = (
        "evt.type = execve and proc.name = sh and proc.args contains sleep",
        &["proc.exe_ino"][..],
    );
    let folder = tempfile::tempdir().expect("a folder");
    for driver in modes() {
        let found = values_of_ended(&driver, folder.path(), question, PROGRAM);
        let file = found[0].first();
        assert!(
            file.is_none_or(|file| *file == inode),
            "{driver:?}: {found:?}"
        );
    }
}

#[test]
fn a_program_has_the_times_of_its_file() {
    // the kernel notes in the time itself that somebody has asked for it
    const PROGRAM: &str = r#"
import shutil, subprocess
program = AT + '/program'
shutil.copy('/bin/sleep', program)
os.utime(program, ns=(1, 1700000000123456789))
os.stat(program)
subprocess.run([program, '0.3'])
"#;
    let question = (
        "evt.type = execve and evt.rawres = 0 and proc.exepath endswith /empty/program",
        &["proc.exe_ino.mtime", "proc.exe_ino.ctime"][..],
    );
    let folder = tempfile::tempdir().expect("a folder");
    for driver in modes() {
        let found = as_texts(&values(&driver, folder.path(), question, PROGRAM));
        let [row] = &found[..] else {
            panic!("{driver:?}: {found:?}");
        };
        let file = fs::metadata(folder.path().join("empty/program")).expect("the program");
        let changed = file.ctime() * 1_000_000_000 + file.ctime_nsec();
        assert_eq!(
            row[..],
            ["1700000000123456789".to_owned(), changed.to_string()],
            "{driver:?}"
        );
    }
}
