//! The border between lanner and its plugins: the C ABI, and a safe Rust SDK on top of it.
//!
//! A plugin is a shared library with one exported function, `lanner_plugin`, that returns a
//! versioned struct of function pointers ([`abi::LannerPlugin`]). It has capabilities: it decides
//! which events break a rule ([`RulePlugin`]), or it delivers alerts ([`OutputPlugin`]), or both.
//!
//! In Rust, implement the trait and export it:
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
//! In other languages, start from `include/lanner_plugin.h`, which says for each function who owns
//! what, which thread calls, and what may block. [`abi`] is the same thing in Rust, for the host.
//!
//! | module | holds |
//! |---|---|
//! | [`abi`] | the structs that cross the border, laid out as in C |
//! | [`Value`] and friends | what a field holds |
//! | [`FieldResolver`], [`FieldSource`] | how fields are found and read |
//! | [`RulePlugin`] | events in, matches out |
//! | [`OutputPlugin`] | alerts in, deliveries out |
//! | `testing` | a host and alerts that are made up, for tests (feature `testing`) |
//! | [`Transformer`], [`Term`] | functions of field values, for conditions and templates alike |

pub mod abi;
mod border;
mod cache;
mod export;
mod field;
mod host;
mod output;
mod output_border;
mod priority;
mod rule;
mod rule_border;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod transform;
mod value;

pub use border::Error;
pub use cache::{CachedEvent, FieldCache};
pub use field::{FieldResolver, FieldSource};
pub use host::{Counter, Gauge, Host, Level};
pub use output::{AlertView, Alerts, Delivery, OutputPlugin};
pub use priority::{Priority, UnknownPriority};
pub use rule::{
    Diagnostic, Event, EventTypes, Explanation, FieldKind, Matches, ResolvedField, RuleFileView,
    RuleInfo, RulePlugin, RuleRequest, Severity,
};
pub use transform::{Buffers, Term, Transformer};
pub use value::{List, OwnedValue, RawValue, Value};

#[doc(hidden)]
pub use output_border::OutputTable;
#[doc(hidden)]
pub use rule_border::RuleTable;
