//! Events are untrusted bytes: what is not an event is refused, and what is one is read as it was built.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot set its stage has failed"
)]

use driver_api::event::{
    Abi, Encoding, Event, EventBuilder, EventKind, Fact, Flags, Header, Malformed, Part, Status,
    layout,
};
use driver_api::plan::{self, POINTERS, POINTING, Plan, code, flag};
use driver_api::request::{Limits, SyscallSet};
use driver_api::table::{self, NARROW, STRUCTURES, SYSCALLS};

fn built() -> Vec<u8> {
    let mut builder = EventBuilder::new();
    builder.begin(&Header {
        kind: EventKind::Syscall as u8,
        nr: 257,
        ret: 3,
        ..Header::default()
    });
    builder.attach(
        1,
        Part::None,
        Status::Whole,
        Encoding::Raw,
        0,
        b"/etc/hosts",
    );
    builder.attach(
        Fact::Path as u8,
        Part::None,
        Status::Whole,
        Encoding::Parts,
        0,
        b"hosts\0etc\0",
    );
    builder.finish().unwrap().to_vec()
}

#[test]
fn an_event_is_read_as_it_was_built() {
    let bytes = built();
    let event = Event::parse(&bytes).unwrap();
    assert_eq!(event.kind(), EventKind::Syscall);
    assert_eq!(event.argument(1).unwrap().bytes, b"/etc/hosts");
    assert_eq!(
        event.fact(Fact::Path).unwrap().text().as_ref(),
        b"/etc/hosts"
    );
    assert_eq!(event.attachments().count(), 2);
    assert_eq!(event.to_vec(), bytes);
}

#[test]
fn padding_behind_an_event_is_no_part_of_it() {
    let mut bytes = built();
    bytes.extend_from_slice(&[0xff; 12]);
    assert_eq!(Event::parse(&bytes).unwrap().attachments().count(), 2);
}

#[test]
fn what_is_cut_off_is_refused() {
    let bytes = built();
    for len in 0..bytes.len() {
        assert!(
            Event::parse(&bytes[..len]).is_err(),
            "{len} bytes of {}",
            bytes.len()
        );
    }
}

#[test]
fn every_byte_can_be_anything() {
    let bytes = built();
    for at in 0..bytes.len() {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut wild = bytes.clone();
            wild[at] = value;
            if let Ok(event) = Event::parse(&wild) {
                event.attachments().for_each(|attachment| {
                    let _ = attachment.text();
                    let _ = attachment.strings().count();
                });
            }
        }
    }
}

#[test]
fn another_version_is_refused() {
    let mut bytes = built();
    bytes[4] = layout::VERSION + 1;
    assert_eq!(
        Event::parse(&bytes).unwrap_err(),
        Malformed::Version(layout::VERSION + 1)
    );
}

#[test]
fn what_does_not_fit_is_left_out_and_said() {
    let mut builder = EventBuilder::new();
    builder.begin(&Header {
        kind: EventKind::Syscall as u8,
        ..Header::default()
    });
    builder.attach(
        1,
        Part::None,
        Status::Whole,
        Encoding::Raw,
        0,
        &vec![0; layout::MAX],
    );
    let event = builder.finish().unwrap();
    assert!(event.has(Flags::INCOMPLETE));
    assert_eq!(event.attachments().count(), 0);
}

#[test]
fn a_root_directory_is_a_slash() {
    let mut builder = EventBuilder::new();
    builder.begin(&Header {
        kind: EventKind::Syscall as u8,
        ..Header::default()
    });
    builder.attach(
        Fact::Path as u8,
        Part::None,
        Status::Whole,
        Encoding::Parts,
        0,
        b"",
    );
    assert_eq!(
        builder
            .finish()
            .unwrap()
            .fact(Fact::Path)
            .unwrap()
            .text()
            .as_ref(),
        b"/"
    );
}

#[test]
fn plans_follow_from_the_table() {
    let plan = |name: &str| {
        Plan::of(
            table::by_name(name).unwrap(),
            Abi::X86_64,
            0,
            &Limits::default(),
        )
    };
    let openat = plan("openat");
    assert_eq!(
        (openat.ops, openat.op[0].code, openat.op[0].arg),
        (2, code::STR, 1)
    );
    assert_eq!(openat.op[1].code, code::FD_PATH);
    assert_eq!(plan("getpid").ops, 0);
    assert_eq!(plan("exit_group").flags, flag::NORETURN);
    assert_eq!(plan("clone").flags, flag::CHILD);
    assert_eq!(plan("execve").flags, flag::EXEC);
    assert_eq!(plan("recvmsg").vector, 0);
}

#[test]
fn every_plan_has_room_for_what_its_call_needs() {
    for call in SYSCALLS {
        let plan = Plan::of(call, Abi::X86_64, 0, &Limits::default());
        assert!(usize::from(plan.ops) <= plan.op.len(), "{}", call.name);
        let count = |codes: &[u8]| {
            let ops = plan.op[..usize::from(plan.ops)].iter();
            ops.filter(|op| codes.contains(&op.code)).count()
        };
        let about_descriptor = count(&[code::FD_PATH, code::FD_TUPLE]);
        let directories = count(&[code::BASE, code::DIRECTORY]);
        assert_eq!(
            about_descriptor + directories,
            call.facts.len(),
            "{} has a fact too many for its plan",
            call.name
        );
        assert!(
            about_descriptor <= 1 && (about_descriptor == 0 || directories == 0),
            "{}: the programs in the kernel follow one fact about a descriptor, or facts about directories",
            call.name
        );
        assert!(
            directories <= 2,
            "{}: the programs in the kernel follow two facts about directories",
            call.name
        );
        assert_eq!(directories > 0, plan.flags & flag::DIRECTORIES != 0);
        let gathers = plan.op[..usize::from(plan.ops)]
            .iter()
            .filter(|op| matches!(op.code, code::IOV | code::MSG | code::MMSG))
            .count();
        assert!(
            gathers <= 1,
            "{}: the programs in the kernel gather once",
            call.name
        );
    }
}

#[test]
fn the_programs_have_room_for_all_pointers_in_structures() {
    for of in STRUCTURES {
        for layout in [0, NARROW] {
            assert!(of.pointers(layout).count() <= POINTERS, "{}", of.name);
        }
    }
    let all = plan::pointers(&Limits::default());
    assert!(!all.is_empty() && all.len() <= POINTING);
    let [wide, narrow] = all[0];
    assert!(wide.of[0].bytes == 8 && narrow.of[0].bytes <= 8);
    for call in SYSCALLS {
        let of_call = |param: &table::Param| {
            match param.kind {
            table::Kind::Struct(of, _) => of.pointers(0).next().is_some(),
            table::Kind::By(variant, _) => variant.rows.iter().any(|row| {
                matches!(row.meaning.kind, table::Kind::Struct(of, _) if of.pointers(0).next().is_some())
            }),
            _ => false,
        }
        };
        let plan = Plan::of(call, Abi::X86_64, 0, &Limits::default());
        match call.params.iter().filter(|param| of_call(param)).count() {
            0 => assert!(usize::from(plan.pointers) >= plan.op.len(), "{}", call.name),
            1 => assert!(plan.pointers < plan.ops, "{}", call.name),
            _ => panic!(
                "{}: the programs in the kernel follow the pointers of one structure",
                call.name
            ),
        }
    }
}

#[test]
fn a_path_without_its_beginning_is_no_other_path() {
    let text = |status, parts: &[u8]| {
        let mut builder = EventBuilder::new();
        builder.begin(&Header {
            kind: EventKind::Syscall as u8,
            ..Header::default()
        });
        let path = Fact::Path as u8;
        builder.attach(path, Part::None, status, Encoding::Parts, 0, parts);
        let event = builder.finish().unwrap();
        String::from_utf8(event.fact(Fact::Path).unwrap().text().into_owned()).unwrap()
    };
    let parts = b"leaf\0d\0";
    assert_eq!(text(Status::Whole, parts), "/d/leaf");
    assert_eq!(text(Status::Truncated, parts), ".../d/leaf");
    assert_eq!(text(Status::Fault, parts), ".../d/leaf");
    assert_eq!(text(Status::Fault, b""), "...");
    assert_eq!(text(Status::Whole, b""), "/");
}

#[test]
fn sets_hold_what_was_put_in() {
    let set: SyscallSet = SYSCALLS.iter().step_by(3).collect();
    let held: Vec<&str> = set.iter().map(|call| call.name).collect();
    assert_eq!(
        held,
        SYSCALLS
            .iter()
            .step_by(3)
            .map(|call| call.name)
            .collect::<Vec<_>>()
    );
    assert_eq!(SyscallSet::all().union(&set), SyscallSet::all());
}

#[test]
fn limits_are_named_and_bounded() {
    let mut limits = Limits::default();
    limits.set("path", 10).unwrap();
    limits.set("entries", 3).unwrap();
    assert_eq!((limits.path, limits.entries), (10, 3));
    assert!(
        limits
            .set("path", 5000)
            .unwrap_err()
            .to_string()
            .contains("at most 4096")
    );
    assert!(
        limits
            .set("paths", 1)
            .unwrap_err()
            .to_string()
            .contains("bytes, path")
    );
}

#[test]
fn an_event_can_lack_arguments() {
    use driver_api::event::lacks_flag;
    let mut builder = EventBuilder::new();
    builder.begin(&Header {
        kind: EventKind::Syscall as u8,
        flags: lacks_flag(0) | lacks_flag(5) | Flags::UNSELECTED,
        ..Header::default()
    });
    let event = builder.finish().unwrap();
    let lacking: Vec<usize> = (0..8).filter(|register| event.lacks(*register)).collect();
    assert_eq!(lacking, [0, 5]);
    let all = Flags::NORETURN | Flags::UNSELECTED | Flags::INCOMPLETE | Flags::ENTRY;
    assert!((0..6).all(|register| lacks_flag(register) & all == 0));
}
