//! Tests of the state: processes, threads, descriptors, sockets, ids.

use driver_api::event::{Event, Fact, Flags, Ids};

use super::testing::{Ev, Noise, feed, isolated};
use super::*;

const O_CLOEXEC: i64 = 0x8_0000;

fn ids(ppid: u32, uid: u32, euid: u32) -> Ids {
    Ids {
        ppid,
        uid,
        euid,
        loginuid: u32::MAX,
        ..Ids::default()
    }
}

pub(super) fn fd_name(inspector: &Inspector, pid: u32, fd: i32) -> Option<String> {
    let key = inspector.processes.key(pid)?;
    let descriptor = inspector.descriptor_of(key, 0, fd)?;
    Some(String::from_utf8_lossy(&descriptor.name).into_owned())
}

pub(super) fn names(inspector: &Inspector, seen: &Seen) -> Vec<String> {
    let lineage = inspector.lineage(seen.process.unwrap());
    lineage
        .map(|p| String::from_utf8_lossy(&p.name).into_owned())
        .collect()
}

pub(super) fn open(pid: u32, path: &str, flags: i64, fd: i64) -> Ev {
    Ev::call(pid, "openat", &[-100, 1, flags, 0], fd).said(1, path.as_bytes())
}

#[test]
fn a_child_inherits_and_exec_replaces() {
    let mut inspector = isolated();
    feed(
        &mut inspector,
        &[
            Ev::exec(10, "/usr/sbin/sshd", &["sshd", "-D"], ids(1, 0, 0)).fact(Fact::Cwd, b"/srv"),
            Ev::fork(10, 11, 11, 0),
        ],
    );
    let child = inspector.process_by_pid(11).unwrap();
    assert_eq!(
        (&*child.name, inspector.cwd(child, child.pid), child.ppid),
        (&b"sshd"[..], &b"/srv"[..], 10)
    );
    let parent = inspector.process_by_pid(10).unwrap();
    assert!(
        std::ptr::eq(child.args.as_ptr(), parent.args.as_ptr()),
        "not copied"
    );
    let seen = feed(
        &mut inspector,
        &[Ev::exec(11, "/bin/bash", &["-bash"], ids(10, 1000, 0))],
    );
    assert_eq!(names(&inspector, &seen), ["bash", "sshd"]);
    let child = inspector.process_by_pid(11).unwrap();
    assert_eq!(
        (&*child.exe, &*child.args),
        (&b"/bin/bash"[..], &b"-bash\0"[..])
    );
    let user = child.credentials(child.pid);
    assert_eq!((user.uid, user.euid), (1000, 0));
}

#[test]
fn a_name_is_taken_over_where_the_result_of_prctl_is_not_known() {
    let mut renamed = Ev::call(10, "prctl", &[15, 1], 0).said(1, b"sshd");
    renamed.header.flags = Flags::ENTRY;
    let mut inspector = isolated();
    feed(
        &mut inspector,
        &[Ev::exec(10, "/bin/a", &["a"], ids(1, 0, 0)), renamed],
    );
    assert_eq!(&*inspector.process_by_pid(10).unwrap().name, b"sshd");
}

#[test]
fn what_a_call_without_a_result_may_have_changed_is_forgotten() {
    let entry = |name: &str, args: &[i64]| {
        let mut call = Ev::call(10, name, args, 0);
        call.header.flags = Flags::ENTRY;
        call
    };
    let mut inspector = isolated();
    feed(
        &mut inspector,
        &[
            Ev::exec(10, "/bin/a", &["a"], ids(1, 0, 0)).fact(Fact::Cwd, b"/srv"),
            open(10, "/one", 0, 3),
            open(10, "/two", 0, 4),
            open(10, "/three", 0, 5),
        ],
    );
    // its result is not known, so there is no descriptor 0
    let seen = feed(
        &mut inspector,
        &[entry("openat", &[-100, 1, 0, 0]).said(1, b"/four")],
    );
    assert_eq!(seen.fd, None);
    let key = seen.process.unwrap();
    assert!(inspector.descriptor_of(key, 0, 0).is_none());
    let name = |inspector: &Inspector, fd| {
        let descriptor = inspector.descriptor_of(key, 0, fd);
        descriptor.map(|descriptor| descriptor.name.to_vec())
    };
    assert_eq!(name(&inspector, 3), Some(b"/one".to_vec()));
    // a rule still sees the descriptor that is closed
    let seen = feed(&mut inspector, &[entry("close", &[3])]);
    assert_eq!(&*inspector.descriptor(&seen).unwrap().name, b"/one");
    assert_eq!(name(&inspector, 3), None);
    feed(&mut inspector, &[entry("dup2", &[5, 4])]);
    assert_eq!(name(&inspector, 4), None);
    assert_eq!(name(&inspector, 5), Some(b"/three".to_vec()));
    feed(&mut inspector, &[entry("chdir", &[1]).said(0, b"/nowhere")]);
    let process = inspector.process_by_pid(10).unwrap();
    assert_eq!(inspector.cwd(process, 10), b"");
}

#[test]
fn a_parent_is_known_by_name_after_its_end_and_after_its_pid_is_used_again() {
    let mut inspector = isolated();
    let seen = feed(
        &mut inspector,
        &[
            Ev::exec(10, "/bin/launcher", &["launcher"], ids(1, 0, 0)),
            Ev::fork(10, 11, 11, 0),
            Ev::exit(10, 10),
            Ev::fork(1, 10, 10, 0),
            Ev::exec(10, "/bin/other", &["other"], ids(1, 0, 0)),
            Ev::call(11, "getpid", &[], 11),
        ],
    );
    assert_eq!(names(&inspector, &seen), ["launcher", "launcher"]);
    assert_eq!(&*inspector.process_by_pid(10).unwrap().name, b"other");
}

#[test]
fn a_process_ends_with_its_last_thread() {
    let mut inspector = isolated();
    let start = [
        Ev::exec(10, "/bin/java", &["java"], ids(1, 0, 0)),
        Ev::fork(10, 10, 12, 0x1_0f00),
        Ev::fork(10, 10, 13, 0x1_0f00),
        Ev::exit(10, 10),
        Ev::exit(10, 12),
    ];
    feed(&mut inspector, &start);
    assert_eq!(inspector.process_by_pid(10).unwrap().threads(), 1);
    assert!(!inspector.process_by_pid(10).unwrap().ended);
    let seen = feed(&mut inspector, &[Ev::exit(10, 13)]);
    assert_eq!(names(&inspector, &seen), ["java"], "rules still see it");
    feed(&mut inspector, &[Ev::call(99, "getpid", &[], 99)]);
    assert!(inspector.process_by_pid(10).unwrap().ended);
    assert_eq!(inspector.stats().file_tables, 1);
}

#[test]
fn threads_can_have_names_of_their_own() {
    let mut inspector = isolated();
    feed(
        &mut inspector,
        &[
            Ev::exec(10, "/bin/db", &["db"], ids(1, 0, 0)),
            Ev::fork(10, 10, 12, 0x1_0f00),
            Ev::call(10, "prctl", &[15, 1], 0)
                .thread(12)
                .said(1, b"a worker with a long name"),
        ],
    );
    let process = inspector.process_by_pid(10).unwrap();
    assert_eq!(process.thread_name(12), b"a worker with a");
    assert_eq!(process.thread_name(10), b"db");
    feed(
        &mut inspector,
        &[Ev::call(10, "prctl", &[15, 1], 0).said(1, b"boss")],
    );
    assert_eq!(
        inspector.process_by_pid(10).unwrap().thread_name(10),
        b"boss"
    );
}

#[test]
fn exec_from_a_thread_leaves_one_thread() {
    let mut inspector = isolated();
    feed(
        &mut inspector,
        &[
            Ev::exec(10, "/bin/a", &["a"], ids(1, 0, 0)),
            Ev::fork(10, 10, 12, 0x1_0f00),
            Ev::exit(10, 10),
            Ev::exec(10, "/bin/b", &["b"], ids(1, 0, 0)),
            Ev::call(10, "getpid", &[], 10),
        ],
    );
    let process = inspector.process_by_pid(10).unwrap();
    assert_eq!((process.threads(), process.ended), (1, false));
}

#[test]
fn descriptors_follow_open_dup_and_close() {
    let mut inspector = isolated();
    feed(
        &mut inspector,
        &[
            Ev::exec(10, "/bin/a", &["a"], ids(1, 0, 0)).fact(Fact::Cwd, b"/home/me"),
            open(10, "x/../y", 0, 3),
            Ev::call(10, "dup2", &[3, 9], 9),
            Ev::call(10, "fcntl", &[9, 1030, 10], 12),
            open(10, "/nonexistent", 0, -2),
        ],
    );
    for fd in [3, 9, 12] {
        assert_eq!(fd_name(&inspector, 10, fd).as_deref(), Some("/home/me/y"));
    }
    let key = inspector.processes.key(10).unwrap();
    assert_eq!(
        inspector.descriptor_of(key, 0, 3).unwrap().raw_name(),
        b"x/../y"
    );
    let seen = feed(&mut inspector, &[Ev::call(10, "close", &[3], 0)]);
    assert_eq!(&*inspector.descriptor(&seen).unwrap().name, b"/home/me/y");
    assert_eq!(seen.fd, Some(3));
    assert_eq!(fd_name(&inspector, 10, 3), None);
    let seen = feed(&mut inspector, &[Ev::call(10, "close", &[77], -9)]);
    assert!(inspector.descriptor(&seen).is_none());
}

#[test]
fn the_kernels_path_is_preferred_to_the_programs() {
    let mut inspector = isolated();
    let event = open(10, "/tmp/link", 0, 3).parts(Fact::Path, &["shadow", "etc"]);
    let seen = feed(&mut inspector, &[event]);
    let descriptor = inspector.descriptor(&seen).unwrap();
    assert_eq!(
        (&*descriptor.name, descriptor.raw_name()),
        (&b"/etc/shadow"[..], &b"/tmp/link"[..])
    );
}

#[test]
fn a_relative_path_begins_at_its_directory_descriptor() {
    let mut inspector = isolated();
    feed(
        &mut inspector,
        &[
            open(10, "/etc", 0o200_000, 3),
            Ev::call(10, "openat", &[3, 1, 0], 4).said(1, b"passwd"),
            Ev::call(10, "fchdir", &[3], 0),
            Ev::call(10, "openat", &[-100, 1, 0], 5).said(1, b"group"),
            Ev::call(10, "chdir", &[1], 0).said(0, b"../var"),
            Ev::call(10, "openat", &[-100, 1, 0], 6).said(1, b"log"),
        ],
    );
    let key = inspector.processes.key(10).unwrap();
    assert_eq!(
        inspector.descriptor_of(key, 0, 3).unwrap().kind,
        DescriptorKind::Directory
    );
    for (fd, name) in [(4, "/etc/passwd"), (5, "/etc/group"), (6, "/var/log")] {
        assert_eq!(fd_name(&inspector, 10, fd).as_deref(), Some(name));
    }
}

#[test]
fn exec_closes_what_is_marked_and_fork_copies_or_shares() {
    let mut inspector = isolated();
    feed(
        &mut inspector,
        &[
            open(10, "/kept", 0, 3),
            open(10, "/gone", O_CLOEXEC, 4),
            open(10, "/marked", 0, 5),
            Ev::call(10, "fcntl", &[5, 2, 1], 0),
            Ev::fork(10, 11, 11, 0),
            Ev::fork(10, 12, 12, 0x400),
            Ev::exec(11, "/bin/b", &["b"], ids(10, 0, 0)),
            open(12, "/shared", 0, 6),
        ],
    );
    assert_eq!(fd_name(&inspector, 11, 3).as_deref(), Some("/kept"));
    assert_eq!(fd_name(&inspector, 11, 4), None);
    assert_eq!(fd_name(&inspector, 11, 5), None);
    assert_eq!(fd_name(&inspector, 10, 4).as_deref(), Some("/gone"));
    assert_eq!(fd_name(&inspector, 10, 6).as_deref(), Some("/shared"));
    feed(
        &mut inspector,
        &[Ev::exec(12, "/bin/c", &["c"], ids(10, 0, 0))],
    );
    assert_eq!(fd_name(&inspector, 12, 4), None);
    assert_eq!(
        fd_name(&inspector, 10, 4).as_deref(),
        Some("/gone"),
        "exec unshares the table"
    );
}

#[test]
fn sockets_have_both_ends_and_a_role() {
    let mut inspector = isolated();
    let remote = [2, 0, 0, 53, 9, 9, 9, 9];
    feed(
        &mut inspector,
        &[
            Ev::call(10, "socket", &[2, 1, 0], 3),
            Ev::call(10, "connect", &[3, 1, 16], -115)
                .tuple(([10, 0, 0, 1], 4000), ([1, 1, 1, 1], 443)),
            Ev::call(10, "socket", &[2, 2, 0], 4),
            Ev::call(10, "connect", &[4, 1, 16], 0).said(1, &remote),
            Ev::call(10, "socket", &[2, 1, 0], 5),
            Ev::call(10, "bind", &[5, 1, 16], 0).said(1, &[2, 0, 0, 80, 0, 0, 0, 0]),
            Ev::call(10, "listen", &[5, 9], 0),
            Ev::call(10, "accept4", &[5, 0, 0, 0], 6)
                .tuple(([10, 0, 0, 1], 80), ([7, 7, 7, 7], 5555)),
            Ev::call(10, "socket", &[1, 1, 0], 7),
            Ev::call(10, "connect", &[7, 1, 16], 0).said(1, b"\x01\0/run/docker.sock\0"),
            Ev::call(10, "connect", &[3, 1, 16], -111).said(1, &remote),
        ],
    );
    let expected = [
        (3, "10.0.0.1:4000->1.1.1.1:443", Some(Role::Client)),
        (4, "9.9.9.9:53", Some(Role::Client)),
        (5, "0.0.0.0:80", Some(Role::Server)),
        (6, "7.7.7.7:5555->10.0.0.1:80", Some(Role::Server)),
        (7, "/run/docker.sock", None),
    ];
    let key = inspector.processes.key(10).unwrap();
    for (fd, name, role) in expected {
        assert_eq!(fd_name(&inspector, 10, fd).as_deref(), Some(name));
        let socket = inspector.descriptor_of(key, 0, fd).unwrap().socket;
        assert_eq!(socket.map(|s| s.role), role, "{fd}");
    }
    assert_eq!(
        inspector
            .descriptor_of(key, 0, 4)
            .unwrap()
            .socket
            .unwrap()
            .protocol,
        17
    );
}

#[test]
fn pipes_and_anonymous_descriptors_are_followed() {
    let mut inspector = isolated();
    feed(
        &mut inspector,
        &[
            Ev::call(10, "pipe2", &[1, O_CLOEXEC], 0).said(0, &[3, 0, 0, 0, 4, 0, 0, 0]),
            Ev::call(10, "memfd_create", &[1, 1], 5).said(0, b"payload"),
            Ev::call(10, "userfaultfd", &[0], 6),
        ],
    );
    let key = inspector.processes.key(10).unwrap();
    let kind = |fd| inspector.descriptor_of(key, 0, fd).unwrap().kind;
    assert_eq!(
        (kind(3), kind(4)),
        (DescriptorKind::Pipe, DescriptorKind::Pipe)
    );
    assert_eq!(
        (kind(5), kind(6)),
        (DescriptorKind::Memfd, DescriptorKind::Userfault)
    );
    assert_eq!(
        fd_name(&inspector, 10, 5).as_deref(),
        Some("/memfd:payload")
    );
}

#[test]
fn effective_ids_follow_setuid_and_missed_changes() {
    let mut inspector = isolated();
    let euid = |inspector: &Inspector| inspector.process_by_pid(10).unwrap().credentials(10).euid;
    feed(
        &mut inspector,
        &[Ev::exec(10, "/bin/su", &["su"], ids(1, 1000, 0))],
    );
    assert_eq!(euid(&inspector), 0);
    feed(
        &mut inspector,
        &[Ev::call(10, "setresuid", &[-1, 1000, -1], 0).uid(1000)],
    );
    assert_eq!(euid(&inspector), 1000);
    feed(
        &mut inspector,
        &[Ev::call(10, "setuid", &[0], -1).uid(1000)],
    );
    assert_eq!(euid(&inspector), 1000, "a refused call changes nothing");
    feed(&mut inspector, &[Ev::call(10, "getpid", &[], 0).uid(33)]);
    assert_eq!(euid(&inspector), 33, "a missed change is noticed");
}

#[test]
fn events_of_anything_do_no_harm() {
    let mut inspector = isolated();
    let mut noise = Noise(0x1234_5678_9abc_def1);
    for _ in 0..200_000 {
        let bytes = noise.event();
        let event = Event::parse(&bytes).unwrap();
        let seen = inspector.update(&event);
        let _ = inspector.descriptor(&seen);
    }
    let stats = inspector.stats();
    // six processes, and as many threads without one
    assert!(stats.living <= 12, "{stats:?}");
    assert!(stats.file_tables <= stats.living, "{stats:?}");
}

#[test]
fn memory_is_bounded_by_what_lives() {
    let mut inspector = Inspector::new(&Options {
        proc_root: None,
        max_descriptors: 100,
        max_recent: 10,
        ..Options::default()
    });
    feed(
        &mut inspector,
        &[Ev::exec(10, "/bin/a", &["a"], ids(1, 0, 0))],
    );
    for pid in 100..20_000 {
        let seen = feed(
            &mut inspector,
            &[
                Ev::fork(10, pid, pid, 0),
                open(pid, "/x", 0, 3),
                Ev::exit(pid, pid),
            ],
        );
        assert!(seen.process.is_some());
    }
    for fd in 3..10_000 {
        feed(&mut inspector, &[open(10, "/x", 0, fd)]);
    }
    let stats = inspector.stats();
    assert!(stats.processes < 20 && stats.file_tables < 4, "{stats:?}");
    let key = inspector.processes.key(10).unwrap();
    assert_eq!(inspector.descriptors(key, 0).count(), 100);
}

#[test]
fn the_state_can_move_to_another_thread() {
    fn is_send<T: Send>(_: &T) {}
    is_send(&isolated());
}
