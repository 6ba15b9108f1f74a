//! Tests of exceptions of rules.

use super::tests::{error, rule, rules, run, s};

#[test]
fn comparators_of_exceptions_take_quantifiers() {
    let text = rule("r", "evt.type = open")
        + "  exceptions:\n    - name: rows\n      fields: [proc.name, fd.name]\n      comps: [=, \
           startswith anyof]\n      values: [[cat, [/etc, dirs]]]\n    - name: one\n      fields: \
           proc.pname\n      comps: contains allof\n      values: [a, b]\n- list: dirs\n  items: \
           [/tmp]\n";
    let mut rules = rules(&text);
    for (name, file, parent, expected) in [
        ("cat", "/etc/x", "x", false),
        ("cat", "/tmp/x", "x", false),
        ("cat", "/usr", "x", true),
        ("ls", "/etc/x", "x", true),
        ("ls", "/usr", "xbxa", false),
        ("ls", "/usr", "xa", true),
    ] {
        let values = [
            ("proc.name", s(name)),
            ("fd.name", s(file)),
            ("proc.pname", s(parent)),
        ];
        let matched = !run(&mut rules, "open", &values).0.is_empty();
        assert_eq!(matched, expected, "{name} {file} {parent}");
    }
    for (comparator, expected) in [
        (
            "startswith someof",
            "write `startswith anyof`, or `startswith` in a list",
        ),
        ("in anyof", "write `in`"),
        ("= anyof x", "write `= anyof`, or `=` in a list"),
        ("strartswith", "did you mean `startswith`?"),
        ("exists", "is not an operator for exceptions"),
        ("startswith", "is not an operator for exceptions"),
    ] {
        let text = rule("r", "evt.type = open")
            + &format!(
                "  exceptions: [{{name: e, fields: proc.name, comps: {comparator}, values: [x]}}]\n"
            );
        assert!(error(&text).contains(expected), "{}", error(&text));
    }
}

#[test]
fn exceptions_take_rows_out() {
    let text = rule("r", "evt.type = open or evt.type = close")
        + "  exceptions:\n    - name: rows\n      fields: [proc.name, fd.name]\n      comps: [=, \
           startswith]\n      values:\n        - [cat, /etc]\n    - name: names\n      fields: \
           proc.name\n      values: [tools]\n- list: tools\n  items: [vi, ed]\n- rule: r\n  \
           exceptions:\n    - name: rows\n      values: [[ls, /tmp]]\n  append: true\n";
    let mut rules = rules(&text);
    for (name, file, expected) in [
        ("cat", "/etc/x", false),
        ("cat", "/usr", true),
        ("ls", "/tmp/x", false),
        ("ed", "/usr", false),
        ("tools", "/usr", true),
    ] {
        let values = [("proc.name", s(name)), ("fd.name", s(file))];
        let matched = !run(&mut rules, "open", &values).0.is_empty();
        assert_eq!(matched, expected, "{name} {file}");
    }
}
