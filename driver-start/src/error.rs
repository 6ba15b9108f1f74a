//! Why a command cannot be started, and why threads cannot be listed.

use std::io;

/// Why a command cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An argument contains a NUL byte.
    #[error("{0:?} contains a NUL byte, which no program can be given as an argument")]
    Nul(String),
    /// A system call failed.
    #[error("cannot {step}")]
    System {
        /// What was tried.
        step: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel refused to execute the program.
    #[error("cannot execute {program}")]
    Exec {
        /// The program.
        program: String,
        /// What the kernel said.
        source: io::Error,
    },
}

impl StartError {
    /// The error of a system call, for `map_err`.
    pub(crate) fn system<E: Into<io::Error>>(step: &'static str) -> impl FnOnce(E) -> Self {
        move |error| Self::System {
            step,
            source: error.into(),
        }
    }
}

/// Why the threads of a process cannot be listed.
#[derive(Debug, thiserror::Error)]
pub enum ThreadsError {
    /// The process does not exist.
    #[error("there is no process {pid}")]
    NoProcess {
        /// Its id.
        pid: u32,
    },
    /// The kernel refused.
    #[error("cannot list the threads of process {pid}")]
    List {
        /// The process's id.
        pid: u32,
        /// What the kernel said.
        source: io::Error,
    },
}
