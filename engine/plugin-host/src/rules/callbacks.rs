//! The functions that a rule plugin calls during a call of lanner's: look-ups of fields, and sinks for what it reports.
//!
//! A plugin may pass anything, so each copies what it gets ([`super::super::border`]) and contains its own panics.

use std::ffi::c_void;
use std::time::Duration;

use lanner_plugin::abi::{
    LannerCapture, LannerComparison, LannerDiagnostic, LannerExplanation, LannerField, LannerNeed,
    LannerRule, LannerStatus, LannerStr, LannerTest, LannerText, LannerValue, STATUS_ERROR,
    STATUS_OK,
};
use lanner_plugin::{
    Diagnostic, EventNeed, EventTypes, Explanation, FieldComparison, FieldResolver, FieldSource,
    FieldTest, Priority, RawValue, Relation, ResolvedField, RuleCapture, Severity, TestRelation,
    UnknownName,
};

use super::Rule;
use crate::border::{contained, place, slice, text};

/// Answers for a field of the event that `on_event` looks at.
pub(super) unsafe extern "C" fn get_field<S: FieldSource>(
    ctx: *const c_void,
    field: u32,
    value: *mut LannerValue,
) {
    // SAFETY: the plugin passes a place for the value, or null.
    let Some(value) = (unsafe { value.as_mut() }) else {
        return;
    };
    *value = LannerValue::NONE;
    contained(|| {
        // SAFETY: `ctx` is the event of the running `on_event`, or null. The event's values live as long.
        if let Some(event) = unsafe { ctx.cast::<S>().as_ref() } {
            *value = RawValue::from(event.get(field)).abi();
        }
    });
}

/// Takes a rule that matched.
pub(super) unsafe extern "C" fn put_match(ctx: *mut c_void, rule: u32) {
    contained(|| {
        // SAFETY: `ctx` is the `matches` of the running `on_event`, or null.
        if let Some(matches) = unsafe { place::<Vec<u32>>(ctx) } {
            matches.push(rule);
        }
    });
}

/// Takes a rule that `describe` describes.
pub(super) unsafe extern "C" fn put_rule(ctx: *mut c_void, rule: *const LannerRule) {
    let copy = |raw: LannerRule| Rule {
        name: text(raw.name),
        description: text(raw.description),
        priority: Priority::from_number(raw.priority).unwrap_or(Priority::Debug),
        source: text(raw.source),
        tags: texts(raw.tags, raw.tag_count),
        output: text(raw.output),
        enabled: raw.enabled != 0,
    };
    // SAFETY: `ctx` is the vector that `describe` passed, or null; the plugin passes a valid rule.
    unsafe { append::<_, Option<Rule>>(ctx, rule, |raw| raw.size, |raw| Some(raw.map(copy))) };
}

/// Appends what `copy` makes of a plugin's structure to a vector. `size` is the size that the structure gives itself. `copy`
/// gets none if the structure cannot be read or is too small.
///
/// # Safety
///
/// `ctx` is a `Vec<T>`, or null. All bit patterns of `Raw` are valid.
unsafe fn append<Raw: Copy, T>(
    ctx: *mut c_void,
    from: *const Raw,
    size: fn(&Raw) -> usize,
    copy: impl FnOnce(Option<Raw>) -> Option<T>,
) {
    contained(|| {
        // SAFETY: by the function's contract.
        if let Some(all) = unsafe { place::<Vec<T>>(ctx) } {
            // SAFETY: by the function's contract.
            all.extend(copy(unsafe { whole(from, size) }));
        }
    });
}

/// Copies a structure from a plugin. None: it cannot be read, or is smaller than lanner's. `size` is the size that it gives itself.
///
/// # Safety
///
/// All bit patterns of `T` are valid.
unsafe fn whole<T: Copy>(from: *const T, size: impl Fn(&T) -> usize) -> Option<T> {
    // SAFETY: by the function's contract.
    let copied = unsafe { slice(from, 1) }.pop();
    copied.filter(|raw| size(raw) >= size_of::<T>())
}

/// Copies texts from a plugin.
fn texts(first: *const LannerStr, count: usize) -> Vec<String> {
    // SAFETY: texts are plain pointers and lengths; all bit patterns are valid.
    let raw = unsafe { slice(first, count) };
    raw.into_iter().map(text).collect()
}

/// Takes what `check` found.
pub(super) unsafe extern "C" fn put_diagnostic(
    ctx: *mut c_void,
    diagnostic: *const LannerDiagnostic,
) {
    let copy = |raw: LannerDiagnostic| Diagnostic {
        severity: Severity::from_number(raw.severity),
        code: text(raw.code),
        file: text(raw.file),
        line: raw.line,
        column: raw.column,
        message: text(raw.message),
        help: text(raw.help),
        snippet: text(raw.snippet),
        caret: raw.caret,
        item: text(raw.item),
        missing: text(raw.missing),
    };
    // SAFETY: `ctx` is the vector that `check` passed; the plugin passes a valid diagnostic.
    unsafe { append::<_, Diagnostic>(ctx, diagnostic, |raw| raw.size, |raw| raw.map(copy)) };
}

/// Takes the explanation of a rule.
pub(super) unsafe extern "C" fn put_explanation(
    ctx: *mut c_void,
    explanation: *const LannerExplanation,
) {
    // SAFETY: `ctx` is the place that `explain` passed; the plugin passes a valid explanation.
    contained(|| unsafe {
        let Some(into) = place::<Option<Explanation>>(ctx) else {
            return;
        };
        if let Some(raw) = whole(explanation, |raw| raw.size) {
            *into = Some(Explanation {
                condition: text(raw.condition),
                event_types: if raw.all_event_types == 0 {
                    EventTypes::Only(texts(raw.event_types, raw.event_type_count))
                } else {
                    EventTypes::All
                },
                fields: texts(raw.fields, raw.field_count),
                parts: texts(raw.parts, raw.part_count),
            });
        }
    });
}

/// Takes a comparison of a field with constants.
pub(super) unsafe extern "C" fn put_comparison(
    ctx: *mut c_void,
    comparison: *const LannerComparison,
) {
    let copy = |raw: LannerComparison| FieldComparison {
        field: text(raw.field),
        relation: Relation::from_number(raw.relation),
        transformers: texts(raw.transformers, raw.transformer_count),
        constants: texts(raw.constants, raw.constant_count),
    };
    // SAFETY: `ctx` is the vector that `comparisons` passed; the plugin passes a valid comparison.
    unsafe { append::<_, FieldComparison>(ctx, comparison, |raw| raw.size, |raw| raw.map(copy)) };
}

/// Takes a rule that asks for a file of events.
pub(super) unsafe extern "C" fn put_capture(ctx: *mut c_void, capture: *const LannerCapture) {
    let given = |value: u64, none: u64| (value != none).then_some(value);
    let copy = |raw: LannerCapture| RuleCapture {
        rule: raw.rule,
        duration: given(raw.duration_ms, 0).map(Duration::from_millis),
        before: given(raw.before_ms, u64::MAX).map(Duration::from_millis),
        events: given(raw.events, 0),
        bytes: given(raw.bytes, 0),
    };
    // SAFETY: `ctx` is the vector that `captures` passed; the plugin passes a valid capture.
    unsafe { append::<_, RuleCapture>(ctx, capture, |raw| raw.size, |raw| raw.map(copy)) };
}

/// Takes which events of a type the rules can match.
pub(super) unsafe extern "C" fn put_need(ctx: *mut c_void, need: *const LannerNeed) {
    let copy = |raw: LannerNeed| {
        // SAFETY: tests are pointers, lengths and numbers; all bit patterns are valid.
        let tests: Vec<LannerTest> = unsafe { slice(raw.tests, raw.test_count) };
        EventNeed {
            event_type: text(raw.event_type),
            tests: tests.iter().filter_map(field_test).collect(),
        }
    };
    // SAFETY: `ctx` is the vector that `ask_needs` passed; the plugin passes a valid need.
    unsafe { append::<_, Option<EventNeed>>(ctx, need, |raw| raw.size, |raw| Some(raw.map(copy))) };
}

/// A test. None: it is unknown or cannot be read. The need is weaker without it, which does no harm.
fn field_test(raw: &LannerTest) -> Option<FieldTest> {
    let constants = texts(raw.constants, raw.constant_count);
    (constants.len() == raw.constant_count).then_some(FieldTest {
        field: text(raw.field),
        relation: TestRelation::from_number(raw.relation)?,
        constants,
        negated: raw.negated != 0,
    })
}

/// Hands the outcome of a look-up to the plugin.
///
/// # Safety
///
/// `into` and `error` are null or valid.
unsafe fn answer<T>(
    found: Result<T, UnknownName>,
    into: *mut T,
    error: *const LannerText,
) -> LannerStatus {
    // SAFETY: by the function's contract.
    unsafe {
        match found {
            Ok(value) if !into.is_null() => {
                *into = value;
                STATUS_OK
            }
            Ok(_) => STATUS_ERROR,
            Err(UnknownName { reason }) => {
                if let Some(error) = error.as_ref() {
                    error.say(&reason);
                }
                STATUS_ERROR
            }
        }
    }
}

/// Looks a field up for `open` or `check`.
pub(super) unsafe extern "C" fn resolve_field(
    ctx: *const c_void,
    name: LannerStr,
    arg: LannerStr,
    field: *mut LannerField,
    error: *const LannerText,
) -> LannerStatus {
    let mut status = STATUS_ERROR;
    // SAFETY: `ctx` is the resolver of the `open` that is going on, the rest is the plugin's and
    // lives through the call.
    contained(|| unsafe {
        let Some(resolver) = ctx.cast::<&dyn FieldResolver>().as_ref() else {
            return;
        };
        let arg = (!arg.ptr.is_null()).then(|| text(arg));
        let found = resolver.resolve(&text(name), arg.as_deref());
        status = answer(found.map(ResolvedField::to_abi), field, error);
    });
    status
}

/// Looks an event type up for `open` or `check`.
pub(super) unsafe extern "C" fn resolve_event_type(
    ctx: *const c_void,
    name: LannerStr,
    event_type: *mut u32,
    error: *const LannerText,
) -> LannerStatus {
    let mut status = STATUS_ERROR;
    // SAFETY: `ctx` is the resolver of the `open` that is going on, the rest is the plugin's and lives through the call.
    contained(|| unsafe {
        let Some(resolver) = ctx.cast::<&dyn FieldResolver>().as_ref() else {
            return;
        };
        status = answer(resolver.event_type(&text(name)), event_type, error);
    });
    status
}
