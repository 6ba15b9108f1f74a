//! The contestants that watch the whole host: how they are started, asked for their counters, and stopped.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, thread};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{Error, Result};

/// A contestant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tracer {
    /// No tracer at all.
    Alone,
    /// The empty BPF program.
    Floor,
    /// bpftrace, which counts entries and exits of calls.
    Bpftrace,
    /// One of lanner's drivers.
    Driver {
        /// Its name.
        driver: &'static str,
        /// All calls are selected; otherwise only [`UNUSED`].
        everything: bool,
        /// The build of lanner-bench that runs it. None: this one.
        build: Option<PathBuf>,
    },
}

/// A call that no load makes.
const UNUSED: &str = "chroot";
const COUNTING: &str = "tracepoint:raw_syscalls:sys_enter { @a = count(); } tracepoint:raw_syscalls:sys_exit { @b = count(); }";
/// How long a tracer may take to begin or to end.
const PATIENCE: Duration = Duration::from_secs(30);

impl Tracer {
    /// Its name in the tables.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Alone => "alone".to_owned(),
            Self::Floor => "empty program".to_owned(),
            Self::Bpftrace => "bpftrace count()".to_owned(),
            Self::Driver {
                driver,
                everything,
                build,
            } => {
                let other = if build.is_some() { "other " } else { "" };
                let driver = driver.trim_start_matches("ebpf-");
                let what = if *everything {
                    "everything"
                } else {
                    "not selected"
                };
                format!("{other}{driver}, {what}")
            }
        }
    }

    /// Starts the tracer, and returns when it has begun to watch.
    pub(crate) fn start(&self, load_cpu: usize) -> Result<Running> {
        match self {
            Self::Alone => Ok(Running::Alone),
            Self::Floor => floor(),
            Self::Bpftrace => bpftrace(),
            Self::Driver {
                driver,
                everything,
                build,
            } => {
                let select = if *everything { "all" } else { UNUSED };
                let cpu = load_cpu.to_string();
                let options = ["--select", select, "--avoid", &cpu];
                Ok(Running::Consumer(Consumer::start(
                    build.as_deref(),
                    driver,
                    &options,
                )?))
            }
        }
    }
}

fn floor() -> Result<Running> {
    Ok(Running::Floor {
        _program: crate::floor::Floor::new()?,
    })
}

/// The drivers that can capture the whole host, the preferred one first.
pub(crate) fn host_drivers() -> impl Iterator<Item = &'static str> {
    let drivers = drivers::registered().into_iter();
    drivers
        .filter(|driver| driver.serves().host)
        .map(|driver| driver.name())
}

/// A running tracer. Dropping it stops it.
pub(crate) enum Running {
    Alone,
    Floor { _program: crate::floor::Floor },
    Bpftrace(Process),
    Consumer(Consumer),
}

impl Running {
    /// The counters of lanner's consumer.
    pub(crate) fn counters(&mut self) -> Result<Option<Counters>> {
        match self {
            Self::Consumer(consumer) => consumer.counters().map(Some),
            Self::Alone | Self::Bpftrace(_) => Ok(None),
            Self::Floor { .. } => Ok(None),
        }
    }

    /// Stops it. Returns the number of calls that bpftrace has counted.
    pub(crate) fn stop(self) -> Result<Option<u64>> {
        match self {
            Self::Bpftrace(process) => counted(process).map(Some),
            Self::Alone | Self::Consumer(_) => Ok(None),
            Self::Floor { .. } => Ok(None),
        }
    }
}

/// Counters of a consumer since it was started.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counters {
    pub(crate) events: u64,
    pub(crate) lost: u64,
    pub(crate) malformed: u64,
    pub(crate) cpu_ns: u64,
}

impl Counters {
    /// The difference to earlier counters.
    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            events: self.events.saturating_sub(before.events),
            lost: self.lost.saturating_sub(before.lost),
            malformed: self.malformed.saturating_sub(before.malformed),
            cpu_ns: self.cpu_ns.saturating_sub(before.cpu_ns),
        }
    }
}

/// A child that does not outlive its owner.
pub(crate) struct Process {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Process {
    fn start(command: &mut Command, what: &str) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(Error::failed(format!("start {what}")))?;
        let out = child
            .stdout
            .take()
            .ok_or("a child has no standard output")?;
        Ok(Self {
            child,
            out: BufReader::new(out),
        })
    }

    /// The next line that it prints.
    fn line(&mut self, what: &str) -> Result<String> {
        let mut line = String::new();
        match self.out.read_line(&mut line) {
            Ok(0) => Err(Error::unexpected(format!("{what} has ended early"))),
            Ok(_) => Ok(line.trim().to_owned()),
            Err(error) => Err(Error::failed(format!("read from {what}"))(error)),
        }
    }

    /// Waits until it ends, at most for [`PATIENCE`], and then kills it.
    fn end(&mut self) {
        let late = Instant::now() + PATIENCE;
        while Instant::now() < late {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        if matches!(self.child.try_wait(), Ok(None)) {
            let pid = Pid::from_raw(self.child.id().cast_signed());
            let _ = kill(pid, Signal::SIGTERM);
            self.end();
        }
    }
}

/// A process that consumes the events of a driver ([`crate::consume`]).
pub(crate) struct Consumer(Process);

impl Consumer {
    /// Starts one, of this build or another.
    pub(crate) fn start(build: Option<&Path>, driver: &str, options: &[&str]) -> Result<Self> {
        let program = match build {
            Some(path) => path.to_owned(),
            None => env::current_exe().map_err(Error::failed("find this program's own file"))?,
        };
        let mut command = Command::new(program);
        command.args(["consume", "--driver", driver]).args(options);
        let mut process = Process::start(&mut command, driver)?;
        match process.line(driver)?.as_str() {
            "ready" => Ok(Self(process)),
            other => Err(Error::unexpected(format!(
                "the consumer of {driver} printed {other:?} instead of ready"
            ))),
        }
    }

    /// Its counters, after it has consumed everything that was captured so far.
    pub(crate) fn counters(&mut self) -> Result<Counters> {
        let stdin = self
            .0
            .child
            .stdin
            .as_mut()
            .ok_or("a consumer has no standard input")?;
        writeln!(stdin, "counters")
            .and_then(|()| stdin.flush())
            .map_err(Error::failed("ask the consumer for its counters"))?;
        let line = self.0.line("the consumer")?;
        let mut numbers = line.split(' ').map_while(|word| word.parse().ok());
        let mut next = || {
            numbers
                .next()
                .ok_or_else(|| format!("the consumer printed {line:?} as its counters"))
        };
        Ok(Counters {
            events: next()?,
            lost: next()?,
            malformed: next()?,
            cpu_ns: next()?,
        })
    }
}

fn bpftrace() -> Result<Running> {
    let mut command = Command::new("bpftrace");
    command.args(["-e", COUNTING]).stderr(Stdio::null());
    let mut process = Process::start(&mut command, "bpftrace")?;
    while !process.line("bpftrace")?.starts_with("Attach") {}
    // older versions print it before they attach; bpftrace has attached when it goes on sleeping
    let late = Instant::now() + PATIENCE;
    let mut asleep = 0;
    while asleep < 20 && Instant::now() < late {
        let sleeps = proc_pid::Stat::of(process.child.id())
            .is_ok_and(|stat| stat.state() == proc_pid::State::Sleeping);
        asleep = if sleeps { asleep + 1 } else { 0 };
        thread::sleep(Duration::from_millis(10));
    }
    Ok(Running::Bpftrace(process))
}

/// Ends bpftrace and reads its counters of entries and exits.
fn counted(mut process: Process) -> Result<u64> {
    let pid = Pid::from_raw(process.child.id().cast_signed());
    kill(pid, Signal::SIGINT).map_err(Error::failed("stop bpftrace"))?;
    let mut said = String::new();
    process
        .out
        .read_to_string(&mut said)
        .map_err(Error::failed("read from bpftrace"))?;
    process.end();
    let count = |name: &str| {
        said.lines()
            .find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok())
            .ok_or_else(|| format!("bpftrace has not printed {name}"))
    };
    Ok(count("@a:")? + count("@b:")?)
}
