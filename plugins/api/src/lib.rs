//! The interface between lanner and its plugins: the C ABI, and a safe Rust SDK on top of it.
//!
//! A plugin is a shared library with one exported function, `lanner_plugin`, which returns a versioned struct of
//! function pointers ([`abi::LannerPlugin`]). A plugin decides which events break a rule ([`RulePlugin`]), or
//! delivers alerts ([`OutputPlugin`]), or both.
//!
//! In Rust, implement a trait and export it:
//!
//! ```
//! use lanner_plugin::{Alerts, Delivery, Error, Host, OutputPlugin};
//!
//! struct Counter(u64);
//!
//! impl OutputPlugin for Counter {
//!     type Settings = ();
//!
//!     fn open(_host: Host, _settings: ()) -> Result<Self, Error> {
//!         Ok(Self(0))
//!     }
//!
//!     fn emit(&mut self, alerts: &Alerts<'_>) -> Delivery {
//!         self.0 += alerts.len() as u64;
//!         Delivery::Delivered
//!     }
//! }
//!
//! lanner_plugin::export_plugin! {
//!     name: "counter",
//!     description: "Counts alerts.",
//!     output: Counter,
//! }
//! # fn main() {}
//! ```
//!
//! In other languages, start from `include/lanner_plugin.h`. It says for each function who owns what, which thread
//! calls it, and whether it may block. [`abi`] is the same interface in Rust, for the host.
//!
//! | module | holds |
//! |---|---|
//! | [`abi`] | the structs that host and plugin exchange, laid out as in C |
//! | `value` | the values of fields: [`Value`], [`OwnedValue`], [`List`] |
//! | `rule`, `request`, `report` | [`RulePlugin`]: takes events, reports matches; what it is opened with; what it says about its rules |
//! | `field`, `cache` | [`FieldResolver`], [`FieldSource`]: how fields are found and read; each at most once for an event |
//! | `output` | [`OutputPlugin`]: takes alerts, delivers them |
//! | `host` | [`Host`]: logs messages and publishes numbers for a plugin |
//! | `priority` | [`Priority`]: how serious an alert is |
//! | `settings` | settings that several plugins have, such as [`Permissions`] |
//! | `transform` | [`Transformer`], [`Term`]: functions of field values, for conditions and templates |
//! | [`files`] | opens files so that no other user can swap or change them |
//! | [`deadline`] | connections that no receiver can hold for longer than a time |
//! | `tls` | TLS for clients: certificates and keys from PEM files, the handshake (feature `tls`) |
//! | `lines`, `chain` | alerts as lines ([`LineWriter`]); an error with its sources as one line ([`Chain`]) |
//! | `export`, `border`, `rule_border`, `output_border` | the C functions that call the traits; a panic becomes a status |
//! | `testing`, `testing_outputs` | a host and alerts for tests (feature `testing`) |

pub mod abi;
mod border;
mod cache;
mod chain;
pub mod deadline;
mod export;
mod field;
pub mod files;
mod host;
mod lines;
mod output;
mod output_border;
mod priority;
mod report;
mod request;
mod rule;
mod rule_border;
mod settings;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(any(test, feature = "testing"))]
mod testing_outputs;
#[cfg(feature = "tls")]
pub mod tls;
mod transform;
mod value;

pub use border::Error;
pub use cache::{CachedEvent, FieldCache};
pub use chain::Chain;
pub use field::{FieldResolver, FieldSource};
pub use host::{Counter, Gauge, Host, Level};
pub use lines::LineWriter;
pub use output::{AlertView, Alerts, Delivery, OutputPlugin, Turn};
pub use priority::{Priority, UnknownPriority};
pub use report::{
    Diagnostic, EventNeed, Explanation, FieldComparison, FieldTest, Relation, RuleCapture,
    Severity, TestRelation,
};
pub use request::{FieldKind, ResolvedField, RuleFileView, RuleRequest, UnknownName};
pub use rule::{Event, EventTypes, Matches, RuleInfo, RulePlugin};
pub use settings::{InvalidSetting, Permissions, at_least};
pub use transform::{Buffers, Term, Transformer, TransformerError};
pub use value::{List, OwnedValue, RawValue, Value};

#[doc(hidden)]
pub use output_border::OutputTable;
#[doc(hidden)]
pub use rule_border::RuleTable;
