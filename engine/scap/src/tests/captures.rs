//! What captures say comes out as lanner's events and state.

use std::io::Write as _;

use driver_api::event::Flags;

use super::maker::{Body, CGROUPS, Maker, each, int, long, open, process, text};

/// `AT_FDCWD` as Falco writes it.
const CWD: i64 = -100;

#[test]
fn every_version_of_an_event_gives_the_same_call() {
    // O_RDONLY|O_CLOEXEC in Falco's bits
    let flags = 0x1001;
    let mut first = Maker::new();
    first.shell();
    first.old_event(7, 102, &[long(CWD), text("hosts"), int(flags), int(0)]);
    first.old_event(7, 103, &[long(4)]);
    let mut last = Maker::new();
    last.shell();
    last.event(7, 306, &[long(CWD), text("hosts"), int(flags), int(0)]);
    let all = [
        long(4),
        long(CWD),
        text("hosts"),
        int(flags),
        int(0),
        int(1),
        long(2),
    ];
    last.event(7, 307, &all);
    // a later version has one more parameter
    let mut later = Maker::new();
    later.shell();
    later.event(7, 307, &[&all[..], &[long(9)]].concat());
    for maker in [first, last, later] {
        assert_eq!(
            maker.seen(),
            [r#"openat(AT_FDCWD, "hosts", O_RDONLY|O_CLOEXEC) = 4"#]
        );
        let state = maker.state();
        let key = state.process_by_pid(7).unwrap();
        assert_eq!(state.cwd(key, 7), b"/tmp");
    }
}

#[test]
fn what_a_capture_does_not_have_is_unknown() {
    let mut maker = Maker::new();
    maker.shell();
    // a generic event: Falco's code of mprotect, its number on x86_64
    maker.event(7, 1, &[vec![117, 0], vec![10, 0]]);
    let seen = maker.seen();
    assert_eq!(seen.len(), 1);
    let name = seen[0].split('(').next().unwrap();
    assert_eq!(
        seen[0],
        format!(
            "{name}({}) = ?",
            vec!["?"; seen[0].matches('?').count() - 1].join(", ")
        )
    );
    // a thread that no list and no event puts into a process
    let mut unknown = Maker::new();
    unknown.shell();
    unknown.event(99, 5, &[long(0), long(3)]);
    let mut pids = Vec::new();
    each(&mut unknown.open().unwrap(), |event| {
        if event.header().tid == 99 {
            pids.push(event.header().tgid);
        }
    })
    .unwrap();
    assert_eq!(pids, [0]);
    let state = unknown.state();
    assert!(state.process_by_pid(99).is_none());
    assert!(state.process_by_pid(0).is_none());
}

#[test]
fn every_version_of_the_list_of_processes_is_read() {
    let blocks = [
        0x202_u32, 0x207, 0x209, 0x210, 0x211, 0x212, 0x213, 0x214, 0x215,
    ];
    for (version, block) in (1_u8..).zip(blocks) {
        let mut maker = Maker::new();
        maker.block(block, &process(version));
        maker.event(7, 5, &[long(0), long(3)]);
        let state = maker.state();
        let shell = state.process_by_pid(7).unwrap();
        let args: Vec<_> = shell.args().collect();
        assert_eq!(args, [&b"/bin/sh"[..], b"-c", b"true"], "{version}");
        assert_eq!(
            (&*shell.name, state.cwd(shell, 7)),
            (&b"sh"[..], &b"/tmp"[..])
        );
        let ids = shell.credentials(7);
        assert_eq!((shell.ppid, ids.euid, ids.egid), (1, 1000, 100));
        assert_eq!(shell.env().count(), usize::from(version >= 3));
        assert_eq!(shell.cgroups.container.is_some(), version >= 4, "{version}");
        assert_eq!(shell.sid, if version >= 6 { 5 } else { u32::MAX });
        assert_eq!(shell.exe.is_empty(), version < 7);
        let login = if version >= 9 { 500 } else { u32::MAX };
        assert_eq!(shell.loginuid, login);
        let file = shell
            .file
            .map(|file| (file.inode, file.ctime_ns, file.mtime_ns));
        assert_eq!(file, (version >= 9).then_some((42, 43, 44)));
        let sets = ids.capabilities.map(|sets| sets.effective);
        assert_eq!(sets, (version >= 9).then_some(3));
    }
}

#[test]
fn descriptors_of_the_list_are_in_the_state() {
    let mut maker = Maker::new();
    maker.block(0x215, &process(9));
    let address = |bytes: [u8; 4]| Body::default().bytes(&bytes).0;
    let socket = Body::default().u64(4).u64(0).u8(3);
    let socket = socket
        .bytes(&address([192, 0, 2, 1]))
        .bytes(&address([192, 0, 2, 9]))
        .u16(40000)
        .u16(443)
        .u8(2);
    let server = Body::default().u64(5).u64(0).u8(5);
    let server = server.bytes(&address([0, 0, 0, 0])).u16(80).u8(2);
    let unix = Body::default().u64(6).u64(0).u8(8).u64(1).u64(2);
    let unix = unix.string(b"/run/x.sock");
    let directory = Body::default().u64(7).u64(0).u8(2).string(b"/home");
    let fifo = Body::default().u64(8).u64(0).u8(7).string(b"/run/fifo");
    let body = [socket, server, unix, directory, fifo]
        .map(|entry| entry.0)
        .concat();
    maker.block(0x203, &[long(7), body].concat());
    maker.event(7, 5, &[long(0), long(99)]);
    let state = maker.state();
    let key = state.process_by_pid(7).unwrap();
    assert_eq!(key.pid, 7);
    let mut seen = Vec::new();
    let mut replay = maker.open().unwrap();
    let mut inspector = super::maker::inspector(&replay);
    each(&mut replay, |event| {
        let update = inspector.update(event);
        if !event.has(Flags::UNSELECTED) {
            let process = update.process.unwrap();
            for fd in 4..9 {
                let descriptor = inspector.descriptor_of(process, 7, fd).unwrap();
                let name = String::from_utf8(descriptor.name.clone()).unwrap();
                seen.push(format!("{} {name}", descriptor.kind.letter()));
            }
        }
    })
    .unwrap();
    assert_eq!(
        seen,
        [
            "4 192.0.2.1:40000->192.0.2.9:443",
            "4 0.0.0.0:80",
            "u /run/x.sock",
            "d /home",
            "p /run/fifo"
        ]
    );
}

#[test]
fn a_fork_and_an_exec_make_a_process() {
    let mut maker = Maker::new();
    maker.shell();
    // the parent's return of clone, then the child's
    let birth = |res: i64, tid: i64, ptid: i64| {
        let mut params = vec![long(res), text("/bin/sh"), b"-c\0".to_vec()];
        params.extend([long(tid), long(tid), long(ptid), text(""), long(1024)]);
        params.extend([long(0), long(0), int(0), int(0), int(0), text("sh")]);
        params.extend([
            CGROUPS.to_vec(),
            int(0),
            int(1000),
            int(100),
            long(tid),
            long(tid),
        ]);
        params
    };
    maker.event(7, 223, &birth(8, 7, 1));
    maker.event(8, 223, &birth(0, 8, 7));
    let mut exec = vec![long(0), text("cat"), b"/etc/hosts\0".to_vec()];
    exec.extend([long(8), long(8), long(7), text("/srv"), long(1024)]);
    exec.extend([long(0), long(0), int(0), int(0), int(0), text("cat")]);
    exec.extend([
        CGROUPS.to_vec(),
        b"B=c\0".to_vec(),
        int(0),
        long(8),
        int(500),
    ]);
    // an executable in the upper layer, its capabilities, file, user and path
    exec.extend([int(2), long(0), long(0), long(7), long(5), long(6), long(7)]);
    exec.extend([
        int(33),
        text("/usr/bin/cat"),
        long(8),
        int(44),
        text("/bin/cat"),
    ]);
    maker.event(8, 292, &[text("/bin/cat")]);
    maker.event(8, 293, &exec);
    let state = maker.state();
    let cat = state.process_by_pid(8).unwrap();
    let ids = cat.credentials(8);
    assert_eq!((&*cat.name, &*cat.exe), (&b"cat"[..], &b"/usr/bin/cat"[..]));
    assert_eq!(
        (cat.ppid, ids.euid, ids.egid, cat.loginuid),
        (7, 33, 44, 500)
    );
    assert_eq!(state.cwd(cat, 8), b"/srv");
    assert_eq!(cat.args().collect::<Vec<_>>(), [&b"cat"[..], b"/etc/hosts"]);
    assert_eq!(ids.capabilities.unwrap().effective, 7);
    assert!(cat.cgroups.container.is_some());
    assert_eq!(
        maker.seen().last().unwrap(),
        r#"execve("/bin/cat", ["cat", "/etc/hosts"], 0x1 /* 1 var */) = 0"#
    );
    maker.event(8, 186, &[long(256), long(1), vec![0], vec![0], long(1)]);
    assert_eq!(maker.seen().last().unwrap(), "+++ exited with 1 +++");
    // the state ends a process with the event after its end
    maker.event(7, 5, &[long(0), long(3)]);
    assert!(maker.state().process_by_pid(8).is_none_or(|cat| cat.ended));
}

#[test]
fn users_and_containers_are_those_of_the_capture() {
    let mut maker = Maker::new();
    let user = Body::default().u8(0).u32(1000).u32(100);
    let user = user.string(b"ada").string(b"/home/ada").string(b"/bin/sh");
    let group = Body::default().u8(1).u32(100).string(b"staff");
    maker.block(0x220, &[user.sized(), group.sized()].concat());
    maker.shell();
    let json = r#"{"container":{"id":"0123456789ab","name":"web","image":"nginx:1","imagerepo":"nginx","labels":{"a":"b"},"Mounts":[]}}"#;
    maker.event(-1, 272, &[text(json)]);
    maker.event(7, 5, &[long(0), long(3)]);
    let state = maker.state();
    assert_eq!(&*state.users().user(1000).unwrap().name, b"ada");
    assert_eq!(state.users().group(100), Some(&b"staff"[..]));
    // the host that replays has such a user, the capture has not
    assert!(state.users().user(0).is_none());
    let shell = state.process_by_pid(7).unwrap();
    let container = shell.cgroups.container.as_ref().unwrap();
    let metadata = container.metadata().unwrap();
    assert_eq!(
        (&*metadata.name, &*metadata.image.repository),
        ("web", "nginx")
    );
}

#[test]
fn flags_and_addresses_are_the_kernels() {
    let mut maker = Maker::new();
    maker.shell();
    // mmap: PROT_READ, MAP_PRIVATE|MAP_DENYWRITE in Falco's bits
    maker.old_event(
        7,
        160,
        &[long(0), long(4096), int(1), int(0x402), long(3), long(0)],
    );
    maker.old_event(7, 161, &[long(0x7000), int(1), int(1), int(1)]);
    let tuple = Body::default()
        .u8(2)
        .bytes(&[127, 0, 0, 1])
        .u16(40000)
        .bytes(&[127, 0, 0, 2])
        .u16(80);
    maker.old_event(7, 22, &[long(4)]);
    maker.old_event(7, 23, &[long(-115), tuple.0]);
    // fcntl: F_DUPFD_CLOEXEC is 26 in Falco
    maker.old_event(7, 150, &[long(3), vec![26]]);
    maker.old_event(7, 151, &[long(9)]);
    let list = Body::default().u16(1).u64(4).u16(5);
    maker.old_event(7, 80, &[list.0.clone(), long(10)]);
    maker.old_event(7, 81, &[long(1), list.0]);
    maker.old_event(7, 62, &[long(3), int(0)]);
    assert_eq!(
        maker.seen()[..3],
        [
            "mmap(NULL, 4096, PROT_READ, MAP_PRIVATE|MAP_DENYWRITE, 3, 0) = 0x7000",
            "connect(4, {sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr(\"127.0.0.2\")}, ?) = -1 EINPROGRESS (Operation now in progress)",
            "fcntl(3, F_DUPFD_CLOEXEC, ?) = 9",
        ]
    );
    assert!(
        maker.seen()[3].contains("POLLIN|POLLOUT"),
        "{:?}",
        maker.seen()
    );
}

#[test]
fn a_compressed_capture_reads_as_a_plain_one() {
    let mut maker = Maker::new();
    maker.shell();
    maker.event(7, 5, &[long(0), long(3)]);
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&maker.bytes).unwrap();
    let packed = packed.finish().unwrap();
    let count = |bytes: &[u8]| {
        let mut events = 0;
        each(&mut open(bytes).unwrap(), |_| events += 1).unwrap();
        events
    };
    assert_eq!(count(&packed), count(&maker.bytes));
    assert!(count(&packed) > 3);
    let file = tempfile::NamedTempFile::new().unwrap();
    for (bytes, is) in [
        (&packed[..], true),
        (&maker.bytes, true),
        (b"lanner\0\x01 xyz", false),
    ] {
        std::fs::write(file.path(), bytes).unwrap();
        assert_eq!(crate::is_capture(file.path()), is);
    }
}

#[test]
fn a_replay_hands_out_what_a_driver_with_that_selection_would() {
    use driver_api::event::EventKind;
    let mut maker = Maker::new();
    maker.shell();
    maker.event(7, 5, &[long(0), long(3)]);
    maker.event(7, 71, &[long(0), long(3)]);
    let mut exec = vec![long(0), text("cat"), Vec::new(), long(7), long(7), long(1)];
    exec.extend([text(""), long(1024)]);
    maker.old_event(7, 13, &exec);
    let only: driver_api::request::SyscallSet =
        driver_api::table::by_name("close").into_iter().collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &maker.bytes).unwrap();
    let mut replay = crate::ScapReplay::open(file.path(), only).unwrap();
    let mut seen = Vec::new();
    let mut execs = 0;
    each(&mut replay, |event| {
        if !event.has(Flags::UNSELECTED) {
            let mut line = String::new();
            decode::text::line(&mut line, event);
            seen.push(line);
        } else if event.kind() == EventKind::Exec {
            execs += 1;
        }
    })
    .unwrap();
    assert_eq!(seen, ["close(3) = 0"]);
    // that of the list, and the one that is not selected
    assert_eq!(execs, 2);
}

#[test]
fn a_container_is_known_whatever_else_is_said_about_it() {
    let id = "c010f5a08549441fb384b5e9ede5a4e4122381543d5213298164215f9a25736a";
    // an empty map is `null`
    let json = format!(
        r#"{{"container":{{"id":"{}","name":"web","image":"shop:2","labels":null,"Mounts":null,"privileged":0}}}}"#,
        &id[..12]
    );
    let mut newer = Maker::new();
    newer.shell();
    newer.event(0, 272, &[text(&json)]);
    let mut older = Maker::new();
    older.shell();
    older.event(
        0,
        228,
        &[text(&id[..12]), int(0), text("web"), text("shop:2")],
    );
    for maker in [newer, older] {
        let mut replay = maker.open().unwrap();
        let container = std::sync::Arc::new(inspect::Container::new(
            id,
            inspect::Runtime::Docker,
            None,
            1,
        ));
        replay.containers().ask(&container, None);
        each(&mut replay, |_| {}).unwrap();
        let said = container.metadata().unwrap();
        assert_eq!(
            (said.name.as_str(), said.image.name.as_str()),
            ("web", "shop:2")
        );
    }
}

#[test]
fn a_connection_to_a_served_port_is_the_servers() {
    let mut maker = Maker::new();
    maker.block(0x215, &process(9));
    let ends = |fd: u64, own: u16, other: u16| {
        let socket = Body::default().u64(fd).u64(0).u8(3);
        let socket = socket.bytes(&[192, 0, 2, 1]).bytes(&[192, 0, 2, 9]);
        socket.u16(own).u16(other).u8(2).0
    };
    let listens = Body::default().u64(3).u64(0).u8(5);
    let listens = listens.bytes(&[0, 0, 0, 0]).u16(22).u8(2).0;
    let body = [listens, ends(4, 22, 40000), ends(5, 40001, 22)].concat();
    maker.block(0x203, &[long(7), body].concat());
    maker.event(7, 5, &[long(0), long(99)]);
    let mut replay = maker.open().unwrap();
    let mut state = super::maker::inspector(&replay);
    let mut key = None;
    each(&mut replay, |event| key = state.update(event).process).unwrap();
    let name = |fd| {
        let descriptor = state.descriptor_of(key.unwrap(), 7, fd).unwrap();
        String::from_utf8(descriptor.name.clone()).unwrap()
    };
    assert_eq!(name(4), "192.0.2.9:40000->192.0.2.1:22");
    assert_eq!(name(5), "192.0.2.1:40001->192.0.2.9:22");
}

#[test]
fn a_child_has_the_name_and_the_id_that_its_birth_says() {
    let mut maker = Maker::new();
    maker.shell();
    let at = |name: &str| {
        let kind = crate::table::Table::get().event(223).unwrap();
        kind.params.iter().position(|param| param.name == name)
    };
    let mut params = vec![Vec::new(); 20];
    let mut set = |name: &str, value: Vec<u8>| params[at(name).unwrap()] = value;
    set("res", long(8));
    set("exe", text("sh"));
    set("tid", long(7));
    set("pid", long(7));
    set("ptid", long(1));
    set("comm", text("renamed"));
    set("flags", int(0));
    set("vtid", long(7));
    set("vpid", long(7));
    maker.event(7, 223, &params);
    // from now on, children may have another id in a namespace of their own
    let unshare = crate::table::Table::get();
    let unshare = unshare.newest(driver_api::table::by_name("unshare").unwrap());
    maker.event(7, unshare.unwrap().number, &[long(0), int(0)]);
    params[0] = long(9);
    maker.event(7, 223, &params);
    maker.event(8, 5, &[long(0), long(3)]);
    let state = maker.state();
    let child = state.process_by_pid(8).unwrap();
    assert_eq!((&*child.name, child.vpid), (&b"renamed"[..], Some(8)));
    assert_eq!(state.process_by_pid(9).unwrap().vpid, None);
    // which the child itself says; of the other one, the capture does not have the maker
    for (child, maker_pid) in [(9, 7), (60, 50)] {
        let said = [
            ("res", 0),
            ("tid", child),
            ("pid", child),
            ("ptid", maker_pid),
        ];
        for (name, value) in said.into_iter().chain([("vtid", 1), ("vpid", 1)]) {
            params[at(name).unwrap()] = long(value);
        }
        maker.event(child, 223, &params);
    }
    let state = maker.state();
    for pid in [9, 60] {
        assert_eq!(state.process_by_pid(pid).unwrap().vpid, Some(1), "{pid}");
    }
    assert_eq!(state.process_by_pid(9).unwrap().ppid, 7);
}

#[test]
fn what_a_thread_without_a_process_opens_is_known() {
    let mut maker = Maker::new();
    let ends = Body::default().u8(2).bytes(&[192, 0, 2, 1]).u16(40000);
    let ends = ends.bytes(&[192, 0, 2, 9]).u16(22).0;
    // two threads whose process is not known: socket, connect, write
    maker.event(7, 19, &[long(3), int(2), int(1), int(0)]);
    maker.event(8, 19, &[long(3), int(1), int(1), int(0)]);
    maker.event(7, 23, &[long(0), ends, long(3)]);
    maker.event(7, 7, &[long(1), text("x"), long(3), int(1)]);
    // it ends, and another one has its id
    maker.event(7, 186, &[long(0)]);
    maker.event(7, 7, &[long(1), text("x"), long(3), int(1)]);
    let mut replay = maker.open().unwrap();
    let mut state = super::maker::inspector(&replay);
    let mut names = Vec::new();
    each(&mut replay, |event| {
        let seen = state.update(event);
        assert_eq!(seen.process, None);
        if seen.fd.is_some() {
            let known = state.descriptor(&seen).map(|known| known.name.clone());
            names.push(known.map(|name| String::from_utf8(name).unwrap()));
        }
    })
    .unwrap();
    let connected = Some("192.0.2.1:40000->192.0.2.9:22".to_owned());
    assert_eq!(
        names,
        [
            Some(String::new()),
            Some(String::new()),
            connected.clone(),
            connected,
            None
        ]
    );
}

#[test]
fn time_counts_from_the_first_event_of_the_file() {
    let mut maker = Maker::new();
    maker.shell();
    // a user, and what lanner has no event for, 1000 ns before the next
    maker.event(-1, 354, &[int(1), int(1), text("ada")]);
    maker.event(7, 10, &[]);
    maker.event(7, 5, &[long(0), long(3)]);
    maker.event(7, 5, &[long(0), long(4)]);
    let mut replay = maker.open().unwrap();
    let mut state = super::maker::inspector(&replay);
    let mut times = Vec::new();
    each(&mut replay, |event| {
        let seen = state.update(event);
        if !event.has(Flags::UNSELECTED) {
            times.push(seen.since_start_ns);
        }
    })
    .unwrap();
    assert_eq!(times, [1000, 2000]);
}
