//! Notify mode: seccomp user notification (seccomp_unotify(2)), where ptrace is forbidden. A command's filter wakes
//! lanner at the entry of each selected call; lanner reads the parameters and lets the call go on.
//!
//! [`launch`] installs the filter and gets its [`listener`]; [`receiver`] receives. [`capture`] is the loop, and [`calls`] makes events of
//! entries. [`family`] finds out about births, execs and ends, which nothing reports here, with the help of
//! [`processes`]. [`watchdog`] ends a command whose lanner was killed. [`trial`] tries whether all that is allowed,
//! [`gaps`] says what the mode needs and lacks.

mod calls;
mod capture;
mod family;
mod gaps;
mod launch;
mod listener;
mod processes;
mod receiver;
pub(crate) mod trial;
mod watchdog;

use driver_api::driver::{OpenError, Opened};
use driver_api::host::{Host, capability};
use driver_api::request::{Command, Request, SyscallSet, Target};
use driver_api::selection::Selection;
use driver_api::support::{Gap, Support};
use driver_api::table::{SYSCALLS, by_name};
use driver_start::Held;
use libc::sock_filter;

use crate::filter::{self, Action};
use crate::fuse;
use crate::guard;
use crate::hiding;
use crate::memory::Memory;
use crate::trace;
use capture::NotifyCapture;
use launch::ListenerChannel;

/// `ARCH_SET_FS` (arch_prctl(2)): where a thread's own variables are.
const SET_FS: u32 = 0x1002;
/// A call that a new program makes when it starts, and hardly ever later: it shows that an exec has succeeded. No signal
/// can end it with EINTR then, because exec resets all handlers. With the only argument to ask about, by its place, if the
/// call has other uses.
const FIRST_CALL: (&str, Option<(u32, u32)>) = if cfg!(target_arch = "x86_64") {
    ("arch_prctl", Some((0, SET_FS)))
} else {
    ("set_tid_address", None)
};
/// The same call of 32-bit programs.
const FIRST_NARROW_CALL: &str = "set_thread_area";
/// What glibc does first in a new thread and in a new process, long before a signal can come: the calls that make them
/// are left alone.
const BORN_CALL: &str = "set_robust_list";
/// Calls that change what a process is. A process's end needs none.
const FAMILY: [&str; 3] = ["execve", "execveat", "exit"];

/// Whether a new program begins with this call.
fn is_first_call(name: &str) -> bool {
    name == FIRST_CALL.0 || name == FIRST_NARROW_CALL
}

/// The calls that this mode leaves alone: a signal can end a call before lanner has received its notification, and
/// these must not fail.
fn unfailing_calls() -> SyscallSet {
    SYSCALLS.iter().filter(|call| call.unfailing).collect()
}

/// The calls that the filter has to ask about for a selection.
fn filtered_calls(selection: &SyscallSet) -> SyscallSet {
    let own = FAMILY
        .into_iter()
        .chain(hiding::ALWAYS)
        .chain([FIRST_NARROW_CALL, BORN_CALL]);
    selection
        .with_multiplexers()
        .union(&trace::calls_that_change_user())
        .without(&unfailing_calls())
        .union(&own.filter_map(by_name).collect())
}

/// The filter for these calls, for the first one of a new program, and for those by which programs hide from lanner.
fn program(wanted: &SyscallSet) -> Vec<sock_filter> {
    let hiding = hiding::NARROWED
        .into_iter()
        .map(|(name, arg)| (name, Some(arg)));
    let prologue: Vec<sock_filter> = hiding
        .chain([FIRST_CALL])
        .filter_map(|(name, arg)| Some((by_name(name)?, arg)))
        .flat_map(|(call, arg)| filter::if_call(call, arg, Action::Notify))
        .collect();
    filter::program(&prologue, &Selection::from(*wanted), Action::Notify)
}

/// What keeps this mode from working on a host.
pub(crate) fn missing(host: &Host) -> Vec<Gap> {
    gaps::missing(host)
}

/// What this mode could do on a host.
pub(crate) fn support(host: &Host) -> Support {
    let missing = gaps::missing(host);
    if missing.is_empty() {
        Support::Usable(gaps::gaps(host))
    } else {
        Support::Unusable(missing)
    }
}

/// A known number: a forked child has it at the same address.
static KNOWN: u64 = 0x6c61_6e6e_6572_2121;

/// Whether the memory of a child can be read that has not executed anything yet.
fn is_readable(child: &Held) -> bool {
    let at = (&raw const KNOWN) as u64;
    let memory = Memory::new(child.pid().cast_signed(), false);
    memory.exactly(at).map(u64::from_ne_bytes) == Some(KNOWN)
}

/// Begins to capture on a host that has what this mode needs.
///
/// # Errors
///
/// The target is not a command, a process of it does not exist, or the kernel refused a step.
pub(crate) fn open(
    driver: &'static str,
    host: &Host,
    request: &Request,
) -> Result<Opened, OpenError> {
    let command = match &request.target {
        Target::Command(command) => command,
        Target::Host => {
            return Err(unsupported(
                driver,
                "the whole host",
                "it follows a command (-- COMMAND) alone",
            ));
        }
        Target::Pids(pids) => {
            driver_start::threads(pids).map_err(OpenError::target)?;
            return Err(unsupported(
                driver,
                "running processes",
                "a running process cannot be given a seccomp filter, so that notify mode follows a command \
                 (-- COMMAND) alone; attaching needs ptrace",
            ));
        }
    };
    let (held, channel) = hold(driver, host, command, request.selection.calls())?;
    let mut gaps = Vec::new();
    if request.selection.times() {
        gaps.push(gaps::times());
    }
    if !is_readable(&held) {
        gaps.push(gaps::unreadable(
            "reading another process's memory is forbidden here",
        ));
    }
    guard::keep_others_out();
    fuse::prepare();
    let reads_everything = host.has(capability::SYS_PTRACE);
    let capture = NotifyCapture::new(driver, held, channel, request, reads_everything)
        .map_err(OpenError::failed(driver, "follow processes"))?;
    Ok(Opened {
        capture: Box::new(capture),
        gaps,
    })
}

fn unsupported(driver: &'static str, what: &str, why: &str) -> OpenError {
    OpenError::Unsupported {
        driver,
        what: what.to_owned(),
        why: why.to_owned(),
    }
}

/// Starts the command, held between fork and exec. It installs its filter when it is released.
fn hold(
    driver: &'static str,
    host: &Host,
    command: &Command,
    selection: &SyscallSet,
) -> Result<(Held, ListenerChannel), OpenError> {
    let privileged = host.has(capability::SYS_ADMIN);
    let filter = program(&filtered_calls(selection));
    let channel =
        ListenerChannel::new().map_err(OpenError::failed(driver, "make a pair of sockets"))?;
    let socket = channel.their_end();
    // SAFETY: the closure runs between fork and exec, where `install` may be called; it does not allocate.
    let held =
        unsafe { Held::with_pre_exec(command, || launch::install(&filter, privileged, socket)) }
            .map_err(OpenError::target)?;
    Ok((held, channel))
}
