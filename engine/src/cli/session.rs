//! A session: from the command line to an opened capture, and the loop that every watching command runs.

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use driver_api::driver::{Flow, Polled};
use driver_api::event::Event;
use driver_api::request::{Command, Limits, Request, SyscallSet, Target};
use driver_api::stats::Stats;

use super::args::SourceArgs;
use super::{Failure, say};

/// How long a poll may wait before signals and the clock are looked at.
const TICK: Duration = Duration::from_millis(100);

/// How long, at the end, events that were captured already are still taken.
const LAST_LOOK: Duration = Duration::from_secs(2);

/// What consumes the events of a session.
pub(crate) trait Consumer {
    /// An event. `Flow::Stop` ends the session.
    fn event(&mut self, event: &Event<'_>) -> Flow;

    /// Called when nothing waits: time to write what was held back. `Flow::Stop` ends the session.
    fn idle(&mut self) -> Flow;
}

/// The signal that asked us to end; 0: none yet.
static SIGNALLED: AtomicI32 = AtomicI32::new(0);

extern "C" fn on_signal(signal: i32) {
    SIGNALLED.store(signal, Ordering::Relaxed);
}

/// SIGTERM ends the session, SIGINT too, unless there is a command: then the terminal has sent it the
/// signal as well, and the command decides.
fn watch_signals(command: bool) -> Result<(), Failure> {
    use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
    let action = SigAction::new(
        SigHandler::Handler(on_signal),
        SaFlags::empty(),
        SigSet::empty(),
    );
    let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
    for (signal, action) in [
        (Signal::SIGTERM, &action),
        (Signal::SIGHUP, &action),
        (Signal::SIGINT, if command { &ignore } else { &action }),
    ] {
        // SAFETY: the handler stores a number and does nothing else.
        unsafe { sigaction(signal, action) }
            .map_err(|error| Failure::broken(format!("cannot watch for {signal}: {error}")))?;
    }
    Ok(())
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
    consumer: impl FnOnce() -> Result<C, Failure>,
) -> Result<ExitCode, Failure> {
    let mut limits = Limits {
        bytes: args.snaplen,
        ..Limits::default()
    };
    for (name, value) in &args.limits {
        limits.set(name, *value).map_err(Failure::usage)?;
    }
    let request = Request {
        target: target(args)?,
        selection,
        limits,
        shards: 1,
        buffer: args.buffer,
    };
    let mut host = drivers::host::detect();
    host.btf_file.clone_from(&args.btf);
    let mut chosen = drivers::open(&args.driver, &host, &request).map_err(Failure::usage)?;
    if let Err(error) = drivers::privilege::drop_unneeded(chosen.driver.name(), &host) {
        tracing::warn!("capabilities that are not needed any more cannot be given up: {error}");
    }
    watch_signals(matches!(request.target, Target::Command(_)))?;
    let mut consumer = consumer()?;
    say(&chosen.reason());
    for gap in &chosen.opened.gaps {
        say(&format!("gap: {}: {}", gap.what, gap.why));
    }
    let Some(capture) = chosen.opened.captures.first_mut() else {
        return Err(Failure::broken("the driver gave no capture"));
    };
    let deadline = args.duration.map(|duration| Instant::now() + duration);
    let mut poll = |wait: Duration| {
        let mut flow = Flow::Continue;
        let polled = capture
            .poll(wait, &mut |event| {
                flow = consumer.event(&event);
                flow
            })
            .map_err(Failure::broken)?;
        let stop = consumer.idle() == Flow::Stop || flow == Flow::Stop;
        Ok((polled, stop))
    };
    let ended = loop {
        let wait = deadline.map_or(TICK, |end| {
            TICK.min(end.saturating_duration_since(Instant::now()))
        });
        match poll(wait)? {
            (_, true) => break None,
            (Polled::Ended(status), _) => break status,
            (Polled::Events(_), _) => {}
        }
        let signal = SIGNALLED.load(Ordering::Relaxed);
        if signal != 0 || deadline.is_some_and(|end| Instant::now() >= end) {
            // what was captured up to now is not thrown away
            let last = Instant::now() + LAST_LOOK;
            while matches!(poll(Duration::ZERO)?, (Polled::Events(1..), false))
                && Instant::now() < last
            {}
            break None;
        }
    };
    report(&capture.stats());
    Ok(exit_code(ended))
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
