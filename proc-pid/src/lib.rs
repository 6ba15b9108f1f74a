//! Typed views of `/proc/PID/stat` (`stat`: [`Stat`], proc_pid_stat(5)) and `/proc/PID/status` (`status`: [`Status`],
//! proc_pid_status(5)).
//!
//! Both are views of bytes: a view of bytes that are already read borrows them ([`Stat::parse`]), and a view
//! of a running process owns what it has read ([`Stat::of`]). A look-up scans the text, and costs nothing for fields
//! that no caller asks for.
//!
//! A process chooses its own name, so that the bytes are not to be trusted. Nothing here panics; what is not there or
//! is not a number is `None`.

mod stat;
mod status;

use std::{fs, io};

pub use stat::{Field, Malformed, Stat, State, TICKS_PER_SECOND};
pub use status::{Capabilities, Ids, Seccomp, SignalSet, Status};

/// Why a process's file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The file has another form than the manual page says.
    #[error("cannot parse {path}")]
    Malformed {
        /// The file.
        path: String,
        /// What is wrong.
        source: Malformed,
    },
}

impl Error {
    /// Whether the process does not exist, or has ended while its file was read.
    pub fn is_gone(&self) -> bool {
        /// The errno of a read if the process ended after its file was opened (errno(3)).
        const ESRCH: i32 = 3;
        match self {
            Self::Read { source, .. } => {
                source.kind() == io::ErrorKind::NotFound || source.raw_os_error() == Some(ESRCH)
            }
            Self::Malformed { .. } => false,
        }
    }
}

fn read(path: &str) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })
}
