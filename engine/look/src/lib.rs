//! Ways to look at events: as lines, through a template, or in aggregate. `lanner trace` is this library and its arguments.
//! `lanner top` uses its counters, conditions and sets of events.
//!
//! A [`Plan`] is made from what the user asked for. It says which calls to capture. Once the source is open, the plan
//! becomes a [`Trace`], which consumes the events.
//!
//! | file | does |
//! |---|---|
//! | `plan` | what the user asked for, compiled: [`Plan`] |
//! | `trace` | the consumer: filters events, hands them to lines or an aggregation, writes the text: [`Trace`] |
//! | `event_set` | events by name and class, as strace(1) selects them: [`EventSet`] |
//! | `class` | the classes of calls, such as `%file` |
//! | `condition` | a condition in the language of rules |
//! | `line` | events as lines: times, and what is behind descriptors |
//! | `columns` | the fields that events are grouped by, and numbers |
//! | `tally` | values by key, with a bound on the number of keys |
//! | `aggregate` | counts, histograms, statistics |
//! | `calls` | the summary of calls |
//! | `histogram` | powers of two, drawn as bpftrace draws them |
//! | `error` | what can be wrong with the request |

mod aggregate;
mod calls;
mod class;
#[cfg(test)]
mod class_tests;
mod columns;
mod condition;
mod error;
mod event_set;
mod histogram;
mod line;
mod plan;
mod tally;
#[cfg(test)]
mod tests;
mod trace;

pub use class::Class;
pub use condition::Condition;
pub use error::{ConditionError, FieldError, LookError, TraceError};
pub use event_set::EventSet;
pub use line::{LineOptions, Stamp};
pub use plan::{Aggregation, Form, Plan, Request};
pub use tally::{Tallied, Tally};
pub use trace::{Sink, Trace};
