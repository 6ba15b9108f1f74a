//! A recording replays what was written; other files are refused.

use std::fs;
use std::time::Duration;

use driver_api::driver::{Capture, Flow, Polled};
use driver_api::event::{Event, EventBuilder, EventKind, Fact, Flags};
use driver_api::request::SyscallSet;
use driver_api::table::by_name;

use super::{Replay, ReplayError, Writer};
use inspect::Clock;
use inspect::testing::Ev;

fn recorded(events: &[Ev]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut writer = Writer::new(file.reopen().unwrap(), Clock::fixed(7)).unwrap();
    for event in events {
        let bytes = event.bytes();
        writer.event(&Event::parse(&bytes).unwrap()).unwrap();
    }
    writer.flush().unwrap();
    file
}

/// The events of a replay: kind, number, flags.
fn replayed(replay: &mut Replay) -> Vec<(EventKind, u32, u16)> {
    let mut seen = Vec::new();
    loop {
        let polled = replay.poll(Duration::ZERO, &mut |event| {
            seen.push((event.kind(), event.header().nr, event.header().flags));
            Flow::Continue
        });
        if polled.unwrap() == Polled::Ended(None) {
            return seen;
        }
    }
}

fn events() -> [Ev; 4] {
    [
        Ev::call(7, "openat", &[0], 3).said(1, b"/etc/hosts"),
        Ev::call(7, "close", &[3], 0),
        Ev::fork(7, 8, 8, 0),
        Ev::exec(8, "/bin/true", &["true"], driver_api::event::Ids::default()),
    ]
}

#[test]
fn a_replay_hands_out_what_a_driver_with_that_selection_would() {
    let file = recorded(&events());
    let mut replay = Replay::open(file.path(), SyscallSet::all()).unwrap();
    assert_eq!(replay.clock().epoch_ns(1), 8);
    let all = replayed(&mut replay);
    assert_eq!(all.len(), 4);
    assert!(all.iter().all(|(.., flags)| *flags == 0));
    assert_eq!(replay.stats().captured, 4);

    let only_close: SyscallSet = by_name("close").into_iter().collect();
    let mut replay = Replay::open(file.path(), only_close).unwrap();
    let some = replayed(&mut replay);
    let kinds: Vec<EventKind> = some.iter().map(|(kind, ..)| *kind).collect();
    assert_eq!(
        kinds,
        [EventKind::Syscall, EventKind::Fork, EventKind::Exec]
    );
    assert_eq!(some[2].2, Flags::UNSELECTED);
}

#[test]
fn a_recording_that_was_cut_off_ends_with_its_last_whole_event() {
    let file = recorded(&events());
    let bytes = fs::read(file.path()).unwrap();
    fs::write(file.path(), &bytes[..bytes.len() - 9]).unwrap();
    let mut replay = Replay::open(file.path(), SyscallSet::all()).unwrap();
    assert_eq!(replayed(&mut replay).len(), 3);
}

#[test]
fn what_is_no_recording_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    for bytes in [&b""[..], b"lanner", &[b'x'; 4096]] {
        fs::write(file.path(), bytes).unwrap();
        let opened = Replay::open(file.path(), SyscallSet::all());
        assert!(matches!(opened, Err(ReplayError::Foreign(_))));
    }
    let mut bytes = fs::read(recorded(&events()).path()).unwrap();
    bytes[8] = 99;
    fs::write(file.path(), &bytes).unwrap();
    let opened = Replay::open(file.path(), SyscallSet::all());
    assert!(matches!(
        opened,
        Err(ReplayError::Version { version: 99, .. })
    ));
    bytes[8] = driver_api::event::layout::VERSION;
    bytes[7] = 2;
    fs::write(file.path(), &bytes).unwrap();
    let opened = Replay::open(file.path(), SyscallSet::all());
    let refused = matches!(opened, Err(ReplayError::FileVersion { version: 2, .. }));
    assert!(refused);
    bytes[7] = 1;
    bytes[24] = 1;
    bytes[25..28].fill(0);
    fs::write(file.path(), &bytes).unwrap();
    let mut replay = Replay::open(file.path(), SyscallSet::all()).unwrap();
    let error = replay
        .poll(Duration::ZERO, &mut |_| Flow::Continue)
        .unwrap_err();
    assert!(error.source.to_string().contains("damaged"), "{error}");
}

/// What a recording that an earlier lanner wrote has. The file is never written again.
#[test]
fn a_recording_of_the_first_version_is_replayed() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/v1.rec");
    let mut replay = Replay::open(file.as_ref(), SyscallSet::all()).unwrap();
    assert!(replay.clock().epoch_ns(0) > 0);
    // it says nothing about containers
    assert!(replay.containers().is_none());
    let mut state = 0;
    let mut lines = Vec::new();
    loop {
        let polled = replay.poll(Duration::ZERO, &mut |event| {
            if event.has(Flags::UNSELECTED) {
                state += 1;
            } else {
                let mut line = String::new();
                decode::text::line(&mut line, &event);
                lines.push(line);
            }
            Flow::Continue
        });
        if polled.unwrap() == Polled::Ended(None) {
            break;
        }
    }
    assert_eq!(state, 22);
    let calls: Vec<&str> = lines.iter().map(|line| line.trim()).collect();
    assert_eq!(
        calls,
        [
            r#"prctl(PR_GET_NAME, "busybox\0\0\0\0\0\0\0\0\0") = 0"#,
            r#"openat(AT_FDCWD, "/etc/hostname", O_RDONLY) = 3"#,
            "close(3) = 0",
            "+++ exited with 0 +++",
        ]
    );
}

#[test]
fn events_of_the_state_alone_do_not_count() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut writer = Writer::new(file.reopen().unwrap(), Clock::fixed(0)).unwrap();
    for flags in [Flags::UNSELECTED, 0, Flags::UNSELECTED] {
        let mut event = Ev::call(7, "close", &[3], 0);
        event.header.flags = flags;
        writer
            .event(&Event::parse(&event.bytes()).unwrap())
            .unwrap();
    }
    assert_eq!(writer.events(), 1);
}

/// The id of a container, and its cgroups.
const ID: &str = "3ad7b26ded6d8e7b23da7d48fe889434573036c27ae5a74837233de441c3601e";

/// A recording of a process in a container, about which these texts are said.
fn in_container(said: &[&str]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut writer = Writer::new(file.reopen().unwrap(), Clock::fixed(7)).unwrap();
    let mut write = |event: &Event<'_>| writer.event(event).unwrap();
    let exec = Ev::exec(8, "/bin/true", &["true"], driver_api::event::Ids::default());
    write(&Event::parse(&exec.bytes()).unwrap());
    let mut builder = EventBuilder::new();
    let group = format!("4:memory:/docker/{ID}\n0::/\n");
    let said = said.iter().map(|said| (Fact::Container, *said, 0));
    for (fact, text, pid) in [(Fact::Cgroups, group.as_str(), 8)].into_iter().chain(said) {
        let report = inspect::Report {
            fact,
            text: text.as_bytes(),
            pid,
            cgroup: 0,
            time_ns: 5_000_000_000,
        };
        write(&report.event(&mut builder).unwrap());
    }
    writer.finish().unwrap();
    file
}

/// The state after all events of a recording; `each` gets what it says of every event that rules see.
fn state_of(path: &std::path::Path, mut each: impl FnMut(&inspect::Seen)) -> inspect::Inspector {
    let mut replay = Replay::open(path, SyscallSet::all()).unwrap();
    let mut state = inspect::Inspector::new(&inspect::Options {
        elsewhere: true,
        ..inspect::testing::isolated_options()
    });
    loop {
        let polled = replay.poll(Duration::ZERO, &mut |event| {
            let seen = state.update(&event);
            if !event.has(Flags::UNSELECTED) {
                each(&seen);
            }
            Flow::Continue
        });
        if polled.unwrap() == Polled::Ended(None) {
            return state;
        }
    }
}

#[test]
fn an_id_puts_a_process_into_its_cgroups_whenever_its_meaning_is_said() {
    let exec = |cgroup| {
        let mut exec = Ev::exec(8, "/bin/true", &["true"], driver_api::event::Ids::default());
        exec.header.cgroup = cgroup;
        exec.bytes()
    };
    let mut builder = EventBuilder::new();
    let mut says = |cgroup, text: &str| {
        let report = inspect::Report {
            fact: Fact::Cgroups,
            text: text.as_bytes(),
            pid: 0,
            cgroup,
            time_ns: 5_000_000_000,
        };
        report.event(&mut builder).unwrap().to_vec()
    };
    let host = says(2, "4:memory:/\n0::/\n");
    let container = says(3, &format!("4:memory:/docker/{ID}\n0::/\n"));
    for events in [
        vec![exec(3), container.clone()],
        vec![host, exec(2), container, exec(3)],
    ] {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut writer = Writer::new(file.reopen().unwrap(), Clock::fixed(7)).unwrap();
        for event in &events {
            writer.event(&Event::parse(event).unwrap()).unwrap();
        }
        writer.finish().unwrap();
        let state = state_of(file.path(), |_| {});
        let process = state.process_by_pid(8).unwrap();
        assert_eq!(&*process.cgroups.container.as_ref().unwrap().id, ID);
    }
}

#[test]
fn users_are_those_of_the_host_that_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let etc = folder.path();
    // more than one event holds
    let many =
        (1..3000).map(|id| format!("user{id}:x:{id}:{id}:a comment:/home/user{id}:/bin/sh\n"));
    fs::write(etc.join("passwd"), many.collect::<String>()).unwrap();
    fs::write(etc.join("group"), "staff:x:50:a,b\n").unwrap();
    let there = inspect::Inspector::new(&inspect::Options {
        etc: etc.to_owned(),
        ..inspect::testing::isolated_options()
    });
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut writer = Writer::new(file.reopen().unwrap(), Clock::fixed(7)).unwrap();
    let mut count = 0;
    there.report_users(&mut |event| {
        count += 1;
        writer.event(event).unwrap();
    });
    assert!(count > 3, "{count}");
    writer.finish().unwrap();
    let state = state_of(file.path(), |_| {});
    let users = state.recorded_users().unwrap();
    assert_eq!((users.users().count(), users.groups().count()), (2999, 1));
    let last = users.user(2999).unwrap();
    assert_eq!(
        (&*last.name, &*last.home, &*last.shell),
        (&b"user2999"[..], &b"/home/user2999"[..], &b"/bin/sh"[..])
    );
    assert_eq!(users.group(50), Some(&b"staff"[..]));
    // names of a recording that has none are those of the host that replays, and are not handed on
    let state = state_of(recorded(&events()).path(), |_| {});
    assert!(state.recorded_users().is_none());
    state.report_users(&mut |_| panic!("there are no users"));
}

#[test]
fn time_counts_from_the_first_event_that_is_not_state() {
    let mut events = events();
    for (at, event) in (1..).zip(&mut events) {
        event.header.time_ns = at * 1000;
    }
    events[0].header.flags |= Flags::UNSELECTED;
    let mut times = Vec::new();
    state_of(recorded(&events).path(), |seen| {
        times.push(seen.since_start_ns);
    });
    assert_eq!(times, [0, 1000, 2000]);
}

/// The container that a replay puts the process into.
fn container_of(file: &tempfile::NamedTempFile) -> std::sync::Arc<inspect::Container> {
    let mut replay = Replay::open(file.path(), SyscallSet::all()).unwrap();
    let mut state = inspect::Inspector::new(&inspect::Options {
        containers: replay.containers(),
        ..inspect::testing::isolated_options()
    });
    loop {
        let polled = replay.poll(Duration::ZERO, &mut |event| {
            state.update(&event);
            Flow::Continue
        });
        if polled.unwrap() == Polled::Ended(None) {
            break;
        }
    }
    let process = state.process_by_pid(8).unwrap();
    process.cgroups.container.clone().unwrap()
}

#[test]
fn what_runtimes_said_about_containers_is_known_in_a_replay() {
    let json = format!(
        r#"{{"container":{{"id":"{}","name":"web","image":"shop:2","imagerepo":"shop"}}}}"#,
        &ID[..12]
    );
    let container = container_of(&in_container(&[&json]));
    let said = container.metadata().unwrap();
    assert_eq!((&*container.id, said.name.as_str()), (ID, "web"));
    assert_eq!(said.image.repository, "shop");
    // text that is none hides nothing, and a file without an answer ends the wait for it
    let container = container_of(&in_container(&["{", "null"]));
    assert!(container.is_answered() && container.metadata().is_none());
}

#[test]
fn a_recording_from_before_containers_had_names_has_their_ids() {
    let file = in_container(&[]);
    let mut bytes = fs::read(file.path()).unwrap();
    // what was reserved then
    bytes[12..16].fill(0);
    fs::write(file.path(), &bytes).unwrap();
    let container = container_of(&file);
    assert_eq!(&*container.id, ID);
    assert!(container.is_answered() && container.metadata().is_none());
}

#[test]
fn a_recording_says_whether_events_have_the_times_of_their_calls() {
    let event = Ev::call(7, "close", &[3], 0).fact(Fact::Took, &77_u64.to_ne_bytes());
    let bytes = event.bytes();
    for times in [false, true] {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut writer = Writer::new(file.reopen().unwrap(), Clock::fixed(7)).unwrap();
        if times {
            writer = writer.with_times();
        }
        writer.event(&Event::parse(&bytes).unwrap()).unwrap();
        writer.finish().unwrap();
        let mut replay = Replay::open(file.path(), SyscallSet::all()).unwrap();
        assert_eq!(replay.has_times(), times);
        assert!(replay.containers().is_some());
        let mut took = None;
        replay
            .poll(Duration::ZERO, &mut |event| {
                took = event.took_ns();
                Flow::Continue
            })
            .unwrap();
        assert_eq!(took, Some(77));
    }
}
