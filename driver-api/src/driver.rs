//! The [`Driver`] and [`Capture`] traits: the contract between a driver and the consumer of its events.
//!
//! The contract says what is captured, not how, so that it stays the same while kernels and mechanisms change. Each
//! numbered clause has a case in the conformance suite (`drivers/tests/conformance`), which runs on every driver.
//!
//! **Probing and opening**
//!
//! 1. [`Driver::probe`] is a pure function of the [`Host`]: no side effect, the same answer for the same host.
//! 2. If a driver's probe says `Unusable`, [`Driver::open`] fails with [`OpenError::Unusable`].
//! 3. If the driver does not support a target or a setting, [`Driver::open`] fails with
//!    [`OpenError::Unsupported`] and has started neither a process nor a program in the kernel.
//! 4. `open` returns one capture. The thread that called `open` is the one that polls it: ptrace(2) binds
//!    tracees to the thread that attached. Any thread may drop it.
//! 5. When `open` returns, capturing has begun: a call that a target process makes from then on is delivered.
//!    A command executes its program during the first [`Capture::poll`], not before.
//!
//! **Events**
//!
//! 6. Events of one process come in the order in which they happened. For the events of one thread this holds
//!    strictly. A fork event comes before any event of the child.
//! 7. A selected call is delivered once, when it returns, with its number, ABI, six arguments, return value and
//!    the attachments that its [`Plan`](crate::plan::Plan) names. A call that does not return (`exit`,
//!    `exit_group`) is delivered at its entry, marked [`Flags::NORETURN`](crate::event::Flags). If a thread is killed
//!    in a call, the call is delivered with the result that the kernel has computed, even if the program never gets
//!    it; a call that the kernel has not made is not delivered. A driver that only sees entries has gaps that say so. It delivers
//!    each call at its entry, marked [`Flags::ENTRY`](crate::event::Flags), without a return value, without the
//!    memory that the kernel writes, and without facts except for the directories where its paths begin.
//! 8. Memory is captured as it is when the call returns. Exception: the memory of a successful exec is captured as
//!    it was at the entry. Output parameters are captured only if the call succeeded. Null pointers have no
//!    attachment.
//! 9. A call of the clone family is delivered once, as the parent's. The birth of the child is a fork event.
//! 10. A successful exec is one event of kind [`Exec`](crate::event::EventKind::Exec) with the facts exe, cwd, argv,
//!     env, ids and comm. Its thread id is the one after the call. An exec that is not selected is delivered as
//!     well, marked [`Flags::UNSELECTED`](crate::event::Flags).
//! 11. Every birth of a process or thread of the target, and every exit of a thread of it, is delivered.
//! 12. Other calls are not delivered: none that is not selected, none of a process that is not a target, and none
//!     of lanner's own.
//! 13. The status of an attachment says whether it is whole.
//! 14. Lost events are counted by cause in [`Stats::lost`], and a later poll delivers `Lost` events with the
//!     same counts. If births, execs or ends may be among them, the `Lost` event comes before all events that happened
//!     after the loss, unless the kernel has skipped a program (`nested`).
//!
//! **Running**
//!
//! 15. [`Capture::poll`] waits for at most the timeout, and hands over events for at most [`TURN`](crate::turn::TURN),
//!     or for the few calls of the sink that take longer. It leaves the events that wait then to the next poll. So
//!     whoever polls can do other things in between, however many events come. An event is valid only during the call
//!     of the sink that receives it.
//! 16. After a sink has answered [`Flow::Stop`], it gets no further event from that poll. The next poll continues
//!     with the next event.
//! 17. [`Capture::select`] replaces the selection. The new one applies to calls that begin after it has returned.
//! 18. When a command and all its descendants have ended, and every event is delivered, this poll and every later
//!     one return [`Polled::Ended`] with the command's wait status. With pids, they return `Ended` without a status
//!     when all followed processes are gone.
//! 19. Dropping a capture detaches everything: no program, filter or tracer remains, and processes that were
//!     attached to run on unharmed. A command that has not executed its program ends.
//! 20. A command gets the signals, the terminal, the descriptors and the environment that it would have without
//!     lanner.
//! 21. If a capture [`holds`](Capture::holds) processes, the thread of an event continues only after the sink has
//!     returned, unless clause 16 kept the event for a later poll. This capture does not deliver the calls of
//!     [`Omit::if_held`](crate::request::Omit::if_held), even if they are selected; other captures do.
//! 22. With [`Omit::facts`](crate::request::Omit::facts) an event may lack its facts, except for the fact comm of an
//!     exec. Everything else stays the same.
//! 23. An event of a selected call is delivered if and only if the call's [`Predicate`](crate::predicate::Predicate)
//!     holds for it. What is left out is not lost. Where an event has no result ([`Flags::ENTRY`](crate::event::Flags)),
//!     every outcome holds, also none. The predicate always holds for a call that was made through another one
//!     ([`Multiplexed`](crate::table::Multiplexed)).
//! 24. If the selection [has times](Selection::times), an event of a selected call has the fact
//!     [`Took`](crate::event::Fact::Took): the time, on the clock of events, from the moment when the driver sees the
//!     call's entry to the moment when it sees its return, or a new program in place of a successful exec. It includes
//!     the time in which the thread waits, is stopped, or is held by the driver. A call that the kernel makes again after
//!     a signal counts from the last time that it was made, one that goes on as restart_syscall(2) from the beginning if
//!     the event is that of the original call. The fact is absent, and never 0 instead, where the time is not known: if
//!     the call was running when the capture or the selection of it began, if the entry was missed, or was that of
//!     another call; and it has no meaning for a call that does not return, and for an operation of an io_uring. A
//!     driver that cannot give it has the gap [`Gap::TIMES`], and [`Driver::open`] returns it if the selection has times.
//!     Without times, no event has the fact. [`Capture::select`] may refuse to add times.

use std::fmt;
use std::path::Path;
use std::time::Duration;

pub use crate::error::{CaptureError, OpenError};
use crate::event::Event;
use crate::host::Host;
use crate::request::Request;
use crate::selection::Selection;
use crate::stats::Stats;
use crate::support::{Gap, Serves, Support, Tested};

/// A way to capture. Static; registered with [`inventory`] by [`register`](crate::register).
pub trait Driver: Sync + fmt::Debug {
    /// The name for `--driver`: lower case, stable.
    fn name(&self) -> &'static str;

    /// One sentence for `lanner drivers`.
    fn description(&self) -> &'static str;

    /// Its rank in the order in which `--driver auto` tries drivers: the lowest comes first.
    fn preference(&self) -> u32;

    /// Which kinds of targets it can capture.
    fn serves(&self) -> Serves;

    /// The modes in which it can capture, if it has several. Each is a driver that captures in this mode or refuses.
    /// The driver itself takes the first mode that works.
    fn modes(&self) -> &'static [Mode] {
        &[]
    }

    /// Whether it reads the kernel's types ([`Host::btf_file`]).
    fn uses_btf(&self) -> bool {
        false
    }

    /// Checks that a file has a kernel's types, as far as that can be known without opening a capture.
    ///
    /// # Errors
    ///
    /// [`open`](Driver::open) would refuse the file.
    fn check_btf(&self, _file: &Path) -> Result<(), OpenError> {
        Ok(())
    }

    /// Where it leaves out the calls that a predicate does not want (clause 23), as far as a kind of call allows it.
    fn tested(&self) -> Tested;

    /// Signals that it sends to lanner's own process while it captures. No other code may handle them.
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

    /// Whether it can run on this host, and with which gaps (clause 1).
    fn probe(&self, host: &Host) -> Support;

    /// Begins to capture (clauses 2 to 5).
    ///
    /// # Errors
    ///
    /// The driver cannot run here, does not support the request, or failed; or the command or a process of the
    /// request is at fault.
    fn open(&self, host: &Host, request: &Request) -> Result<Opened, OpenError>;
}

/// One of several modes in which a driver can capture.
#[derive(Debug, Clone, Copy)]
pub struct Mode {
    /// The name for users.
    pub name: &'static str,
    /// The driver that captures in this mode only.
    pub driver: &'static dyn Driver,
}

/// What [`Driver::open`] returns.
#[derive(Debug)]
pub struct Opened {
    /// The running capture.
    pub capture: Box<dyn Capture>,
    /// Gaps that probing could not find: a program that the verifier refused, a fact that could not be located.
    pub gaps: Vec<Gap>,
}

/// A running capture.
pub trait Capture: Send + fmt::Debug {
    /// Hands waiting events to the sink. Waits up to `timeout` for the first one (clauses 15, 16, 18).
    ///
    /// # Errors
    ///
    /// The command cannot be started, or the capture cannot go on.
    fn poll(
        &mut self,
        timeout: Duration,
        sink: &mut dyn FnMut(Event<'_>) -> Flow,
    ) -> Result<Polled, CaptureError>;

    /// The command, once it has been started. None: there is no command, or it has not been started yet.
    fn command(&mut self) -> Option<CommandState> {
        None
    }

    /// Whether the thread of an event is stopped while the sink has the event (clause 21), so that the sink can read
    /// about it in /proc.
    fn holds(&self) -> bool {
        false
    }

    /// Replaces the selection (clause 17).
    ///
    /// # Errors
    ///
    /// The kernel refused, or this capture cannot widen its selection, or cannot add times to it. The old selection stays.
    fn select(&mut self, selection: &Selection) -> Result<(), CaptureError>;

    /// Counters of this capture.
    fn stats(&self) -> Stats;
}

/// A command that was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandState {
    /// Its process id. Once there is a status, the kernel may give the id to another process.
    pub pid: u32,
    /// Its wait status (wait(2)), once it has ended. Its descendants may run on.
    pub status: Option<i32>,
}

/// The sink's answer to an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Hand over the next event.
    Continue,
    /// Hand over no more events in this poll.
    Stop,
}

/// The result of a poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Polled {
    /// This number of events was handed over. More may come.
    Events(usize),
    /// No more events will come. The command's wait status (wait(2)), if there was a command.
    Ended(Option<i32>),
}

/// A driver in the registry.
#[derive(Debug)]
pub struct Registered(pub &'static dyn Driver);

inventory::collect!(Registered);

/// Registers a driver in every binary that it is linked into.
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
