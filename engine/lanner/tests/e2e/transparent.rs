//! A watched program behaves as it would alone: what it prints and how it ends is the same, whoever
//! watches. Signals, stops, interrupted calls, threads, spawning, orphans, being killed.

use std::process::{Command, Stdio};

use crate::lanner::{BIN, usable};

/// Name, program, arguments.
const PROGRAMS: &[(&str, &[&str])] = &[
    ("signals", &["python3", "-E", "-c", SIGNALS]),
    ("stops", &["python3", "-E", "-c", STOPS]),
    ("interrupted calls", &["python3", "-E", "-c", INTERRUPTED]),
    ("threads", &["python3", "-E", "-c", THREADS]),
    ("spawning", &["python3", "-E", "-c", SPAWNING]),
    ("killed by a signal", &["sh", "-c", "kill -TERM $$"]),
    ("killed by SIGKILL", &["sh", "-c", "kill -KILL $$"]),
    (
        "a broken pipe",
        &["sh", "-c", "yes | head -n 1; echo ${PIPESTATUS:-none}"],
    ),
    (
        "an orphan",
        &["sh", "-c", "(sleep 0.3; echo orphan) & echo parent; exit 3"],
    ),
    (
        "not found",
        &["sh", "-c", "nosuchcommand 2>/dev/null; echo $?"],
    ),
    (
        "a script",
        &[
            "sh",
            "-c",
            "printf '#!/bin/sh\\necho script $1\\n' >s$$ && chmod +x s$$ && ./s$$ argument; rm s$$",
        ],
    ),
];

const SIGNALS: &str = r#"
import os, signal, time
got = []
for number in (signal.SIGUSR1, signal.SIGRTMIN + 3, signal.SIGRTMAX - 4):
    signal.signal(number, lambda s, f: got.append(s))
    os.kill(os.getpid(), number)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGRTMIN + 1])
for value in range(3):
    os.kill(os.getpid(), signal.SIGRTMIN + 1)
print([s - signal.SIGRTMIN for s in got if s > 31], [int(s) for s in got if s < 32])
print([signal.sigwait([signal.SIGRTMIN + 1]) - signal.SIGRTMIN for _ in range(3)])
"#;

const STOPS: &str = r#"
import os, signal, time
child = os.fork()
if child == 0:
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(0.3)
    os._exit(4)
_, status = os.waitpid(child, os.WUNTRACED)
print("stopped", os.WIFSTOPPED(status), os.WSTOPSIG(status) if os.WIFSTOPPED(status) else None)
os.kill(child, signal.SIGCONT)
_, status = os.waitpid(child, os.WCONTINUED)
print("continued", os.WIFCONTINUED(status))
_, status = os.waitpid(child, 0)
print("exited", os.WEXITSTATUS(status))
child = os.fork()
if child == 0:
    time.sleep(60)
time.sleep(0.1)
for turn in range(5):
    os.kill(child, signal.SIGSTOP)
    print(os.WIFSTOPPED(os.waitpid(child, os.WUNTRACED)[1]))
    os.kill(child, signal.SIGCONT)
os.kill(child, signal.SIGTERM)
print(os.WTERMSIG(os.waitpid(child, 0)[1]))
"#;

const INTERRUPTED: &str = r#"
import ctypes, os, select, signal, time
libc = ctypes.CDLL(None, use_errno=True)
hits = []
signal.signal(signal.SIGALRM, lambda s, f: hits.append(s))
signal.siginterrupt(signal.SIGALRM, True)
signal.setitimer(signal.ITIMER_REAL, 0.05)
print("usleep", libc.usleep(400000), ctypes.get_errno())
signal.setitimer(signal.ITIMER_REAL, 0.05)
print("poll", libc.poll(None, 0, 400), ctypes.get_errno())
signal.siginterrupt(signal.SIGALRM, False)
r, w = os.pipe()
signal.setitimer(signal.ITIMER_REAL, 0.05)
child = os.fork()
if child == 0:
    time.sleep(0.3); os.write(w, b"late"); os._exit(0)
print("read", os.read(r, 10), len(hits))
begin = time.monotonic(); time.sleep(0.2); print("sleep", time.monotonic() - begin >= 0.2)
"#;

const THREADS: &str = r#"
import threading
total = []
def work(n):
    with open("/dev/null", "w") as f: f.write(str(n))
    total.append(n)
for turn in range(10):
    threads = [threading.Thread(target=work, args=(n,)) for n in range(50)]
    [t.start() for t in threads]; [t.join() for t in threads]
print(sum(total), len(total))
"#;

const SPAWNING: &str = r#"
import os, subprocess
print([subprocess.run(["sh", "-c", "exit %d" % n]).returncode for n in range(5)])
print(subprocess.run(["sh", "-c", "kill -9 $$"]).returncode)
pid = os.posix_spawn("/bin/sh", ["sh", "-c", "exit 9"], os.environ)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
print(subprocess.check_output("seq 3 | tac | tr '\n' ' '", shell=True))
print(sum(os.waitstatus_to_exitcode(os.system("exit %d" % (n % 3))) for n in range(30)))
"#;

#[test]
fn programs_behave_as_alone() {
    for driver in usable() {
        for (name, program) in PROGRAMS {
            let ends = |command: &mut Command| {
                let output = command
                    .stdin(Stdio::null())
                    .current_dir("/tmp")
                    .output()
                    .expect("it can be started");
                (
                    String::from_utf8_lossy(&output.stdout).into_owned(),
                    output.status,
                )
            };
            let (alone, status) = ends(Command::new(program[0]).args(&program[1..]));
            use std::os::unix::process::ExitStatusExt;
            let expected = status.code().or(status.signal().map(|signal| 128 + signal));
            // nothing is printed but what the program prints: no call that it makes is selected
            let (watched, status) = ends(
                Command::new(BIN)
                    .args(["trace", "-d", driver, "-e", "init_module", "--"])
                    .args(*program),
            );
            assert_eq!(
                (watched, status.code()),
                (alone.clone(), expected),
                "{name} under {driver}"
            );
            let traced = [
                "trace",
                "-d",
                driver,
                "-e",
                "openat,clone,vfork,kill,read",
                "--",
            ];
            let (watched, status) = ends(Command::new(BIN).args(traced).args(*program));
            assert_eq!(status.code(), expected, "{name} under {driver}, with calls");
            for line in alone.lines() {
                assert!(
                    watched.contains(line),
                    "{name} under {driver}: {line:?} is not in {watched}"
                );
            }
        }
    }
}
