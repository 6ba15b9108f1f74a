//! What libbpf and the verifier say. libbpf's errors hold little more than an errno; the reasons are in what it prints.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use driver_api::driver::OpenError;
use driver_ebpf::memory;
use libbpf_rs::{ErrorKind, PrintLevel};

use crate::NAME;

/// How many lines of libbpf's output are kept, and how many of them an error holds.
const KEPT: usize = 64;
const SHOWN: usize = 12;

static PRINTED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Has libbpf's warnings kept for errors, and logged.
pub(crate) fn listen() {
    libbpf_rs::set_print(Some((PrintLevel::Warn, keep)));
}

fn keep(level: PrintLevel, message: String) {
    tracing::debug!(target: "libbpf", ?level, "{}", message.trim_end());
    let mut printed = PRINTED.lock().unwrap_or_else(PoisonError::into_inner);
    if printed.len() > KEPT {
        printed.remove(0);
    }
    printed.push(message);
}

/// Takes what libbpf has printed since this was called last.
pub(crate) fn printed() -> String {
    std::mem::take(&mut *PRINTED.lock().unwrap_or_else(PoisonError::into_inner)).concat()
}

/// An error of libbpf with the last lines that it has printed, and with what helps if the cause may be a limit of memory.
///
/// Its text includes that of its source, because the lines belong behind that.
#[derive(Debug, thiserror::Error)]
pub(crate) struct LibbpfError {
    source: libbpf_rs::Error,
    hint: Option<String>,
    lines: Vec<String>,
}

impl LibbpfError {
    /// With what libbpf has printed.
    pub(crate) fn new(source: libbpf_rs::Error, printed: &str) -> Self {
        // the verifier refuses a program with "permission denied", too, but then it prints a log
        let is_limit =
            source.kind() == ErrorKind::PermissionDenied && !printed.contains("PROG LOAD LOG");
        let hint = match source.kind() {
            ErrorKind::OutOfMemory => Some(memory::OUT_OF_MEMORY.to_owned()),
            _ if is_limit => memory::hint(),
            _ => None,
        };
        let lines: Vec<&str> = printed.lines().filter(|line| !line.is_empty()).collect();
        Self {
            source,
            hint,
            lines: lines[lines.len().saturating_sub(SHOWN)..]
                .iter()
                .map(|&line| line.to_owned())
                .collect(),
        }
    }
}

impl From<libbpf_rs::Error> for LibbpfError {
    fn from(source: libbpf_rs::Error) -> Self {
        Self::new(source, &printed())
    }
}

impl fmt::Display for LibbpfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.source)?;
        if let Some(hint) = &self.hint {
            write!(f, "; {hint}")?;
        }
        for line in &self.lines {
            write!(f, "\n  {line}")?;
        }
        Ok(())
    }
}

/// The error of a step that libbpf failed, for `map_err`.
pub(crate) fn failed(step: impl Into<String>) -> impl FnOnce(libbpf_rs::Error) -> OpenError {
    let step = step.into();
    move |error| OpenError::failed(NAME, step)(LibbpfError::from(error))
}
