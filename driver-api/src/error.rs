//! Why a driver cannot begin or go on, and how errors are printed with everything behind them.
//!
//! An error's text says what was tried and on what; why it failed is its source. Print it with [`Chain`].

use std::error::Error;
use std::fmt;
use std::io;

use crate::support::Gap;

/// The error behind another one, of whatever type the failing call has.
pub type Cause = Box<dyn Error + Send + Sync>;

/// Why a driver could not begin.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The probe's answer is no.
    #[error("driver {driver} cannot run here: {}", Gaps(.gaps))]
    Unusable {
        /// The driver.
        driver: &'static str,
        /// What is missing.
        gaps: Vec<Gap>,
    },
    /// The request asks for something that this driver cannot do.
    #[error("driver {driver} does not support {what}: {why}")]
    Unsupported {
        /// The driver.
        driver: &'static str,
        /// The target or setting.
        what: String,
        /// Why, and what would do instead.
        why: String,
    },
    /// The command or a process of the request is at fault: no other driver would do better.
    #[error(transparent)]
    Target(Cause),
    /// The kernel or a library refused.
    #[error("driver {driver} failed to {step}")]
    Failed {
        /// The driver.
        driver: &'static str,
        /// What was tried: "failed to" precedes it.
        step: String,
        /// What the kernel or the library said, and what to do.
        source: Cause,
    },
}

impl OpenError {
    /// An error that a step of this driver failed with, for `map_err`.
    pub fn failed<E: Into<Cause>>(
        driver: &'static str,
        step: impl Into<String>,
    ) -> impl FnOnce(E) -> Self {
        let step = step.into();
        move |error| Self::Failed {
            driver,
            step,
            source: error.into(),
        }
    }

    /// An error of the command or process of the request, for `map_err`.
    pub fn target(error: impl Into<Cause>) -> Self {
        Self::Target(error.into())
    }
}

/// Why a capture cannot go on.
#[derive(Debug, thiserror::Error)]
#[error("driver {driver} failed to {step}")]
pub struct CaptureError {
    /// The driver.
    pub driver: &'static str,
    /// What was tried: "failed to" precedes it.
    pub step: String,
    /// What the kernel or a library said, and what to do.
    pub source: Cause,
}

impl CaptureError {
    /// An error that a step of this driver failed with, for `map_err`.
    pub fn failed<E: Into<Cause>>(
        driver: &'static str,
        step: impl Into<String>,
    ) -> impl FnOnce(E) -> Self {
        let step = step.into();
        move |error| Self {
            driver,
            step,
            source: error.into(),
        }
    }
}

struct Gaps<'a>(&'a [Gap]);

impl fmt::Display for Gaps<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, gap) in self.0.iter().enumerate() {
            let separator = if at == 0 { "" } else { "; " };
            write!(f, "{separator}{}: {}", gap.what, gap.why)?;
            if !gap.remedy.is_empty() {
                write!(f, " ({})", gap.remedy)?;
            }
        }
        Ok(())
    }
}

/// An error and its sources, joined by colons.
///
/// Some libraries repeat a source's text in the error above it. Such a source is left out.
#[derive(Debug, Clone, Copy)]
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.0.to_string();
        f.write_str(&text)?;
        let mut next = self.0.source();
        while let Some(error) = next {
            let more = error.to_string();
            if !text.contains(&more) {
                write!(f, ": {more}")?;
                text.push_str(&more);
            }
            next = error.source();
        }
        Ok(())
    }
}

/// The errno of the first [`io::Error`] among an error and its sources that has one.
pub fn errno(error: &(dyn Error + 'static)) -> Option<i32> {
    let mut next = Some(error);
    while let Some(error) = next {
        let found = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::raw_os_error);
        if found.is_some() {
            return found;
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the map is too large: {0}")]
    struct Repeats(#[source] io::Error);

    /// ENOENT.
    fn missing() -> io::Error {
        io::Error::from_raw_os_error(2)
    }

    #[test]
    fn a_chain_names_each_source_once() {
        let error = OpenError::failed("made", "create its maps")(Repeats(missing()));
        assert_eq!(error.to_string(), "driver made failed to create its maps");
        assert_eq!(
            Chain(&error).to_string(),
            "driver made failed to create its maps: the map is too large: No such file or directory (os error 2)"
        );
    }

    #[test]
    fn a_target_error_is_the_error_of_the_target() {
        let error = OpenError::target(Repeats(missing()));
        assert!(error.to_string().starts_with("the map is too large"));
        assert!(
            error
                .source()
                .is_some_and(|source| source.is::<io::Error>())
        );
    }

    #[test]
    fn the_errno_is_found_behind_other_errors() {
        let error = CaptureError::failed("made", "go on")(Repeats(missing()));
        assert_eq!(errno(&error), Some(2));
        assert_eq!(errno(&missing()), Some(2));
        let text = CaptureError::failed("made", "go on")("no errno here");
        assert_eq!(errno(&text), None);
    }
}
