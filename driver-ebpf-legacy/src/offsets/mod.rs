//! Finds the offsets of fields in kernel structs by searching kernel memory. There is neither BTF nor headers to look
//! them up in.
//!
//! A small program in the kernel ([`peek`]) reads memory for this process. The search creates things that it knows: an
//! open file with a unique name, a connected socket, a child with a chosen exit code. Then it searches the kernel's
//! structs for them. What it finds is verified by use: a path that is walked with the offsets must be the path that
//! /proc names. What it does not find is a gap, and the facts that need it are absent.

mod calls;
mod error;
mod files;
mod login;
mod opened;
mod peek;
mod rings;
mod sockets;
mod tasks;

use aya::EbpfLoader;
use driver_api::support::Gap;

use crate::attach::TracepointKind;
use crate::attach::tracefs::{Tracefs, TracefsError};
use crate::kernel::Features;
use crate::layout::{Offsets, have};
pub(crate) use error::OffsetsError;
use peek::Peek;

/// What the search found out.
#[derive(Debug)]
pub(crate) struct Discovered {
    pub(crate) offsets: Offsets,
    /// Lanner's own process id as the kernel's programs see it: the one in the initial PID namespace.
    pub(crate) tgid: u32,
    /// The kind of tracepoint that this kernel offers.
    pub(crate) kind: TracepointKind,
}

/// Facts: the offsets that they need, and the names of their gaps.
const FACTS: [(u32, &str); 17] = [
    (have::PATH | have::FD, "resolved paths of descriptors"),
    (have::EXE | have::PATH, "resolved paths of executables"),
    (
        have::CWD | have::PATH,
        "working directories, root directories, and where relative paths begin",
    ),
    (
        have::FILE,
        "inodes, devices and flags of opened files from the kernel",
    ),
    (have::CREATED, CREATED),
    (
        have::STRINGS,
        "argv and environment of new programs as the kernel has them",
    ),
    (have::SOCKET | have::FD, "both ends of sockets"),
    (have::V6, "IPv6 addresses of sockets"),
    (have::UNIX, "names of Unix sockets"),
    (have::EXIT, "exit codes"),
    (have::PARENT, "parents of new programs"),
    (
        have::CRED,
        "effective ids of new programs: the real ids are given instead",
    ),
    (have::GROUPS, "process groups and sessions of new programs"),
    (
        have::THREAD_PID | have::FD | have::CWD | have::PARENT,
        BIRTHS,
    ),
    (have::TTY, "terminals of new programs"),
    (have::LOGINUID, LOGIN_IDS),
    (
        have::COMPAT,
        "32-bit calls (int 0x80) of 64-bit programs: they are taken for 64-bit calls",
    ),
];

const LOGIN_IDS: &str = "login ids of new programs";

const BIRTHS: &str =
    "what a new process shares with its parent, and its id in its own PID namespace";

const CREATED: &str = "whether an open has created its file";

/// Why a file that an open has created is not known before Linux 4.19.
pub(crate) fn created_gap() -> Gap {
    Gap::new(
        CREATED,
        "the mark of such a file, FMODE_CREATED, came with Linux 4.19",
        "use Linux 4.19 or later",
    )
}

/// Why births say less where there are no raw tracepoints.
pub(crate) fn births_gap() -> Gap {
    Gap::new(
        BIRTHS,
        "the kernel's structs are compared at a raw tracepoint, and these came with Linux 4.17",
        "use Linux 4.17 or later, or the driver ptrace",
    )
}

/// An offset in a struct as [`Offsets`] keeps it. Structs are small: the conversion never fails.
fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(0)
}

/// Searches for everything. `cpu` is one that is online.
pub(crate) fn find(
    features: Features,
    cpu: u32,
    loader: &mut EbpfLoader<'_>,
    gaps: &mut Vec<Gap>,
) -> Result<Discovered, OffsetsError> {
    let mut peek = Peek::load(features, cpu, loader)?;
    let me = peek.me().ok_or(OffsetsError::NoAnswer)?;
    let mut offsets = Offsets {
        task_pid: tasks::pid(&mut peek)?,
        ..Offsets::default()
    };
    // What is not found leaves its bit unset, and what needs it is not searched for. The search is repeated once, because
    // what it looks at may move meanwhile: the table of descriptors moves when another thread of lanner opens many.
    for _ in 0..2 {
        search(&mut peek, &mut offsets, me.task);
        if FACTS.iter().all(|(bits, _)| offsets.has(*bits)) {
            break;
        }
    }
    let kind = peek.detach();
    match &kind {
        TracepointKind::Raw => {}
        TracepointKind::PerfEvent(_) if !offsets.has(have::REGS) => {
            return Err(OffsetsError::NoRegisters);
        }
        TracepointKind::PerfEvent(tracefs) => {
            read_formats(tracefs, &mut offsets).map_err(OffsetsError::Formats)?;
            gaps.push(births_gap());
        }
    }
    let missing = FACTS.iter().filter(|(bits, what)| {
        !offsets.has(*bits)
            && !gaps.iter().any(|gap| gap.what == *what)
            && (*what != LOGIN_IDS || login::are_kept())
    });
    let missing: Vec<Gap> = missing
        .map(|(_, what)| {
            Gap::new(
                *what,
                "a search of kernel memory did not find where the kernel keeps them",
                "use the driver ebpf-core or ptrace",
            )
        })
        .collect();
    gaps.extend(missing);
    tracing::debug!(?offsets, "found in the kernel");
    Ok(Discovered {
        offsets,
        tgid: me.tgid(),
        kind,
    })
}

/// Reads the offsets of fields in the records of perf-event tracepoints.
fn read_formats(tracefs: &Tracefs, offsets: &mut Offsets) -> Result<(), TracefsError> {
    const NEWTASK: &str = "task/task_newtask";
    const SIGNAL: &str = "signal/signal_deliver";
    offsets.newtask_pid = tracefs.field(NEWTASK, "pid")?;
    offsets.newtask_flags = tracefs.field(NEWTASK, "clone_flags")?;
    offsets.exec_old_pid = tracefs.field("sched/sched_process_exec", "old_pid")?;
    offsets.signal_handler = tracefs.field(SIGNAL, "sa_handler")?;
    offsets.signal_flags = tracefs.field(SIGNAL, "sa_flags")?;
    Ok(())
}

/// How often rings of io_uring are searched for. Each search makes new ones.
const RING_SEARCHES: u32 = 5;

/// One search. `me` is the address of this thread's task_struct.
fn search(peek: &mut Peek, off: &mut Offsets, me: u64) -> Option<()> {
    let task = tasks::bytes_of(peek, me);
    calls::registers(peek, off, me, &task);
    tasks::exit_code(peek, off);
    calls::compat(peek, off);
    if let Some(family) = tasks::Family::new(peek) {
        tasks::parent(off, &family);
        tasks::credentials(peek, off, &family);
        if tasks::groups(peek, off, &family).is_some() {
            tasks::thread_pid(peek, off, &task, &family);
        }
        tasks::terminal(peek, off, &family);
        login::loginuid(off, &task, &family);
    }
    let known = files::Known::open(peek)?;
    if files::descriptors(peek, off, &task, &known).is_some() {
        files::paths(peek, off, me, &known);
        opened::file(peek, off, me, &known);
        if sockets::internet(peek, off, me).is_some() {
            sockets::internet6(peek, off, me);
            sockets::unix(peek, off, me);
            // again, because the memory behind a ring can belong to one that looks alike, of another lanner's search
            (0..RING_SEARCHES).find_map(|_| rings::rings(peek, off, me));
        }
    }
    files::memory(peek, off, &task);
    if off.has(have::PATH) {
        files::cwd(peek, off, &task);
    }
    Some(())
}
