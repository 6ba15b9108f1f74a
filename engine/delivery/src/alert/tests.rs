use super::*;
use fields::{FieldRegistry, Scratch};
use inspect::testing::{Ev, deliver, isolated};

fn alert(format: &AlertFormat, output: &str) -> Alert {
    let registry = FieldRegistry::new("host");
    let rule = AlertRule {
        name: "Read \"it\"".to_owned(),
        priority: Priority::Warning,
        source: "syscall".to_owned(),
        tags: vec!["T1555".to_owned(), "fs".to_owned()],
        template: Template::compile(output, &registry).unwrap(),
        extra: Vec::new(),
        context: Vec::new(),
    };
    made_of(format, &rule, &registry)
}

fn made_of(format: &AlertFormat, rule: &AlertRule, registry: &FieldRegistry) -> Alert {
    let fields = registry.fields();
    let mut inspector = isolated();
    let scratch = Scratch::default();
    let mut made = None;
    let event = Ev::call(7, "openat", &[-100, 1, 0], 3).said(1, b"/etc/a\"\n\xff");
    deliver(&[event], |event| {
        let seen = inspector.update(event);
        let view = View::new(&fields, &inspector, event, &seen, &scratch);
        made = Some(format.alert(rule, &view));
    });
    made.unwrap()
}

const OUTPUT: &str = "%fd.name by %proc.name pid=%proc.pid %fd.name failed=%evt.failed";

#[test]
fn the_json_object_is_falcos() {
    let alert = alert(&AlertFormat::new("box"), OUTPUT);
    let text = &alert.text;
    let clock = &text[..18];
    let expected = format!(
        "{{\"hostname\":\"box\",\"output\":\"{clock}: Warning /etc/a\\\"\\\\x0a\\\\xff by <NA> pid=7 \
         /etc/a\\\"\\\\x0a\\\\xff failed=false\",\"output_fields\":{{\"evt.failed\":false,\
         \"evt.time\":1767225605000000000,\"fd.name\":\"/etc/a\\\"\\n\\\\xff\",\"proc.name\":null,\
         \"proc.pid\":7}},\"priority\":\"Warning\",\"rule\":\"Read \\\"it\\\"\",\"source\":\"syscall\",\
         \"tags\":[\"T1555\",\"fs\"],\"time\":\"2026-01-01T00:00:05.000000000Z\"}}"
    );
    assert_eq!(alert.json, expected);
    assert!(!alert.json.contains('\n') && !text.contains('\n'));
    let names: Vec<&str> = alert.fields.iter().map(|(name, _)| &**name).collect();
    assert_eq!(
        names,
        ["evt.time", "fd.name", "proc.name", "proc.pid", "evt.failed"]
    );
    assert_eq!(alert.time_ns, 1_767_225_605_000_000_000);
}

#[test]
fn the_text_begins_with_the_time_of_day_and_the_priority() {
    let alert = alert(&AlertFormat::new("box"), "%evt.type");
    let (clock, rest) = alert.text.split_at(18);
    assert_eq!(rest, ": Warning openat");
    assert!(clock.ends_with(":05.000000000"), "{clock}");
}

#[test]
fn parts_of_the_object_can_be_left_out() {
    let format = AlertFormat {
        iso_time: true,
        json_output: false,
        json_tags: false,
        json_message: true,
        ..AlertFormat::new("box")
    };
    let alert = alert(&format, "%evt.type");
    let object: Json = serde_json::from_str(&alert.json).unwrap();
    let keys: Vec<&String> = object.as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        [
            "hostname",
            "message",
            "output_fields",
            "priority",
            "rule",
            "source",
            "time"
        ]
    );
    assert_eq!(object["message"], "openat");
    assert_eq!(
        object["output_fields"]["evt.time.iso8601"],
        "2026-01-01T00:00:05.000000000+0000"
    );
    assert!(
        alert
            .text
            .starts_with("2026-01-01T00:00:05.000000000+0000: Warning openat")
    );
}

fn rule() -> Rule {
    Rule {
        name: "r".to_owned(),
        description: String::new(),
        priority: Priority::Notice,
        source: "syscall".to_owned(),
        tags: vec!["a".to_owned(), "b".to_owned()],
        output: "%proc.pid".to_owned(),
        enabled: true,
    }
}

/// The alert of a rule to which a configuration appends this.
fn appended(settings: &str) -> Result<Alert, String> {
    let registry = FieldRegistry::new("host");
    let append: Vec<AppendOutput> = serde_saphyr::from_str(settings).unwrap();
    AppendOutput::check(&append, &registry)
        .map_err(|error| format!("{error}: {}", error.source))?;
    let rule =
        AlertRule::compile(&rule(), &append, &registry).map_err(|error| error.to_string())?;
    let mut format = AlertFormat::new("box");
    format.static_fields = BTreeMap::from([("site".to_owned(), "north".to_owned())]);
    Ok(made_of(&format, &rule, &registry))
}

#[test]
fn a_fault_in_what_is_appended_is_not_called_the_rules() {
    for (settings, expected) in [
        (
            "- {}\n- {extra_output: '%proc.nme'}",
            "append_output[1].extra_output: output template, at byte 0: ",
        ),
        (
            "- {extra_fields: [evt.failed, proc.nme]}",
            "append_output[0].extra_fields[1]: output template, at byte 0: ",
        ),
        // of a rule that does not exist, too
        (
            "- {match: {rule: other}, extra_fields: [{who: 'x %proc.nme'}]}",
            "append_output[0].extra_fields[0]: output template, at byte 2: ",
        ),
    ] {
        let error = appended(settings).unwrap_err();
        assert!(error.starts_with(expected), "{error}");
        assert!(error.contains("did you mean `proc.name`?"), "{error}");
    }
}

#[test]
fn entries_that_fit_no_rule_are_named() {
    let entries: Vec<AppendOutput> = serde_saphyr::from_str(
        "- {match: {rule: nosuch}}\n- {}\n- {match: {tags: [a]}}\n- {match: {tags: [a, c]}}\n- {match: {source: k8s}}",
    )
    .unwrap();
    let idle = |rules: &[Rule]| -> Vec<usize> {
        AppendOutput::idle(&entries, rules)
            .map(|(at, _)| at)
            .collect()
    };
    assert_eq!(idle(&[rule()]), [0, 3, 4]);
    // where there are no rules at all, that is said elsewhere
    assert!(idle(&[]).is_empty());
}

#[test]
fn a_configuration_appends_to_text_and_fields() {
    let alert = appended(
        "- {extra_output: 'on %evt.type', extra_fields: [evt.failed, {who: 'x%thread.tid'}]}",
    )
    .unwrap();
    assert!(
        alert.text.ends_with(" Notice 7 on openat"),
        "{}",
        alert.text
    );
    let json: Json = serde_json::from_str(&alert.json).unwrap();
    let fields = &json["output_fields"];
    assert_eq!(fields["evt.type"], "openat");
    assert_eq!(fields["evt.failed"], false);
    assert_eq!(fields["who"], "x7");
    assert_eq!(fields["site"], "north");
    assert_eq!(fields["proc.pid"], 7);
}

#[test]
fn only_what_is_meant_is_appended_to() {
    for (which, fits) in [
        ("{}", true),
        ("{source: syscall, rule: r, tags: [b]}", true),
        ("{source: k8s_audit}", false),
        ("{rule: q}", false),
        ("{tags: [a, c]}", false),
    ] {
        let alert = appended(&format!("- {{match: {which}, extra_output: more}}")).unwrap();
        assert_eq!(alert.text.ends_with("7 more"), fits, "{which}");
    }
    let alert = appended("- {suggested_output: true}").unwrap();
    assert!(alert.text.contains(" container_id="), "{}", alert.text);
}

#[test]
fn what_cannot_be_appended_is_said() {
    for (settings, why) in [
        (
            "- {extra_output: '%proc.nmae'}",
            "did you mean `proc.name`?",
        ),
        ("- {extra_fields: [proc.nmae]}", "did you mean `proc.name`?"),
        ("- {extra_fields: [words]}", "is no field"),
    ] {
        let error = appended(settings).unwrap_err();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn outputs_do_not_get_the_context_of_an_alert() {
    let registry = FieldRegistry::new("host");
    let rule = Rule {
        name: "r".to_owned(),
        description: String::new(),
        priority: Priority::Warning,
        source: "syscall".to_owned(),
        tags: Vec::new(),
        output: "%fd.name".to_owned(),
        enabled: true,
    };
    let rule = AlertRule::compile(&rule, &[], &registry).unwrap();
    let format = AlertFormat::new("box");
    let without = made_of(&format, &rule, &registry);
    let rule = rule.with_context(&["proc.pid"], &registry).unwrap();
    let with = made_of(&format, &rule, &registry);
    assert_eq!(with.context, [("proc.pid".to_owned(), OwnedValue::I64(7))]);
    assert_eq!((with.json, with.fields), (without.json, without.fields));
    assert_eq!(without.context, []);
    let mut ids = (0, 0);
    rule.ids(&mut |_| ids.0 += 1);
    rule.output_ids(&mut |_| ids.1 += 1);
    assert_eq!(ids, (2, 1));
    assert!(rule.with_context(&["proc.none"], &registry).is_err());
}
