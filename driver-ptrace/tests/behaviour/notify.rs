//! Notify mode: a program under it behaves as it does alone.

use driver_api::event::EventKind;
use driver_ptrace::Notify;

use crate::stage::*;

fn run(scene: &[&str], names: &[&str]) -> Vec<Kept> {
    let (events, status) = watch_on(&Notify, &host(), command(scenes_path(), scene), names);
    assert_eq!(exit_code(status), 0, "{scene:?} with {} calls", names.len());
    events
}

#[test]
fn calls_that_cannot_fail_do_not_whatever_signals_come() {
    for names in [&["openat"][..], &everything()] {
        run(&["unfailing-calls", "1500"], names);
    }
}

#[test]
fn storms_of_forks_threads_and_signals_come_to_their_end() {
    for names in [
        &["execve"][..],
        &["read", "write", "clone", "wait4"],
        &everything(),
    ] {
        run(&["storm", "40"], names);
    }
}

#[test]
fn children_that_make_no_call_are_born_and_end_with_their_status() {
    let events = run(&["quick-children", "99"], &["execve"]);
    let born = of_kind(&events, EventKind::Fork);
    let root = events[0].header().tgid;
    assert!(born.iter().all(|event| event.header().tgid == root));
    // a third is made by vfork, and ends at once
    assert!(born.len() >= 66, "{} births", born.len());
    let ends = of_kind(&events, EventKind::Exit);
    assert_eq!(born.len() + 1, ends.len());
}
