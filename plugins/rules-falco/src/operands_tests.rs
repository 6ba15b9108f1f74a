//! What lanner takes in operands and Falco refuses, and what Falco takes and others would refuse.

use lanner_plugin::{Severity, Value};

use super::falco_tests::{codes, errors, holds, name};
use super::tests::{load_text, rule, rules, run, s, said};
use super::*;
use crate::RuleMatching;

const STRICT: Settings = Settings {
    rule_matching: RuleMatching::First,
    unknown_fields: UnknownFields::Error,
    strict_falco: true,
};

#[test]
fn operands_that_falco_refuses_are_notes_and_errors_if_asked_for() {
    for condition in [
        "proc.name = val(tolower(proc.pname))",
        "proc.name = val(proc.aname[2])",
        "proc.aname[2] = val(proc.name)",
        "proc.name = tolower(proc.aname[2])",
        "tolower(fd.cip.name) = a",
        "proc.name = val(fd.sip.name)",
        "fd.port = val(fd.sport)",
        "fd.snet = val(fd.sip)",
        "evt.rawarg[x] = 1",
        "evt.type.is[openat] = 1",
        "fd.name pmatch val(proc.exepath)",
        "fd.name pmatch tolower(proc.pname)",
        "concat(proc.name) = a",
        "concat(proc.name, proc.pid) = a7",
        "join((proc.name, proc.pname), ',') = a",
        "getopt(proc.cmdline, 'a')[a] exists",
        "getopt(('-a', 'b'), 'a:')[ab] = b",
        "proc.pid = val(fd.sport)",
        "proc.pid = val(evt.rawtime)",
        "kernel.path exists",
    ] {
        let text = rule("r", &format!("evt.type = open and {condition}"));
        assert_eq!(errors(&text), Vec::<String>::new(), "{condition}");
        let refused = codes(&text, STRICT, Severity::Error);
        assert!(!refused.is_empty(), "{condition}");
        assert!(
            refused
                .iter()
                .all(|code| code == "LOAD_ERR_COMPILE_CONDITION"),
            "{condition} {refused:?}"
        );
    }
    for condition in [
        "proc.name = val(proc.pname)",
        "tolower(proc.name) = tolower(proc.pname)",
        "len(proc.name) > len(proc.pname)",
        "proc.pid > val(proc.ppid)",
        "fd.name = val(proc.exepath)",
        "concat(proc.name, 'x') = join(',', (proc.name, proc.pname))",
        "getopt(('-a', 'b'), 'a:')[a] = b",
        "getopt((proc.name, proc.pname), 'a') in (a)",
        "evt.rawarg.x = 1",
        "evt.around[5] = 1",
    ] {
        let text = rule("r", &format!("evt.type = open and {condition}"));
        let refused = codes(&text, STRICT, Severity::Error);
        assert_eq!(refused, Vec::<String>::new(), "{condition}");
    }
}

#[test]
fn outputs_and_keys_that_falco_refuses_are_notes() {
    let good = rule("r", "evt.type = open");
    for (text, code) in [
        (
            good.replace("o %proc.name", "'  '"),
            "LOAD_ERR_COMPILE_OUTPUT",
        ),
        (
            good.clone() + "  exceptions: [{name: x, fields: [], values: []}]\n",
            "LOAD_ERR_VALIDATE",
        ),
    ] {
        assert_eq!(errors(&text), Vec::<String>::new(), "{text}");
        assert_eq!(codes(&text, STRICT, Severity::Error), [code], "{text}");
    }
}

#[test]
fn falco_leaves_out_rules_for_unknown_fields_but_not_for_unknown_parameters() {
    let with = |condition: &str| rule("r", condition) + "  skip-if-unknown-filter: true\n";
    let refused = |condition: &str| codes(&with(condition), STRICT, Severity::Error);
    let nothing: [&str; 0] = [];
    assert_eq!(refused("evt.type = open and proc.nope = a"), nothing);
    assert_eq!(refused("evt.type = open and kernel.path = a"), nothing);
    // behind the field, Falco sees nothing
    assert_eq!(
        refused("evt.type = open and kernel.path endswith concat('/', proc.pid)"),
        nothing
    );
    assert_eq!(
        refused("evt.type = open and concat('/', proc.pid) = a and kernel.path = a").len(),
        2
    );
    assert_eq!(refused("evt.type = open and evt.arg.nope = a").len(), 1);
    assert_eq!(
        errors(&with("evt.type = open and evt.arg.nope = a")),
        nothing
    );
}

#[test]
fn falco_leaves_out_rules_for_outputs_without_fields() {
    let nothing: [&str; 0] = [];
    for output in ["%open it", "100%% sure", "a %nope.name"] {
        let text = rule("r", "evt.type = open")
            .replace("output: o %proc.name", &format!("output: '{output}'"));
        assert!(text.contains(output), "{text}");
        let text = text + "  skip-if-unknown-filter: true\n";
        assert_eq!(codes(&text, STRICT, Severity::Error), nothing, "{output}");
    }
}

#[test]
fn a_parameter_that_no_event_has_is_a_note() {
    let text = rule("r", "evt.type = open and evt.arg.queuepct = 5");
    let loaded = load_text(&text, STRICT);
    let notes = said(&loaded, Severity::Note);
    assert!(
        notes
            .iter()
            .any(|note| note.contains("no event has `evt.arg[queuepct]`")),
        "{notes:?}"
    );
    assert!(loaded.result.is_ok());
}

#[test]
fn numbers_may_follow_blanks_and_ports_may_have_names() {
    assert!(holds("proc.pid = ' 5'", &[("proc.pid", Value::U64(5))]));
    assert!(holds(
        "proc.pid in ('\\t5')",
        &[("proc.pid", Value::U64(5))]
    ));
    assert!(holds(
        "proc.pid = ' -1'",
        &[("proc.pid", Value::U64(u64::MAX))]
    ));
    let strict = |condition: &str| codes(&rule("r", condition), STRICT, Severity::Error);
    assert!(strict("evt.type = open and proc.pid = ' 5'").is_empty());
    assert!(strict("evt.type = open and fd.snet = '10.0.0.0/ 8'").is_empty());
    assert!(!errors(&rule("r", "fd.proto = nonsense")).is_empty());
    assert!(strict("evt.type = open and fd.proto = 443").is_empty());
    // Without /etc/services, no name is known.
    if crate::narrow::services::port("https").is_some() {
        assert!(holds("fd.proto = https", &[("fd.proto", Value::U64(443))]));
    }
}

#[test]
fn an_event_is_around_a_time() {
    let at = |time: u64| [("evt.rawtime", Value::U64(time))];
    let around = "evt.around[5000000] = 2";
    for (time, expected) in [
        (3_000_000, true),
        (2_999_999, false),
        (7_000_000, true),
        (7_000_001, false),
    ] {
        assert_eq!(holds(around, &at(time)), expected, "{time}");
        assert_eq!(
            holds(&format!("not {around}"), &at(time)),
            !expected,
            "{time}"
        );
    }
    for wrong in [
        "evt.around[5] > 1",
        "evt.around = 1",
        "evt.around[x] = 1",
        "evt.around[5] = x",
        "evt.around[5] in (1)",
    ] {
        let text = rule("r", wrong);
        assert_eq!(errors(&text), ["LOAD_ERR_COMPILE_CONDITION"], "{wrong}");
    }
}

#[test]
fn options_that_are_not_there_are_an_empty_list() {
    for condition in [
        "getopt((proc.name), 'a') in (a)",
        "getopt((proc.name), 'a') exists",
        "not getopt((proc.name), 'a') intersects (a)",
        "len(getopt((proc.name), 'a')) = 0",
        "not getopt((proc.name), 'a')[a] exists",
    ] {
        assert!(holds(condition, &name("x")), "{condition}");
        // Without the field there is nothing.
        let positive = condition.trim_start_matches("not ");
        assert!(!holds(positive, &[]), "{positive}");
    }
}

#[test]
fn codes_of_values_and_of_exceptions_are_those_of_falco() {
    let hex = rule("r", "evt.type = open and evt.buffer bcontains zz");
    assert_eq!(errors(&hex), ["LOAD_ERR_COMPILE_CONDITION"]);
    let exception = "  exceptions: [{name: e, fields: proc.nope, values: [a]}]\n";
    let unknown = rule("r", "evt.type = open") + exception;
    assert_eq!(errors(&unknown), ["LOAD_ERR_VALIDATE"]);
}

#[test]
fn globs_have_classes() {
    for pattern in ["'[[:alpha:]]rue'", "'tru[[=e=]]'", "'[[.t.]]rue'"] {
        assert!(
            holds(&format!("proc.name glob {pattern}"), &name("true")),
            "{pattern}"
        );
    }
    let mut rules = rules(&rule("r", "proc.name glob '[[:digit:]]rue'"));
    assert!(
        run(&mut rules, "open", &[("proc.name", s("true"))])
            .0
            .is_empty()
    );
}
