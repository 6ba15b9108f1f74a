//! Where the fields of kernel structs are on this kernel, found out by looking, since neither BTF nor
//! headers are there to say.
//!
//! A small program in the kernel ([`peek`]) reads memory for us. We make things whose traces we know, an
//! open file with a unique name, a connected socket, a child with a chosen exit code, and search the
//! kernel's structs for them. What is found is verified by use: a path walked with the offsets must be
//! the one that /proc names. What is not found is a gap, and the facts that need it are absent.

mod calls;
mod files;
mod layout;
mod peek;
mod sockets;
mod tasks;

use std::io;

use aya::EbpfLoader;
use driver_api::driver::OpenError;
use driver_api::support::Gap;

use crate::attach::Way;
use crate::load::failed;
pub(crate) use layout::{Offsets, have};
use peek::Peek;

/// What was found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) offsets: Offsets,
    /// Our own process id as the kernel's programs see it: that of the initial PID namespace.
    pub(crate) tgid: u32,
    pub(crate) gaps: Vec<Gap>,
    /// How programs get to run here.
    pub(crate) way: Way,
}

/// Facts, the offsets they need, and how their gaps are named.
const FACTS: [(u32, &str); 14] = [
    (have::PATH | have::FD, "resolved paths of descriptors"),
    (have::EXE | have::PATH, "resolved paths of executables"),
    (
        have::CWD | have::PATH,
        "working directories of new programs",
    ),
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
        "effective ids of new programs: the real ones stand for them",
    ),
    (have::GROUPS, "process groups and sessions of new programs"),
    (have::TTY, "terminals of new programs"),
    (have::LOGINUID, "login ids of new programs"),
    (
        have::COMPAT,
        "32-bit calls (int 0x80) made by 64-bit programs: they are taken for 64-bit ones",
    ),
];

/// Looks for everything.
pub(crate) fn find(loader: &mut EbpfLoader<'_>) -> Result<Found, OpenError> {
    let mut peek = Peek::load(loader)?;
    let lost =
        || failed("look at its own task in the kernel")("the program does not answer".to_owned());
    let me = peek.me().ok_or_else(lost)?;
    let task_pid = tasks::pid(&mut peek).ok_or_else(|| {
        failed("find the process ids in the kernel's task_struct")(
            "they are not where a search can find them".to_owned(),
        )
    })?;
    let mut offsets = Offsets {
        task_pid,
        ..Offsets::default()
    };
    // What is not found leaves its bit unset, and what needs it is not looked for. Once more, as what is looked at may
    // have moved meanwhile: the table of descriptors does when another thread of ours opens many.
    for _ in 0..2 {
        search(&mut peek, &mut offsets, me.task);
        if FACTS.iter().all(|(bits, _)| offsets.has(*bits)) {
            break;
        }
    }
    let way = peek.detach();
    if let Way::Tracepoints(tracefs) = &way {
        if !offsets.has(have::REGS) {
            return Err(failed("find the registers of a call in the kernel")(
                "they are not where a search can find them, and this kernel has no raw tracepoints (Linux 4.17), \
                 which show them"
                    .to_owned(),
            ));
        }
        let fields = || -> io::Result<_> {
            Ok((
                tracefs.field("task/task_newtask", "pid")?,
                tracefs.field("task/task_newtask", "clone_flags")?,
                tracefs.field("sched/sched_process_exec", "old_pid")?,
                tracefs.field("signal/signal_deliver", "sa_handler")?,
                tracefs.field("signal/signal_deliver", "sa_flags")?,
            ))
        };
        (
            offsets.newtask_pid,
            offsets.newtask_flags,
            offsets.exec_old_pid,
            offsets.signal_handler,
            offsets.signal_flags,
        ) = fields()
            .map_err(|e| failed("read the formats of tracepoints in tracefs")(e.to_string()))?;
    }
    let gaps = FACTS
        .iter()
        .filter(|(bits, _)| !offsets.has(*bits))
        .map(|(_, what)| {
            let why = "where the kernel keeps them was not found";
            Gap::new(*what, why, "use the driver ebpf-core or ptrace")
        })
        .collect();
    tracing::debug!(?offsets, "found in the kernel");
    Ok(Found {
        offsets,
        tgid: me.tgid(),
        gaps,
        way,
    })
}

fn search(peek: &mut Peek, off: &mut Offsets, me: u64) -> Option<()> {
    let task = tasks::bytes_of(peek, me);
    calls::registers(peek, off, me, &task);
    tasks::exit_code(peek, off);
    calls::compat(peek, off);
    if let Some(mut family) = tasks::Family::new(peek) {
        tasks::parent(off, &family);
        tasks::credentials(peek, off, &family);
        tasks::groups(peek, off, &mut family);
        tasks::terminal(peek, off, &family);
        tasks::loginuid(off, &task, &family);
    }
    let known = files::Known::open(peek)?;
    if files::descriptors(peek, off, &task, &known).is_some() {
        files::paths(peek, off, me, &known);
        if sockets::internet(peek, off, me).is_some() {
            sockets::internet6(peek, off, me);
            sockets::unix(peek, off, me);
        }
    }
    files::memory(peek, off, &task);
    if off.has(have::PATH) {
        files::cwd(peek, off, &task);
    }
    Some(())
}
