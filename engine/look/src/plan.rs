//! What the user asked for, compiled: before the source is opened, so that a mistake leaves nothing behind.

use std::path::PathBuf;
use std::time::Duration;

use driver_api::request::{Omit, SyscallSet};
use driver_api::selection::Selection;
use driver_api::table;
use fields::template::Template;
use fields::{FieldRegistry, HostNames};
use session::plugin_directories;

use super::aggregate::{Aggregate, Grouped};
use super::columns::{Columns, NumberField};
use super::condition::Condition;
use super::error::LookError;
use super::event_set::EventSet;
use super::line::LineOptions;

/// What the user asks for.
#[derive(Debug, Clone)]
pub struct Request {
    /// The values of `-e`, as [`EventSet::parse`] reads them.
    pub events: Vec<String>,
    /// A condition in the language of rules. Only events that fulfil it are looked at.
    pub condition: Option<String>,
    /// What is shown of the events.
    pub form: Form,
    /// How long calls took is asked for, whatever is shown.
    pub times: bool,
    /// The rule plugin, which compiles the condition.
    pub rules_plugin: String,
    /// Where plugins are. Empty: the usual folders.
    pub plugin_dirs: Vec<PathBuf>,
}

/// What is shown of events.
#[derive(Debug, Clone)]
pub enum Form {
    /// A line as strace writes it.
    Lines(LineOptions),
    /// A line of JSON.
    Json,
    /// A template of fields.
    Template(String),
    /// A report about all of them.
    Aggregate {
        /// What is reported.
        what: Aggregation,
        /// The most keys in a report.
        top: usize,
        /// Reports each time that this time has passed, and begins anew. None: one report at the end.
        interval: Option<Duration>,
        /// Reports as JSON.
        json: bool,
    },
}

/// What is reported of events. `by` and `field` name fields of rules; several in `by` are separated by commas.
#[derive(Debug, Clone)]
pub enum Aggregation {
    /// How many events there were.
    Count {
        /// Groups events.
        by: String,
    },
    /// A histogram of a number.
    Hist {
        /// The number.
        field: String,
        /// Groups events.
        by: Option<String>,
    },
    /// Least, greatest, sum and average of a number.
    Stats {
        /// The number.
        field: String,
        /// Groups events.
        by: Option<String>,
    },
    /// Calls, errors, and how long calls took.
    Calls,
}

/// What is done with an event.
#[derive(Debug)]
pub(crate) enum Show {
    Lines(LineOptions),
    Json,
    Template(Template),
    Aggregate {
        aggregate: Box<Aggregate>,
        top: usize,
        interval_ns: Option<u64>,
        json: bool,
    },
}

/// What to capture, and what to do with it.
#[derive(Debug)]
pub struct Plan {
    pub(crate) events: EventSet,
    pub(crate) condition: Option<Condition>,
    pub(crate) show: Show,
    pub(crate) registry: FieldRegistry,
    pub(crate) names: HostNames,
    /// Events have to say how long their calls took.
    times: bool,
}

impl Plan {
    /// Compiles a request.
    ///
    /// # Errors
    ///
    /// A name, a template, a field or the condition is wrong, or the rule plugin is not there.
    pub fn new(request: &Request) -> Result<Self, LookError> {
        let hostname = session::host_name();
        let registry = FieldRegistry::new(&hostname);
        let mut events = EventSet::parse(&request.events)?;
        let show = match &request.form {
            Form::Lines(options) => Show::Lines(*options),
            Form::Json => Show::Json,
            Form::Template(text) => {
                let text = unescaped(text);
                let template = Template::compile(&text, &registry);
                Show::Template(template.map_err(LookError::Template)?)
            }
            Form::Aggregate {
                what,
                top,
                interval,
                json,
            } => Show::Aggregate {
                aggregate: Box::new(aggregate(what, &registry)?),
                top: *top,
                interval_ns: interval
                    .map(|time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).max(1)),
                json: *json,
            },
        };
        let mut names = HostNames::default();
        let condition = match &request.condition {
            None => None,
            Some(text) => {
                let folders =
                    plugin_directories(request.plugin_dirs.clone(), &request.rules_plugin);
                let plugin = plugin_host::find(&folders, &request.rules_plugin)
                    .map_err(|error| LookError::Condition(error.into()))?;
                let mut condition = Condition::compile("--where", text, &plugin, &registry)
                    .map_err(LookError::Condition)?;
                events = events.within(&condition.calls());
                let hosts = condition
                    .host_names()
                    .map_err(|error| LookError::Condition(error.into()))?;
                names = HostNames::watch(hosts);
                Some(condition)
            }
        };
        let shows_times = match &show {
            Show::Lines(options) => options.took,
            Show::Aggregate { aggregate, .. } => matches!(**aggregate, Aggregate::Calls(_)),
            Show::Json | Show::Template(_) => false,
        };
        Ok(Self {
            times: request.times || shows_times || registry.needs_times(),
            events,
            condition,
            show,
            registry,
            names,
        })
    }

    /// Whether fields are looked up, which need the state of processes and descriptors.
    pub(crate) fn has_fields(&self) -> bool {
        self.condition.is_some()
            || match &self.show {
                Show::Lines(_) | Show::Json => false,
                Show::Template(_) => true,
                Show::Aggregate { aggregate, .. } => !matches!(**aggregate, Aggregate::Calls(_)),
            }
    }

    /// What to capture, and what the driver may leave out. Nothing is captured that neither the request nor the state needs.
    #[must_use]
    pub fn selection(&self) -> (Selection, Omit) {
        let (calls, omit) = self.calls();
        (Selection::from(calls).with_times(self.times), omit)
    }

    fn calls(&self) -> (SyscallSet, Omit) {
        let behind = matches!(&self.show, Show::Lines(options) if options.behind);
        if self.has_fields() || behind {
            return session::with_state(&self.events.calls);
        }
        let more = if self.shows_messages() {
            inspect::needed()
        } else {
            // it sets the names of threads
            table::by_name("prctl").into_iter().collect()
        };
        let omit = Omit {
            // only JSON shows them
            facts: !matches!(self.show, Show::Json),
            ..Omit::NOTHING
        };
        (self.events.calls.union(&more), omit)
    }

    /// Whether lines show data of netlink sockets as messages, for which descriptors have to be followed.
    pub(crate) fn shows_messages(&self) -> bool {
        let Show::Lines(options) = &self.show else {
            return false;
        };
        let others = self.events.calls.without(&inspect::socket_data());
        options.behind || others != self.events.calls
    }
}

fn aggregate(what: &Aggregation, registry: &FieldRegistry) -> Result<Aggregate, LookError> {
    let by = |by: &Option<String>| {
        let columns = by.as_ref().map(|by| Columns::parse("--by", by, registry));
        columns.transpose()
    };
    Ok(match what {
        Aggregation::Count { by } => {
            let by = Columns::parse("--count", by, registry)?;
            Aggregate::Count(Grouped::new(Some(by)))
        }
        Aggregation::Hist { field, by: groups } => Aggregate::Hist(
            NumberField::parse("--hist", field, registry)?,
            Grouped::new(by(groups)?),
        ),
        Aggregation::Stats { field, by: groups } => Aggregate::Stats(
            NumberField::parse("--stats", field, registry)?,
            Grouped::new(by(groups)?),
        ),
        Aggregation::Calls => Aggregate::calls(),
    })
}

/// A template with tabs and newlines for `\t` and `\n`; `\\` is one backslash.
fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let escaped = (c == '\\').then(|| chars.clone().next()).flatten();
        match escaped {
            Some('t') => out.push('\t'),
            Some('n') => out.push('\n'),
            Some('\\') => out.push('\\'),
            _ => {
                out.push(c);
                continue;
            }
        }
        chars.next();
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_template_can_have_tabs_and_newlines() {
        assert_eq!(super::unescaped(r"a\tb\nc\\t\d\"), "a\tb\nc\\t\\d\\");
    }
}
