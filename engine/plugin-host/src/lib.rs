//! The host's side of the plugin border: finds plugins, loads them, and calls them safely. Rule
//! plugins stand between inspection and alerts, output plugins at the very end.
//!
//! | file | does |
//! |---|---|
//! | `elf` | is it a whole library for this machine? |
//! | `load` | opens it, and checks version, sizes and functions before anything else is touched |
//! | `find` | plugins in directories, and why some are refused |
//! | `pin` | is it the file that the user reviewed? |
//! | `secrets` | values that no message shows |
//! | `settings` | do the settings fit the plugin's schema? |
//! | `metrics` | numbers that plugins publish |
//! | `rules` | [`RuleHost`]: an opened rule plugin |
//! | `outputs`, `alert` | [`OutputHost`]: an opened output plugin, and what it delivers |
//! | `slow` | calls that may hang |
//! | `border` | what plugins can call |
//! | `error` | what can go wrong, and what to do about it |
//!
//! A plugin that panics is reported with its name, counted and switched off; the others run on.
//! Plugins are never unloaded, as their threads and thread-local data would dangle.

mod alert;
mod border;
pub mod check;
mod elf;
mod error;
mod find;
mod load;
pub mod metrics;
mod outputs;
mod pin;
mod rules;
pub mod secrets;
mod settings;
mod slow;

pub use alert::Alert;
pub use elf::check as check_library;
pub use error::PluginError;
pub use find::{Found, find, find_pinned, list};
pub use load::{Plugin, load, load_pinned};
pub use outputs::OutputHost;
pub use pin::{Pins, sum};
pub use settings::check as check_settings;
pub use slow::within;

pub use rules::{Rule, RuleFile, RuleHost};

pub use lanner_plugin::files;
pub use lanner_plugin::{
    Delivery, Diagnostic, EventTypes, Explanation, FieldKind, FieldResolver, FieldSource, List,
    OwnedValue, Priority, RawValue, ResolvedField, Severity, UnknownName, Value,
};

#[cfg(test)]
mod tests;
