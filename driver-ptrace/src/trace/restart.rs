//! Calls that tracing alone has interrupted: they are made again, unseen.
//!
//! Most calls that a stop interrupts go on by themselves. Some end with EINTR even without a handler (signal(7),
//! "Interruption of system calls and library functions by stop signals"). Untraced, they would not have been
//! interrupted: an interruption may be one that lanner asked for, or a signal may be ignored, which a tracer is
//! still asked about. lanner changes the result of such a call to ERESTARTNOHAND. Then the kernel makes it again,
//! unless a handler runs, and in that case it ends with EINTR as it does untraced.

use driver_api::event::Abi;
use driver_api::table::{self, X32_BIT};

use crate::tracee::{InterruptStop, InterruptedCall, ReturnPath, SignalStop};

/// include/linux/errno.h
const ERESTARTNOHAND: i64 = 514;

/// How long a call waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Limit {
    /// It has no limit.
    None,
    /// This argument is the limit in milliseconds; negative: none.
    Milliseconds(usize),
    /// This argument points to the limit; null: none.
    Behind(usize),
    /// The socket has a limit, or the call would not have ended with EINTR.
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

/// Whether a call that ends with EINTR may be made again.
pub(super) fn may_be_made_again(name: &str) -> bool {
    INTERRUPTED.iter().any(|(known, _)| *known == name)
}

/// In a stop that lanner has asked for: has the call that it interrupted made again. Returns whether there is one.
pub(super) fn after_interruption(stop: &InterruptStop) -> bool {
    make_again(&stop.return_path(), |_, _| true)
}

/// In a stop before a signal is delivered: has the call that the signal interrupted made again. Returns whether it
/// is. A call with a time limit is left alone, because its time would begin anew with every signal.
pub(super) fn before_signal(stop: &SignalStop) -> bool {
    let stopping = [libc::SIGSTOP, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];
    !stopping.contains(&stop.signal()) && make_again(&stop.return_path(), is_endless)
}

fn make_again(path: &ReturnPath<'_>, may: impl Fn(Limit, &[u64; 6]) -> bool) -> bool {
    let again = path
        .interrupted_call()
        .is_some_and(|call| limit_of(&call).is_some_and(|limit| may(limit, &call.args)));
    if again {
        path.set_result(-ERESTARTNOHAND);
    }
    again
}

fn limit_of(call: &InterruptedCall) -> Option<Limit> {
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
