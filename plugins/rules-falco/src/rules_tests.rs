//! Tests of loading and running rules, with tables in place of the host.

use std::cell::Cell;
use std::ffi::c_void;

use lanner_plugin::abi::{LannerEvent, LannerValue};
use lanner_plugin::{
    Event, EventTypes, FieldKind, List, Priority, RawValue, ResolvedField, UnknownName, Value,
};

use super::*;

pub(super) const TYPES: &[&str] = &["open", "openat", "execve", "connect", "close", "ptrace"];

pub(super) const FIELDS: &[(&str, FieldKind)] = &[
    ("evt.type", FieldKind::String),
    ("evt.num", FieldKind::U64),
    ("evt.arg[flags]", FieldKind::String),
    ("evt.rawres", FieldKind::I64),
    ("evt.is_open_read", FieldKind::Bool),
    ("evt.buffer", FieldKind::Bytes),
    ("evt.rawarg[x]", FieldKind::Any),
    ("proc.name", FieldKind::String),
    ("proc.pid", FieldKind::U64),
    ("proc.aname", FieldKind::String),
    ("proc.aname[2]", FieldKind::String),
    ("fd.name", FieldKind::String),
    ("fd.sport", FieldKind::U64),
    ("fd.sip", FieldKind::Ip),
    ("fd.ip", FieldKind::Ip),
    ("fd.types", FieldKind::String),
    ("proc.pname", FieldKind::String),
    ("proc.ppid", FieldKind::U64),
    ("fd.sip.name", FieldKind::String),
    ("fd.cip.name", FieldKind::String),
    ("proc.cmdline", FieldKind::String),
    ("proc.exepath", FieldKind::String),
    ("evt.rawtime", FieldKind::U64),
    ("evt.type.is[openat]", FieldKind::U64),
    ("evt.arg[queuepct]", FieldKind::String),
    ("fd.proto", FieldKind::U64),
    ("fd.port", FieldKind::U64),
    ("fd.snet", FieldKind::Ip),
    ("kernel.path", FieldKind::String),
];

pub(super) struct Table;

impl Names for Table {
    fn field(&self, name: &str, arg: Option<&str>) -> Result<ResolvedField, UnknownName> {
        let full = arg.map_or(name.to_owned(), |arg| format!("{name}[{arg}]"));
        let at = FIELDS.iter().position(|(known, _)| *known == full);
        let at = at.ok_or_else(|| UnknownName {
            reason: format!("the test has no {full}"),
        })?;
        let field = ResolvedField::new(u32::try_from(at).unwrap(), FIELDS[at].1);
        Ok(match full.as_str() {
            "proc.aname" => field.any(),
            "fd.ip" | "fd.port" => field.either(),
            "evt.arg[queuepct]" => field.never(),
            "fd.types" => field.list(),
            "evt.rawres" | "evt.is_open_read" | "evt.rawarg[x]" => field.selects(),
            _ => field,
        })
    }

    fn event_type(&self, name: &str) -> Result<u32, UnknownName> {
        let at = TYPES.iter().position(|known| *known == name);
        at.map(|at| u32::try_from(at).unwrap()).ok_or(UnknownName {
            reason: String::new(),
        })
    }
}

pub(super) fn load_text(text: &str, settings: Settings) -> Loaded {
    load_bytes(text.as_bytes(), settings)
}

pub(super) fn load_bytes(text: &[u8], settings: Settings) -> Loaded {
    let file = File {
        name: "r.yaml".to_owned(),
        text,
    };
    load(&[file], &Table, settings)
}

/// The diagnostics of this severity, without errors.
pub(super) fn said(loaded: &Loaded, severity: Severity) -> Vec<String> {
    let some = loaded.diagnostics.iter().filter(|d| d.severity == severity);
    some.map(Diagnostic::to_string).collect()
}

pub(super) fn warnings(loaded: &Loaded) -> Vec<String> {
    said(loaded, Severity::Warning)
}

pub(super) fn rules(text: &str) -> FalcoRules {
    load_text(text, Settings::default()).result.unwrap()
}

pub(super) fn error(text: &str) -> String {
    load_text(text, Settings::default())
        .result
        .unwrap_err()
        .errors
}

/// The fields of an event, and the number of fetches.
struct Values<'a> {
    values: &'a [(&'a str, Value<'a>)],
    fetched: Cell<usize>,
}

unsafe extern "C" fn get(ctx: *const c_void, field: u32, value: *mut LannerValue) {
    // SAFETY: `ctx` is the table of `run`, and `value` is a place of the caller.
    unsafe {
        let table = &*ctx.cast::<Values<'_>>();
        table.fetched.set(table.fetched.get() + 1);
        let name = FIELDS[field as usize].0;
        let found = table.values.iter().find(|(known, _)| *known == name);
        *value = RawValue::from(found.map_or(Value::None, |(_, value)| *value)).abi();
    }
}

/// The rules that match an event, and the number of fetched fields.
pub(super) fn run(
    rules: &mut FalcoRules,
    event_type: &str,
    values: &[(&str, Value<'_>)],
) -> (Vec<u32>, usize) {
    let values = Values {
        values,
        fetched: Cell::new(0),
    };
    let raw = LannerEvent {
        size: size_of::<LannerEvent>(),
        ctx: (&raw const values).cast(),
        get: Some(get),
        event_type: Table.event_type(event_type).unwrap(),
        reserved: 0,
    };
    let mut matched = Vec::new();
    let all = rules.matching == crate::RuleMatching::All;
    // SAFETY: the event and its values live through the call.
    let event = unsafe { Event::from_abi(&raw) };
    rules.program.run(&event, |rule| {
        matched.push(rule);
        all
    });
    (matched, values.fetched.get())
}

/// Whether a condition holds for an `openat`.
pub(super) fn holds(condition: &str, values: &[(&str, Value<'_>)]) -> bool {
    let mut rules = rules(&rule("r", &format!("evt.type = openat and ({condition})")));
    run(&mut rules, "openat", values).0 == [0]
}

pub(super) fn rule(name: &str, condition: &str) -> String {
    format!(
        "- rule: {name}\n  condition: >\n    {condition}\n  desc: d\n  output: o %proc.name\n  \
         priority: WARNING\n"
    )
}

pub(super) fn s(text: &str) -> Value<'_> {
    Value::String(text.as_bytes())
}

#[test]
fn a_missing_field_fits_nothing_and_so_its_opposite_everything() {
    for check in [
        "proc.name = x",
        "proc.name != x",
        "proc.pid != 1",
        "proc.name in (x)",
        "proc.name exists",
    ] {
        assert!(!holds(check, &[]), "{check}");
        assert!(holds(&format!("not {check}"), &[]), "{check}");
    }
    assert!(holds("proc.name != x", &[("proc.name", s("y"))]));
    assert!(holds("proc.name exists", &[("proc.name", s(""))]));
}

#[test]
fn each_operator_does_what_it_says() {
    let values = [
        ("proc.name", s("Bash")),
        ("fd.name", s("/etc/shadow")),
        ("evt.rawres", Value::I64(-2)),
        ("fd.sport", Value::U64(443)),
        ("fd.sip", Value::Ip("10.1.2.3".parse().unwrap())),
        ("evt.is_open_read", Value::Bool(true)),
        ("evt.buffer", Value::Bytes(b"a\x7fELF")),
        ("evt.arg[flags]", s("O_RDONLY|O_CLOEXEC")),
        ("evt.rawarg[x]", Value::U64(16)),
    ];
    for (condition, expected) in [
        ("proc.name = Bash", true),
        ("proc.name == bash", false),
        ("proc.name != bash", true),
        ("proc.name > Bas", true),
        ("proc.name in (sh, Bash)", true),
        ("proc.name in ()", false),
        ("proc.name contains as", true),
        ("proc.name icontains AS", true),
        ("proc.name startswith Ba", true),
        ("proc.name istartswith bA", true),
        ("proc.name istartswith aS", false),
        ("proc.name istartswith bash-longer", false),
        ("proc.name endswith h", true),
        ("proc.name iendswith SH", true),
        ("proc.name iendswith anyof (.php, aSh)", true),
        ("proc.name iendswith longer-bash", false),
        ("proc.name endswith Ba", false),
        ("proc.name glob 'B*h'", true),
        ("proc.name iglob 'b*H'", true),
        ("proc.name contains anyof (x, as)", true),
        ("proc.name contains allof (x, as)", false),
        ("proc.name contains oneof (B, as)", false),
        ("fd.name pmatch (/usr, /etc)", true),
        ("fd.name pmatch (/etc/shad)", false),
        ("evt.rawres < 0", true),
        ("evt.rawres >= 0", false),
        ("evt.rawres = -2", true),
        ("evt.rawres in (0, -2)", true),
        ("fd.sport in (22, 443)", true),
        ("fd.sport = 0x1bb", true),
        ("fd.sport = 443.0", true),
        ("fd.sip = 10.1.2.3", true),
        ("fd.sip in (192.168.0.0/16, 10.0.0.0/8)", true),
        ("fd.sip != 10.0.0.0/8", false),
        ("evt.is_open_read = true", true),
        ("evt.is_open_read != true", false),
        ("evt.buffer bcontains 7f454c46", true),
        ("evt.buffer bstartswith 7f", false),
        ("evt.buffer contains ELF", true),
        ("evt.arg.flags contains O_CLOEXEC", true),
        ("evt.arg[flags] contains O_TRUNC", false),
        ("evt.rawarg.x > 15", true),
        ("evt.rawarg.x = 0x10", true),
        ("evt.rawarg.x = abc", false),
        ("evt.dir = <", true),
        ("evt.dir = >", false),
        ("evt.type startswith open", false),
    ] {
        assert_eq!(holds(condition, &values), expected, "{condition}");
    }
}

#[test]
fn ancestors_and_ends_of_a_connection_are_candidates() {
    let names = [s("sh"), s("sshd")].map(RawValue::from);
    let ends = ["10.0.0.1", "192.0.2.1"].map(|ip| RawValue::from(Value::Ip(ip.parse().unwrap())));
    let values = [
        ("proc.aname", Value::List(List::new(&names))),
        ("fd.ip", Value::List(List::new(&ends))),
        ("fd.types", Value::List(List::new(&names))),
    ];
    for (condition, expected) in [
        ("proc.aname = sshd", true),
        ("proc.aname = bash", false),
        ("proc.aname != sshd", true),
        ("proc.aname startswith ss", true),
        ("proc.aname in (x, sshd)", true),
        ("proc.aname exists", true),
        ("fd.ip = 192.0.2.1", true),
        ("fd.ip != 192.0.2.1", false),
        ("fd.ip != 192.0.2.2", true),
        ("fd.types in (sh)", false),
        ("fd.types in (sh, sshd)", true),
        ("fd.types intersects (sh, x)", true),
    ] {
        assert_eq!(holds(condition, &values), expected, "{condition}");
    }
}

#[test]
fn lists_and_macros_are_filled_in_wherever_they_stand() {
    let text = [
        "- list: all_shells\n  items: [shells, fish, '\"quoted (one)\"']\n",
        "- list: shells\n  items: [bash, sh]\n",
        "- macro: shell\n  condition: (proc.name in (all_shells, ksh))\n",
        &rule("r", "opening and not shell"),
        "- macro: opening\n  condition: evt.type in (open, openat)\n",
    ]
    .concat();
    let mut rules = rules(&text);
    for (name, expected) in [
        ("bash", false),
        ("fish", false),
        ("quoted (one)", false),
        ("ksh", false),
        ("cat", true),
        ("shells", true),
    ] {
        let matched = run(&mut rules, "openat", &[("proc.name", s(name))]).0;
        assert_eq!(!matched.is_empty(), expected, "{name}");
    }
}

#[test]
fn rules_run_only_for_event_types_that_they_can_match() {
    let text = [
        "- macro: spawned\n  condition: evt.type = execve\n",
        &rule(
            "a",
            "(evt.type = open or evt.type = openat) and proc.name = x",
        ),
        &rule("b", "spawned and not evt.type in (execve)"),
        &rule("c", "not (not evt.type = connect or proc.name = x)"),
    ]
    .concat();
    let mut rules = rules(&text);
    let EventTypes::Only(mut types) = rules.event_types.clone() else {
        panic!("all types");
    };
    types.sort();
    assert_eq!(types, ["connect", "open", "openat"]);
    assert_eq!(
        run(&mut rules, "close", &[("proc.name", s("x"))]),
        (vec![], 0)
    );
    assert_eq!(
        run(&mut rules, "openat", &[("proc.name", s("x"))]),
        (vec![0], 1)
    );
    assert_eq!(
        run(&mut rules, "connect", &[("proc.name", s("y"))]),
        (vec![2], 1)
    );
}

#[test]
fn a_rule_without_an_event_type_gets_all_and_is_warned_about() {
    let loaded = load_text(&rule("r", "proc.name = x"), Settings::default());
    let warnings = warnings(&loaded);
    assert!(warnings[0].contains("events of every type"), "{warnings:?}");
    let mut rules = loaded.result.unwrap();
    assert_eq!(rules.event_types, EventTypes::All);
    assert_eq!(run(&mut rules, "ptrace", &[("proc.name", s("x"))]).0, [0]);
    let quiet = rule("r", "evt.type != open") + "  warn_evttypes: false\n";
    let loaded = load_text(&quiet, Settings::default());
    assert_eq!(self::warnings(&loaded), [] as [&str; 0]);
    let mut rules = loaded.result.unwrap();
    assert!(run(&mut rules, "open", &[]).0.is_empty());
    assert_eq!(run(&mut rules, "ptrace", &[]).0, [0]);
}

#[test]
fn the_first_rule_wins_unless_all_are_wanted() {
    let text = rule("a", "evt.type=open and proc.name=x")
        + &rule("b", "evt.type=open")
        + &rule("c", "evt.type=open and proc.name=x")
        + "- rule: b\n  enabled: false\n";
    let values = [("proc.name", s("x"))];
    assert_eq!(run(&mut rules(&text), "open", &values), (vec![0], 1));
    let settings = Settings {
        rule_matching: crate::RuleMatching::All,
        ..Settings::default()
    };
    let mut all = load_text(&text, settings).result.unwrap();
    assert_eq!(run(&mut all, "open", &values), (vec![0, 2], 1));
    assert_eq!(run(&mut all, "open", &[]), (vec![], 1));
    assert!(!all.rules[1].enabled);
}

#[test]
fn what_a_macro_gave_is_remembered_for_one_event_only() {
    let text = "- macro: m\n  condition: proc.name = x\n".to_owned()
        + &rule("a", "evt.type=open and m and proc.pid = 1")
        + &rule("b", "evt.type=open and m");
    let mut rules = rules(&text);
    assert_eq!(
        run(&mut rules, "open", &[("proc.name", s("x"))]),
        (vec![1], 2)
    );
    assert!(
        run(&mut rules, "open", &[("proc.name", s("y"))])
            .0
            .is_empty()
    );
    assert_eq!(run(&mut rules, "open", &[("proc.name", s("x"))]).0, [1]);
}

#[test]
fn metadata_is_handed_on() {
    let text =
        "- rule: Name\n  desc: Why\n  condition: evt.type=open\n  output: >\n    Read %fd.name. \
                by %proc.name[%container.info]\n  priority: info\n  tags: [a, T1003.008]\n"
            .replace("[%container.info]", " %container.info");
    let info = rules(&text).rules.remove(0);
    assert_eq!(info.name, "Name");
    assert_eq!(info.priority, Priority::Informational);
    assert_eq!(info.tags, ["T1003.008", "a"]);
    assert_eq!(info.source, "syscall");
    assert_eq!(info.output, "Read %fd.name. by %proc.name");
    assert!(info.enabled);
}

#[test]
fn append_and_override() {
    let text = [
        "- list: l\n  items: [a]\n- list: l\n  items: [b]\n  append: true\n",
        "- macro: m\n  condition: proc.name in (l)\n",
        "- macro: m\n  condition: or proc.pid = 7\n  override: {condition: append}\n",
        &rule("r", "evt.type = open and (m)"),
        "- rule: r\n  condition: and fd.name = f\n  tags: [t]\n  priority: ERROR\n  override:\n    \
         condition: append\n    tags: replace\n    priority: replace\n",
    ]
    .concat();
    let mut rules = rules(&text);
    let f = ("fd.name", s("f"));
    assert_eq!(run(&mut rules, "open", &[("proc.name", s("b")), f]).0, [0]);
    assert_eq!(
        run(&mut rules, "open", &[("proc.pid", Value::U64(7)), f]).0,
        [0]
    );
    assert!(
        run(&mut rules, "open", &[("proc.name", s("b"))])
            .0
            .is_empty()
    );
    assert_eq!(rules.rules[0].priority, Priority::Error);
    assert_eq!(rules.rules[0].tags, ["t"]);
}

#[test]
fn errors_name_the_place_and_the_remedy() {
    let unknown = error(&rule("r", "evt.type = open and proc.nmae = x"));
    assert!(
        unknown.starts_with("r.yaml:3:25: there is no field `proc.nmae`"),
        "{unknown}"
    );
    assert!(
        unknown.contains("\n   |                         ^\n"),
        "{unknown}"
    );
    assert!(unknown.contains("= the test has no proc.nmae"), "{unknown}");
    for (text, expected) in [
        (rule("r", "evt.type = opne"), "no event type `opne`"),
        (rule("r", "spawend and evt.type=open"), "no macro `spawend`"),
        (
            rule("r", "proc.pid = abc"),
            "a number is needed here, not `abc`",
        ),
        (
            rule("r", "proc.pid contains 1"),
            "`proc.pid` is a number, which `contains` cannot",
        ),
        (rule("r", "fd.types = x"), "`fd.types` is a list"),
        (rule("r", "fd.sip = 1.2.3"), "an address"),
        (rule("r", "evt.is_open_read = 1"), "`true` or `false`"),
        (
            rule("r", "proc.name regex 'x('"),
            "no regular expression: unclosed group",
        ),
        (rule("r", "evt.buffer bcontains 7"), "hexadecimal"),
        (
            "- macro: a\n  condition: b\n- macro: b\n  condition: a\n".to_owned(),
            "contains itself",
        ),
        ("- list: a\n".to_owned(), "a list needs `items`"),
        (
            "- rule: a\n  condition: x\n".to_owned(),
            "a rule needs `output`",
        ),
        (
            "- rule: a\n  priority: Bad\n".to_owned(),
            "`Bad` is not a priority",
        ),
        ("rule: a\n".to_owned(), "a rule file is a list"),
        (
            "- macro: a\n  condition: x\n  append: true\n".to_owned(),
            "no earlier macro `a`",
        ),
        (
            "- macro: a\n  condition: proc.name=x\n  override: {condition: drop}\n".to_owned(),
            "choose `append` or `replace`",
        ),
        (
            rule("r", "evt.type=open").replace("%proc.name", "%proc.nam"),
            "no field `proc.nam`",
        ),
    ] {
        let error = error(&text);
        assert!(error.contains(expected), "{text}\n{error}");
        assert!(error.starts_with("r.yaml:"), "{error}");
    }
}

#[test]
fn several_problems_are_told_at_once_and_each_only_once() {
    let text = "- macro: m\n  condition: proc.nmae = x\n".to_owned()
        + &rule("a", "m and evt.type = open")
        + &rule("b", "m and evt.type = open")
        + &rule("c", "evt.type = opne");
    let error = error(&text);
    assert_eq!(error.matches("there is no field").count(), 1, "{error}");
    assert_eq!(
        error.matches("there is no event type").count(),
        1,
        "{error}"
    );
}

#[test]
fn a_rule_may_be_left_out_when_the_host_lacks_a_field() {
    let unknown = rule("a", "evt.type=open and x.y = 1");
    let text = format!(
        "{unknown}  skip-if-unknown-filter: true\n{}",
        rule("b", "evt.type=open")
    );
    let loaded = load_text(&text, Settings::default());
    let warnings = warnings(&loaded);
    assert!(warnings[0].contains("rule `a` is left out"), "{warnings:?}");
    let mut rules = loaded.result.unwrap();
    assert_eq!(run(&mut rules, "open", &[]).0, [1]);
    assert!(!rules.rules[0].enabled);
    let settings = Settings {
        unknown_fields: UnknownFields::SkipRule,
        ..Settings::default()
    };
    assert!(load_text(&unknown, settings).result.is_ok());
    assert!(
        load_text(&rule("a", "proc.pid = x"), settings)
            .result
            .is_err()
    );
}

#[test]
fn unknown_keys_and_items_are_warnings() {
    let text = rule("a", "evt.type=open")
        + "  prioritty: x\n- required_engine_version: 0.57.0\n- foo: x\n";
    let loaded = load_text(&text, Settings::default());
    assert!(loaded.result.is_ok());
    let warnings = warnings(&loaded);
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(
        warnings[0].contains("did you mean `priority`"),
        "{warnings:?}"
    );
    assert!(warnings[1].contains("this item is unknown"), "{warnings:?}");
}

#[test]
fn macros_that_double_at_each_step_cost_nothing() {
    let mut text = "- macro: m0\n  condition: proc.name = x\n".to_owned();
    for n in 1..60 {
        let before = n - 1;
        text += &format!("- macro: m{n}\n  condition: (m{before} or m{before}) and m{before}\n");
    }
    let mut rules = rules(&(text + &rule("r", "evt.type = open and m59")));
    assert_eq!(
        run(&mut rules, "open", &[("proc.name", s("x"))]),
        (vec![0], 1)
    );
}

#[test]
fn a_chain_of_macros_has_a_limit_instead_of_an_overflow() {
    let mut text = "- macro: m0\n  condition: proc.name = x\n".to_owned();
    for n in 1..5000 {
        text += &format!("- macro: m{n}\n  condition: not m{}\n", n - 1);
    }
    let error = error(&(text + &rule("r", "evt.type = open and m4999")));
    assert!(error.contains("nested too deeply"), "{error}");
}

#[test]
fn empty_files_are_no_rules() {
    for text in ["", "---\n", "# nothing\n", "[]"] {
        assert_eq!(
            rules(text).event_types,
            EventTypes::Only(vec![]),
            "{text:?}"
        );
    }
}

#[test]
fn values_need_not_be_utf8() {
    assert!(holds(
        "fd.name endswith x",
        &[("fd.name", Value::String(b"\xff\xfex"))]
    ));
}
