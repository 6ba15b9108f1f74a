//! Processes in states that attaching and leaving must not change, and processes that cannot be attached to.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use driver_api::driver::{OpenError, Polled};
use driver_api::request::Target;

use crate::stage::*;

/// A process with a thread in each of many calls that wait. A byte on its input ends the waiting.
fn blocked(kind: &str) -> Child {
    let mut child = Command::new(scenes_path())
        .args(["blocked-calls", kind])
        // an orphaned process group, which that of the tests may be, ignores SIGTSTP (setpgid(2))
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("runs");
    let mut ready = [0; 6];
    let output = child.stdout.as_mut().expect("a pipe");
    output.read_exact(&mut ready).expect("it says so");
    // Perhaps some threads do not wait yet. The case is about those that do.
    std::thread::sleep(Duration::from_millis(50));
    child
}

fn pids(child: &Child) -> Target {
    Target::Pids(vec![child.id()])
}

/// The third field of /proc/PID/stat.
fn state(pid: u32) -> char {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
    let behind = stat.rsplit_once(')').expect("a name").1;
    behind.trim_start().chars().next().expect("a state")
}

fn until_state(pid: u32, wanted: &[char]) {
    let begin = Instant::now();
    while !wanted.contains(&state(pid)) {
        assert!(
            begin.elapsed() < PATIENCE,
            "{pid} is in state {}, not {wanted:?}",
            state(pid)
        );
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn poll_for(capture: &mut dyn driver_api::driver::Capture, time: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < time {
        let polled = capture
            .poll(Duration::from_millis(10), &mut |_| {
                driver_api::driver::Flow::Continue
            })
            .expect("the capture goes on");
        assert!(matches!(polled, Polled::Events(_)), "it has ended");
    }
}

fn release(mut child: Child) {
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(b"x").expect("it reads");
    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("it is ours to wait for") {
            assert!(status.success(), "{status}");
            return;
        }
        if begin.elapsed() > PATIENCE {
            let _ = child.kill();
            panic!("it does not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn calls_that_wait_see_nothing_of_attaching_and_leaving() {
    for linger in [0, 30] {
        let child = blocked("0");
        for _ in 0..8 {
            let mut capture = open(pids(&child), &everything()).expect("attached");
            poll_for(capture.as_mut(), Duration::from_millis(linger));
            drop(capture);
        }
        release(child);
    }
}

#[test]
fn a_stopped_process_stays_stopped() {
    let child = blocked("1");
    let stop = |signal| {
        // SAFETY: kill(2) takes numbers; the child is ours.
        unsafe { libc::kill(child.id().cast_signed(), signal) }
    };
    for signal in [libc::SIGSTOP, libc::SIGTSTP] {
        stop(signal);
        until_state(child.id(), &['T']);
        for linger in [0, 20] {
            let mut capture = open(pids(&child), &everything()).expect("attached");
            poll_for(capture.as_mut(), Duration::from_millis(linger));
            drop(capture);
            until_state(child.id(), &['T']);
            std::thread::sleep(Duration::from_millis(20));
            assert_eq!(state(child.id()), 'T', "it does not stay stopped");
        }
        // continued and stopped again while it is attached, continued when it is free
        let mut capture = open(pids(&child), &everything()).expect("attached");
        stop(libc::SIGCONT);
        poll_for(capture.as_mut(), Duration::from_millis(20));
        until_state(child.id(), &['S', 'R']);
        stop(signal);
        poll_for(capture.as_mut(), Duration::from_millis(20));
        until_state(child.id(), &['t', 'T']);
        drop(capture);
        until_state(child.id(), &['T']);
        stop(libc::SIGCONT);
        until_state(child.id(), &['S', 'R']);
    }
    release(child);
}

#[test]
fn a_process_that_has_ended_is_named_as_such() {
    let mut child = Command::new("true").spawn().expect("runs");
    until_state(child.id(), &['Z']);
    let error = open(pids(&child), &["openat"]).err();
    let error = error.expect("nothing to attach to");
    assert!(
        matches!(&error, OpenError::Target(why) if why.to_string().contains("has ended")),
        "{error}"
    );
    child.wait().expect("it is still ours to wait for");
}

#[test]
fn a_process_may_end_while_it_is_attached_to() {
    for round in 0..60_u64 {
        let mut child = Command::new(scenes_path())
            .args(["crowd", "8"])
            .spawn()
            .expect("runs");
        std::thread::sleep(Duration::from_micros(round * 40));
        match open(pids(&child), &everything()) {
            Ok(mut capture) => {
                let (_, end) = until(capture.as_mut(), |_| false).expect("the capture goes on");
                assert_eq!(end, Some(None));
            }
            Err(error) => assert!(matches!(error, OpenError::Target(_)), "{error}"),
        }
        // in case the capture has not waited for it
        let _ = child.wait();
    }
}

#[test]
fn a_process_with_a_tracer_is_refused_and_its_tracer_named() {
    let mut child = Command::new("sleep").arg("600").spawn().expect("runs");
    let pid = child.id().cast_signed();
    let (attached, is_attached) = std::sync::mpsc::channel();
    let (leave, leaves) = std::sync::mpsc::channel::<()>();
    let tracer = std::thread::spawn(move || {
        // SAFETY: the request takes numbers, and gettid(2) none; the child is ours.
        let tid = unsafe {
            assert_eq!(
                libc::ptrace(libc::PTRACE_SEIZE, pid, 0_usize, 0_usize),
                0,
                "seized"
            );
            libc::gettid()
        };
        attached.send(tid).expect("the test waits for it");
        // a tracer that ends detaches
        let _ = leaves.recv();
    });
    let tid = is_attached.recv().expect("attached");
    let error = open(pids(&child), &["openat"]).err();
    let error = error.expect("traced already").to_string();
    assert!(
        error.contains("traced by") && error.contains(&tid.to_string()),
        "{error}"
    );
    drop(leave);
    tracer.join().expect("the tracer");
    child.kill().expect("it is still there");
    child.wait().expect("it is ours to wait for");
}
