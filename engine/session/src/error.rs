//! Why a session cannot begin.

use crate::source::SourceError;

/// Why a session cannot begin. Nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The configuration, the rules or the plugins that they need are at fault.
    #[error("{0}")]
    Configuration(String),
    /// Events cannot be captured.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// An output cannot start.
    #[error(transparent)]
    Output(#[from] delivery::StartError),
    /// The web server cannot start.
    #[error("{0}")]
    Web(String),
    /// The kernel gave no thread.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
}
