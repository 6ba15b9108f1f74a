//! What is written is read again with the same values.

use driver_api::driver::{Capture, Flow, Polled};
use driver_api::event::{Event, EventKind, Fact, Flags, Ids};
use driver_api::request::SyscallSet;
use driver_api::table::{SYSCALLS, Syscall};
use inspect::testing::{Ev, Noise, isolated_options};
use inspect::{Clock, Inspector, Options};

use crate::table::Table;
use crate::{Machine, ScapReplay, ScapWriter};

/// Writes events, and gives the capture.
fn written(events: &[Vec<u8>]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    let inspector = Inspector::new(&Options {
        clock: Clock::fixed(0),
        ..isolated_options()
    });
    let to = file.reopen().unwrap();
    let mut writer = ScapWriter::new(to, inspector, Machine::host(Clock::fixed(0)));
    for event in events {
        writer.event(&Event::parse(event).unwrap()).unwrap();
    }
    writer.finish().unwrap();
    file
}

/// The events of a capture that are no state, each as its line of text.
fn lines(file: &tempfile::NamedTempFile) -> Vec<(EventKind, u32, String)> {
    let mut replay = ScapReplay::open(file.path(), SyscallSet::all()).unwrap();
    let mut all = Vec::new();
    loop {
        let polled = replay.poll(std::time::Duration::ZERO, &mut |event| {
            if !event.has(Flags::UNSELECTED) {
                all.push(line(&event));
            }
            Flow::Continue
        });
        if polled.unwrap() == Polled::Ended(None) {
            return all;
        }
    }
}

fn line(event: &Event<'_>) -> (EventKind, u32, String) {
    let mut text = String::new();
    decode::text::line(&mut text, event);
    (event.kind(), event.header().tgid, text)
}

/// A process that the first event needs.
fn process(pid: u32) -> Vec<u8> {
    let ids = Ids {
        ppid: 1,
        uid: 1000,
        euid: 1000,
        gid: 1000,
        egid: 1000,
        ..Ids::default()
    };
    let mut exec = Ev::exec(pid, "/usr/bin/program", &["program", "one", "two"], ids)
        .fact(Fact::Cwd, b"/home");
    exec.header.flags = Flags::UNSELECTED;
    exec.bytes()
}

#[test]
fn calls_come_back_with_their_parameters() {
    let events = [
        Ev::call(7, "openat", &[-100, 1, 0o2_101], 3).said(1, b"/etc/hosts"),
        Ev::call(7, "openat", &[-100, 1, 0], -2).said(1, b"/nowhere"),
        Ev::call(7, "read", &[3, 1, 100], 5).said(1, b"hello"),
        Ev::call(7, "socket", &[2, 1, 0], 4),
        Ev::call(7, "mmap", &[0, 4096, 3, 0x22, -1, 0], 0x7000),
        Ev::call(7, "pipe2", &[1, 0o2_000_000], 0).said(0, &[5, 0, 0, 0, 6, 0, 0, 0]),
        Ev::call(7, "fchmodat", &[-100, 1, 0o644], 0).said(1, b"f"),
        Ev::call(7, "kill", &[8, 9], -3),
        Ev::call(7, "lseek", &[3, 7, 1], 7),
        Ev::call(7, "prctl", &[15, 1], 0).said(1, b"name"),
        Ev::call(7, "renameat2", &[-100, 1, -100, 1, 1], 0)
            .said(1, b"a")
            .said(3, b"b"),
        Ev::call(7, "close", &[3], 0),
    ];
    let mut all = vec![process(7)];
    all.extend(events.iter().map(Ev::bytes));
    let expected: Vec<_> = all[1..]
        .iter()
        .map(|bytes| line(&Event::parse(bytes).unwrap()))
        .collect();
    let found = lines(&written(&all));
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.len(), expected.len());
}

#[test]
fn a_connection_comes_back_with_both_ends() {
    let address = [2, 0, 0x1f, 0x90, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    let connect = Ev::call(7, "connect", &[4, 1, 16], 0)
        .said(1, &address)
        .tuple(([192, 0, 2, 9], 4000), ([192, 0, 2, 1], 8080));
    let file = written(&[process(7), connect.bytes()]);
    let mut replay = ScapReplay::open(file.path(), SyscallSet::all()).unwrap();
    let mut ends = None;
    while replay
        .poll(std::time::Duration::ZERO, &mut |event| {
            if event.kind() == EventKind::Syscall && !event.has(Flags::UNSELECTED) {
                ends = event.tuple().and_then(|tuple| inspect::ends(&tuple));
            }
            Flow::Continue
        })
        .unwrap()
        != Polled::Ended(None)
    {}
    let end = |text: &str| text.parse::<std::net::SocketAddr>().unwrap();
    assert_eq!(ends, Some((end("192.0.2.9:4000"), end("192.0.2.1:8080"))));
}

#[test]
fn lives_and_losses_come_back() {
    let mut lost = Ev::new(EventKind::Lost, 0);
    lost.header.args = [12, 1, 0, 0, 0, 0];
    let mut exit = Ev::exit(8, 8);
    exit.header.ret = 0x100;
    let events = [
        process(7),
        Ev::fork(7, 8, 8, 0).bytes(),
        Ev::exec(8, "/bin/ls", &["ls", "-l"], Ids::default()).bytes(),
        lost.bytes(),
        exit.bytes(),
    ];
    let found = lines(&written(&events));
    let kinds: Vec<(EventKind, u32)> = found.iter().map(|(kind, pid, _)| (*kind, *pid)).collect();
    assert_eq!(
        kinds,
        [
            (EventKind::Syscall, 8),
            (EventKind::Exec, 8),
            (EventKind::Lost, 0),
            (EventKind::Exit, 8),
        ]
    );
    assert!(found[1].2.contains(r#"["ls", "-l"]"#), "{}", found[1].2);
    assert!(found[2].2.contains("12"), "{}", found[2].2);
}

#[test]
fn a_state_comes_back() {
    let file = written(&[process(7), Ev::call(7, "close", &[99], -9).bytes()]);
    let mut replay = ScapReplay::open(file.path(), SyscallSet::all()).unwrap();
    let mut inspector = Inspector::new(&Options {
        recorded: Some(replay.recorded()),
        ..isolated_options()
    });
    while replay
        .poll(std::time::Duration::ZERO, &mut |event| {
            inspector.update(&event);
            Flow::Continue
        })
        .unwrap()
        != Polled::Ended(None)
    {}
    let process = inspector.process_by_pid(7).unwrap();
    assert_eq!(&*process.name, b"program");
    assert_eq!(&*process.exe, b"/usr/bin/program");
    assert_eq!(
        process.args().collect::<Vec<_>>(),
        [&b"program"[..], b"one", b"two"]
    );
    assert_eq!(inspector.cwd(process, 7), b"/home");
    assert_eq!(process.credentials(7).uid, 1000);
}

#[test]
fn any_event_can_be_written_and_read() {
    let mut noise = Noise(7);
    let events: Vec<Vec<u8>> = (0..3000).map(|_| noise.event()).collect();
    let whole: Vec<Vec<u8>> = events
        .into_iter()
        .filter(|bytes| Event::parse(bytes).is_ok())
        .collect();
    assert!(whole.len() > 1000);
    lines(&written(&whole));
}

#[test]
fn every_type_is_the_newest_of_its_call() {
    let table = Table::get();
    let has_type = |call: &&Syscall| table.newest(call).is_some();
    assert!(SYSCALLS.iter().filter(has_type).count() > 150);
    for call in SYSCALLS.iter().filter(has_type) {
        let kind = table.newest(call).unwrap();
        let entry = table.event(kind.number - 1).unwrap();
        assert!(!kind.enter && entry.enter, "{}", call.name);
    }
    let open = table.newest(driver_api::table::by_name("openat").unwrap());
    assert_eq!(open.unwrap().number, 307);
}

#[test]
fn a_file_that_cannot_be_written_says_so() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let read_only = std::fs::File::open(file.path()).unwrap();
    let mut writer = ScapWriter::new(
        read_only,
        Inspector::new(&isolated_options()),
        Machine::default(),
    );
    assert!(writer.finish().is_err());
}

/// A runtime that answers at once.
#[derive(Debug)]
struct Answers;

impl inspect::ContainerSource for Answers {
    fn ask(&self, container: &std::sync::Arc<inspect::Container>, _: Option<u32>) {
        container.answer(Some(inspect::Metadata {
            name: "web".to_owned(),
            ..inspect::Metadata::default()
        }));
    }
}

#[test]
fn what_runtimes_say_about_containers_is_in_the_file() {
    let id = "c010f5a08549441fb384b5e9ede5a4e4122381543d5213298164215f9a25736a";
    let recorded = inspect::Recorded::default();
    let group = recorded.cgroup_id(format!("0::/system.slice/docker-{id}.scope\n").as_bytes());
    let inspector = Inspector::new(&Options {
        clock: Clock::fixed(0),
        recorded: Some(recorded.into()),
        containers: Some(std::sync::Arc::new(Answers)),
        ..isolated_options()
    });
    let file = tempfile::NamedTempFile::new().unwrap();
    let to = file.reopen().unwrap();
    let mut writer = ScapWriter::new(to, inspector, Machine::default());
    let ids = Ids::default();
    // one that is there before the first event, and the event
    for (pid, flags) in [(7, Flags::UNSELECTED), (8, 0)] {
        let mut exec = Ev::exec(pid, "/bin/web", &["web"], ids);
        (exec.header.flags, exec.header.cgroup) = (flags, group);
        writer.event(&Event::parse(&exec.bytes()).unwrap()).unwrap();
    }
    writer.finish().unwrap();

    let mut replay = ScapReplay::open(file.path(), SyscallSet::all()).unwrap();
    let mut state = Inspector::new(&Options {
        clock: Clock::fixed(0),
        recorded: Some(replay.recorded()),
        containers: Some(replay.containers()),
        ..isolated_options()
    });
    let mut names = Vec::new();
    while replay
        .poll(std::time::Duration::ZERO, &mut |event| {
            let seen = state.update(&event);
            if !event.has(Flags::UNSELECTED) {
                let process = state.process(seen.process.unwrap()).unwrap();
                let container = process.cgroups.container.as_ref().unwrap();
                names.push(container.metadata().unwrap().name.clone());
            }
            Flow::Continue
        })
        .unwrap()
        != Polled::Ended(None)
    {}
    assert_eq!(names, ["web"]);
}

#[test]
fn parameters_are_printed_as_falcos_library_does() {
    let printed = |events: &[Ev], at: usize| {
        let mut state = Inspector::new(&isolated_options());
        state.update(&Event::parse(&process(7)).unwrap());
        let mut lines = Vec::new();
        for event in events {
            let bytes = event.bytes();
            let event = Event::parse(&bytes).unwrap();
            let seen = state.update(&event);
            let mut out = String::new();
            let known = crate::args(&mut out, &event, &seen, &state, &|_| {
                Some("/home/hosts".to_owned())
            });
            assert_eq!(known, !out.is_empty());
            lines.push(out);
        }
        lines.swap_remove(at)
    };
    let open = Ev::call(7, "openat", &[-100, 1, 0o2_000_000], 3).said(1, b"hosts");
    assert_eq!(
        printed(std::slice::from_ref(&open), 0),
        "fd=3(<f>/home/hosts) dirfd=-100(AT_FDCWD) name=hosts(/home/hosts) flags=4097(O_RDONLY|O_CLOEXEC) mode=0 dev=<NA> ino=<NA>"
    );
    let read = Ev::call(7, "read", &[3, 1, 100], 6).said(1, b"hi\0\xffyou");
    assert_eq!(
        printed(&[open.clone(), read], 1),
        "res=6 data=hi..you fd=3(<f>/home/hosts) size=100"
    );
    let failed = Ev::call(7, "close", &[9], -9);
    assert_eq!(printed(&[failed], 0), "res=-9(EBADF) fd=9");
    let mapped = Ev::call(7, "mmap", &[0x7f00, 4096, 3, 0x22, -1, 0], 0x7000);
    assert_eq!(
        printed(&[mapped], 0),
        "res=28672 vm_size=<NA> vm_rss=<NA> vm_swap=<NA> addr=7F00 length=4096 prot=3(PROT_READ|PROT_WRITE) \
         flags=10(MAP_PRIVATE|MAP_ANONYMOUS) fd=-1(EPERM) offset=0"
    );
    let made = Ev::call(7, "fchmodat", &[-100, 1, 0o644], 0).said(1, b"f");
    assert_eq!(
        printed(&[made], 0),
        "res=0 dirfd=-100(AT_FDCWD) filename=f(/home/hosts) mode=644(S_IROTH|S_IRGRP|S_IWUSR|S_IRUSR)"
    );
    let killed = Ev::call(7, "kill", &[7, 9], 0);
    assert_eq!(printed(&[killed], 0), "res=0 pid=7(program) sig=9(SIGKILL)");
    // what Falco has no type for
    let other = Ev::call(7, "sched_yield", &[], 0);
    assert_eq!(printed(&[other], 0), "");
}

#[test]
fn an_address_that_falco_has_no_form_for_has_its_family() {
    // sockaddr_nl, sockaddr_ll, and families alone
    let mut packet = vec![17, 0];
    packet.extend([0; 18]);
    let cases: [(&str, &[u8], &str); 6] = [
        ("bind", &[16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], "AF_NETLINK"),
        ("bind", &packet, "AF_PACKET"),
        ("bind", &[1, 0], "AF_UNIX"),
        ("bind", &[2, 0], "AF_INET"),
        ("connect", &[0, 0], "AF_UNSPEC"),
        ("connect", &[40, 0], "AF_VSOCK"),
    ];
    let events = cases.map(|(call, said, _)| {
        let ends = ([0, 0, 0, 0], 0);
        let event = Ev::call(7, call, &[4, 1, i64::try_from(said.len()).unwrap()], 0).said(1, said);
        // the kernel knows both ends of a socket that was disconnected
        if said == [0, 0] {
            event.tuple(ends, ends)
        } else {
            event
        }
    });
    let mut all = vec![process(7)];
    all.extend(events.iter().map(Ev::bytes));
    let found = lines(&written(&all));
    assert_eq!(found.len(), cases.len());
    for ((_, _, line), (call, _, family)) in found.iter().zip(cases) {
        assert_eq!(*line, format!("{call}(4, {{sa_family={family}}}, ?) = 0"));
    }
    // the address is unknown, which differs from NULL
    let none = Ev::call(7, "bind", &[4, 1, 0], -14);
    let found = lines(&written(&[process(7), none.bytes()]));
    assert!(found[0].2.starts_with("bind(4, ?, ?) = -1"), "{found:?}");
}

#[test]
fn a_process_that_moves_without_an_exec_is_in_its_new_cgroups() {
    let group = "4:freezer:/docker/c010f5a08549441fb384b5e9ede5a4e4122381543d5213298164215f9a25736a\n0::/\n";
    let mut builder = driver_api::event::EventBuilder::new();
    let report = inspect::Report {
        fact: Fact::Cgroups,
        text: group.as_bytes(),
        pid: 7,
        cgroup: 0,
        time_ns: 5_000_000_000,
    };
    let moved = report.event(&mut builder).unwrap().to_vec();
    let close = |fd| Ev::call(7, "close", &[fd], 0).bytes();
    let first = written(&[
        process(7),
        close(3),
        moved,
        close(4),
        Ev::fork(7, 8, 8, 0).bytes(),
    ]);
    // the events are written again, by what they say alone
    let containers = |file: &tempfile::NamedTempFile, mut again: Option<&mut ScapWriter>| {
        let mut replay = ScapReplay::open(file.path(), SyscallSet::all()).unwrap();
        let mut state = Inspector::new(&Options {
            recorded: again.is_none().then(|| replay.recorded()),
            ..isolated_options()
        });
        let mut found = Vec::new();
        while replay
            .poll(std::time::Duration::ZERO, &mut |event| {
                if let Some(writer) = &mut again {
                    writer.event(&event).unwrap();
                }
                let seen = state.update(&event);
                if let Some(process) = seen.process.and_then(|key| state.process(key))
                    && !event.has(Flags::UNSELECTED)
                {
                    found.push((process.pid, process.cgroups.container.is_some()));
                }
                Flow::Continue
            })
            .unwrap()
            != Polled::Ended(None)
        {}
        found
    };
    let expected = [(7, false), (7, true), (8, true)];
    assert_eq!(containers(&first, None), expected);
    let second = tempfile::NamedTempFile::new().unwrap();
    let mut writer = ScapWriter::new(
        second.reopen().unwrap(),
        Inspector::new(&isolated_options()),
        Machine::default(),
    );
    assert_eq!(containers(&first, Some(&mut writer)), expected);
    writer.finish().unwrap();
    assert_eq!(containers(&second, None), expected);
}

#[test]
fn files_and_the_sizes_of_data_come_back() {
    let opened = driver_api::event::OpenedFile {
        inode: 604,
        device: driver_api::event::OpenedFile::device(254, 0x1234),
        mode: 0o100_644,
        ..Default::default()
    };
    let bytes = zerocopy::IntoBytes::as_bytes(&opened);
    let events = [
        Ev::call(7, "openat", &[-100, 1, 0], 3)
            .said(1, b"/etc/hosts")
            .fact(Fact::File, bytes),
        Ev::call(7, "openat", &[-100, 1, 0], 4).said(1, b"/etc/hosts"),
        // 5 of 100 bytes were captured, and there was nothing to read
        Ev::call(7, "read", &[3, 1, 100], 100).said(1, b"hello"),
        Ev::call(7, "read", &[3, 1, 100], 0).said(1, b""),
        Ev::call(7, "read", &[3, 1, 100], -9),
    ];
    let mut all = vec![process(7)];
    all.extend(events.iter().map(Ev::bytes));
    let file = written(&all);
    let mut replay = ScapReplay::open(file.path(), SyscallSet::all()).unwrap();
    let mut found = Vec::new();
    while replay
        .poll(std::time::Duration::ZERO, &mut |event| {
            if !event.has(Flags::UNSELECTED) {
                let file = event.opened();
                let file = file.map(|file| (file.inode, file.device_numbers()));
                let data = event.argument(1).map(|data| (data.bytes.len(), data.full));
                found.push((line(&event).2, file, data));
            }
            Flow::Continue
        })
        .unwrap()
        != Polled::Ended(None)
    {}
    let files: Vec<_> = found.iter().map(|(_, file, _)| *file).collect();
    assert_eq!(files, [Some((604, (254, 0x1234))), None, None, None, None]);
    let data: Vec<_> = found[2..].iter().map(|(_, _, data)| *data).collect();
    assert_eq!(data, [Some((5, 100)), Some((0, 0)), None]);
    assert_eq!(found[2].0, r#"read(3, "hello"..., 100) = 100"#);
    assert_eq!(found[3].0, r#"read(3, "", 100) = 0"#);
    assert!(
        found[4].0.starts_with("read(3, ?, 100) = -1"),
        "{}",
        found[4].0
    );
}
