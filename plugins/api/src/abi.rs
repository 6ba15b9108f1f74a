//! The structs that cross the border between host and plugin. `lanner_plugin.h` is made from this file,
//! comments and all (`make header`), so that they are written for readers of C.
//!
//! Rules for changing it:
//!
//! 1. Fields are only ever appended, and only to structs that begin with a size. Whoever reads such
//!    a struct looks at the size first, and treats what is not there as absent.
//! 2. Structs without a size ([`LannerStr`], [`LannerValue`], [`LannerText`], [`LannerAlertField`],
//!    [`LannerField`], [`LannerLabel`], the sinks) never change.
//! 3. Appending raises [`ABI_MINOR`]. Anything else raises [`ABI_MAJOR`], and a host refuses a
//!    plugin with another major version.
//! 4. The first three fields of [`LannerPlugin`] stay as they are for ever, across major versions.

use std::ffi::c_void;

/// The version of the border that must be the same in host and plugin.
pub const ABI_MAJOR: u32 = 1;
/// The version that tells what was appended; host and plugin may differ in it.
pub const ABI_MINOR: u32 = 2;
/// The name of the one exported function.
pub const SYMBOL: &str = "lanner_plugin";

/// How a call went: one of the constants that follow.
pub type LannerStatus = i32;
/// Well; for `emit`: everything was delivered.
pub const STATUS_OK: LannerStatus = 0;
/// Failed, and the error sink got the reason.
pub const STATUS_ERROR: LannerStatus = 1;
/// The plugin panicked (or caught its language's equivalent): the state is broken, and is only closed.
pub const STATUS_PANIC: LannerStatus = 2;
/// `emit` only: not now; offer the undelivered alerts again later.
pub const STATUS_TRY_AGAIN: LannerStatus = 3;
/// `emit` only: the undelivered alerts of this batch will never be delivered.
pub const STATUS_GIVE_UP: LannerStatus = 4;

/// Log level: something does not work.
pub const LEVEL_ERROR: u32 = 1;
/// Log level: something is odd, and somebody should look.
pub const LEVEL_WARN: u32 = 2;
/// Log level: something happened that is worth a line.
pub const LEVEL_INFO: u32 = 3;
/// Log level: for whoever looks for a fault.
pub const LEVEL_DEBUG: u32 = 4;
/// Log level: everything.
pub const LEVEL_TRACE: u32 = 5;

/// `LannerMetric.kind`: only grows, by `metric_add`.
pub const METRIC_COUNTER: u32 = 1;
/// `LannerMetric.kind`: goes up and down, by `metric_set`.
pub const METRIC_GAUGE: u32 = 2;

/// `LannerDiagnostic.severity`: the rules cannot be used as they are.
pub const SEVERITY_ERROR: u32 = 1;
/// `LannerDiagnostic.severity`: probably a mistake.
pub const SEVERITY_WARNING: u32 = 2;
/// `LannerDiagnostic.severity`: worth knowing.
pub const SEVERITY_NOTE: u32 = 3;

/// `LannerValue.tag`, `LannerField.kind`: there is no value. Take a tag that you do not know for this.
pub const TAG_NONE: u32 = 0;
/// `data.boolean`: 0 or 1.
pub const TAG_BOOL: u32 = 1;
/// `data.i64`.
pub const TAG_I64: u32 = 2;
/// `data.u64`.
pub const TAG_U64: u32 = 3;
/// `data.f64`.
pub const TAG_F64: u32 = 4;
/// `data.bytes`: text as the kernel gave it, mostly UTF-8, never sure to be.
pub const TAG_STRING: u32 = 5;
/// `data.bytes`: a buffer.
pub const TAG_BYTES: u32 = 6;
/// `data.ip[0..4]`, network byte order.
pub const TAG_IPV4: u32 = 7;
/// `data.ip[0..16]`, network byte order.
pub const TAG_IPV6: u32 = 8;
/// `data.list`.
pub const TAG_LIST: u32 = 9;
/// Kind only: the value's tag differs from event to event.
pub const TAG_ANY: u32 = 15;

/// `LannerField.flags`: a list: `in` asks for all elements, `intersects` for one.
pub const FIELD_LIST: u32 = 1;
/// `LannerField.flags`: candidates (all ancestors): a comparison holds if it does for any.
pub const FIELD_ANY: u32 = 2;
/// `LannerField.flags`: with `LANNER_FIELD_ANY`, the two ends of a connection: `!=` holds only if it
/// does for both.
pub const FIELD_EITHER: u32 = 4;

/// Bytes that belong to somebody else. `ptr` may be NULL only if `len` is 0.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct LannerStr {
    /// First byte.
    pub ptr: *const u8,
    /// Number of bytes; no terminating NUL is counted or needed.
    pub len: usize,
}

/// A typed value; the tag says which member of `data` holds it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct LannerValue {
    /// `LANNER_BOOL` and so on.
    pub tag: u32,
    /// 0.
    pub reserved: u32,
    /// The value.
    pub data: LannerValueData,
}

/// What a value holds.
#[repr(C)]
#[derive(Clone, Copy)]
pub union LannerValueData {
    /// 0 or 1.
    pub boolean: u8,
    /// Signed.
    pub i64: i64,
    /// Unsigned.
    pub u64: u64,
    /// Floating.
    pub f64: f64,
    /// String or buffer.
    pub bytes: LannerStr,
    /// Address, network byte order; IPv4 uses the first four.
    pub ip: [u8; 16],
    /// Elements.
    pub list: LannerList,
}

/// A list of values; its elements are never lists themselves.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct LannerList {
    /// First element; may be NULL only if `len` is 0.
    pub ptr: *const LannerValue,
    /// Number of elements.
    pub len: usize,
}

/// Takes a text that somebody hands back, such as an error message. Never NULL where the host passes it.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct LannerText {
    /// Pass it to `put`.
    pub ctx: *mut c_void,
    /// Copies the text. As an error sink: a further call replaces what an earlier one said. Only during the
    /// call that got the sink, on its thread. Does not block.
    pub put: Option<unsafe extern "C" fn(ctx: *mut c_void, text: LannerStr)>,
}

/// The name and the value of one label of a metric. Never changes.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct LannerLabel {
    /// Letters, digits and `_`; does not begin with a digit.
    pub name: LannerStr,
    /// UTF-8.
    pub value: LannerStr,
}

/// A metric that a plugin wants to have. Since 1.2. Needed during the call of `metric` only.
#[repr(C)]
#[derive(Debug)]
pub struct LannerMetric {
    /// Bytes in this struct.
    pub size: usize,
    /// Letters, digits and `_`; does not begin with a digit. `bytes_sent_total` of the plugin `output-x` is
    /// published as `lanner_output_x_bytes_sent_total`.
    pub name: LannerStr,
    /// One sentence on what it counts, with its unit.
    pub help: LannerStr,
    /// Labels; may be NULL if there are none.
    pub labels: *const LannerLabel,
    /// Number of labels.
    pub label_count: usize,
    /// `LANNER_METRIC_COUNTER` or `LANNER_METRIC_GAUGE`.
    pub kind: u32,
    /// 0.
    pub reserved: u32,
}

/// What the host lends to a plugin. Valid until the process ends.
#[repr(C)]
#[derive(Debug)]
pub struct LannerHost {
    /// Bytes in this struct.
    pub size: usize,
    /// The host's `LANNER_ABI_MAJOR`.
    pub abi_major: u32,
    /// The host's `LANNER_ABI_MINOR`.
    pub abi_minor: u32,
    /// Pass it to the functions below.
    pub ctx: *const c_void,
    /// Writes a line to lanner's log; lanner puts the plugin's name before it. Any thread, any time. May block
    /// for as long as a write to standard error takes.
    pub log: Option<unsafe extern "C" fn(ctx: *const c_void, level: u32, message: LannerStr)>,
    /// Since 1.2. Registers a metric, which lanner publishes with its own, and returns a handle that is valid
    /// until the process ends; NULL if the name or the kind makes no sense (the log says why). The same name
    /// and labels once more give the same handle. Any thread, any time; does not block for long.
    pub metric: Option<
        unsafe extern "C" fn(ctx: *const c_void, metric: *const LannerMetric) -> *const c_void,
    >,
    /// Since 1.2. Adds to a counter; of a gauge or NULL nothing becomes. Any thread, any time, never blocks.
    pub metric_add: Option<unsafe extern "C" fn(metric: *const c_void, by: u64)>,
    /// Since 1.2. Sets a gauge; of a counter or NULL nothing becomes. Any thread, any time, never blocks.
    pub metric_set: Option<unsafe extern "C" fn(metric: *const c_void, to: f64)>,
}

/// A field that was found.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct LannerField {
    /// Pass it to `LannerEvent.get`.
    pub id: u32,
    /// `LANNER_BOOL` .. `LANNER_ANY`: what the value is; of a list, what the elements are. `LANNER_IPV6` stands
    /// for addresses of both versions.
    pub kind: u32,
    /// `LANNER_FIELD_LIST` and so on, or-ed.
    pub flags: u32,
    /// 0.
    pub reserved: u32,
}

/// Looks up names. Valid while `open` or `check` runs, on its thread. Neither function blocks.
#[repr(C)]
#[derive(Debug)]
pub struct LannerResolver {
    /// Bytes in this struct.
    pub size: usize,
    /// Pass it to the functions below.
    pub ctx: *const c_void,
    /// Finds a field: name `proc.aname`, arg `2`. `arg.ptr` is NULL if there is no argument. On `LANNER_OK`,
    /// `*field` is set; on `LANNER_ERROR`, `error` has the reason (it may be NULL).
    pub field: Option<
        unsafe extern "C" fn(
            ctx: *const c_void,
            name: LannerStr,
            arg: LannerStr,
            field: *mut LannerField,
            error: *const LannerText,
        ) -> LannerStatus,
    >,
    /// Finds the number of an event type such as `openat`, as `LannerEvent.event_type` has it. Numbers are
    /// small and dense, fit to be indices.
    pub event_type: Option<
        unsafe extern "C" fn(
            ctx: *const c_void,
            name: LannerStr,
            event_type: *mut u32,
            error: *const LannerText,
        ) -> LannerStatus,
    >,
}

/// A rule file that the host has read.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct LannerRuleFile {
    /// Its name, for messages.
    pub name: LannerStr,
    /// What it holds.
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
    /// Rule files, in the order in which they were given.
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
    /// What it finds and why that matters.
    pub description: LannerStr,
    /// Where its events come from, such as `syscall`.
    pub source: LannerStr,
    /// Template of the alert's text: `%field`, `%field[arg]`, `%tolower(field)`.
    pub output: LannerStr,
    /// Tags.
    pub tags: *const LannerStr,
    /// Number of tags.
    pub tag_count: usize,
    /// 0 (Emergency) to 7 (Debug), as in syslog.
    pub priority: u32,
    /// 0: never matches.
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

/// An event. It, and every value that `get` stored, is valid until `on_event` returns.
#[repr(C)]
#[derive(Debug)]
pub struct LannerEvent {
    /// Bytes in this struct.
    pub size: usize,
    /// Pass it to `get`.
    pub ctx: *const c_void,
    /// Stores the value of a field: `LANNER_NONE` if the event does not have it or the id was never given out.
    /// Does not block. Keep what you need twice.
    pub get: Option<unsafe extern "C" fn(ctx: *const c_void, field: u32, value: *mut LannerValue)>,
    /// What sort of event it is, as `LannerResolver.event_type` numbers them.
    pub event_type: u32,
    /// 0.
    pub reserved: u32,
}

/// Takes the indices of rules that match. The host makes one alert for each, in this order.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct LannerMatches {
    /// Pass it to `put`.
    pub ctx: *mut c_void,
    /// Notes that a rule matches. Does not block.
    pub put: Option<unsafe extern "C" fn(ctx: *mut c_void, rule: u32)>,
}

/// Something to say about rule files. Since 1.1.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct LannerDiagnostic {
    /// Bytes in this struct.
    pub size: usize,
    /// A short and stable name of what it is, for programs.
    pub code: LannerStr,
    /// As `LannerRuleFile.name`; empty if it is about no file.
    pub file: LannerStr,
    /// What is wrong.
    pub message: LannerStr,
    /// What would be right; may be empty.
    pub help: LannerStr,
    /// What of the line is worth showing; may be empty.
    pub snippet: LannerStr,
    /// The rule, macro or list that it is about; may be empty.
    pub item: LannerStr,
    /// The field or event type that the host lacks, where that is the reason.
    pub missing: LannerStr,
    /// `LANNER_SEVERITY_ERROR` and so on.
    pub severity: u32,
    /// From 1; 0 where there is no place.
    pub line: u32,
    /// In characters, from 1.
    pub column: u32,
    /// The character of `snippet` that `column` means, from 0.
    pub caret: u32,
}

/// Takes diagnostics, one call for each. Since 1.1.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct LannerDiagnosticSink {
    /// Pass it to `put`.
    pub ctx: *mut c_void,
    /// Copies the diagnostic.
    pub put: Option<unsafe extern "C" fn(ctx: *mut c_void, diagnostic: *const LannerDiagnostic)>,
}

/// What a rule comes down to. Since 1.1.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct LannerExplanation {
    /// Bytes in this struct.
    pub size: usize,
    /// The condition with everything filled in that it names.
    pub condition: LannerStr,
    /// The event types that it can match; meaningless if `all_event_types` is set.
    pub event_types: *const LannerStr,
    /// Number of event types.
    pub event_type_count: usize,
    /// The fields that it looks at.
    pub fields: *const LannerStr,
    /// Number of fields.
    pub field_count: usize,
    /// The named parts (macros, lists) that it is made from.
    pub parts: *const LannerStr,
    /// Number of parts.
    pub part_count: usize,
    /// 1: it can match events of every type.
    pub all_event_types: u32,
    /// 0.
    pub reserved: u32,
}

/// Takes an explanation. Since 1.1.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct LannerExplanationSink {
    /// Pass it to `put`.
    pub ctx: *mut c_void,
    /// Copies the explanation.
    pub put: Option<unsafe extern "C" fn(ctx: *mut c_void, explanation: *const LannerExplanation)>,
}

/// The capability to decide which events break a rule. All functions up to `close` must be there.
#[repr(C)]
#[derive(Debug)]
pub struct LannerRulePlugin {
    /// Bytes in this struct.
    pub size: usize,
    /// Loads rules and stores a state in `*state`, which lanner passes to the other functions. One state for each
    /// shard, all opened with the same request, from several threads perhaps; also for trying out rules that
    /// are then thrown away. May block and take its time. On failure: nothing is stored, `LANNER_ERROR`, and
    /// `error` gets a text for the user: file:line:column, what is wrong, what would be right.
    pub open: Option<
        unsafe extern "C" fn(
            host: *const LannerHost,
            request: *const LannerRuleRequest,
            state: *mut *mut c_void,
            error: *const LannerText,
        ) -> LannerStatus,
    >,
    /// Describes all rules, also disabled ones: one `put` for each, in the order of their indices, which start
    /// at 0. The same answer each time.
    pub rules: Option<
        unsafe extern "C" fn(
            state: *mut c_void,
            sink: *const LannerRuleSink,
            error: *const LannerText,
        ) -> LannerStatus,
    >,
    /// Names the event types that the rules want: one `put` for each, or a single `put` of `all`. Drivers capture
    /// no others, and `on_event` may get no others. The same answer each time.
    pub event_types: Option<
        unsafe extern "C" fn(
            state: *mut c_void,
            sink: *const LannerText,
            error: *const LannerText,
        ) -> LannerStatus,
    >,
    /// Looks at one event. On the way of every event: must not block, should not allocate. After `LANNER_ERROR`
    /// the host counts and reports, and goes on calling.
    pub on_event: Option<
        unsafe extern "C" fn(
            state: *mut c_void,
            event: *const LannerEvent,
            matches: *const LannerMatches,
            error: *const LannerText,
        ) -> LannerStatus,
    >,
    /// Frees the state. Called once, also after `LANNER_PANIC`.
    pub close: Option<unsafe extern "C" fn(state: *mut c_void)>,
    /// Since 1.1, may be NULL. Reads rule files as `open` does and says everything that there is to say about
    /// them: one `put` for each thing. `LANNER_OK` also if that is bad; `LANNER_ERROR` only if it could not be
    /// found out. Without it, lanner calls `open`, and shows what that says.
    pub check: Option<
        unsafe extern "C" fn(
            host: *const LannerHost,
            request: *const LannerRuleRequest,
            sink: *const LannerDiagnosticSink,
            error: *const LannerText,
        ) -> LannerStatus,
    >,
    /// Since 1.1, may be NULL. Says what a rule comes down to: one `put`.
    pub explain: Option<
        unsafe extern "C" fn(
            state: *mut c_void,
            rule: u32,
            sink: *const LannerExplanationSink,
            error: *const LannerText,
        ) -> LannerStatus,
    >,
    /// Since 1.2, may be NULL. Hands over the JSON schema (draft 2020-12) of the settings: one `put`. Lanner checks
    /// settings against it before it calls `open`. The same answer each time; must not block.
    pub schema: Option<
        unsafe extern "C" fn(sink: *const LannerText, error: *const LannerText) -> LannerStatus,
    >,
}

impl LannerHost {
    /// Bytes that this struct had in version 1.0.
    ///
    /// cbindgen:ignore
    pub const FIRST_SIZE: usize = std::mem::offset_of!(Self, metric);
}

impl LannerRulePlugin {
    /// Bytes that this struct had in version 1.0.
    ///
    /// cbindgen:ignore
    pub const FIRST_SIZE: usize = std::mem::offset_of!(Self, check);

    /// A table without functions, to be filled from one that may be shorter.
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
        }
    }
}

/// A field of an alert.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct LannerAlertField {
    /// As in the rule's template, such as `proc.aname[2]`.
    pub name: LannerStr,
    /// `LANNER_NONE` if the event did not have it.
    pub value: LannerValue,
}

/// An alert. Valid until `emit` returns. The host has made text and json once, for all outputs.
#[repr(C)]
#[derive(Debug)]
pub struct LannerAlert {
    /// Bytes in this struct.
    pub size: usize,
    /// Nanoseconds since the epoch.
    pub time_ns: u64,
    /// Name of the rule.
    pub rule: LannerStr,
    /// Where the event came from, such as `syscall`.
    pub source: LannerStr,
    /// Name of the host.
    pub hostname: LannerStr,
    /// `HH:MM:SS.nnnnnnnnn: Priority text`, UTF-8, no line break.
    pub text: LannerStr,
    /// Falco's JSON object, one line, no line break.
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
    /// An array of pointers, as an alert may grow.
    pub alerts: *const *const LannerAlert,
    /// Number of alerts.
    pub count: usize,
}

/// The capability to deliver alerts. All functions up to `close` must be there.
#[repr(C)]
#[derive(Debug)]
pub struct LannerOutputPlugin {
    /// Bytes in this struct.
    pub size: usize,
    /// Takes settings (a JSON text, empty if there are none) and stores a state in `*state`. One state for each
    /// configured output. May block for a short time; a receiver that is away at the moment is no failure. On
    /// failure: nothing is stored, `LANNER_ERROR`, reason to `error`.
    pub open: Option<
        unsafe extern "C" fn(
            host: *const LannerHost,
            settings: LannerStr,
            state: *mut *mut c_void,
            error: *const LannerText,
        ) -> LannerStatus,
    >,
    /// Delivers alerts in their order, and stores in `*delivered` how many, counted from the front of the batch
    /// (`*delivered` is 0 before). May block, for some seconds at most: the output's own thread waits, nobody
    /// else. What it answers:
    ///
    /// - `LANNER_OK`: all were delivered; `*delivered` is ignored
    /// - `LANNER_TRY_AGAIN`: the host waits, and offers the undelivered ones again, perhaps with more behind them
    /// - `LANNER_GIVE_UP`: the host counts the undelivered ones as lost
    /// - `LANNER_ERROR`: as `LANNER_TRY_AGAIN`, and reported as a fault of the plugin
    ///
    /// For the last three, `error` gets the reason.
    pub emit: Option<
        unsafe extern "C" fn(
            state: *mut c_void,
            batch: *const LannerBatch,
            delivered: *mut usize,
            error: *const LannerText,
        ) -> LannerStatus,
    >,
    /// Pushes out what the plugin holds back. When the queue runs empty, and before `close`. May block as `emit`
    /// may.
    pub flush:
        Option<unsafe extern "C" fn(state: *mut c_void, error: *const LannerText) -> LannerStatus>,
    /// Opens files and connections anew, after log rotation. May block as `emit` may.
    pub reopen:
        Option<unsafe extern "C" fn(state: *mut c_void, error: *const LannerText) -> LannerStatus>,
    /// Frees the state. Called once, also after `LANNER_PANIC`.
    pub close: Option<unsafe extern "C" fn(state: *mut c_void)>,
    /// Since 1.2, may be NULL. Hands over the JSON schema (draft 2020-12) of the settings: one `put`. Lanner checks
    /// settings against it before it calls `open`. The same answer each time; must not block.
    pub schema: Option<
        unsafe extern "C" fn(sink: *const LannerText, error: *const LannerText) -> LannerStatus,
    >,
}

impl LannerOutputPlugin {
    /// Bytes that this struct had in version 1.0.
    ///
    /// cbindgen:ignore
    pub const FIRST_SIZE: usize = std::mem::offset_of!(Self, schema);

    /// A table without functions, to be filled from one that may be shorter.
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
        }
    }
}

/// What the exported function returns. Constant, and valid until the process ends.
#[repr(C)]
#[derive(Debug)]
pub struct LannerPlugin {
    /// `LANNER_ABI_MAJOR`. These first three stay for ever.
    pub abi_major: u32,
    /// `LANNER_ABI_MINOR`.
    pub abi_minor: u32,
    /// Bytes in this struct.
    pub size: usize,
    /// Lower-case letters, digits, `-`; not empty.
    pub name: LannerStr,
    /// Version of the plugin, in whatever form.
    pub version: LannerStr,
    /// One sentence.
    pub description: LannerStr,
    /// The capability to decide on events, or NULL.
    pub rules: *const LannerRulePlugin,
    /// The capability to deliver alerts, or NULL; not both NULL.
    pub output: *const LannerOutputPlugin,
}

// SAFETY: the struct and all it points to never change, so that any thread may read them.
unsafe impl Sync for LannerPlugin {}

/// The type of the exported function. Any thread, perhaps several times; must not block.
pub type LannerPluginFn = unsafe extern "C" fn() -> *const LannerPlugin;

impl LannerStr {
    /// The text of `s`, for as long as `s` lives.
    #[must_use]
    pub const fn new(s: &[u8]) -> Self {
        Self {
            ptr: s.as_ptr(),
            len: s.len(),
        }
    }

    /// No text, which some functions tell from an empty text.
    #[must_use]
    pub const fn null() -> Self {
        Self {
            ptr: std::ptr::null(),
            len: 0,
        }
    }

    /// The bytes.
    ///
    /// # Safety
    ///
    /// `ptr` is null, or points to `len` bytes that stay unchanged for `'a`.
    #[must_use]
    pub unsafe fn as_bytes<'a>(self) -> &'a [u8] {
        if self.ptr.is_null() || self.len > isize::MAX as usize {
            return &[];
        }
        // SAFETY: by the function's contract; the length was checked.
        unsafe { std::slice::from_raw_parts(self.ptr, self.len) }
    }

    /// The text, with what is not UTF-8 replaced.
    ///
    /// # Safety
    ///
    /// As for [`LannerStr::as_bytes`].
    #[must_use]
    pub unsafe fn to_text(self) -> String {
        // SAFETY: by the function's contract.
        String::from_utf8_lossy(unsafe { self.as_bytes() }).into_owned()
    }
}

impl LannerText {
    /// Hands `text` to the sink.
    ///
    /// # Safety
    ///
    /// The call that got the sink has not returned.
    pub unsafe fn say(&self, text: &str) {
        if let Some(put) = self.put {
            // SAFETY: the sink is still valid by the function's contract, the text lives through
            // the call.
            unsafe { put(self.ctx, LannerStr::new(text.as_bytes())) };
        }
    }
}

impl LannerValue {
    /// No value.
    ///
    /// cbindgen:ignore
    pub const NONE: Self = Self {
        tag: TAG_NONE,
        reserved: 0,
        data: LannerValueData { ip: [0; 16] },
    };
}

impl std::fmt::Debug for LannerValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LannerValue")
            .field("tag", &self.tag)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for LannerValueData {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LannerValueData")
    }
}

impl std::fmt::Debug for LannerAlertField {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LannerAlertField")
            .field("value", &self.value)
            .finish_non_exhaustive()
    }
}
