//! A file has what happened before the alert, with the state of then, and nothing is written elsewhere.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use driver_api::driver::{Capture, Polled};
use driver_api::request::SyscallSet;
use driver_api::scripted::Scripted;
use inspect::testing::{Ev, isolated};
use plugin_host::RuleCapture;
use recording::Replay;

use super::*;
use crate::config::{CaptureConfig, Size, Time};
use crate::recording_file::RecordingFormat;

const SECOND: u64 = 1_000_000_000;
const REPLAY: Origin = Origin {
    live: false,
    times: false,
};

fn config(folder: &Path) -> CaptureConfig {
    CaptureConfig {
        path_prefix: folder.join("alert"),
        format: RecordingFormat::Lanner,
        memory: Size(4 << 20),
        ..CaptureConfig::default()
    }
}

fn asked(seconds: u64) -> RuleCapture {
    RuleCapture {
        rule: 0,
        duration: Some(Duration::from_secs(seconds)),
        ..RuleCapture::default()
    }
}

struct Stage {
    recorder: FlightRecorder,
    inspector: Inspector,
    plan: Plan,
    number: u64,
}

impl Stage {
    fn new(config: &CaptureConfig, asked: RuleCapture) -> Self {
        Self::of(REPLAY, config, asked)
    }

    fn of(origin: Origin, config: &CaptureConfig, asked: RuleCapture) -> Self {
        let plan = Plan::new(config, 1, &[asked]);
        let inspector = isolated();
        let recorder = FlightRecorder::start(&plan, origin, Failures::default())
            .unwrap()
            .unwrap();
        Self {
            recorder,
            inspector,
            plan,
            number: 0,
        }
    }

    /// An event at this second.
    fn event(&mut self, second: u64, mut event: Ev) -> Ev {
        event.header.time_ns = second * SECOND;
        let bytes = event.bytes();
        let parsed = Event::parse(&bytes).unwrap();
        self.recorder.before(&parsed, &self.inspector);
        self.inspector.update(&parsed);
        self.recorder.event(&parsed, &self.inspector);
        self.number += 1;
        event
    }

    /// The rule matches an event at this second.
    fn alert(&mut self, second: u64) -> Option<String> {
        let event = self.event(second, Ev::call(7, "close", &[9], 0));
        let bytes = event.bytes();
        let parsed = Event::parse(&bytes).unwrap();
        let limits = *self.plan.of(0).unwrap();
        let time_ns = parsed.header().time_ns;
        self.recorder
            .alert(&limits, &parsed, &self.inspector, time_ns, self.number)
    }
}

/// Times of the selected events of a file, in seconds, and the state after its unselected ones.
fn read(file: &Path) -> (Vec<u64>, Inspector) {
    let mut replay = Replay::open(file, SyscallSet::all()).unwrap();
    let mut state = isolated();
    let mut times = Vec::new();
    while !matches!(
        replay.poll(Duration::ZERO, &mut |event| {
            if event.has(Flags::UNSELECTED) && times.is_empty() {
                state.update(&event);
            } else {
                times.push(event.header().time_ns / SECOND);
            }
            driver_api::driver::Flow::Continue
        }),
        Ok(Polled::Ended(_))
    ) {}
    (times, state)
}

#[test]
fn a_file_begins_before_the_alert_with_the_state_of_then() {
    let folder = tempfile::tempdir().unwrap();
    let mut stage = Stage::new(&config(folder.path()), asked(5));
    let ids = driver_api::event::Ids::default();
    stage.event(1, Ev::exec(7, "/bin/first", &["first"], ids));
    for second in 2..=59 {
        stage.event(second, Ev::call(7, "close", &[second.cast_signed()], 0));
    }
    stage.event(60, Ev::exec(7, "/bin/second", &["second"], ids));
    let name = stage.alert(61).unwrap();
    // a second alert shares the file, and makes it longer
    assert_eq!(stage.alert(64).as_ref(), Some(&name));
    for second in 65..=80 {
        stage.event(second, Ev::call(7, "close", &[3], 0));
    }
    drop(stage);
    let file = folder.path().join(&name);
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let (times, state) = read(&file);
    assert!(times[0] <= 51 && times[0] > 40, "{times:?}");
    let expected: Vec<u64> = (times[0]..=61).chain(64..=68).collect();
    assert_eq!(times, expected);
    assert_eq!(&*state.process_by_pid(7).unwrap().exe, b"/bin/first");
}

#[test]
fn a_file_says_whether_its_events_have_times() {
    for times in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let origin = Origin { times, ..REPLAY };
        let mut stage = Stage::of(origin, &config(folder.path()), asked(1));
        let name = stage.alert(61).unwrap();
        drop(stage);
        let replay = Replay::open(&folder.path().join(&name), SyscallSet::all()).unwrap();
        assert_eq!(replay.has_times(), times);
    }
}

#[test]
fn limits_end_a_file_and_remove_old_ones() {
    let folder = tempfile::tempdir().unwrap();
    let few = CaptureConfig {
        max_files: 2,
        ..config(folder.path())
    };
    let mut stage = Stage::new(
        &few,
        RuleCapture {
            events: Some(3),
            ..asked(1000)
        },
    );
    std::fs::write(folder.path().join("alert_notes.scap"), "kept").unwrap();
    let mut names = Vec::new();
    for round in 1..=4_u64 {
        names.push(stage.alert(round * 100).unwrap());
        for more in 1..=10 {
            stage.event(round * 100 + more, Ev::call(7, "close", &[3], 0));
        }
    }
    drop(stage);
    names.dedup();
    assert_eq!(names.len(), 4);
    let exists = |name: &String| folder.path().join(name).exists();
    let left: Vec<bool> = names.iter().map(exists).collect();
    assert_eq!(left, [false, false, true, true]);
    assert!(folder.path().join("alert_notes.scap").exists());
    let (times, _) = read(&folder.path().join(&names[3]));
    assert_eq!(times.last(), Some(&403));
}

#[test]
fn a_file_has_its_alert_however_small_it_must_be() {
    for format in [RecordingFormat::Lanner, RecordingFormat::Scap] {
        let folder = tempfile::tempdir().unwrap();
        let config = CaptureConfig {
            format,
            ..config(folder.path())
        };
        let capture = RuleCapture {
            bytes: Some(10),
            ..asked(1000)
        };
        let mut stage = Stage::new(&config, capture);
        for number in 0..1000 {
            stage.event(2, Ev::call(7, "close", &[number], 0));
        }
        let name = stage.alert(2).unwrap();
        for number in 1000..2000 {
            stage.event(3, Ev::call(7, "close", &[number], 0));
        }
        drop(stage);
        let file = folder.path().join(name);
        match format {
            // the alert's event has the number 9
            RecordingFormat::Lanner => assert_eq!(numbers(&file), (vec![9], 0)),
            // the state and one event
            RecordingFormat::Scap => assert!(file.metadata().unwrap().len() < 4096),
        }
    }
}

#[test]
fn reloaded_rules_keep_what_the_recorder_has() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    let mut stage = Stage::new(&config, asked(10));
    for second in 1..=20 {
        stage.event(second, Ev::call(7, "close", &[3], 0));
    }
    let name = stage.alert(21).unwrap();
    let more = RuleCapture {
        before: Some(Duration::from_secs(60)),
        ..asked(10)
    };
    let plan = Plan::new(&config, 2, &[more]);
    assert!(plan.goes_on_from(&stage.plan));
    stage.recorder.keep(&plan);
    stage.plan = plan;
    for second in 22..=80 {
        stage.event(second, Ev::call(7, "close", &[3], 0));
    }
    let next = stage.alert(81).unwrap();
    drop(stage);
    // the file that was being written goes on to its end
    let (times, _) = read(&folder.path().join(name));
    assert_eq!(times.last(), Some(&30));
    // the next one has what the new rules ask for
    let (times, _) = read(&folder.path().join(next));
    assert!(times[0] <= 21, "{times:?}");

    let elsewhere = CaptureConfig {
        path_prefix: folder.path().join("other"),
        ..config
    };
    let before = Plan::new(&self::config(folder.path()), 1, &[asked(10)]);
    assert!(!Plan::new(&elsewhere, 1, &[asked(10)]).goes_on_from(&before));
    assert!(!Plan::new(before.config(), 1, &[]).goes_on_from(&before));
}

#[test]
fn a_file_that_cannot_be_written_is_not_left_behind() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan::new(&config(folder.path()), 1, &[asked(1)]);
    let inspector = isolated();
    let (recorder, mut writer) = FlightRecorder::with_writer(&plan, REPLAY, Failures::default())
        .unwrap()
        .unwrap();
    let (name, file) = recorder.folder.create(1, 1).unwrap();
    drop(file);
    let path = folder.path().join(&name);
    let begin = Begin {
        name,
        // as a full disk does, it refuses to be written
        file: std::fs::File::open(&path).unwrap(),
        window: recorder.ring.window(0),
        cgroups: inspector.cgroups(),
        users: Vec::new(),
        size: Arc::new(writer::Size::new(None)),
        clock: inspector.clock(),
    };
    let name = begin.name.clone();
    assert!(writer.begin(begin).is_err());
    assert!(!path.exists());
    // an alert has named it
    let failed = recorder.failures().take();
    let said = failed.iter().map(|one| (one.name.as_str(), one.removed));
    assert_eq!(said.collect::<Vec<_>>(), [(name.as_str(), true)]);
}

#[test]
fn an_alert_does_not_share_a_file_that_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let mut stage = Stage::new(&config(folder.path()), asked(60));
    let first = stage.alert(1).unwrap();
    assert_eq!(stage.alert(2).as_ref(), Some(&first));
    stage.recorder.active.as_ref().unwrap().size.fail();
    let mut second = None;
    test_support::wait_until("the writer gives the ring's memory back", || {
        second = stage.alert(3);
        second.is_some()
    });
    assert_ne!(second, Some(first));
}

#[test]
fn nothing_is_written_through_a_link() {
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let link = folder.path().join("link");
    symlink(elsewhere.path(), &link).unwrap();
    assert!(Folder::open(&config(&link)).is_err());
    let below = CaptureConfig {
        path_prefix: folder.path().join("alert/"),
        ..CaptureConfig::default()
    };
    assert!(
        Folder::open(&below).is_err(),
        "a folder's name is no prefix"
    );

    let opened = Folder::open(&config(folder.path())).unwrap();
    let (name, _) = opened.create(1, 1).unwrap();
    std::fs::remove_file(folder.path().join(&name)).unwrap();
    symlink(elsewhere.path().join("target"), folder.path().join(&name)).unwrap();
    assert!(opened.create(1, 1).is_err());
    assert!(!elsewhere.path().join("target").exists());
}

#[test]
fn the_configuration_can_forbid_what_rules_ask_for() {
    let folder = tempfile::tempdir().unwrap();
    let never = CaptureConfig {
        enabled: Some(false),
        ..config(folder.path())
    };
    assert!(!Plan::new(&never, 1, &[asked(1)]).is_on());
    assert!(!Plan::new(&config(folder.path()), 1, &[]).is_on());
    let capped = CaptureConfig {
        max_file_size_mb: Some(1),
        capture_before: Time(Duration::from_secs(30)),
        ..config(folder.path())
    };
    let plan = Plan::new(&capped, 1, &[asked(1)]);
    assert_eq!(plan.of(0).unwrap().bytes, Some(1 << 20));
    assert_eq!(plan.window(), Duration::from_secs(30));
}

/// Numbers of the selected events of a file, and how many it says are missing.
fn numbers(file: &Path) -> (Vec<u64>, u64) {
    let mut replay = Replay::open(file, SyscallSet::all()).unwrap();
    let (mut numbers, mut lost) = (Vec::new(), 0);
    while !matches!(
        replay.poll(Duration::ZERO, &mut |event| {
            let header = event.header();
            match event.kind() {
                EventKind::Lost => lost += header.args[0],
                _ if event.has(Flags::UNSELECTED) => {}
                _ => numbers.push(header.args[0]),
            }
            driver_api::driver::Flow::Continue
        }),
        Ok(Polled::Ended(_))
    ) {}
    (numbers, lost)
}

/// Numbered events of this many bytes and more, a microsecond after one another.
fn numbered(from: u64, to: u64, bytes: usize) -> impl Iterator<Item = Vec<u8>> {
    let data = vec![b'x'; bytes];
    (from..to).map(move |number| {
        let argument = number.cast_signed();
        let mut event = Ev::call(7, "write", &[argument, 1, 8], 8).said(1, &data);
        event.header.time_ns = SECOND + number * 1000;
        event.bytes()
    })
}

/// Feeds the recorder as the event path does.
fn feed(recorder: &mut FlightRecorder, events: impl IntoIterator<Item = Vec<u8>>) {
    let inspector = isolated();
    let mut scripted = Scripted::new(events, None);
    let polled = scripted.poll(Duration::ZERO, &mut |event| {
        recorder.before(&event, &inspector);
        recorder.event(&event, &inspector);
        driver_api::driver::Flow::Continue
    });
    assert!(matches!(polled, Ok(Polled::Events(_))));
}

#[test]
fn events_go_on_while_a_full_ring_is_saved_and_none_is_lost_in_silence() {
    const MEMORY: usize = 64 << 20;
    const BYTES: usize = 16 << 10;
    /// More than the ring holds.
    const BEFORE: u64 = 5000;
    /// More than waits for the writer.
    const AFTER: u64 = 3000;
    let folder = tempfile::tempdir().unwrap();
    let config = CaptureConfig {
        memory: Size(MEMORY as u64),
        ..config(folder.path())
    };
    let plan = Plan::new(&config, 1, &[asked(1000)]);
    let inspector = isolated();
    // the writer does not run: the disk is as slow as can be
    let (mut recorder, writer) = FlightRecorder::with_writer(&plan, REPLAY, Failures::default())
        .unwrap()
        .unwrap();
    feed(&mut recorder, numbered(0, BEFORE, BYTES));
    assert!(recorder.ring.bytes() > MEMORY / 2);
    assert!(recorder.ring.window(0).copied() <= 256 << 10);
    let alert = numbered(BEFORE - 1, BEFORE, 1).next().unwrap();
    let alert = Event::parse(&alert).unwrap();
    let limits = *plan.of(0).unwrap();
    let name = recorder.alert(&limits, &alert, &inspector, SECOND, 1);
    let name = name.unwrap();
    feed(&mut recorder, numbered(BEFORE, BEFORE + AFTER, BYTES));
    assert!(recorder.ring.bytes() <= MEMORY);
    assert!(recorder.ring.lent() > 0 && recorder.ring.lent() <= MEMORY);
    // another file would need more memory
    recorder.end();
    assert_eq!(recorder.alert(&limits, &alert, &inspector, SECOND, 2), None);
    let thread = std::thread::spawn(move || writer.run());
    drop(recorder);
    thread.join().unwrap();

    let (found, lost) = numbers(&folder.path().join(name));
    let later = found.partition_point(|number| *number < BEFORE);
    let (before, after) = found.split_at(later);
    assert!(before.len() > MEMORY / 2 / (2 * BYTES), "{}", before.len());
    assert!(before.iter().copied().eq(before[0]..BEFORE));
    assert!(lost > 0 && !after.is_empty());
    assert_eq!(after.len() as u64 + lost, AFTER);
}

#[test]
fn a_file_is_not_larger_than_asked_for_and_has_the_alert() {
    const MOST: u64 = 200_000;
    const BYTES: usize = 1000;
    for format in [RecordingFormat::Lanner, RecordingFormat::Scap] {
        let folder = tempfile::tempdir().unwrap();
        let config = CaptureConfig {
            format,
            ..config(folder.path())
        };
        let capture = RuleCapture {
            bytes: Some(MOST),
            ..asked(1000)
        };
        let mut stage = Stage::new(&config, capture);
        let ids = driver_api::event::Ids::default();
        stage.event(1, Ev::exec(7, "/bin/first", &["first"], ids));
        let data = vec![b'x'; BYTES];
        let write = |number| Ev::call(7, "write", &[number, 1, 8], 8).said(1, &data);
        for number in 0..1000 {
            stage.event(2, write(number));
        }
        let name = stage.alert(2).unwrap();
        for number in 1000..2000 {
            stage.event(3, write(number));
        }
        drop(stage);
        let file = folder.path().join(name);
        let size = file.metadata().unwrap().len();
        // one event more, in two halves, and the end
        let wanted = MOST / 2..MOST + 4096;
        assert!(wanted.contains(&size), "{format:?}: {size}");
        if format == RecordingFormat::Lanner {
            let (found, lost) = numbers(&file);
            assert_eq!(lost, 0);
            // the alert's event has the number 9
            let alert = found.windows(3).position(|part| part == [999, 9, 1000]);
            assert!(alert.is_some(), "{found:?}");
            let (_, state) = read(&file);
            assert_eq!(&*state.process_by_pid(7).unwrap().exe, b"/bin/first");
        }
    }
}

#[test]
fn a_file_says_where_a_process_has_moved() {
    let id = "c010f5a08549441fb384b5e9ede5a4e4122381543d5213298164215f9a25736a";
    let folder = tempfile::tempdir().unwrap();
    let proc_root = tempfile::tempdir().unwrap();
    std::fs::create_dir(proc_root.path().join("7")).unwrap();
    let group = |path: &str| {
        let text = format!("4:freezer:{path}\n0::/\n");
        std::fs::write(proc_root.path().join("7/cgroup"), text).unwrap();
    };
    group("/elsewhere");
    let mut stage = Stage::new(&config(folder.path()), asked(5));
    stage.inspector = Inspector::new(&inspect::Options {
        proc_root: Some(proc_root.path().to_owned()),
        ..inspect::testing::isolated_options()
    });
    let ids = driver_api::event::Ids::default();
    stage.event(1, Ev::exec(7, "/bin/sh", &["sh"], ids));
    stage.event(2, Ev::call(7, "close", &[3], 0));
    let open = Ev::call(7, "openat", &[-100, 1, 1], 4).said(1, b"/sys/fs/cgroup/cgroup.procs");
    stage.event(3, open);
    // the write comes a little later than the open
    stage.event(4, Ev::call(7, "close", &[5], 0));
    group(&format!("/docker/{id}"));
    let name = stage.alert(5).unwrap();
    stage.event(6, Ev::call(7, "close", &[3], 0));
    drop(stage);
    let mut replay = Replay::open(&folder.path().join(name), SyscallSet::all()).unwrap();
    let mut state = isolated();
    let mut found = Vec::new();
    while !matches!(
        replay.poll(Duration::ZERO, &mut |event| {
            let seen = state.update(&event);
            if !event.has(Flags::UNSELECTED) {
                let process = seen.process.and_then(|key| state.process(key)).unwrap();
                let second = event.header().time_ns / SECOND;
                found.push((second, process.cgroups.container.is_some()));
            }
            driver_api::driver::Flow::Continue
        }),
        Ok(Polled::Ended(_))
    ) {}
    let expected = [1, 2, 3, 4, 5, 6].map(|second| (second, second >= 5));
    assert_eq!(found, expected);
}
