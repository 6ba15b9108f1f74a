//! The kinds of stop that ptrace(2) describes, with one guard type each.

use std::ffi::c_int;
use std::ops::Deref;

use libc::{c_ulong, pid_t};

use super::position::{self, Boundary, EnteredCall};
use super::registers::InterruptedCall;
use super::{Gone, Request, STARTED, request};
use crate::filter;

/// PTRACE_EVENT_STOP (linux/ptrace.h), which libc does not have: a group-stop, an interruption, or the first stop
/// of a thread that was attached automatically.
const EVENT_STOP: c_int = 128;
/// The signal of a syscall-stop with PTRACE_O_TRACESYSGOOD.
const SYSCALL_TRAP: c_int = libc::SIGTRAP | 0x80;

/// What [`wait`](super::wait) reports about a thread.
#[derive(Debug)]
pub(crate) enum Wait {
    /// It has stopped.
    Stopped(Stop),
    /// It has ended.
    Ended {
        /// The thread.
        tid: pid_t,
        /// Its wait status (wait(2)).
        status: c_int,
    },
}

/// A stop, by its kind.
#[derive(Debug)]
pub(crate) enum Stop {
    /// At the entry or exit of a call.
    Syscall(SyscallStop),
    /// At the entry of a call, by a seccomp filter.
    Seccomp(SeccompStop),
    /// In a call that has made a child or a thread.
    Birth(BirthStop),
    /// In an exec that has succeeded.
    Exec(ExecStop),
    /// On the way to its end: its memory and its descriptors still exist.
    Exit(ExitStop),
    /// Before a signal is delivered.
    Signal(SignalStop),
    /// With all threads of its process, by a stopping signal.
    Group(GroupStop),
    /// By an interruption, by the end of a group-stop, or before a new thread's first instruction.
    Interrupt(InterruptStop),
    /// By an event that was not asked for.
    Unexpected(UnexpectedStop),
}

/// A thread in a ptrace-stop of any kind: only its id can be asked for.
///
/// Only [`Wait::decode`] makes one. Dropping it leaves the thread stopped, so that each guard is consumed by what
/// lets the thread go.
#[derive(Debug)]
pub(crate) struct Stopped {
    tid: pid_t,
}

impl Stopped {
    /// The thread's id.
    pub(crate) fn tid(&self) -> pid_t {
        self.tid
    }

    /// The number that comes with an event (PTRACE_GETEVENTMSG).
    fn message(&self) -> Result<u32, Gone> {
        let mut message: c_ulong = 0;
        // SAFETY: the kernel writes one unsigned long.
        let result = unsafe {
            libc::ptrace(
                libc::PTRACE_GETEVENTMSG,
                self.tid,
                0_usize,
                &raw mut message,
            )
        };
        if result == -1 {
            Err(Gone)
        } else {
            Ok(u32::try_from(message).unwrap_or(0))
        }
    }
}

/// Declares guards: each is a [`Stopped`] that is known to be in one kind of stop.
macro_rules! guards {
    ($($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty),* })*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        #[must_use = "a guard that is dropped leaves its thread stopped"]
        pub(crate) struct $name {
            stopped: Stopped,
            $($field: $type,)*
        }

        impl Deref for $name {
            type Target = Stopped;

            fn deref(&self) -> &Stopped {
                &self.stopped
            }
        }
    )*};
}

guards! {
    /// A syscall-stop: a thread that was resumed until the next entry or exit of a call has come to it.
    SyscallStop {}
    /// A PTRACE_EVENT_SECCOMP stop.
    SeccompStop {}
    /// A PTRACE_EVENT_FORK, VFORK or CLONE stop.
    BirthStop { kind: BirthKind }
    /// A PTRACE_EVENT_EXEC stop.
    ExecStop {}
    /// A PTRACE_EVENT_EXIT stop.
    ExitStop {}
    /// A signal-delivery-stop.
    SignalStop { signal: c_int }
    /// A group-stop. It must not be resumed: its end is a matter of SIGCONT.
    GroupStop {}
    /// A PTRACE_EVENT_STOP that is no group-stop.
    InterruptStop {}
    /// A stop of another kind.
    UnexpectedStop {}
}

/// How a child was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BirthKind {
    /// fork(2), or a clone(2) that sends SIGCHLD.
    Fork,
    /// vfork(2), or a clone(2) with CLONE_VFORK.
    Vfork,
    /// Any other clone(2): it makes a thread, or a process that does not send SIGCHLD.
    Clone,
}

impl Wait {
    /// The thread's id.
    pub(crate) fn tid(&self) -> pid_t {
        match self {
            Self::Stopped(stop) => stop.tid(),
            Self::Ended { tid, .. } => *tid,
        }
    }

    /// Decodes a wait status. To be called with what waitpid(2) has just reported.
    pub(super) fn decode(tid: pid_t, status: c_int) -> Self {
        if !libc::WIFSTOPPED(status) {
            return Self::Ended { tid, status };
        }
        let stopped = Stopped { tid };
        let signal = libc::WSTOPSIG(status);
        let stopping = [libc::SIGSTOP, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];
        let birth = |stopped, kind| Stop::Birth(BirthStop { stopped, kind });
        Self::Stopped(match status >> 16 {
            0 if signal == SYSCALL_TRAP => Stop::Syscall(SyscallStop { stopped }),
            0 => Stop::Signal(SignalStop { stopped, signal }),
            libc::PTRACE_EVENT_SECCOMP => Stop::Seccomp(SeccompStop { stopped }),
            libc::PTRACE_EVENT_FORK => birth(stopped, BirthKind::Fork),
            libc::PTRACE_EVENT_VFORK => birth(stopped, BirthKind::Vfork),
            libc::PTRACE_EVENT_CLONE => birth(stopped, BirthKind::Clone),
            libc::PTRACE_EVENT_EXEC => Stop::Exec(ExecStop { stopped }),
            libc::PTRACE_EVENT_EXIT => Stop::Exit(ExitStop { stopped }),
            EVENT_STOP if stopping.contains(&signal) => Stop::Group(GroupStop { stopped }),
            EVENT_STOP => Stop::Interrupt(InterruptStop { stopped }),
            _ => Stop::Unexpected(UnexpectedStop { stopped }),
        })
    }
}

impl Stop {
    /// The thread's id.
    pub(crate) fn tid(&self) -> pid_t {
        match self {
            Self::Syscall(stop) => stop.tid(),
            Self::Seccomp(stop) => stop.tid(),
            Self::Birth(stop) => stop.tid(),
            Self::Exec(stop) => stop.tid(),
            Self::Exit(stop) => stop.tid(),
            Self::Signal(stop) => stop.tid(),
            Self::Group(stop) => stop.tid(),
            Self::Interrupt(stop) => stop.tid(),
            Self::Unexpected(stop) => stop.tid(),
        }
    }

    /// What lets the thread go without a signal. A group-stop is given back: it cannot be resumed.
    fn without_signal(self) -> Result<Resumption, GroupStop> {
        Ok(match self {
            Self::Syscall(stop) => stop.into(),
            Self::Seccomp(stop) => stop.into(),
            Self::Birth(stop) => stop.into(),
            Self::Exec(stop) => stop.into(),
            Self::Exit(stop) => stop.into(),
            Self::Signal(stop) => stop.suppress(),
            Self::Group(stop) => return Err(stop),
            Self::Interrupt(stop) => stop.into(),
            Self::Unexpected(stop) => stop.into(),
        })
    }

    /// Stops tracing the thread. A signal that it was about to get is suppressed; a group-stop goes on.
    pub(crate) fn detach_without_signal(self) {
        match self.without_signal() {
            Ok(resumption) => resumption.detach(),
            Err(group) => group.detach(),
        }
    }

    /// Lets a thread that was sent SIGKILL go on to its end.
    pub(crate) fn go_on_to_die(self) {
        match self.without_signal() {
            Ok(resumption) => resumption.go(RunUntil::Event),
            Err(group) => group.listen(),
        }
    }
}

impl SyscallStop {
    /// Where in a call the thread is. `expects_entry` is what the caller knows, for kernels that cannot say
    /// (before Linux 5.3).
    pub(crate) fn boundary(&self, expects_entry: bool) -> Result<Boundary, Gone> {
        position::of(self, expects_entry, || self.is_narrow_instruction())
    }

    /// At an entry: has the call return this instead of being made.
    pub(crate) fn answer(&self, result: i64) {
        self.stopped.skip_call(result);
    }
}

impl SeccompStop {
    /// The call that is about to be made.
    pub(crate) fn entry(&self) -> Result<EnteredCall, Gone> {
        let data = || self.message().ok().map(|data| data as u16);
        match position::of(self, true, || data() == Some(filter::OURS_NARROW))? {
            Boundary::Entry(entry) if entry.filter_data.is_none() => Ok(EnteredCall {
                filter_data: data(),
                ..entry
            }),
            Boundary::Entry(entry) => Ok(entry),
            // a filter stops a thread at an entry alone
            Boundary::Exit { .. } => Err(Gone),
        }
    }

    /// Has the call return this instead of being made: number -1 is no call (seccomp(2), `SECCOMP_RET_TRACE`).
    pub(crate) fn answer(&self, result: i64) {
        self.stopped.skip_call(result);
    }
}

impl BirthStop {
    /// How the child was made.
    pub(crate) fn kind(&self) -> BirthKind {
        self.kind
    }

    /// The child's id.
    pub(crate) fn child(&self) -> Result<u32, Gone> {
        self.message()
    }
}

impl ExecStop {
    /// The command runs its program: from now on, it and its descendants have all options.
    pub(crate) fn begin(&self) {
        // the end of a thread that is gone is reported
        let _ = request(libc::PTRACE_SETOPTIONS, self.tid(), 0, STARTED as usize);
    }

    /// The id that the thread had before: exec gives it the id of its process's first thread.
    pub(crate) fn former_tid(&self) -> Result<pid_t, Gone> {
        self.message().map(u32::cast_signed)
    }
}

impl ExitStop {
    /// What the call that it is killed in returns. That never reaches the program.
    pub(crate) fn result(&self) -> Result<i64, Gone> {
        match self.stopped.boundary_in_registers(false, false)? {
            Boundary::Exit { ret } => Ok(ret),
            Boundary::Entry(_) => Err(Gone),
        }
    }
}

impl SignalStop {
    /// The signal.
    pub(crate) fn signal(&self) -> c_int {
        self.signal
    }

    /// The call that the signal has interrupted.
    pub(crate) fn return_path(&self) -> ReturnPath<'_> {
        ReturnPath(self)
    }

    /// To go on with the signal.
    pub(crate) fn deliver(self) -> Resumption {
        Resumption {
            stopped: self.stopped,
            signal: self.signal,
        }
    }

    /// To go on without the signal.
    pub(crate) fn suppress(self) -> Resumption {
        Resumption {
            stopped: self.stopped,
            signal: 0,
        }
    }

    /// Goes on with the signal, to the first instruction of its handler. The next stop is by SIGTRAP.
    pub(crate) fn step_into_handler(self) {
        // a thread that is gone needs no resuming
        let _ = request(
            libc::PTRACE_SINGLESTEP,
            self.tid(),
            0,
            self.signal.unsigned_abs() as usize,
        );
    }

    /// At a handler's first instruction: what the call that the handler has interrupted returns afterwards.
    pub(crate) fn result_behind_handler(&self) -> Option<i64> {
        self.stopped.result_behind_handler()
    }
}

impl GroupStop {
    /// Stays stopped, but reports the end of the group-stop, which SIGCONT brings (PTRACE_LISTEN).
    pub(crate) fn listen(self) {
        // a thread that is gone needs no resuming
        let _ = request(libc::PTRACE_LISTEN, self.tid(), 0, 0);
    }

    /// Stops tracing the thread, which stays stopped.
    pub(crate) fn detach(self) {
        let _ = request(libc::PTRACE_DETACH, self.tid(), 0, 0);
    }
}

impl InterruptStop {
    /// The call that the interruption has interrupted.
    pub(crate) fn return_path(&self) -> ReturnPath<'_> {
        ReturnPath(self)
    }
}

/// A thread on its way out of the kernel, in a stop that lets a tracer look at the result of the call that was
/// interrupted, and change it.
#[derive(Debug)]
pub(crate) struct ReturnPath<'a>(&'a Stopped);

impl ReturnPath<'_> {
    /// The call that has just ended with EINTR, if one has.
    pub(crate) fn interrupted_call(&self) -> Option<InterruptedCall> {
        self.0.interrupted_call()
    }

    /// Changes what that call returns.
    pub(crate) fn set_result(&self, result: i64) {
        self.0.set_result(result);
    }
}

/// How far a thread runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RunUntil {
    /// To the next entry or exit of a call, or to an event before it (PTRACE_SYSCALL).
    CallBoundary,
    /// To the next event or signal (PTRACE_CONT).
    Event,
}

/// A stopped thread that is about to go on, with the signal that it gets then. Only a [`SignalStop`] can give one
/// a signal.
#[derive(Debug)]
#[must_use = "a thread that is not resumed stays stopped"]
pub(crate) struct Resumption {
    stopped: Stopped,
    /// 0: none.
    signal: c_int,
}

impl Resumption {
    /// The thread's id.
    pub(crate) fn tid(&self) -> pid_t {
        self.stopped.tid
    }

    /// Goes on.
    pub(crate) fn go(self, until: RunUntil) {
        self.make(match until {
            RunUntil::CallBoundary => libc::PTRACE_SYSCALL,
            RunUntil::Event => libc::PTRACE_CONT,
        });
    }

    /// Goes on untraced.
    pub(crate) fn detach(self) {
        self.make(libc::PTRACE_DETACH);
    }

    fn make(self, what: Request) {
        // a thread that is gone needs no resuming
        let _ = request(
            what,
            self.stopped.tid,
            0,
            self.signal.unsigned_abs() as usize,
        );
    }
}

/// The stops that are resumed without a signal.
macro_rules! resumed_without_signal {
    ($($name:ident)*) => {$(
        impl From<$name> for Resumption {
            fn from(stop: $name) -> Self {
                Self { stopped: stop.stopped, signal: 0 }
            }
        }
    )*};
}

resumed_without_signal! { SyscallStop SeccompStop BirthStop ExecStop ExitStop InterruptStop UnexpectedStop }

#[cfg(test)]
mod tests {
    use super::*;

    /// The wait status of a stop (wait(2), ptrace(2)).
    fn stop(signal: c_int, event: c_int) -> Stop {
        match Wait::decode(1, event << 16 | signal << 8 | 0x7f) {
            Wait::Stopped(stop) => stop,
            Wait::Ended { .. } => panic!("{signal} {event} is a stop"),
        }
    }

    #[test]
    fn a_wait_status_is_decoded_to_its_kind_of_stop() {
        assert!(matches!(stop(libc::SIGTRAP | 0x80, 0), Stop::Syscall(_)));
        let signals = [
            libc::SIGTRAP,
            libc::SIGSTOP,
            libc::SIGUSR1,
            libc::SIGRTMAX(),
        ];
        for signal in signals {
            let Stop::Signal(stop) = stop(signal, 0) else {
                panic!("signal {signal}");
            };
            assert_eq!(stop.signal(), signal);
        }
        for (event, kind) in [
            (libc::PTRACE_EVENT_FORK, BirthKind::Fork),
            (libc::PTRACE_EVENT_VFORK, BirthKind::Vfork),
            (libc::PTRACE_EVENT_CLONE, BirthKind::Clone),
        ] {
            let Stop::Birth(stop) = stop(libc::SIGTRAP, event) else {
                panic!("event {event}");
            };
            assert_eq!(stop.kind(), kind);
        }
        let trap = libc::SIGTRAP;
        assert!(matches!(
            stop(trap, libc::PTRACE_EVENT_SECCOMP),
            Stop::Seccomp(_)
        ));
        assert!(matches!(stop(trap, libc::PTRACE_EVENT_EXEC), Stop::Exec(_)));
        assert!(matches!(stop(trap, EVENT_STOP), Stop::Interrupt(_)));
        for signal in [libc::SIGSTOP, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU] {
            assert!(matches!(stop(signal, EVENT_STOP), Stop::Group(_)));
        }
        assert!(matches!(stop(trap, libc::PTRACE_EVENT_EXIT), Stop::Exit(_)));
        assert!(matches!(
            stop(trap, libc::PTRACE_EVENT_VFORK_DONE),
            Stop::Unexpected(_)
        ));
    }

    #[test]
    fn an_end_is_no_stop() {
        for status in [0, 7 << 8, libc::SIGKILL, libc::SIGSEGV | 0x80] {
            let wait = Wait::decode(9, status);
            assert!(
                matches!(wait, Wait::Ended { tid: 9, status: s } if s == status),
                "{wait:?}"
            );
        }
    }
}
