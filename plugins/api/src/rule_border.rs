//! The C functions of a rule plugin, which call its [`RulePlugin`].

use std::ffi::c_void;
use std::marker::PhantomData;
use std::time::Duration;

use crate::abi::{
    LannerCapture, LannerCaptureSink, LannerComparison, LannerComparisonSink, LannerDiagnostic,
    LannerDiagnosticSink, LannerEvent, LannerExplanation, LannerExplanationSink, LannerHost,
    LannerMatches, LannerNeed, LannerNeedSink, LannerRule, LannerRulePlugin, LannerRuleRequest,
    LannerRuleSink, LannerStatus, LannerStr, LannerTest, LannerText, STATUS_OK,
};
use crate::border::{CallError, Error, State, close, guard, say, schema, settings, with_state};
use crate::host::Host;
use crate::report::{Diagnostic, FieldTest};
use crate::request::RuleRequest;
use crate::rule::{Event, EventTypes, Matches, RulePlugin};

/// Constants in one call of the comparison sink. The header allows 16384.
const MAX_CONSTANTS: usize = 4096;

/// The function table of `P`. Created by [`export_plugin!`](crate::export_plugin).
#[derive(Debug)]
pub struct RuleTable<P>(PhantomData<P>);

impl<P: RulePlugin> RuleTable<P> {
    /// The table.
    pub const TABLE: LannerRulePlugin = LannerRulePlugin {
        size: size_of::<LannerRulePlugin>(),
        open: Some(open::<P>),
        rules: Some(rules::<P>),
        event_types: Some(event_types::<P>),
        on_event: Some(on_event::<P>),
        close: Some(close::<P>),
        check: Some(check::<P>),
        explain: Some(explain::<P>),
        schema: Some(schema::<P::Settings>),
        comparisons: Some(comparisons::<P>),
        captures: Some(captures::<P>),
        needs: Some(needs::<P>),
    };
}

unsafe extern "C" fn open<P: RulePlugin>(
    host: *const LannerHost,
    request: *const LannerRuleRequest,
    state: *mut *mut c_void,
    error: *const LannerText,
) -> LannerStatus {
    // SAFETY: the pointers are as the header describes them.
    unsafe {
        guard(error, || {
            let (Some(host), Some(request)) = (Host::from_abi(host), request.as_ref()) else {
                return Err(missing("open", "a host or a request"));
            };
            let request = RuleRequest::from_abi(request);
            let plugin = P::open(host, &request, settings(request.settings())?)?;
            *state = State::store(plugin);
            Ok(STATUS_OK)
        })
    }
}

unsafe extern "C" fn rules<P: RulePlugin>(
    state: *mut c_void,
    sink: *const LannerRuleSink,
    error: *const LannerText,
) -> LannerStatus {
    // SAFETY: the pointers are as the header describes them.
    unsafe {
        with_state(state, error, |plugin: &mut P| {
            let Some((sink, put)) = sink.as_ref().and_then(|sink| Some((sink, sink.put?))) else {
                return Err(missing("rules", "a sink"));
            };
            for rule in plugin.rules() {
                let tags: Vec<_> = rule
                    .tags
                    .iter()
                    .map(|tag| LannerStr::new(tag.as_bytes()))
                    .collect();
                let raw = LannerRule {
                    size: size_of::<LannerRule>(),
                    name: LannerStr::new(rule.name.as_bytes()),
                    description: LannerStr::new(rule.description.as_bytes()),
                    source: LannerStr::new(rule.source.as_bytes()),
                    output: LannerStr::new(rule.output.as_bytes()),
                    tags: tags.as_ptr(),
                    tag_count: tags.len(),
                    priority: rule.priority as u32,
                    enabled: u32::from(rule.enabled),
                };
                put(sink.ctx, &raw const raw);
            }
            Ok(STATUS_OK)
        })
    }
}

unsafe extern "C" fn event_types<P: RulePlugin>(
    state: *mut c_void,
    sink: *const LannerText,
    error: *const LannerText,
) -> LannerStatus {
    // SAFETY: the pointers are as the header describes them.
    unsafe {
        with_state(state, error, |plugin: &mut P| {
            match plugin.event_types() {
                EventTypes::All => say(sink, "all"),
                EventTypes::Only(names) => {
                    for name in names {
                        say(sink, &name);
                    }
                }
            }
            Ok(STATUS_OK)
        })
    }
}

unsafe extern "C" fn on_event<P: RulePlugin>(
    state: *mut c_void,
    event: *const LannerEvent,
    matches: *const LannerMatches,
    error: *const LannerText,
) -> LannerStatus {
    // SAFETY: the pointers are as the header describes them.
    unsafe {
        with_state(state, error, |plugin: &mut P| {
            let (Some(event), Some(matches)) = (event.as_ref(), matches.as_ref()) else {
                return Err(missing("on_event", "an event or a sink"));
            };
            plugin.on_event(&Event::from_abi(event), &mut Matches::from_abi(matches));
            Ok(STATUS_OK)
        })
    }
}

fn missing(function: &'static str, argument: &'static str) -> Error {
    CallError::MissingArgument { function, argument }.into()
}

/// The texts in the layout of C. They borrow from `texts`.
fn c_texts(texts: &[String]) -> Vec<LannerStr> {
    texts
        .iter()
        .map(|text| LannerStr::new(text.as_bytes()))
        .collect()
}

unsafe extern "C" fn check<P: RulePlugin>(
    host: *const LannerHost,
    request: *const LannerRuleRequest,
    sink: *const LannerDiagnosticSink,
    error: *const LannerText,
) -> LannerStatus {
    // SAFETY: the pointers are as the header describes them.
    unsafe {
        guard(error, || {
            let (Some(host), Some(request)) = (Host::from_abi(host), request.as_ref()) else {
                return Err(missing("check", "a host or a request"));
            };
            let Some((sink, put)) = sink.as_ref().and_then(|sink| Some((sink, sink.put?))) else {
                return Err(missing("check", "a sink"));
            };
            let request = RuleRequest::from_abi(request);
            let mut report = |diagnostic: Diagnostic| {
                let text = |text: &String| LannerStr::new(text.as_bytes());
                let raw = LannerDiagnostic {
                    size: size_of::<LannerDiagnostic>(),
                    code: text(&diagnostic.code),
                    file: text(&diagnostic.file),
                    message: text(&diagnostic.message),
                    help: text(&diagnostic.help),
                    snippet: text(&diagnostic.snippet),
                    item: text(&diagnostic.item),
                    missing: text(&diagnostic.missing),
                    severity: diagnostic.severity as u32,
                    line: diagnostic.line,
                    column: diagnostic.column,
                    caret: diagnostic.caret,
                };
                put(sink.ctx, &raw const raw);
            };
            P::check(host, &request, settings(request.settings())?, &mut report)?;
            Ok(STATUS_OK)
        })
    }
}

unsafe extern "C" fn explain<P: RulePlugin>(
    state: *mut c_void,
    rule: u32,
    sink: *const LannerExplanationSink,
    error: *const LannerText,
) -> LannerStatus {
    // SAFETY: the pointers are as the header describes them.
    unsafe {
        with_state(state, error, |plugin: &mut P| {
            let Some((sink, put)) = sink.as_ref().and_then(|sink| Some((sink, sink.put?))) else {
                return Err(missing("explain", "a sink"));
            };
            let explanation = plugin
                .explain(usize::try_from(rule)?)
                .ok_or(CallError::NoExplanation { rule })?;
            let (types, all) = match &explanation.event_types {
                EventTypes::All => (Vec::new(), true),
                EventTypes::Only(names) => (c_texts(names), false),
            };
            let (fields, parts) = (c_texts(&explanation.fields), c_texts(&explanation.parts));
            let raw = LannerExplanation {
                size: size_of::<LannerExplanation>(),
                condition: LannerStr::new(explanation.condition.as_bytes()),
                event_types: types.as_ptr(),
                event_type_count: types.len(),
                fields: fields.as_ptr(),
                field_count: fields.len(),
                parts: parts.as_ptr(),
                part_count: parts.len(),
                all_event_types: u32::from(all),
                reserved: 0,
            };
            put(sink.ctx, &raw const raw);
            Ok(STATUS_OK)
        })
    }
}

unsafe extern "C" fn comparisons<P: RulePlugin>(
    state: *mut c_void,
    sink: *const LannerComparisonSink,
    error: *const LannerText,
) -> LannerStatus {
    // SAFETY: the pointers are as the header describes them.
    unsafe {
        with_state(state, error, |plugin: &mut P| {
            let Some((sink, put)) = sink.as_ref().and_then(|sink| Some((sink, sink.put?))) else {
                return Err(missing("comparisons", "a sink"));
            };
            for comparison in plugin.comparisons() {
                let transformers = c_texts(&comparison.transformers);
                let constants = c_texts(&comparison.constants);
                for constants in constants.chunks(MAX_CONSTANTS) {
                    let raw = LannerComparison {
                        size: size_of::<LannerComparison>(),
                        field: LannerStr::new(comparison.field.as_bytes()),
                        transformers: transformers.as_ptr(),
                        transformer_count: transformers.len(),
                        constants: constants.as_ptr(),
                        constant_count: constants.len(),
                        relation: comparison.relation as u32,
                        reserved: 0,
                    };
                    put(sink.ctx, &raw const raw);
                }
            }
            Ok(STATUS_OK)
        })
    }
}

unsafe extern "C" fn captures<P: RulePlugin>(
    state: *mut c_void,
    sink: *const LannerCaptureSink,
    error: *const LannerText,
) -> LannerStatus {
    // SAFETY: the pointers are as the header describes them.
    unsafe {
        with_state(state, error, |plugin: &mut P| {
            let Some((sink, put)) = sink.as_ref().and_then(|sink| Some((sink, sink.put?))) else {
                return Err(missing("captures", "a sink"));
            };
            let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX - 1);
            for capture in plugin.captures() {
                let raw = LannerCapture {
                    size: size_of::<LannerCapture>(),
                    rule: capture.rule,
                    reserved: 0,
                    duration_ms: capture.duration.map_or(0, ms),
                    before_ms: capture.before.map_or(u64::MAX, ms),
                    events: capture.events.unwrap_or(0),
                    bytes: capture.bytes.unwrap_or(0),
                };
                put(sink.ctx, &raw const raw);
            }
            Ok(STATUS_OK)
        })
    }
}

unsafe extern "C" fn needs<P: RulePlugin>(
    state: *mut c_void,
    sink: *const LannerNeedSink,
    error: *const LannerText,
) -> LannerStatus {
    // SAFETY: the pointers are as the header describes them.
    unsafe {
        with_state(state, error, |plugin: &mut P| {
            let Some((sink, put)) = sink.as_ref().and_then(|sink| Some((sink, sink.put?))) else {
                return Err(missing("needs", "a sink"));
            };
            for need in plugin.needs() {
                let constants: Vec<Vec<LannerStr>> = need
                    .tests
                    .iter()
                    .map(|test| c_texts(&test.constants))
                    .collect();
                let test = |(test, constants): (&FieldTest, &Vec<LannerStr>)| LannerTest {
                    field: LannerStr::new(test.field.as_bytes()),
                    constants: constants.as_ptr(),
                    constant_count: constants.len(),
                    relation: test.relation as u32,
                    negated: test.negated.into(),
                };
                let tests: Vec<LannerTest> = need.tests.iter().zip(&constants).map(test).collect();
                let raw = LannerNeed {
                    size: size_of::<LannerNeed>(),
                    event_type: LannerStr::new(need.event_type.as_bytes()),
                    tests: tests.as_ptr(),
                    test_count: tests.len(),
                };
                put(sink.ctx, &raw const raw);
            }
            Ok(STATUS_OK)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::{STATUS_ERROR, STATUS_PANIC};
    use crate::report::{FieldComparison, Relation};
    use crate::rule::RuleInfo;

    struct Fragile {
        calls: u32,
    }

    impl RulePlugin for Fragile {
        type Settings = Option<u32>;

        fn open(
            _host: Host,
            request: &RuleRequest<'_>,
            settings: Option<u32>,
        ) -> Result<Self, Error> {
            if settings == Some(13) {
                return Err("thirteen is refused".into());
            }
            assert_eq!(request.files().len(), 0);
            assert!(request.field("proc.name", None).is_err());
            Ok(Self { calls: 0 })
        }

        fn rules(&self) -> &[RuleInfo] {
            &[]
        }

        fn event_types(&self) -> EventTypes {
            EventTypes::All
        }

        fn comparisons(&self) -> Vec<FieldComparison> {
            let constants = (0..5000).map(|at| at.to_string());
            vec![FieldComparison {
                field: "proc.name".to_owned(),
                relation: Relation::Equal,
                transformers: vec!["tolower".to_owned()],
                constants: constants.collect(),
            }]
        }

        fn on_event(&mut self, event: &Event<'_>, matches: &mut Matches<'_>) {
            self.calls += 1;
            matches.add(event.event_type() as usize);
            assert!(event.event_type() != 7, "seven is too much");
        }
    }

    unsafe extern "C" fn keep(ctx: *mut c_void, text: LannerStr) {
        // SAFETY: `ctx` is the vector of `sink`.
        unsafe { (*ctx.cast::<Vec<String>>()).push(text.to_text()) };
    }

    unsafe extern "C" fn matched(ctx: *mut c_void, rule: u32) {
        // SAFETY: `ctx` is the vector of `send`.
        unsafe { (*ctx.cast::<Vec<u32>>()).push(rule) };
    }

    fn sink(texts: &mut Vec<String>) -> LannerText {
        LannerText {
            ctx: std::ptr::from_mut(texts).cast(),
            put: Some(keep),
        }
    }

    const TABLE: LannerRulePlugin = RuleTable::<Fragile>::TABLE;

    fn try_open(settings: &[u8], texts: &mut Vec<String>) -> (LannerStatus, *mut c_void) {
        let host = Box::leak(Box::new(LannerHost {
            size: size_of::<LannerHost>(),
            abi_major: 1,
            abi_minor: 0,
            ctx: std::ptr::null(),
            log: None,
            metric: None,
            metric_add: None,
            metric_set: None,
        }));
        let request = LannerRuleRequest {
            size: size_of::<LannerRuleRequest>(),
            resolver: std::ptr::null(),
            files: std::ptr::null(),
            file_count: 0,
            settings: LannerStr::new(settings),
        };
        let mut state = std::ptr::null_mut();
        let error = sink(texts);
        // SAFETY: all pointers live through the call.
        let status = unsafe { TABLE.open.unwrap()(host, &request, &mut state, &error) };
        (status, state)
    }

    fn send(state: *mut c_void, event_type: u32, texts: &mut Vec<String>) -> (i32, Vec<u32>) {
        let event = LannerEvent {
            size: size_of::<LannerEvent>(),
            ctx: std::ptr::null(),
            get: None,
            event_type,
            reserved: 0,
        };
        let mut rules: Vec<u32> = Vec::new();
        let matches = LannerMatches {
            ctx: std::ptr::from_mut(&mut rules).cast(),
            put: Some(matched),
        };
        let error = sink(texts);
        // SAFETY: all pointers live through the call.
        let status = unsafe { TABLE.on_event.unwrap()(state, &event, &matches, &error) };
        (status, rules)
    }

    #[test]
    fn a_panic_stays_inside_and_the_state_is_not_used_again() {
        let mut texts = Vec::new();
        let (status, state) = try_open(b"", &mut texts);
        assert_eq!(status, STATUS_OK);
        assert_eq!(send(state, 3, &mut texts), (STATUS_OK, vec![3]));
        assert_eq!(send(state, 7, &mut texts), (STATUS_PANIC, vec![7]));
        assert_eq!(send(state, 3, &mut texts), (STATUS_PANIC, vec![]));
        assert_eq!(texts, ["seven is too much", "the plugin panicked before"]);
        // SAFETY: closed once.
        unsafe { TABLE.close.unwrap()(state) };
    }

    #[test]
    fn a_refusal_carries_its_reason_and_leaves_no_state() {
        let mut texts = Vec::new();
        let (status, state) = try_open(b"13", &mut texts);
        assert_eq!(status, STATUS_ERROR);
        assert!(state.is_null());
        assert_eq!(texts, ["thirteen is refused"]);
    }

    #[test]
    fn settings_of_the_wrong_shape_are_refused() {
        let mut texts = Vec::new();
        let (status, _) = try_open(b"\"x\"", &mut texts);
        assert_eq!(status, STATUS_ERROR);
        assert!(texts[0].starts_with("settings: invalid type"), "{texts:?}");
    }

    #[test]
    fn many_constants_of_a_comparison_come_in_several_calls() {
        unsafe extern "C" fn put(ctx: *mut c_void, raw: *const LannerComparison) {
            // SAFETY: `ctx` is the vector below, and the comparison lives through the call.
            unsafe {
                let raw = &*raw;
                let constants = std::slice::from_raw_parts(raw.constants, raw.constant_count);
                let last = constants[constants.len() - 1].to_text();
                (*ctx.cast::<Vec<_>>()).push((
                    raw.field.to_text(),
                    (*raw.transformers).to_text(),
                    Relation::from_number(raw.relation),
                    constants.len(),
                    last,
                ));
            }
        }
        let mut texts = Vec::new();
        let (_, state) = try_open(b"", &mut texts);
        let mut found: Vec<(String, String, Relation, usize, String)> = Vec::new();
        let sink_of_comparisons = LannerComparisonSink {
            ctx: std::ptr::from_mut(&mut found).cast(),
            put: Some(put),
        };
        let error = sink(&mut texts);
        // SAFETY: all pointers live through the calls; closed once.
        let status = unsafe {
            let status = TABLE.comparisons.unwrap()(state, &sink_of_comparisons, &error);
            TABLE.close.unwrap()(state);
            status
        };
        assert_eq!(status, STATUS_OK);
        let part = |count, last: &str| {
            let (field, transformer) = ("proc.name".to_owned(), "tolower".to_owned());
            (field, transformer, Relation::Equal, count, last.to_owned())
        };
        assert_eq!(found, [part(4096, "4095"), part(904, "4999")]);
    }
}
