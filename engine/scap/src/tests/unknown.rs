//! What is not known stays unknown, whether a capture is read or written, and what is known of a process is written as
//! Falco means it.

use driver_api::event::{Event, Fact, Flags, Ids, Program, lacks_flag};
use inspect::testing::{Ev, isolated_options};
use inspect::{Clock, DescriptorKind, Inspector, Options};
use zerocopy::IntoBytes as _;

use super::maker::{CGROUPS, Maker, each, inspector, int, long, text};
use crate::blocks::Blocks;
use crate::bytes::{Bytes, unsigned};
use crate::life::{
    CLONE_FILES, CLONE_FS, CLONE_SIGHAND, CLONE_THREAD, CLONE_VM, falco_clone_flags,
};
use crate::lists::BlockKind;
use crate::process::UNKNOWN;
use crate::{Machine, ScapReplay, ScapWriter};

/// An event of a file: its type, and its parameters with their names.
#[derive(Debug)]
struct ReadEvent {
    number: u16,
    params: Vec<(&'static str, Vec<u8>)>,
}

impl ReadEvent {
    fn get(&self, name: &str) -> Option<u64> {
        let (_, value) = self.params.iter().find(|(known, _)| *known == name)?;
        unsigned(value)
    }
}

/// A file with these events.
struct Written(tempfile::NamedTempFile);

impl Written {
    fn new(events: &[Ev]) -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        let state = Inspector::new(&Options {
            clock: Clock::fixed(0),
            ..isolated_options()
        });
        let mut writer = ScapWriter::new(file.reopen().unwrap(), state, Machine::default());
        for event in events {
            writer
                .event(&Event::parse(&event.bytes()).unwrap())
                .unwrap();
        }
        writer.finish().unwrap();
        Self(file)
    }

    fn blocks(&self) -> Vec<(u32, Vec<u8>)> {
        let mut blocks = Blocks::open(self.0.path()).unwrap();
        let mut all = Vec::new();
        while blocks.advance().unwrap() {
            let (kind, body) = blocks.current();
            all.push((kind, body.to_vec()));
        }
        all
    }

    /// The events as they are in the file.
    fn events(&self) -> Vec<ReadEvent> {
        let mut all = Vec::new();
        for (kind, body) in self.blocks() {
            if let BlockKind::Event { counted, flagged } = BlockKind::of(kind) {
                let raw = crate::event::parse(&body, counted, flagged).unwrap();
                let kind = raw.kind.unwrap();
                let names = kind.params.iter().map(|param| param.name);
                let values = raw.params.as_slice().iter().map(|value| value.to_vec());
                all.push(ReadEvent {
                    number: kind.number,
                    params: names.zip(values).collect(),
                });
            }
        }
        all
    }

    /// The state after the last event, as lanner reads it.
    fn state(&self) -> Inspector {
        let mut replay =
            ScapReplay::open(self.0.path(), driver_api::request::SyscallSet::all()).unwrap();
        let mut state = inspector(&replay);
        each(&mut replay, |event| {
            state.update(event);
        })
        .unwrap();
        state
    }
}

/// Makes an event one of the state at the start.
fn state(mut event: Ev) -> Ev {
    event.header.flags |= Flags::UNSELECTED;
    event
}

fn exec(pid: u32, ids: Ids) -> Ev {
    Ev::exec(pid, "/usr/bin/program", &["program"], ids)
}

/// Something happens, so that the lists are written.
fn something() -> Ev {
    Ev::call(7, "close", &[9], -9)
}

const PROGRAM: Program = Program {
    inode: 77,
    ctime_ns: 5,
    mtime_ns: 6,
    cap_inheritable: 1,
    cap_permitted: 3,
    cap_effective: 7,
    mode: 0o100_755,
    uid: 0,
    gid: 0,
    layer: 0,
};

/// The return of clone in the child 8 of process 7.
fn birth(uid: u32) -> Vec<Vec<u8>> {
    let mut params = vec![long(0), text("/bin/sh"), b"-c\0".to_vec()];
    params.extend([long(8), long(8), long(7), text(""), long(1024)]);
    params.extend([long(0), long(0), int(0), int(0), int(0), text("sh")]);
    params.extend([
        CGROUPS.to_vec(),
        int(0),
        int(uid),
        int(100),
        long(8),
        long(8),
    ]);
    params
}

#[test]
fn a_child_has_ids_and_capabilities_of_its_parent_also_after_a_call_without_a_result() {
    for generic in [false, true] {
        let mut maker = Maker::new();
        maker.shell();
        if generic {
            maker.event(7, 1, &[vec![117, 0], vec![10, 0]]);
        }
        maker.event(8, 223, &birth(1000));
        maker.event(8, 5, &[long(0), long(3)]);
        let parents = maker.state().process_by_pid(8).unwrap().credentials(8);
        assert_eq!((parents.euid, parents.egid), (1000, 100), "{generic}");
        assert_eq!(parents.capabilities.unwrap().effective, 3, "{generic}");

        // the parent has changed its effective user alone
        let mut maker = Maker::new();
        maker.shell();
        maker.event(7, 192, &[int(UNKNOWN), int(33), int(UNKNOWN)]);
        maker.event(7, 193, &[long(0), int(UNKNOWN), int(33), int(UNKNOWN)]);
        if generic {
            maker.event(7, 1, &[vec![117, 0], vec![10, 0]]);
        }
        maker.event(8, 223, &birth(33));
        maker.event(8, 5, &[long(0), long(3)]);
        let child = maker.state().process_by_pid(8).unwrap().credentials(8);
        assert_eq!((child.euid, child.egid), (33, 100), "{generic}");
    }
}

#[test]
fn an_empty_number_is_unknown_and_an_empty_path_is_null() {
    let mut maker = Maker::new();
    maker.shell();
    maker.event(7, 5, &[long(0), Vec::new()]);
    maker.event(7, 3, &[long(-14), Vec::new(), int(1), int(0)]);
    let seen = maker.seen();
    assert_eq!(seen[0], "close(?) = 0");
    assert!(seen.last().unwrap().starts_with("open(NULL, "), "{seen:?}");
}

#[test]
fn falcos_user_is_the_effective_one() {
    let ids = |uid, euid| Ids {
        uid,
        euid,
        gid: 5,
        egid: 6,
        ..Ids::default()
    };
    let file = Written::new(&[
        state(exec(7, ids(1000, 0))),
        something(),
        exec(7, ids(1000, 44)),
    ]);
    let events = file.events();
    let exec = events.last().unwrap();
    assert_eq!((exec.get("uid"), exec.get("gid")), (Some(44), Some(6)));
    let file = Written::new(&[state(self::exec(7, ids(1000, 0))), something()]);
    let own = file.state().process_by_pid(7).unwrap().credentials(7);
    assert_eq!((own.euid, own.egid), (0, 6));
}

#[test]
fn an_exec_of_an_unknown_user_ends_before_the_user() {
    let unknown = Ids {
        uid: UNKNOWN,
        euid: UNKNOWN,
        gid: UNKNOWN,
        egid: UNKNOWN,
        ..Ids::default()
    };
    let file = Written::new(&[state(exec(7, Ids::default())), exec(7, unknown)]);
    let events = file.events();
    let exec = events.last().unwrap();
    assert_eq!(exec.params.last().unwrap().0, "exe_ino_mtime", "{exec:?}");
    assert_eq!(exec.get("uid"), None);
}

#[test]
fn a_call_of_which_nothing_is_known_is_a_generic_event() {
    let lacking = |mut event: Ev| {
        event.header.flags |= (0..6).map(lacks_flag).fold(0, |all, flag| all | flag);
        event
    };
    let file = Written::new(&[
        state(exec(7, Ids::default())),
        lacking(Ev::call(7, "close", &[-1], 0).entered()),
        Ev::call(7, "getuid", &[], 0).entered(),
        lacking(Ev::call(7, "kill", &[-1, -1], 0).entered()),
        // one value is enough
        Ev::call(7, "close", &[3], 0).entered(),
        lacking(Ev::call(7, "close", &[-1], 0)),
    ]);
    let numbers: Vec<u16> = file.events().iter().map(|event| event.number).collect();
    assert_eq!(numbers, [0, 1, 0, 1, 0, 1, 4, 5, 4, 5]);
}

#[test]
fn a_parameter_that_a_call_lacks_is_not_the_process_of_the_same_name() {
    let mut kill = Ev::call(7, "kill", &[-1, 9], 0);
    kill.header.flags |= lacks_flag(0);
    let file = Written::new(&[state(exec(7, Ids::default())), kill]);
    let events = file.events();
    assert_eq!(events.last().unwrap().get("sig"), Some(9));
    assert_eq!(events.last().unwrap().get("pid"), None, "{events:?}");
}

#[test]
fn threads_are_known_as_threads() {
    let shared = falco_clone_flags(CLONE_THREAD | CLONE_FILES);
    let all = falco_clone_flags(CLONE_THREAD | CLONE_FILES | CLONE_FS | CLONE_VM | CLONE_SIGHAND);
    assert!(shared != 0 && all != shared);
    let file = Written::new(&[
        state(exec(7, Ids::default())),
        state(Ev::fork(7, 7, 9, CLONE_THREAD)),
        something(),
        Ev::fork(7, 7, 10, 0),
        Ev::fork(7, 11, 11, 0),
    ]);
    let list = file.blocks().into_iter().find(|(kind, _)| *kind == 0x215);
    let (_, body) = list.unwrap();
    let mut from = Bytes::new(&body);
    let mut flags = Vec::new();
    while let Some(len) = from.u32().filter(|len| *len > 4) {
        let mut entry = Bytes::new(from.take(len as usize - 4).unwrap());
        let tid = entry.u64().unwrap();
        entry.take(4 * 8).unwrap();
        for _ in 0..5 {
            entry.string().unwrap();
        }
        entry.u64().unwrap();
        flags.push((tid, u64::from(entry.u32().unwrap())));
    }
    assert_eq!(flags, [(7, 0), (9, shared)]);
    let births: Vec<_> = (file.events().iter())
        .filter(|event| event.number == 223)
        .map(|event| (event.get("tid").unwrap(), event.get("flags").unwrap()))
        .collect();
    assert_eq!(births, [(10, all), (11, 0)]);
}

#[test]
fn what_is_not_known_of_a_program_stays_unknown() {
    let unknown = decode::program::UNKNOWN_CAPABILITIES;
    let file_alone = Program {
        cap_inheritable: unknown,
        cap_permitted: unknown,
        cap_effective: unknown,
        ..PROGRAM
    };
    let capabilities_alone = Program {
        inode: 0,
        ctime_ns: 0,
        mtime_ns: 0,
        mode: 0,
        ..PROGRAM
    };
    let cases = [
        (None, None, None),
        (Some(PROGRAM), Some(77), Some(7)),
        (Some(file_alone), Some(77), None),
        (Some(capabilities_alone), None, Some(7)),
    ];
    for (program, inode, effective) in cases {
        let with = |event: Ev| match &program {
            Some(program) => event.fact(Fact::Program, program.as_bytes()),
            None => event,
        };
        // in the list, and in an event
        let listed = [state(with(exec(7, Ids::default()))), something()];
        let executed = [
            state(exec(7, Ids::default())),
            something(),
            with(exec(7, Ids::default())),
        ];
        for events in [&listed[..], &executed] {
            let state = Written::new(events).state();
            let process = state.process_by_pid(7).unwrap();
            assert_eq!(process.file.map(|file| file.inode), inode, "{program:?}");
            let sets = process.credentials(7).capabilities;
            assert_eq!(sets.map(|sets| sets.effective), effective, "{program:?}");
        }
    }
}

#[test]
fn descriptors_have_types_that_readers_of_2022_know() {
    let open = |name: &str, fd: i64| state(Ev::call(7, name, &[], fd));
    let file = Written::new(&[
        state(exec(7, Ids::default())),
        state(Ev::call(7, "memfd_create", &[1], 3).said(0, b"secret")),
        open("userfaultfd", 4),
        open("io_uring_setup", 5),
        open("pidfd_open", 6),
        open("eventfd2", 7),
        state(
            Ev::call(7, "pipe2", &[1], 0)
                .said(0, &[8, 0, 0, 0, 8, 0, 0, 0])
                .fact(Fact::Path, b"/run/fifo"),
        ),
        something(),
    ]);
    let mut count = 0;
    for (kind, body) in file.blocks() {
        if kind != 0x218 {
            continue;
        }
        let mut from = Bytes::new(&body);
        from.u64().unwrap();
        while let Some(len) = from.u32().filter(|len| *len > 4) {
            let mut entry = Bytes::new(from.take(len as usize - 4).unwrap());
            entry.take(16).unwrap();
            let kind = entry.u8().unwrap();
            assert!(kind <= 16, "{kind}");
            count += 1;
        }
    }
    assert_eq!(count, 6);
    // lanner knows them again
    let state = file.state();
    let key = state.living().next().unwrap().0;
    let kind = |fd| state.descriptor_of(key, 7, fd).map(|open| open.kind);
    let expected = [
        DescriptorKind::Memfd,
        DescriptorKind::Userfault,
        DescriptorKind::IoUring,
        DescriptorKind::Pidfd,
        DescriptorKind::Event,
        DescriptorKind::Pipe,
    ];
    for (fd, expected) in (3..).zip(expected) {
        assert_eq!(kind(fd), Some(expected));
    }
    let fifo = state.descriptor_of(key, 7, 8).unwrap();
    assert_eq!(fifo.name, b"/run/fifo");
}

#[test]
fn a_capture_of_a_network_is_none_of_falcos() {
    let refused = |maker: &Maker| {
        let error = maker.open().unwrap_err();
        driver_api::error::Chain(&error).to_string()
    };
    // pcapng: an interface, then a packet; or an interface alone
    let mut network = Maker::new();
    network.block(1, &[1, 0, 0, 0, 0, 0, 4, 0]);
    assert!(
        refused(&network).contains("pcapng"),
        "{}",
        refused(&network)
    );
    network.block(6, &[0; 24]);
    assert!(
        refused(&network).contains("pcapng"),
        "{}",
        refused(&network)
    );
    // a capture in which nothing happened, and one with blocks of others
    assert!(Maker::new().open().is_ok());
    let mut mixed = Maker::new();
    mixed.block(1, &[1, 0, 0, 0, 0, 0, 4, 0]);
    mixed.shell();
    assert!(mixed.open().is_ok());
}
