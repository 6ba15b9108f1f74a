use std::net::{IpAddr, Ipv4Addr};

use driver_api::event::{Abi, Event, EventKind, Fact, Flags, Ids};
use driver_api::table::Multiplexed;

use super::*;
use inspect::Inspector;
use inspect::testing::{Ev, Noise, deliver, isolated};
use lanner_plugin::{FieldKind, FieldResolver, FieldSource, OwnedValue, Value};

/// The values that fields have for the last of some events.
fn ask_of(inspector: &mut Inspector, events: &[Ev], fields: &[&str]) -> Vec<OwnedValue> {
    let registry = FieldRegistry::new("host");
    let ids: Vec<FieldId> = fields.iter().map(|name| resolve(&registry, name)).collect();
    let fields = registry.fields();
    let mut values = Vec::new();
    let mut scratch = Scratch::default();
    deliver(events, |event| {
        scratch.reset();
        let seen = inspector.update(event);
        let view = View::new(&fields, inspector, event, &seen, &scratch);
        values = ids.iter().map(|id| view.value(*id).to_owned()).collect();
    });
    values
}

fn resolve(registry: &FieldRegistry, text: &str) -> FieldId {
    let (name, arg) = match text.split_once('[') {
        Some((name, arg)) => (name, arg.strip_suffix(']')),
        None => (text, None),
    };
    registry.field(name, arg).unwrap()
}

pub(super) fn expect(events: &[Ev], expected: &[(&str, OwnedValue)]) {
    let names: Vec<&str> = expected.iter().map(|(name, _)| *name).collect();
    let values = ask_of(&mut isolated(), events, &names);
    for ((name, expected), value) in expected.iter().zip(values) {
        let text = |v: &OwnedValue| v.scalar().as_str().map(str::to_owned);
        assert_eq!(&value, expected, "{name}: {:?}", text(&value));
    }
}

pub(super) fn s(text: &str) -> OwnedValue {
    OwnedValue::String(text.as_bytes().to_vec())
}

pub(super) fn i(number: i64) -> OwnedValue {
    OwnedValue::I64(number)
}

fn u(number: u64) -> OwnedValue {
    OwnedValue::U64(number)
}

pub(super) const YES: OwnedValue = OwnedValue::Bool(true);
pub(super) const NO: OwnedValue = OwnedValue::Bool(false);
pub(super) const NONE: OwnedValue = OwnedValue::None;

fn ids(ppid: u32) -> Ids {
    Ids {
        ppid,
        pgid: 20,
        sid: 20,
        loginuid: u32::MAX,
        uid: 1000,
        euid: 33,
        egid: 34,
        tty: 34816,
        ..Ids::default()
    }
}

fn shells() -> Vec<Ev> {
    vec![
        Ev::exec(20, "/usr/sbin/nginx", &["nginx: worker"], ids(1)).fact(Fact::Cwd, b"/srv"),
        Ev::fork(20, 21, 21, 0),
        Ev::exec(21, "/usr/bin/bash", &["/bin/sh", "-c", "id; ls"], ids(20))
            .strings(Fact::Env as u8, &["HOME=/root", "A=b=c"]),
        Ev::fork(21, 22, 22, 0),
        Ev::exec(22, "/usr/bin/cat", &["cat", "a b", "-n"], ids(21)),
    ]
}

pub(super) fn with(mut events: Vec<Ev>, last: Ev) -> Vec<Ev> {
    events.push(last);
    events
}

#[test]
fn a_process_tells_about_itself_and_its_ancestors() {
    expect(
        &shells(),
        &[
            ("proc.name", s("cat")),
            ("proc.exe", s("cat")),
            ("proc.exepath", s("/usr/bin/cat")),
            ("proc.args", s("a b -n")),
            ("proc.args[0]", s("a b")),
            ("proc.args[7]", s("")),
            ("proc.cmdline", s("cat a b -n")),
            ("proc.cmdnargs", u(2)),
            ("proc.pid", i(22)),
            ("proc.ppid", i(21)),
            ("proc.pname", s("bash")),
            ("proc.pexe", s("/bin/sh")),
            ("proc.pcmdline", s("bash -c id; ls")),
            ("proc.aname[0]", s("cat")),
            ("proc.aname[1]", s("bash")),
            ("proc.aname[2]", s("nginx")),
            ("proc.aname[3]", NONE),
            ("proc.aname", OwnedValue::List(vec![s("bash"), s("nginx")])),
            (
                "proc.aname[-1]",
                OwnedValue::List(vec![s("bash"), s("nginx")]),
            ),
            ("proc.aname[-2]", NONE),
            ("proc.aname[ 1]", s("bash")),
            ("proc.args[-1]", s("a b -n")),
            ("proc.apid", OwnedValue::List(vec![i(21), i(20)])),
            ("proc.cwd", s("/srv/")),
            ("proc.tty", u(34816)),
            ("proc.sid", i(20)),
            ("proc.sname", s("nginx")),
            ("proc.is_sid_leader", NO),
            ("proc.env[HOME]", s("/root")),
            ("proc.env[A]", s("b=c")),
            ("proc.env[HOM]", s("")),
            ("proc.aenv[NOPE]", s("")),
            ("proc.env", s("HOME=/root A=b=c")),
            ("proc.loginshellid", i(21)),
            ("proc.is_exe_from_memfd", NO),
            ("proc.nthreads", u(1)),
            ("thread.tid", i(22)),
            ("thread.nametid", s("cat22")),
            ("thread.ismain", YES),
            ("user.uid", u(33)),
            ("user.name", s("<NA>")),
            ("user.homedir", s("<NA>")),
            ("user.shell", s("<NA>")),
            ("user.loginname", s("<NA>")),
            ("group.name", s("<NA>")),
            ("user.loginuid", i(-1)),
            ("group.gid", u(34)),
            ("evt.type", s("execve")),
        ],
    );
}

#[test]
fn an_open_tells_what_was_opened() {
    let open = Ev::call(22, "openat", &[-100, 1, 0o101, 0o755], 3).said(1, b"../etc/./shadow");
    expect(
        &with(shells(), open),
        &[
            ("evt.type", s("openat")),
            ("evt.res", s("SUCCESS")),
            ("evt.rawres", i(3)),
            ("evt.failed", NO),
            ("evt.dir", s("<")),
            ("evt.num", u(6)),
            ("evt.category", s("file")),
            ("evt.source", s("syscall")),
            ("evt.hostname", s("host")),
            ("evt.is_open_read", NO),
            ("evt.is_open_write", YES),
            ("evt.is_open_create", YES),
            ("evt.is_open_exec", YES),
            ("evt.rawtime", u(1_767_225_605_000_000_000)),
            ("evt.time.iso8601", s("2026-01-01T00:00:05.000000000+0000")),
            ("evt.arg.path", s("/etc/shadow")),
            ("evt.rawarg.path", s("../etc/./shadow")),
            ("evt.arg.name", s("/etc/shadow")),
            ("evt.arg[name]", s("/etc/shadow")),
            ("evt.arg[0]", s("<f>/etc/shadow")),
            ("evt.arg.fd", s("<f>/etc/shadow")),
            ("evt.arg[2]", s("/etc/shadow")),
            ("evt.rawarg.dirfd", i(-100)),
            ("evt.rawarg.res", i(3)),
            ("evt.arg.addr", NONE),
            ("fd.num", i(3)),
            ("fd.name", s("/etc/shadow")),
            ("fd.nameraw", s("../etc/./shadow")),
            ("fd.directory", s("/etc")),
            ("fd.filename", s("shadow")),
            ("fd.type", s("file")),
            ("fd.typechar", s("f")),
            ("fd.sip", NONE),
            ("fs.path.name", s("/etc/shadow")),
            ("fs.path.nameraw", s("../etc/./shadow")),
        ],
    );
}

#[test]
fn a_call_that_was_seen_at_its_entry_has_no_result() {
    let mut open = Ev::call(22, "openat", &[-100, 1, 0o102, 0o600], 0).said(1, b"x");
    open.header.flags = Flags::ENTRY;
    expect(
        &with(shells(), open),
        &[
            ("evt.type", s("openat")),
            ("evt.res", NONE),
            ("evt.rawres", NONE),
            ("evt.failed", NONE),
            ("evt.rawarg.res", NONE),
            ("evt.arg.res", NONE),
            ("evt.arg.fd", NONE),
            ("evt.arg.path", s("/srv/x")),
            ("fd.num", NONE),
            ("fd.name", s("/srv/x")),
            ("fd.nameraw", s("x")),
            ("fd.filename", s("x")),
            ("fd.typechar", s("f")),
            ("fd.type", NONE),
            ("evt.is_open_read", YES),
            ("evt.is_open_create", NONE),
        ],
    );
}

#[test]
fn a_failed_open_has_a_name_but_no_number() {
    let open = Ev::call(22, "openat", &[-100, 1, 2], -13).said(1, b"x");
    expect(
        &with(shells(), open),
        &[
            ("evt.res", s("EACCES")),
            ("evt.rawres", i(-13)),
            ("evt.failed", YES),
            ("fd.num", i(-1)),
            ("fd.name", s("/srv/x")),
            ("fd.nameraw", s("x")),
            ("fd.directory", s("/srv")),
            ("fd.filename", NONE),
            ("fd.typechar", s("f")),
            ("fd.type", NONE),
            ("evt.is_open_read", YES),
            ("evt.is_open_write", YES),
            ("evt.is_open_create", NO),
            ("fs.path.name", s("/srv/x")),
            ("evt.arg.fd", s("EACCES")),
        ],
    );
    // Falco takes the result -1 (EPERM), and no other, for a failure here
    let refused = Ev::call(22, "openat", &[-100, 1, 2], -1).said(1, b"x");
    let expected = [("fd.name", s("/srv/x")), ("fs.path.name", NONE)];
    expect(&with(shells(), refused), &expected);
}

#[test]
fn openat2_has_its_flags_in_memory() {
    let how = [
        [0o101_u64.to_ne_bytes(), 0o700_u64.to_ne_bytes()].concat(),
        vec![0; 8],
    ]
    .concat();
    let open = Ev::call(22, "openat2", &[-100, 1, 2, 24], 3)
        .said(1, b"/x")
        .said(2, &how);
    expect(
        &[open],
        &[
            ("evt.is_open_write", YES),
            ("evt.is_open_read", NO),
            ("evt.is_open_exec", YES),
        ],
    );
    expect(
        &[Ev::call(22, "openat2", &[-100, 1, 2, 24], -14)],
        &[("evt.is_open_read", NO)],
    );
}

#[test]
fn a_descriptor_is_known_by_the_calls_that_use_it() {
    let open = Ev::call(22, "openat", &[-100, 1, 0], 3).said(1, b"/etc/hosts");
    let read = Ev::call(22, "read", &[3, 1, 9], 4).said(1, b"a\nb\xff");
    expect(
        &[open.clone(), read],
        &[
            ("fd.name", s("/etc/hosts")),
            ("fd.num", i(3)),
            ("evt.category", s("file")),
            ("evt.arg.fd", s("<f>/etc/hosts")),
            ("evt.buffer", OwnedValue::Bytes(b"a\nb\xff".to_vec())),
            ("evt.rawarg.data", OwnedValue::Bytes(b"a\nb\xff".to_vec())),
            ("fd.types", OwnedValue::List(vec![s("file")])),
            ("fd.types[3]", s("file")),
            ("fd.types[4]", NONE),
            ("proc.name", NONE),
            ("proc.pid", i(22)),
            ("proc.pname", NONE),
            ("proc.aname", NONE),
        ],
    );
    expect(
        &[open, Ev::call(22, "close", &[3], 0)],
        &[("fd.name", s("/etc/hosts"))],
    );
}

#[test]
fn a_connection_has_two_ends() {
    let here = ([10, 0, 0, 1], 4000);
    let there = ([1, 1, 1, 1], 443);
    let ip = |ip: [u8; 4]| OwnedValue::Ip(IpAddr::V4(Ipv4Addr::from(ip)));
    let connect = [
        Ev::call(22, "socket", &[2, 1, 0], 3),
        Ev::call(22, "connect", &[3, 1, 16], -115).tuple(here, there),
    ];
    expect(
        &connect,
        &[
            ("fd.name", s("10.0.0.1:4000->1.1.1.1:443")),
            ("fd.type", s("ipv4")),
            ("fd.typechar", s("4")),
            ("fd.l4proto", s("tcp")),
            ("fd.cip", ip(here.0)),
            ("fd.sip", ip(there.0)),
            ("fd.lip", ip(here.0)),
            ("fd.rip", ip(there.0)),
            ("fd.ip", OwnedValue::List(vec![ip(here.0), ip(there.0)])),
            ("fd.cport", u(4000)),
            ("fd.sport", u(443)),
            ("fd.lport", u(4000)),
            ("fd.rport", u(443)),
            ("fd.port", OwnedValue::List(vec![u(4000), u(443)])),
            ("fd.is_server", NO),
            ("fd.directory", NONE),
            ("evt.res", s("EINPROGRESS")),
        ],
    );
    let accept = [Ev::call(22, "accept", &[3, 0, 0], 4).tuple(here, there)];
    expect(
        &accept,
        &[
            ("fd.name", s("1.1.1.1:443->10.0.0.1:4000")),
            ("fd.cip", ip(there.0)),
            ("fd.sip", ip(here.0)),
            ("fd.lip", ip(here.0)),
            ("fd.is_server", YES),
            ("fd.num", i(4)),
        ],
    );
}

#[test]
fn calls_with_two_paths_have_source_and_target() {
    let rename = Ev::call(22, "rename", &[1, 2], 0)
        .said(0, b"a")
        .said(1, b"/b/../c");
    expect(
        &with(shells(), rename.clone()),
        &[
            ("fs.path.name", NONE),
            ("fs.path.source", s("/srv/a")),
            ("fs.path.sourceraw", s("a")),
            ("fs.path.target", s("/c")),
            ("fs.path.targetraw", s("/b/../c")),
            ("evt.arg.oldpath", s("/srv/a")),
            ("evt.arg.newpath", s("/b/../c")),
        ],
    );
    let link = Ev::call(22, "symlink", &[1, 2], 0)
        .said(0, b"/etc/shadow")
        .said(1, b"x");
    expect(
        &with(shells(), link),
        &[
            ("fs.path.source", s("/srv/x")),
            ("fs.path.target", s("/etc/shadow")),
            ("evt.arg.target", s("/etc/shadow")),
            ("evt.arg.linkpath", s("/srv/x")),
        ],
    );
    let unlink = Ev::call(22, "unlinkat", &[-100, 1, 0], 0).said(1, b"x");
    expect(
        &with(shells(), unlink),
        &[("fs.path.name", s("/srv/x")), ("fd.num", i(-1))],
    );
}

#[test]
fn events_that_are_no_calls_have_a_type_and_a_process() {
    expect(
        &with(shells(), Ev::exit(22, 22)),
        &[
            ("evt.type", s("procexit")),
            ("proc.name", s("cat")),
            ("evt.res", NONE),
            ("syscall.type", NONE),
        ],
    );
    expect(
        &[Ev::new(EventKind::Lost, 0)],
        &[
            ("evt.type", s("drop")),
            ("proc.pid", NONE),
            ("user.uid", NONE),
        ],
    );
}

#[test]
fn event_types_have_one_number_by_name_and_by_event() {
    let registry = FieldRegistry::new("host");
    let fields = registry.fields();
    let scratch = Scratch::default();
    let mut inspector = isolated();
    let events = with(shells(), Ev::call(22, "openat", &[-100, 1, 0], 3));
    deliver(&with(events, Ev::exit(22, 22)), |event| {
        let seen = inspector.update(event);
        let view = View::new(&fields, &inspector, event, &seen, &scratch);
        let name = event_type_name(event, &seen);
        assert_eq!(registry.event_type(name), Ok(view.event_type()), "{name}");
    });
    let error = registry.event_type("opneat").unwrap_err();
    assert!(error.reason.contains("did you mean `openat`"), "{error}");
}

#[test]
fn names_that_do_not_exist_are_refused_with_the_nearest() {
    let registry = FieldRegistry::new("host");
    let cases = [
        ("proc.nmae", None, "did you mean `proc.name`"),
        ("proc.aname", Some("x"), "a number"),
        ("proc.aname", Some("1x"), "a number"),
        ("proc.aname", Some("-99999999999"), "a number"),
        ("evt.arg", None, "`evt.arg.flags`"),
        ("evt.arg", Some("flgas"), "did you mean `flags`"),
        ("evt.arg.flgas", None, "did you mean `flags`"),
        ("proc.name", Some("1"), "no argument"),
        ("", None, "no field"),
    ];
    for (name, arg, expected) in cases {
        let error = registry.field(name, arg).unwrap_err();
        assert!(error.reason.contains(expected), "{name}: {error}");
    }
}

#[test]
fn a_field_has_one_number_and_says_what_it_is() {
    let registry = FieldRegistry::new("host");
    let field = |name, arg| registry.resolve(name, arg).unwrap();
    assert_eq!(
        field("proc.aname", Some("2")).id,
        field("proc.aname", Some("2")).id
    );
    assert_eq!(
        field("evt.arg.flags", None).id,
        field("evt.arg", Some("flags")).id
    );
    assert_ne!(
        field("proc.aname", Some("2")).id,
        field("proc.aname", None).id
    );
    assert!(field("proc.aname", None).any && !field("proc.aname", Some("2")).any);
    assert!(field("fd.ip", None).either && field("fd.types", None).list);
    assert_eq!(
        registry
            .fields()
            .get(&empty_view(&registry.fields(), &isolated()), 999),
        NONE.scalar()
    );
}

fn empty_view<'a>(fields: &'a Fields, inspector: &'a Inspector) -> View<'a> {
    let bytes = Box::leak(Ev::new(EventKind::Lost, 0).bytes().into_boxed_slice());
    let event = Box::leak(Box::new(Event::parse(bytes).unwrap()));
    let (seen, scratch) = Box::leak(Box::default());
    View::new(fields, inspector, event, seen, scratch)
}

#[test]
fn the_list_is_complete_and_each_row_says_something() {
    let mut names: Vec<&str> = FIELDS.iter().map(|def| def.name).collect();
    names.sort_unstable();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    for def in FIELDS {
        assert!(
            def.description.ends_with('.') && def.description.len() > 9,
            "{}",
            def.name
        );
    }
}

/// Every field of every event: no panic, and a value of the type that the list says.
#[test]
fn whatever_the_event_values_are_of_the_type_they_should_be() {
    let registry = FieldRegistry::new("host");
    let args = [
        "0", "1", "2", "31", "flags", "fd", "res", "data", "path", "addr", "tuple", "ids", "argv",
        "HOME",
    ];
    let mut asked = Vec::new();
    for def in FIELDS {
        for arg in std::iter::once(None).chain(args.map(Some)) {
            asked.extend(
                registry
                    .resolve(def.name, arg)
                    .map(|field| (def.name, field)),
            );
        }
    }
    let fields = registry.fields();
    let mut inspector = isolated();
    let mut scratch = Scratch::default();
    let mut noise = Noise(0xfeed_beef_dead_cafe);
    for _ in 0..3000 {
        let bytes = noise.event();
        let event = Event::parse(&bytes).unwrap();
        scratch.reset();
        let seen = inspector.update(&event);
        let view = View::new(&fields, &inspector, &event, &seen, &scratch);
        for (name, field) in &asked {
            let value = view.get(field.id);
            match value {
                Value::List(list) => {
                    assert!(field.list || field.any, "{name}");
                    assert!(
                        list.iter().all(|v| has_kind(v, field.kind)),
                        "{name}: {value:?}"
                    );
                }
                value => assert!(has_kind(value, field.kind), "{name}: {value:?}"),
            }
        }
    }
}

fn has_kind(value: Value<'_>, kind: FieldKind) -> bool {
    match value {
        Value::None => true,
        Value::Bool(_) => kind == FieldKind::Bool,
        Value::I64(_) => matches!(kind, FieldKind::I64 | FieldKind::Any),
        Value::U64(_) => matches!(kind, FieldKind::U64 | FieldKind::Any),
        Value::F64(_) => kind == FieldKind::F64,
        Value::String(_) => matches!(kind, FieldKind::String | FieldKind::Any),
        Value::Bytes(_) => matches!(kind, FieldKind::Bytes | FieldKind::Any),
        Value::Ip(_) => kind == FieldKind::Ip,
        Value::List(_) => false,
    }
}

#[test]
fn calls_of_32_bit_programs_have_the_type_of_the_call_that_is_meant() {
    let narrow = |nr: u32| {
        let mut event = Ev::call(22, "setuid", &[0], 0);
        event.header.abi = Abi::I386 as u8;
        event.header.nr = nr;
        with(shells(), event)
    };
    // setuid32
    expect(
        &narrow(213),
        &[
            ("evt.type", s("setuid")),
            ("syscall.type", s("setuid")),
            ("evt.type.is[setuid]", u(1)),
            ("evt.call", s("setuid32")),
        ],
    );
    // connect(2), made through socketcall(2)
    let connect = Multiplexed::of(Abi::I386, 102, 3).unwrap().number();
    expect(
        &narrow(connect),
        &[("evt.type", s("connect")), ("evt.call", s("socketcall"))],
    );
    expect(
        &narrow(1000),
        &[("evt.type", s("unknown")), ("evt.call", s("syscall_0x3e8"))],
    );
}

#[test]
fn a_type_is_known_by_the_names_of_all_its_calls() {
    let registry = FieldRegistry::new("host");
    let number = |name: &str| registry.event_type(name).unwrap();
    assert_eq!(number("setuid32"), number("setuid"));
    assert_ne!(number("setuid"), number("setgid"));
    assert!(registry.event_type("unknown").is_ok());
}

#[path = "falco_tests.rs"]
mod falco;

#[test]
fn a_call_of_which_a_capture_has_nothing_has_no_parameters() {
    let mut call = Ev::call(22, "rt_sigaction", &[2, 1, 1, 8], 0);
    for register in 0..4 {
        call.header.flags |= driver_api::event::lacks_flag(register);
    }
    call.header.flags |= Flags::NO_RESULT;
    expect(&with(shells(), call), &[("evt.args", s(""))]);
    let known = Ev::call(22, "close", &[9], -9);
    expect(
        &with(shells(), known),
        &[("evt.args", s("res=-9(EBADF) fd=9"))],
    );
}
