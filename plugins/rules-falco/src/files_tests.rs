//! Tests with real rule files: lanner's default rules, and Falco's if they are available.

use std::cell::{Cell, RefCell};
use std::ffi::c_void;
use std::path::{Path, PathBuf};

use lanner_plugin::abi::{LannerEvent, LannerValue};
use lanner_plugin::{Event, EventTypes, FieldKind, RawValue, ResolvedField, UnknownName, Value};

use super::*;

/// A host that has the fields of a table, and numbers fields and event types in the order of their look-up.
struct Host {
    /// Name without argument, kind, whether it is a list, whether it has candidates.
    fields: Vec<(String, FieldKind, bool, bool)>,
    used: RefCell<Vec<String>>,
    types: RefCell<Vec<String>>,
}

impl Names for Host {
    fn field(&self, name: &str, arg: Option<&str>) -> Result<ResolvedField, UnknownName> {
        let known = self.fields.iter().find(|(known, ..)| known == name);
        let (_, kind, list, any) = known.ok_or_else(|| UnknownName {
            reason: "not in the table".to_owned(),
        })?;
        let full = arg.map_or(name.to_owned(), |arg| format!("{name}[{arg}]"));
        let field = ResolvedField::new(number(&self.used, &full), *kind);
        Ok(match (*list && arg.is_none(), *any && arg.is_none()) {
            (true, _) => field.list(),
            (_, true) => field.any(),
            _ => field,
        })
    }

    fn event_type(&self, name: &str) -> Result<u32, UnknownName> {
        Ok(number(&self.types, name))
    }
}

fn number(known: &RefCell<Vec<String>>, name: &str) -> u32 {
    let mut known = known.borrow_mut();
    let at = known.iter().position(|known| known == name);
    let at = at.unwrap_or_else(|| {
        known.push(name.to_owned());
        known.len() - 1
    });
    u32::try_from(at).unwrap()
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn load_file(path: &Path, host: &Host, settings: Settings) -> Loaded {
    let text = std::fs::read(path).unwrap();
    let file = File {
        name: path.display().to_string(),
        text: &text,
    };
    load(&[file], host, settings)
}

fn without_notes(loaded: &Loaded) -> Vec<String> {
    let all = loaded.diagnostics.iter();
    all.filter(|one| one.severity != Severity::Note)
        .map(Diagnostic::to_string)
        .collect()
}

struct Fields<'a> {
    names: Vec<String>,
    values: Vec<(&'a str, Value<'a>)>,
    fetched: Cell<usize>,
}

unsafe extern "C" fn get(ctx: *const c_void, field: u32, value: *mut LannerValue) {
    // SAFETY: `ctx` is the table of `matched`, and `value` is a place of the caller.
    unsafe {
        let fields = &*ctx.cast::<Fields<'_>>();
        fields.fetched.set(fields.fetched.get() + 1);
        let name = &fields.names[field as usize];
        let found = fields.values.iter().find(|(known, _)| known == name);
        *value = RawValue::from(found.map_or(Value::None, |(_, value)| *value)).abi();
    }
}

/// The rule that an event matches. `text` is `type field=value ...`; each value is parsed by the kind of its field.
fn matched(rules: &mut FalcoRules, host: &Host, text: &str) -> Option<String> {
    let mut words = text.split_whitespace();
    let event_type = words.next().unwrap();
    let defaults = [
        "proc.pid=7",
        "proc.exepath=/usr/bin/x",
        "evt.rawres=3",
        "fd.num=3",
        "fd.typechar=f",
    ];
    let values = words.chain(defaults).map(|word| {
        let (name, value) = word.split_once('=').unwrap();
        let base = name.split('[').next().unwrap();
        let kind = host
            .fields
            .iter()
            .find(|(known, ..)| known == base)
            .unwrap()
            .1;
        let value = match kind {
            FieldKind::I64 => Value::I64(value.parse().unwrap()),
            FieldKind::U64 => Value::U64(value.parse().unwrap()),
            FieldKind::Bool => Value::Bool(value.parse().unwrap()),
            FieldKind::Ip => Value::Ip(value.parse().unwrap()),
            _ => Value::String(value.as_bytes()),
        };
        (name, value)
    });
    let fields = Fields {
        values: values.collect(),
        names: host.used.borrow().clone(),
        fetched: Cell::new(0),
    };
    let raw = LannerEvent {
        size: size_of::<LannerEvent>(),
        ctx: (&raw const fields).cast(),
        get: Some(get),
        event_type: host.event_type(event_type).unwrap(),
        reserved: 0,
    };
    let mut first = None;
    // SAFETY: the event and its values live through the call.
    let event = unsafe { Event::from_abi(&raw) };
    rules.program.run(&event, |rule| {
        first = Some(rules.rules[rule as usize].name.clone());
        false
    });
    first
}

/// Loads Falco's rule file with a host that has all of Falco's fields.
#[test]
fn the_rules_of_falco_load() {
    let shared = std::env::var_os("LANNER_SHARED")
        .map_or_else(|| workspace().join("../shared"), PathBuf::from)
        .join("reference/falco");
    if !shared.exists() {
        test_support::absent(&shared);
        return;
    }
    let table = std::fs::read_to_string(shared.join("fields.tsv")).unwrap();
    let mut fields: Vec<_> = table
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let columns: Vec<_> = line.split('\t').collect();
            let (name, kind, flags) = (columns[1], columns[2], columns[3]);
            let kind = match kind {
                "CHARBUF" | "FSPATH" => FieldKind::String,
                "BYTEBUF" => FieldKind::Bytes,
                "BOOL" => FieldKind::Bool,
                "IPADDR" | "IPNET" => FieldKind::Ip,
                "DYN" => FieldKind::Any,
                kind if kind.starts_with("INT") => FieldKind::I64,
                _ => FieldKind::U64,
            };
            let any = name.starts_with("proc.a") && flags.contains("NO_RHS");
            (name.to_owned(), kind, flags.contains("IS_LIST"), any)
        })
        .collect();
    for name in [
        "container.id",
        "container.image.repository",
        "container.start_ts",
        "k8s.ns.name",
    ] {
        fields.push((name.to_owned(), FieldKind::String, false, false));
    }
    fields.push((
        "container.privileged".to_owned(),
        FieldKind::Bool,
        false,
        false,
    ));
    let host = Host {
        fields,
        used: RefCell::default(),
        types: RefCell::default(),
    };
    let path = shared.join("falco_rules.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    let count = text.matches("\n- rule: ").count();
    let loaded = load_file(&path, &host, Settings::default());
    assert_eq!(without_notes(&loaded), [] as [&str; 0]);
    let mut rules = loaded.result.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(rules.rules.len(), count);
    assert!(count > 20, "{count}");
    assert!(matches!(rules.event_types, EventTypes::Only(_)));
    for (expected, event) in [
        (
            "Read sensitive file untrusted",
            "openat evt.is_open_read=true fd.name=/etc/shadow fd.directory=/etc proc.name=cat",
        ),
        (
            "Directory traversal monitored file read",
            "openat evt.is_open_read=true fd.name=/etc/shadow fd.nameraw=/etc/../etc/../etc/shadow proc.name=cat proc.pname=x",
        ),
        (
            "PTRACE anti-debug attempt",
            "ptrace evt.arg[request]=PTRACE_TRACEME proc.name=x",
        ),
        (
            "Fileless execution via memfd_create",
            "execve proc.is_exe_from_memfd=true proc.name=x evt.num=1",
        ),
        (
            "",
            "openat evt.is_open_read=true fd.name=/etc/hosts proc.name=cat",
        ),
    ] {
        let found = matched(&mut rules, &host, event).unwrap_or_default();
        assert_eq!(found, expected, "{event}");
    }
}
