//! Tests of the state: descriptors that are passed on, capabilities, orphans, losses, limits.

use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::symlink;

use driver_api::event::layout::FORK_SEEN;
use driver_api::event::{EventKind, Fact, Ids, Layer, Program};
use zerocopy::IntoBytes;

use super::testing::{Ev, feed, isolated, isolated_options};
use super::*;

const CLONE_FILES: u64 = 0x400;
const CLONE_NEWPID: u64 = 0x2000_0000;

fn open(pid: u32, path: &str, fd: i64) -> Ev {
    Ev::call(pid, "openat", &[-100, 1, 0, 0], fd).said(1, path.as_bytes())
}

fn name(inspector: &Inspector, pid: u32, fd: i32) -> Option<String> {
    let key = inspector.processes.key(pid)?;
    let descriptor = inspector.descriptor_of(key, 0, fd)?;
    Some(String::from_utf8_lossy(&descriptor.name).into_owned())
}

fn exec(pid: u32, ppid: u32) -> Ev {
    let ids = Ids {
        ppid,
        loginuid: u32::MAX,
        ..Ids::default()
    };
    Ev::exec(pid, "/bin/a", &["a"], ids)
}

/// A fork from a driver that reports the flags.
fn born(parent: u32, child: u32, own: u64, flags: u64) -> Ev {
    let mut event = Ev::fork(parent, child, child, 0);
    event.header.args[3] = own;
    event.header.args[4] = FORK_SEEN | flags;
    event
}

#[test]
fn a_descriptor_can_be_taken_from_another_process() {
    let mut inspector = isolated();
    feed(
        &mut inspector,
        &[exec(10, 1), born(10, 11, 11, 0), open(11, "/secret", 7)],
    );
    // without /proc, the test says that its processes are in the host's pid namespace
    for pid in [10, 11] {
        let key = inspector.processes.key(pid).unwrap();
        inspector.processes.get_mut(key).unwrap().vpid = Some(pid);
    }
    let seen = feed(
        &mut inspector,
        &[
            Ev::call(10, "pidfd_open", &[11, 0], 3),
            Ev::call(10, "pidfd_getfd", &[3, 7, 0], 4),
        ],
    );
    assert_eq!(name(&inspector, 10, 3).as_deref(), Some("pid:11"));
    assert_eq!(name(&inspector, 10, 4).as_deref(), Some("/secret"));
    assert_eq!(&*inspector.descriptor(&seen).unwrap().name, b"/secret");
    // both are closed on exec (pidfd_open(2), pidfd_getfd(2))
    feed(&mut inspector, &[exec(10, 1)]);
    assert_eq!(inspector.stats().descriptors, 1);
}

#[test]
fn a_driver_reports_whether_descriptors_are_shared() {
    let mut inspector = isolated();
    feed(
        &mut inspector,
        &[
            exec(10, 1),
            born(10, 11, 11, CLONE_FILES),
            born(10, 12, 1, CLONE_NEWPID),
            open(11, "/shared", 3),
        ],
    );
    assert_eq!(name(&inspector, 10, 3).as_deref(), Some("/shared"));
    assert_eq!(name(&inspector, 12, 3), None);
    assert_eq!(inspector.process_by_pid(12).unwrap().vpid, Some(1));
    // unshare(CLONE_FILES)
    feed(
        &mut inspector,
        &[
            Ev::call(11, "unshare", &[CLONE_FILES.cast_signed()], 0),
            open(11, "/own", 4),
        ],
    );
    assert_eq!(name(&inspector, 11, 3).as_deref(), Some("/shared"));
    assert_eq!(name(&inspector, 10, 4), None);
}

#[test]
fn ioctl_marks_for_closing_and_takes_the_mark_away() {
    let mut inspector = isolated();
    feed(
        &mut inspector,
        &[
            exec(10, 1),
            open(10, "/a", 3),
            open(10, "/b", 4),
            Ev::call(10, "ioctl", &[3, 0x5451, 0], 0),
            Ev::call(10, "ioctl", &[4, 0x5451, 0], 0),
            Ev::call(10, "ioctl", &[4, 0x5450, 0], 0),
            exec(10, 1),
        ],
    );
    assert_eq!(
        (name(&inspector, 10, 3), name(&inspector, 10, 4).as_deref()),
        (None, Some("/b"))
    );
}

#[test]
fn capabilities_come_with_exec_and_change_with_capset_and_ids() {
    let program = Program {
        inode: 77,
        mtime_ns: 5,
        cap_effective: 0b1011,
        cap_permitted: 0b1011,
        layer: Layer::Upper as u32,
        ..Program::default()
    };
    let mut inspector = isolated();
    feed(
        &mut inspector,
        &[exec(10, 1).fact(Fact::Program, program.as_bytes())],
    );
    let process = inspector.process_by_pid(10).unwrap();
    assert_eq!(
        process.credentials(10).capabilities.unwrap().effective,
        0b1011
    );
    assert_eq!(inspector.program_layer(process), Some(Layer::Upper));
    assert_eq!(process.file.as_ref().unwrap().inode, 77);
    // two halves of struct __user_cap_data_struct: effective, permitted, inheritable
    let data: Vec<u8> = [1_u32, 3, 4, 0, 0, 0]
        .iter()
        .flat_map(|n| n.to_ne_bytes())
        .collect();
    feed(
        &mut inspector,
        &[
            born(10, 11, 11, 0),
            Ev::call(11, "capset", &[1, 2], 0).said(1, &data),
            Ev::call(10, "setuid", &[5], 0).uid(5),
        ],
    );
    let sets = inspector
        .process_by_pid(11)
        .unwrap()
        .credentials(11)
        .capabilities
        .unwrap();
    assert_eq!(
        (sets.effective, sets.permitted, sets.inheritable),
        (1, 3, 4)
    );
    let left = inspector
        .process_by_pid(10)
        .unwrap()
        .credentials(10)
        .capabilities;
    // without CAP_SETUID, only the effective id has changed
    assert_eq!(left.unwrap().effective, 0);
    assert_eq!(left.unwrap().permitted, 0b1011);
}

#[test]
fn orphans_go_to_the_nearest_subreaper_and_keep_their_lineage() {
    let mut inspector = isolated();
    let seen = feed(
        &mut inspector,
        &[
            exec(1, 0),
            born(1, 10, 10, 0),
            Ev::call(10, "prctl", &[36, 1], 0),
            born(10, 11, 11, 0),
            born(11, 12, 12, 0),
            Ev::exit(11, 11),
            Ev::call(12, "getpid", &[], 12),
        ],
    );
    let orphan = inspector.process_by_pid(12).unwrap();
    assert_eq!((orphan.ppid, inspector.parent_pid(orphan)), (11, 10));
    let lineage: Vec<u32> = inspector
        .lineage(seen.process.unwrap())
        .map(|p| p.pid)
        .collect();
    assert_eq!(lineage, [12, 11, 10, 1]);
    feed(
        &mut inspector,
        &[Ev::exit(10, 10), Ev::call(12, "getpid", &[], 12)],
    );
    let orphan = inspector.process_by_pid(12).unwrap();
    assert_eq!(inspector.parent_pid(orphan), 1);
}

#[test]
fn a_datagram_names_its_socket_and_a_connection_keeps_its_name() {
    let mut to = vec![2, 0, 0, 53, 10, 0, 0, 2];
    to.extend_from_slice(&[0; 8]);
    let send = |fd: i64| Ev::call(10, "sendto", &[fd, 1, 9, 0, 2, 16], 9).said(4, &to);
    let mut inspector = isolated();
    let first = feed(
        &mut inspector,
        &[exec(10, 1), Ev::call(10, "socket", &[2, 2, 0], 3), send(3)],
    );
    assert!(first.name_changed);
    assert_eq!(name(&inspector, 10, 3).as_deref(), Some("10.0.0.2:53"));
    let again = feed(&mut inspector, &[send(3)]);
    assert!(!again.name_changed);
    let socket = |inspector: &Inspector| {
        let key = inspector.processes.key(10).unwrap();
        inspector.descriptor_of(key, 0, 3).unwrap().socket.unwrap()
    };
    assert_eq!(socket(&inspector).connection, Connection::None);
    let connect =
        Ev::call(10, "connect", &[3, 1, 16], 0).tuple(([10, 0, 0, 1], 5), ([10, 0, 0, 9], 9));
    feed(&mut inspector, &[connect, send(3)]);
    assert_eq!(socket(&inspector).connection, Connection::Made);
    assert_eq!(
        name(&inspector, 10, 3).as_deref(),
        Some("10.0.0.1:5->10.0.0.9:9")
    );
}

/// A /proc with one process, 42.
fn proc_of(exe: &str, fds: &[(i32, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    write_proc(&root, exe, fds);
    root
}

fn write_proc(root: &tempfile::TempDir, exe: &str, fds: &[(i32, &str)]) {
    let folder = root.path().join("42");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(folder.join("fd")).unwrap();
    fs::create_dir_all(folder.join("task/42")).unwrap();
    let zeros = " 0".repeat(15);
    let name = exe.rsplit('/').next().unwrap();
    fs::write(
        folder.join("stat"),
        format!("42 ({name}) S 1 42 42 0 -1{zeros} 1 1"),
    )
    .unwrap();
    fs::write(
        folder.join("status"),
        "Tgid:\t42\nNSpid:\t42\nUid:\t0\t0\nGid:\t0\t0\nCapInh:\t0\nCapPrm:\t0f\nCapEff:\t0f\n",
    )
    .unwrap();
    fs::write(folder.join("cmdline"), format!("{name}\0")).unwrap();
    fs::write(
        folder.join("cgroup"),
        "0::/docker/3ad7b26ded6d8e7b23da7d48fe889434573036c27ae5a74837233de441c3601e\n",
    )
    .unwrap();
    symlink(exe, folder.join("exe")).unwrap();
    for (fd, to) in fds {
        symlink(to, folder.join("fd").join(fd.to_string())).unwrap();
    }
}

fn with_proc(root: &tempfile::TempDir) -> Inspector {
    Inspector::new(&Options {
        proc_root: Some(root.path().to_owned()),
        containers: None,
        ..Options::default()
    })
}

#[test]
fn state_heals_after_a_loss() {
    let root = proc_of("/bin/one", &[(3, "/old")]);
    let mut inspector = with_proc(&root);
    feed(&mut inspector, &[Ev::call(42, "getpid", &[], 42)]);
    assert_eq!(&*inspector.process_by_pid(42).unwrap().name, b"one");
    // an exec, a close and an open are lost
    write_proc(&root, "/bin/two", &[(4, "/new")]);
    feed(&mut inspector, &[Ev::call(42, "getpid", &[], 42)]);
    assert_eq!(
        &*inspector.process_by_pid(42).unwrap().name,
        b"one",
        "no event reported the change"
    );
    feed(
        &mut inspector,
        &[Ev::new(EventKind::Lost, 0), Ev::call(42, "getpid", &[], 42)],
    );
    assert_eq!(
        &*inspector.process_by_pid(42).unwrap().name,
        b"",
        "the event is older than what /proc says"
    );
    let mut later = Ev::call(42, "getpid", &[], 42);
    later.header.time_ns = u64::MAX / 2;
    feed(&mut inspector, &[later]);
    let process = inspector.process_by_pid(42).unwrap();
    assert_eq!(
        (&*process.name, &*process.exe),
        (&b"two"[..], &b"/bin/two"[..])
    );
    assert_eq!(
        (name(&inspector, 42, 3), name(&inspector, 42, 4).as_deref()),
        (None, Some("/new"))
    );
    assert!(process.cgroups.container.is_some());
    // its exit is lost too, and is noticed when the next second begins
    fs::remove_dir_all(root.path().join("42")).unwrap();
    let mut later = Ev::call(7, "getpid", &[], 7);
    later.header.time_ns = u64::MAX / 2 + 2_000_000_000;
    feed(&mut inspector, &[Ev::new(EventKind::Lost, 0), later]);
    assert!(inspector.process_by_pid(42).unwrap().ended);
}

#[test]
fn an_unknown_descriptor_is_looked_up_when_it_is_used() {
    let root = proc_of("/bin/one", &[]);
    let mut inspector = with_proc(&root);
    feed(&mut inspector, &[Ev::call(42, "getpid", &[], 42)]);
    symlink("/passed", root.path().join("42/fd/9")).unwrap();
    let seen = feed(&mut inspector, &[Ev::call(42, "read", &[9, 1, 1], 1)]);
    assert_eq!(&*inspector.descriptor(&seen).unwrap().name, b"/passed");
    // a descriptor that came over a socket replaces the one with its number
    fs::remove_file(root.path().join("42/fd/9")).unwrap();
    symlink("/other", root.path().join("42/fd/9")).unwrap();
    let mut control = 20_u64.to_ne_bytes().to_vec();
    for word in [1_u32, 1, 9, 0] {
        control.extend_from_slice(&word.to_ne_bytes());
    }
    let mut received = Ev::call(42, "recvmsg", &[5, 1, 0], 1).control(1, &control);
    // later than the reading of /proc
    received.header.time_ns = u64::MAX / 2;
    feed(&mut inspector, &[received]);
    assert_eq!(name(&inspector, 42, 9).as_deref(), Some("/other"));
}

/// A real descriptor of this process, which no event has mentioned before.
#[test]
fn a_real_descriptor_is_found_by_its_number() {
    let mut inspector = Inspector::new(&Options {
        containers: None,
        ..Options::default()
    });
    let pid = std::process::id();
    feed(&mut inspector, &[Ev::call(pid, "getpid", &[], 0)]);
    let file = tempfile::NamedTempFile::new().unwrap();
    // a number that no other test used when /proc was read
    let high = nix::fcntl::FcntlArg::F_DUPFD_CLOEXEC(500);
    let fd = nix::fcntl::fcntl(file.as_file(), high).unwrap();
    // SAFETY: the descriptor is new and has no other owner.
    let copy = unsafe { OwnedFd::from_raw_fd(fd) };
    let seen = feed(
        &mut inspector,
        &[Ev::call(pid, "fchmod", &[copy.as_raw_fd().into(), 0], 0)],
    );
    let path = file.path().to_str().unwrap().as_bytes();
    assert_eq!(&*inspector.descriptor(&seen).unwrap().name, path);
}

#[test]
fn a_million_short_lived_processes_and_a_hundred_thousand_descriptors_are_bounded() {
    let options = Options {
        max_all_descriptors: 150_000,
        ..isolated_options()
    };
    let mut inspector = Inspector::new(&options);
    feed(&mut inspector, &[exec(1, 0)]);
    for pid in 2..1_000_002 {
        let life = [
            born(1, pid, pid.into(), 0),
            open(pid, "/etc/hosts", 3),
            Ev::exit(pid, pid),
        ];
        feed(&mut inspector, &life);
    }
    let stats = inspector.stats();
    assert!(stats.processes <= options.max_recent + 3, "{stats:?}");
    assert!(
        stats.file_tables <= 2 && stats.descriptors <= 1,
        "{stats:?}"
    );
    for fd in 0..100_000 {
        feed(&mut inspector, &[open(1, "/some/file", fd)]);
    }
    assert_eq!(inspector.stats().descriptors, 100_000);
    // children of a process with many descriptors do not exceed the limit
    for pid in 2..12 {
        feed(&mut inspector, &[born(1, pid, pid.into(), 0)]);
    }
    assert!(
        inspector.stats().descriptors <= 150_000,
        "{:?}",
        inspector.stats()
    );
    feed(
        &mut inspector,
        &[Ev::call(1, "close_range", &[0, i64::from(u32::MAX), 0], 0)],
    );
    assert_eq!(inspector.stats().descriptors, 0);
}

#[test]
fn a_file_that_is_opened_by_handle_or_without_a_name_is_a_file() {
    let mut inspector = isolated();
    let handle = Ev::call(10, "open_by_handle_at", &[3, 1, 2], 4).fact(Fact::Path, b"/data/x");
    // O_TMPFILE
    let unnamed = Ev::call(10, "openat", &[-100, 1, 0o20_200_001, 0o600], 5)
        .said(1, b"/data")
        .fact(Fact::Path, b"/data/#17");
    let tree = Ev::call(10, "open_tree", &[-100, 1, 1], 6)
        .said(1, b"y")
        .fact(Fact::Path, b"/data/y");
    feed(&mut inspector, &[handle, unnamed, tree]);
    let key = inspector.processes.key(10).unwrap();
    let open = |fd| {
        let found = inspector.descriptor_of(key, 10, fd).unwrap();
        (
            found.kind,
            String::from_utf8_lossy(&found.name).into_owned(),
        )
    };
    assert_eq!(open(4), (DescriptorKind::File, "/data/x".to_owned()));
    assert_eq!(open(5), (DescriptorKind::File, "/data/#17".to_owned()));
    assert_eq!(open(6), (DescriptorKind::Other, "/data/y".to_owned()));
}

#[test]
fn the_leader_of_a_session_gets_the_terminal_that_it_opens() {
    let mut inspector = isolated();
    let pts = |flags: i64| {
        Ev::call(10, "openat", &[-100, 1, flags, 0], 3)
            .said(1, b"/dev/pts/300")
            .fact(Fact::Path, b"/dev/pts/300")
    };
    let tty = |inspector: &mut Inspector, events: &[Ev]| {
        feed(inspector, events);
        inspector.tty(inspector.process_by_pid(10).unwrap())
    };
    let ids = Ids {
        tty: 34816,
        ..Ids::default()
    };
    assert_eq!(
        tty(
            &mut inspector,
            &[Ev::exec(10, "/bin/sh", &["sh"], ids), pts(2)]
        ),
        34816
    );
    let setsid = Ev::call(10, "setsid", &[], 10);
    // O_NOCTTY
    assert_eq!(tty(&mut inspector, &[setsid.clone(), pts(0o402)]), 0);
    // O_WRONLY
    assert_eq!(tty(&mut inspector, &[pts(1)]), 0);
    let expected = 136 << 8 | (300 & 0xff) | (300 & !0xff) << 12;
    let take = Ev::call(10, "ioctl", &[3, 0x540e, 0], 0);
    assert_eq!(tty(&mut inspector, &[take]), expected);
    assert_eq!(
        tty(&mut inspector, &[Ev::call(10, "ioctl", &[3, 0x5422, 0], 0)]),
        0
    );
    assert_eq!(tty(&mut inspector, &[setsid, pts(2)]), expected);
}

#[test]
fn a_sibling_of_its_creator_has_the_same_parent_even_if_that_is_unknown() {
    const CLONE_PARENT: u64 = 0x8000;
    let mut inspector = isolated();
    feed(
        &mut inspector,
        &[exec(10, 5), born(10, 11, 11, CLONE_PARENT), exec(12, 10)],
    );
    let parent = |pid| {
        let process = inspector.process_by_pid(pid).unwrap();
        inspector.parent_pid(process)
    };
    assert_eq!((parent(10), parent(11), parent(12)), (5, 5, 10));
}

#[test]
fn a_call_of_an_unknown_process_has_the_number_of_its_descriptor() {
    let mut inspector = isolated();
    let mut fds = Vec::new();
    for mut call in [
        Ev::call(0, "read", &[3, 1, 100], 5),
        Ev::call(0, "socket", &[2, 1, 0], 4),
        Ev::call(0, "openat", &[-100, 1, 0], -2),
    ] {
        (call.header.tgid, call.header.tid) = (0, 77);
        let bytes = call.bytes();
        fds.push(inspector.update(&Event::parse(&bytes).unwrap()).fd);
    }
    assert_eq!(fds, [Some(3), Some(4), None]);
}
