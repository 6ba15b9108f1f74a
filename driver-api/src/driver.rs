//! The [`Driver`] and [`Capture`] traits: the contract between those who capture and those who consume.
//!
//! It says what is captured, never how, so that it can stay while kernels and mechanisms change. Each
//! numbered clause has a case in the conformance suite (`drivers/tests/conformance`), which runs on
//! every driver.
//!
//! **Probing and opening**
//!
//! 1. [`Driver::probe`] is a pure function of the [`Host`]: no side effect, the same answer for the same host.
//! 2. A driver whose probe says `Unusable` refuses [`Driver::open`] with [`OpenError::Unusable`].
//! 3. A target or a setting that the driver cannot honour is [`OpenError::Unsupported`], and nothing is
//!    started: no process, no program in the kernel.
//! 4. `open` returns one capture. The thread that called `open` is the one that polls it: ptrace(2) binds
//!    tracees to the thread that attached. Any thread may drop it.
//! 5. When `open` returns, capturing has begun: a call that a target process makes afterwards is delivered.
//!    A command has not executed its program before the first [`Capture::poll`].
//!
//! **Events**
//!
//! 6. Events of one process come in the order in which they happened; of one thread strictly so. A
//!    process's fork event comes before any event of the child.
//! 7. A selected call is delivered once, when it returns, with number, ABI, the six arguments, the return
//!    value and what its [`Plan`](crate::plan::Plan) names. A call that does not return (`exit`,
//!    `exit_group`) is delivered at its entry, marked [`Flags::NORETURN`](crate::event::Flags). A call that
//!    a dying thread never returned from is not delivered. A driver that sees entries alone, which its
//!    gaps name, delivers each call there, marked [`Flags::ENTRY`](crate::event::Flags): without a return
//!    value, without what the kernel writes, without facts.
//! 8. Memory is captured as it is when the call returns; of a successful exec, as it was at its entry.
//!    Output parameters are captured only when the call succeeded. Null pointers have no attachment.
//! 9. The clone family is delivered to the parent only; the child's birth is a fork event.
//! 10. A successful exec is one event of kind [`Exec`](crate::event::Kind::Exec), delivered also when it
//!     is not selected, then marked [`Flags::UNSELECTED`](crate::event::Flags). It has the facts exe, cwd,
//!     argv, env, ids and comm. Its thread id is the one after the call.
//! 11. Every fork, of a process or a thread, and every exit of a thread of the target is delivered.
//! 12. No call that is not selected is delivered, and none of a process that is not a target, and none of
//!     lanner's own.
//! 13. An attachment that could not be captured whole says so in its status.
//! 14. What was lost is counted by cause in [`Stats::lost`], and a `Lost` event of the same count is
//!     delivered by a later poll.
//!
//! **Running**
//!
//! 15. [`Capture::poll`] returns within the timeout plus the time that the sink takes, or earlier; an
//!     event is valid only during the call of the sink that gets it.
//! 16. A sink that answers [`Flow::Stop`] gets no further event from that poll, and the next poll goes on
//!     where it stopped.
//! 17. [`Capture::select`] replaces the selection; calls that begin after it has returned follow it.
//! 18. When a command and all its descendants have ended, and every event is delivered, poll answers
//!     [`Polled::Ended`] with the command's wait status, and does so at every later poll. With pids it
//!     answers `Ended` without a status when all followed processes are gone.
//! 19. Dropping a capture detaches everything: no program, filter or tracer stays, processes that were
//!     attached to run on unharmed. A command that has not been run ends.
//! 20. A command gets the signals, the terminal, the descriptors and the environment it would have without
//!     lanner.
//! 21. A capture that says it [`holds`](Capture::holds) processes lets the thread of an event go on only when the
//!     sink that got the event has returned, unless the event was kept for a later poll by clause 16. It
//!     leaves out the calls of [`Omit::if_held`](crate::request::Omit::if_held), selected or not; other
//!     drivers deliver them.
//! 22. With [`Omit::facts`](crate::request::Omit::facts) an event may come without facts, except for the fact
//!     comm of an exec. Otherwise it is as it would be.

use std::fmt;
use std::time::Duration;

pub use crate::error::{CaptureError, OpenError};
use crate::event::Event;
use crate::host::Host;
use crate::request::{Request, SyscallSet};
use crate::stats::Stats;
use crate::support::{Gap, Serves, Support};

/// A way to capture. Static; registered with [`inventory`](crate::inventory) by [`register`](crate::register).
pub trait Driver: Sync + fmt::Debug {
    /// The name for `--driver`: lower case, stable.
    fn name(&self) -> &'static str;

    /// One sentence for `lanner drivers`.
    fn description(&self) -> &'static str;

    /// Place in the order in which `--driver auto` tries: lower first.
    fn preference(&self) -> u32;

    /// What it can be pointed at.
    fn serves(&self) -> Serves;

    /// The ways in which it can capture, where there are several: each is this driver held to one of them,
    /// which it takes or refuses. The driver itself takes the first that works.
    fn modes(&self) -> &'static [Mode] {
        &[]
    }

    /// Whether it reads the kernel's types ([`Host::btf_file`]).
    fn uses_btf(&self) -> bool {
        false
    }

    /// Signals that it sends to lanner's own process while it captures. Nobody else may handle them.
    fn reserved_signals(&self) -> Vec<i32> {
        Vec::new()
    }

    /// Capabilities, bit by number (capabilities(7)), that [`open`](Driver::open) needs on this host and the
    /// running capture does not. The process may give them up once the driver is open.
    fn capabilities_to_open(&self, _host: &Host) -> u64 {
        0
    }

    /// Fills in the fields of `host` that only a try can answer, such as what a container's profile forbids
    /// ([`Trial`](crate::host::Trial)). What was tried before is not tried again. It may start children that
    /// end before it returns.
    fn try_out(&self, _host: &mut Host) {}

    /// What it could do on this host (clause 1).
    fn probe(&self, host: &Host) -> Support;

    /// Begins to capture (clauses 2 to 5).
    ///
    /// # Errors
    ///
    /// The driver cannot run here, does not support the request, or failed; or the command or a process of the
    /// request is at fault.
    fn open(&self, host: &Host, request: &Request) -> Result<Opened, OpenError>;
}

/// One of several ways in which a driver can capture.
#[derive(Debug, Clone, Copy)]
pub struct Mode {
    /// What the user calls it.
    pub name: &'static str,
    /// The driver that is held to it.
    pub driver: &'static dyn Driver,
}

/// What [`Driver::open`] gives.
#[derive(Debug)]
pub struct Opened {
    /// The running capture.
    pub capture: Box<dyn Capture>,
    /// Gaps that showed only now: a program that the verifier refused, a fact that could not be found.
    pub gaps: Vec<Gap>,
}

/// A running capture.
pub trait Capture: Send + fmt::Debug {
    /// Hands waiting events to the sink; waits up to `timeout` for the first (clauses 15, 16, 18).
    ///
    /// # Errors
    ///
    /// The command cannot be started, or the capture cannot go on.
    fn poll(
        &mut self,
        timeout: Duration,
        sink: &mut dyn FnMut(Event<'_>) -> Flow,
    ) -> Result<Polled, CaptureError>;

    /// The command that was started, once it has been released. None: it has not been yet, or there is none.
    fn command(&mut self) -> Option<CommandState> {
        None
    }

    /// Whether the thread of an event stands still while the sink has the event (clause 21), so that /proc can be
    /// asked about it.
    fn holds(&self) -> bool {
        false
    }

    /// Replaces the selection (clause 17).
    ///
    /// # Errors
    ///
    /// The kernel refused, or this capture cannot widen its selection. The old selection stays.
    fn select(&mut self, selection: &SyscallSet) -> Result<(), CaptureError>;

    /// Counters of this capture.
    fn stats(&self) -> Stats;
}

/// A command that was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandState {
    /// Its process id; another process may have it once there is a status.
    pub pid: u32,
    /// Its wait status (wait(2)), once it has ended. Processes that it has left behind may go on.
    pub status: Option<i32>,
}

/// The sink's answer to an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Go on.
    Continue,
    /// No more for now.
    Stop,
}

/// What a poll came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Polled {
    /// So many events were handed over; more may come.
    Events(usize),
    /// Nothing more will come. The command's wait status (wait(2)), where there was a command.
    Ended(Option<i32>),
}

/// A driver in the registry.
#[derive(Debug)]
pub struct Registered(pub &'static dyn Driver);

inventory::collect!(Registered);

/// Puts a driver into the registry of the binary that it is linked into.
#[macro_export]
macro_rules! register {
    ($driver:expr) => {
        $crate::inventory::submit! { $crate::driver::Registered(&$driver) }
    };
}

/// Every registered driver, the preferred one first.
pub fn registered() -> Vec<&'static dyn Driver> {
    let mut drivers: Vec<_> = inventory::iter::<Registered>
        .into_iter()
        .map(|r| r.0)
        .collect();
    drivers.sort_by_key(|driver| (driver.preference(), driver.name()));
    drivers
}
