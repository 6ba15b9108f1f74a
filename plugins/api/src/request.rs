//! What a rule plugin is opened with: rule files, and the look-up of fields and event types.

use std::fmt;

use crate::abi::{
    FIELD_ANY, FIELD_EITHER, FIELD_LIST, FIELD_NEVER, FIELD_SELECTS, LannerField, LannerRuleFile,
    LannerRuleRequest, LannerStr, LannerText, STATUS_OK, TAG_ANY, TAG_BOOL, TAG_BYTES, TAG_F64,
    TAG_I64, TAG_IPV4, TAG_IPV6, TAG_STRING, TAG_U64,
};

/// The rule files to load, and the look-up of names. Valid while `open` or `check` runs.
#[derive(Clone, Copy)]
pub struct RuleRequest<'a> {
    raw: &'a LannerRuleRequest,
}

/// A rule file. The host has read it.
#[derive(Debug, Clone, Copy)]
pub struct RuleFileView<'a> {
    raw: &'a LannerRuleFile,
}

/// The host has no field or event type of this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct UnknownName {
    /// The host's explanation for the user, with the remedy; empty if the host gave none.
    pub reason: String,
}

impl UnknownName {
    /// An error with this explanation for the user.
    #[must_use]
    pub fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
        }
    }
}

/// A field that the host knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResolvedField {
    /// For [`Event::get`](crate::Event::get).
    pub id: u32,
    /// The type of its values; for a list, the type of the elements.
    pub kind: FieldKind,
    /// The value is a list: `in` compares all elements, `intersects` any element.
    pub list: bool,
    /// The value is a list of candidates, such as all ancestors. A comparison holds if it holds for one
    /// candidate.
    pub any: bool,
    /// Set together with `any` for the two ends of a connection: `!=` holds only if it holds for both.
    pub either: bool,
    /// A comparison of the field can keep the driver from capturing an event
    /// ([`RulePlugin::needs`](crate::RulePlugin::needs)).
    pub selects: bool,
    /// No event has a value. The name is there for rules that were written for another program.
    pub never: bool,
}

/// The type of a field's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    /// [`Value::Bool`](crate::Value::Bool)
    Bool,
    /// [`Value::I64`](crate::Value::I64)
    I64,
    /// [`Value::U64`](crate::Value::U64)
    U64,
    /// [`Value::F64`](crate::Value::F64)
    F64,
    /// [`Value::String`](crate::Value::String)
    String,
    /// [`Value::Bytes`](crate::Value::Bytes)
    Bytes,
    /// [`Value::Ip`](crate::Value::Ip), of either version.
    Ip,
    /// Differs from event to event.
    Any,
}

impl ResolvedField {
    /// A field with one value of this type.
    #[must_use]
    pub fn new(id: u32, kind: FieldKind) -> Self {
        Self {
            id,
            kind,
            list: false,
            any: false,
            either: false,
            selects: false,
            never: false,
        }
    }

    /// Makes it a field by which drivers can leave out events, such as `evt.failed`.
    #[must_use]
    pub fn selects(mut self) -> Self {
        self.selects = true;
        self
    }

    /// Makes it a field that no event has.
    #[must_use]
    pub fn never(mut self) -> Self {
        self.never = true;
        self
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

    /// The field in the layout of C.
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
                | flag(self.either, FIELD_EITHER)
                | flag(self.selects, FIELD_SELECTS)
                | flag(self.never, FIELD_NEVER),
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
            selects: raw.flags & FIELD_SELECTS != 0,
            never: raw.flags & FIELD_NEVER != 0,
        }
    }
}

impl<'a> RuleRequest<'a> {
    /// # Safety
    ///
    /// `raw` and everything that it points to match the header's description for `'a`.
    pub(crate) unsafe fn from_abi(raw: &'a LannerRuleRequest) -> Self {
        Self { raw }
    }

    pub(crate) fn settings(&self) -> &'a [u8] {
        // SAFETY: by the contract of `from_abi`.
        unsafe { self.raw.settings.as_bytes() }
    }

    /// The rule files, in the order in which the user gave them.
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
    /// [`UnknownName`]: the host has no such field.
    pub fn field(&self, name: &str, arg: Option<&str>) -> Result<ResolvedField, UnknownName> {
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
        // SAFETY: the resolver is valid while `open` runs, and all texts live through the call.
        let status = unsafe {
            self.raw
                .resolver
                .as_ref()
                .and_then(|resolver| Some((resolver.ctx, resolver.field?)))
                .map(|(ctx, look_up)| look_up(ctx, name, arg, &raw mut field, &raw const sink))
        };
        match status {
            Some(STATUS_OK) => Ok(ResolvedField::from_abi(field)),
            _ => Err(UnknownName { reason }),
        }
    }

    /// Looks up the number of an event type, for comparison with [`Event::event_type`](crate::Event::event_type).
    ///
    /// # Errors
    ///
    /// [`UnknownName`]: the host has no such event type.
    pub fn event_type(&self, name: &str) -> Result<u32, UnknownName> {
        let mut number = 0;
        let name = LannerStr::new(name.as_bytes());
        let mut reason = String::new();
        let sink = text_sink(&mut reason);
        // SAFETY: the resolver is valid while `open` runs, and all texts live through the call.
        let status = unsafe {
            self.raw
                .resolver
                .as_ref()
                .and_then(|resolver| Some((resolver.ctx, resolver.event_type?)))
                .map(|(ctx, look_up)| look_up(ctx, name, &raw mut number, &raw const sink))
        };
        match status {
            Some(STATUS_OK) => Ok(number),
            _ => Err(UnknownName { reason }),
        }
    }
}

/// A sink that writes to `text`. It must not outlive `text`.
fn text_sink(text: &mut String) -> LannerText {
    unsafe extern "C" fn put(ctx: *mut std::ffi::c_void, text: LannerStr) {
        // SAFETY: `ctx` is the string below, which is alive and not otherwise used during the call.
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

    /// Its contents.
    #[must_use]
    pub fn text(&self) -> &'a [u8] {
        // SAFETY: by the contract of `RuleRequest::from_abi`.
        unsafe { self.raw.text.as_bytes() }
    }
}

impl fmt::Debug for RuleRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.files().map(|file| file.name()))
            .finish()
    }
}
