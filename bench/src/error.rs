//! Why a part of the benchmark cannot be measured.

use std::process::ExitStatus;

use driver_api::error::Cause;

/// What failed, and on what. Print it with [`driver_api::error::Chain`].
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A system call, a library, or the start of a program.
    #[error("cannot {step}")]
    Failed { step: String, source: Cause },
    /// A program failed.
    #[error("{program} ended with {status}{}{said}", if said.is_empty() { "" } else { ": " })]
    Ended {
        program: String,
        status: ExitStatus,
        /// The last line of its standard error, if that was kept.
        said: String,
    },
    /// Something is missing or is not as expected. The text says what.
    #[error("{0}")]
    Unexpected(String),
}

impl Error {
    /// The error of a step, for `map_err`. "cannot" precedes the step.
    pub(crate) fn failed<E: Into<Cause>>(step: impl Into<String>) -> impl FnOnce(E) -> Self {
        let step = step.into();
        move |error| Self::Failed {
            step,
            source: error.into(),
        }
    }

    pub(crate) fn unexpected(what: impl Into<String>) -> Self {
        Self::Unexpected(what.into())
    }

    /// An error if a program failed.
    pub(crate) fn check(program: impl Into<String>, status: ExitStatus) -> Result<(), Self> {
        if status.success() {
            return Ok(());
        }
        Err(Self::Ended {
            program: program.into(),
            status,
            said: String::new(),
        })
    }
}

impl From<&str> for Error {
    fn from(what: &str) -> Self {
        Self::unexpected(what)
    }
}

impl From<String> for Error {
    fn from(what: String) -> Self {
        Self::Unexpected(what)
    }
}
