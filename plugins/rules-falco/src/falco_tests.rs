//! What rule files mean in Falco, they mean here.

use lanner_plugin::Value;

use super::tests::{load_text, rule, rules, run, s, said, warnings};
use super::*;

/// Whether a condition holds for values of fields.
pub(super) fn holds(condition: &str, values: &[(&str, Value<'_>)]) -> bool {
    let mut rules = rules(&rule("r", condition));
    !run(&mut rules, "open", values).0.is_empty()
}

pub(super) fn name(text: &'static str) -> [(&'static str, Value<'static>); 1] {
    [("proc.name", s(text))]
}

/// The codes of problems of this severity.
pub(super) fn codes(text: &str, settings: Settings, severity: Severity) -> Vec<String> {
    let loaded = load_text(text, settings);
    let some = loaded.diagnostics.iter();
    let some = some.filter(|one| one.severity == severity);
    some.map(|one| one.code.clone()).collect()
}

pub(super) fn errors(text: &str) -> Vec<String> {
    codes(text, Settings::default(), Severity::Error)
}

#[test]
fn an_unknown_key_in_an_exception_takes_nothing_else_away() {
    let text = rule("r", "evt.type = open")
        + "  exceptions: [{name: e, fields: [proc.name], values: [[cat]], coment: why}]\n\
           - rule: r\n  condition: and proc.pid = 1\n  \
           exceptions: [{name: f, fields: [proc.name], values: [[dog]], remark: x}]\n  \
           override: {condition: append, exceptions: append}\n";
    let unknown = codes(&text, Settings::default(), Severity::Warning);
    assert_eq!(unknown, ["LOAD_LEFT_OUT", "LOAD_LEFT_OUT"]);
    let mut rules = rules(&text);
    let mut matched = |name, pid| {
        let values = [("proc.name", s(name)), ("proc.pid", Value::U64(pid))];
        !run(&mut rules, "open", &values).0.is_empty()
    };
    assert!(matched("cow", 1));
    assert!(!matched("cow", 2));
    assert!(!matched("cat", 1));
    assert!(!matched("dog", 1));
}

#[test]
fn append_changes_the_condition_and_the_exceptions_only() {
    let text = rule("r", "evt.type = open")
        + "- rule: r\n  append: true\n  condition: and proc.name = cat\n  enabled: false\n  \
           priority: nonsense\n  output: x\n  desc: x\n  tags: [x]\n";
    let loaded = load_text(&text, Settings::default());
    let ignored = warnings(&loaded);
    for key in ["enabled", "priority", "output", "desc", "tags"] {
        let expected = format!("`{key}` is ignored");
        assert!(ignored.iter().any(|one| one.contains(&expected)), "{key}");
    }
    let mut rules = loaded.result.unwrap();
    let info = rules.rules[0].clone();
    assert!(info.enabled && info.tags.is_empty());
    assert_eq!(run(&mut rules, "open", &name("cat")).0, [0]);
    assert!(run(&mut rules, "open", &name("dog")).0.is_empty());
    let empty = rule("r", "evt.type = open") + "- rule: r\n  append: true\n  desc: x\n";
    assert_eq!(errors(&empty), ["LOAD_ERR_VALIDATE"]);
}

#[test]
fn values_of_exceptions_are_parts_of_the_condition() {
    let with = |exception: &str| {
        let text = rule("r", "evt.type = open") + "  exceptions: [" + exception + "]\n";
        let mut rules = rules(&text);
        move |name, parent| {
            let values = [("proc.name", s(name)), ("proc.pname", s(parent))];
            run(&mut rules, "open", &values).0.is_empty()
        }
    };
    let mut taken_out = with("{name: e, fields: [proc.name], comps: [=], values: [['\"a,b\"']]}");
    assert!(taken_out("a,b", "x"));
    assert!(!taken_out("a", "x"));
    let mut taken_out = with("{name: e, fields: proc.name, values: ['a,b']}");
    assert!(taken_out("a", "x") && taken_out("b", "x"));
    assert!(!taken_out("a,b", "x"));
    let mut taken_out = with("{name: e, fields: [proc.name], values: [['val(proc.pname)']]}");
    assert!(taken_out("same", "same"));
    assert!(!taken_out("one", "other"));
    let mut taken_out = with(
        "{name: e, fields: [proc.name, proc.pname], comps: [startswith oneof, = anyof], \
         values: [[[a, ab], [x, y]]]}",
    );
    assert!(taken_out("ac", "y"));
    assert!(!taken_out("abc", "y"));
    assert!(!taken_out("ac", "z"));
}

#[test]
fn names_of_lists_are_replaced_wherever_they_stand() {
    let lists = "- list: one\n  items: [a]\n- list: two\n  items: [one, b c]\n\
                 - list: three\n  items: [two, d]\n- list: four\n  items: [three]\n\
                 - list: none\n  items: []\n- list: my list\n  items: [e]\n";
    let holds = |condition: &str, values: &[(&str, Value<'_>)]| {
        let mut rules = rules(&(lists.to_owned() + &rule("r", condition)));
        !run(&mut rules, "open", values).0.is_empty()
    };
    assert!(holds("proc.name = one", &name("a")));
    assert!(holds("proc.name in (two)", &name("b c")));
    assert!(holds("proc.name in (none, one)", &name("a")));
    assert!(holds("proc.name in (x, none)", &name("x")));
    assert!(!holds("proc.name in (none)", &name("x")));
    assert!(holds("proc.name in (my list)", &name("e")));
    assert!(!holds("proc.name in (\"one\", 'two')", &name("a")));
    assert!(
        holds("proc.name contains 'x one y'", &name("x a  y"))
            || holds("proc.name contains 'x one y'", &name("x a y"))
    );
    // Falco leaves the name of the innermost list.
    assert!(holds("proc.name in (four)", &name("a")));
    assert!(holds("proc.name in (four)", &name("d")));
    let loaded = load_text(
        &(lists.to_owned() + &rule("r", "evt.type = open and proc.name in (four)")),
        Settings::default(),
    );
    let notes = said(&loaded, Severity::Note);
    assert!(
        notes.iter().any(|note| note.contains("not deeper")),
        "{notes:?}"
    );
    let cycle = "- list: a\n  items: [b, x]\n- list: b\n  items: [a, y]\n".to_owned();
    let mut rules = rules(&(cycle + &rule("r", "proc.name in (a)")));
    assert_eq!(run(&mut rules, "open", &name("y")).0, [0]);
}

#[test]
fn words_are_values_where_falco_has_values() {
    assert!(holds("proc.name = anyof", &name("anyof")));
    assert!(holds(
        "proc.name = anyof and proc.name exists",
        &name("anyof")
    ));
    assert!(holds("proc.name = anyof (a, b)", &name("b")));
    assert!(holds("proc.name in a", &name("a")));
    assert!(holds("proc.name in(a)", &name("a")));
    assert!(holds("not(proc.name = b)", &name("a")));
    assert!(holds(
        r#"proc.name = "\xff""#,
        &[("proc.name", Value::String(b"\xff"))]
    ));
    for wrong in [
        "proc.name in a, b",
        "proc.name startswith anyof a, b",
        "proc.name contains\"x\"",
        r"proc.name = '\q'",
        r"proc.name = '\x00'",
    ] {
        assert_eq!(
            errors(&rule("r", wrong)),
            ["LOAD_ERR_COMPILE_CONDITION"],
            "{wrong}"
        );
    }
}

#[test]
fn nothing_fits_all_of_no_values() {
    for op in ["=", "!=", "contains", "startswith", "glob"] {
        assert!(
            !holds(&format!("proc.name {op} allof ()"), &name("a")),
            "{op}"
        );
    }
}

#[test]
fn a_leading_slash_does_not_matter_to_pmatch() {
    let path = |text: &'static str| [("fd.name", s(text))];
    assert!(holds("fd.name pmatch (etc)", &path("/etc/x")));
    assert!(holds("fd.name pmatch (/etc)", &path("etc")));
    assert!(!holds("fd.name pmatch (/etc)", &path("/x/etc")));
}

#[test]
fn regular_expressions_are_those_of_posix() {
    assert!(holds("proc.name regex 'a+?'", &name("")));
    assert!(holds("proc.name regex 'a{x'", &name("a{x")));
    let text = rule("r", "evt.type = open and proc.name regex '\\\\d+'");
    assert_eq!(errors(&text), Vec::<String>::new());
    let strict = Settings {
        strict_falco: true,
        ..Settings::default()
    };
    let refused = codes(&text, strict, Severity::Error);
    assert_eq!(refused, ["LOAD_ERR_COMPILE_CONDITION"]);
}

#[test]
fn what_falco_refuses_is_a_note_and_an_error_if_asked_for() {
    let strict = Settings {
        strict_falco: true,
        ..Settings::default()
    };
    for condition in [
        "evt.type = open and proc.name < b",
        "evt.type = open and fd.sport = 0x50",
        "evt.type = open and proc.pid = 1.5",
        "evt.type = open and fd.sip = 10.0.0.0/8",
        "evt.type = open and val(proc.name) = x",
        "evt.type = open and fd.name iendswith .php",
    ] {
        let text = rule("r", condition);
        assert_eq!(errors(&text), Vec::<String>::new(), "{condition}");
        let refused = codes(&text, strict, Severity::Error);
        assert_eq!(refused, ["LOAD_ERR_COMPILE_CONDITION"], "{condition}");
    }
    let output = rule("r", "evt.type = open").replace("output: o %proc.name", "output: 100% x");
    assert_eq!(errors(&output), Vec::<String>::new());
    assert_eq!(
        codes(&output, strict, Severity::Error),
        ["LOAD_ERR_COMPILE_OUTPUT"]
    );
}

#[test]
fn a_rule_that_never_matches_is_not_slow() {
    for condition in [
        "evt.num = 0",
        "evt.num < 1 and proc.name = x",
        "not evt.num > 0",
    ] {
        let slow = |text: &str| warnings(&load_text(text, Settings::default())).len();
        let text = rule("r", condition).replace("  warn_evttypes: false\n", "");
        assert_eq!(slow(&text), 0, "{condition}");
        assert_eq!(
            slow(&text.replace("evt.num", "evt.rawres")),
            1,
            "{condition}"
        );
    }
}

#[test]
fn values_that_look_like_fields_are_warned_about() {
    for condition in [
        "evt.type = open and proc.name = proc.pname",
        "evt.type = open and proc.name in ('proc.aname[2]')",
        "evt.type = open and proc.name = 'tolower(proc.pname)'",
        "evt.type = open and proc.name regex '^cat.*'",
    ] {
        let found = codes(
            &rule("r", condition),
            Settings::default(),
            Severity::Warning,
        );
        assert_eq!(found, ["LOAD_COMPILE_CONDITION"], "{condition}");
    }
    let fine = rule(
        "r",
        "evt.type = open and proc.name in (a.b, 'x (y)') and proc.name regex 'a|b'",
    );
    assert!(warnings(&load_text(&fine, Settings::default())).is_empty());
}

#[test]
fn the_longest_name_of_a_field_counts_in_an_output() {
    let output = |text: &str| rule("r", "evt.type = open").replace("output: o %proc.name", text);
    for good in [
        "output: '%proc.nameand %10proc.name %proc.name[0] %proc.name.'",
        "output: '%proc.aname[ %proc.aname[] %tolower(proc.name)x'",
        "output: '%join(\",\", (proc.name, 5))'",
    ] {
        assert_eq!(errors(&output(good)), Vec::<String>::new(), "{good}");
    }
    for wrong in [
        "output: '%proc'",
        "output: '%foo(proc.name)'",
        "output: '%proc.nmae'",
    ] {
        assert_eq!(
            errors(&output(wrong)),
            ["LOAD_ERR_COMPILE_OUTPUT"],
            "{wrong}"
        );
    }
}

#[test]
fn codes_are_those_of_falco() {
    let good = rule("r", "evt.type = open");
    for (text, code) in [
        ("- list: l\n".to_owned(), "LOAD_ERR_YAML_VALIDATE"),
        ("- list: l\n  items:\n".to_owned(), "LOAD_ERR_YAML_VALIDATE"),
        (good.clone() + "  tags:\n", "LOAD_ERR_YAML_VALIDATE"),
        (good.clone() + "  enabled: tRue\n", "LOAD_ERR_YAML_VALIDATE"),
        (
            good.clone() + "- rule: x\n  enabled: no\n",
            "LOAD_ERR_VALIDATE",
        ),
        (
            good.clone() + "  exceptions: [{name: e, fields: proc.nope}]\n",
            "LOAD_ERR_VALIDATE",
        ),
        (rule("r", "nope"), "LOAD_ERR_VALIDATE"),
        (rule("r", "proc.nope = x"), "LOAD_ERR_COMPILE_CONDITION"),
        (
            "- macro: m\n  condition: m\n".to_owned(),
            "LOAD_ERR_VALIDATE",
        ),
        (
            "- macro: m\n  condition: (\n".to_owned(),
            "LOAD_ERR_COMPILE_CONDITION",
        ),
        (
            "- required_engine_version: 0.99.0\n".to_owned(),
            "LOAD_ERR_VALIDATE",
        ),
        (
            "- required_engine_version: 0.31\n".to_owned(),
            "LOAD_ERR_YAML_VALIDATE",
        ),
    ] {
        assert_eq!(errors(&text), [code], "{text}");
    }
    // A macro that nothing uses is not checked for values.
    let unused = good + "- macro: m\n  condition: proc.pid = x and proc.nope = 1\n";
    assert_eq!(errors(&unused), Vec::<String>::new());
}

#[test]
fn the_first_of_two_equal_keys_counts() {
    let text = rule("r", "evt.type = open") + "  condition: evt.type = close\n";
    let loaded = load_text(&text, Settings::default());
    let warned = warnings(&loaded);
    assert!(
        warned[0].contains("the key `condition` is given twice"),
        "{warned:?}"
    );
    let mut rules = loaded.result.unwrap();
    assert_eq!(run(&mut rules, "open", &[]).0, [0]);
    assert!(run(&mut rules, "close", &[]).0.is_empty());
}

#[test]
fn numbers_that_do_not_fit_wrap_around_with_a_note() {
    let of = |field: &'static str, value| [(field, Value::U64(value))];
    assert!(holds("fd.sport = 65616", &of("fd.sport", 80)));
    assert!(holds("proc.pid = -1", &of("proc.pid", u64::MAX)));
    assert!(holds("proc.pid = +7", &of("proc.pid", 7)));
    let text = rule("r", "evt.type = open and fd.sport = 65616");
    let notes = codes(&text, Settings::default(), Severity::Note);
    assert_eq!(notes, ["LOAD_WRAPPED_NUMBER"]);
}

/// In yaml-cpp, a tag makes a text of what would be null otherwise; an empty text is one, too.
#[test]
fn a_value_with_a_tag_is_a_text() {
    let with = |tail: &str| rule("r", "evt.type = open") + tail;
    for (tail, expected) in [
        ("  tags: [null]\n", Some("LOAD_ERR_YAML_VALIDATE")),
        ("  tags: [!!str null, !, !foo ~]\n", None),
        ("  tags: [!!str ]\n", None),
        ("  source: !!str\n", Some("LOAD_ERR_YAML_VALIDATE")),
        (
            "  exceptions: [{name: e, fields: proc.name, values: [!]}]\n",
            Some("LOAD_ERR_YAML_VALIDATE"),
        ),
        (
            "  exceptions: [{name: e, fields: proc.name, values: [null]}]\n",
            None,
        ),
        (
            "  exceptions: [{name: e, fields: proc.name, values: [!!null x]}]\n",
            None,
        ),
    ] {
        assert_eq!(
            errors(&with(tail)).first().map(String::as_str),
            expected,
            "{tail}"
        );
    }
}

#[test]
fn an_override_that_is_no_map_says_so_as_in_falco() {
    for (how, expected) in [
        ("[output]", "LOAD_ERR_VALIDATE"),
        // nothing is overridden, so the item has to be whole
        ("[]", "LOAD_ERR_YAML_VALIDATE"),
        ("replace", "LOAD_ERR_YAML_VALIDATE"),
        ("{output: [replace]}", "LOAD_ERR_VALIDATE"),
        ("{output: {}}", "LOAD_ERR_VALIDATE"),
        ("{output: null}", "LOAD_ERR_YAML_VALIDATE"),
        (
            "{output: append, output: replace}",
            "LOAD_ERR_YAML_VALIDATE",
        ),
    ] {
        let text =
            rule("r", "evt.type = open") + &format!("- rule: r\n  output: y\n  override: {how}\n");
        assert_eq!(errors(&text), [expected], "{how}");
    }
}
