//! Tests of the language beyond plain comparisons.

use super::tests::{error, holds, load_text, rule, rules, run, s, said, warnings};
use super::*;
use lanner_plugin::{EventTypes, List, RawValue, Value};

#[test]
fn transformers_are_worked_out_on_either_side() {
    let types = ["ipv4", "file"].map(|name| RawValue::from(s(name)));
    let values = [
        ("proc.name", s("Cat")),
        ("proc.pname", s("cat")),
        ("fd.name", s("/usr/bin/Cat")),
        ("proc.pid", Value::U64(7)),
        ("proc.ppid", Value::U64(7)),
        ("evt.rawres", Value::I64(-1)),
        ("fd.types", Value::List(List::new(&types))),
        ("evt.arg[flags]", s("aGVsbG8")),
    ];
    for (condition, expected) in [
        ("tolower(proc.name) = cat", true),
        ("toupper(proc.name) in (CAT, DOG)", true),
        ("basename(fd.name) = Cat", true),
        ("tolower(basename(fd.name)) = cat", true),
        ("len(proc.name) = 3", true),
        ("len(fd.types) > 2", false),
        ("b64(evt.arg[flags]) = hello", true),
        ("join(fd.types, \"+\") = ipv4+file", true),
        ("concat(proc.name, \":\", proc.pid) = Cat:7", true),
        ("proc.name = val(proc.pname)", false),
        ("proc.name != val(proc.pname)", true),
        ("tolower(proc.name) = val(proc.pname)", true),
        ("proc.pname = tolower(proc.name)", true),
        ("fd.name endswith val(proc.name)", true),
        ("proc.pid = val(proc.ppid)", true),
        ("evt.rawres < val(proc.pid)", true),
        ("proc.pid in (val(proc.ppid))", false),
        ("fd.types intersects val(proc.pname)", false),
        ("getopt(fd.name, \"x\") exists", true),
        ("tolower(proc.name) exists", true),
    ] {
        if condition.contains("in (val(") {
            assert!(
                error(&rule("r", condition)).contains("expected"),
                "{condition}"
            );
            continue;
        }
        assert_eq!(holds(condition, &values), expected, "{condition}");
    }
    for condition in [
        "tolower(proc.name) != x",
        "proc.name = val(proc.pname)",
        "len(proc.name) < 9",
    ] {
        assert!(!holds(condition, &[]), "{condition}");
        assert!(holds(&format!("not {condition}"), &[]), "{condition}");
    }
}

#[test]
fn regular_expressions_fit_the_whole_text() {
    let values = [
        ("proc.name", s("nginx-1.2")),
        ("fd.name", Value::String(b"/a\xff/b")),
    ];
    for (condition, expected) in [
        (r#"proc.name regex "nginx-[0-9.]+""#, true),
        ("proc.name regex nginx", false),
        (r#"proc.name regex "a|nginx.*""#, true),
        (r#"proc.name regex "(?i)NGINX.*""#, true),
        (r#"fd.name regex "/a./b""#, true),
        (r#"proc.name regex anyof ("x", ".*-1.2")"#, true),
    ] {
        assert_eq!(holds(condition, &values), expected, "{condition}");
    }
}

#[test]
fn a_list_of_one_element_may_stand_for_it() {
    let list = |items: &str| format!("- list: one\n  items: [{items}]\n");
    let text = list("cat") + &rule("r", "evt.type = open and proc.name = one");
    let mut found = rules(&text);
    assert_eq!(run(&mut found, "open", &[("proc.name", s("cat"))]).0, [0]);
    let error = error(&(list("cat, dog") + &rule("r", "evt.type = open and proc.name = one")));
    assert!(
        error.contains("a list with several elements is used where one value is needed"),
        "{error}"
    );
    assert!(error.contains("write `in (...)`"), "{error}");
}

#[test]
fn what_does_not_fit_together_is_refused_with_the_reason() {
    for (condition, expected) in [
        ("tolower(proc.pid) = x", "`tolower` needs a text"),
        ("tolower(proc.aname) = x", "stands for several values"),
        ("tolower(proc.name)[x] = x", "takes no `[...]`"),
        (
            "len(proc.pid) = 1",
            "`len` needs a text, a buffer or a list",
        ),
        (
            "len(proc.name) contains x",
            "which `contains` cannot compare",
        ),
        (
            "proc.name = val(proc.pid)",
            "this is a number, and `proc.name` is a text",
        ),
        ("proc.name = val(proc.aname)", "stands for several values"),
        (
            "proc.name = val(proc.nmae)",
            "there is no field `proc.nmae`",
        ),
        ("proc.name = val(fd.types)", "this is a list"),
        (
            "proc.name regex val(proc.pname)",
            "`regex` needs a constant",
        ),
        ("concat(fd.types) = x", "`concat` needs fields and texts"),
        ("val(proc.name, proc.pname) = x", "`val` takes one argument"),
    ] {
        let error = error(&rule("r", condition));
        assert!(error.contains(expected), "{condition}: {error}");
        assert!(error.starts_with("r.yaml:3:"), "{error}");
    }
}

#[test]
fn outputs_may_have_transformers() {
    let with = |output: &str| rule("r", "evt.type = open").replace("%proc.name", output);
    assert!(
        load_text(&with("%tolower(proc.name) 100%(x)"), Settings::default())
            .result
            .is_ok()
    );
    assert!(error(&with("%tolwer(proc.name)")).contains("did you mean `tolower`"));
    assert!(error(&with("%tolower(proc.nmae)")).contains("no field `proc.nmae`"));
    assert!(error(&with("%len(proc.pid)")).contains("`len` needs"));
    assert!(error(&with("%tolower(proc.name")).contains("has no `)`"));
}

#[test]
fn deprecated_forms_are_warned_about() {
    let text = rule("r", "evt.type = open")
        + "- rule: r\n  enabled: false\n- list: l\n  items: [a]\n- list: l\n  items: [b]\n  append: true\n";
    let loaded = load_text(&text, Settings::default());
    let codes: Vec<&str> = loaded
        .diagnostics
        .iter()
        .filter(|one| one.severity == Severity::Warning)
        .map(|one| one.code.as_str())
        .collect();
    assert_eq!(codes, [code::DEPRECATED, code::DEPRECATED]);
}

#[test]
fn exceptions_that_say_nothing_or_the_same_are_warned_about() {
    let text = rule("r", "evt.type = open")
        + "  exceptions:\n    - {name: a, fields: proc.name}\n    - {name: a, fields: fd.name}\n"
        + "- rule: r\n  exceptions: [{name: a}]\n  override: {exceptions: append}\n";
    let warnings = warnings(&load_text(&text, Settings::default()));
    assert!(
        warnings
            .iter()
            .any(|w| w.contains("two exceptions are called `a`")),
        "{warnings:?}"
    );
    assert!(
        warnings.iter().any(|w| w.contains("appends no values")),
        "{warnings:?}"
    );
}

#[test]
fn a_check_of_the_direction_is_deprecated_and_holds() {
    let text = rule("r", "evt.type = open and evt.dir = <");
    let loaded = load_text(&text, Settings::default());
    assert!(loaded.result.is_ok());
    let warnings = said(&loaded, Severity::Warning);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].contains("`evt.dir` is deprecated"),
        "{warnings:?}"
    );
}

#[test]
fn notes_tell_what_is_unused_late_or_compared_with_na() {
    let text = "- macro: idle\n  condition: proc.name = x\n- list: idle_list\n  items: [a]\n"
        .to_owned()
        + "- macro: early\n  condition: late\n"
        + &rule("r", "evt.type = open and early and proc.name != \"<NA>\"")
        + "- macro: late\n  condition: proc.pid = 1\n";
    let loaded = load_text(&text, Settings::default());
    assert!(loaded.result.is_ok());
    let notes = said(&loaded, Severity::Note);
    for expected in [
        "macro `idle` is not used",
        "list `idle_list` is not used",
        "`late` is defined only later",
        "`proc.name exists` tests whether",
    ] {
        assert!(
            notes.iter().any(|note| note.contains(expected)),
            "{expected}: {notes:?}"
        );
    }
    assert_eq!(notes.len(), 4, "{notes:?}");
}

#[test]
fn rules_of_other_sources_are_left_out_unseen() {
    let text = rule("r", "ka.verb = create and some_macro") + "  source: k8s_audit\n";
    let loaded = load_text(&text, Settings::default());
    assert_eq!(loaded.diagnostics.len(), 1, "{:?}", loaded.diagnostics);
    assert_eq!(loaded.diagnostics[0].code, code::SOURCE);
    assert!(!loaded.result.unwrap().rules[0].enabled);
}

#[test]
fn versions_and_plugins_are_looked_at() {
    let text = "- required_engine_version: 0.57.0\n- required_engine_version: 13\n".to_owned()
        + "- required_plugin_versions:\n    - {name: container, version: 0.4.0}\n    - {name: json, \
           version: 0.7.0, alternatives: [{name: jsonx, version: 1.0.0}]}\n";
    let loaded = load_text(&text, Settings::default());
    let warnings = warnings(&loaded);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].contains("does not have Falco's plugin `json`"),
        "{warnings:?}"
    );
}

#[test]
fn everything_that_the_host_lacks_is_told() {
    let text = "- macro: m\n  condition: a.b = 1 and evt.type in (open, nosuch)\n".to_owned()
        + &rule("r", "m and c.d exists").replace("%proc.name", "%e.f");
    let loaded = load_text(&text, Settings::default());
    let missing: Vec<&str> = loaded
        .diagnostics
        .iter()
        .map(|one| one.missing.as_str())
        .collect();
    assert_eq!(missing, ["a.b", "nosuch", "c.d", "e.f"]);
    assert!(loaded.diagnostics.iter().all(|one| one.item == "r"));
}

#[test]
fn a_rule_is_explained() {
    let text = "- list: shells\n  items: [sh, \"a b\"]\n- macro: opened\n  condition: evt.type in (open, openat)\n"
        .to_owned()
        + &rule("r", "opened and (proc.name in (shells) or not tolower(fd.name) startswith /x)")
        + "  exceptions: [{name: e, fields: proc.pname, values: [vi]}]\n";
    let rules = rules(&text);
    let explanation = lanner_plugin::RulePlugin::explain(&rules, 0).unwrap();
    assert_eq!(
        explanation.condition,
        "evt.type in (open, openat) and (proc.name in (sh, \"a b\") or not tolower(fd.name) \
         startswith /x) and not proc.pname in (vi)"
    );
    let types = ["open", "openat"].map(str::to_owned).to_vec();
    assert_eq!(explanation.event_types, EventTypes::Only(types));
    assert_eq!(
        explanation.fields,
        ["evt.type", "fd.name", "proc.name", "proc.pname"]
    );
    assert_eq!(explanation.parts, ["opened", "shells"]);
    assert!(lanner_plugin::RulePlugin::explain(&rules, 1).is_none());
}
