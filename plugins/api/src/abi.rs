//! The structs that cross the border between host and plugin, laid out as `lanner_plugin.h` has them.
//!
//! The header documents each function; here is only what Rust needs to know besides. Rules for
//! changing this file:
//!
//! 1. Fields are only ever appended, and only to structs that begin with a size. Whoever reads such
//!    a struct looks at the size first, and treats what is not there as absent.
//! 2. Structs without a size ([`LannerStr`], [`LannerValue`], [`LannerText`], [`LannerAlertField`],
//!    [`LannerField`]) never change.
//! 3. Appending raises [`ABI_MINOR`]. Anything else raises [`ABI_MAJOR`], and a host refuses a
//!    plugin with another major version.
//! 4. The first three fields of [`LannerPlugin`] stay as they are for ever, across major versions.

use std::ffi::c_void;

/// The ABI version that must be the same in host and plugin.
pub const ABI_MAJOR: u32 = 1;
/// The ABI version that tells what was appended; host and plugin may differ in it.
pub const ABI_MINOR: u32 = 1;
/// The name of the one exported function, of type [`LannerPluginFn`].
pub const SYMBOL: &str = "lanner_plugin";

/// What a function says about how it went: one of the `STATUS_` constants.
pub type LannerStatus = i32;
/// It went well; for `emit`: everything was delivered.
pub const STATUS_OK: LannerStatus = 0;
/// It failed, and the text sink got the reason.
pub const STATUS_ERROR: LannerStatus = 1;
/// The plugin panicked (or caught its language's equivalent); its state must not be used again.
pub const STATUS_PANIC: LannerStatus = 2;
/// `emit` only: not now; offer the undelivered alerts again later.
pub const STATUS_TRY_AGAIN: LannerStatus = 3;
/// `emit` only: the undelivered alerts of this batch will never be delivered.
pub const STATUS_GIVE_UP: LannerStatus = 4;

/// Log levels.
pub const LEVEL_ERROR: u32 = 1;
/// See [`LEVEL_ERROR`].
pub const LEVEL_WARN: u32 = 2;
/// See [`LEVEL_ERROR`].
pub const LEVEL_INFO: u32 = 3;
/// See [`LEVEL_ERROR`].
pub const LEVEL_DEBUG: u32 = 4;
/// See [`LEVEL_ERROR`].
pub const LEVEL_TRACE: u32 = 5;

/// Severity of a [`LannerDiagnostic`]: the rules cannot be used as they are.
pub const SEVERITY_ERROR: u32 = 1;
/// Probably a mistake.
pub const SEVERITY_WARNING: u32 = 2;
/// Worth knowing.
pub const SEVERITY_NOTE: u32 = 3;

/// Tags of [`LannerValue`], and kinds of [`LannerField`]. A reader treats an unknown tag as none.
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

/// The field is a list: `in` asks for all elements, `intersects` for one.
pub const FIELD_LIST: u32 = 1;
/// The value is a list of candidates (all ancestors): a comparison holds if it does for any.
pub const FIELD_ANY: u32 = 2;
/// With [`FIELD_ANY`], the two ends of a connection: `!=` holds only if it does for both.
pub const FIELD_EITHER: u32 = 4;

/// Bytes that belong to somebody else. `ptr` may be null only if `len` is 0.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct LannerStr {
    /// First byte.
    pub ptr: *const u8,
    /// Number of bytes; no terminating NUL is counted or needed.
    pub len: usize,
}

/// A typed value; see the `TAG_` constants for which member of `data` holds it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct LannerValue {
    /// One of the `TAG_` constants.
    pub tag: u32,
    /// 0.
    pub reserved: u32,
    /// The value.
    pub data: LannerValueData,
}

/// The members of a [`LannerValue`].
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
    /// First element; may be null only if `len` is 0.
    pub ptr: *const LannerValue,
    /// Number of elements.
    pub len: usize,
}

/// Takes a text that somebody wants to hand back, such as an error message.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct LannerText {
    /// Passed to `put`.
    pub ctx: *mut c_void,
    /// Copies the text; a second call replaces it. Only during the call that got the sink.
    pub put: Option<unsafe extern "C" fn(ctx: *mut c_void, text: LannerStr)>,
}

/// What the host gives to a plugin. Valid until the process ends.
#[repr(C)]
#[derive(Debug)]
pub struct LannerHost {
    /// Bytes in this struct.
    pub size: usize,
    /// The host's [`ABI_MAJOR`].
    pub abi_major: u32,
    /// The host's [`ABI_MINOR`].
    pub abi_minor: u32,
    /// Passed to the functions below.
    pub ctx: *const c_void,
    /// Writes a line to lanner's log, under the plugin's name. Any thread.
    pub log: Option<unsafe extern "C" fn(ctx: *const c_void, level: u32, message: LannerStr)>,
}

/// A field that was found.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct LannerField {
    /// Pass this to `LannerEvent::get`.
    pub id: u32,
    /// One of the `TAG_` constants: what the value is, or each element of a list.
    pub kind: u32,
    /// `FIELD_` constants, or-ed.
    pub flags: u32,
    /// 0.
    pub reserved: u32,
}

/// Looks up names. Valid during `open` only.
#[repr(C)]
#[derive(Debug)]
pub struct LannerResolver {
    /// Bytes in this struct.
    pub size: usize,
    /// Passed to the functions below.
    pub ctx: *const c_void,
    /// Finds the field `name`, or `name[arg]`; `arg.ptr` is null where there is none.
    pub field: Option<
        unsafe extern "C" fn(
            ctx: *const c_void,
            name: LannerStr,
            arg: LannerStr,
            field: *mut LannerField,
            error: *const LannerText,
        ) -> LannerStatus,
    >,
    /// Finds the number of an event type, as `LannerEvent::event_type` will have it.
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

/// What a rule plugin is opened with. Valid during `open` only.
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
    /// The plugin's settings as a JSON text; empty where there are none.
    pub settings: LannerStr,
}

/// A rule, as a plugin describes it.
#[repr(C)]
#[derive(Debug)]
pub struct LannerRule {
    /// Bytes in this struct.
    pub size: usize,
    /// Name.
    pub name: LannerStr,
    /// What it finds and why that matters.
    pub description: LannerStr,
    /// Where its events come from, such as `syscall`.
    pub source: LannerStr,
    /// Template of the alert's text, with `%field` and `%field[arg]`.
    pub output: LannerStr,
    /// Tags.
    pub tags: *const LannerStr,
    /// Number of tags.
    pub tag_count: usize,
    /// 0 (Emergency) to 7 (Debug), as in syslog.
    pub priority: u32,
    /// 1, or 0 for a rule that never matches.
    pub enabled: u32,
}

/// Takes the plugin's rules, one call for each, in the order of their indices.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct LannerRuleSink {
    /// Passed to `put`.
    pub ctx: *mut c_void,
    /// Copies the rule.
    pub put: Option<unsafe extern "C" fn(ctx: *mut c_void, rule: *const LannerRule)>,
}

/// An event. Valid until `on_event` returns, and so is every value that came from it.
#[repr(C)]
#[derive(Debug)]
pub struct LannerEvent {
    /// Bytes in this struct.
    pub size: usize,
    /// Passed to `get`.
    pub ctx: *const c_void,
    /// Stores the value of a field; none where the event does not have it, or the id is unknown.
    pub get: Option<unsafe extern "C" fn(ctx: *const c_void, field: u32, value: *mut LannerValue)>,
    /// What sort of event it is, as `LannerResolver::event_type` numbers them.
    pub event_type: u32,
    /// 0.
    pub reserved: u32,
}

/// Takes the indices of the rules that match.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct LannerMatches {
    /// Passed to `put`.
    pub ctx: *mut c_void,
    /// Notes that a rule matches.
    pub put: Option<unsafe extern "C" fn(ctx: *mut c_void, rule: u32)>,
}

/// Something to say about rule files. Came with minor version 1.
#[repr(C)]
#[derive(Debug)]
pub struct LannerDiagnostic {
    /// Bytes in this struct.
    pub size: usize,
    /// A short and stable name of what it is, for programs.
    pub code: LannerStr,
    /// As `LannerRuleFile::name`; empty where it is about no file.
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
    /// One of the `SEVERITY_` constants.
    pub severity: u32,
    /// From 1; 0 where there is no place.
    pub line: u32,
    /// In characters, from 1.
    pub column: u32,
    /// The character of `snippet` that `column` means, from 0.
    pub caret: u32,
}

/// Takes diagnostics, one call for each.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct LannerDiagnosticSink {
    /// Passed to `put`.
    pub ctx: *mut c_void,
    /// Copies the diagnostic.
    pub put: Option<unsafe extern "C" fn(ctx: *mut c_void, diagnostic: *const LannerDiagnostic)>,
}

/// What a rule comes down to. Came with minor version 1.
#[repr(C)]
#[derive(Debug)]
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

/// Takes an explanation.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct LannerExplanationSink {
    /// Passed to `put`.
    pub ctx: *mut c_void,
    /// Copies the explanation.
    pub put: Option<unsafe extern "C" fn(ctx: *mut c_void, explanation: *const LannerExplanation)>,
}

/// The capability to decide which events break a rule. All functions up to `close` are required.
#[repr(C)]
#[derive(Debug)]
pub struct LannerRulePlugin {
    /// Bytes in this struct.
    pub size: usize,
    /// Loads rules and stores a state.
    pub open: Option<
        unsafe extern "C" fn(
            host: *const LannerHost,
            request: *const LannerRuleRequest,
            state: *mut *mut c_void,
            error: *const LannerText,
        ) -> LannerStatus,
    >,
    /// Describes all rules.
    pub rules: Option<
        unsafe extern "C" fn(
            state: *mut c_void,
            sink: *const LannerRuleSink,
            error: *const LannerText,
        ) -> LannerStatus,
    >,
    /// Names the event types that rules want, one `put` for each, or `all`.
    pub event_types: Option<
        unsafe extern "C" fn(
            state: *mut c_void,
            sink: *const LannerText,
            error: *const LannerText,
        ) -> LannerStatus,
    >,
    /// Looks at one event.
    pub on_event: Option<
        unsafe extern "C" fn(
            state: *mut c_void,
            event: *const LannerEvent,
            matches: *const LannerMatches,
            error: *const LannerText,
        ) -> LannerStatus,
    >,
    /// Frees the state.
    pub close: Option<unsafe extern "C" fn(state: *mut c_void)>,
    /// Since minor version 1, may be absent: says everything that there is to say about rule files.
    pub check: Option<
        unsafe extern "C" fn(
            host: *const LannerHost,
            request: *const LannerRuleRequest,
            sink: *const LannerDiagnosticSink,
            error: *const LannerText,
        ) -> LannerStatus,
    >,
    /// Since minor version 1, may be absent: says what a rule comes down to.
    pub explain: Option<
        unsafe extern "C" fn(
            state: *mut c_void,
            rule: u32,
            sink: *const LannerExplanationSink,
            error: *const LannerText,
        ) -> LannerStatus,
    >,
}

impl LannerRulePlugin {
    /// Bytes that this struct had in version 1.0.
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
        }
    }
}

/// A field of an alert.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct LannerAlertField {
    /// As in the rule's template, such as `proc.aname[2]`.
    pub name: LannerStr,
    /// None where the event did not have it.
    pub value: LannerValue,
}

/// An alert. Valid until `emit` returns.
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
    /// The alert as Falco's JSON object, one line, no line break.
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
    /// Pointers to alerts, as an alert may grow.
    pub alerts: *const *const LannerAlert,
    /// Number of alerts.
    pub count: usize,
}

/// The capability to deliver alerts. All functions are required.
#[repr(C)]
#[derive(Debug)]
pub struct LannerOutputPlugin {
    /// Bytes in this struct.
    pub size: usize,
    /// Takes settings (a JSON text, or empty) and stores a state.
    pub open: Option<
        unsafe extern "C" fn(
            host: *const LannerHost,
            settings: LannerStr,
            state: *mut *mut c_void,
            error: *const LannerText,
        ) -> LannerStatus,
    >,
    /// Delivers alerts and stores how many, counted from the front of the batch.
    pub emit: Option<
        unsafe extern "C" fn(
            state: *mut c_void,
            batch: *const LannerBatch,
            delivered: *mut usize,
            error: *const LannerText,
        ) -> LannerStatus,
    >,
    /// Pushes out what the plugin still holds.
    pub flush:
        Option<unsafe extern "C" fn(state: *mut c_void, error: *const LannerText) -> LannerStatus>,
    /// Opens files and connections anew (after log rotation).
    pub reopen:
        Option<unsafe extern "C" fn(state: *mut c_void, error: *const LannerText) -> LannerStatus>,
    /// Frees the state.
    pub close: Option<unsafe extern "C" fn(state: *mut c_void)>,
}

impl LannerOutputPlugin {
    /// Bytes that this struct had in version 1.0.
    pub const FIRST_SIZE: usize = size_of::<Self>();

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
        }
    }
}

/// What the exported function returns. Valid until the process ends, and never changes.
#[repr(C)]
#[derive(Debug)]
pub struct LannerPlugin {
    /// The plugin's [`ABI_MAJOR`].
    pub abi_major: u32,
    /// The plugin's [`ABI_MINOR`].
    pub abi_minor: u32,
    /// Bytes in this struct.
    pub size: usize,
    /// Name: lower-case letters, digits, `-`.
    pub name: LannerStr,
    /// Version of the plugin, in whatever form.
    pub version: LannerStr,
    /// One sentence.
    pub description: LannerStr,
    /// The capability to decide on events, or null.
    pub rules: *const LannerRulePlugin,
    /// The capability to deliver alerts, or null.
    pub output: *const LannerOutputPlugin,
}

// SAFETY: the struct and all it points to never change, so that any thread may read them.
unsafe impl Sync for LannerPlugin {}

/// The exported function.
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
