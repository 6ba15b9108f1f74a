//! Tests with real rule files: our default rules, and Falco's where they are at hand.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::ffi::c_void;
use std::path::{Path, PathBuf};

use lanner_plugin::abi::{LannerEvent, LannerValue};
use lanner_plugin::{Event, EventTypes, FieldKind, RawValue, ResolvedField, Value};

use super::*;

/// A host that knows the fields of a table, and numbers what it is asked for.
struct Host {
    /// Name without argument, kind, whether it is a list, whether it has candidates.
    fields: Vec<(String, FieldKind, bool, bool)>,
    used: RefCell<Vec<String>>,
    types: RefCell<Vec<String>>,
}

impl Names for Host {
    fn field(&self, name: &str, arg: Option<&str>) -> Result<ResolvedField, String> {
        let known = self.fields.iter().find(|(known, ..)| known == name);
        let (_, kind, list, any) = known.ok_or_else(|| "not in the table".to_owned())?;
        let full = arg.map_or(name.to_owned(), |arg| format!("{name}[{arg}]"));
        let field = ResolvedField::new(number(&self.used, &full), *kind);
        Ok(match (*list && arg.is_none(), *any && arg.is_none()) {
            (true, _) => field.list(),
            (_, true) => field.any(),
            _ => field,
        })
    }

    fn event_type(&self, name: &str) -> Result<u32, String> {
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

/// The fields that the engine has from the start.
fn first_fields() -> Host {
    let tables: [(FieldKind, &str); 5] = [
        (
            FieldKind::String,
            "evt.type evt.res evt.arg evt.args proc.name proc.pname proc.aname proc.exe \
             proc.exepath proc.args proc.cmdline proc.cwd fd.name fd.nameraw fd.directory \
             fd.filename fd.type fd.typechar fd.l4proto user.name",
        ),
        (
            FieldKind::I64,
            "evt.rawres proc.pid proc.ppid proc.tty fd.num user.loginuid",
        ),
        (FieldKind::U64, "fd.cport fd.sport user.uid"),
        (FieldKind::Ip, "fd.cip fd.sip"),
        (
            FieldKind::Bool,
            "evt.is_open_read evt.is_open_write evt.failed proc.is_exe_from_memfd",
        ),
    ];
    let fields = tables.iter().flat_map(|(kind, names)| {
        let row = |name: &str| (name.to_owned(), *kind, false, false);
        names.split_whitespace().map(row)
    });
    Host {
        fields: fields.collect(),
        used: RefCell::default(),
        types: RefCell::default(),
    }
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

fn default_rules(host: &Host) -> FalcoRules {
    let path = workspace().join("rules/lanner_rules.yaml");
    let loaded = load_file(&path, host, Settings::default());
    assert_eq!(loaded.diagnostics, []);
    loaded.result.unwrap_or_else(|error| panic!("{error}"))
}

struct Fields<'a> {
    names: Vec<String>,
    values: Vec<(&'a str, Value<'a>)>,
    fetched: Cell<usize>,
}

unsafe extern "C" fn get(ctx: *const c_void, field: u32, value: *mut LannerValue) {
    // SAFETY: `ctx` is the table of `matched`, `value` is the caller's.
    unsafe {
        let fields = &*ctx.cast::<Fields<'_>>();
        fields.fetched.set(fields.fetched.get() + 1);
        let name = &fields.names[field as usize];
        let found = fields.values.iter().find(|(known, _)| known == name);
        *value = RawValue::from(found.map_or(Value::None, |(_, value)| *value)).abi();
    }
}

/// The rule that an event matches. `text` is `type field=value ...`; values are read by kind.
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

/// What must raise which rule, and what must raise none.
const CASES: &[(&str, &str)] = &[
    (
        "Password hashes read",
        "openat evt.is_open_read=true fd.name=/etc/shadow proc.name=cat",
    ),
    (
        "Password hashes read",
        "openat2 evt.is_open_read=true fd.name=/etc/gshadow proc.name=vi",
    ),
    (
        "Password hashes read",
        "openat evt.is_open_read=true fd.name=/etc/shadow proc.name=sudo proc.exepath=/tmp/sudo",
    ),
    (
        "",
        "openat evt.is_open_read=true fd.name=/etc/shadow proc.name=cat fd.num=-13",
    ),
    (
        "",
        "openat evt.is_open_read=true fd.name=/etc/hosts proc.name=cat",
    ),
    (
        "",
        "openat evt.is_open_read=true fd.name=/etc/shadow proc.name=sshd proc.exepath=/usr/sbin/sshd",
    ),
    (
        "",
        "openat evt.is_open_read=true fd.name=/etc/shadow proc.name=sudo",
    ),
    (
        "",
        "openat evt.is_open_read=true fd.name=/etc/shadow proc.name=su",
    ),
    (
        "",
        "openat evt.is_open_read=true fd.name=/etc/shadow proc.name=login",
    ),
    (
        "",
        "openat evt.is_open_read=true fd.name=/etc/shadow proc.name=passwd",
    ),
    (
        "",
        "openat evt.is_open_read=true fd.name=/etc/shadow proc.name=chage",
    ),
    (
        "",
        "openat evt.is_open_read=true fd.name=/etc/shadow proc.name=useradd",
    ),
    (
        "",
        "openat evt.is_open_read=true fd.name=/etc/shadow proc.name=unix_chkpwd",
    ),
    (
        "",
        "openat evt.is_open_read=true fd.name=/etc/shadow proc.name=cron",
    ),
    (
        "",
        "openat evt.is_open_read=true fd.name=/etc/shadow proc.name=(sd-pam)",
    ),
    (
        "",
        "openat evt.is_open_read=true fd.name=/etc/shadow proc.name=cp proc.pname=passwd",
    ),
    (
        "",
        "openat evt.is_open_read=true fd.name=/etc/shadow proc.name=grep proc.pname=postinst",
    ),
    (
        "SSH private key read",
        "openat evt.is_open_read=true fd.name=/root/.ssh/id_ed25519 proc.name=cat",
    ),
    (
        "SSH private key read",
        "open evt.is_open_read=true fd.name=/home/joe/.ssh/id_rsa proc.name=tar",
    ),
    (
        "",
        "open evt.is_open_read=true fd.name=/home/joe/.ssh/id_rsa.pub proc.name=cat",
    ),
    (
        "",
        "open evt.is_open_read=true fd.name=/home/joe/.ssh/id_rsa proc.name=ssh",
    ),
    (
        "Program run from memory",
        "execve evt.rawres=0 proc.is_exe_from_memfd=true proc.name=3",
    ),
    (
        "",
        "execve evt.rawres=0 proc.is_exe_from_memfd=false proc.name=ls",
    ),
    (
        "",
        "execve evt.rawres=-2 proc.is_exe_from_memfd=true proc.name=3",
    ),
    (
        "Program run from shared memory",
        "execve evt.rawres=0 proc.exepath=/dev/shm/x proc.name=x",
    ),
    (
        "Program run from shared memory",
        "execve evt.rawres=0 proc.name=sh proc.args=/dev/shm/x.sh",
    ),
    (
        "Shell started by a server",
        "execve evt.rawres=0 proc.name=sh proc.pname=nginx",
    ),
    (
        "Shell started by a server",
        "execve evt.rawres=0 proc.name=bash proc.pname=php-fpm8.2",
    ),
    (
        "Shell started by a server",
        "execve evt.rawres=0 proc.name=bash proc.pname=perl proc.aname[2]=apache2",
    ),
    ("", "execve evt.rawres=0 proc.name=bash proc.pname=sshd"),
    ("", "execve evt.rawres=0 proc.name=ls proc.pname=nginx"),
    (
        "",
        "execve evt.rawres=0 proc.name=sh proc.pname=postgres proc.cmdline=cp-pg_wal/1",
    ),
    (
        "Start-up or access configuration changed",
        "openat evt.is_open_write=true fd.name=/etc/ld.so.preload proc.name=cp",
    ),
    (
        "Start-up or access configuration changed",
        "openat evt.is_open_write=true fd.name=/etc/cron.d/x proc.name=vi",
    ),
    (
        "Start-up or access configuration changed",
        "creat fd.name=/root/.ssh/authorized_keys proc.name=tee",
    ),
    (
        "",
        "openat evt.is_open_write=true fd.name=/etc/passwd proc.name=useradd",
    ),
    (
        "",
        "openat evt.is_open_write=true fd.name=/etc/cron.d/x proc.name=dpkg",
    ),
    (
        "",
        "openat evt.is_open_write=true fd.name=/etc/pam.d/x proc.name=cp proc.pname=sh proc.aname[2]=postinst",
    ),
    (
        "File below /etc written",
        "openat evt.is_open_write=true fd.name=/etc/foo.conf proc.name=vi",
    ),
    (
        "",
        "openat evt.is_open_write=true fd.name=/etc/ld.so.cache~ proc.name=ldconfig",
    ),
    (
        "",
        "openat evt.is_open_write=true fd.name=/home/joe/etc/x proc.name=vi",
    ),
    (
        "File below a binary directory written",
        "openat evt.is_open_write=true fd.name=/usr/bin/ls proc.name=cp",
    ),
    (
        "File below a binary directory written",
        "openat evt.is_open_write=true fd.name=/bin/x proc.name=dpkg proc.exepath=/tmp/dpkg",
    ),
    (
        "",
        "openat evt.is_open_write=true fd.name=/usr/bin/ls.dpkg-new proc.name=dpkg",
    ),
    (
        "",
        "openat evt.is_open_write=true fd.name=/home/joe/bin/x proc.name=ld",
    ),
    (
        "Log truncated",
        "openat evt.is_open_write=true fd.name=/var/log/auth.log fd.filename=auth.log evt.arg[flags]=O_WRONLY|O_CREAT|O_TRUNC proc.name=sh",
    ),
    (
        "Log truncated",
        "openat evt.is_open_write=true fd.name=/var/log/auth.log evt.arg[flags]=O_WRONLY|O_TRUNC proc.name=bash",
    ),
    (
        "Log truncated",
        "creat fd.name=/tmp/x/syslog fd.filename=syslog proc.name=python3",
    ),
    (
        "",
        "openat evt.is_open_write=true fd.name=/var/log/auth.log evt.arg[flags]=O_WRONLY|O_APPEND proc.name=sh",
    ),
    (
        "",
        "openat evt.is_open_write=true fd.name=/var/log/x evt.arg[flags]=O_WRONLY|O_TRUNC proc.name=logrotate",
    ),
    (
        "",
        "openat evt.is_open_write=true fd.name=/home/j/.bash_history fd.filename=.bash_history evt.arg[flags]=O_WRONLY|O_TRUNC proc.name=bash",
    ),
    (
        "Set-user-ID or set-group-ID bit set",
        "chmod evt.rawres=0 evt.arg[mode]=S_ISUID|S_IXUSR proc.name=chmod",
    ),
    (
        "Set-user-ID or set-group-ID bit set",
        "fchmodat evt.rawres=0 evt.arg[mode]=S_ISGID|S_IXUSR proc.name=chmod",
    ),
    (
        "",
        "fchmodat evt.rawres=0 evt.arg[mode]=S_IRUSR|S_IXUSR proc.name=chmod",
    ),
    (
        "",
        "fchmodat evt.rawres=-1 evt.arg[mode]=S_ISUID proc.name=chmod",
    ),
    (
        "",
        "fchmod evt.rawres=0 evt.arg[mode]=S_ISUID|S_IXUSR proc.name=dpkg",
    ),
    (
        "Process attached to by ptrace",
        "ptrace evt.rawres=0 evt.arg[request]=PTRACE_ATTACH proc.name=x",
    ),
    (
        "",
        "ptrace evt.rawres=0 evt.arg[request]=PTRACE_TRACEME proc.name=x",
    ),
    (
        "",
        "ptrace evt.rawres=-1 evt.arg[request]=PTRACE_ATTACH proc.name=x",
    ),
    (
        "Kernel module loaded",
        "finit_module evt.rawres=-1 proc.name=insmod",
    ),
    (
        "Kernel module loaded",
        "init_module evt.rawres=0 proc.name=modprobe proc.pname=bash",
    ),
    (
        "",
        "finit_module evt.rawres=0 proc.name=modprobe proc.pname=kworker/u8:1",
    ),
    ("", "finit_module evt.rawres=0 proc.name=(udev-worker)"),
    (
        "Namespace changed",
        "unshare evt.rawres=0 evt.arg[flags]=CLONE_NEWNS proc.name=unshare",
    ),
    ("Namespace changed", "setns evt.rawres=0 proc.name=nsenter"),
    (
        "",
        "unshare evt.rawres=0 evt.arg[flags]=CLONE_FS proc.name=smbd",
    ),
    (
        "",
        "unshare evt.rawres=0 evt.arg[flags]=CLONE_NEWNS proc.name=(crond) proc.pname=systemd",
    ),
    ("", "setns evt.rawres=0 proc.name=runc"),
    (
        "Outbound connection by a shell",
        "connect evt.rawres=0 proc.name=bash fd.typechar=4 fd.l4proto=tcp fd.sip=192.0.2.1",
    ),
    (
        "Outbound connection by a shell",
        "connect evt.rawres=-115 evt.res=EINPROGRESS proc.name=zsh fd.typechar=6 fd.l4proto=tcp fd.sip=2001:db8::1",
    ),
    (
        "",
        "connect evt.rawres=0 proc.name=bash fd.typechar=4 fd.l4proto=tcp fd.sip=127.0.0.1",
    ),
    (
        "",
        "connect evt.rawres=0 proc.name=curl fd.typechar=4 fd.l4proto=tcp fd.sip=192.0.2.1",
    ),
    ("", "connect evt.rawres=0 proc.name=bash fd.typechar=u"),
];

#[test]
fn default_rules_match_what_they_should_and_nothing_else() {
    let host = first_fields();
    let mut rules = default_rules(&host);
    let mut seen = BTreeSet::new();
    for (expected, event) in CASES {
        let found = matched(&mut rules, &host, event).unwrap_or_default();
        assert_eq!(found, *expected, "{event}");
        seen.insert(found);
    }
    for rule in &rules.rules {
        assert!(seen.contains(&rule.name), "no case for {}", rule.name);
    }
}

#[test]
fn default_rules_are_complete_and_leave_most_event_types_alone() {
    let rules = default_rules(&first_fields());
    assert!(rules.rules.len() >= 10);
    for rule in &rules.rules {
        assert!(rule.enabled && rule.description.len() > 40, "{}", rule.name);
        let technique = |tag: &String| {
            let digits = tag.strip_prefix('T').unwrap_or_default();
            digits.len() >= 4 && digits.bytes().all(|b| b.is_ascii_digit() || b == b'.')
        };
        assert!(
            rule.tags.iter().any(technique),
            "{}: no ATT&CK technique",
            rule.name
        );
        assert!(
            rule.tags.iter().any(|tag| tag.starts_with("mitre_")),
            "{}",
            rule.name
        );
    }
    let EventTypes::Only(types) = &rules.event_types else {
        panic!("all event types");
    };
    for costly in ["read", "write", "close", "mmap"] {
        assert!(!types.iter().any(|name| name == costly), "{costly}");
    }
}

/// Falco's rule file with a host that has all of Falco's fields.
#[test]
fn the_rules_of_falco_load() {
    let shared = std::env::var_os("LANNER_SHARED")
        .map_or_else(|| workspace().join("../shared"), PathBuf::from)
        .join("reference/falco");
    if !shared.exists() {
        println!(
            "skipped: {} is not there; set LANNER_SHARED",
            shared.display()
        );
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
