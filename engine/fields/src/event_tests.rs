//! What a call is about, and what it waits for.

use inspect::testing::Ev;
use lanner_plugin::OwnedValue;

use super::tests::{NO, YES, expect, s, with};

#[test]
fn calls_that_wait_are_those_with_a_time() {
    let waits = |name: &str, args: &[i64], expected: OwnedValue| {
        expect(&[Ev::call(22, name, args, 0)], &[("evt.is_wait", expected)]);
    };
    for name in [
        "poll",
        "select",
        "epoll_wait",
        "ppoll",
        "pselect6",
        "epoll_pwait",
    ] {
        waits(name, &[0], YES);
    }
    for name in ["nanosleep", "clock_nanosleep"] {
        waits(name, &[0], YES);
    }
    for name in [
        "epoll_ctl",
        "epoll_create1",
        "eventfd2",
        "inotify_add_watch",
        "signalfd4",
        "close",
    ] {
        waits(name, &[0], NO);
    }
}

#[test]
fn reading_and_writing_is_about_what_the_descriptor_is() {
    let pair = Ev::call(22, "pipe", &[1], 0).said(0, &[3, 0, 0, 0, 4, 0, 0, 0]);
    let event = Ev::call(22, "eventfd2", &[0, 0], 5);
    let timer = Ev::call(22, "timerfd_create", &[0, 0], 6);
    let setup = vec![pair, event, timer];
    for (fd, category) in [(3, "ipc"), (5, "ipc"), (6, "unknown"), (7, "unknown")] {
        let read = Ev::call(22, "read", &[fd, 1, 9], 4);
        expect(
            &with(setup.clone(), read),
            &[("evt.category", s(category)), ("evt.io_dir", s("read"))],
        );
    }
    let write = Ev::call(22, "write", &[4, 1, 9], 4);
    expect(&with(setup, write), &[("evt.io_dir", s("write"))]);
}
