//! Tests of the state that comes from /proc: a real one, and a hostile one.

use std::fs;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};

use driver_api::event::{Fact, Ids};

use super::testing::{Ev, Noise, feed};
use super::tests::{fd_name, names, open};
use super::*;

#[test]
fn a_thread_that_has_its_own_descriptors_is_found_with_them() {
    let shared = fs::File::open("/dev/null").unwrap();
    let fd = shared.as_raw_fd();
    let (tell, told) = std::sync::mpsc::channel();
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        // SAFETY: the thread gets a table of its own; the other threads keep theirs.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_FILES) }, 0);
        let own = fs::File::open("/dev/zero").unwrap();
        // SAFETY: the thread's table is its own, and `shared` is not used in it.
        assert_eq!(unsafe { libc::dup2(own.as_raw_fd(), fd) }, fd);
        tell.send(nix::unistd::gettid().as_raw().unsigned_abs())
            .unwrap();
        let _ = ended.recv();
    });
    let tid = told.recv().unwrap();
    let pid = std::process::id();
    let mut inspector = Inspector::new(&Options::default());
    inspector.scan_proc();
    let key = inspector.processes.key(pid).unwrap();
    let name = |tid| {
        let descriptor = inspector.descriptor_of(key, tid, fd).unwrap();
        String::from_utf8_lossy(&descriptor.name).into_owned()
    };
    assert_eq!(
        (name(tid), name(pid)),
        ("/dev/zero".into(), "/dev/null".into())
    );
    drop(end);
    thread.join().unwrap();
}

#[test]
fn this_process_is_found_in_proc() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"x").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let mut child = Command::new("sleep")
        .arg("60")
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut inspector = Inspector::new(&Options::default());
    inspector.scan_proc();
    let me = inspector.process_by_pid(std::process::id()).unwrap();
    assert_eq!(
        &*me.exe,
        std::env::current_exe()
            .unwrap()
            .as_os_str()
            .as_encoded_bytes()
    );
    assert_eq!(
        inspector.cwd(me, me.pid),
        std::env::current_dir()
            .unwrap()
            .as_os_str()
            .as_encoded_bytes()
    );
    let args: Vec<_> = std::env::args().map(String::into_bytes).collect();
    assert!(me.args().eq(args.iter().map(Vec::as_slice)));
    assert!(me.threads() >= 1 && me.start_ns > 0);
    assert_eq!(me.vpid.is_some(), Path::new("/proc/self/status").exists());
    let pid = std::process::id();
    let name = |fd: i32| fd_name(&inspector, pid, fd).unwrap();
    assert_eq!(name(file.as_raw_fd()), file.path().to_str().unwrap());
    assert_eq!(
        name(listener.as_raw_fd()),
        listener.local_addr().unwrap().to_string()
    );
    let tuple = format!(
        "{}->{}",
        client.local_addr().unwrap(),
        client.peer_addr().unwrap()
    );
    assert_eq!(name(client.as_raw_fd()), tuple);
    let sleeper = inspector.processes.key(child.id()).unwrap();
    let lineage: Vec<u32> = inspector.lineage(sleeper).map(|p| p.pid).collect();
    assert_eq!(lineage[..2], [child.id(), pid]);
    assert_eq!(
        inspector.descriptor_of(sleeper, 0, 0).unwrap().kind,
        DescriptorKind::Pipe
    );
    child.kill().unwrap();
    child.wait().unwrap();
    inspector.sweep();
    assert!(
        inspector.process_by_pid(child.id()).unwrap().ended,
        "its exit was missed"
    );
}

#[test]
fn a_process_that_was_missed_is_looked_up_once() {
    let mut child = Command::new("sleep").arg("60").spawn().unwrap();
    let mut inspector = Inspector::new(&Options::default());
    let seen = feed(
        &mut inspector,
        &[
            Ev::call(child.id(), "getpid", &[], 0),
            Ev::call(child.id(), "getpid", &[], 0),
        ],
    );
    assert_eq!(names(&inspector, &seen)[0], "sleep");
    assert!(names(&inspector, &seen).len() > 1, "with its ancestors");
    assert_eq!(inspector.stats().probed, 1);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn an_effect_that_proc_already_has_is_not_applied_again() {
    let mut inspector = Inspector::new(&Options::default());
    inspector.scan_proc();
    let file = fs::File::open("/proc/self/stat").unwrap();
    let fd = file.as_raw_fd();
    // the event is older than the reading of /proc
    let mut event = open(std::process::id(), "/somewhere", 0, fd.into());
    event.header.time_ns = 1;
    event.header.uid = inspector
        .process_by_pid(std::process::id())
        .unwrap()
        .credentials(0)
        .uid;
    let seen = feed(&mut inspector, &[event]);
    assert_eq!(
        &*inspector.descriptor(&seen).unwrap().name,
        b"/somewhere",
        "for the event itself"
    );
    assert_ne!(
        fd_name(&inspector, std::process::id(), fd).as_deref(),
        Some("/somewhere")
    );
}

#[test]
fn a_hostile_proc_does_no_harm() {
    let root = tempfile::tempdir().unwrap();
    let mut noise = Noise(77);
    for pid in 1..60 {
        let directory = root.path().join(pid.to_string());
        fs::create_dir_all(directory.join("fd")).unwrap();
        fs::create_dir_all(directory.join("net")).unwrap();
        for file in [
            "status", "cmdline", "environ", "loginuid", "net/tcp", "net/unix",
        ] {
            fs::write(directory.join(file), noise.bytes(3000)).unwrap();
        }
        let mut stat = format!("{pid} (").into_bytes();
        stat.extend(noise.bytes(40));
        stat.extend_from_slice(b") S ");
        stat.extend_from_slice(noise.edgy().cast_signed().to_string().as_bytes());
        stat.extend(noise.bytes(40));
        fs::write(directory.join("stat"), stat).unwrap();
        let links = [
            "socket:[",
            "socket:[99999999999999999999]",
            "pipe:",
            "anon_inode:x",
            "/a\n(deleted)",
        ];
        for (fd, link) in links.iter().enumerate() {
            std::os::unix::fs::symlink(link, directory.join("fd").join(fd.to_string())).unwrap();
        }
        std::os::unix::fs::symlink("loop", directory.join("exe")).unwrap();
    }
    let mut inspector = Inspector::new(&Options {
        proc_root: Some(root.path().to_owned()),
        ..Options::default()
    });
    inspector.scan_proc();
    assert!(inspector.stats().living > 0);
    feed(
        &mut inspector,
        &[
            Ev::call(5, "getpid", &[], 0),
            Ev::call(1_000_000, "getpid", &[], 0),
        ],
    );
}

#[test]
fn a_name_that_is_written_to_a_file_is_asked_for() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("10/task/11");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("comm"), "written\n").unwrap();
    let mut inspector = Inspector::new(&Options {
        proc_root: Some(root.path().to_owned()),
        ..testing::isolated_options()
    });
    let name = |inspector: &Inspector| {
        let process = inspector.process_by_pid(10).unwrap();
        String::from_utf8_lossy(&inspector.thread_name(process, 11)).into_owned()
    };
    let open = |flags| {
        Ev::call(10, "openat", &[-100, 1, flags, 0], 3)
            .said(1, b"/proc/self/task/11/comm")
            .fact(Fact::Path, b"/proc/10/task/11/comm")
    };
    let start = Ev::exec(10, "/bin/server", &["server"], Ids::default());
    feed(&mut inspector, &[start.clone(), open(0)]);
    assert_eq!(name(&inspector), "server");
    feed(&mut inspector, &[open(1)]);
    assert_eq!(name(&inspector), "written");
    feed(&mut inspector, &[start]);
    assert_eq!(name(&inspector), "server");
}

#[test]
fn unix_sockets_that_are_connected_already_have_the_names_of_their_peers() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let listener = UnixListener::bind(path("stream")).unwrap();
    let client = UnixStream::connect(path("stream")).unwrap();
    let (server, _) = listener.accept().unwrap();
    let log = UnixDatagram::bind(path("log")).unwrap();
    let named = UnixDatagram::bind(path("named")).unwrap();
    named.connect(path("log")).unwrap();
    let (pair, _other) = UnixStream::pair().unwrap();
    let mut inspector = Inspector::new(&Options::default());
    inspector.scan_proc();
    let pid = std::process::id();
    let name = |fd: i32| fd_name(&inspector, pid, fd).unwrap_or_default();
    let is = |fd: i32, expected: &str| {
        assert_eq!(name(fd), path(expected).to_str().unwrap(), "{expected}");
    };
    is(listener.as_raw_fd(), "stream");
    is(client.as_raw_fd(), "stream");
    is(server.as_raw_fd(), "stream");
    is(log.as_raw_fd(), "log");
    is(named.as_raw_fd(), "log");
    assert_eq!(name(pair.as_raw_fd()), "");
}

#[test]
fn a_socket_that_is_not_bound_has_a_protocol_and_is_shared_with_its_duplicates() {
    // std binds each UDP socket; a stream socket is connected to nothing until the event below
    // SAFETY: the call takes numbers.
    let fd = unsafe { libc::socket(libc::AF_INET6, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    assert!(fd >= 0);
    // SAFETY: the descriptor is new, and nothing else owns it.
    let socket = unsafe { <std::os::fd::OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(fd) };
    let copy = socket.try_clone().unwrap();
    let mut inspector = Inspector::new(&Options::default());
    inspector.scan_proc();
    let pid = std::process::id();
    let key = inspector.processes.key(pid).unwrap();
    let found = inspector.descriptor_of(key, pid, fd).unwrap();
    assert_eq!(found.kind, DescriptorKind::Ipv6);
    assert_eq!(found.socket.unwrap().protocol, 6);
    let mut to = 2_u16.to_ne_bytes().to_vec();
    to.extend([0, 80, 127, 0, 0, 1]);
    let mut connect = Ev::call(pid, "connect", &[fd.into(), 1, 16], 0).said(1, &to);
    connect.header.time_ns = u64::MAX / 2;
    feed(&mut inspector, &[connect]);
    let name = fd_name(&inspector, pid, copy.as_raw_fd()).unwrap();
    assert_eq!(name, "127.0.0.1:80");
}

#[test]
fn descriptors_of_a_call_that_is_entered_are_looked_up() {
    let mut inspector = Inspector::new(&Options::default());
    let pid = std::process::id();
    let file = tempfile::NamedTempFile::new().unwrap();
    let write = |fd: i32| Ev::call(pid, "write", &[fd.into(), 1, 2], 0).entered();
    let name = |inspector: &Inspector, seen: &Seen| {
        let found = inspector.descriptor(seen).unwrap();
        String::from_utf8_lossy(&found.name).into_owned()
    };
    let seen = feed(&mut inspector, &[write(file.as_raw_fd())]);
    assert_eq!(name(&inspector, &seen), file.path().to_str().unwrap());
    // a number that comes to mean another socket without any event
    let first = UdpSocket::bind("127.0.0.1:0").unwrap();
    let fd = first.as_raw_fd();
    let seen = feed(&mut inspector, &[write(fd)]);
    let before = first.local_addr().unwrap().to_string();
    assert_eq!(name(&inspector, &seen), before);
    let second = UdpSocket::bind("127.0.0.1:0").unwrap();
    // SAFETY: both numbers belong to sockets that live until the end of the test.
    assert_eq!(unsafe { libc::dup2(second.as_raw_fd(), fd) }, fd);
    let seen = feed(&mut inspector, &[write(fd)]);
    let after = second.local_addr().unwrap().to_string();
    assert_eq!(name(&inspector, &seen), after);
    drop(first);
}

#[test]
fn a_directory_and_a_file_without_a_name_are_what_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let plain = fs::File::open(folder.path()).unwrap();
    let unnamed = tempfile::tempfile_in(folder.path()).unwrap();
    let mut inspector = Inspector::new(&Options::default());
    inspector.scan_proc();
    let pid = std::process::id();
    let key = inspector.processes.key(pid).unwrap();
    let kind = |fd: i32| inspector.descriptor_of(key, pid, fd).unwrap().kind;
    assert_eq!(kind(plain.as_raw_fd()), DescriptorKind::Directory);
    assert_eq!(kind(unnamed.as_raw_fd()), DescriptorKind::File);
    let tmpfile = fill::from_link(b"/data/#17 (deleted)", 0o20_600_002 | fill::O_DIRECTORY);
    assert_eq!(tmpfile.kind, DescriptorKind::File);
}

/// A /proc with one thread of process 10: its ids, and its working directory.
fn proc_of_a_thread(tid: u32, euid: u32, cwd: &str) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let thread = root.path().join(format!("10/task/{tid}"));
    fs::create_dir_all(&thread).unwrap();
    let status = format!("Tgid:\t10\nUid:\t0\t{euid}\t0\t0\nGid:\t0\t0\t0\t0\n");
    fs::write(thread.join("status"), &status).unwrap();
    fs::write(root.path().join("10/status"), &status).unwrap();
    fs::write(root.path().join("10/stat"), "10 (a) S 1 77 78 34816 -1").unwrap();
    // a thread has a folder of its own beside those of processes
    fs::create_dir_all(root.path().join(tid.to_string())).unwrap();
    std::os::unix::fs::symlink(cwd, root.path().join(format!("{tid}/cwd"))).unwrap();
    root
}

#[test]
fn what_entered_calls_may_have_changed_is_asked_for() {
    let root = proc_of_a_thread(10, 5, "/srv");
    let mut inspector = Inspector::new(&Options {
        proc_root: Some(root.path().to_owned()),
        ..testing::isolated_options()
    });
    let start = Ev::exec(10, "/bin/server", &["server"], Ids::default()).fact(Fact::Cwd, b"/");
    let entered = |name, args: &[i64]| {
        let mut call = Ev::call(10, name, args, 0).entered();
        // later than the reading of /proc
        call.header.time_ns = u64::MAX / 2;
        call
    };
    let state = |inspector: &Inspector| {
        let process = inspector.process_by_pid(10).unwrap();
        let cwd = String::from_utf8_lossy(inspector.cwd(process, 10)).into_owned();
        (process.credentials(10).euid, process.pgid, process.sid, cwd)
    };
    // each is asked for at the event after its call
    feed(
        &mut inspector,
        &[
            start,
            entered("setresuid", &[-1, 5, -1]),
            entered("setsid", &[]),
        ],
    );
    assert_eq!(state(&inspector), (5, 0, 0, "/srv".to_owned()));
    feed(&mut inspector, &[entered("getpid", &[])]);
    assert_eq!(state(&inspector), (5, 77, 78, "/srv".to_owned()));
}

#[test]
fn ids_that_a_call_names_are_of_the_callers_user_namespace() {
    const CLONE_NEWUSER: u64 = 0x1000_0000;
    let calls = |root: Option<&Path>| {
        let mut inspector = Inspector::new(&Options {
            proc_root: root.map(Path::to_owned),
            ..testing::isolated_options()
        });
        let user = Ids {
            uid: 1000,
            euid: 1000,
            ..Ids::default()
        };
        let mut root_there = Ev::call(10, "setresuid", &[0, 0, 0], 0);
        root_there.header.uid = 1000;
        let start = Ev::exec(9, "/bin/a", &["a"], user);
        let mut born = Ev::fork(9, 10, 10, CLONE_NEWUSER);
        born.header.uid = 1000;
        feed(&mut inspector, &[start, born, root_there]);
        let euid = |pid| inspector.process_by_pid(pid).unwrap().credentials(pid).euid;
        (euid(9), euid(10))
    };
    assert_eq!(calls(None), (1000, 1000));
    // /proc knows effective ids that differ from the real one
    let root = proc_of_a_thread(10, 1005, "/");
    assert_eq!(calls(Some(root.path())).1, 1005);
}

#[test]
fn threads_that_had_other_ids_and_directories_before_have_them() {
    let root = proc_of_a_thread(11, 5, "/thread");
    let process = root.path().join("10");
    fs::create_dir_all(process.join("task/10")).unwrap();
    fs::write(
        process.join("status"),
        "Tgid:\t10\nUid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\n",
    )
    .unwrap();
    std::os::unix::fs::symlink("/main", process.join("cwd")).unwrap();
    std::os::unix::fs::symlink("/thread", process.join("task/11/cwd")).unwrap();
    let mut inspector = Inspector::new(&Options {
        proc_root: Some(root.path().to_owned()),
        ..testing::isolated_options()
    });
    inspector.scan_proc();
    let process = inspector.process_by_pid(10).unwrap();
    let of = |tid| {
        let cwd = String::from_utf8_lossy(inspector.cwd(process, tid)).into_owned();
        (process.credentials(tid).euid, cwd)
    };
    assert_eq!(of(10), (0, "/main".to_owned()));
    assert_eq!(of(11), (5, "/thread".to_owned()));
}

#[test]
fn process_groups_are_named_in_the_callers_pid_namespace() {
    const CLONE_NEWPID: u64 = 0x2000_0000;
    let born = |parent, child: u32, vpid: u64, flags| {
        let mut fork = Ev::fork(parent, child, child, flags);
        fork.header.args[3] = vpid;
        fork
    };
    let mut inspector = Inspector::new(&testing::isolated_options());
    feed(
        &mut inspector,
        &[
            Ev::exec(3, "/bin/other", &["other"], Ids::default()),
            Ev::exec(9, "/bin/a", &["a"], Ids::default()),
            born(9, 10, 1, CLONE_NEWPID),
            born(10, 11, 2, 0),
            born(10, 12, 3, 0),
            born(10, 13, 4, 0),
            // the parent, for a child; the child, for itself; into the group of a sibling
            Ev::call(10, "setpgid", &[2, 0], 0),
            Ev::call(12, "setpgid", &[0, 3], 0),
            Ev::call(13, "setpgid", &[0, 2], 0),
        ],
    );
    let group = |pid| inspector.process_by_pid(pid).unwrap().pgid;
    assert_eq!([11, 12, 13].map(group), [11, 12, 11]);
    // a process of the host with that id
    assert_eq!(group(3), 0);
}

#[test]
fn a_directory_that_an_entered_call_names_is_looked_up() {
    let mut inspector = Inspector::new(&Options::default());
    let pid = std::process::id();
    let folder = tempfile::tempdir().unwrap();
    let directory = fs::File::open(folder.path()).unwrap();
    let fd = directory.as_raw_fd();
    let seen = feed(
        &mut inspector,
        &[
            open(pid, "/another/file", 0, fd.into()),
            Ev::call(pid, "mkdirat", &[fd.into(), 1, 0o755], 0).entered(),
        ],
    );
    let found = inspector.descriptor_of(seen.process.unwrap(), pid, fd);
    assert_eq!(
        found.unwrap().name,
        folder.path().as_os_str().as_encoded_bytes()
    );
}

#[test]
fn without_its_listener_a_server_is_known_by_its_port() {
    let is_chosen = |port: u16, odd: bool| port >= 32768 && (port % 2 == 1) == odd;
    // another program may have taken the ports that the kernel prefers
    let connected = (0..100).find_map(|_| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        let ports = [&server, &client].map(|end| end.local_addr().unwrap().port());
        let chosen = is_chosen(ports[0], true) && is_chosen(ports[1], false);
        chosen.then_some((server, client))
    });
    let Some((server, client)) = connected else {
        test_support::skipped("this host gives sockets other ports than Linux does by default");
        return;
    };
    let mut inspector = Inspector::new(&Options::default());
    inspector.scan_proc();
    let me = inspector.processes.key(std::process::id()).unwrap();
    let role = |end: &TcpStream| {
        let open = inspector.descriptor_of(me, 0, end.as_raw_fd());
        open.and_then(|open| open.socket).map(|socket| socket.role)
    };
    assert_eq!(role(&server), Some(Role::Server));
    assert_eq!(role(&client), Some(Role::Client));
}
