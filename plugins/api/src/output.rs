//! Output plugins: they get alerts and deliver them.

use std::fmt;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::abi::{LannerAlert, LannerAlertField, LannerBatch, LannerStr};
use crate::border::Error;
use crate::chain::Chain;
use crate::host::Host;
use crate::priority::Priority;
use crate::value::{RawValue, Value};

/// Delivers alerts.
///
/// 1. Each configured output has its own state and its own thread, which alone calls it.
/// 2. `emit` gets alerts oldest first, and delivers them in this order. It may block, but not for
///    ever: answer [`Delivery::TryAgain`] rather than wait for a receiver that is away.
/// 3. What was not delivered comes again, so that an alert may arrive twice but never not at all.
/// 4. A panic ends the state: it is reported, and the host calls nothing more but drops it.
pub trait OutputPlugin: Sized + Send + 'static {
    /// What the user may set in the configuration. Use `#[serde(deny_unknown_fields)]`. Where
    /// nothing is set, it is read from `null`, or else from `{}`. Lanner checks settings against the schema
    /// first; its `description`s are the documentation comments.
    type Settings: DeserializeOwned + JsonSchema;

    /// Prepares for delivery. A receiver that is away at the moment is no reason to fail.
    ///
    /// # Errors
    ///
    /// The settings make no sense; the text goes to the user.
    fn open(host: Host, settings: Self::Settings) -> Result<Self, Error>;

    /// Delivers alerts.
    fn emit(&mut self, alerts: &Alerts<'_>) -> Delivery;

    /// Pushes out what is still held back. Called when the queue runs empty, and before the end.
    ///
    /// # Errors
    ///
    /// Something could not be pushed out; it is reported.
    fn flush(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// Opens files and connections anew, after log rotation.
    ///
    /// # Errors
    ///
    /// It did not work; it is reported, and `emit` goes on to be called.
    fn reopen(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// All of it was delivered.
    Delivered,
    /// Not now. The host waits, then offers what is left again.
    TryAgain {
        /// How many were delivered, counted from the front.
        delivered: usize,
        /// Why not all.
        reason: String,
    },
    /// What is left of this batch will never be delivered. The host counts it as lost.
    GiveUp {
        /// How many were delivered, counted from the front.
        delivered: usize,
        /// Why not all.
        reason: String,
    },
}

impl Delivery {
    /// [`Delivery::TryAgain`] with the text of an error and all its sources.
    #[must_use]
    pub fn try_again(delivered: usize, error: &(dyn std::error::Error + '_)) -> Self {
        let reason = Chain(error).to_string();
        Self::TryAgain { delivered, reason }
    }

    /// [`Delivery::GiveUp`] with the text of an error and all its sources.
    #[must_use]
    pub fn give_up(delivered: usize, error: &(dyn std::error::Error + '_)) -> Self {
        let reason = Chain(error).to_string();
        Self::GiveUp { delivered, reason }
    }
}

/// A batch of alerts, oldest first.
#[derive(Clone, Copy)]
pub struct Alerts<'a>(&'a [*const LannerAlert]);

/// An alert, while `emit` runs.
#[derive(Clone, Copy)]
pub struct AlertView<'a>(&'a LannerAlert);

impl<'a> Alerts<'a> {
    /// # Safety
    ///
    /// `raw` and all it points to are as the header describes them, for `'a`.
    pub(crate) unsafe fn from_abi(raw: &'a LannerBatch) -> Self {
        if raw.alerts.is_null() {
            return Self(&[]);
        }
        // SAFETY: by the function's contract.
        Self(unsafe { std::slice::from_raw_parts(raw.alerts, raw.count) })
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The alerts, oldest first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = AlertView<'a>> {
        // SAFETY: by the contract of `from_abi`, every pointer is valid for 'a.
        self.0.iter().map(|alert| AlertView(unsafe { &**alert }))
    }
}

impl<'a> AlertView<'a> {
    fn text_of(&self, text: LannerStr) -> &'a str {
        // SAFETY: by the contract of `Alerts::from_abi`.
        let bytes: &'a [u8] = unsafe { text.as_bytes() };
        match std::str::from_utf8(bytes) {
            Ok(text) => text,
            // The host sends UTF-8 only; if it does not, rather show what is than nothing.
            Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
        }
    }

    /// When the event happened, in nanoseconds since the epoch.
    #[must_use]
    pub fn time_ns(&self) -> u64 {
        self.0.time_ns
    }

    /// Name of the rule.
    #[must_use]
    pub fn rule(&self) -> &'a str {
        self.text_of(self.0.rule)
    }

    /// How bad it is.
    #[must_use]
    pub fn priority(&self) -> Priority {
        Priority::from_number(self.0.priority).unwrap_or(Priority::Debug)
    }

    /// Where the event came from, such as `syscall`.
    #[must_use]
    pub fn source(&self) -> &'a str {
        self.text_of(self.0.source)
    }

    /// Name of the host.
    #[must_use]
    pub fn hostname(&self) -> &'a str {
        self.text_of(self.0.hostname)
    }

    /// `HH:MM:SS.nnnnnnnnn: Priority text`, without a line break.
    #[must_use]
    pub fn text(&self) -> &'a str {
        self.text_of(self.0.text)
    }

    /// Falco's JSON object, without a line break.
    #[must_use]
    pub fn json(&self) -> &'a str {
        self.text_of(self.0.json)
    }

    /// Tags of the rule.
    pub fn tags(&self) -> impl Iterator<Item = &'a str> {
        let tags: &'a [LannerStr] = if self.0.tags.is_null() {
            &[]
        } else {
            // SAFETY: by the contract of `Alerts::from_abi`.
            unsafe { std::slice::from_raw_parts(self.0.tags, self.0.tag_count) }
        };
        let view = *self;
        tags.iter().map(move |tag| view.text_of(*tag))
    }

    /// The fields of the rule's template and their values.
    pub fn fields(&self) -> impl Iterator<Item = (&'a str, Value<'a>)> {
        let fields: &'a [LannerAlertField] = if self.0.fields.is_null() {
            &[]
        } else {
            // SAFETY: by the contract of `Alerts::from_abi`.
            unsafe { std::slice::from_raw_parts(self.0.fields, self.0.field_count) }
        };
        let view = *self;
        fields.iter().map(move |field| {
            // SAFETY: by the contract of `Alerts::from_abi`.
            let value = unsafe { RawValue::from_abi(field.value) }.get();
            (view.text_of(field.name), value)
        })
    }
}

impl fmt::Debug for Alerts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl fmt::Debug for AlertView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlertView")
            .field("rule", &self.rule())
            .field("text", &self.text())
            .finish_non_exhaustive()
    }
}
