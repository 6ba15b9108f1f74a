//! The rules capability.

use std::ffi::c_void;

use super::{
    LannerCaptureSink, LannerComparisonSink, LannerDiagnosticSink, LannerExplanationSink,
    LannerHost, LannerNeedSink, LannerResolver, LannerStatus, LannerStr, LannerText, LannerValue,
};

/// A rule file that the host has read.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct LannerRuleFile {
    /// Its name, for messages.
    pub name: LannerStr,
    /// Its contents.
    pub text: LannerStr,
}

/// What a rule plugin is opened with. Valid while `open` or `check` runs.
#[repr(C)]
#[derive(Debug)]
pub struct LannerRuleRequest {
    /// Bytes in this struct.
    pub size: usize,
    /// Looks up fields and event types.
    pub resolver: *const LannerResolver,
    /// Rule files, in the order in which the user gave them.
    pub files: *const LannerRuleFile,
    /// Number of files.
    pub file_count: usize,
    /// A JSON text; empty if there are no settings.
    pub settings: LannerStr,
}

/// A rule, as a plugin describes it.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct LannerRule {
    /// Bytes in this struct.
    pub size: usize,
    /// Unique.
    pub name: LannerStr,
    /// What it finds, and why that matters.
    pub description: LannerStr,
    /// The source of its events, such as `syscall`.
    pub source: LannerStr,
    /// Template of the alert's text: `%field`, `%field[arg]`, `%tolower(field)`.
    pub output: LannerStr,
    /// Tags.
    pub tags: *const LannerStr,
    /// Number of tags.
    pub tag_count: usize,
    /// 0 (Emergency) to 7 (Debug), as in syslog.
    pub priority: u32,
    /// 0: it never matches.
    pub enabled: u32,
}

/// Takes the plugin's rules, one call for each, in the order of their indices.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct LannerRuleSink {
    /// Pass it to `put`.
    pub ctx: *mut c_void,
    /// Copies the rule.
    pub put: Option<unsafe extern "C" fn(ctx: *mut c_void, rule: *const LannerRule)>,
}

/// An event. The event and every value that `get` stored are valid until `on_event` returns.
#[repr(C)]
#[derive(Debug)]
pub struct LannerEvent {
    /// Bytes in this struct.
    pub size: usize,
    /// Pass it to `get`.
    pub ctx: *const c_void,
    /// Stores the value of a field, or `LANNER_NONE` if the event does not have the field or the id is unknown.
    /// Does not block. Keep a value that you need twice: the host may compute it again for each call.
    pub get: Option<unsafe extern "C" fn(ctx: *const c_void, field: u32, value: *mut LannerValue)>,
    /// The number of the event's type, as from `LannerResolver.event_type`.
    pub event_type: u32,
    /// 0.
    pub reserved: u32,
}

/// Takes the indices of rules that match. The host creates one alert for each, in this order.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct LannerMatches {
    /// Pass it to `put`.
    pub ctx: *mut c_void,
    /// Records that a rule matches. Does not block.
    pub put: Option<unsafe extern "C" fn(ctx: *mut c_void, rule: u32)>,
}

/// The capability to decide which events break a rule. All functions up to `close` are required.
#[repr(C)]
#[derive(Debug)]
pub struct LannerRulePlugin {
    /// Bytes in this struct.
    pub size: usize,
    /// Loads rules and stores a state in `*state`, which lanner passes to the other functions. Several states may
    /// be open at once, opened from several threads: at a reload, lanner opens one for the new rules while the one
    /// before is in use. It also opens states to try out rules, and closes them unused. May block. On failure: stores
    /// nothing, returns `LANNER_ERROR`, and gives `error` a text for the user: file:line:column, what is wrong, how to
    /// fix it.
    pub open: Option<
        unsafe extern "C" fn(
            host: *const LannerHost,
            request: *const LannerRuleRequest,
            state: *mut *mut c_void,
            error: *const LannerText,
        ) -> LannerStatus,
    >,
    /// Describes all rules, disabled ones included: one `put` for each, in the order of their indices, which start
    /// at 0. Gives the same answer each time.
    pub rules: Option<
        unsafe extern "C" fn(
            state: *mut c_void,
            sink: *const LannerRuleSink,
            error: *const LannerText,
        ) -> LannerStatus,
    >,
    /// Names the event types that the rules need: one `put` for each, or a single `put` of `all`. Drivers capture
    /// only these, and `on_event` may receive only these. Gives the same answer each time.
    pub event_types: Option<
        unsafe extern "C" fn(
            state: *mut c_void,
            sink: *const LannerText,
            error: *const LannerText,
        ) -> LannerStatus,
    >,
    /// Evaluates one event. Runs for every event: must not block, should not allocate. After `LANNER_ERROR` the
    /// host counts and reports the failure, and keeps calling.
    pub on_event: Option<
        unsafe extern "C" fn(
            state: *mut c_void,
            event: *const LannerEvent,
            matches: *const LannerMatches,
            error: *const LannerText,
        ) -> LannerStatus,
    >,
    /// Frees the state. Called once, even after `LANNER_PANIC`.
    pub close: Option<unsafe extern "C" fn(state: *mut c_void)>,
    /// Since 1.1, may be NULL. Reads rule files as `open` does and reports everything about them: one `put` for
    /// each diagnostic. Returns `LANNER_OK` even if the files are wrong, and `LANNER_ERROR` only if it could not
    /// check them. Without this function, lanner calls `open` and shows its error.
    pub check: Option<
        unsafe extern "C" fn(
            host: *const LannerHost,
            request: *const LannerRuleRequest,
            sink: *const LannerDiagnosticSink,
            error: *const LannerText,
        ) -> LannerStatus,
    >,
    /// Since 1.1, may be NULL. Explains a rule: one `put`.
    pub explain: Option<
        unsafe extern "C" fn(
            state: *mut c_void,
            rule: u32,
            sink: *const LannerExplanationSink,
            error: *const LannerText,
        ) -> LannerStatus,
    >,
    /// Since 1.2, may be NULL. Hands over the JSON schema (draft 2020-12) of the settings: one `put`. Lanner checks
    /// settings against it before it calls `open`. Gives the same answer each time; must not block.
    pub schema: Option<
        unsafe extern "C" fn(sink: *const LannerText, error: *const LannerText) -> LannerStatus,
    >,
    /// Since 1.3, may be NULL. Reports which fields the rules compare with which constants: one `put` for each
    /// comparison in a rule that can match. Lanner prepares fields with it: it resolves only the host names that a
    /// rule compares `fd.sip.name` and similar fields with. Without this function, those fields have no value for
    /// the rules of this plugin. Gives the same answer each time; must not block.
    pub comparisons: Option<
        unsafe extern "C" fn(
            state: *mut c_void,
            sink: *const LannerComparisonSink,
            error: *const LannerText,
        ) -> LannerStatus,
    >,
    /// Since 1.5, may be NULL. Reports which rules want the events around a match in a file: one `put` for each of these
    /// rules. Without this function, none does. Gives the same answer each time; must not block.
    pub captures: Option<
        unsafe extern "C" fn(
            state: *mut c_void,
            sink: *const LannerCaptureSink,
            error: *const LannerText,
        ) -> LannerStatus,
    >,
    /// Since 1.6, may be NULL. Reports which events of a type the rules can match: one `put` for each set of tests that
    /// must hold together. Drivers may leave out an event of a type that has needs if none of them holds. A type without
    /// needs has no such limit. More events than needed do no harm, so leave tests out rather than report many. Tests of
    /// fields without `LANNER_FIELD_SELECTS` are ignored. Gives the same answer each time; must not block.
    pub needs: Option<
        unsafe extern "C" fn(
            state: *mut c_void,
            sink: *const LannerNeedSink,
            error: *const LannerText,
        ) -> LannerStatus,
    >,
}

impl LannerRulePlugin {
    /// Bytes in this struct in version 1.0.
    ///
    /// cbindgen:ignore
    pub const FIRST_SIZE: usize = std::mem::offset_of!(Self, check);

    /// A table without functions. The host copies a shorter table of an older plugin into it.
    #[must_use]
    pub const fn empty() -> Self {
        Self {
            size: size_of::<Self>(),
            open: None,
            rules: None,
            event_types: None,
            on_event: None,
            close: None,
            check: None,
            explain: None,
            schema: None,
            comparisons: None,
            captures: None,
            needs: None,
        }
    }
}
