//! Why programs cannot be attached.

use std::io;

use super::tracefs::TracefsError;
use crate::error::BpfError;
use crate::kernel::Feature;

/// Why a program cannot be attached.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AttachError {
    #[error("cannot attach the program {program} to the raw tracepoint {tracepoint}")]
    RawTracepoint {
        program: String,
        tracepoint: &'static str,
        source: BpfError,
    },
    #[error("cannot attach the program {program} to the tracepoint {tracepoint}")]
    Tracepoint {
        program: String,
        tracepoint: &'static str,
        source: TracepointError,
    },
    #[error(
        "the program {program} is of another type than its name says: this build of lanner is broken"
    )]
    WrongType { program: String },
    #[error("the program {program} has no descriptor")]
    NotLoaded { program: String, source: BpfError },
}

/// Why a program cannot be attached to a perf-event tracepoint.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TracepointError {
    #[error(transparent)]
    Tracefs(#[from] TracefsError),
    #[error("perf_event_open(2)")]
    Open(#[source] io::Error),
    #[error("another program is attached to it, and kernels before Linux 4.15 take only one")]
    Taken(#[source] io::Error),
    #[error("the perf event refused the program")]
    Attach(#[source] io::Error),
}

/// Why a kernel function cannot be probed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KprobeError {
    #[error("a test hides {0:?}")]
    Hidden(Feature),
    #[error(transparent)]
    Tracefs(#[from] TracefsError),
    #[error("cannot probe the kernel function {function}")]
    Open { function: String, source: io::Error },
    #[error("the probe of the kernel function {function} refused the program")]
    Attach { function: String, source: io::Error },
}

/// Why the entries of calls cannot be seen at kernel functions.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EntryError {
    #[error("kernel functions cannot be probed")]
    Kprobes(#[source] KprobeError),
    #[error("no kernel function of the system call {call} can be probed")]
    NoFunction {
        call: &'static str,
        source: Option<KprobeError>,
    },
}
