//! How programs get to run: the ways that kernels offer, from the newest to the oldest.
//!
//! | | since 4.17 | 4.14 to 4.16 |
//! |---|---|---|
//! | calls that end, births, ends, execs | raw tracepoints | perf-event tracepoints |
//! | entries of exec and of calls that do not return | functions, by the perf PMU of kprobes | functions, by name |
//! | the same, where no function can be probed | the scheduler's tracepoints (since 6.10, not for commands) | |
//! | the same, else | `sys_enter`, which every call pays for | `sys_enter` |
//!
//! What there is, is tried, never told from a version. `LANNER_LEGACY_WITHOUT`, a list with commas, has a new kernel
//! pass for one that lacks something, so that tests see every way: `raw_tracepoints`, `kprobe_pmu`, `kprobes`,
//! `sched_prepare_exec`, `tracefs` (none is mounted), `fsmount`.

pub(crate) mod entry;
pub(crate) mod functions;
pub(crate) mod tracefs;

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use crate::sys;
use functions::Functions;
use tracefs::Tracefs;

/// Whether this kernel is to pass for one that lacks this.
pub(crate) fn lacks(what: &str) -> bool {
    std::env::var("LANNER_LEGACY_WITHOUT")
        .is_ok_and(|list| list.split(',').any(|word| word.trim() == what))
}

/// Of what type the programs at tracepoints are, and those that they call.
#[derive(Debug)]
pub(crate) enum Way {
    /// Raw tracepoints.
    Raw,
    /// Perf-event tracepoints.
    Tracepoints(Tracefs),
}

impl Way {
    /// How the names of such programs begin (`chain.h`).
    pub(crate) fn prefix(&self) -> &'static str {
        match self {
            Self::Raw => "raw_",
            Self::Tracepoints(_) => "tp_",
        }
    }
}

/// What is attached through perf events. The order matters: probes are removed when nothing uses them any more.
#[derive(Debug, Default)]
pub(crate) struct Events {
    open: Vec<OwnedFd>,
    _functions: Option<Functions>,
}

impl Events {
    /// Attaches a program to a perf-event tracepoint, `category/name`.
    pub(crate) fn tracepoint(
        &mut self,
        tracefs: &Tracefs,
        cpu: u32,
        name: &str,
        program: BorrowedFd<'_>,
    ) -> io::Result<()> {
        let event = sys::open_tracepoint(cpu, tracefs.id(name)?)?;
        sys::attach(&event, program).map_err(|error| match error.raw_os_error() {
            Some(libc::EEXIST) => io::Error::other(
                "another program is attached to it, and this kernel takes one (before Linux 4.15)",
            ),
            _ => error,
        })?;
        self.open.push(event);
        Ok(())
    }

    /// Attaches a program to the functions of all calls whose entry matters; to all that are needed, or to none.
    pub(crate) fn entries(
        &mut self,
        cpu: u32,
        compat: bool,
        program: BorrowedFd<'_>,
    ) -> Result<(), String> {
        let mut functions = Functions::new()?;
        let opened = entry::open(compat, |function| {
            let event = functions.open(cpu, function)?;
            sys::attach(&event, program)?;
            Ok(event)
        })?;
        self.open.extend(opened);
        self._functions = Some(functions);
        Ok(())
    }
}
