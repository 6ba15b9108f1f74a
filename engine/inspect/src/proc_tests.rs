//! Tests of the state that comes from /proc: a real one, and a hostile one.

use std::fs;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Command, Stdio};

use super::testing::{Ev, Noise, feed};
use super::tests::{fd_name, names, open};
use super::*;

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
