//! How programs are attached: the ways that kernels offer, from the newest to the oldest.
//!
//! | | since 4.17 | 4.14 to 4.16 |
//! |---|---|---|
//! | returns of calls, forks, exits, execs | raw tracepoints | perf-event tracepoints |
//! | entries of exec, of calls that do not return, and of calls that replace the size of a buffer | kernel functions, by the perf PMU of kprobes | kernel functions, by name |
//! | those of the first two, where no function can be probed | the scheduler's tracepoints (since 6.10, not for commands) | |
//! | all three, if that fails, too | `sys_enter`, which every call passes | `sys_enter` |
//!
//! The driver tries what there is. It never concludes it from a kernel version. Tests can hide features
//! ([`crate::kernel`]) to see every way on one kernel.

pub(crate) mod entry;
mod error;
pub(crate) mod kprobes;
mod mounting;
pub(crate) mod tracefs;

use std::os::fd::{BorrowedFd, OwnedFd};

use driver_api::table::Syscall;

use crate::kernel::Features;
use crate::sys;
pub(crate) use error::{AttachError, EntryError, KprobeError, TracepointError};
use kprobes::Kprobes;
use tracefs::Tracefs;

/// The kind of tracepoint that this kernel offers. It decides the type of the programs there, and of those that they
/// reach by tail calls.
#[derive(Debug)]
pub(crate) enum TracepointKind {
    /// Raw tracepoints.
    Raw,
    /// Perf-event tracepoints.
    PerfEvent(Tracefs),
}

impl TracepointKind {
    /// The prefix in the names of the programs of this type (`chain.h`).
    pub(crate) fn prefix(&self) -> &'static str {
        match self {
            Self::Raw => "raw_",
            Self::PerfEvent(_) => "tp_",
        }
    }
}

/// Perf events that programs are attached to. The order of the fields matters: a probe by name can be removed only
/// when no perf event uses it.
#[derive(Debug, Default)]
pub(crate) struct PerfEvents {
    open: Vec<OwnedFd>,
    kprobes: Option<Kprobes>,
}

impl PerfEvents {
    /// Attaches a program to a perf-event tracepoint, `category/name`. `cpu` is one that is online.
    pub(crate) fn attach_tracepoint(
        &mut self,
        tracefs: &Tracefs,
        cpu: u32,
        name: &str,
        program: BorrowedFd<'_>,
    ) -> Result<(), TracepointError> {
        let id = tracefs.id(name)?;
        let event = sys::open_tracepoint(cpu, id).map_err(TracepointError::Open)?;
        sys::attach(&event, program).map_err(|error| match error.raw_os_error() {
            Some(libc::EEXIST) => TracepointError::Taken(error),
            _ => TracepointError::Attach(error),
        })?;
        self.open.push(event);
        Ok(())
    }

    /// Attaches a program to the kernel functions of exec and of all calls that do not return. On an error it is attached to
    /// none. `compat`: 32-bit programs can make calls. `cpu` is one that is online.
    pub(crate) fn attach_entries(
        &mut self,
        features: Features,
        cpu: u32,
        compat: bool,
        program: BorrowedFd<'_>,
    ) -> Result<(), EntryError> {
        let mut kprobes = Kprobes::new(features).map_err(EntryError::Kprobes)?;
        let opened = entry::open(compat, |function| {
            open_at(&mut kprobes, cpu, function, program)
        })?;
        self.open.extend(opened);
        self.kprobes = Some(kprobes);
        Ok(())
    }

    /// Attaches the same program to the functions of a call that replaces the size of a buffer.
    pub(crate) fn attach_room(
        &mut self,
        cpu: u32,
        call: &'static Syscall,
        program: BorrowedFd<'_>,
    ) -> Result<(), EntryError> {
        let Some(kprobes) = &mut self.kprobes else {
            return Ok(());
        };
        let opened = entry::open_room(call, |function| open_at(kprobes, cpu, function, program))?;
        self.open.extend(opened);
        Ok(())
    }
}

/// Opens the entry of a function, and attaches a program there.
fn open_at(
    kprobes: &mut Kprobes,
    cpu: u32,
    function: &str,
    program: BorrowedFd<'_>,
) -> Result<OwnedFd, KprobeError> {
    let event = kprobes.open(cpu, function)?;
    sys::attach(&event, program).map_err(|source| KprobeError::Attach {
        function: function.to_owned(),
        source,
    })?;
    Ok(event)
}
