//! Calls that waiting threads are thrown out of by being traced, and that are then made again, unseen.
//!
//! Most calls that a stop interrupts go on by themselves. Some end with EINTR, handler or not (signal(7),
//! "Interruption of system calls and library functions by stop signals"): alone, they would not have been
//! interrupted. An interruption that lanner asked for is one reason; a signal that is ignored is the other,
//! since a tracer is told of that, too. Such a call's result becomes ERESTARTNOHAND: it is made again, unless a
//! handler runs, and then ends with EINTR as it would alone.

use driver_api::event::Abi;
use driver_api::table::{self, X32_BIT};

use crate::tracee::Stopped;

/// include/linux/errno.h
const ERESTARTNOHAND: i64 = 514;

/// How long a call waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Limit {
    /// It has none of its own.
    None,
    /// Milliseconds in this argument; negative: for ever.
    Milliseconds(usize),
    /// This argument points to it; null: for ever.
    Behind(usize),
    /// The socket has one, or it would not have ended so.
    Socket,
}

/// The calls that end with EINTR before they have done anything, so that they can be made again.
const INTERRUPTED: [(&str, Limit); 21] = [
    ("epoll_wait", Limit::Milliseconds(3)),
    ("epoll_pwait", Limit::Milliseconds(3)),
    ("epoll_pwait2", Limit::Behind(3)),
    ("semop", Limit::None),
    ("semtimedop", Limit::Behind(3)),
    ("semtimedop_time64", Limit::Behind(3)),
    ("rt_sigtimedwait", Limit::Behind(2)),
    ("rt_sigtimedwait_time64", Limit::Behind(2)),
    ("io_getevents", Limit::Behind(4)),
    ("io_pgetevents", Limit::Behind(4)),
    ("io_pgetevents_time64", Limit::Behind(4)),
    ("read", Limit::Socket),
    ("readv", Limit::Socket),
    ("write", Limit::Socket),
    ("writev", Limit::Socket),
    ("recvfrom", Limit::Socket),
    ("recvmsg", Limit::Socket),
    ("sendto", Limit::Socket),
    ("sendmsg", Limit::Socket),
    ("accept", Limit::Socket),
    ("accept4", Limit::Socket),
];

/// A call that has ended with EINTR, as the registers of its thread have it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Interrupted {
    pub(crate) abi: Abi,
    pub(crate) nr: u64,
    pub(crate) args: [u64; 6],
}

/// Whether a call that ends with EINTR may be made again.
pub(crate) fn may_be_made_again(name: &str) -> bool {
    INTERRUPTED.iter().any(|(known, _)| *known == name)
}

/// In a stop that lanner has asked for: whatever it has interrupted is made again, and that is said.
pub(crate) fn after_interruption(stopped: &Stopped) -> bool {
    make_again(stopped, |_, _| true)
}

/// In a stop before a signal is delivered. A call with a limit is left alone, as its time would begin anew with
/// every signal. Says whether it is made again.
pub(crate) fn before_signal(stopped: &Stopped, signal: i32) -> bool {
    let stops = [libc::SIGSTOP, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];
    !stops.contains(&signal) && make_again(stopped, is_endless)
}

fn make_again(stopped: &Stopped, may: impl Fn(Limit, &[u64; 6]) -> bool) -> bool {
    let again = stopped
        .interrupted()
        .is_some_and(|call| limit_of(&call).is_some_and(|limit| may(limit, &call.args)));
    if again {
        stopped.set_result(-ERESTARTNOHAND);
    }
    again
}

fn limit_of(call: &Interrupted) -> Option<Limit> {
    let nr = u32::try_from(call.nr).ok()?;
    let abi = if call.abi == Abi::X86_64 && nr & X32_BIT != 0 {
        Abi::X32
    } else {
        call.abi
    };
    let name = table::by_number(abi, nr)?.name;
    let found = INTERRUPTED.iter().find(|(known, _)| *known == name);
    found.map(|(_, limit)| *limit)
}

fn is_endless(limit: Limit, args: &[u64; 6]) -> bool {
    match limit {
        Limit::None => true,
        Limit::Milliseconds(at) => (args[at] as u32).cast_signed() < 0,
        Limit::Behind(at) => args[at] == 0,
        Limit::Socket => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calls_are_those_of_the_table() {
        for (name, _) in INTERRUPTED {
            assert!(table::by_name(name).is_some(), "{name}");
        }
    }

    #[test]
    fn what_waits_for_ever_is_told_from_what_has_a_limit() {
        let args = [0, 0, 0, u64::from(u32::MAX), 0, 0];
        assert!(is_endless(Limit::Milliseconds(3), &args));
        assert!(!is_endless(Limit::Milliseconds(2), &args));
        assert!(is_endless(Limit::Behind(2), &args));
        assert!(!is_endless(Limit::Behind(3), &args));
        assert!(is_endless(Limit::None, &args) && !is_endless(Limit::Socket, &args));
    }
}
