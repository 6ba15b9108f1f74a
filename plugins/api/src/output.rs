//! Output plugins: they receive alerts and deliver them.

use std::fmt;
use std::time::{Duration, Instant};

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
/// 1. Each configured output has its own state and its own thread. Only that thread calls the state.
/// 2. `emit` receives alerts oldest first, and delivers them in this order. It may block for a few seconds: return
///    [`Delivery::TryAgain`] instead of waiting for a receiver that is unreachable. If many alerts are slow together,
///    return [`Delivery::GoOn`] after about a second ([`Turn`]): the host takes a call that exceeds the output's
///    `deadline` for one that hangs.
/// 3. The host offers undelivered alerts again. An alert may arrive twice, but is not lost.
/// 4. A panic ends the state: the host reports it, and only drops the state after that.
pub trait OutputPlugin: Sized + Send + 'static {
    /// The settings that the user can make in the configuration. Use `#[serde(deny_unknown_fields)]`. Without
    /// settings, the value is read from `null`, and if that fails from `{}`. Lanner checks settings against the schema
    /// first. The `description`s in the schema are the documentation comments.
    type Settings: DeserializeOwned + JsonSchema;

    /// Checks settings without a trace: it may read files (certificates, tokens), but does not create, connect, listen, look
    /// up names or start anything. `lanner config check` calls it without `open`. By default, all settings are right that
    /// fit the type.
    ///
    /// # Errors
    ///
    /// `open` would refuse the settings. The text goes to the user.
    fn check(_settings: &Self::Settings) -> Result<(), Error> {
        Ok(())
    }

    /// What is worth knowing about settings that [`check`](Self::check) accepts, such as a certificate that has expired. Lanner
    /// logs it when it checks the settings. Like `check`, it leaves no trace.
    fn warnings(_settings: &Self::Settings) -> Vec<String> {
        Vec::new()
    }

    /// Prepares for delivery. It must not fail because a receiver is unreachable at the moment.
    ///
    /// # Errors
    ///
    /// The settings are wrong. The text goes to the user.
    fn open(host: Host, settings: Self::Settings) -> Result<Self, Error>;

    /// Delivers alerts.
    fn emit(&mut self, alerts: &Alerts<'_>) -> Delivery;

    /// Writes out alerts that are still buffered. Called when the queue becomes empty, and before the end.
    ///
    /// # Errors
    ///
    /// Buffered alerts could not be written. The host reports it.
    fn flush(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// Opens files and connections again, after log rotation.
    ///
    /// # Errors
    ///
    /// A file or a connection could not be opened. The host reports it, and keeps calling `emit`.
    fn reopen(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

/// The result for a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// All alerts were delivered.
    Delivered,
    /// Not now. The host waits, then offers the rest again.
    TryAgain {
        /// The number of delivered alerts, counted from the front.
        delivered: usize,
        /// The reason for the rest.
        reason: String,
    },
    /// The rest of this batch can never be delivered. The host counts it as lost.
    GiveUp {
        /// The number of delivered alerts, counted from the front.
        delivered: usize,
        /// The reason for the rest.
        reason: String,
    },
    /// A part of the batch is done, and at least one alert is. The host offers the rest at once. (A host before 1.4 has no
    /// such answer: it waits as for [`Delivery::TryAgain`], and counts refused alerts as delivered.)
    GoOn {
        /// The number of delivered alerts, counted from the front.
        delivered: usize,
        /// The number of alerts after those that can never be delivered. The host counts them as lost.
        refused: usize,
        /// Why they are refused. Empty if none is.
        reason: String,
    },
}

impl Delivery {
    /// [`Delivery::GoOn`] after this number of delivered alerts.
    #[must_use]
    pub fn go_on(delivered: usize) -> Self {
        Self::GoOn {
            delivered,
            refused: 0,
            reason: String::new(),
        }
    }

    /// [`Delivery::GoOn`]: after the delivered alerts, the receiver refused this number of alerts for good. The reason is
    /// the text of an error and all its sources.
    #[must_use]
    pub fn refused(delivered: usize, refused: usize, error: &(dyn std::error::Error + '_)) -> Self {
        let reason = Chain(error).to_string();
        Self::GoOn {
            delivered,
            refused,
            reason,
        }
    }

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

/// The time that a call of [`OutputPlugin::emit`] should take at most. An output that delivers alerts one by one looks at
/// it after each.
///
/// ```
/// use lanner_plugin::{Alerts, Delivery, Turn};
///
/// fn emit(alerts: &Alerts<'_>) -> Delivery {
///     let turn = Turn::begin();
///     for (done, alert) in alerts.iter().enumerate() {
///         if done > 0 && turn.is_over() {
///             return Delivery::go_on(done);
///         }
///         println!("{}", alert.text());
///     }
///     Delivery::Delivered
/// }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Turn {
    end: Instant,
}

impl Turn {
    /// How long a call should take.
    pub const LENGTH: Duration = Duration::from_secs(1);

    /// A turn that begins now.
    #[must_use]
    pub fn begin() -> Self {
        Self {
            end: Instant::now() + Self::LENGTH,
        }
    }

    /// Whether it is time to return.
    #[must_use]
    pub fn is_over(&self) -> bool {
        Instant::now() >= self.end
    }
}

/// A batch of alerts, oldest first.
#[derive(Clone, Copy)]
pub struct Alerts<'a>(&'a [*const LannerAlert]);

/// An alert, during `emit`.
#[derive(Clone, Copy)]
pub struct AlertView<'a>(&'a LannerAlert);

impl<'a> Alerts<'a> {
    /// # Safety
    ///
    /// `raw` and everything that it points to match the header's description for `'a`.
    pub(crate) unsafe fn from_abi(raw: *const LannerBatch) -> Self {
        // SAFETY: by the function's contract. The fields are read one by one, as an older host's struct is shorter.
        unsafe {
            let (alerts, count) = ((*raw).alerts, (*raw).count);
            if alerts.is_null() {
                return Self(&[]);
            }
            Self(std::slice::from_raw_parts(alerts, count))
        }
    }

    /// The number of alerts.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the batch is empty.
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
            // The host sends UTF-8. If it does not, the valid beginning is better than nothing.
            Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
        }
    }

    /// The time of the event, in nanoseconds since the epoch.
    #[must_use]
    pub fn time_ns(&self) -> u64 {
        self.0.time_ns
    }

    /// Name of the rule.
    #[must_use]
    pub fn rule(&self) -> &'a str {
        self.text_of(self.0.rule)
    }

    /// How serious it is.
    #[must_use]
    pub fn priority(&self) -> Priority {
        Priority::from_number(self.0.priority).unwrap_or(Priority::Debug)
    }

    /// The source of the event, such as `syscall`.
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
