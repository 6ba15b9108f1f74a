//! The output capability.

use std::ffi::c_void;

use super::{LannerHost, LannerStatus, LannerStr, LannerText, LannerValue};

/// A field of an alert.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct LannerAlertField {
    /// As in the rule's template, such as `proc.aname[2]`.
    pub name: LannerStr,
    /// `LANNER_NONE` if the event did not have the field.
    pub value: LannerValue,
}

/// An alert. Valid until `emit` returns. The host formats text and json once, for all outputs.
#[repr(C)]
#[derive(Debug)]
pub struct LannerAlert {
    /// Bytes in this struct.
    pub size: usize,
    /// Nanoseconds since the epoch.
    pub time_ns: u64,
    /// Name of the rule.
    pub rule: LannerStr,
    /// The source of the event, such as `syscall`.
    pub source: LannerStr,
    /// Name of the host.
    pub hostname: LannerStr,
    /// `HH:MM:SS.nnnnnnnnn: Priority text`, UTF-8, no line break.
    pub text: LannerStr,
    /// Falco's JSON object on one line, no line break.
    pub json: LannerStr,
    /// Tags of the rule.
    pub tags: *const LannerStr,
    /// Number of tags.
    pub tag_count: usize,
    /// Fields of the rule's template.
    pub fields: *const LannerAlertField,
    /// Number of fields.
    pub field_count: usize,
    /// 0 (Emergency) to 7 (Debug), as in syslog.
    pub priority: u32,
    /// 0.
    pub reserved: u32,
}

/// Alerts to deliver, oldest first. Valid until `emit` returns.
#[repr(C)]
#[derive(Debug)]
pub struct LannerBatch {
    /// Bytes in this struct.
    pub size: usize,
    /// An array of pointers, because a later version may append to `LannerAlert`.
    pub alerts: *const *const LannerAlert,
    /// Number of alerts.
    pub count: usize,
    /// Since 1.4. Where `emit` stores how many alerts can never be delivered, counted from the first one that was not
    /// delivered. `*refused` is 0 before the call. The host reads it only if `emit` returns `LANNER_GO_ON`.
    pub refused: *mut usize,
}

impl LannerBatch {
    /// Bytes in this struct in version 1.0.
    ///
    /// cbindgen:ignore
    pub const FIRST_SIZE: usize = std::mem::offset_of!(Self, refused);
}

/// The capability to deliver alerts. All functions up to `close` are required.
#[repr(C)]
#[derive(Debug)]
pub struct LannerOutputPlugin {
    /// Bytes in this struct.
    pub size: usize,
    /// Takes settings (a JSON text, empty if there are none) and stores a state in `*state`. Lanner opens one state
    /// for each configured output. May block for a short time. Must not fail because a receiver is unreachable at
    /// the moment. On failure: stores nothing, returns `LANNER_ERROR`, and gives `error` the reason.
    pub open: Option<
        unsafe extern "C" fn(
            host: *const LannerHost,
            settings: LannerStr,
            state: *mut *mut c_void,
            error: *const LannerText,
        ) -> LannerStatus,
    >,
    /// Delivers alerts in order, and stores in `*delivered` how many, counted from the front of the batch
    /// (`*delivered` is 0 before the call). May block for a few seconds: only the output's own thread waits. If the
    /// alerts take longer than about a second together, return `LANNER_GO_ON` then: the host takes a call that exceeds
    /// the output's `deadline` (10 s) for one that hangs. Returns:
    ///
    /// - `LANNER_OK`: all were delivered; `*delivered` is ignored
    /// - `LANNER_TRY_AGAIN`: the host waits, then offers the undelivered alerts again, possibly with more after them
    /// - `LANNER_GIVE_UP`: the host counts the undelivered alerts as lost
    /// - `LANNER_ERROR`: as `LANNER_TRY_AGAIN`, and the host reports a fault of the plugin
    /// - `LANNER_GO_ON`: the first `*delivered` alerts were delivered. The receiver will never take the `*refused` alerts
    ///   after them: the host counts these as lost. It offers the rest at once. At least one of the numbers is not 0
    ///
    /// `error` receives the reason if alerts were not delivered.
    pub emit: Option<
        unsafe extern "C" fn(
            state: *mut c_void,
            batch: *const LannerBatch,
            delivered: *mut usize,
            error: *const LannerText,
        ) -> LannerStatus,
    >,
    /// Writes out alerts that the plugin still buffers. Called when the queue becomes empty and before `close`. May
    /// block as `emit` may.
    pub flush:
        Option<unsafe extern "C" fn(state: *mut c_void, error: *const LannerText) -> LannerStatus>,
    /// Opens files and connections again, after log rotation. May block as `emit` may.
    pub reopen:
        Option<unsafe extern "C" fn(state: *mut c_void, error: *const LannerText) -> LannerStatus>,
    /// Frees the state. Called once, even after `LANNER_PANIC`.
    pub close: Option<unsafe extern "C" fn(state: *mut c_void)>,
    /// Since 1.2, may be NULL. Hands over the JSON schema (draft 2020-12) of the settings: one `put`. Lanner checks
    /// settings against it before it calls `open`. Gives the same answer each time; must not block.
    pub schema: Option<
        unsafe extern "C" fn(sink: *const LannerText, error: *const LannerText) -> LannerStatus,
    >,
    /// Since 1.5, may be NULL. Checks settings as far as that is possible without a trace: it may read files
    /// (certificates, tokens), but must not create, connect, listen, look up names or start anything. Returns
    /// `LANNER_ERROR` and gives `error` the reason for settings that `open` would refuse, and `LANNER_OK` for all others:
    /// there, `open` can still fail. Lanner calls it before `open`, for all outputs before it opens the first one, and
    /// without `open` for `lanner config check`. It stores nothing. May block for a short time.
    pub check: Option<
        unsafe extern "C" fn(
            host: *const LannerHost,
            settings: LannerStr,
            error: *const LannerText,
        ) -> LannerStatus,
    >,
}

impl LannerOutputPlugin {
    /// Bytes in this struct in version 1.0.
    ///
    /// cbindgen:ignore
    pub const FIRST_SIZE: usize = std::mem::offset_of!(Self, schema);

    /// A table without functions. The host copies a shorter table of an older plugin into it.
    #[must_use]
    pub const fn empty() -> Self {
        Self {
            size: size_of::<Self>(),
            open: None,
            emit: None,
            flush: None,
            reopen: None,
            close: None,
            schema: None,
            check: None,
        }
    }
}

impl std::fmt::Debug for LannerAlertField {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LannerAlertField")
            .field("value", &self.value)
            .finish_non_exhaustive()
    }
}
