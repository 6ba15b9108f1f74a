//! Why the offsets that the programs need were not found.

use std::io;

use driver_api::error::Chain;

use crate::attach::AttachError;
use crate::attach::tracefs::TracefsError;
use crate::error::ObjectError;
use crate::kernel::Feature;

/// Why the driver cannot do without what it did not find.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OffsetsError {
    #[error(transparent)]
    Object(#[from] ObjectError),
    #[error(
        "cannot read kernel memory from a program at the entry of calls: neither at a raw tracepoint (since Linux 4.17; \
         {}) nor at a perf-event tracepoint",
        Chain(.raw.as_ref())
    )]
    Attach {
        raw: Box<PeekError>,
        source: Box<PeekError>,
    },
    #[error("the program that reads kernel memory does not answer")]
    NoAnswer,
    #[error("cannot start the thread whose ids are searched for in the kernel's task_struct")]
    Thread(#[source] io::Error),
    #[error("a search for the process ids in the kernel's task_struct did not find them")]
    NoProcessIds,
    #[error(
        "a search for the registers of a call in kernel memory did not find them, and this kernel lacks raw tracepoints \
         (Linux 4.17), which pass them"
    )]
    NoRegisters,
    #[error("cannot read the formats of tracepoints' records")]
    Formats(#[source] TracefsError),
}

/// Why the program that reads kernel memory cannot be attached in one way.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PeekError {
    #[error("a test hides {0:?}")]
    Hidden(Feature),
    #[error(transparent)]
    Object(#[from] ObjectError),
    #[error(transparent)]
    Tracefs(#[from] TracefsError),
    #[error(transparent)]
    Attach(#[from] AttachError),
}
