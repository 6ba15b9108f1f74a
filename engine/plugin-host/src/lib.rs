//! The host's side of the plugin border: finds plugins, loads them, and calls them safely. Rule plugins decide which events
//! become alerts; output plugins deliver alerts.
//!
//! | file | does |
//! |---|---|
//! | `elf` | is it a whole library for this machine? |
//! | `load` | opens it, and checks version, sizes and functions before anything else is touched |
//! | `built_in` | plugins that are linked into the program |
//! | `find` | plugins in directories, and why some are refused |
//! | `pin` | does the file have the SHA-256 sum of the configuration? |
//! | `secrets` | values that no message shows |
//! | `settings` | do the settings fit the plugin's schema? |
//! | `metrics` | numbers that plugins publish |
//! | `rule_file` | reads rule files |
//! | `rules` | [`RuleHost`]: an opened rule plugin |
//! | `outputs`, `alert` | [`OutputHost`]: an opened output plugin, and the alerts that it delivers |
//! | `slow`, `answer` | calls that may hang; the answer of one |
//! | `check` | `lanner plugins check`: calls every function of a plugin |
//! | `crash` | says which plugin crashed or ended the process |
//! | `border`, `repeats` | the functions that plugins can call; log messages that repeat |
//! | `error` | the errors, and what to do about them |
//!
//! A plugin that panics is reported with its name, counted and switched off; the others go on. Plugins are never unloaded,
//! since their threads and thread-local data would point into unmapped memory.

mod alert;
mod answer;
mod border;
mod built_in;
pub mod check;
mod crash;
mod elf;
mod error;
mod find;
mod load;
pub mod metrics;
mod outputs;
mod pin;
mod repeats;
mod rule_file;
mod rules;
pub mod secrets;
mod settings;
mod slow;

pub use alert::Alert;
pub use border::escape;
pub use built_in::{Linked, built_in, link};
pub use crash::report_crashes;
pub use elf::check as check_library;
pub use error::PluginError;
pub use find::{PluginFile, files, find, find_pinned, list};
pub use load::{LOADS_LIBRARIES, Plugin, load, load_pinned};
pub use outputs::OutputHost;
pub use pin::{InvalidSum, Pins, sum, sum_of_bytes};
pub use settings::check as check_settings;
pub use slow::{NoResult, is_loading, within};

pub use rule_file::RuleFile;
pub use rules::{Rule, RuleHost};

pub use lanner_plugin::abi::{LannerPlugin, LannerPluginFn};
pub use lanner_plugin::files;
pub use lanner_plugin::{
    Delivery, Diagnostic, EventNeed, EventTypes, Explanation, FieldKind, FieldResolver,
    FieldSource, FieldTest, List, OwnedValue, Priority, RawValue, ResolvedField, RuleCapture,
    Severity, TestRelation, UnknownName, Value,
};

#[cfg(test)]
mod tests;
