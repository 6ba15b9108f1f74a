//! Rule plugins: they get events and say which rules match.

use std::fmt;
use std::marker::PhantomData;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::abi::{
    FIELD_ANY, FIELD_EITHER, FIELD_LIST, LannerEvent, LannerField, LannerMatches, LannerRuleFile,
    LannerRuleRequest, LannerStr, LannerText, LannerValue, SEVERITY_ERROR, SEVERITY_NOTE,
    SEVERITY_WARNING, STATUS_OK, TAG_ANY, TAG_BOOL, TAG_BYTES, TAG_F64, TAG_I64, TAG_IPV4,
    TAG_IPV6, TAG_STRING, TAG_U64,
};
use crate::border::Error;
use crate::host::Host;
use crate::priority::Priority;
use crate::value::{RawValue, Value};

/// Decides which events break a rule.
///
/// 1. The host opens one state per shard, from several threads perhaps, and calls a state from one
///    thread at a time; it may move it between threads.
/// 2. `rules` and `event_types` give the same answer each time.
/// 3. `on_event` is on the way of every event: it must not block, and should not allocate.
/// 4. A panic ends the state: it is reported, and the host calls nothing more but drops it.
pub trait RulePlugin: Sized + Send + 'static {
    /// What the user may set in the configuration. Use `#[serde(deny_unknown_fields)]`. Where
    /// nothing is set, it is read from `null`, or else from `{}`. Lanner checks settings against the schema
    /// first.
    type Settings: DeserializeOwned + JsonSchema;

    /// Loads the rule files.
    ///
    /// # Errors
    ///
    /// The text goes to the user as it is. Say `file:line:column`, what is wrong, and what would
    /// be right.
    fn open(host: Host, request: &RuleRequest<'_>, settings: Self::Settings)
    -> Result<Self, Error>;

    /// All rules. A rule's place here is its index in [`Matches::add`].
    fn rules(&self) -> &[RuleInfo];

    /// What the drivers have to capture for these rules.
    fn event_types(&self) -> EventTypes;

    /// Says everything that there is to say about rule files. What is here tries to open them, and
    /// tells the reason if that fails; override it if you can tell more.
    ///
    /// # Errors
    ///
    /// Only if it could not be found out; faults of the files are diagnostics.
    fn check(
        host: Host,
        request: &RuleRequest<'_>,
        settings: Self::Settings,
        tell: &mut dyn FnMut(Diagnostic),
    ) -> Result<(), Error> {
        if let Err(error) = Self::open(host, request, settings) {
            tell(Diagnostic {
                message: error.to_string(),
                ..Diagnostic::default()
            });
        }
        Ok(())
    }

    /// Says what rule number `rule` comes down to; none if this plugin cannot.
    fn explain(&self, rule: usize) -> Option<Explanation> {
        let _ = rule;
        None
    }

    /// Looks at one event. Values from it live until this returns.
    fn on_event(&mut self, event: &Event<'_>, matches: &mut Matches<'_>);
}

/// A rule, for alerts and for listings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleInfo {
    /// Name; unique.
    pub name: String,
    /// What it finds and why that matters.
    pub description: String,
    /// How bad a match is.
    pub priority: Priority,
    /// Where its events come from, such as `syscall`.
    pub source: String,
    /// Tags, such as a MITRE ATT&CK technique.
    pub tags: Vec<String>,
    /// Template of the alert's text, with `%field`, `%field[arg]` and `%tolower(field)`.
    pub output: String,
    /// Whether it can match at all.
    pub enabled: bool,
}

/// Something to say about rule files.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// A short and stable name of what it is, for programs; may be empty.
    pub code: String,
    /// Name of the file; empty where it is about none.
    pub file: String,
    /// From 1; 0 where there is no place.
    pub line: u32,
    /// In characters, from 1.
    pub column: u32,
    /// What is wrong.
    pub message: String,
    /// What would be right; may be empty.
    pub help: String,
    /// What of the line is worth showing; may be empty.
    pub snippet: String,
    /// The character of `snippet` that `column` means, from 0.
    pub caret: u32,
    /// The rule, macro or list that it is about; may be empty.
    pub item: String,
    /// The field or event type that the host lacks, where that is the reason.
    pub missing: String,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
#[repr(u32)]
pub enum Severity {
    /// The rules cannot be used as they are.
    #[default]
    Error = SEVERITY_ERROR,
    /// Probably a mistake.
    Warning = SEVERITY_WARNING,
    /// Worth knowing.
    Note = SEVERITY_NOTE,
}

/// What a rule comes down to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The condition with everything filled in that it names.
    pub condition: String,
    /// The event types that it can match.
    pub event_types: EventTypes,
    /// The fields that it looks at.
    pub fields: Vec<String>,
    /// The named parts that it is made from.
    pub parts: Vec<String>,
}

impl Severity {
    /// The severity with this number; unknown ones are notes.
    #[must_use]
    pub fn from_number(number: u32) -> Self {
        match number {
            SEVERITY_ERROR => Self::Error,
            SEVERITY_WARNING => Self::Warning,
            _ => Self::Note,
        }
    }

    /// `error`, `warning` or `note`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// `file:line:column: message`, then the line with a caret, then what would be right.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "{}:{}:{}: ", self.file, self.line, self.column)?;
        } else if !self.file.is_empty() {
            write!(f, "{}: ", self.file)?;
        }
        f.write_str(&self.message)?;
        let number = self.line.to_string();
        let blank = " ".repeat(number.len());
        if !self.snippet.is_empty() {
            let caret = " ".repeat(usize::try_from(self.caret).unwrap_or(0).min(1000));
            write!(f, "\n {number} | {}", self.snippet)?;
            write!(f, "\n {blank} | {caret}^")?;
        }
        if self.help.is_empty() {
            Ok(())
        } else {
            write!(f, "\n {blank} = {}", self.help)
        }
    }
}

/// The event types that rules want.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventTypes {
    /// Every event. Expensive: the drivers then capture every system call they know.
    All,
    /// Events of these types, by name, such as `openat`.
    Only(Vec<String>),
}

/// What there is to load, and the look-up of names. Lives while `open` runs.
#[derive(Clone, Copy)]
pub struct RuleRequest<'a> {
    raw: &'a LannerRuleRequest,
}

/// A rule file. The host has read it.
#[derive(Debug, Clone, Copy)]
pub struct RuleFileView<'a> {
    raw: &'a LannerRuleFile,
}

/// A field that the host knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResolvedField {
    /// For [`Event::get`].
    pub id: u32,
    /// What its values are; for a list, what its elements are.
    pub kind: FieldKind,
    /// The field is a list: `in` asks for all elements, `intersects` for one.
    pub list: bool,
    /// The value is a list of candidates, such as all ancestors: a comparison holds if it holds
    /// for one of them.
    pub any: bool,
    /// With `any`: the two ends of a connection. `!=` holds only if it holds for both.
    pub either: bool,
}

/// What the values of a field are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    /// [`Value::Bool`]
    Bool,
    /// [`Value::I64`]
    I64,
    /// [`Value::U64`]
    U64,
    /// [`Value::F64`]
    F64,
    /// [`Value::String`]
    String,
    /// [`Value::Bytes`]
    Bytes,
    /// [`Value::Ip`], of either version.
    Ip,
    /// Differs from event to event.
    Any,
}

/// An event, while `on_event` looks at it.
#[derive(Clone, Copy)]
pub struct Event<'a>(&'a LannerEvent);

/// Takes the indices of rules that match.
pub struct Matches<'a> {
    raw: &'a LannerMatches,
    count: usize,
    _one_thread: PhantomData<*const ()>,
}

impl ResolvedField {
    /// A field with one value of this kind.
    #[must_use]
    pub fn new(id: u32, kind: FieldKind) -> Self {
        Self {
            id,
            kind,
            list: false,
            any: false,
            either: false,
        }
    }

    /// Makes it a list field.
    #[must_use]
    pub fn list(mut self) -> Self {
        self.list = true;
        self
    }

    /// Makes it a field with candidates, such as `proc.aname`.
    #[must_use]
    pub fn any(mut self) -> Self {
        self.any = true;
        self
    }

    /// Makes it a field of both ends of a connection, such as `fd.ip`.
    #[must_use]
    pub fn either(mut self) -> Self {
        self.any = true;
        self.either = true;
        self
    }

    /// As it crosses the border.
    #[must_use]
    pub fn to_abi(self) -> LannerField {
        let flag = |set: bool, flag: u32| if set { flag } else { 0 };
        LannerField {
            id: self.id,
            kind: match self.kind {
                FieldKind::Bool => TAG_BOOL,
                FieldKind::I64 => TAG_I64,
                FieldKind::U64 => TAG_U64,
                FieldKind::F64 => TAG_F64,
                FieldKind::String => TAG_STRING,
                FieldKind::Bytes => TAG_BYTES,
                FieldKind::Ip => TAG_IPV6,
                FieldKind::Any => TAG_ANY,
            },
            flags: flag(self.list, FIELD_LIST)
                | flag(self.any, FIELD_ANY)
                | flag(self.either, FIELD_EITHER),
            reserved: 0,
        }
    }

    fn from_abi(raw: LannerField) -> Self {
        Self {
            id: raw.id,
            kind: match raw.kind {
                TAG_BOOL => FieldKind::Bool,
                TAG_I64 => FieldKind::I64,
                TAG_U64 => FieldKind::U64,
                TAG_F64 => FieldKind::F64,
                TAG_STRING => FieldKind::String,
                TAG_BYTES => FieldKind::Bytes,
                TAG_IPV4 | TAG_IPV6 => FieldKind::Ip,
                _ => FieldKind::Any,
            },
            list: raw.flags & FIELD_LIST != 0,
            any: raw.flags & FIELD_ANY != 0,
            either: raw.flags & FIELD_EITHER != 0,
        }
    }
}

impl<'a> RuleRequest<'a> {
    /// # Safety
    ///
    /// `raw` and all it points to are as the header describes them, for `'a`.
    pub(crate) unsafe fn from_abi(raw: &'a LannerRuleRequest) -> Self {
        Self { raw }
    }

    pub(crate) fn settings(&self) -> &'a [u8] {
        // SAFETY: by the contract of `from_abi`.
        unsafe { self.raw.settings.as_bytes() }
    }

    /// The rule files, in the order in which they were given.
    pub fn files(&self) -> impl ExactSizeIterator<Item = RuleFileView<'a>> {
        let files = if self.raw.files.is_null() {
            &[]
        } else {
            // SAFETY: by the contract of `from_abi`.
            unsafe { std::slice::from_raw_parts(self.raw.files, self.raw.file_count) }
        };
        files.iter().map(|raw| RuleFileView { raw })
    }

    /// Looks up the field `name`, or `name[arg]`.
    ///
    /// # Errors
    ///
    /// The host's explanation of why there is no such field.
    pub fn field(&self, name: &str, arg: Option<&str>) -> Result<ResolvedField, String> {
        let mut field = LannerField {
            id: 0,
            kind: 0,
            flags: 0,
            reserved: 0,
        };
        let name = LannerStr::new(name.as_bytes());
        let arg = arg.map_or(LannerStr::null(), |arg| LannerStr::new(arg.as_bytes()));
        let mut reason = String::new();
        let sink = text_sink(&mut reason);
        // SAFETY: the resolver is valid while `open` runs, all texts live through the call.
        let status = unsafe {
            self.raw
                .resolver
                .as_ref()
                .and_then(|resolver| Some((resolver.ctx, resolver.field?)))
                .map(|(ctx, look_up)| look_up(ctx, name, arg, &raw mut field, &raw const sink))
        };
        match status {
            Some(STATUS_OK) => Ok(ResolvedField::from_abi(field)),
            _ => Err(reason),
        }
    }

    /// Looks up the number of an event type, for comparison with [`Event::event_type`].
    ///
    /// # Errors
    ///
    /// The host's explanation of why there is no such event type.
    pub fn event_type(&self, name: &str) -> Result<u32, String> {
        let mut number = 0;
        let name = LannerStr::new(name.as_bytes());
        let mut reason = String::new();
        let sink = text_sink(&mut reason);
        // SAFETY: the resolver is valid while `open` runs, all texts live through the call.
        let status = unsafe {
            self.raw
                .resolver
                .as_ref()
                .and_then(|resolver| Some((resolver.ctx, resolver.event_type?)))
                .map(|(ctx, look_up)| look_up(ctx, name, &raw mut number, &raw const sink))
        };
        match status {
            Some(STATUS_OK) => Ok(number),
            _ => Err(reason),
        }
    }
}

/// A sink that writes to `text`; it must not outlive it.
fn text_sink(text: &mut String) -> LannerText {
    unsafe extern "C" fn put(ctx: *mut std::ffi::c_void, text: LannerStr) {
        // SAFETY: `ctx` is the string below, alive and not otherwise used during the call.
        unsafe {
            if let Some(into) = ctx.cast::<String>().as_mut() {
                *into = text.to_text();
            }
        }
    }
    LannerText {
        ctx: std::ptr::from_mut(text).cast(),
        put: Some(put),
    }
}

impl<'a> RuleFileView<'a> {
    /// Its name, for messages.
    #[must_use]
    pub fn name(&self) -> String {
        // SAFETY: by the contract of `RuleRequest::from_abi`.
        unsafe { self.raw.name.to_text() }
    }

    /// What it holds.
    #[must_use]
    pub fn text(&self) -> &'a [u8] {
        // SAFETY: by the contract of `RuleRequest::from_abi`.
        unsafe { self.raw.text.as_bytes() }
    }
}

impl<'a> Event<'a> {
    /// Wraps an event, also one that a test made up.
    ///
    /// # Safety
    ///
    /// `raw` and what its function answers are as the header describes them, for `'a`.
    #[must_use]
    pub unsafe fn from_abi(raw: &'a LannerEvent) -> Self {
        Self(raw)
    }

    /// The value of a field. One call through a function pointer; the host remembers nothing of
    /// what it worked out unless that was expensive, so keep what you need twice ([`FieldCache`]).
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

    /// What sort of event it is, as [`RuleRequest::event_type`] numbers them.
    #[inline]
    #[must_use]
    pub fn event_type(&self) -> u32 {
        self.0.event_type
    }
}

impl<'a> Matches<'a> {
    /// # Safety
    ///
    /// The call that got the sink does not return during `'a`.
    pub(crate) unsafe fn from_abi(raw: &'a LannerMatches) -> Self {
        Self {
            raw,
            count: 0,
            _one_thread: PhantomData,
        }
    }

    /// Rule number `rule` matches. The host makes an alert for each, in this order.
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

    /// How many were added for this event.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }
}

impl fmt::Debug for RuleRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.files().map(|file| file.name()))
            .finish()
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
