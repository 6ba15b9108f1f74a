//! The C functions of a rule plugin, made from its [`RulePlugin`].

use std::ffi::c_void;
use std::marker::PhantomData;

use crate::abi::{
    LannerDiagnostic, LannerDiagnosticSink, LannerEvent, LannerExplanation, LannerExplanationSink,
    LannerHost, LannerMatches, LannerRule, LannerRulePlugin, LannerRuleRequest, LannerRuleSink,
    LannerStatus, LannerStr, LannerText, STATUS_OK,
};
use crate::border::{State, close, guard, schema, settings, tell, with_state};
use crate::host::Host;
use crate::rule::{Diagnostic, Event, EventTypes, Matches, RulePlugin, RuleRequest};

/// The function table for `P`. Made by [`export_plugin!`](crate::export_plugin).
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
                return Err("the host called open without a host or a request".into());
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
                return Err("the host passed no rule sink".into());
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
                EventTypes::All => tell(sink, "all"),
                EventTypes::Only(names) => {
                    for name in names {
                        tell(sink, &name);
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
                return Err("the host passed no event or no match sink".into());
            };
            plugin.on_event(&Event::from_abi(event), &mut Matches::from_abi(matches));
            Ok(STATUS_OK)
        })
    }
}

fn texts(of: &[String]) -> Vec<LannerStr> {
    of.iter()
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
                return Err("the host called check without a host or a request".into());
            };
            let Some((sink, put)) = sink.as_ref().and_then(|sink| Some((sink, sink.put?))) else {
                return Err("the host passed no diagnostic sink".into());
            };
            let request = RuleRequest::from_abi(request);
            let mut tell = |diagnostic: Diagnostic| {
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
            P::check(host, &request, settings(request.settings())?, &mut tell)?;
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
                return Err("the host passed no explanation sink".into());
            };
            let Some(explanation) = plugin.explain(usize::try_from(rule)?) else {
                return Err("this plugin cannot explain its rules".into());
            };
            let (types, all) = match &explanation.event_types {
                EventTypes::All => (Vec::new(), true),
                EventTypes::Only(names) => (texts(names), false),
            };
            let (fields, parts) = (texts(&explanation.fields), texts(&explanation.parts));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::{STATUS_ERROR, STATUS_PANIC};
    use crate::border::Error;
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
}
