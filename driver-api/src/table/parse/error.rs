//! What can be wrong with a table.

use std::num::ParseIntError;

/// A fault in a table, at a line of it. The source says what the fault is.
#[derive(Debug, thiserror::Error)]
#[error("{table}:{line}")]
pub(crate) struct TableError {
    /// The file's name.
    pub(crate) table: &'static str,
    /// The line, from 1 on.
    pub(crate) line: usize,
    #[source]
    pub(crate) fault: Fault,
}

/// What is wrong.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// Something else than the syntax allows.
    #[error("expected {expected}, found {found:?}")]
    Syntax {
        expected: &'static str,
        found: String,
    },
    /// The line ends too early.
    #[error("the line ends, expected {0}")]
    Ends(&'static str),
    /// A line that belongs to a block comes before the first one.
    #[error("expected {0} before this line")]
    NoBlock(&'static str),
    /// A word that is none of those known.
    #[error("{word:?} is no {what}, expected one of: {known}")]
    Word {
        what: &'static str,
        word: String,
        known: String,
    },
    /// A name that nothing has.
    #[error("there is no {what} {name:?}{}", .within.as_ref().map(|w| format!(" in {w}")).unwrap_or_default())]
    NoSuch {
        what: &'static str,
        name: String,
        within: Option<String>,
    },
    /// A name or number that is taken.
    #[error("{what} {name:?} is defined a second time")]
    Twice { what: &'static str, name: String },
    /// A number that cannot be read.
    #[error("expected a number, found {found:?}")]
    Number {
        found: String,
        #[source]
        source: ParseIntError,
    },
    /// A number that does not fit.
    #[error("expected a number up to {most}, found {found:?}")]
    Large { found: String, most: u64 },
    /// More parameters than a call has registers.
    #[error("a call has at most 6 parameters, found {0}")]
    Parameters(usize),
    /// An operation of io_uring that has not a field for each parameter of its system call.
    #[error("{call} has {has} parameters, found {found} fields")]
    Fields {
        call: String,
        has: usize,
        found: usize,
    },
    /// A kind whose size the table does not give.
    #[error("{0:?} has no size of its own, expected a kind that a structure can contain")]
    NotInPlace(String),
}

impl Fault {
    /// The fault at a line of a table.
    pub(crate) fn at(self, table: &'static str, line: usize) -> TableError {
        TableError {
            table,
            line,
            fault: self,
        }
    }

    /// A name that nothing has.
    pub(crate) fn no_such(what: &'static str, name: &str, within: &str) -> Self {
        Self::NoSuch {
            what,
            name: name.to_owned(),
            within: (!within.is_empty()).then(|| within.to_owned()),
        }
    }

    /// Something else than the syntax allows.
    pub(crate) fn syntax(expected: &'static str, found: &str) -> Self {
        Self::Syntax {
            expected,
            found: found.to_owned(),
        }
    }
}
