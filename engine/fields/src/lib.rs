//! Fields: what rules and templates can ask about an event. Between the state and the rules.
//!
//! [`FIELDS`] is the one list: name, type, argument, meaning, and the function that finds the value.
//! `lanner fields`, docs/fields.md, rules and templates all come from it. While rules are loaded a
//! [`FieldRegistry`] gives each field that is used, with its argument, a small number; afterwards the
//! registry becomes [`Fields`], and a [`View`] of an event answers by that number. A value is looked for
//! when somebody asks, and borrows from the event, the state, or a [`Scratch`].
//!
//! | file | holds |
//! |---|---|
//! | `row` | what a row of the list can say |
//! | `list` | the list |
//! | `event`, `process`, `descriptor`, `path` | the functions: `evt.*`, `proc.*` and ids, `fd.*`, `fs.path.*` |
//! | `container` | `container.*` and `k8s.*`, some of which come later than the event |
//! | `latency` | how long calls took |
//! | `kernel` | what the kernel did, beside what the program said |
//! | `target` | the other process that a call acts on |
//! | `ask` | what /proc is asked for at that moment |
//! | `argument`, `member` | arguments in brackets; `evt.arg`, also of members of structures |
//! | `names`, `services` | names of hosts and ports |
//! | `registry` | names to numbers |
//! | `needs` | what tests of fields say about a call's result and arguments |
//! | `view` | [`View`] |
//! | `scratch`, `time`, `escape` | room for values, times as text, safe text |
//! | [`template`] | texts with fields in them |

mod argument;
mod ask;
mod container;
mod descriptor;
mod escape;
mod event;
mod kernel;
mod latency;
mod list;
mod member;
mod names;
mod needs;
mod path;
mod process;
mod registry;
mod row;
mod scratch;
mod services;
mod target;
pub mod template;
pub mod time;
mod view;

pub use escape::{escape, without_invalid};
pub use list::FIELDS;
pub use names::{HostNames, host_names};
pub use needs::Needs;
pub use registry::{FieldId, FieldRegistry, Fields, calls_of_type, event_type_name, event_type_of};
pub use row::{ArgRule, FieldDef, Many};
pub use scratch::Scratch;
pub use view::View;

#[cfg(test)]
mod event_tests;
#[cfg(test)]
mod path_tests;
#[cfg(test)]
mod tests;
