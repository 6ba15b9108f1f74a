//! lanner between whoever starts and signals it and the command: signals, status, orphans, and what becomes of
//! the command when lanner is killed. Also as the first process of a PID namespace, as in a container.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};
use test_support::{is_root, skipped};

use crate::lanner::{BIN, usable};

/// No program here may take longer.
const PATIENCE: Duration = Duration::from_secs(90);

/// A program whose lines are read; it is killed when it takes too long.
pub(crate) struct Running {
    child: Child,
    lines: BufReader<ChildStdout>,
    in_time: Sender<()>,
}

impl Running {
    pub(crate) fn new(command: &mut Command) -> Self {
        // what ran the tests may have them ignored (nohup, a shell's &), and lanner passes on nothing that it ignores
        // SAFETY: signal(2) is async-signal-safe.
        unsafe {
            command.pre_exec(|| {
                for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT] {
                    libc::signal(signal, libc::SIG_DFL);
                }
                Ok(())
            });
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it can be started");
        let pid = child.id();
        let (in_time, late) = channel::<()>();
        std::thread::spawn(move || {
            if late.recv_timeout(PATIENCE) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                eprintln!("process {pid} takes too long");
                kill(pid, libc::SIGKILL);
            }
        });
        let lines = BufReader::new(child.stdout.take().expect("a pipe"));
        Self {
            child,
            lines,
            in_time,
        }
    }

    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }

    pub(crate) fn end(mut self) -> ExitStatus {
        // a pipe that is full would keep it from ending
        let _ = std::io::copy(&mut self.lines, &mut std::io::sink());
        let status = self.child.wait().expect("it is ours to wait for");
        let _ = self.in_time.send(());
        status
    }
}

fn kill(pid: u32, signal: i32) {
    // SAFETY: kill(2) takes numbers.
    unsafe { libc::kill(pid.cast_signed(), signal) };
}

fn lanner(driver: &str, command: &[&str]) -> Command {
    let mut lanner = Command::new(BIN);
    lanner.args(["run", "-d", driver, "--"]).args(command);
    lanner
}

/// As the first process of a PID namespace.
fn first(driver: &str, command: &[&str]) -> Command {
    let mut unshare = Command::new("unshare");
    unshare
        // an orphaned process group, as the tests' may be, ignores SIGTSTP (setpgid(2))
        .process_group(0)
        .args([
            "--pid",
            "--fork",
            "--mount-proc",
            "--",
            BIN,
            "run",
            "-d",
            driver,
            "--",
        ])
        .args(command);
    unshare
}

/// The only child of a process.
fn child_of(pid: u32) -> u32 {
    let begin = Instant::now();
    loop {
        let path = format!("/proc/{pid}/task/{pid}/children");
        let children = fs::read_to_string(path).unwrap_or_default();
        if let Some(child) = children.split_whitespace().next() {
            return child.parse().expect("a process id");
        }
        assert!(begin.elapsed() < PATIENCE, "{pid} has no child");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn state(pid: u32) -> char {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let behind = stat.rsplit_once(") ").map_or("", |(_, behind)| behind);
    behind.chars().next().unwrap_or('-')
}

fn until_state(pid: u32, wanted: &[char]) {
    let begin = Instant::now();
    while !wanted.contains(&state(pid)) {
        assert!(
            begin.elapsed() < PATIENCE,
            "{pid} is {}, not {wanted:?}",
            state(pid)
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Until it waits in sleep(1)'s call.
fn until_sleeps(pid: u32) {
    let begin = Instant::now();
    let call = || fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
    while !call().starts_with(&format!("{} ", libc::SYS_clock_nanosleep)) {
        assert!(begin.elapsed() < PATIENCE, "{pid} is in {}", call());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Says what it gets, until SIGTERM, which ends it with 7.
pub(crate) const LISTENER: &str = r#"
import signal, sys
every = [signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH,
    signal.SIGTERM, signal.SIGRTMIN, signal.SIGRTMIN + 5, signal.SIGTSTP, signal.SIGCONT]
signal.pthread_sigmask(signal.SIG_BLOCK, every)
print("ready", flush=True)
while True:
    got = signal.sigwaitinfo(every)
    print(got.si_signo, got.si_code, flush=True)
    if got.si_signo == signal.SIGTERM:
        sys.exit(7)
"#;

/// Sends each signal to `to`, and reads that the command got it.
fn signals_arrive(mut running: Running, to: u32, signals: &[i32]) {
    assert_eq!(running.line(), "ready");
    for signal in signals {
        kill(to, *signal);
        let line = running.line();
        assert_eq!(line.split(' ').next(), Some(&*signal.to_string()), "{line}");
    }
    // with its value, which makes it a queued one (sigqueue(3))
    let value = libc::sigval {
        sival_ptr: std::ptr::null_mut(),
    };
    let real_time = libc::SIGRTMIN() + 5;
    // SAFETY: the call takes numbers.
    unsafe { libc::sigqueue(to.cast_signed(), real_time, value) };
    assert_eq!(running.line(), format!("{real_time} {}", libc::SI_QUEUE));
    kill(to, libc::SIGTERM);
    assert!(running.line().starts_with("15 "));
    assert_eq!(running.end().code(), Some(7));
}

#[test]
fn what_is_sent_to_lanner_the_command_gets() {
    for driver in usable() {
        let running = Running::new(&mut lanner(driver, &["python3", "-E", "-c", LISTENER]));
        let to = running.child.id();
        let signals = [
            libc::SIGHUP,
            libc::SIGINT,
            libc::SIGQUIT,
            libc::SIGUSR1,
            libc::SIGUSR2,
            libc::SIGWINCH,
            libc::SIGRTMIN(),
        ];
        signals_arrive(running, to, &signals);
    }
}

#[test]
fn a_command_that_a_signal_ends_gives_its_number() {
    for driver in usable() {
        for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGUSR1] {
            let mut running = Running::new(&mut lanner(
                driver,
                &["sh", "-c", "echo ready; exec sleep 600"],
            ));
            assert_eq!(running.line(), "ready");
            kill(running.child.id(), signal);
            assert_eq!(running.end().code(), Some(128 + signal), "{driver}");
        }
    }
}

/// Before it listens, too: a signal is never lost, and lanner never ends without its command.
#[test]
fn a_signal_may_come_while_lanner_starts() {
    for driver in usable() {
        for round in 0..6 {
            let running = Running::new(&mut lanner(driver, &["sleep", "600"]));
            let pid = running.child.id();
            // from where lanner's own program has begun
            let begin = Instant::now();
            while !fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == Path::new(BIN))
            {
                assert!(begin.elapsed() < PATIENCE);
            }
            std::thread::sleep(Duration::from_millis(round * 17));
            kill(pid, libc::SIGTERM);
            let status = running.end();
            assert!(
                status.code() == Some(128 + libc::SIGTERM)
                    || status.signal() == Some(libc::SIGTERM),
                "{driver} round {round}: {status}"
            );
        }
    }
}

/// Opens files, and says when that fails for any reason but that there is none.
const OPENER: &str = r#"
import os, sys
print(os.getpid(), flush=True)
out = open(sys.argv[1], "w")
count = 0
while True:
    try:
        os.close(os.open("/dev/null", os.O_RDONLY))
        if os.path.exists("/nonexistent"):
            break
        count += 1
        if count % 50 == 0:
            os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)
    except OSError as error:
        print(error, file=out, flush=True)
"#;

#[test]
fn a_command_whose_lanner_is_killed_ends_with_ptrace_and_runs_on_with_the_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let errors = folder.path().join("errors");
    let errors = errors.to_str().expect("a text");
    for driver in usable() {
        for round in 0..6 {
            let mut running = Running::new(&mut lanner(
                driver,
                &["python3", "-E", "-c", OPENER, errors],
            ));
            let pid: u32 = running.line().parse().expect("a process id");
            std::thread::sleep(Duration::from_millis(20 + 13 * round));
            kill(running.child.id(), libc::SIGKILL);
            if driver == "ptrace" {
                // whoever is init here may wait for it late
                until_state(pid, &['-', 'Z', 'X']);
            } else {
                std::thread::sleep(Duration::from_millis(50));
                assert!(matches!(state(pid), 'R' | 'S' | 'D'), "{}", state(pid));
                kill(pid, libc::SIGKILL);
            }
            assert_eq!(running.end().signal(), Some(libc::SIGKILL));
            let said = fs::read_to_string(errors).expect("its file");
            assert_eq!(said, "", "{driver} round {round}");
        }
    }
}

#[test]
fn a_process_that_was_attached_to_goes_on_whatever_ends_lanner() {
    for driver in usable() {
        for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGKILL] {
            let folder = tempfile::tempdir().expect("a folder");
            let errors = folder.path().join("errors");
            let mut target = Running::new(
                Command::new("python3")
                    .args(["-E", "-c", OPENER])
                    .arg(&errors),
            );
            let pid: u32 = target.line().parse().expect("a process id");
            let mut watching = Running::new(
                Command::new(BIN)
                    .args(["trace", "-d", driver, "-e", "openat", "-p"])
                    .arg(pid.to_string()),
            );
            assert!(watching.line().contains("openat"));
            kill(watching.child.id(), signal);
            let status = watching.end();
            if signal == libc::SIGKILL {
                assert_eq!(status.signal(), Some(signal));
            } else {
                assert_eq!(status.code(), Some(0), "{driver} by {signal}");
            }
            until_state(pid, &['R', 'S', 'D']);
            let tracer = fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
            assert!(tracer.contains("TracerPid:\t0"), "{tracer}");
            let calls = || {
                let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
                let behind = stat.rsplit_once(") ").expect("a name").1.to_owned();
                let field = |at: usize| {
                    behind
                        .split(' ')
                        .nth(at)
                        .and_then(|t| t.parse::<u64>().ok())
                };
                // its own and its children's times (proc(5))
                [11, 12, 13, 14]
                    .map(|at| field(at).unwrap_or(0))
                    .iter()
                    .sum::<u64>()
            };
            let (before, begin) = (calls(), Instant::now());
            while calls() == before {
                assert!(begin.elapsed() < PATIENCE, "it makes no progress");
                std::thread::sleep(Duration::from_millis(10));
            }
            kill(pid, libc::SIGKILL);
            target.end();
            assert_eq!(fs::read_to_string(&errors).expect("its file"), "");
        }
    }
}

/// Leaves orphans behind, some of them ending at once, and waits until none is a zombie.
pub(crate) const ORPHANS: &str = r#"
import os, sys, time
for turn in range(20):
    child = os.fork()
    if child == 0:
        if os.fork() == 0:
            os._exit(3)
        os._exit(0)
    os.waitpid(child, 0)
def zombies():
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                fields = open("/proc/%s/stat" % name).read().rsplit(") ", 1)[1].split()
                if fields[0] == "Z":
                    found.append(name)
            except (FileNotFoundError, ProcessLookupError):
                pass
    return found
begin = time.monotonic()
left = zombies()
while left and time.monotonic() - begin < 60:
    time.sleep(0.02)
    left = zombies()
print("pid", os.getpid() != 1, "parent", os.getppid(), "zombies", left, flush=True)
if os.fork() == 0:
    time.sleep(600)
os._exit(5)
"#;

fn may_unshare() -> bool {
    if !is_root() {
        skipped("a PID namespace, which needs root");
    }
    is_root()
}

#[test]
fn the_first_process_of_a_namespace_waits_for_orphans_and_ends_with_its_command() {
    if !may_unshare() {
        return;
    }
    for driver in ["ptrace", "auto"] {
        let mut running = Running::new(&mut first(driver, &["python3", "-E", "-c", ORPHANS]));
        assert_eq!(running.line(), "pid True parent 1 zombies []", "{driver}");
        // an orphan is left, which sleeps: it ends with the namespace
        assert_eq!(running.end().code(), Some(5), "{driver}");
        let killed = Running::new(&mut first(driver, &["sh", "-c", "kill -USR2 $$"])).end();
        assert_eq!(killed.code(), Some(128 + libc::SIGUSR2), "{driver}");
    }
}

#[test]
fn the_first_process_of_a_namespace_passes_signals_on() {
    if !may_unshare() {
        return;
    }
    for driver in ["ptrace", "auto"] {
        let running = Running::new(&mut first(driver, &["python3", "-E", "-c", LISTENER]));
        let to = child_of(running.child.id());
        let signals = [
            libc::SIGHUP,
            libc::SIGINT,
            libc::SIGQUIT,
            libc::SIGUSR1,
            libc::SIGUSR2,
            libc::SIGWINCH,
            libc::SIGRTMIN(),
            libc::SIGTSTP,
            libc::SIGCONT,
        ];
        signals_arrive(running, to, &signals);

        let mut running = Running::new(&mut first(
            driver,
            &["sh", "-c", "echo ready; exec sleep 600"],
        ));
        assert_eq!(running.line(), "ready");
        let to = child_of(running.child.id());
        let command = child_of(to);
        // a stop of its exec is not the one that the signal makes
        until_sleeps(command);
        kill(to, libc::SIGTSTP);
        until_state(command, &['T', 't']);
        kill(to, libc::SIGCONT);
        until_state(command, &['S', 'R']);
        kill(to, libc::SIGTERM);
        assert_eq!(running.end().code(), Some(128 + libc::SIGTERM), "{driver}");
    }
}

#[test]
fn drivers_that_cannot_tell_processes_apart_in_a_namespace_say_so() {
    if !may_unshare() {
        return;
    }
    for driver in usable().into_iter().filter(|driver| *driver != "ptrace") {
        let output = first(driver, &["true"])
            .output()
            .expect("it can be started");
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(
            message.contains("PID namespace") && message.contains("ptrace"),
            "{message}"
        );
    }
}

/// The whole host from inside a PID namespace: lanner has another id there than the kernel's programs know it by, and
/// is left out all the same.
#[test]
fn from_inside_a_namespace_the_whole_host_is_seen_without_lanner() {
    /// It writes, as lanner does with each event.
    const NEIGHBOUR: &str = "while :; do echo neighbour; sleep 0.01; done";
    if !may_unshare() {
        return;
    }
    for driver in usable().into_iter().filter(|driver| *driver != "ptrace") {
        let mut neighbour = Command::new("sh")
            .args(["-c", NEIGHBOUR])
            .stdout(Stdio::null())
            .spawn()
            .expect("sh");
        let mut lanner = Command::new("unshare")
            .args(["--pid", "--fork", "--mount-proc", "--", BIN, "trace"])
            .args(["--json", "-e", "write,writev", "--driver", driver])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("unshare");
        let id = child_of(lanner.id());
        let writers: Vec<u64> = BufReader::new(lanner.stdout.take().expect("piped"))
            .lines()
            .map_while(Result::ok)
            .filter_map(|line| {
                serde_json::from_str::<serde_json::Value>(&line).ok()?["pid"].as_u64()
            })
            .scan(0, |neighbours, pid| {
                *neighbours += usize::from(pid == u64::from(neighbour.id()));
                (*neighbours < 50).then_some(pid)
            })
            .collect();
        kill(id, libc::SIGKILL);
        neighbour.kill().expect("it runs");
        neighbour.wait().expect("it ends");
        lanner.wait().expect("it ends");
        assert!(writers.len() >= 49, "{driver}: {} events", writers.len());
        assert!(!writers.contains(&u64::from(id)), "{driver} sees itself");
    }
}

/// A debugger below a command works where lanner is no tracer, and is refused where it is.
#[test]
fn a_debugger_below_a_command_works_or_is_refused() {
    let debuggers: [(&str, &[&str]); 2] = [
        (
            "strace",
            &[
                "strace",
                "-f",
                "-o",
                "/dev/null",
                "sh",
                "-c",
                "true; exit 4",
            ],
        ),
        (
            "gdb",
            &[
                "gdb",
                "-nx",
                "-batch",
                "-ex",
                "run",
                "-ex",
                "print $_exitcode",
                "--args",
                "sh",
                "-c",
                "exit 4",
            ],
        ),
    ];
    for driver in usable() {
        for (name, command) in debuggers {
            let output = Command::new("timeout")
                .args(["-s", "KILL", "90", BIN, "run", "-d", driver, "--"])
                .args(command)
                .env_remove("DEBUGINFOD_URLS")
                .stdin(Stdio::null())
                .output()
                .expect("it can be started");
            let said = format!(
                "{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
            let worked = output.status.code() == Some(4) || said.contains("$1 = 4");
            assert_eq!(
                worked,
                driver != "ptrace",
                "{name} under {driver}: {}: {said}",
                output.status
            );
            if driver == "ptrace" {
                assert!(said.contains("not permitted"), "{name}: {said}");
                assert!(
                    output.status.code().is_some_and(|code| code < 128),
                    "{name}: {}",
                    output.status
                );
            }
        }
    }
}
