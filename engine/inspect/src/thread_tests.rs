//! Tests of what each thread has for itself: ids, capabilities, working directory, descriptors.

use driver_api::event::{Fact, Ids};

use super::testing::{Ev, feed, isolated};
use super::{Credentials, Inspector};

const CLONE_FS: u64 = 0x200;
const CLONE_FILES: u64 = 0x400;
const CLONE_NEWNS: i64 = 0x2_0000;
const CLONE_THREAD: u64 = 0x1_0000;
const THREAD: u64 = CLONE_THREAD | CLONE_FS | CLONE_FILES;

/// Process 10 of root in /srv with a second thread, 11. It has /etc/passwd open as 3.
fn two_threads() -> Inspector {
    let mut inspector = isolated();
    feed(
        &mut inspector,
        &[
            Ev::exec(10, "/bin/server", &["server"], Ids::default()).fact(Fact::Cwd, b"/srv"),
            open(10, 10, "/etc/passwd", 3),
            Ev::fork(10, 10, 11, THREAD),
        ],
    );
    inspector
}

fn open(pid: u32, tid: u32, path: &str, fd: i64) -> Ev {
    Ev::call(pid, "openat", &[-100, 0, 0, 0], fd)
        .thread(tid)
        .said(1, path.as_bytes())
        .fact(Fact::Path, path.as_bytes())
}

fn credentials(inspector: &Inspector, pid: u32, tid: u32) -> Credentials {
    inspector.process_by_pid(pid).unwrap().credentials(tid)
}

fn cwd(inspector: &Inspector, pid: u32, tid: u32) -> String {
    let process = inspector.process_by_pid(pid).unwrap();
    String::from_utf8_lossy(inspector.cwd(process, tid)).into_owned()
}

fn name(inspector: &Inspector, pid: u32, tid: u32, fd: i32) -> Option<String> {
    let key = inspector.processes.key(pid).unwrap();
    let descriptor = inspector.descriptor_of(key, tid, fd)?;
    Some(String::from_utf8_lossy(&descriptor.name).into_owned())
}

#[test]
fn one_thread_may_have_other_ids_than_the_others() {
    let mut inspector = two_threads();
    let drop = Ev::call(10, "setresuid", &[1, 1, 1], 0).thread(11).uid(1);
    feed(&mut inspector, &[drop, Ev::call(10, "getpid", &[], 10)]);
    assert_eq!(credentials(&inspector, 10, 11).euid, 1);
    assert_eq!(credentials(&inspector, 10, 10).euid, 0);
    // the effective id alone
    let mut inspector = two_threads();
    let drop = Ev::call(10, "setresgid", &[-1, 7, -1], 0);
    feed(&mut inspector, &[drop]);
    assert_eq!(credentials(&inspector, 10, 10).egid, 7);
    assert_eq!(credentials(&inspector, 10, 11).egid, 0);
    // a thread has the ids of its creator, and so has a process
    feed(
        &mut inspector,
        &[
            Ev::fork(10, 10, 12, THREAD).thread(11),
            Ev::fork(10, 10, 13, THREAD),
            Ev::fork(10, 20, 20, 0).thread(12),
            Ev::fork(10, 21, 21, 0).thread(13),
        ],
    );
    let egid = |pid, tid| credentials(&inspector, pid, tid).egid;
    assert_eq!((egid(10, 12), egid(10, 13)), (0, 7));
    assert_eq!((egid(20, 20), egid(21, 21)), (0, 7));
}

#[test]
fn ids_that_all_threads_set_are_those_of_the_process() {
    let mut inspector = two_threads();
    let drop = |tid| Ev::call(10, "setuid", &[33], 0).thread(tid).uid(33);
    feed(&mut inspector, &[drop(11), drop(10)]);
    let process = inspector.process_by_pid(10).unwrap();
    assert_eq!(process.credentials(10).euid, 33);
    assert_eq!(process.credentials(11).euid, 33);
    assert!(!process.has_separate_threads);
}

#[test]
fn real_ids_in_events_are_those_of_their_thread() {
    let mut inspector = two_threads();
    let event = |tid, uid| Ev::call(10, "getpid", &[], 10).thread(tid).uid(uid);
    feed(&mut inspector, &[event(11, 5), event(10, 0), event(11, 5)]);
    assert_eq!(credentials(&inspector, 10, 10).euid, 0);
    assert_eq!(credentials(&inspector, 10, 11).euid, 5);
}

#[test]
fn capabilities_are_dropped_by_one_thread() {
    let mut inspector = two_threads();
    let words = |words: [u32; 6]| words.map(u32::to_ne_bytes).concat();
    let header = [0x2008_0522_u32.to_ne_bytes(), 0_u32.to_ne_bytes()].concat();
    let set = |tid, bits: u32| {
        Ev::call(10, "capset", &[1, 2], 0)
            .thread(tid)
            .said(0, &header)
            .said(1, &words([bits, bits, 0, 0, 0, 0]))
    };
    feed(&mut inspector, &[set(10, 3), set(11, 0)]);
    let effective = |tid| {
        credentials(&inspector, 10, tid)
            .capabilities
            .map(|sets| sets.effective)
    };
    assert_eq!((effective(10), effective(11)), (Some(3), Some(0)));
}

#[test]
fn a_directory_is_shared_until_a_thread_unshares_it() {
    let chdir = |tid, path: &str| {
        Ev::call(10, "chdir", &[1], 0)
            .thread(tid)
            .said(0, path.as_bytes())
    };
    let mut inspector = two_threads();
    feed(&mut inspector, &[chdir(11, "/a")]);
    assert_eq!(
        (cwd(&inspector, 10, 10), cwd(&inspector, 10, 11)),
        ("/a".into(), "/a".into())
    );
    for (flags, who) in [(0x200, 11), (CLONE_NEWNS, 10)] {
        let mut inspector = two_threads();
        let unshare = Ev::call(10, "unshare", &[flags], 0).thread(who);
        feed(&mut inspector, &[unshare, chdir(who, "/a")]);
        assert_eq!(cwd(&inspector, 10, who), "/a");
        assert_eq!(cwd(&inspector, 10, 21 - who), "/srv");
        // a relative path begins in the directory of the thread that says it
        feed(&mut inspector, &[chdir(21 - who, "b")]);
        assert_eq!(cwd(&inspector, 10, 21 - who), "/srv/b");
    }
}

#[test]
fn processes_may_share_a_directory() {
    let mut inspector = two_threads();
    let chdir = |pid, path: &str| Ev::call(pid, "chdir", &[1], 0).said(0, path.as_bytes());
    let clones = [
        Ev::fork(10, 20, 20, CLONE_FS),
        Ev::fork(10, 30, 30, CLONE_FILES),
    ];
    feed(&mut inspector, &clones);
    feed(&mut inspector, &[chdir(20, "/a"), chdir(30, "/b")]);
    let all = [10, 20, 30].map(|pid| cwd(&inspector, pid, pid));
    assert_eq!(all, ["/a", "/a", "/b"]);
    // it outlives the process that made it
    feed(
        &mut inspector,
        &[Ev::exit(10, 11), Ev::exit(10, 10), chdir(20, "c")],
    );
    assert_eq!(cwd(&inspector, 20, 20), "/a/c");
}

#[test]
fn a_descriptor_table_is_shared_until_a_thread_unshares_it() {
    let close = |tid| Ev::call(10, "close", &[3], 0).thread(tid);
    let mut inspector = two_threads();
    feed(&mut inspector, &[close(11)]);
    assert_eq!(name(&inspector, 10, 10, 3), None);
    let ways = |who| {
        let all = i64::from(u32::MAX);
        [
            Ev::call(10, "unshare", &[0x400], 0).thread(who),
            // CLOSE_RANGE_UNSHARE
            Ev::call(10, "close_range", &[100, all, 2], 0).thread(who),
        ]
    };
    for who in [10, 11] {
        for way in ways(who) {
            let mut inspector = two_threads();
            feed(
                &mut inspector,
                &[way, close(who), open(10, who, "/etc/hostname", 3)],
            );
            assert_eq!(
                name(&inspector, 10, who, 3).as_deref(),
                Some("/etc/hostname")
            );
            assert_eq!(
                name(&inspector, 10, 21 - who, 3).as_deref(),
                Some("/etc/passwd")
            );
            let total = inspector.stats().descriptors;
            feed(&mut inspector, &[Ev::exit(10, who)]);
            assert_eq!(
                name(&inspector, 10, 21 - who, 3).as_deref(),
                Some("/etc/passwd")
            );
            feed(&mut inspector, &[Ev::exit(10, 21 - who), Ev::exit(99, 99)]);
            assert_eq!((total, inspector.stats().descriptors), (2, 0));
        }
    }
}

#[test]
fn a_thread_made_without_the_flags_has_its_own() {
    let mut inspector = two_threads();
    feed(
        &mut inspector,
        &[
            Ev::fork(10, 10, 12, CLONE_THREAD),
            Ev::call(10, "close", &[3], 0).thread(12),
            Ev::call(10, "chdir", &[1], 0).thread(12).said(0, b"/a"),
        ],
    );
    assert_eq!(name(&inspector, 10, 12, 3), None);
    assert_eq!(name(&inspector, 10, 10, 3).as_deref(), Some("/etc/passwd"));
    assert_eq!(cwd(&inspector, 10, 12), "/a");
    assert_eq!(cwd(&inspector, 10, 11), "/srv");
}

#[test]
fn a_program_has_what_the_thread_had_that_executed_it() {
    let mut inspector = two_threads();
    feed(
        &mut inspector,
        &[
            Ev::call(10, "unshare", &[0x400], 0).thread(11),
            open(10, 11, "/etc/hostname", 3),
            Ev::exit(10, 10),
            Ev::exec(10, "/bin/sh", &["sh"], Ids::default()),
        ],
    );
    assert_eq!(
        name(&inspector, 10, 10, 3).as_deref(),
        Some("/etc/hostname")
    );
    assert_eq!(inspector.stats().file_tables, 1);
}

#[test]
fn many_threads_have_their_own_ids_and_end_in_any_order() {
    let mut inspector = two_threads();
    let drop = Ev::call(10, "setresuid", &[1, 1, 1], 0).thread(11).uid(1);
    feed(&mut inspector, &[drop]);
    // made by the thread that has other ids
    let births: Vec<Ev> = (100..200)
        .map(|tid| Ev::fork(10, 10, tid, THREAD).thread(11).uid(1))
        .collect();
    feed(&mut inspector, &births);
    let process = inspector.process_by_pid(10).unwrap();
    assert_eq!(process.threads(), 102);
    assert!((100..200).all(|tid| process.credentials(tid).euid == 1));
    let ends: Vec<Ev> = (100..190)
        .rev()
        .map(|tid| Ev::exit(10, tid).uid(1))
        .collect();
    feed(&mut inspector, &ends);
    let process = inspector.process_by_pid(10).unwrap();
    assert_eq!(process.threads(), 12);
    assert_eq!(process.credentials(195).euid, 1);
    assert_eq!(process.credentials(10).euid, 0);
}

#[test]
fn a_thread_has_an_id_in_its_own_namespace_and_keeps_it_to_its_end() {
    const CLONE_NEWPID: u64 = 0x2000_0000;
    let mut inspector = two_threads();
    let vtid = |inspector: &Inspector, pid, tid| {
        let process = inspector.process_by_pid(pid).unwrap();
        process.virtual_thread(tid)
    };
    let named = Ev::call(20, "prctl", &[15], 0).thread(21);
    feed(
        &mut inspector,
        &[
            Ev::fork(10, 20, 20, CLONE_NEWPID).fork_vpid(1),
            Ev::fork(20, 20, 21, THREAD).fork_vpid(2),
            named.said(1, b"worker"),
            Ev::exit(20, 21),
        ],
    );
    assert_eq!(vtid(&inspector, 20, 20), Some(1));
    assert_eq!(vtid(&inspector, 20, 21), Some(2));
    let process = inspector.process_by_pid(20).unwrap();
    assert_eq!(process.thread_name(21), b"worker");
    assert_eq!(vtid(&inspector, 20, 22), None);
    // where the process is in lanner's namespace, all ids are the same
    let mut inspector = isolated();
    feed(&mut inspector, &[Ev::fork(10, 20, 20, 0).fork_vpid(20)]);
    assert_eq!(vtid(&inspector, 20, 23), Some(23));
}
