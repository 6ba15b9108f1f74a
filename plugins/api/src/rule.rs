//! Rule plugins: they receive events and report which rules match.

use std::fmt;
use std::marker::PhantomData;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::abi::{LannerEvent, LannerMatches, LannerValue};
use crate::border::Error;
use crate::chain::Chain;
use crate::host::Host;
use crate::priority::Priority;
use crate::report::{Diagnostic, EventNeed, Explanation, FieldComparison, RuleCapture};
use crate::request::RuleRequest;
use crate::value::{RawValue, Value};

/// Decides which events break a rule.
///
/// 1. The host may have several states at once, opened from several threads: it opens one for new rules while the one
///    before is in use. It calls a state from one thread at a time, and may move it between threads.
/// 2. `rules`, `event_types`, `comparisons`, `captures` and `needs` return the same answer each time.
/// 3. `on_event` runs for every event: it must not block, and should not allocate.
/// 4. A panic ends the state: the host reports it, and only drops the state after that.
pub trait RulePlugin: Sized + Send + 'static {
    /// The settings that the user can make in the configuration. Use `#[serde(deny_unknown_fields)]`. Without
    /// settings, the value is read from `null`, and if that fails from `{}`. Lanner checks settings against the
    /// schema first.
    type Settings: DeserializeOwned + JsonSchema;

    /// Loads the rule files.
    ///
    /// # Errors
    ///
    /// The text goes to the user unchanged. Write `file:line:column`, what is wrong, and how to fix it.
    fn open(host: Host, request: &RuleRequest<'_>, settings: Self::Settings)
    -> Result<Self, Error>;

    /// All rules. The index of a rule here is its index in [`Matches::add`].
    fn rules(&self) -> &[RuleInfo];

    /// The events that the drivers must capture for these rules.
    fn event_types(&self) -> EventTypes;

    /// Reports everything about rule files. By default it tries to open them and reports the reason if that
    /// fails; override it to report more.
    ///
    /// # Errors
    ///
    /// Only if it could not check the files. Faults of the files are diagnostics.
    fn check(
        host: Host,
        request: &RuleRequest<'_>,
        settings: Self::Settings,
        report: &mut dyn FnMut(Diagnostic),
    ) -> Result<(), Error> {
        if let Err(error) = Self::open(host, request, settings) {
            report(Diagnostic {
                message: Chain(&*error).to_string(),
                ..Diagnostic::default()
            });
        }
        Ok(())
    }

    /// Explains rule number `rule`. None if this plugin cannot.
    fn explain(&self, rule: usize) -> Option<Explanation> {
        let _ = rule;
        None
    }

    /// The fields that rules compare with constants, for all rules that can match. Lanner prepares fields with
    /// it: it resolves only the host names that a rule compares `fd.sip.name` and similar fields with. By default
    /// there are none, and those fields have no value.
    fn comparisons(&self) -> Vec<FieldComparison> {
        Vec::new()
    }

    /// The rules that want the events around a match in a file. By default none does.
    fn captures(&self) -> Vec<RuleCapture> {
        Vec::new()
    }

    /// Which events of a type the rules can match. The driver may leave out an event of a type that is named here if the
    /// tests of none of the type's needs hold. By default no type is limited. More events than needed do no harm, so
    /// leave tests out rather than report many, and report only tests of fields that
    /// [select](crate::ResolvedField::selects).
    fn needs(&self) -> Vec<EventNeed> {
        Vec::new()
    }

    /// Evaluates one event. Values from it live until this returns.
    fn on_event(&mut self, event: &Event<'_>, matches: &mut Matches<'_>);
}

/// A rule, for alerts and for listings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleInfo {
    /// Name; unique.
    pub name: String,
    /// What it finds, and why that matters.
    pub description: String,
    /// How serious a match is.
    pub priority: Priority,
    /// The source of its events, such as `syscall`.
    pub source: String,
    /// Tags, such as a MITRE ATT&CK technique.
    pub tags: Vec<String>,
    /// Template of the alert's text, with `%field`, `%field[arg]` and `%tolower(field)`.
    pub output: String,
    /// Whether it can match.
    pub enabled: bool,
}

/// The event types that rules need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventTypes {
    /// Every event. Expensive: the drivers then capture every system call that they know.
    All,
    /// Events of these types, by name, such as `openat`.
    Only(Vec<String>),
}

/// An event, during `on_event`.
#[derive(Clone, Copy)]
pub struct Event<'a>(&'a LannerEvent);

/// Takes the indices of rules that match.
pub struct Matches<'a> {
    raw: &'a LannerMatches,
    count: usize,
    _one_thread: PhantomData<*const ()>,
}

impl<'a> Event<'a> {
    /// Wraps an event of the host or of a test.
    ///
    /// # Safety
    ///
    /// `raw` and the values that its function stores match the header's description for `'a`.
    #[must_use]
    pub unsafe fn from_abi(raw: &'a LannerEvent) -> Self {
        Self(raw)
    }

    /// The value of a field. This is one call through a function pointer. The host caches only values that are
    /// expensive to compute, so keep a value that you need twice ([`FieldCache`]).
    ///
    /// [`FieldCache`]: crate::FieldCache
    #[inline]
    #[must_use]
    pub fn get(&self, field: u32) -> Value<'a> {
        let mut raw = LannerValue::NONE;
        if let Some(get) = self.0.get {
            // SAFETY: by the contract of `from_abi`.
            unsafe { get(self.0.ctx, field, &raw mut raw) };
        }
        // SAFETY: the host set it, and it lives as long as the event.
        unsafe { RawValue::from_abi(raw) }.get()
    }

    /// The number of the event's type, as from [`RuleRequest::event_type`].
    #[inline]
    #[must_use]
    pub fn event_type(&self) -> u32 {
        self.0.event_type
    }
}

impl<'a> Matches<'a> {
    /// # Safety
    ///
    /// The call that passed the sink does not return during `'a`.
    pub(crate) unsafe fn from_abi(raw: &'a LannerMatches) -> Self {
        Self {
            raw,
            count: 0,
            _one_thread: PhantomData,
        }
    }

    /// Records that rule number `rule` matches. The host creates an alert for each, in this order.
    pub fn add(&mut self, rule: usize) {
        let Ok(rule) = u32::try_from(rule) else {
            return;
        };
        self.count += 1;
        if let Some(put) = self.raw.put {
            // SAFETY: by the contract of `from_abi`.
            unsafe { put(self.raw.ctx, rule) };
        }
    }

    /// The number of rules added for this event.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }
}

impl fmt::Debug for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("event_type", &self.event_type())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Matches<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Matches")
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}
