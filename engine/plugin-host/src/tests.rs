//! Tests with real libraries: small ones in C, compiled here with the header alone, and this project's plugins
//! (`first_party`). They need `cc` and cargo.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::*;

mod first_party;

pub(crate) struct Directory(tempfile::TempDir);

impl Directory {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Compiles a plugin in C.
    pub(crate) fn c(&self, name: &str, source: &str) -> PathBuf {
        let file = self.path(&format!("{name}.c"));
        fs::write(&file, format!("#include \"lanner_plugin.h\"\n{source}")).unwrap();
        let library = self.path(&format!("lib{name}.so"));
        test_support::plugins::compile(&file, &library, &["-Wno-unused"]);
        library
    }
}

/// Function tables in C, each overridable by a macro.
pub(crate) const TABLES: &str = r#"
#include <string.h>
#ifndef NAME
#define NAME "sample"
#endif
#ifndef MAJOR
#define MAJOR LANNER_ABI_MAJOR
#endif
#ifndef MINOR
#define MINOR LANNER_ABI_MINOR
#endif
#ifndef EMIT
#define EMIT emit
#endif
#ifndef LIST
#define LIST list_rules
#endif
#ifndef RULES
#define RULES &rules
#endif
#ifndef OUTPUT
#define OUTPUT &output
#endif
#ifndef CHECK
#define CHECK NULL
#endif
#ifndef PLUGIN_SIZE
#define PLUGIN_SIZE sizeof(LannerPlugin)
#endif
#ifndef RULES_SIZE
#define RULES_SIZE sizeof(LannerRulePlugin)
#endif
#define STR(s) { (const uint8_t *)(s), sizeof(s) - 1 }
static void say(const LannerText *error, const char *text) {
    LannerStr s = { (const uint8_t *)text, strlen(text) };
    error->put(error->ctx, s);
}
static int dummy;
static LannerField field;
static uint32_t wanted;
static LannerStatus open_rules(const LannerHost *host, const LannerRuleRequest *request,
                               void **state, const LannerText *error) {
    LannerStr name = STR("proc.name"), type = STR("openat"), none = { 0, 0 }, hello = STR("hello");
    host->log(host->ctx, LANNER_LEVEL_INFO, hello);
    host->log(NULL, LANNER_LEVEL_INFO, hello);
    host->metric(NULL, NULL);
    const LannerResolver *r = request->resolver;
    if (r->field(NULL, name, none, &field, error) != LANNER_ERROR) return LANNER_ERROR;
    if (r->field(r->ctx, name, none, NULL, NULL) != LANNER_ERROR) return LANNER_ERROR;
    if (r->event_type(NULL, type, NULL, NULL) != LANNER_ERROR) return LANNER_ERROR;
    error->put(NULL, hello);
    if (request->file_count == 1) { say(error, "r.yaml:1:1: no good"); return LANNER_ERROR; }
    if (r->field(r->ctx, name, none, &field, error) != LANNER_OK) return LANNER_ERROR;
    if (r->event_type(r->ctx, type, &wanted, error) != LANNER_OK) return LANNER_ERROR;
    *state = &dummy;
    return LANNER_OK;
}
static LannerStatus list_rules(void *state, const LannerRuleSink *sink, const LannerText *error) {
    LannerStr tags[] = { STR("t1"), STR("t2") };
    sink->put(NULL, NULL);
    LannerRule rule = { sizeof rule, STR("cat"), STR("why"), STR("syscall"), STR("out"),
                        tags, 2, 4, 1 };
    sink->put(sink->ctx, &rule);
    return LANNER_OK;
}
static LannerStatus types(void *state, const LannerText *sink, const LannerText *error) {
    say(sink, "openat"); say(sink, "close");
    return LANNER_OK;
}
static LannerStatus on_event(void *state, const LannerEvent *event, const LannerMatches *matches,
                             const LannerText *error) {
    LannerValue value;
    /* NULL where something belongs is no crash. */
    event->get(event->ctx, field.id, NULL);
    event->get(NULL, field.id, &value);
    if (value.tag != LANNER_NONE) return LANNER_ERROR;
    matches->put(NULL, 0);
    event->get(event->ctx, field.id, &value);
    if (value.tag != LANNER_STRING) return LANNER_OK;
    if (value.data.bytes.len == 3 && event->event_type == wanted) matches->put(matches->ctx, 0);
    if (value.data.bytes.len == 4) matches->put(matches->ctx, 99);
    if (value.data.bytes.len == 5) { say(error, "cannot"); return LANNER_ERROR; }
    if (value.data.bytes.len == 6) { say(error, "boom"); return LANNER_PANIC; }
    return LANNER_OK;
}
static void close_state(void *state) {}
static LannerStatus open_output(const LannerHost *host, LannerStr settings, void **state,
                                const LannerText *error) {
    if (settings.len) { say(error, "no settings, please"); return LANNER_ERROR; }
    *state = &dummy;
    return LANNER_OK;
}
static LannerStatus emit(void *state, const LannerBatch *batch, size_t *delivered,
                         const LannerText *error) {
    const LannerAlert *alert = batch->alerts[0];
    if (alert->field_count != 2 || alert->tag_count != 1
        || alert->fields[0].value.tag != LANNER_U64 || alert->fields[0].value.data.u64 != 7
        || alert->fields[1].value.tag != LANNER_LIST || alert->fields[1].value.data.list.len != 2
        || alert->fields[1].value.data.list.ptr[1].data.bytes.ptr[0] != 'b') return LANNER_ERROR;
    switch (alert->priority) {
    case 0: *delivered = 1; say(error, "away"); return LANNER_TRY_AGAIN;
    case 1: say(error, "gone"); return LANNER_GIVE_UP;
    case 2: *delivered = 1000; say(error, "lies"); return LANNER_TRY_AGAIN;
    case 3: say(error, "boom"); return LANNER_PANIC;
    case 5: return 4711;
    case 6: return LANNER_GO_ON;
    default: return LANNER_OK;
    }
}
static LannerStatus nothing(void *state, const LannerText *error) { return LANNER_OK; }
static const LannerRulePlugin rules = { RULES_SIZE, open_rules, LIST, types, on_event,
                                        close_state };
static const LannerOutputPlugin output = { sizeof output, open_output, EMIT, nothing, nothing,
                                           close_state, NULL, CHECK };
static const LannerPlugin plugin = { MAJOR, MINOR, PLUGIN_SIZE, STR(NAME), STR("1.2.3"),
                                     STR("A sample."), RULES, OUTPUT };
const LannerPlugin *lanner_plugin(void) { return &plugin; }
"#;

struct Table;

impl FieldResolver for Table {
    fn resolve(&self, name: &str, arg: Option<&str>) -> Result<ResolvedField, UnknownName> {
        match (name, arg) {
            ("proc.name", None) => Ok(ResolvedField::new(1, FieldKind::String)),
            ("fd.name", None) => Ok(ResolvedField::new(2, FieldKind::String)),
            _ => Err(UnknownName::new(format!("no such field {name} {arg:?}"))),
        }
    }

    fn event_type(&self, name: &str) -> Result<u32, UnknownName> {
        match name {
            "openat" => Ok(5),
            _ => Err(UnknownName::new("no such type")),
        }
    }
}

struct Sample(u32, &'static str);

impl FieldSource for Sample {
    fn event_type(&self) -> u32 {
        self.0
    }

    fn get(&self, id: u32) -> Value<'_> {
        match id {
            1 => Value::String(self.1.as_bytes()),
            _ => Value::None,
        }
    }
}

fn alert(priority: Priority) -> Alert {
    let list = ["a", "b"].map(|text| OwnedValue::String(text.into()));
    Alert {
        time_ns: 1,
        rule: "r".to_owned(),
        priority,
        source: "syscall".to_owned(),
        hostname: "h".to_owned(),
        tags: vec!["t".to_owned()],
        text: "the text".to_owned(),
        json: "{}".to_owned(),
        fields: vec![
            ("n".to_owned(), OwnedValue::U64(7)),
            ("l".to_owned(), OwnedValue::List(list.to_vec())),
        ],
        context: Vec::new(),
    }
}

#[test]
fn a_rule_plugin_in_c_is_opened_asked_and_survives_its_faults() {
    let directory = Directory::new();
    let plugin = load(&directory.c("sample", TABLES)).unwrap();
    assert_eq!(
        (plugin.name(), plugin.version(), plugin.abi()),
        ("sample", "1.2.3", (1, 7))
    );
    assert_eq!(plugin.capabilities(), ["rules", "output"]);

    let mut host = RuleHost::open(&plugin, &Table, &[], "").unwrap();
    let names = ["openat", "close"].map(str::to_owned).to_vec();
    assert_eq!(*host.event_types(), EventTypes::Only(names));
    assert_eq!(host.rules().len(), 1);
    assert_eq!(host.rules()[0].tags, ["t1", "t2"]);
    assert_eq!(host.rules()[0].priority, Priority::Warning);

    let mut matches = vec![7];
    host.on_event(&Sample(5, "cat"), &mut matches);
    assert_eq!(matches, [0]);
    host.on_event(&Sample(6, "cat"), &mut matches);
    assert!(matches.is_empty());
    assert_eq!(plugin.faults(), 0);
    host.on_event(&Sample(5, "four"), &mut matches);
    assert_eq!(
        (matches.len(), plugin.faults()),
        (0, 1),
        "an index out of range"
    );
    host.on_event(&Sample(5, "fives"), &mut matches);
    assert_eq!((host.off(), plugin.faults()), (None, 2), "an error");
    host.on_event(&Sample(5, "sixsix"), &mut matches);
    assert_eq!((host.off(), plugin.faults()), (Some("boom"), 3), "a panic");
    host.on_event(&Sample(5, "cat"), &mut matches);
    assert_eq!((matches.len(), plugin.faults()), (0, 3), "switched off");

    let mut other = RuleHost::open(&plugin, &Table, &[], "").unwrap();
    other.on_event(&Sample(5, "cat"), &mut matches);
    assert_eq!(matches, [0], "another state runs on");
}

#[test]
fn a_refusal_by_a_plugin_is_handed_on() {
    let directory = Directory::new();
    let plugin = load(&directory.c("sample", TABLES)).unwrap();
    let file = RuleFile {
        name: "r.yaml".to_owned(),
        text: Vec::new(),
    };
    let error = RuleHost::open(&plugin, &Table, &[file], "").unwrap_err();
    assert_eq!(
        error.to_string(),
        "plugin `sample` failed to load rules: r.yaml:1:1: no good"
    );
    let error = OutputHost::open(&plugin, "{}").unwrap_err().to_string();
    assert_eq!(error, "plugin `sample` failed to open: no settings, please");
}

#[test]
fn an_output_plugin_in_c_gets_typed_alerts_and_its_answers_are_understood() {
    let directory = Directory::new();
    let plugin = load(&directory.c("sample", TABLES)).unwrap();
    let mut host = OutputHost::open(&plugin, "").unwrap();
    let try_again = |delivered, reason: &str| Delivery::TryAgain {
        delivered,
        reason: reason.to_owned(),
    };
    assert_eq!(host.emit(&[alert(Priority::Warning)]), Delivery::Delivered);
    let two = [alert(Priority::Emergency), alert(Priority::Warning)];
    assert_eq!(host.emit(&two), try_again(1, "away"));
    assert!(matches!(
        host.emit(&[alert(Priority::Alert)]),
        Delivery::GiveUp { delivered: 0, reason } if reason == "gone"
    ));
    assert_eq!(plugin.faults(), 0);
    assert_eq!(
        host.emit(&[alert(Priority::Critical)]),
        try_again(0, "lies")
    );
    assert_eq!(plugin.faults(), 1);
    assert_eq!(
        host.emit(&[alert(Priority::Notice)]),
        try_again(
            0,
            "it gave no reason, and its answer 4711 is no status of lanner_plugin.h"
        )
    );
    assert_eq!(plugin.faults(), 2);
    let idle = host.emit(&[alert(Priority::Informational)]);
    assert!(
        matches!(&idle, Delivery::TryAgain { delivered: 0, reason } if reason.contains("LANNER_GO_ON without")),
        "{idle:?}"
    );
    assert_eq!(plugin.faults(), 3);
    host.flush().unwrap();
    host.reopen().unwrap();
    assert!(matches!(
        host.emit(&[alert(Priority::Error)]),
        Delivery::GiveUp { .. }
    ));
    assert_eq!(host.off(), Some("boom"));
    assert!(matches!(host.flush(), Err(PluginError::Panicked { .. })));
    assert!(matches!(
        host.emit(&[alert(Priority::Warning)]),
        Delivery::GiveUp { reason, .. } if reason.contains("switched off: boom")
    ));
}

#[test]
fn a_check_of_settings_is_asked_before_open_and_is_optional() {
    let directory = Directory::new();
    let check = r#"
#define CHECK check_settings
static LannerStatus check_settings(const LannerHost *host, LannerStr settings, const LannerText *error) {
    LannerStr reason = { (const uint8_t *)"no such file", 12 };
    if (!host || settings.len == 3) { error->put(error->ctx, reason); return LANNER_ERROR; }
    if (settings.len == 4) return LANNER_PANIC;
    return LANNER_OK;
}
"#;
    let with = load(&directory.c("with", &format!("{check}{TABLES}"))).unwrap();
    OutputHost::check(&with, "{}").unwrap();
    for call in [OutputHost::check, |plugin: &Plugin, settings: &str| {
        OutputHost::open(plugin, settings).map(drop)
    }] {
        let refused = call(&with, "[1]").unwrap_err();
        let expected = "plugin `sample`: settings: no such file";
        assert_eq!(refused.to_string(), expected);
        let panicked = call(&with, "[12]").unwrap_err();
        assert!(
            matches!(panicked, PluginError::Panicked { .. }),
            "{panicked}"
        );
    }
    let without = load(&directory.c("without", TABLES)).unwrap();
    OutputHost::check(&without, "[1]").unwrap();
    let refused = OutputHost::open(&without, "[1]").unwrap_err().to_string();
    assert!(refused.contains("failed to open"), "{refused}");
}

#[test]
fn every_fault_of_a_library_has_its_own_message_that_names_the_file() {
    let directory = Directory::new();
    for (name, source, expected) in [
        ("nosymbol", "int x;".to_owned(), "does not export the function `lanner_plugin`"),
        ("major", format!("#define MAJOR 2\n{TABLES}"), "ABI 2, and this lanner has 1"),
        ("size", format!("#define PLUGIN_SIZE 16\n{TABLES}"), "its struct LannerPlugin has 16 bytes"),
        ("rulesize", format!("#define RULES_SIZE 8\n{TABLES}"), "its struct LannerRulePlugin has 8"),
        ("half", format!("#define EMIT 0\n{TABLES}"), "`output` lacks the function `emit`"),
        ("none", format!("#define RULES 0\n#define OUTPUT 0\n{TABLES}"), "has no capability"),
        ("name", format!("#define NAME \"Bad Name\"\n{TABLES}"), "its name `Bad Name`"),
        ("null", "const LannerPlugin *lanner_plugin(void) { return 0; }".to_owned(), "no valid pointer"),
        (
            "length",
            "static const LannerPlugin p = {LANNER_ABI_MAJOR, 0, sizeof p, {(void *)8, -1}, {0, 0}, \
             {0, 0}, 0, 0}; const LannerPlugin *lanner_plugin(void) { return &p; }"
                .to_owned(),
            "its name has no valid pointer or length",
        ),
        ("undefined", format!("int missing(void); int f(void) {{ return missing(); }}\n{TABLES}"), "cannot be loaded: "),
    ] {
        let path = directory.c(name, &source);
        let error = load(&path).unwrap_err().to_string();
        assert!(error.contains(expected), "{name}: {error}");
        assert!(error.starts_with(path.to_str().unwrap()), "{name}: {error}");
    }
    // one for another machine: RISC-V is number 243 (elf.h)
    let mut foreign = fs::read(directory.path("libnosymbol.so")).unwrap();
    foreign[18] = 243;
    let path = directory.path("libforeign.so");
    fs::write(&path, foreign).unwrap();
    let error = load(&path).unwrap_err().to_string();
    let named = format!("{} is built for riscv64, and this is ", path.display());
    assert!(error.starts_with(&named), "{error}");
    let path = directory.path("libtext.so");
    fs::write(&path, "not a library at all").unwrap();
    assert!(matches!(load(&path), Err(PluginError::NotALibrary { .. })));
    let missing = load(Path::new("/nonexistent/libx.so"))
        .unwrap_err()
        .to_string();
    assert!(
        missing.starts_with("cannot read /nonexistent/libx.so: "),
        "{missing}"
    );
}

#[test]
fn a_plugin_of_a_newer_minor_version_is_taken() {
    let directory = Directory::new();
    let source =
        format!("#define MINOR 7\n#define RULES_SIZE sizeof(LannerRulePlugin) + 64\n{TABLES}");
    let plugin = load(&directory.c("newer", &source)).unwrap();
    assert_eq!(plugin.abi(), (1, 7));
    RuleHost::open(&plugin, &Table, &[], "").unwrap();
}

#[test]
fn a_plugin_of_an_older_minor_version_does_without_what_came_later() {
    let directory = Directory::new();
    let size = "#define RULES_SIZE offsetof(LannerRulePlugin, check)";
    let plugin =
        load(&directory.c("older", &format!("#define MINOR 0\n{size}\n{TABLES}"))).unwrap();
    assert_eq!(plugin.abi(), (1, 0));
    assert_eq!(RuleHost::check(&plugin, &Table, &[], "").unwrap(), []);
    let file = RuleFile {
        name: "r.yaml".to_owned(),
        text: Vec::new(),
    };
    let said = RuleHost::check(&plugin, &Table, &[file], "").unwrap();
    assert_eq!(said.len(), 1);
    assert_eq!(said[0].message, "r.yaml:1:1: no good");
    assert_eq!(said[0].severity, Severity::Error);
    let mut host = RuleHost::open(&plugin, &Table, &[], "").unwrap();
    let error = host.explain(0).unwrap_err().to_string();
    assert!(
        error.contains("failed to explain a rule: it has no function for that"),
        "{error}"
    );
    assert_eq!(host.comparisons().unwrap(), []);
    assert_eq!(host.needs(), []);
}

#[test]
fn what_others_may_write_is_refused_before_it_is_opened() {
    let directory = Directory::new();
    let path = directory.c("sample", TABLES);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o775)).unwrap();
    let error = load(&path).unwrap_err().to_string();
    assert!(
        error.contains("may write to") && error.contains("chmod go-w"),
        "{error}"
    );
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    load(&path).unwrap();
    fs::set_permissions(directory.0.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let refused = load(&path).unwrap_err().to_string();
    assert!(refused.contains("may write to"), "{refused}");
}

#[test]
fn directories_are_listed_with_what_was_refused() {
    let (one, two) = (Directory::new(), Directory::new());
    one.c("sample", TABLES);
    one.c("broken", "int x;");
    two.c("again", TABLES);
    let directories = [one.path(""), two.path(""), PathBuf::from("/nonexistent")];
    let found: Vec<_> = list(&directories)
        .into_iter()
        .map(|found| {
            let name = found.path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, found.plugin.map_err(|error| error.to_string()))
        })
        .collect();
    assert_eq!(found.len(), 3);
    assert!(matches!(&found[0], (name, Err(_)) if name == "libbroken.so"));
    assert!(matches!(&found[1], (name, Ok(_)) if name == "libsample.so"));
    assert!(matches!(&found[2], (_, Err(error)) if error.contains("is called `sample`, too")));
    assert_eq!(find(&directories, "sample").unwrap().name(), "sample");
    let error = find(&directories, "other").unwrap_err().to_string();
    assert!(
        error.contains("no plugin `other`") && error.contains("libbroken.so"),
        "{error}"
    );
}
