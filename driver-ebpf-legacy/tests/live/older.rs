//! The driver as it is on older kernels: features of this one are hidden from it.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use driver_api::driver::{Driver, OpenError};
use driver_api::event::{Event, EventKind, Fact};
use driver_api::host::{Host, Trial};
use driver_api::request::Target;
use driver_ebpf_legacy::{Feature, Legacy};
use nix::mount::{MsFlags, mount, umount};
use nix::sched::{CloneFlags, unshare};

use super::stage::{open, request, request_for, root, run_to_end, text};

/// A file that every host has.
const HOSTS: &str = "/etc/hosts";

/// Every combination of features that changes how programs are attached.
const KERNELS: [&[Feature]; 6] = [
    &[],
    &[Feature::SchedPrepareExec],
    &[Feature::KprobePmu],
    &[Feature::Kprobes, Feature::SchedPrepareExec],
    &[Feature::RawTracepoints],
    &[Feature::RawTracepoints, Feature::Kprobes],
];

/// Whether an event is a successful openat(2) of [`HOSTS`], with the path in its argument and as a fact.
fn opens_hosts(event: &Event<'_>) -> bool {
    event.kind() == EventKind::Syscall
        && event.header().ret >= 0
        && event
            .argument(1)
            .is_some_and(|path| *path.text() == *HOSTS.as_bytes())
        && text(event, Fact::Path) == HOSTS
}

/// Checks what is seen of a program that reads [`HOSTS`]: its exec, with its arguments, the call, and its exit.
fn check(events: &[Vec<u8>], what: &str) {
    let events: Vec<_> = events
        .iter()
        .map(|bytes| Event::parse(bytes).expect("an event"))
        .collect();
    let exec = events
        .iter()
        .rfind(|event| event.kind() == EventKind::Exec)
        .expect("an exec");
    let argv = exec.fact(Fact::Argv).expect("argv");
    assert_eq!(
        argv.strings().collect::<Vec<_>>(),
        [&b"cat"[..], HOSTS.as_bytes()],
        "{what}"
    );
    assert!(exec.argument(0).is_some(), "{what}: exec's own arguments");
    assert!(events.iter().any(opens_hosts), "{what}");
    let exit = |event: &Event<'_>| event.kind() == EventKind::Exit && event.header().ret == 0;
    assert!(events.iter().any(exit), "{what}");
}

/// Captures a command.
fn sees_a_command(hidden: &'static [Feature], what: &str) {
    let script = format!("exec cat {HOSTS} > /dev/null");
    let request = request(&script, &["openat", "exit_group"]);
    let mut capture = open(&Legacy::without(hidden), &request).capture;
    let (events, status) = run_to_end(capture.as_mut());
    assert_eq!(status, Some(0), "{what}");
    check(&events, what);
}

#[test]
fn a_command_is_captured_in_every_way_of_attaching() {
    if !root() {
        return;
    }
    for hidden in KERNELS {
        sees_a_command(hidden, &format!("without {hidden:?}"));
    }
}

/// A mount namespace of this thread alone, without tracefs.
fn own_mounts() {
    let none: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace");
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).expect("private mounts");
    for place in [
        "/sys/kernel/debug/tracing",
        "/sys/kernel/tracing",
        "/sys/kernel/debug",
    ] {
        // it may not be mounted there
        let _ = umount(place);
    }
}

#[test]
fn a_user_who_cannot_read_tracefs_is_refused_with_what_would_help() {
    const PLACE: &str = "/sys/kernel/tracing";
    if !root() {
        return;
    }
    let refused = |hidden: &'static [Feature]| {
        let opened = std::thread::spawn(move || {
            own_mounts();
            let none: Option<&str> = None;
            mount(none, PLACE, Some("tracefs"), MsFlags::empty(), none).expect("tracefs");
            // SAFETY: the system call, unlike libc's function, changes this thread alone, which ends below.
            let changed = unsafe { libc::syscall(libc::SYS_setresuid, 65534, 65534, 65534) };
            assert_eq!(changed, 0);
            // all but tracefs is there
            let host = Host {
                capabilities: !0,
                bpf: Trial::Works,
                perf_events: Trial::Works,
                ..Host::default()
            };
            Legacy::without(hidden)
                .open(&host, &request("true", &["openat"]))
                .map(|_| ())
        });
        let Err(OpenError::Unusable { gaps, .. }) = opened.join().expect("a thread") else {
            panic!("it is refused before anything is loaded");
        };
        let [gap] = &gaps[..] else {
            panic!("one gap, not {gaps:?}");
        };
        assert_eq!(gap.what, "a tracefs that lanner can read");
        assert!(gap.remedy.contains("CAP_DAC_READ_SEARCH"), "{gap:?}");
        gap.why.clone()
    };
    let closed = refused(&[Feature::RawTracepoints]);
    let said = format!("tracefs is mounted at {PLACE}, and lanner may not read it");
    assert!(closed.contains(&said), "{closed}");
    let absent = refused(&[Feature::RawTracepoints, Feature::MountedTracefs]);
    assert!(absent.contains("lanner cannot mount it"), "{absent}");
}

#[test]
fn a_running_process_is_captured_in_every_way_of_attaching() {
    if !root() {
        return;
    }
    for hidden in KERNELS {
        let script = format!("read line; exec cat {HOSTS}");
        let mut child = Command::new("sh")
            .args(["-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("a shell");
        let request = request_for(Target::Pids(vec![child.id()]), &["openat", "exit_group"]);
        let mut capture = open(&Legacy::without(hidden), &request).capture;
        let mut stdin = child.stdin.take().expect("it is piped");
        stdin.write_all(b"go\n").expect("the shell reads");
        // a zombie is still followed, so it is waited for by another thread
        let waits = std::thread::spawn(move || child.wait());
        let (events, _) = run_to_end(capture.as_mut());
        let status = waits.join().expect("a thread").expect("a status");
        assert!(status.success());
        check(&events, &format!("without {hidden:?}"));
        let exits = events
            .iter()
            .map(|bytes| Event::parse(bytes).expect("an event"))
            .filter(|event| {
                let exit_group = u32::try_from(libc::SYS_exit_group).expect("a number");
                event.kind() == EventKind::Syscall && event.header().nr == exit_group
            })
            .count();
        assert_eq!(exits, 1, "exit_group without {hidden:?}");
    }
}

#[test]
fn without_tracefs_it_is_mounted_where_no_other_process_sees_it() {
    if !root() {
        return;
    }
    own_mounts();
    assert!(!Path::new("/sys/kernel/tracing/events").is_dir());
    sees_a_command(&[Feature::RawTracepoints], "without tracefs");
    sees_a_command(
        &[Feature::RawTracepoints, Feature::Fsmount],
        "without tracefs and fsmount(2)",
    );
    sees_a_command(
        &[Feature::RawTracepoints, Feature::MountedTracefs],
        "with a tracefs that is not looked for",
    );
}
