//! Values and names that rules for Falco rely on.

use super::*;

#[test]
fn ids_of_a_call_are_names_as_in_falco() {
    let root = Ids {
        euid: 0,
        egid: 0,
        ..ids(1)
    };
    let of = |call: Ev| vec![Ev::exec(20, "/usr/bin/su", &["su"], root), call];
    // The host has no users in this test.
    for (call, field, expected) in [
        (Ev::call(20, "setuid", &[0], 0), "evt.arg[uid]", "root"),
        (Ev::call(20, "setuid", &[4711], 0), "evt.arg[uid]", "<NA>"),
        (
            Ev::call(20, "setresgid", &[-1, 0, 7], 0),
            "evt.arg[rgid]",
            "<NONE>",
        ),
        (
            Ev::call(20, "setresgid", &[-1, 0, 7], 0),
            "evt.arg[egid]",
            "root",
        ),
        (Ev::call(20, "geteuid", &[], 0), "evt.arg[res]", "root"),
        (Ev::call(20, "kill", &[20, 9], 0), "evt.arg[pid]", "su"),
        (Ev::call(20, "kill", &[77, 9], 0), "evt.arg[pid]", "77"),
        // numbers where Falco's parameter has no names, and names where it has some, in Falco's order
        (
            Ev::call(20, "socket", &[17, 0x8_0003, 768], 3),
            "evt.arg.type",
            "524291",
        ),
        (
            Ev::call(20, "socket", &[17, 0x8_0003, 768], 3),
            "evt.arg[2]",
            "524291",
        ),
        (
            Ev::call(20, "socket", &[17, 0x8_0003, 768], 3),
            "evt.arg.domain",
            "AF_PACKET",
        ),
        (
            Ev::call(20, "socket", &[17, 0x8_0003, 768], 3),
            "kernel.arg.type",
            "SOCK_RAW|SOCK_CLOEXEC",
        ),
        (
            Ev::call(20, "ioctl", &[0, 0x5412, 0], 0),
            "evt.arg.request",
            "5412",
        ),
        (
            Ev::call(20, "ioctl", &[0, 0x5412, 0], 0),
            "kernel.arg.request",
            "TIOCSTI",
        ),
        (
            Ev::call(20, "mkdirat", &[-100, 0, 0o777], 0),
            "evt.arg.mode",
            "1FF",
        ),
        (
            Ev::call(20, "openat", &[-100, 0, 0x8_0041, 0o4755], -2),
            "evt.arg.flags",
            "O_CREAT|O_WRONLY|O_CLOEXEC",
        ),
        (
            Ev::call(20, "openat", &[-100, 0, 0x8_0041, 0o4755], -2),
            "evt.arg.mode",
            "4755",
        ),
        (
            Ev::call(20, "openat", &[-100, 0, 0, 0], -2),
            "evt.arg.dirfd",
            "AT_FDCWD",
        ),
        (
            Ev::call(20, "openat", &[-100, 0, 0, 0], -2),
            "evt.arg.fd",
            "ENOENT",
        ),
    ] {
        expect(&of(call), &[(field, s(expected))]);
    }
    let chown = || of(Ev::call(20, "chown", &[0, 0, 0], 0));
    expect(&chown(), &[("evt.arg[uid]", s("0"))]);
    expect(
        &of(Ev::call(20, "setuid", &[4711], 0)),
        &[("evt.rawarg[uid]", u(4711))],
    );
    expect(
        &of(Ev::call(20, "getpid", &[], 20)),
        &[
            ("user.name", s("root")),
            ("user.homedir", s("/root")),
            ("user.shell", s("<NA>")),
            ("group.name", s("root")),
        ],
    );
}

#[test]
fn the_tuple_of_a_call_begins_with_the_end_that_connected() {
    let (here, there) = (([10, 0, 0, 1], 80), ([1, 1, 1, 1], 4000));
    let accept = Ev::call(22, "accept", &[3, 0, 0], 4).tuple(here, there);
    let both = [("evt.arg.tuple", s("1.1.1.1:4000->10.0.0.1:80"))];
    expect(std::slice::from_ref(&accept), &both);
    // calls that move data have no such fact
    expect(
        &[
            accept.clone(),
            Ev::call(22, "sendto", &[4, 1, 2, 0, 0, 0], 2),
        ],
        &both,
    );
    let connect = Ev::call(22, "connect", &[3, 1, 16], 0).tuple(there, here);
    expect(&[connect], &both);
    let file = Ev::call(22, "sendto", &[9, 1, 2, 0, 0, 0], -88);
    expect(&[file], &[("evt.arg.tuple", NONE)]);
}

#[test]
fn event_types_have_the_names_of_falco() {
    let registry = FieldRegistry::new("host");
    let number = |name: &str| registry.event_type(name).unwrap();
    for (alias, call) in [
        ("pread", "pread64"),
        ("prlimit", "prlimit64"),
        ("openat", "openat"),
    ] {
        assert_eq!(number(alias), number(call));
        assert!(calls_of_type(alias).any(|found| found.name == call));
    }
    // Events that only Falco has: different numbers, and no call.
    let never = [
        "container",
        "pluginevent",
        "useradded",
        "procexit",
        "sched_switch",
        "page_fault_user",
        "s390_sthyi",
        "task_file_memfd",
    ]
    .map(number);
    let mut once = never.to_vec();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), never.len());
    assert!(calls_of_type("container").next().is_none());
    assert!(registry.event_type("contaner").is_err());
}

#[test]
fn parameters_that_only_falco_has_are_known_and_never_there() {
    use lanner_plugin::FieldResolver as _;
    let registry = FieldRegistry::new("host");
    let resolve = |name: &str| registry.resolve(name, None);
    for name in ["queuepct", "dqb_btime", "spid"] {
        for field in ["evt.arg", "evt.rawarg"] {
            let found = resolve(&format!("{field}.{name}")).unwrap();
            assert!(found.never, "{field}.{name}");
        }
    }
    for name in ["flags", "arg2_str", "value_charbuf"] {
        assert!(
            !resolve(&format!("evt.arg.{name}")).unwrap().never,
            "{name}"
        );
    }
    assert!(!resolve("proc.name").unwrap().never);
    assert!(resolve("k8s.rc.name").unwrap().never);
    assert!(resolve("evt.arg.nosuch").is_err());
    let event = vec![Ev::call(22, "openat", &[-100, 1, 0], 3)];
    expect(&event, &[("evt.arg.queuepct", NONE)]);
    let renamed = vec![Ev::call(22, "prctl", &[15, 1], 0).said(1, b"renamed")];
    expect(&renamed, &[("evt.arg.arg2_str", s("renamed"))]);
}

#[test]
fn fields_that_falco_has_given_up_are_there() {
    let event = vec![Ev::call(7, "openat", &[-100, 1, 0], 3)];
    for name in [
        "evt.infra.docker.name",
        "container.healthcheck",
        "proc.is_container_healthcheck",
        "k8s.rc.name",
        "k8s.ns.label[app]",
    ] {
        expect(&event, &[(name, NONE)]);
    }
    // Falco has kept these at 0
    expect(
        &event,
        &[
            ("evt.latency", u(0)),
            ("evt.latency.quantized", u(0)),
            ("evt.latency.human", s("0ns")),
            ("evt.count.procinfo", u(0)),
            // calls have at most six parameters
            ("evt.arg[300]", NONE),
        ],
    );
    let registry = FieldRegistry::new("host");
    let dotted = registry.field("thread.cgroup.cpuacct", None).unwrap();
    assert_eq!(&*registry.name(dotted), "thread.cgroup[cpuacct]");
    expect(&event, &[("evt.type.is[openat]", u(1))]);
    assert!(registry.field("evt.type.is.pread", None).is_ok());
}

#[test]
fn lengths_are_asked_for_by_direction_and_kind() {
    let open = Ev::call(7, "openat", &[-100, 1, 0], 3)
        .said(1, b"/a")
        .fact(Fact::Path, b"/a");
    let write = Ev::call(7, "write", &[3, 1, 5], 5).said(1, b"hello");
    expect(
        &[open, write],
        &[
            ("evt.buflen.out", u(5)),
            ("evt.buflen.file", u(5)),
            ("evt.buflen.file.out", u(5)),
            ("evt.buflen.in", NONE),
            ("evt.buflen.file.in", NONE),
            ("evt.buflen.net", NONE),
            ("evt.buflen.net.out", NONE),
        ],
    );
}

#[test]
fn ends_and_signals_have_falcos_parameters() {
    let ended = |status| {
        let mut exit = Ev::exit(22, 22);
        exit.header.ret = status;
        exit
    };
    expect(
        &with(shells(), ended(3 << 8)),
        &[
            ("evt.args", s("status=768 ret=3 sig=0 core=0 reaper_tid=0")),
            ("evt.arg.ret", s("3")),
            ("evt.rawarg.status", i(768)),
            ("evt.arg[1]", s("3")),
            ("evt.arg.spid", NONE),
        ],
    );
    // of a process with a child
    let mut killed = Ev::exit(21, 21);
    killed.header.ret = 0x8b;
    expect(
        &with(shells(), killed),
        &[
            ("evt.arg.sig", s("SIGSEGV")),
            ("evt.rawarg.sig", i(11)),
            ("evt.arg.core", s("1")),
            ("evt.rawarg.reaper_tid", i(1)),
        ],
    );
    // its status is not known
    expect(
        &with(shells(), ended(0).entered()),
        &[
            ("evt.arg.ret", NONE),
            (
                "evt.args",
                s("status=<NA> ret=<NA> sig=<NA> core=<NA> reaper_tid=0"),
            ),
        ],
    );
    let mut signal = Ev::new(EventKind::Signal, 22);
    signal.header.args = [15, 21, 0, 0, 0, 0];
    expect(
        &with(shells(), signal),
        &[
            ("evt.type", s("signaldeliver")),
            ("evt.arg.sig", s("SIGTERM")),
            ("evt.rawarg.spid", i(21)),
            ("evt.arg.dpid", s("cat")),
            ("evt.args", s("spid=21(bash) dpid=22(cat) sig=15(SIGTERM)")),
        ],
    );
}
