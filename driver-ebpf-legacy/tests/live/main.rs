//! The driver at work on this kernel. The tests need root, and say so where they have to be skipped.
#![expect(clippy::expect_used, reason = "a test that cannot go on fails")]

mod older;
mod stage;

use std::net::TcpListener;
use std::time::{Duration, Instant};

use driver_api::driver::{Flow, Polled};
use driver_api::event::layout::FORK_SEEN;
use driver_api::event::{Event, EventKind, Fact};
use driver_ebpf_legacy::Legacy;
use test_support::skipped;

use stage::{open, request, root, run, text};

#[test]
fn an_exec_has_its_facts_and_an_exit_its_code() {
    if !root() {
        return;
    }
    let (events, status) = run("exec /bin/sh -c 'exit 7' given", &["getpid"]);
    let events: Vec<_> = events
        .iter()
        .map(|bytes| Event::parse(bytes).expect("an event"))
        .collect();
    let kinds: Vec<_> = events
        .iter()
        .map(Event::kind)
        .filter(|kind| *kind != EventKind::Syscall)
        .collect();
    assert_eq!(kinds, [EventKind::Exec, EventKind::Exec, EventKind::Exit]);
    assert_eq!(status, Some(7 << 8));
    assert_eq!(events.last().expect("the exit").header().ret, 7 << 8);
    let exec = events
        .iter()
        .rfind(|event| event.kind() == EventKind::Exec)
        .expect("the second exec");
    let exe = std::fs::canonicalize("/bin/sh").expect("a shell");
    assert_eq!(text(exec, Fact::Exe), exe.to_str().expect("text"));
    let cwd = std::env::current_dir().expect("a directory");
    assert_eq!(text(exec, Fact::Cwd), cwd.to_str().expect("text"));
    assert_eq!(text(exec, Fact::Comm), "sh");
    let argv = exec.fact(Fact::Argv).expect("argv");
    assert_eq!(
        argv.strings().collect::<Vec<_>>(),
        [&b"/bin/sh"[..], b"-c", b"exit 7", b"given"]
    );
    let ids = exec.ids().expect("ids");
    assert_eq!(ids.ppid, std::process::id());
    // SAFETY: getsid(2) and getpgrp(2) touch no memory.
    let (sid, pgid) = unsafe { (libc::getsid(0), libc::getpgrp()) };
    assert_eq!(
        (ids.sid, ids.pgid),
        (sid.unsigned_abs(), pgid.unsigned_abs())
    );
    assert_eq!((ids.uid, ids.euid, ids.memfd), (0, 0, 0));
}

#[test]
fn a_birth_says_what_is_shared_and_the_id_in_a_new_namespace() {
    const CLONE_NEWPID: u64 = 0x2000_0000;
    if !root() {
        return;
    }
    let (events, status) = run("unshare --pid --fork true && true", &["getpid"]);
    if status != Some(0) {
        skipped("unshare(1) makes no PID namespace here");
        return;
    }
    let births: Vec<[u64; 6]> = events
        .iter()
        .map(|bytes| Event::parse(bytes).expect("an event"))
        .filter(|event| event.kind() == EventKind::Fork)
        .map(|event| event.header().args)
        .collect();
    let [unshare, inside] = births[..] else {
        panic!("two births, not {births:?}");
    };
    assert_eq!(unshare[3], unshare[0], "its id in lanner's own namespace");
    assert_eq!(unshare[4], FORK_SEEN);
    assert_eq!((inside[3], inside[4]), (1, FORK_SEEN | CLONE_NEWPID));
}

#[test]
fn a_descriptor_has_the_resolved_path_of_its_file() {
    if !root() {
        return;
    }
    let folder = std::env::temp_dir().join(format!("lanner-live-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let folder = std::fs::canonicalize(&folder).expect("its path");
    let (real, link) = (folder.join("real"), folder.join("link"));
    std::fs::write(&real, "x").expect("a file");
    std::os::unix::fs::symlink(&real, &link).expect("a link");
    let script = format!(
        "exec 3< {}/../{}/link; rm {}; exec 4< /dev/fd/3; exec 5< /proc/self/status",
        folder.display(),
        folder.file_name().expect("name").to_str().expect("text"),
        real.display()
    );
    let (events, _) = run(&script, &["openat", "open"]);
    std::fs::remove_dir_all(&folder).expect("the folder goes");
    let events: Vec<_> = events
        .iter()
        .map(|bytes| Event::parse(bytes).expect("an event"))
        .collect();
    let paths: Vec<_> = events
        .iter()
        .filter(|event| event.kind() == EventKind::Syscall && event.header().ret >= 0)
        .map(|event| (event.header().tgid, text(event, Fact::Path)))
        .collect();
    let real = real.to_str().expect("text");
    assert!(paths.iter().any(|(_, path)| path == real), "{paths:?}");
    assert!(
        paths
            .iter()
            .any(|(_, path)| *path == format!("{real} (deleted)")),
        "{paths:?}"
    );
    assert!(
        paths
            .iter()
            .any(|(pid, path)| *path == format!("/proc/{pid}/status")),
        "{paths:?}"
    );
}

#[test]
fn a_connection_has_both_ends() {
    if !root() {
        return;
    }
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a socket");
    let port = listener.local_addr().expect("an address").port();
    let (events, _) = run(
        &format!("exec /bin/bash -c 'exec 3<>/dev/tcp/127.0.0.1/{port}'"),
        &["connect"],
    );
    let tuple = events
        .iter()
        .map(|bytes| Event::parse(bytes).expect("an event"))
        .filter_map(|event| event.tuple())
        .find(|tuple| tuple.remote_port == port)
        .expect("a tuple");
    assert_eq!((tuple.family, tuple.protocol), (2, 6));
    assert_eq!(
        (&tuple.local[..4], &tuple.remote[..4]),
        (&[127, 0, 0, 1][..], &[127, 0, 0, 1][..])
    );
    assert_ne!(tuple.local_port, 0);
}

#[test]
fn the_events_of_many_short_processes_come_in_order_and_none_is_lost() {
    if !root() {
        return;
    }
    let (events, _) = run(
        "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do /bin/true | /bin/cat; done",
        &["close"],
    );
    let mut born = std::collections::BTreeSet::new();
    let mut first = true;
    let mut times = std::collections::BTreeMap::new();
    for bytes in &events {
        let event = Event::parse(bytes).expect("an event");
        let header = event.header();
        assert!(
            first || born.contains(&header.tgid),
            "an event of {} before its birth",
            header.tgid
        );
        if first {
            born.insert(header.tgid);
            first = false;
        }
        if event.kind() == EventKind::Fork {
            born.insert(u32::try_from(header.args[0]).expect("a thread id"));
        }
        let last = times.insert(header.tgid, header.time_ns);
        assert!(
            last <= Some(header.time_ns),
            "an event of {} came late",
            header.tgid
        );
    }
    assert_eq!(born.len(), 41);
}

#[test]
fn a_buffer_that_is_too_small_loses_events_and_counts_them() {
    if !root() {
        return;
    }
    let script = "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); : < /dev/null; done";
    let mut request = request(script, &["openat", "close", "dup2", "fcntl"]);
    request.buffer = 1 << 16;
    let mut capture = open(&Legacy::new(), &request).capture;
    let mut delivered = 0;
    let mut lost = 0;
    let mut sink = |event: Event<'_>| {
        match event.kind() {
            EventKind::Lost => lost += event.header().args[0],
            _ => delivered += 1,
        }
        Flow::Continue
    };
    capture.poll(Duration::ZERO, &mut sink).expect("polls");
    std::thread::sleep(Duration::from_millis(1500));
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(30) {
        if let Polled::Ended(_) = capture
            .poll(Duration::from_millis(100), &mut sink)
            .expect("polls")
        {
            break;
        }
    }
    assert!(lost > 0);
    assert_eq!(capture.stats().lost_total(), lost);
    // open, fcntl, close, dup2, close at least, each time
    assert!(
        delivered + lost > 3000 * 4,
        "{delivered} delivered, {lost} lost"
    );
}
