//! The structs that host and plugin exchange. `lanner_plugin.h` is generated from the files in this folder,
//! comments included (`make header`), so the comments address readers of C.
//!
//! Rules for changes:
//!
//! 1. Append fields, and only to structs that begin with a size. The reader of such a struct checks the size
//!    first and treats every field beyond it as absent.
//! 2. Structs without a size ([`LannerStr`], [`LannerValue`], [`LannerText`], [`LannerAlertField`],
//!    [`LannerField`], [`LannerLabel`], [`LannerTest`], the sinks) never change.
//! 3. An appended field raises [`ABI_MINOR`]. Any other change raises [`ABI_MAJOR`], and a host refuses a
//!    plugin with another major version.
//! 4. The first three fields of [`LannerPlugin`] never change, not even across major versions.
//!
//! | file | holds |
//! |---|---|
//! | `status` | what a call returns |
//! | `value` | texts, lists, typed values |
//! | `host` | what the host lends to a plugin: log and metrics |
//! | `resolver` | looking up fields and event types |
//! | `rules` | the rules capability |
//! | `reports` | what a rule plugin reports about rules: diagnostics, explanations, comparisons, needs |
//! | `output` | the output capability |
//! | `plugin` | what the exported function returns |

mod host;
mod output;
mod plugin;
mod reports;
mod resolver;
mod rules;
mod status;
mod value;

pub use host::*;
pub use output::*;
pub use plugin::*;
pub use reports::*;
pub use resolver::*;
pub use rules::*;
pub use status::*;
pub use value::*;

/// The major version of this interface. Host and plugin must have the same.
pub const ABI_MAJOR: u32 = 1;
/// The minor version of this interface. Host and plugin may differ: a higher one only appends fields.
pub const ABI_MINOR: u32 = 7;
/// The name of the one exported function.
pub const SYMBOL: &str = "lanner_plugin";
