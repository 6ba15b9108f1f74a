//! After events were lost, what is known of a process is true of its program, or absent.

use std::fs;
use std::os::unix::fs::symlink;

use driver_api::event::Ids;
use driver_api::event::layout::LOST_CALLS;

use super::testing::{Ev, feed};
use super::*;

const SECOND: u64 = 1_000_000_000;
/// A time that is later than every reading of /proc.
const LATER: u64 = u64::MAX / 2;

/// A made-up /proc.
struct Proc(tempfile::TempDir);

impl Proc {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn inspector(&self) -> Inspector {
        Inspector::new(&Options {
            proc_root: Some(self.0.path().to_owned()),
            ..testing::isolated_options()
        })
    }

    /// A process that started at this time runs a program.
    fn put(&self, pid: u32, ppid: u32, exe: &str, start_s: u64) {
        let folder = self.0.path().join(pid.to_string());
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("fd")).unwrap();
        fs::create_dir_all(folder.join("task").join(pid.to_string())).unwrap();
        let name = exe.rsplit('/').next().unwrap();
        let zeros = " 0".repeat(13);
        let stat = format!(
            "{pid} ({name}) S {ppid} {pid} {pid} 0 -1{zeros} {} 0 0",
            start_s * 100
        );
        fs::write(folder.join("stat"), stat).unwrap();
        let status = format!("Tgid:\t{pid}\nNSpid:\t{pid}\nUid:\t7\t7\t7\t7\nGid:\t7\t7\t7\t7\n");
        fs::write(folder.join("status"), status).unwrap();
        fs::write(folder.join("cmdline"), format!("{name}\0")).unwrap();
        fs::write(folder.join("cgroup"), "0::/new\n").unwrap();
        symlink(exe, folder.join("exe")).unwrap();
    }

    fn remove(&self, pid: u32) {
        fs::remove_dir_all(self.0.path().join(pid.to_string())).unwrap();
    }
}

fn at(time_ns: u64, mut event: Ev) -> Ev {
    event.header.time_ns = time_ns;
    event
}

fn call(pid: u32, time_ns: u64) -> Ev {
    at(time_ns, Ev::call(pid, "getpid", &[], 0))
}

/// Events were lost. `what`: 0, or [`LOST_CALLS`].
fn lost(what: u64) -> Ev {
    let mut event = Ev::new(EventKind::Lost, 0);
    event.header.args[2] = what;
    event
}

fn program(pid: u32, exe: &str, time_ns: u64) -> Ev {
    let name = exe.rsplit('/').next().unwrap();
    let ids = Ids {
        ppid: 1,
        ..Ids::default()
    };
    at(time_ns, Ev::exec(pid, exe, &[name], ids))
}

/// The names of the process of an event and its ancestors, as far as anything is known of them.
fn names(inspector: &Inspector, seen: &Seen) -> Vec<String> {
    let lineage = inspector.lineage(seen.process.unwrap());
    lineage
        .map(|process| {
            assert_eq!(process.known, !process.exe.is_empty(), "{process:?}");
            String::from_utf8_lossy(&process.name).into_owned()
        })
        .collect()
}

fn name_after(inspector: &mut Inspector, events: &[Ev]) -> String {
    let seen = feed(inspector, events);
    names(inspector, &seen).swap_remove(0)
}

#[test]
fn a_loss_of_calls_does_not_bring_the_next_program_forward() {
    let proc = Proc::new();
    let mut inspector = proc.inspector();
    proc.put(42, 1, "/bin/one", 1);
    let start = [program(42, "/bin/one", 5 * SECOND), call(42, 5 * SECOND)];
    assert_eq!(name_after(&mut inspector, &start), "one");
    // it has executed the next program, and that event is still on its way
    proc.put(42, 1, "/bin/two", 1);
    let events = [lost(LOST_CALLS), call(42, 6 * SECOND)];
    assert_eq!(name_after(&mut inspector, &events), "one");
    let next = [program(42, "/bin/two", 7 * SECOND), call(42, 7 * SECOND)];
    assert_eq!(name_after(&mut inspector, &next), "two");
}

#[test]
fn a_program_of_an_event_before_the_loss_is_compared_at_the_next_event() {
    let proc = Proc::new();
    let mut inspector = proc.inspector();
    // the loss is reported before the events that were written before it
    proc.put(42, 1, "/bin/two", 1);
    let events = [
        at(10 * SECOND, lost(0)),
        program(42, "/bin/one", 5 * SECOND),
        call(42, 6 * SECOND),
    ];
    assert_eq!(name_after(&mut inspector, &events), "");
}

#[test]
fn nothing_is_said_of_a_process_that_is_executing_a_program() {
    let proc = Proc::new();
    let mut inspector = proc.inspector();
    proc.put(42, 1, "/bin/one", 1);
    let start = [program(42, "/bin/one", 5 * SECOND), call(42, 5 * SECOND)];
    assert_eq!(name_after(&mut inspector, &start), "one");
    // the kernel has mapped the next program, and its name and arguments are not there yet
    proc.put(42, 1, "/bin/two", 1);
    let stat = proc.0.path().join("42/stat");
    let zeros = " 0".repeat(13);
    fs::write(
        &stat,
        format!("42 (one) S 1 42 42 0 -1{zeros} 100 4096 1 0 0 0 0"),
    )
    .unwrap();
    let events = [lost(0), call(42, LATER)];
    assert_eq!(name_after(&mut inspector, &events), "");
    proc.put(42, 1, "/bin/two", 1);
    assert_eq!(name_after(&mut inspector, &[call(42, LATER)]), "two");
}

#[test]
fn a_program_that_proc_does_not_confirm_is_not_known_before_the_reading() {
    for (next, expected) in [
        (None, "two"),
        // whatever /proc said, the event of the exec is exact
        (Some("/bin/three"), "three"),
    ] {
        let proc = Proc::new();
        let mut inspector = proc.inspector();
        proc.put(42, 1, "/bin/one", 1);
        let start = [program(42, "/bin/one", 5 * SECOND), call(42, 5 * SECOND)];
        assert_eq!(name_after(&mut inspector, &start), "one");
        let same = [lost(0), call(42, 6 * SECOND)];
        assert_eq!(name_after(&mut inspector, &same), "one", "confirmed");
        proc.put(42, 1, "/bin/two", 1);
        let events = [lost(0), call(42, 7 * SECOND)];
        assert_eq!(name_after(&mut inspector, &events), "");
        assert_eq!(name_after(&mut inspector, &[call(42, 8 * SECOND)]), "");
        if let Some(exe) = next {
            let exec = [program(42, exe, 9 * SECOND)];
            assert_eq!(name_after(&mut inspector, &exec), expected);
        }
        assert_eq!(name_after(&mut inspector, &[call(42, LATER)]), expected);
    }
}

#[test]
fn a_process_that_takes_an_id_whose_end_was_lost_inherits_nothing() {
    // when the process that has the id now started, in seconds; None: none has it
    for (start, later) in [(Some(50), "new"), (Some(200), "new"), (None, "")] {
        let proc = Proc::new();
        let mut inspector = proc.inspector();
        proc.put(1, 0, "/bin/init", 0);
        let fork = at(5 * SECOND, Ev::fork(1, 42, 42, 0));
        let old = [
            call(1, 5 * SECOND),
            fork,
            program(42, "/bin/old", 6 * SECOND),
        ];
        assert_eq!(name_after(&mut inspector, &old), "old");
        if let Some(start) = start {
            proc.put(42, 1, "/bin/new", start);
        }
        let seen = feed(&mut inspector, &[lost(0), call(42, 100 * SECOND).uid(9)]);
        assert_eq!(names(&inspector, &seen)[0], "", "{start:?}");
        let process = inspector.process(seen.process.unwrap()).unwrap();
        assert_eq!(process.credentials(42).uid, 9, "{start:?}");
        assert!(process.start_ns != 5 * SECOND && process.args.is_empty());
        assert_eq!(name_after(&mut inspector, &[call(42, LATER)]), later);
    }
}

#[test]
fn a_process_that_has_ended_meanwhile_is_not_known() {
    let proc = Proc::new();
    let mut inspector = proc.inspector();
    proc.put(42, 1, "/bin/one", 1);
    let start = [program(42, "/bin/one", 5 * SECOND)];
    assert_eq!(name_after(&mut inspector, &start), "one");
    proc.remove(42);
    assert_eq!(name_after(&mut inspector, &[call(42, 6 * SECOND)]), "one");
    let calls = [lost(LOST_CALLS), call(42, 6 * SECOND)];
    assert_eq!(name_after(&mut inspector, &calls), "one");
    let lives = [lost(0), call(42, 7 * SECOND)];
    assert_eq!(name_after(&mut inspector, &lives), "");
}

#[test]
fn a_process_whose_birth_was_lost_is_known_for_events_after_the_reading() {
    let proc = Proc::new();
    let mut inspector = proc.inspector();
    proc.put(1, 0, "/bin/init", 0);
    proc.put(42, 1, "/bin/next", 1);
    feed(&mut inspector, &[lost(0)]);
    assert_eq!(name_after(&mut inspector, &[call(42, 5 * SECOND)]), "");
    // what it creates meanwhile has no name either
    let fork = at(6 * SECOND, Ev::fork(42, 43, 43, 0));
    let events = [fork, call(43, 7 * SECOND)];
    assert_eq!(name_after(&mut inspector, &events), "");
    let seen = feed(&mut inspector, &[call(42, LATER)]);
    assert_eq!(names(&inspector, &seen), ["next", "init"]);
}

#[test]
fn what_was_lost_may_come_after_events_that_still_wait() {
    let proc = Proc::new();
    let mut inspector = proc.inspector();
    proc.put(41, 0, "/bin/shell", 1);
    proc.put(42, 41, "/bin/third", 10);
    feed(
        &mut inspector,
        &[call(41, 5 * SECOND), at(20 * SECOND, lost(0))],
    );
    let fork = at(10 * SECOND, Ev::fork(41, 42, 42, 0));
    let events = [fork, call(42, 11 * SECOND)];
    assert_eq!(name_after(&mut inspector, &events), "");
    let exec = program(42, "/bin/second", 12 * SECOND);
    assert_eq!(name_after(&mut inspector, &[exec]), "second");
    assert_eq!(name_after(&mut inspector, &[call(42, 13 * SECOND)]), "");
    let exec = program(42, "/bin/third", 14 * SECOND);
    let events = [exec, call(42, 15 * SECOND)];
    assert_eq!(name_after(&mut inspector, &events), "third", "confirmed");
    let exec = program(42, "/bin/fourth", 21 * SECOND);
    let events = [exec, call(42, 22 * SECOND)];
    assert_eq!(name_after(&mut inspector, &events), "fourth");
}

#[test]
fn a_parent_has_the_right_name_or_none() {
    let proc = Proc::new();
    let mut inspector = proc.inspector();
    proc.put(41, 0, "/bin/top", 1);
    proc.put(42, 41, "/bin/shell", 1);
    proc.put(43, 42, "/bin/child", 1);
    let seen = feed(&mut inspector, &[call(43, 5 * SECOND)]);
    assert_eq!(names(&inspector, &seen), ["child", "shell", "top"]);
    proc.put(42, 41, "/bin/other", 1);
    let seen = feed(&mut inspector, &[lost(0), call(43, 6 * SECOND)]);
    assert_eq!(names(&inspector, &seen), ["child", "", "top"]);
    let seen = feed(&mut inspector, &[call(43, LATER)]);
    assert_eq!(names(&inspector, &seen), ["child", "other", "top"]);
    // its id is another process's
    proc.put(42, 41, "/bin/third", 2);
    let seen = feed(&mut inspector, &[lost(0), call(43, LATER)]);
    assert_eq!(names(&inspector, &seen), ["child", "", "top"]);
}

#[test]
fn losses_without_end_take_bounded_memory_and_name_no_wrong_program() {
    let proc = Proc::new();
    let mut inspector = proc.inspector();
    for pid in 2..1200 {
        proc.put(pid, 0, "/bin/now", 1);
        feed(&mut inspector, &[program(pid, "/bin/then", 5 * SECOND)]);
    }
    for round in 0..2 {
        feed(&mut inspector, &[lost(0)]);
        for pid in 2..1200 {
            let time = (6 + round) * SECOND;
            assert_eq!(name_after(&mut inspector, &[call(pid, time)]), "");
        }
        assert!(inspector.readings() <= 1024, "{}", inspector.readings());
    }
    // more than one look may be necessary
    feed(&mut inspector, &[call(2, LATER)]);
    for pid in 2..1200 {
        let time = LATER + u64::from(pid) * SECOND;
        assert_eq!(name_after(&mut inspector, &[call(pid, time)]), "now");
    }
}
