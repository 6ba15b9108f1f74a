//! Why programs cannot be loaded. The errors of other steps are beside those steps: `attach/error.rs` and
//! `offsets/error.rs`.

use std::io;

use aya::EbpfError;
use aya::maps::MapError;
use aya::programs::ProgramError;
use driver_api::driver::OpenError;
use driver_api::error::{Cause, errno};

use crate::NAME;
use crate::attach::AttachError;
use crate::offsets::OffsetsError;

/// Lines of the verifier's log that an error quotes: the last ones say why.
const LOG_LINES: usize = 12;

/// Why the driver cannot begin to capture.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error("cannot read the list of CPUs from {path}")]
    Cpus {
        path: &'static str,
        source: io::Error,
    },
    #[error("{path} lists more CPUs than a 32-bit number can count")]
    TooManyCpus { path: &'static str },
    #[error("cannot open a perf buffer on CPU {cpu}")]
    PerfBuffer { cpu: u32, source: io::Error },
    #[error("cannot open a perf buffer on CPU {cpu}{hint}")]
    LockedMemory {
        cpu: u32,
        /// Begins with its own punctuation.
        hint: String,
        source: io::Error,
    },
    #[error(transparent)]
    Object(#[from] ObjectError),
    #[error(transparent)]
    Attach(#[from] AttachError),
    #[error(transparent)]
    Offsets(#[from] OffsetsError),
}

/// Why a BPF object cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ObjectError {
    #[error("cannot unpack the programs: this build of lanner is broken")]
    Unpack(#[source] io::Error),
    #[error("cannot create the maps")]
    CreateMaps(#[source] BpfError),
    #[error("the object has no map {map}: this build of lanner is broken")]
    NoMap { map: &'static str },
    #[error("cannot open the map {map}")]
    OpenMap { map: &'static str, source: BpfError },
    #[error("cannot write to the map {map}")]
    WriteMap { map: &'static str, source: BpfError },
    #[error("the object has no program {program}: this build of lanner is broken")]
    NoProgram { program: String },
    #[error("cannot load the program {program}")]
    LoadProgram { program: String, source: BpfError },
    #[error("cannot put the program {program} into the map of tail calls")]
    Chain { program: String, source: BpfError },
}

impl From<LoadError> for OpenError {
    fn from(error: LoadError) -> Self {
        Self::failed(NAME, "begin to capture")(error)
    }
}

/// Why a thread cannot be followed.
#[derive(Debug, thiserror::Error)]
#[error("cannot follow the thread {tid}")]
pub(crate) struct FollowError {
    tid: u32,
    source: BpfError,
}

impl FollowError {
    pub(crate) fn new(tid: u32, error: MapError) -> Self {
        Self {
            tid,
            source: error.into(),
        }
    }
}

/// What the kernel, or aya, said to a call of bpf(2).
#[derive(Debug, thiserror::Error)]
pub(crate) enum BpfError {
    /// EPERM.
    #[error(
        "the kernel did not permit it; before Linux 5.11 the limit of locked memory can be the cause, too: raise it \
         (`ulimit -l unlimited`), or give lanner CAP_SYS_RESOURCE"
    )]
    NotPermitted(#[source] Cause),
    /// The verifier's log comes last because it has several lines. So the error is part of the text, and no source.
    #[error("{error}\n  {log}")]
    Verifier { error: io::Error, log: String },
    #[error(transparent)]
    Other(Cause),
}

impl BpfError {
    fn new(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        if is_denied(&error) {
            Self::NotPermitted(Box::new(error))
        } else {
            Self::Other(Box::new(error))
        }
    }
}

impl From<EbpfError> for BpfError {
    fn from(error: EbpfError) -> Self {
        Self::new(error)
    }
}

impl From<MapError> for BpfError {
    fn from(error: MapError) -> Self {
        Self::new(error)
    }
}

impl From<ProgramError> for BpfError {
    fn from(error: ProgramError) -> Self {
        let ProgramError::LoadError {
            io_error,
            verifier_log,
        } = error
        else {
            return Self::new(error);
        };
        let log = verifier_log.to_string();
        let lines: Vec<&str> = log.lines().filter(|line| !line.is_empty()).collect();
        if lines.is_empty() {
            return Self::new(io_error);
        }
        Self::Verifier {
            error: io_error,
            log: lines[lines.len().saturating_sub(LOG_LINES)..].join("\n  "),
        }
    }
}

/// Whether the kernel answered EPERM.
fn is_denied(error: &(dyn std::error::Error + 'static)) -> bool {
    let found = match error.downcast_ref() {
        // its source is the source of the error that it passes on, not that error
        Some(MapError::IoError(error)) => error.raw_os_error(),
        _ => errno(error),
    };
    found == Some(libc::EPERM)
}

#[cfg(test)]
mod tests {
    use aya::sys::SyscallError;

    use driver_api::error::Chain;

    use super::*;

    fn text(error: &BpfError) -> String {
        Chain(error).to_string()
    }

    fn create(errno: i32) -> EbpfError {
        EbpfError::MapError(MapError::CreateError {
            name: "plans".to_owned(),
            io_error: io::Error::from_raw_os_error(errno),
        })
    }

    #[test]
    fn the_limit_of_locked_memory_is_named_where_the_kernel_permits_nothing() {
        let denied = BpfError::from(create(libc::EPERM));
        assert!(text(&denied).contains("ulimit -l"), "{denied}");
        assert!(text(&denied).ends_with("Operation not permitted (os error 1)"));
        let full = BpfError::from(create(libc::E2BIG));
        assert!(!text(&full).contains("ulimit"), "{full}");
        assert!(text(&full).ends_with("Argument list too long (os error 7)"));
    }

    #[test]
    fn the_errno_is_found_wherever_aya_keeps_it() {
        let io_error = || io::Error::from_raw_os_error(libc::EPERM);
        let call = SyscallError {
            call: "bpf_map_update_elem",
            io_error: io_error(),
        };
        let errors = [MapError::IoError(io_error()), MapError::SyscallError(call)];
        for error in errors {
            assert!(matches!(BpfError::from(error), BpfError::NotPermitted(_)));
        }
    }
}
