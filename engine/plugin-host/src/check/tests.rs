//! The run against plugins in C that do something wrong, one thing at a time.

use std::time::Duration;

use super::{HostFields, Request, Verdict, check};
use crate::tests::{Directory, TABLES};
use crate::{FieldKind, FieldResolver, ResolvedField, UnknownName};

/// A host that has every field, and knows every event type.
struct EveryField;

impl FieldResolver for EveryField {
    fn resolve(&self, _name: &str, _arg: Option<&str>) -> Result<ResolvedField, UnknownName> {
        Ok(ResolvedField::new(0, FieldKind::String))
    }

    fn event_type(&self, _name: &str) -> Result<u32, UnknownName> {
        Ok(0)
    }
}

impl HostFields for EveryField {
    fn check_output(&self, _output: &str) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Ok(())
    }
}

/// A plugin that does nothing wrong, with one function of its own, which macros put into the tables.
fn run(name: &str, function: &str) -> (bool, Vec<(String, Verdict)>) {
    let directory = Directory::new();
    let request = Request {
        file: directory.c(name, &format!("{function}\n{TABLES}")),
        settings: String::new(),
        rules: Vec::new(),
        deadline: Duration::from_secs(10),
        cost: false,
        fields: || Box::new(EveryField),
    };
    let mut steps = Vec::new();
    let good = check(&request, &mut |step, verdict| {
        if let Some(verdict) = verdict {
            steps.push((step.to_owned(), verdict.clone()));
        }
    });
    (good, steps)
}

/// The first fault: its step, and what it is.
fn first_fault(name: &str, function: &str) -> (String, String) {
    let (good, steps) = run(name, function);
    assert!(!good, "{steps:?}");
    steps
        .into_iter()
        .find_map(|(step, verdict)| match verdict {
            Verdict::Bad(reason) => Some((step, reason)),
            _ => None,
        })
        .unwrap()
}

const EMIT: &str = "#define RULES 0\n#define EMIT mine\n\
    static LannerStatus mine(void *state, const LannerBatch *batch, size_t *delivered, \
    const LannerText *error)";

#[test]
fn a_plugin_that_keeps_to_the_border_is_good() {
    let (good, steps) = run("good", &format!("{EMIT} {{ return LANNER_OK; }}"));
    assert!(good, "{steps:?}");
    let emits = steps.iter().filter(|(step, _)| step.contains("emit"));
    assert_eq!(emits.count(), 5);
}

#[test]
fn a_plugin_that_hangs_is_named_and_ends_the_run() {
    let (step, reason) = first_fault(
        "hangs",
        &format!("#include <unistd.h>\n{EMIT} {{ for (;;) pause(); return 0; }}"),
    );
    assert_eq!(step, "output: emit nothing");
    assert!(reason.contains("did not return within 10s"), "{reason}");
}

#[test]
fn a_plugin_that_panics_is_told_and_left_alone_from_then_on() {
    let (good, steps) = run(
        "panics",
        &format!("{EMIT} {{ return batch->count ? LANNER_PANIC : LANNER_OK; }}"),
    );
    assert!(!good);
    let names: Vec<&str> = steps.iter().map(|(step, _)| step.as_str()).collect();
    let at = names
        .iter()
        .position(|name| *name == "output: emit one alert")
        .unwrap();
    assert!(matches!(&steps[at].1, Verdict::Bad(reason) if reason.contains("panicked")));
    assert_eq!(names[at + 1], "output: close");
}

#[test]
fn answers_that_make_no_sense_are_faults() {
    for (name, body, expected) in [
        (
            "status",
            "LannerStr s = {(const uint8_t *)\"x\", 1}; error->put(error->ctx, s); return 4711;",
            "nonsense",
        ),
        (
            "count",
            "LannerStr s = {(const uint8_t *)\"x\", 1}; error->put(error->ctx, s); \
                   *delivered = batch->count + 1; return LANNER_TRY_AGAIN;",
            "nonsense",
        ),
        (
            "silent",
            "return LANNER_TRY_AGAIN;",
            "no reason for LANNER_TRY_AGAIN",
        ),
        ("unknown", "return 77;", "answer 77 is no status"),
        // a reason that leads nowhere, and one without end
        (
            "length",
            "LannerStr s = {(const uint8_t *)\"x\", SIZE_MAX}; error->put(error->ctx, s); \
             return LANNER_TRY_AGAIN;",
            "no reason for LANNER_TRY_AGAIN",
        ),
        (
            "pointer",
            "LannerStr s = {(const uint8_t *)8, 100}; error->put(error->ctx, s); \
                     return LANNER_GIVE_UP;",
            "no reason for LANNER_GIVE_UP",
        ),
    ] {
        let (step, reason) = first_fault(name, &format!("{EMIT} {{ {body} }}"));
        assert_eq!(step, "output: emit nothing", "{name}");
        assert!(reason.contains(expected), "{name}: {reason}");
    }
}

#[test]
fn rules_whose_lengths_are_garbage_are_faults_and_no_crash() {
    let rules = |rule: &str| {
        format!(
            "#define OUTPUT 0\n#define LIST mine\n\
             static LannerStatus mine(void *state, const LannerRuleSink *sink, const LannerText *e) {{\n\
             LannerStr name = {{(const uint8_t *)\"r\", 1}}, none = {{0, 0}};\n{rule}\n\
             return LANNER_OK; }}"
        )
    };
    let (_, reason) = first_fault(
        "null",
        &rules("sink->put(sink->ctx, (const LannerRule *)64);"),
    );
    assert!(reason.contains("no valid pointer"), "{reason}");
    let (_, steps) = run(
        "tags",
        &rules(
            "LannerRule rule = {sizeof rule, name, none, none, none, &name, SIZE_MAX, 4, 1};\n\
             sink->put(sink->ctx, &rule);",
        ),
    );
    assert!(
        steps.iter().any(|(step, _)| step == "rules: close"),
        "{steps:?}"
    );
}
