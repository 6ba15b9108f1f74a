//! Following events allocates nothing once the state has reached its largest size.

use driver_api::event::{Fact, Ids};
use test_support::{Counting, allocations};

use super::testing::{Ev, deliver, feed, isolated_options};
use super::{Inspector, Options};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A shell starts a program, which starts a thread, changes its directory, opens files and sockets, and ends.
fn round(shell: u32, pid: u32) -> Vec<Ev> {
    let path = format!("/usr/share/some/where/file-{pid}");
    let program = format!("/usr/bin/program-{}", pid % 7);
    let env = format!("VARIABLE={}", "x".repeat((pid % 5 * 400) as usize));
    let address = [2, 0, 0x1f, 0x90, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    let unix = [&[1, 0][..], b"/run/some.socket\0"].concat();
    let ids = Ids {
        ppid: shell,
        ..Ids::default()
    };
    vec![
        Ev::call(shell, "pipe2", &[1, 0], 0).said(0, &[5, 0, 0, 0, 6, 0, 0, 0]),
        Ev::fork(shell, pid, pid, 0),
        Ev::call(shell, "close", &[5], 0),
        Ev::call(shell, "close", &[6], 0),
        Ev::call(pid, "chdir", &[1], 0).said(0, b"/var/tmp"),
        Ev::call(pid, "dup2", &[5, 0], 0),
        Ev::exec(pid, &program, &[&program, &path], ids)
            .strings(Fact::Env as u8, &[&env])
            .fact(Fact::Cwd, b"/var/tmp"),
        Ev::fork(pid, pid, pid + 1, 0),
        Ev::call(pid, "prctl", &[15, 1], 0)
            .thread(pid + 1)
            .said(1, b"worker"),
        Ev::call(pid, "openat", &[-100, 1, 0o2_000_000, 0], 3)
            .said(1, b"file")
            .fact(Fact::Path, path.as_bytes()),
        Ev::call(pid, "dup", &[3], 4),
        Ev::call(pid, "close", &[3], 0),
        Ev::call(pid, "socket", &[2, 1, 0], 3),
        Ev::call(pid, "connect", &[3, 1, 16], 0).said(1, &address),
        Ev::call(pid, "socket", &[1, 1, 0], 7),
        Ev::call(pid, "connect", &[7, 1, 16], 0).said(1, &unix),
        Ev::call(pid, "memfd_create", &[1, 1], 8).said(0, b"memory"),
        Ev::exit(pid, pid + 1),
        Ev::exit(pid, pid),
    ]
}

#[test]
fn processes_that_come_and_go_take_no_memory() {
    let mut inspector = Inspector::new(&Options {
        max_recent: 32,
        ..isolated_options()
    });
    feed(
        &mut inspector,
        &[Ev::exec(10, "/bin/sh", &["sh"], Ids::default())],
    );
    let rounds: Vec<Vec<Ev>> = (0..200).map(|at| round(10, 100 + at * 2)).collect();
    let mut allocated = 0;
    // the first pass allocates; the result of an event is dropped before the next event
    for _ in 0..2 {
        allocated = 0;
        for events in &rounds {
            deliver(events, |event| {
                let before = allocations();
                inspector.update(event);
                allocated += allocations() - before;
            });
        }
    }
    assert_eq!(allocated, 0, "of {} processes", rounds.len());
    assert!(inspector.stats().processes <= 34, "{:?}", inspector.stats());
}
