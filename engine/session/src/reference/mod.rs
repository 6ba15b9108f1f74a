//! What there is to name in rules and on the command line, for people and for programs: system calls, fields, drivers,
//! rules, plugins.

mod drivers;
mod fields;
mod plugins;
mod rules;
mod syscalls;

pub use self::drivers::{drivers, fixes};
pub use self::fields::fields;
pub use self::plugins::{built_in_plugins, plugin, plugins};
pub use self::rules::{CheckedRules, plural, rule, rules};
pub use self::syscalls::syscalls;

/// The form of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Columns for a terminal.
    Text,
    /// A JSON array.
    Json,
    /// A page of documentation.
    Markdown,
}
