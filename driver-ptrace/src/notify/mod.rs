//! Notify mode: seccomp user notification (seccomp_unotify(2)), where ptrace is forbidden. A command's filter
//! wakes lanner at the entry of each selected call, lanner reads the parameters and lets it go on.
//!
//! [`launch`] puts the filter in and gets its [`listener`]; [`capture`] is the loop, [`calls`] makes events of
//! entries, [`family`] tells births, execs and ends, which nobody announces here, from [`processes`];
//! [`watchdog`] ends a command whose lanner was killed.

mod calls;
mod capture;
mod family;
mod launch;
mod listener;
mod processes;
pub(crate) mod trial;
mod watchdog;

use driver_api::driver::{OpenError, Opened};
use driver_api::event::Abi;
use driver_api::host::{Host, Trial, capability};
use driver_api::request::{Command, Request, SyscallSet, Target};
use driver_api::support::Gap;
use driver_api::table::by_name;
use driver_start::Held;
use libc::sock_filter;

use crate::filter;
use crate::memory::Memory;
use capture::NotifyCapture;
use launch::Way;

/// Calls that a new program makes first, and later hardly ever: they show that an exec has succeeded. The
/// first of all is mostly brk(0), for which the filter has a test of its own.
const FIRST_CALLS: [&str; 3] = ["set_tid_address", "arch_prctl", "set_thread_area"];
/// Calls by which processes come and go.
const FAMILY: [&str; 8] = [
    "execve",
    "execveat",
    "clone",
    "clone3",
    "fork",
    "vfork",
    "exit",
    "exit_group",
];

/// What the filter asks about beyond the selection.
fn needed(selection: &SyscallSet) -> SyscallSet {
    let own = FAMILY.iter().chain(&FIRST_CALLS);
    crate::needed(selection).union(&own.filter_map(|name| by_name(name)).collect())
}

fn op(code: u32, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter {
        code: u16::try_from(code).unwrap_or(0),
        jt,
        jf,
        k,
    }
}

/// The filter: that of trace mode with another answer, behind a test for brk(0), by which a program asks how
/// large it is when it starts.
fn program(wanted: &SyscallSet) -> Vec<sock_filter> {
    let load = |offset| op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, offset);
    let equal = |value, jf| op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, jf, value);
    let brk = by_name("brk").and_then(|call| call.number(Abi::NATIVE));
    let arch = if Abi::NATIVE == Abi::Aarch64 {
        0xc000_00b7
    } else {
        0xc000_003e
    };
    // offsets in struct seccomp_data: number 0, architecture 4, first argument 16
    let mut program = match brk {
        Some(brk) => vec![
            load(0),
            equal(brk, 7),
            load(4),
            equal(arch, 5),
            load(16),
            equal(0, 3),
            load(20),
            equal(0, 1),
            op(
                libc::BPF_RET | libc::BPF_K,
                0,
                0,
                libc::SECCOMP_RET_USER_NOTIF,
            ),
        ],
        None => Vec::new(),
    };
    let answer = u16::try_from(libc::BPF_RET | libc::BPF_K).unwrap_or(0);
    program.extend(
        filter::program(|call| wanted.contains(call))
            .into_iter()
            .map(|mut instruction| {
                if instruction.code == answer && instruction.k == filter::TRACE {
                    instruction.k = libc::SECCOMP_RET_USER_NOTIF;
                }
                instruction
            }),
    );
    program
}

/// What keeps this mode from working here; empty: nothing.
pub(crate) fn missing(host: &Host) -> Vec<Gap> {
    let mut missing = Vec::new();
    if !host.seccomp {
        missing.push(Gap::new(
            "seccomp filters",
            "the kernel was built without them",
            "use a kernel with CONFIG_SECCOMP_FILTER",
        ));
    }
    if let Trial::Refused(errno) = host.notify {
        let (why, remedy) = match errno {
            libc::EINVAL => (
                "the kernel cannot let a call go on after a notification, or has no notification at all",
                "use Linux 5.5 or later",
            ),
            libc::EBUSY => (
                "somebody else listens to the filters of lanner's own process already",
                "start lanner outside of that supervisor",
            ),
            _ => (
                "a seccomp profile forbids filters with notification",
                "allow the calls seccomp and ioctl in the container's profile",
            ),
        };
        let why = format!("{why} ({})", std::io::Error::from_raw_os_error(errno));
        missing.push(Gap::new("seccomp user notification", why, remedy));
    }
    missing
}

/// What this mode cannot give.
pub(crate) fn gaps(host: &Host) -> Vec<Gap> {
    let trace = "use trace mode, where ptrace is allowed";
    let mut gaps = vec![
        Gap::new(
            "return values",
            "a notification comes when a call is entered, and nobody tells how it ended: fields of the result \
             are absent, and rules that ask for it do not match",
            trace,
        ),
        Gap::new(
            "what the kernel writes into memory",
            "it is not there yet when the call is entered",
            trace,
        ),
        Gap::new(
            "resolved paths and ends of sockets",
            "a new descriptor is not there yet when the call is entered",
            trace,
        ),
        Gap::new(
            "calls that another thread changes behind our back",
            "the kernel reads the parameters again when it makes the call, so that memory can differ from what \
             was captured (seccomp_unotify(2))",
            trace,
        ),
        Gap::program(),
        Gap::new(
            "the moment of births",
            "a child is told of when it or its parent makes the next call that the filter asks about; one that \
             is killed before may be missed, and of several threads that fork at once the maker is guessed",
            trace,
        ),
        Gap::new(
            "the moment of an exec",
            "a program is told of at its first call behind the exec, and facts are those of then; a failed exec \
             is told when its thread makes the next call",
            trace,
        ),
        Gap::new(
            "the exit status of descendants that are killed",
            "their parents may have waited for them before we looked; Linux 6.15 keeps it",
            "",
        ),
        Gap::new(
            "running processes (-p)",
            "a seccomp filter cannot be put into a running process",
            "start it through lanner (-- COMMAND)",
        ),
        Gap::new(
            "the whole host",
            "a filter is inherited by the children of a command alone",
            "use an eBPF driver for the whole host",
        ),
        Gap::new(
            "a wider selection while a command runs",
            "its filter is there for life",
            "select all calls from the start",
        ),
        Gap::new(
            "calls that are interrupted by a signal",
            "before Linux 5.19 a signal can interrupt a call that lanner has already seen; it is made again, and \
             seen twice",
            "use Linux 5.19 or later",
        ),
        Gap::new(
            "a command that outlives its capture",
            "without an answer its calls would fail with ENOSYS: where lanner is killed, a watchdog kills the \
             command and its descendants; if that is killed, too, their calls fail",
            "",
        ),
        Gap::new(
            "programs that use seccomp notification themselves",
            "the kernel allows one listener in a tree of processes (EBUSY)",
            trace,
        ),
        Gap::new(
            "cgroup ids",
            "the kernel tells them to programs in the kernel alone",
            "",
        ),
    ];
    if !host.has(capability::SYS_ADMIN) {
        gaps.push(Gap::new(
            "the privilege of setuid programs below a command",
            "without CAP_SYS_ADMIN a seccomp filter demands no_new_privs",
            "give lanner CAP_SYS_ADMIN",
        ));
    }
    let closed = match host.ptrace_scope {
        Some(3) => true,
        Some(2) => !host.has(capability::SYS_PTRACE),
        _ => false,
    };
    if closed {
        gaps.push(unreadable(
            "kernel.yama.ptrace_scope forbids to read another process's memory",
        ));
    }
    gaps
}

/// The gap of parameters that point to memory.
fn unreadable(why: &str) -> Gap {
    Gap::new(
        "the memory that parameters point to",
        format!("{why}: their attachments say `fault`"),
        "allow process_vm_readv, or CAP_SYS_PTRACE with a kernel.yama.ptrace_scope below 3",
    )
}

/// Something of our own, which a child that we forked has at the same place.
static KNOWN: u64 = 0x6c61_6e6e_6572_2121;

/// Whether a child's memory can be read, before it has executed anything.
fn readable(child: &Held) -> bool {
    let at = (&raw const KNOWN) as u64;
    let memory = Memory::new(child.pid().cast_signed(), false);
    memory.exactly(at).map(u64::from_ne_bytes) == Some(KNOWN)
}

/// Begins to capture. The probe has said that it works.
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
                "a seccomp filter cannot be put into a running process, so that notify mode follows a command \
                 (-- COMMAND) alone; attaching needs ptrace",
            ));
        }
    };
    let (held, way) = hold(driver, host, command, &request.selection)?;
    let mut gaps = Vec::new();
    if !readable(&held) {
        gaps.push(unreadable(
            "reading another process's memory is forbidden here",
        ));
    }
    let capture = NotifyCapture::new(driver, held, way, request.selection, request.limits)
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

/// The command, between fork and exec; its filter comes when it is let go.
fn hold(
    driver: &'static str,
    host: &Host,
    command: &Command,
    selection: &SyscallSet,
) -> Result<(Held, Way), OpenError> {
    let privileged = host.has(capability::SYS_ADMIN);
    let filter = program(&needed(selection));
    let way = Way::new().map_err(OpenError::failed(driver, "make a socket"))?;
    let socket = way.their_end();
    // SAFETY: `install` makes system calls alone.
    let held =
        unsafe { Held::with_pre_exec(command, || launch::install(&filter, privileged, socket)) }
            .map_err(OpenError::target)?;
    Ok((held, way))
}
