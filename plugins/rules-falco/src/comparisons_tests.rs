//! What the plugin reports about comparisons of fields with constants.

use lanner_plugin::{FieldComparison, Relation};

use super::tests::{rule, rules};

/// The comparisons of rule files: `field relation constants`, with the transformers around the field.
fn reported(text: &str) -> Vec<String> {
    let show = |comparison: &FieldComparison| {
        let mut field = comparison.field.clone();
        for transformer in comparison.transformers.iter().rev() {
            field = format!("{transformer}({field})");
        }
        let constants = comparison.constants.join(" ");
        format!("{field} {:?} {constants}", comparison.relation)
    };
    rules(text).comparisons.iter().map(show).collect()
}

fn of_condition(condition: &str) -> Vec<String> {
    reported(&rule("r", condition))
}

#[test]
fn every_operator_reports_its_relation() {
    for (condition, expected) in [
        ("fd.sip.name = a.example", "fd.sip.name Equal a.example"),
        ("fd.sip.name == a.example", "fd.sip.name Equal a.example"),
        ("fd.sip.name != a.example", "fd.sip.name Equal a.example"),
        ("not fd.sip.name = a.example", "fd.sip.name Equal a.example"),
        ("fd.sip.name in (b, \"a\")", "fd.sip.name Equal a b"),
        ("fd.sip.name intersects (a, b)", "fd.sip.name Equal a b"),
        ("fd.sip.name = anyof (a, b)", "fd.sip.name Equal a b"),
        ("fd.sip.name = oneof (a, b)", "fd.sip.name Equal a b"),
        ("fd.sip.name != allof (a, b)", "fd.sip.name Equal a b"),
        (
            "fd.sip.name contains example",
            "fd.sip.name Contains example",
        ),
        (
            "fd.sip.name icontains example",
            "fd.sip.name Contains example",
        ),
        ("fd.sip.name startswith a", "fd.sip.name Prefix a"),
        ("fd.sip.name istartswith a", "fd.sip.name Prefix a"),
        ("fd.sip.name iendswith a", "fd.sip.name Suffix a"),
        (
            "fd.sip.name endswith oneof (a, b)",
            "fd.sip.name Suffix a b",
        ),
        (
            "fd.sip.name glob *.example",
            "fd.sip.name Pattern *.example",
        ),
        (
            "fd.sip.name iglob *.example",
            "fd.sip.name Pattern *.example",
        ),
        ("fd.sip.name regex a.*", "fd.sip.name Pattern a.*"),
        ("fd.sip.name pmatch (a, b)", "fd.sip.name Pattern a b"),
        ("fd.sip.name > a", "fd.sip.name Order a"),
        ("fd.sport in (443, 80)", "fd.sport Equal 443 80"),
        ("fd.sport >= 1024", "fd.sport Order 1024"),
        ("fd.ip != 10.0.0.0/8", "fd.ip Equal 10.0.0.0/8"),
        ("evt.buffer bcontains 666f6f", "evt.buffer Contains foo"),
        ("proc.aname[2] = cat", "proc.aname[2] Equal cat"),
        ("proc.aname in (cat, dog)", "proc.aname Equal cat dog"),
    ] {
        assert_eq!(of_condition(condition), [expected], "{condition}");
    }
    for condition in [
        "fd.sip.name exists",
        "fd.sip.name = val(fd.cip.name)",
        "fd.sip.name in ()",
        "evt.type = connect",
    ] {
        assert!(of_condition(condition).is_empty(), "{condition}");
    }
}

#[test]
fn transformers_are_reported_outermost_first() {
    for (condition, expected) in [
        (
            "tolower(fd.sip.name) = a.example",
            "tolower(fd.sip.name) Equal a.example",
        ),
        (
            "toupper(tolower(fd.sip.name)) in (A, B)",
            "toupper(tolower(fd.sip.name)) Equal A B",
        ),
        ("val(fd.sip.name) = a", "fd.sip.name Equal a"),
        ("len(fd.sip.name) = 9", "len(fd.sip.name) Equal 9"),
        (
            "concat(fd.sip.name, \":x\") = a:x",
            "concat(fd.sip.name) Equal a:x",
        ),
    ] {
        assert_eq!(of_condition(condition), [expected], "{condition}");
    }
}

#[test]
fn constants_may_come_from_transformers_on_either_side() {
    for (condition, expected) in [
        (
            "fd.sip.name = tolower(\"A.Example\")",
            "fd.sip.name Equal a.example",
        ),
        (
            "fd.sip.name != concat(\"a\", \".example\")",
            "fd.sip.name Equal a.example",
        ),
        (
            "concat(\"a\", \".example\") = val(fd.sip.name)",
            "fd.sip.name Equal a.example",
        ),
        (
            "concat(\"a\", \".example\") endswith val(fd.sip.name)",
            "fd.sip.name Other a.example",
        ),
    ] {
        assert_eq!(of_condition(condition), [expected], "{condition}");
    }
}

#[test]
fn a_text_that_looks_like_a_comparison_is_none() {
    assert_eq!(
        of_condition("proc.cmdline contains \"fd.sip.name = evil.example\""),
        ["proc.cmdline Contains fd.sip.name = evil.example"]
    );
}

#[test]
fn macros_lists_and_exceptions_count() {
    let text = r#"
- list: inner
  items: [c.example, "d.example"]
- list: names
  items: [b.example, inner]
- macro: known
  condition: (fd.sip.name in (names) or tolower(fd.cip.name) = e.example)
- rule: r
  desc: d
  output: o
  priority: INFO
  condition: evt.type = connect and not known
  exceptions:
    - name: one
      fields: fd.sip.name
      values: [f.example, inner]
    - name: several
      fields: [fd.cip.name, proc.name]
      comps: [=, startswith]
      values: [[g.example, cat]]
"#;
    assert_eq!(
        reported(text),
        [
            "fd.cip.name Equal g.example",
            "tolower(fd.cip.name) Equal e.example",
            "fd.sip.name Equal b.example c.example d.example f.example",
            "proc.name Prefix cat",
        ]
    );
}

#[test]
fn rules_that_never_match_and_unused_macros_do_not_count() {
    let disabled = rule("r", "fd.sip.name = a.example") + "  enabled: false\n";
    assert!(reported(&disabled).is_empty());
    let unused = "- macro: m\n  condition: fd.sip.name = a.example\n";
    assert!(reported(unused).is_empty());
    let never = "evt.type = connect and evt.dir = > and fd.sip.name = a.example";
    assert!(of_condition(never).is_empty());
}

#[test]
fn long_conditions_are_reported_to_their_end() {
    let words: Vec<_> = (0..20_000).map(|at| format!("host{at}.example")).collect();
    let condition = format!("fd.sip.name in ({})", words.join(", "));
    assert!(condition.len() > 1 << 16);
    let loaded = rules(&rule("r", &condition));
    let [comparison] = &*loaded.comparisons else {
        panic!("{:?}", loaded.comparisons.len());
    };
    assert_eq!(comparison.relation, Relation::Equal);
    assert_eq!(comparison.constants.len(), words.len());
}
