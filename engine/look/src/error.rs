//! What can be wrong with a request.

use fields::template::TemplateError;
use plugin_host::{PluginError, UnknownName};

/// Why a request to look at events cannot be fulfilled.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// There is no event of this name.
    #[error(
        "-e: there is no event `{name}`{hint} (`lanner syscalls` lists the system calls; the others are {others})"
    )]
    Event {
        /// The name.
        name: String,
        /// What was perhaps meant.
        hint: String,
        /// The names of events that are not system calls.
        others: String,
    },
    /// There is no class of this name.
    #[error("-e: there is no class `%{name}`{hint}; the classes are {classes}")]
    Class {
        /// The name.
        name: String,
        /// What was perhaps meant.
        hint: String,
        /// All classes.
        classes: String,
    },
    /// strace has this, and lanner does not.
    #[error(
        "-e {word}=: lanner selects events by name and class only; use --where for conditions on values"
    )]
    Qualifier {
        /// The word before the `=`.
        word: String,
    },
    /// The template of `--format` cannot be used.
    #[error("--format")]
    Template(#[source] TemplateError),
    /// A field of an option cannot be used.
    #[error("{option}: `{text}`")]
    Field {
        /// The option.
        option: &'static str,
        /// What it says.
        text: String,
        /// What is wrong.
        #[source]
        source: FieldError,
    },
    /// The condition cannot be used.
    #[error("--where")]
    Condition(#[source] ConditionError),
}

/// Why a condition cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConditionError {
    /// The rule plugin refuses it. The text says why, and what may be meant.
    #[error("{0}")]
    Refused(String),
    /// The rule plugin was not found, or has another failure.
    #[error(transparent)]
    Plugin(#[from] PluginError),
}

/// Why a field cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FieldError {
    /// It is no field.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// There is no such field.
    #[error(transparent)]
    Unknown(#[from] UnknownName),
    /// There is more than one field, or a text besides it.
    #[error("this is not the name of a field (`lanner fields` lists them)")]
    NotAField,
    /// The field is no number.
    #[error("the field is no number: it is of type {kind}")]
    NotANumber {
        /// The type of the field.
        kind: &'static str,
    },
}

/// Why a consumer cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The text cannot be written.
    #[error("cannot write")]
    Write(#[from] std::io::Error),
    /// The rule plugin is switched off.
    #[error("the condition of --where cannot be asked any more: {0}")]
    Condition(String),
}
