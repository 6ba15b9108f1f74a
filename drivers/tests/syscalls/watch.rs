//! Runs the actor under a driver and keeps the events of the script's calls.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::Path;
use std::time::{Duration, Instant};

use driver_api::driver::{Driver, Flow, Polled};
use driver_api::error::Chain;
use driver_api::event::{Event, EventKind, Loss};
use driver_api::host::Host;
use driver_api::request::{Command, Limits, Request, SyscallSet, Target};
use driver_api::table;

use crate::actor::LOW;
use crate::raw::MARK;
use crate::truth::{self, Truth};

/// How long the whole script may take.
const PATIENCE: Duration = Duration::from_secs(600);
/// How many events are kept after a mark: the return from a signal handler can come before the call.
const BEHIND: usize = 8;

/// What a driver delivered, and what it should have delivered.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) truths: Vec<Truth>,
    pub(crate) events: HashMap<(usize, usize), Vec<Vec<u8>>>,
    /// Runs of programs that the kernel skipped, for any process (docs/drivers.md): events can be missing.
    pub(crate) skipped: u64,
}

/// Sorts events by the mark that precedes them on their thread.
#[derive(Debug, Default)]
struct Keeper {
    at: HashMap<u32, (usize, usize)>,
    last: (usize, usize),
    events: HashMap<(usize, usize), Vec<Vec<u8>>>,
    lost: u64,
    /// Of those, runs of programs that the kernel skipped.
    skipped: u64,
}

impl Keeper {
    fn keep(&mut self, event: &Event<'_>) {
        let header = event.header();
        match event.kind() {
            EventKind::Lost => {
                self.lost += header.args[0];
                if header.args[1] == Loss::Nested as u64 {
                    self.skipped += header.args[0];
                }
            }
            EventKind::Syscall | EventKind::Exec => {
                let marks = table::by_number(event.abi(), header.nr)
                    .is_some_and(|call| call.name == "ioprio_get");
                if marks && header.args[0] == MARK {
                    let place = (header.args[1] as usize, header.args[2] as usize);
                    self.last = place;
                    self.at.insert(header.tid, place);
                } else if let Some(place) = self.at.get(&header.tid) {
                    let kept = self.events.entry(*place).or_default();
                    if kept.len() < BEHIND {
                        kept.push(event.to_vec());
                    }
                }
            }
            _ => {}
        }
    }
}

/// Plays the script under a driver.
pub(crate) fn run(
    driver: &'static dyn Driver,
    host: &Host,
    limits: Limits,
    names: &[String],
) -> Result<Run, String> {
    let mut keeper = Keeper::default();
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let status = events(
        driver,
        host,
        limits,
        command(folder.path(), limits, names),
        &mut keeper,
    )
    .map_err(|fault| format!("{fault}, after {}", at(&keeper)))?;
    if keeper.lost > keeper.skipped {
        return Err(format!("{} events were lost", keeper.lost));
    }
    if status != Some(0) {
        return Err(format!(
            "the actor ended with {status:?}, after {}",
            at(&keeper)
        ));
    }
    let truths = std::fs::read(folder.path().join("truth"))
        .and_then(|bytes| truth::decode(&bytes))
        .map_err(|error| format!("the actor's truth: {error}"))?;
    Ok(Run {
        truths,
        events: keeper.events,
        skipped: keeper.skipped,
    })
}

/// The last call that was announced.
fn at(keeper: &Keeper) -> String {
    match crate::script::script().get(keeper.last.0) {
        Some(case) => format!("{} {} [{}]", case.abi.name(), case.call.name, case.label),
        None => "a call that is not in the script".to_owned(),
    }
}

fn command(folder: &Path, limits: Limits, names: &[String]) -> Command {
    let program = std::env::current_exe()
        .expect("the path of this test")
        .into_os_string();
    let mut args: Vec<OsString> = vec!["actor".into(), "--actor".into(), folder.into()];
    args.push(if limits == LOW { "low" } else { "default" }.into());
    args.extend(names.iter().map(OsString::from));
    Command { program, args }
}

fn events(
    driver: &'static dyn Driver,
    host: &Host,
    limits: Limits,
    command: Command,
    keeper: &mut Keeper,
) -> Result<Option<i32>, String> {
    let request = Request {
        target: Target::Command(command),
        selection: SyscallSet::all().into(),
        limits,
        buffer: 16 << 20,
    };
    let opened = driver
        .open(host, &request)
        .map_err(|error| format!("open: {}", Chain(&error)))?;
    for gap in &opened.gaps {
        println!(
            "{}: opened without {}: {}",
            driver.name(),
            gap.what,
            gap.why
        );
    }
    let mut capture = opened.capture;
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        let polled = capture.poll(Duration::from_millis(50), &mut |event| {
            keeper.keep(&event);
            Flow::Continue
        });
        if let Polled::Ended(status) = polled.map_err(|error| Chain(&error).to_string())? {
            return Ok(status);
        }
    }
    Err(format!("the actor has not ended after {PATIENCE:?}"))
}
