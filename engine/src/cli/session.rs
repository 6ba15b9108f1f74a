//! A session: from the command line to an opened capture, and the loop that every watching command runs.

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use driver_api::driver::{Capture, CommandState, Flow, Polled};
use driver_api::error::Chain;
use driver_api::event::Event;
use driver_api::request::{Command, Limits, Omit, Request, SyscallSet, Target};
use driver_api::stats::Stats;

use super::args::SourceArgs;
use super::{Failure, say, signals};
use crate::inspect::{self, Clock, Inspector};
use crate::recording::Replay;
use crate::telemetry::DriverFacts;

/// How long a poll may wait before signals and the clock are looked at.
const TICK: Duration = Duration::from_millis(100);

/// How long, at the end, events that were captured already are still taken.
const LAST_LOOK: Duration = Duration::from_secs(2);

/// Where the events of a session come from, as far as state has to know.
#[derive(Debug)]
pub(crate) struct Source {
    /// The driver holds processes, and so leaves out what may be spared then.
    pub(crate) holds: bool,
    /// Which driver it is, and why.
    pub(crate) facts: DriverFacts,
    /// The clock of a recording that is replayed; none: events are of this host, and of now.
    recorded: Option<Clock>,
}

impl Source {
    /// What state is to be made of.
    pub(crate) fn options(&self) -> inspect::Options {
        match self.recorded {
            Some(clock) => inspect::Options {
                proc_root: None,
                runtimes: None,
                clock,
                ..inspect::Options::default()
            },
            None => inspect::Options::default(),
        }
    }

    /// Takes in the processes that there are already.
    pub(crate) fn scan(&self, inspector: &mut Inspector, args: &SourceArgs) {
        if args.command.is_empty() {
            inspector.scan_proc();
        } else {
            inspector.scan_children();
        }
    }
}

/// What consumes the events of a session.
pub(crate) trait Consumer {
    /// Whether SIGHUP and SIGUSR1 mean something to it; otherwise they end the session, as they do any program.
    const RELOADS: bool = false;

    /// An event. `Flow::Stop` ends the session.
    fn event(&mut self, event: &Event<'_>) -> Flow;

    /// Called when nothing waits: time to write what was held back. `Flow::Stop` ends the session.
    fn idle(&mut self) -> Flow;

    /// Called between two polls: the selection can be changed here.
    fn between(&mut self, _capture: &mut dyn Capture) {}
}

fn target(args: &SourceArgs) -> Result<Target, Failure> {
    match (args.command.split_first(), args.pids.as_slice()) {
        (None, []) => Ok(Target::Host),
        (None, pids) => Ok(Target::Pids(pids.to_vec())),
        (Some(_), [_, ..]) => Err(Failure::usage(
            "either a command or processes (-p) can be watched, not both",
        )),
        (Some((program, _)), []) => Ok(Target::Command(Command {
            program: look_up(program)?.into_os_string(),
            args: args.command.clone(),
        })),
    }
}

/// Finds a program as a shell would.
fn look_up(program: &OsStr) -> Result<PathBuf, Failure> {
    if program.as_bytes().contains(&b'/') {
        let path = PathBuf::from(program);
        return if path.exists() {
            Ok(path)
        } else {
            Err(not_found(program))
        };
    }
    let folders =
        env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/local/bin:/usr/bin:/bin"));
    env::split_paths(&folders)
        .map(|folder| folder.join(program))
        .find(|path| executable(path))
        .ok_or_else(|| not_found(program))
}

fn executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

fn not_found(program: &OsStr) -> Failure {
    Failure::usage(format!("there is no program {}", program.to_string_lossy()))
}

/// Opens a driver and feeds what it captures to a consumer, until the target, the time or the user ends it.
/// `consumer` is made when the driver is open: nothing is half-started when that fails.
pub(crate) fn watch<C: Consumer>(
    args: &SourceArgs,
    selection: SyscallSet,
    omit: Omit,
    consumer: impl FnOnce(Source) -> Result<C, Failure>,
) -> Result<ExitCode, Failure> {
    if let Some(path) = &args.replay {
        return replay(path, selection, consumer);
    }
    let mut limits = Limits {
        bytes: args.snaplen,
        omit,
        ..Limits::default()
    };
    for (name, value) in &args.limits {
        limits.set(name, *value).map_err(Failure::usage)?;
    }
    let request = Request {
        target: target(args)?,
        selection,
        limits,
        buffer: args.buffer,
    };
    let mut host = drivers::host::detect();
    host.btf_file.clone_from(&args.btf);
    let order = drivers::Order::named(&args.driver_order).map_err(Failure::usage)?;
    signals::watch(matches!(request.target, Target::Command(_)), C::RELOADS)?;
    let chosen = drivers::open_as(&args.driver, &args.ptrace_mode, &order, &host, &request)
        .map_err(|error| Failure::usage(Chain(&error)))?;
    if let Err(error) = drivers::privilege::drop_unneeded(chosen.driver, &host) {
        tracing::warn!("capabilities that are not needed any more cannot be given up: {error}");
    }
    let holds = chosen.opened.capture.holds();
    let gap = |gap: &driver_api::support::Gap| format!("{}: {}", gap.what, gap.why);
    let mut consumer = consumer(Source {
        holds,
        recorded: None,
        facts: DriverFacts {
            name: chosen.driver.name().to_owned(),
            reason: chosen.reason(),
            gaps: chosen.opened.gaps.iter().map(gap).collect(),
        },
    })?;
    say(&chosen.reason());
    for gap in &chosen.opened.gaps {
        say(&format!("gap: {}: {}", gap.what, gap.why));
    }
    let mut capture = chosen.opened.capture;
    let deadline = args.duration.map(|duration| Instant::now() + duration);
    let mut poll = |wait: Duration| {
        let mut flow = Flow::Continue;
        let polled = capture
            .poll(wait, &mut |event| {
                flow = consumer.event(&event);
                flow
            })
            .map_err(|error| Failure::broken(Chain(&error)))?;
        let stop = consumer.idle() == Flow::Stop || flow == Flow::Stop;
        consumer.between(capture.as_mut());
        let command = capture.command();
        match command {
            Some(CommandState {
                status: Some(_), ..
            }) => signals::ended(),
            Some(CommandState { pid, .. }) => signals::begun(pid),
            None => {}
        }
        Ok((polled, stop, command.and_then(|command| command.status)))
    };
    // in a container everything ends with its first process, which is to end with the command
    let first = signals::is_first();
    let ended = loop {
        let wait = deadline.map_or(TICK, |end| {
            TICK.min(end.saturating_duration_since(Instant::now()))
        });
        let status = match poll(wait)? {
            (_, true, _) => break None,
            (Polled::Ended(status), _, _) => break status,
            (Polled::Events(_), _, status) => status,
        };
        let over = signals::asked_to_end().is_some() || (first && status.is_some());
        if over || deadline.is_some_and(|end| Instant::now() >= end) {
            // what was captured up to now is not thrown away
            let last = Instant::now() + LAST_LOOK;
            while matches!(poll(Duration::ZERO)?, (Polled::Events(1..), false, _))
                && Instant::now() < last
            {}
            break status;
        }
    };
    report(&capture.stats());
    Ok(exit_code(ended))
}

/// Feeds a recording to a consumer.
fn replay<C: Consumer>(
    path: &Path,
    selection: SyscallSet,
    consumer: impl FnOnce(Source) -> Result<C, Failure>,
) -> Result<ExitCode, Failure> {
    let mut capture = Replay::open(path, selection).map_err(Failure::usage)?;
    signals::watch(false, C::RELOADS)?;
    let mut consumer = consumer(Source {
        holds: false,
        facts: DriverFacts {
            name: "replay".to_owned(),
            reason: format!("replay of {}", path.display()),
            gaps: Vec::new(),
        },
        recorded: Some(capture.clock()),
    })?;
    while signals::asked_to_end().is_none() {
        let mut flow = Flow::Continue;
        let polled = capture
            .poll(Duration::ZERO, &mut |event| {
                flow = consumer.event(&event);
                flow
            })
            .map_err(|error| Failure::broken(Chain(&error)))?;
        let ended = matches!(polled, Polled::Ended(_));
        consumer.between(&mut capture);
        if consumer.idle() == Flow::Stop || flow == Flow::Stop || ended {
            break;
        }
    }
    report(&capture.stats());
    Ok(ExitCode::SUCCESS)
}

/// What was lost is never lost in silence.
fn report(stats: &Stats) {
    if stats.lost_total() > 0 {
        let causes: Vec<String> = driver_api::event::Loss::ALL
            .iter()
            .zip(stats.lost)
            .filter(|(_, count)| *count > 0)
            .map(|(cause, count)| format!("{} {count}", cause.name()))
            .collect();
        say(&format!(
            "{} events captured, {} lost ({}); a larger --buffer or fewer events would help",
            stats.captured,
            stats.lost_total(),
            causes.join(", ")
        ));
    }
    if stats.malformed > 0 {
        say(&format!(
            "{} malformed events were left out",
            stats.malformed
        ));
    }
}

/// The command's status as a shell gives it.
fn exit_code(status: Option<i32>) -> ExitCode {
    let Some(status) = status else {
        return ExitCode::SUCCESS;
    };
    let code = if libc::WIFSIGNALED(status) {
        128 + libc::WTERMSIG(status)
    } else {
        libc::WEXITSTATUS(status)
    };
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}
