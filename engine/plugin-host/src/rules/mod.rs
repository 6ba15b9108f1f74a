//! [`RuleHost`]: an opened rule plugin. It is called for every event.

mod callbacks;

use std::ffi::c_void;

use callbacks::{
    get_field, put_capture, put_comparison, put_diagnostic, put_explanation, put_match, put_need,
    put_rule, resolve_event_type, resolve_field,
};
use lanner_plugin::abi::{
    LannerCaptureSink, LannerComparisonSink, LannerDiagnosticSink, LannerEvent,
    LannerExplanationSink, LannerMatches, LannerNeedSink, LannerResolver, LannerRuleFile,
    LannerRulePlugin, LannerRuleRequest, LannerRuleSink, LannerStatus, LannerStr, LannerText,
    STATUS_ERROR, STATUS_OK, STATUS_PANIC,
};
use lanner_plugin::{
    Diagnostic, EventNeed, EventTypes, Explanation, FieldComparison, FieldResolver, FieldSource,
    Priority, RuleCapture,
};

use crate::border::{all_texts, last_text, reason};
use crate::crash::Inside;
use crate::error::PluginError;
use crate::load::Plugin;
use crate::rule_file::RuleFile;
use crate::settings as check;
use crate::slow::Call;

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

/// Loaded rules. One thread uses it at a time.
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
                let open = table.open?;
                // SAFETY: the table was checked; all pointers live through the call.
                Some(unsafe { open(plugin.host(), request, &raw mut state, error) })
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
