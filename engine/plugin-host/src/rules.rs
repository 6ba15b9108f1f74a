//! [`RuleHost`]: an opened rule plugin. It is called for every event.

use std::ffi::c_void;
use std::time::Duration;

use lanner_plugin::abi::{
    LannerCapture, LannerCaptureSink, LannerComparison, LannerComparisonSink, LannerDiagnostic,
    LannerDiagnosticSink, LannerEvent, LannerExplanation, LannerExplanationSink, LannerField,
    LannerMatches, LannerNeed, LannerNeedSink, LannerResolver, LannerRule, LannerRuleFile,
    LannerRulePlugin, LannerRuleRequest, LannerRuleSink, LannerStatus, LannerStr, LannerTest,
    LannerText, LannerValue, STATUS_ERROR, STATUS_OK, STATUS_PANIC,
};
use lanner_plugin::{
    Diagnostic, EventNeed, EventTypes, Explanation, FieldComparison, FieldResolver, FieldSource,
    FieldTest, Priority, RawValue, Relation, ResolvedField, RuleCapture, Severity, TestRelation,
    UnknownName,
};

use super::border::{all_texts, contained, last_text, place, reason, slice, text};
use super::crash::Inside;
use super::error::PluginError;
use super::load::Plugin;
use super::rule_file::RuleFile;
use super::settings as check;
use super::slow::Call;

/// A rule, as its plugin describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Name.
    pub name: String,
    /// What it finds and why that matters.
    pub description: String,
    /// How serious a match is.
    pub priority: Priority,
    /// The source of its events, such as `syscall`.
    pub source: String,
    /// Tags.
    pub tags: Vec<String>,
    /// Template of the alert's text.
    pub output: String,
    /// Whether it can match.
    pub enabled: bool,
}

/// Loaded rules. One for each shard; one thread uses it at a time.
#[derive(Debug)]
pub struct RuleHost {
    plugin: Plugin,
    table: &'static LannerRulePlugin,
    state: *mut c_void,
    rules: Vec<Rule>,
    event_types: EventTypes,
    needs: Vec<EventNeed>,
    /// Why it is switched off.
    off: Option<String>,
}

// SAFETY: the header allows a state to move from thread to thread between calls.
unsafe impl Send for RuleHost {}

impl RuleHost {
    /// Loads rule files, in this order. `settings` is a JSON text, or nothing.
    ///
    /// # Errors
    ///
    /// The plugin is no rule plugin, or refuses the files; the reason is for the user to read.
    pub fn open(
        plugin: &Plugin,
        resolver: &dyn FieldResolver,
        files: &[RuleFile],
        settings: &str,
    ) -> Result<Self, PluginError> {
        let table = plugin.rule_table()?;
        if let Some(schema) = plugin.rule_schema()? {
            check::check(plugin.name(), schema, settings)?;
        }
        let mut state = std::ptr::null_mut();
        with_request(resolver, files, settings, |request| {
            run(plugin, "load rules", |error| {
                // SAFETY: the table was checked; all pointers live through the call.
                table
                    .open
                    .map(|open| unsafe { open(plugin.host(), request, &raw mut state, error) })
            })
        })?;
        let mut host = Self {
            plugin: plugin.clone(),
            table,
            state,
            rules: Vec::new(),
            event_types: EventTypes::All,
            needs: Vec::new(),
            off: None,
        };
        host.describe()?;
        Ok(host)
    }

    /// Reports all diagnostics about rule files. If the plugin has no function for that, this opens the files, and reports
    /// only why the plugin refused them.
    ///
    /// # Errors
    ///
    /// The plugin failed.
    pub fn check(
        plugin: &Plugin,
        resolver: &dyn FieldResolver,
        files: &[RuleFile],
        settings: &str,
    ) -> Result<Vec<Diagnostic>, PluginError> {
        let table = plugin.rule_table()?;
        let Some(check) = table.check else {
            return match Self::open(plugin, resolver, files, settings) {
                Ok(_) => Ok(Vec::new()),
                Err(PluginError::Failed { reason, .. }) => Ok(vec![Diagnostic {
                    message: reason,
                    ..Diagnostic::default()
                }]),
                Err(error) => Err(error),
            };
        };
        let mut diagnostics: Vec<Diagnostic> = Vec::new();
        let sink = LannerDiagnosticSink {
            ctx: std::ptr::from_mut(&mut diagnostics).cast(),
            put: Some(put_diagnostic),
        };
        with_request(resolver, files, settings, |request| {
            run(plugin, "check rules", |error| {
                // SAFETY: the table was checked; all pointers live through the call.
                Some(unsafe { check(plugin.host(), request, &raw const sink, error) })
            })
        })?;
        Ok(diagnostics)
    }

    /// Explains what a rule does, after its macros and lists are expanded.
    ///
    /// # Errors
    ///
    /// The plugin cannot explain its rules.
    pub fn explain(&mut self, rule: u32) -> Result<Explanation, PluginError> {
        let failed = |reason: &str| PluginError::Failed {
            plugin: self.plugin.name().to_owned(),
            call: "explain a rule",
            reason: reason.to_owned(),
        };
        let Some(explain) = self.table.explain else {
            return Err(failed("it has no function for that"));
        };
        let state = self.state;
        let mut found: Option<Explanation> = None;
        let sink = LannerExplanationSink {
            ctx: std::ptr::from_mut(&mut found).cast(),
            put: Some(put_explanation),
        };
        run(&self.plugin, "explain a rule", |error| {
            // SAFETY: the state is open and ours alone; the sink lives through the call.
            Some(unsafe { explain(state, rule, &raw const sink, error) })
        })?;
        found.ok_or_else(|| failed("it said nothing"))
    }

    /// The fields that rules compare with constants. None from a plugin that was built before ABI 1.3.
    ///
    /// # Errors
    ///
    /// The plugin failed; the text has its reason.
    pub fn comparisons(&mut self) -> Result<Vec<FieldComparison>, PluginError> {
        let Some(comparisons) = self.table.comparisons else {
            return Ok(Vec::new());
        };
        let state = self.state;
        let mut found: Vec<FieldComparison> = Vec::new();
        let sink = LannerComparisonSink {
            ctx: std::ptr::from_mut(&mut found).cast(),
            put: Some(put_comparison),
        };
        run(&self.plugin, "report its comparisons", |error| {
            // SAFETY: the state is open and ours alone; the sink lives through the call.
            Some(unsafe { comparisons(state, &raw const sink, error) })
        })?;
        Ok(found)
    }

    /// The rules that want the events around a match in a file. None from a plugin that was built before ABI 1.5.
    ///
    /// # Errors
    ///
    /// The plugin failed; the text has its reason.
    pub fn captures(&mut self) -> Result<Vec<RuleCapture>, PluginError> {
        let Some(captures) = self.table.captures else {
            return Ok(Vec::new());
        };
        let state = self.state;
        let mut found: Vec<RuleCapture> = Vec::new();
        let sink = LannerCaptureSink {
            ctx: std::ptr::from_mut(&mut found).cast(),
            put: Some(put_capture),
        };
        run(&self.plugin, "report its captures", |error| {
            // SAFETY: the state is open and ours alone; the sink lives through the call.
            Some(unsafe { captures(state, &raw const sink, error) })
        })?;
        let rules = self.rules.len();
        found.retain(|capture| (capture.rule as usize) < rules);
        Ok(found)
    }

    fn describe(&mut self) -> Result<(), PluginError> {
        let (table, state) = (self.table, self.state);
        let mut rules: Vec<Option<Rule>> = Vec::new();
        let sink = LannerRuleSink {
            ctx: std::ptr::from_mut(&mut rules).cast(),
            put: Some(put_rule),
        };
        run(&self.plugin, "list its rules", |error| {
            table.rules.map(|list| {
                // SAFETY: the state is open and ours alone; the sink lives through the call.
                unsafe { list(state, &raw const sink, error) }
            })
        })?;
        self.rules =
            rules
                .into_iter()
                .collect::<Option<_>>()
                .ok_or_else(|| PluginError::Failed {
                    plugin: self.plugin.name().to_owned(),
                    call: "list its rules",
                    reason: "a rule has no valid pointer or size".to_owned(),
                })?;
        let mut names = Vec::new();
        let sink = all_texts(&mut names);
        run(&self.plugin, "name its event types", |error| {
            table.event_types.map(|types| {
                // SAFETY: as above.
                unsafe { types(state, &raw const sink, error) }
            })
        })?;
        if !names.iter().any(|name| name == "all") {
            self.event_types = EventTypes::Only(names);
        }
        self.needs = self.ask_needs()?;
        Ok(())
    }

    fn ask_needs(&self) -> Result<Vec<EventNeed>, PluginError> {
        let Some(needs) = self.table.needs else {
            return Ok(Vec::new());
        };
        let state = self.state;
        let mut found: Vec<Option<EventNeed>> = Vec::new();
        let sink = LannerNeedSink {
            ctx: std::ptr::from_mut(&mut found).cast(),
            put: Some(put_need),
        };
        run(&self.plugin, "report its needs", |error| {
            // SAFETY: the state is open and ours alone; the sink lives through the call.
            Some(unsafe { needs(state, &raw const sink, error) })
        })?;
        // a need that cannot be read may be one of any type
        Ok(found.into_iter().collect::<Option<_>>().unwrap_or_default())
    }

    /// The plugin.
    #[must_use]
    pub fn plugin(&self) -> &Plugin {
        &self.plugin
    }

    /// All rules, also disabled ones; [`RuleHost::on_event`] gives indices into this.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The event types that the rules need.
    #[must_use]
    pub fn event_types(&self) -> &EventTypes {
        &self.event_types
    }

    /// Which events of a type the rules can match. A type that is not named has no limit, and so has each type of a plugin
    /// that was built before ABI 1.6.
    #[must_use]
    pub fn needs(&self) -> &[EventNeed] {
        &self.needs
    }

    /// Why the plugin is switched off, if it is.
    #[must_use]
    pub fn off(&self) -> Option<&str> {
        self.off.as_deref()
    }

    /// Puts the rules that an event matches into `matches`, which is cleared first. A plugin that
    /// is switched off matches nothing.
    #[inline]
    pub fn on_event<S: FieldSource>(&mut self, event: &S, matches: &mut Vec<u32>) {
        matches.clear();
        if self.off.is_some() {
            return;
        }
        let raw = LannerEvent {
            size: size_of::<LannerEvent>(),
            ctx: std::ptr::from_ref(event).cast(),
            get: Some(get_field::<S>),
            event_type: event.event_type(),
            reserved: 0,
        };
        let sink = LannerMatches {
            ctx: std::ptr::from_mut(matches).cast(),
            put: Some(put_match),
        };
        let mut text = String::new();
        let error = last_text(&mut text);
        let inside = Inside::enter(self.plugin.label());
        let status = match self.table.on_event {
            // SAFETY: the state is open and ours alone; all pointers live through the call.
            Some(on_event) => unsafe {
                on_event(
                    self.state,
                    &raw const raw,
                    &raw const sink,
                    &raw const error,
                )
            },
            None => STATUS_ERROR,
        };
        drop(inside);
        if status != STATUS_OK {
            self.failed(status, &text, matches);
        } else if !matches.is_empty() {
            self.check_indices(matches);
        }
    }

    fn check_indices(&self, matches: &mut Vec<u32>) {
        let rules = self.rules.len();
        let before = matches.len();
        matches.retain(|rule| (*rule as usize) < rules);
        if matches.len() != before {
            self.plugin
                .fault("on_event", "it names a rule that it does not have");
        }
    }

    #[cold]
    fn failed(&mut self, status: LannerStatus, text: &str, matches: &mut Vec<u32>) {
        matches.clear();
        let text = reason(text, status);
        if status == STATUS_PANIC {
            self.plugin.fault(
                "on_event",
                &format!("it panicked and is switched off: {text}"),
            );
            self.off = Some(text);
        } else {
            self.plugin.fault("on_event", &text);
        }
    }
}

impl Drop for RuleHost {
    fn drop(&mut self) {
        if let Some(close) = self.table.close {
            let _inside = Inside::enter(self.plugin.label());
            // SAFETY: the state came from `open`, and this is the last use.
            unsafe { close(self.state) };
        }
    }
}

/// Makes a request and hands it to `body`, during which it is valid.
fn with_request<R>(
    resolver: &dyn FieldResolver,
    files: &[RuleFile],
    settings: &str,
    body: impl FnOnce(*const LannerRuleRequest) -> R,
) -> R {
    let resolver = LannerResolver {
        size: size_of::<LannerResolver>(),
        ctx: std::ptr::from_ref(&resolver).cast(),
        field: Some(resolve_field),
        event_type: Some(resolve_event_type),
    };
    let files: Vec<LannerRuleFile> = files
        .iter()
        .map(|file| LannerRuleFile {
            name: LannerStr::new(file.name.as_bytes()),
            text: LannerStr::new(&file.text),
        })
        .collect();
    let request = LannerRuleRequest {
        size: size_of::<LannerRuleRequest>(),
        resolver: &raw const resolver,
        files: files.as_ptr(),
        file_count: files.len(),
        settings: LannerStr::new(settings.as_bytes()),
    };
    body(&raw const request)
}

/// Calls a function that is not part of event handling, and turns its status into an error.
fn run(
    plugin: &Plugin,
    call: &'static str,
    function: impl FnOnce(*const LannerText) -> Option<LannerStatus>,
) -> Result<(), PluginError> {
    let mut text = String::new();
    let error = last_text(&mut text);
    let status = {
        let _call = Call::begin(plugin.label(), call);
        function(&raw const error).unwrap_or(STATUS_ERROR)
    };
    if status == STATUS_OK {
        return Ok(());
    }
    let reason = reason(&text, status);
    let name = plugin.name().to_owned();
    if status == STATUS_PANIC {
        plugin.fault(call, &reason);
        return Err(PluginError::Panicked {
            plugin: name,
            reason,
        });
    }
    Err(PluginError::Failed {
        plugin: name,
        call,
        reason,
    })
}

unsafe extern "C" fn get_field<S: FieldSource>(
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

unsafe extern "C" fn put_match(ctx: *mut c_void, rule: u32) {
    contained(|| {
        // SAFETY: `ctx` is the `matches` of the running `on_event`, or null.
        if let Some(matches) = unsafe { place::<Vec<u32>>(ctx) } {
            matches.push(rule);
        }
    });
}

unsafe extern "C" fn put_rule(ctx: *mut c_void, rule: *const LannerRule) {
    contained(|| {
        // SAFETY: `ctx` is the vector that `describe` passed, or null; the plugin passes a valid rule.
        unsafe {
            let Some(rules) = place::<Vec<Option<Rule>>>(ctx) else {
                return;
            };
            let raw = slice(rule, 1).pop();
            let Some(raw) = raw.filter(|raw| raw.size >= size_of::<LannerRule>()) else {
                rules.push(None);
                return;
            };
            rules.push(Some(Rule {
                name: text(raw.name),
                description: text(raw.description),
                priority: Priority::from_number(raw.priority).unwrap_or(Priority::Debug),
                source: text(raw.source),
                tags: texts(raw.tags, raw.tag_count),
                output: text(raw.output),
                enabled: raw.enabled != 0,
            }));
        }
    });
}

/// Copies texts from a plugin.
fn texts(first: *const LannerStr, count: usize) -> Vec<String> {
    // SAFETY: texts are plain pointers and lengths; all bit patterns are valid.
    let raw = unsafe { slice(first, count) };
    raw.into_iter().map(text).collect()
}

unsafe extern "C" fn put_diagnostic(ctx: *mut c_void, diagnostic: *const LannerDiagnostic) {
    // SAFETY: `ctx` is the vector that `check` passed; the plugin passes a valid diagnostic.
    contained(|| unsafe {
        let Some(all) = place::<Vec<Diagnostic>>(ctx) else {
            return;
        };
        let whole = |raw: &LannerDiagnostic| raw.size >= size_of::<LannerDiagnostic>();
        if let Some(raw) = slice(diagnostic, 1).pop().filter(whole) {
            all.push(Diagnostic {
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
            });
        }
    });
}

unsafe extern "C" fn put_explanation(ctx: *mut c_void, explanation: *const LannerExplanation) {
    // SAFETY: `ctx` is the place that `explain` passed; the plugin passes a valid explanation.
    contained(|| unsafe {
        let Some(into) = place::<Option<Explanation>>(ctx) else {
            return;
        };
        let whole = |raw: &LannerExplanation| raw.size >= size_of::<LannerExplanation>();
        if let Some(raw) = slice(explanation, 1).pop().filter(whole) {
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

unsafe extern "C" fn put_comparison(ctx: *mut c_void, comparison: *const LannerComparison) {
    // SAFETY: `ctx` is the vector that `comparisons` passed; the plugin passes a valid comparison.
    contained(|| unsafe {
        let Some(all) = place::<Vec<FieldComparison>>(ctx) else {
            return;
        };
        let whole = |raw: &LannerComparison| raw.size >= size_of::<LannerComparison>();
        if let Some(raw) = slice(comparison, 1).pop().filter(whole) {
            all.push(FieldComparison {
                field: text(raw.field),
                relation: Relation::from_number(raw.relation),
                transformers: texts(raw.transformers, raw.transformer_count),
                constants: texts(raw.constants, raw.constant_count),
            });
        }
    });
}

unsafe extern "C" fn put_capture(ctx: *mut c_void, capture: *const LannerCapture) {
    let given = |value: u64, none: u64| (value != none).then_some(value);
    // SAFETY: `ctx` is the vector that `captures` passed; the plugin passes a valid capture.
    contained(|| unsafe {
        let Some(all) = place::<Vec<RuleCapture>>(ctx) else {
            return;
        };
        let whole = |raw: &LannerCapture| raw.size >= size_of::<LannerCapture>();
        if let Some(raw) = slice(capture, 1).pop().filter(whole) {
            all.push(RuleCapture {
                rule: raw.rule,
                duration: given(raw.duration_ms, 0).map(Duration::from_millis),
                before: given(raw.before_ms, u64::MAX).map(Duration::from_millis),
                events: given(raw.events, 0),
                bytes: given(raw.bytes, 0),
            });
        }
    });
}

unsafe extern "C" fn put_need(ctx: *mut c_void, need: *const LannerNeed) {
    // SAFETY: `ctx` is the vector that `ask_needs` passed; the plugin passes a valid need, whose tests are pointers,
    // lengths and numbers.
    contained(|| unsafe {
        let Some(all) = place::<Vec<Option<EventNeed>>>(ctx) else {
            return;
        };
        let whole = |raw: &LannerNeed| raw.size >= size_of::<LannerNeed>();
        let raw = slice(need, 1).pop().filter(whole);
        all.push(raw.map(|raw| {
            let tests: Vec<LannerTest> = slice(raw.tests, raw.test_count);
            EventNeed {
                event_type: text(raw.event_type),
                tests: tests.iter().filter_map(field_test).collect(),
            }
        }));
    });
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

unsafe extern "C" fn resolve_field(
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

unsafe extern "C" fn resolve_event_type(
    ctx: *const c_void,
    name: LannerStr,
    event_type: *mut u32,
    error: *const LannerText,
) -> LannerStatus {
    let mut status = STATUS_ERROR;
    // SAFETY: as above.
    contained(|| unsafe {
        let Some(resolver) = ctx.cast::<&dyn FieldResolver>().as_ref() else {
            return;
        };
        status = answer(resolver.event_type(&text(name)), event_type, error);
    });
    status
}
