//! What a call is about, and what it waits for.

use driver_api::event::Fact;
use inspect::testing::{Ev, deliver, isolated};
use lanner_plugin::OwnedValue;

use super::tests::{NO, NONE, YES, expect, s, with};
use super::{FieldRegistry, Scratch, View};

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

const LATENCIES: [&str; 6] = [
    "evt.latency",
    "evt.latency.s",
    "evt.latency.ns",
    "evt.latency.human",
    "evt.latency.quantized",
    "evt.wait_latency",
];

/// What the fields of latency say about an event, from a source that has times or has none.
fn latencies(event: Ev, times: bool) -> Vec<OwnedValue> {
    let registry = FieldRegistry::new("host");
    let ids = LATENCIES.map(|name| registry.field(name, None).expect("a field"));
    assert!(registry.needs_times());
    let fields = registry.fields().with_times(times);
    let mut inspector = isolated();
    let mut values = Vec::new();
    deliver(&[event], |event| {
        let seen = inspector.update(event);
        let scratch = Scratch::default();
        let view = View::new(&fields, &inspector, event, &seen, &scratch);
        values = ids.iter().map(|id| view.value(*id).to_owned()).collect();
    });
    values
}

#[test]
fn a_call_has_the_time_that_it_took_and_an_unknown_time_is_missing() {
    let u = OwnedValue::U64;
    let took = |name: &str| {
        let ns = 2_001_500_000_u64.to_ne_bytes();
        Ev::call(22, name, &[0], 0).fact(Fact::Took, &ns)
    };
    let known = [
        u(2_001_500_000),
        u(2),
        u(1_500_000),
        s("2.00s"),
        u(9),
        u(2_001_500_000),
    ];
    assert_eq!(latencies(took("nanosleep"), true), known);
    let open = latencies(took("openat"), true);
    assert_eq!((&open[..5], &open[5]), (&known[..5], &NONE));
    let untimed = || Ev::call(22, "nanosleep", &[0], 0);
    assert_eq!(latencies(untimed(), true), [const { NONE }; 6]);
    // as in Falco
    let zeros = [u(0), u(0), u(0), s("0ns"), u(0), u(0)];
    assert_eq!(latencies(untimed(), false), zeros);
    let others = FieldRegistry::new("host");
    others.field("evt.rawtime", None).expect("a field");
    assert!(!others.needs_times());
}
