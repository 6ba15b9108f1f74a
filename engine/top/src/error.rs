//! What can go wrong.

use crate::filter::FilterError;
use fields::template::TemplateError;
use plugin_host::{PluginError, UnknownName};

/// Why `lanner top` cannot begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum TopError {
    /// Standard output is no terminal.
    #[error(
        "standard output is not a terminal; `lanner trace --count proc.name,evt.type` counts events without one"
    )]
    NotATerminal,
    /// The terminal cannot move its cursor.
    #[error(
        "this terminal cannot move its cursor (TERM={0}); set TERM to what it is, or count events without a screen: `lanner trace --count proc.name,evt.type`"
    )]
    Dumb(String),
    /// The terminal cannot be used.
    #[error("cannot use the terminal")]
    Terminal(#[source] std::io::Error),
    /// The thread that draws the screen has panicked.
    #[error("the thread that draws the screen panicked; this is a fault of lanner")]
    Panicked,
    /// The events of `-e` cannot be used.
    #[error(transparent)]
    Events(#[from] look::LookError),
    /// The rules cannot be used.
    #[error("the rules cannot be used")]
    Rules(#[source] PluginError),
    /// The rule files cannot be used.
    #[error("-r")]
    RuleFiles(#[from] session::RuleFilesError),
    /// The output of a rule cannot be used.
    #[error("the rules cannot be used")]
    RuleOutput(#[from] session::RuleOutputError),
    /// The condition cannot be used.
    #[error("--where")]
    Condition(#[source] FilterError),
    /// A template or field that lanner itself uses is not there.
    #[error("a field is missing")]
    Field(#[from] UnknownName),
    /// A template cannot be used.
    #[error("a template cannot be used")]
    Template(#[from] TemplateError),
}
