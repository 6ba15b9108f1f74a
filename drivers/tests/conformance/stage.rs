//! What cases share: opening a driver on an actor, and collecting the events that it delivers.

use std::ffi::OsString;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use driver_api::driver::{Capture, Driver, Flow, Opened, Polled};
use driver_api::error::{Chain, OpenError};
use driver_api::event::{Event, EventKind, Header, Loss};
use driver_api::host::Host;
use driver_api::request::{Command, Limits, Request, SyscallSet, Target};
use driver_api::support::Gap;
use driver_api::table;

/// A case's result: a note for the report, or what went wrong.
pub(crate) type Outcome = Result<Option<String>, String>;

/// The longest time without an event. There is no limit on the whole time of an actor: an emulated machine is slow.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The driver under test.
pub(crate) struct Stage<'a> {
    pub(crate) driver: &'static dyn Driver,
    pub(crate) host: &'a Host,
}

/// An event that was kept.
#[derive(Debug, Clone)]
pub(crate) struct Kept(Vec<u8>);

impl Kept {
    pub(crate) fn event(&self) -> Event<'_> {
        Event::parse(&self.0).expect("it was an event when it was kept")
    }

    pub(crate) fn header(&self) -> Header {
        *self.event().header()
    }

    pub(crate) fn kind(&self) -> EventKind {
        self.event().kind()
    }

    /// The name of the call. Empty: the event is no call.
    pub(crate) fn name(&self) -> &'static str {
        let event = self.event();
        match event.kind() {
            EventKind::Syscall | EventKind::Exec => {
                table::by_number(event.abi(), event.header().nr).map_or("?", |call| call.name)
            }
            _ => "",
        }
    }

    /// The memory that an argument points to, as text.
    pub(crate) fn text(&self, at: usize) -> Option<String> {
        self.event()
            .argument(at)
            .map(|a| String::from_utf8_lossy(&a.text()).into_owned())
    }
}

/// The events of calls of this name.
pub(crate) fn named<'a>(events: &'a [Kept], name: &'a str) -> impl Iterator<Item = &'a Kept> {
    events.iter().filter(move |event| event.name() == name)
}

/// The set of these calls.
pub(crate) fn calls(names: &[&str]) -> SyscallSet {
    names
        .iter()
        .map(|name| table::by_name(name).expect("a call of the table"))
        .collect()
}

/// The command that runs this binary as an actor.
pub(crate) fn actor(scene: &str, args: &[&str]) -> Command {
    let program = std::env::current_exe()
        .expect("the path of this test")
        .into_os_string();
    let args = [OsString::from("actor"), "--actor".into(), scene.into()]
        .into_iter()
        .chain(args.iter().map(OsString::from))
        .collect();
    Command { program, args }
}

/// A request with the default limits.
pub(crate) fn request(target: Target, names: &[&str]) -> Request {
    Request {
        target,
        selection: calls(names).into(),
        limits: Limits::default(),
        buffer: 4 << 20,
    }
}

impl Stage<'_> {
    /// Whether the driver sees only entries, as its gaps say: no results, no facts of descriptors, no memory that the
    /// kernel writes.
    pub(crate) fn entry_only(&self) -> bool {
        let support = self.driver.probe(self.host);
        support.gaps().iter().any(|gap| gap.what == "return values")
    }

    /// For a call that must not fail: whether the driver says that it does not capture it. It must not deliver it then,
    /// either, which is the result of the case.
    pub(crate) fn leaves_alone(&self, call: &str) -> Option<Outcome> {
        let support = self.driver.probe(self.host);
        let mut gaps = support.gaps().iter();
        gaps.find(|gap| gap.what == "calls that must not fail" && gap.why.contains(call))?;
        Some(
            self.watch("exit", &["7"], &[call])
                .and_then(|(events, status)| {
                    same("status", &status, &Some(7 << 8))?;
                    match named(&events, call).next() {
                        Some(_) => Err(format!("{call} is delivered in spite of the gap")),
                        None => Ok(Some("gap: calls that must not fail".to_owned())),
                    }
                }),
        )
    }

    /// For a driver that cannot capture running processes, or not on this host: it must say so, which is the result of
    /// the case.
    pub(crate) fn no_pids(&self) -> Option<Outcome> {
        let support = self.driver.probe(self.host);
        let named = |gap: &Gap| gap.what == "running processes (-p)";
        if self.driver.serves().pids && !support.gaps().iter().any(named) {
            return None;
        }
        let request = request(Target::Pids(vec![std::process::id()]), &["openat"]);
        Some(match self.open(&request) {
            Err(OpenError::Unsupported { why, .. }) if !why.is_empty() => {
                Ok(Some("gap: running processes".to_owned()))
            }
            other => Err(format!("expected Unsupported with a reason, got {other:?}")),
        })
    }

    pub(crate) fn open(&self, request: &Request) -> Result<Opened, OpenError> {
        self.driver.open(self.host, request)
    }

    /// Opens, or fails the case.
    pub(crate) fn must_open(&self, request: &Request) -> Result<Box<dyn Capture>, String> {
        let opened = self
            .open(request)
            .map_err(|error| format!("open: {}", Chain(&error)))?;
        Ok(opened.capture)
    }

    /// Everything that an actor's capture delivers, and how it ended.
    pub(crate) fn watch(
        &self,
        scene: &str,
        args: &[&str],
        names: &[&str],
    ) -> Result<(Vec<Kept>, Option<i32>), String> {
        let mut capture = self.must_open(&request(Target::Command(actor(scene, args)), names))?;
        to_the_end(capture.as_mut())
    }
}

/// Runs of programs that the kernel skipped, as far as captures reported them (docs/drivers.md).
static SKIPPED: AtomicU64 = AtomicU64::new(0);

/// The runs that were skipped since the last call of this function.
pub(crate) fn skipped() -> u64 {
    SKIPPED.swap(0, Ordering::Relaxed)
}

/// Polls once and keeps what comes.
pub(crate) fn poll(
    capture: &mut dyn Capture,
    into: &mut Vec<Kept>,
    wait: Duration,
) -> Result<Polled, String> {
    capture
        .poll(wait, &mut |event| {
            let header = event.header();
            if event.kind() == EventKind::Lost && header.args[1] == Loss::Nested as u64 {
                SKIPPED.fetch_add(header.args[0], Ordering::Relaxed);
            }
            into.push(Kept(event.to_vec()));
            Flow::Continue
        })
        .map_err(said)
}

/// Polls until the capture ends.
pub(crate) fn to_the_end(capture: &mut dyn Capture) -> Result<(Vec<Kept>, Option<i32>), String> {
    let mut events = Vec::new();
    let status = until(capture, &mut events, |_| false)?;
    Ok((events, status.flatten()))
}

/// Polls until the capture ends, which returns its status, or until `enough` holds, which returns none.
pub(crate) fn until(
    capture: &mut dyn Capture,
    events: &mut Vec<Kept>,
    mut enough: impl FnMut(&[Kept]) -> bool,
) -> Result<Option<Option<i32>>, String> {
    let (mut last, mut count) = (Instant::now(), events.len());
    while last.elapsed() < PATIENCE {
        if let Polled::Ended(status) = poll(capture, events, Duration::from_millis(50))? {
            return Ok(Some(status));
        }
        if enough(events) {
            return Ok(None);
        }
        if events.len() > count {
            (last, count) = (Instant::now(), events.len());
        }
    }
    Err(format!(
        "no end {PATIENCE:?} after the last of {} events",
        events.len()
    ))
}

/// An error with its sources, as the fault of a case.
pub(crate) fn said(error: impl std::error::Error + 'static) -> String {
    Chain(&error).to_string()
}

/// Fails the case unless it holds.
pub(crate) fn check(holds: bool, fault: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(fault()) }
}

/// Fails the case unless both are the same.
pub(crate) fn same<T: PartialEq + std::fmt::Debug>(
    what: &str,
    found: &T,
    expected: &T,
) -> Result<(), String> {
    check(found == expected, || {
        format!("{what}: found {found:?}, expected {expected:?}")
    })
}
