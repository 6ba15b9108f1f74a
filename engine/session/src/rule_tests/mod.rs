//! `lanner rules test`: runs rules over events that a file describes. The events are built as a driver builds them, and go
//! through the scripted driver, the state and the rules. The file can set fields that events alone cannot give, such as
//! those of a container.
//!
//! docs/rules.md has the format.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use driver_api::driver::{Capture, Flow};
use driver_api::event::Event;
use driver_api::scripted::Scripted;

use fields::template::Template;
use fields::{FieldRegistry, Fields, Scratch, View};
use inspect::{Clock, Inspector, Options};
use plugin_host::{
    FieldKind, FieldResolver, FieldSource, OwnedValue, RawValue, ResolvedField, RuleHost, Value,
};
use suggest::did_you_mean;

use recording::script;
pub use recording::script::{Given, Step, Suite, Test};

mod error;

pub use error::{FieldError, TestError};

/// The wall clock of tests: 2026-01-01.
const EPOCH_NS: i64 = 1_767_225_600_000_000_000;

/// The result of a test.
#[derive(Debug)]
pub struct Outcome {
    /// The test.
    pub name: String,
    /// What went wrong. Empty: the test passed.
    pub failures: Vec<String>,
}

/// Rules, and what is needed to run events against them.
#[derive(Debug)]
pub struct Bench {
    rules: RuleHost,
    templates: Vec<Template>,
    fields: Fields,
}

/// The fields that a test sets, by their numbers.
type Overrides = HashMap<u32, OwnedValue>;

/// An event with some fields set by the test.
struct Overridden<'a> {
    view: View<'a>,
    given: &'a Overrides,
    /// The elements of the lists that are set.
    lists: &'a HashMap<u32, Vec<RawValue<'a>>>,
}

impl FieldSource for Overridden<'_> {
    fn event_type(&self) -> u32 {
        self.view.event_type()
    }

    fn get(&self, id: u32) -> Value<'_> {
        if let Some(elements) = self.lists.get(&id) {
            return Value::List(plugin_host::List::new(elements));
        }
        match self.given.get(&id) {
            Some(value) => value.scalar(),
            None => self.view.get(id),
        }
    }
}

/// Checks that all rules exist that tests expect alerts of.
///
/// # Errors
///
/// The first rule that does not exist.
pub fn check_rules(suite: &Suite, rules: &RuleHost) -> Result<(), TestError> {
    let names = || rules.rules().iter().map(|rule| rule.name.as_str());
    let steps = suite.tests.iter().flat_map(|test| &test.events);
    let mut expected = steps.flat_map(|step| &step.alerts).flatten();
    match expected.find(|expected| !names().any(|name| name == *expected)) {
        None => Ok(()),
        Some(unknown) => Err(TestError::NoSuchRule {
            hint: did_you_mean(unknown, names()),
            rule: unknown.clone(),
        }),
    }
}

/// Looks up the fields that tests set. Call it before [`Bench::new`], because fields get their numbers here.
///
/// # Errors
///
/// A field does not exist, or cannot have its value.
pub fn resolve(suite: &Suite, registry: &FieldRegistry) -> Result<(), TestError> {
    for test in &suite.tests {
        for step in &test.events {
            for (name, given) in &step.fields {
                value_of(registry, name, given).map_err(|source| TestError::Field {
                    test: test.name.clone(),
                    source,
                })?;
            }
        }
    }
    Ok(())
}

fn value_of(
    registry: &FieldRegistry,
    name: &str,
    given: &Given,
) -> Result<(u32, OwnedValue), FieldError> {
    let (base, arg) = match name.split_once('[') {
        Some((base, rest)) => (base, Some(rest.strip_suffix(']').unwrap_or(rest))),
        None => (name, None),
    };
    let field = registry.resolve(base, arg)?;
    let value = match given {
        Given::Missing => OwnedValue::None,
        Given::One(text) => scalar(name, text, field)?,
        Given::Fields(_) => return Err(FieldError::Structure(name.to_owned())),
        Given::Many(texts) => {
            let elements = texts.iter().map(|text| scalar(name, text, field));
            OwnedValue::List(elements.collect::<Result<_, _>>()?)
        }
    };
    Ok((field.id, value))
}

fn scalar(name: &str, text: &str, field: ResolvedField) -> Result<OwnedValue, FieldError> {
    let no = |expected: &'static str| FieldError::Kind {
        name: name.to_owned(),
        expected,
        value: text.to_owned(),
    };
    Ok(match field.kind {
        FieldKind::String => OwnedValue::String(text.as_bytes().to_vec()),
        FieldKind::Bytes => OwnedValue::Bytes(text.as_bytes().to_vec()),
        FieldKind::Bool => OwnedValue::Bool(text.parse().map_err(|_| no("true or false"))?),
        FieldKind::I64 => OwnedValue::I64(text.parse().map_err(|_| no("a number"))?),
        FieldKind::U64 => OwnedValue::U64(text.parse().map_err(|_| no("a number"))?),
        FieldKind::F64 => OwnedValue::F64(text.parse().map_err(|_| no("a number"))?),
        FieldKind::Ip => OwnedValue::Ip(text.parse().map_err(|_| no("an address"))?),
        FieldKind::Any => match text.parse() {
            Ok(number) => OwnedValue::I64(number),
            Err(_) => OwnedValue::String(text.as_bytes().to_vec()),
        },
    })
}

impl Bench {
    /// Rules that were opened with `registry`.
    pub fn new(rules: RuleHost, templates: Vec<Template>, registry: &FieldRegistry) -> Self {
        Self {
            rules,
            templates,
            fields: registry.fields(),
        }
    }

    /// Runs a test with fresh state.
    ///
    /// # Errors
    ///
    /// Its events cannot be built or delivered.
    pub fn run(&mut self, test: &Test, registry: &FieldRegistry) -> Result<Outcome, TestError> {
        let mut inspector = Inspector::new(&Options {
            proc_root: None,
            etc: Path::new("/nonexistent").to_owned(),
            clock: Clock::fixed(EPOCH_NS),
            ..Options::default()
        });
        let script = script::Script::new(test).map_err(|source| TestError::Script {
            test: test.name.clone(),
            source,
        })?;
        let mut failures = Vec::new();
        let mut scratch = Scratch::default();
        let mut at = 0;
        let mut capture = Scripted::new(script.events.iter().map(|(bytes, _)| bytes.clone()), None);
        let polled = capture.poll(Duration::ZERO, &mut |event| {
            let step = script.events.get(at).and_then(|(_, step)| *step);
            at += 1;
            match step.and_then(|step| Some((step, test.events.get(step)?))) {
                Some((number, step)) => {
                    let place = format!("event {} ({})", number + 1, step.title());
                    let failed = self.step(&mut inspector, &event, step, registry, &scratch);
                    failures.extend(failed.into_iter().map(|what| format!("{place}: {what}")));
                }
                None => {
                    inspector.update(&event);
                }
            }
            scratch.reset();
            Flow::Continue
        });
        polled.map_err(|source| TestError::Capture {
            test: test.name.clone(),
            source,
        })?;
        if at != script.events.len() {
            failures.push("some events were malformed".to_owned());
        }
        Ok(Outcome {
            name: test.name.clone(),
            failures,
        })
    }

    fn step(
        &mut self,
        inspector: &mut Inspector,
        event: &Event<'_>,
        step: &Step,
        registry: &FieldRegistry,
        scratch: &Scratch,
    ) -> Vec<String> {
        let mut given = Overrides::new();
        for (name, value) in &step.fields {
            match value_of(registry, name, value) {
                Ok((id, value)) => drop(given.insert(id, value)),
                Err(error) => return vec![error.to_string()],
            }
        }
        let lists: HashMap<u32, Vec<RawValue<'_>>> = given
            .iter()
            .filter_map(|(id, value)| match value {
                OwnedValue::List(elements) => {
                    let elements = elements.iter().map(|v| RawValue::from(v.scalar()));
                    Some((*id, elements.collect()))
                }
                _ => None,
            })
            .collect();
        let seen = inspector.update(event);
        let view = View::new(&self.fields, inspector, event, &seen, scratch);
        let source = Overridden {
            view,
            given: &given,
            lists: &lists,
        };
        let mut matches = Vec::new();
        self.rules.on_event(&source, &mut matches);
        if let Some(reason) = self.rules.off() {
            return vec![format!("the rule plugin is switched off: {reason}")];
        }
        let mut failures = Vec::new();
        let mut raised = Vec::new();
        let mut outputs = Vec::new();
        for at in matches.iter().filter_map(|at| usize::try_from(*at).ok()) {
            if let (Some(rule), Some(template)) =
                (self.rules.rules().get(at), self.templates.get(at))
            {
                raised.push(rule.name.clone());
                let mut text = String::new();
                template.render(&source, &mut text);
                outputs.push(text);
            }
        }
        if let Some(expected) = &step.alerts {
            for name in expected.iter().filter(|name| !raised.contains(name)) {
                failures.push(format!("`{name}` was expected, and not raised"));
            }
            for (name, output) in raised.iter().zip(&outputs) {
                if !expected.contains(name) {
                    failures.push(format!("`{name}` was raised: {output}"));
                }
            }
        }
        for wanted in &step.output {
            if !outputs
                .iter()
                .any(|output| output.contains(wanted.as_str()))
            {
                failures.push(format!("no alert says `{wanted}`: {outputs:?}"));
            }
        }
        failures
    }
}

#[cfg(test)]
mod tests;
