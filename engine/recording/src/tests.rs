//! A recording replays what was written; other files are refused.

use std::fs;
use std::time::Duration;

use driver_api::driver::{Capture, Flow, Polled};
use driver_api::event::{Event, Flags, Kind};
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
fn replayed(replay: &mut Replay) -> Vec<(Kind, u32, u16)> {
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
    let kinds: Vec<Kind> = some.iter().map(|(kind, ..)| *kind).collect();
    assert_eq!(kinds, [Kind::Syscall, Kind::Fork, Kind::Exec]);
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
