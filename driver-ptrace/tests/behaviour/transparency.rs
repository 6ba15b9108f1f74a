//! A program under the driver behaves as it does untraced.

use std::process::{Command, Stdio};

use driver_api::event::EventKind;

use crate::stage::*;

#[test]
fn group_stops_are_seen_by_the_parent_as_without_a_tracer() {
    for names in [&["execve"][..], &everything()] {
        let (events, status) = watch(actor(&["group-stop"]), names);
        assert_eq!(exit_code(status), 3);
        lives_are_whole(&events);
    }
}

#[test]
fn signals_arrive_with_their_values_and_interrupted_calls_go_on() {
    for names in [&["execve"][..], &everything()] {
        let (events, status) = watch(actor(&["signals"]), names);
        assert!(
            libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGTERM,
            "status {status:#x}"
        );
        lives_are_whole(&events);
        let exit = of_kind(&events, EventKind::Exit);
        let last = exit.last().expect("an exit").header();
        assert_eq!(last.ret, i64::from(status));
    }
}

#[test]
fn vfork_gives_the_childs_status() {
    let (events, status) = watch(actor(&["vfork"]), &["vfork", "clone", "clone3"]);
    assert_eq!(exit_code(status), 5);
    lives_are_whole(&events);
    let fork = of_kind(&events, EventKind::Fork)[0].header();
    let call = events
        .iter()
        .find(|event| event.name() == "vfork")
        .expect("the call");
    assert_eq!(call.header().ret.unsigned_abs(), fork.args[0]);
}

/// A busy tracee is pinned to its tracer's CPU, and must not see that.
#[test]
fn a_busy_command_may_run_where_it_could_alone() {
    for names in [&["openat"][..], &["openat", "close", "clone"]] {
        let (events, status) = watch(actor(&["affinity", "2000"]), names);
        assert_eq!(exit_code(status), 0, "{names:?}");
        assert!(named(&events, "openat").len() >= 4000);
        assert_eq!(named(&events, "sched_getaffinity").len(), 0);
    }
}

#[test]
fn a_busy_command_reads_in_proc_that_it_may_run_where_it_could_alone() {
    for names in [&["openat"][..], &["openat2", "close"]] {
        let (_, status) = watch(actor(&["status", "8"]), names);
        assert_eq!(exit_code(status), 0, "{names:?}");
    }
}

#[test]
fn a_command_has_the_descriptors_and_signals_it_would_have() {
    let list =
        "ls /proc/self/fd | tr '\\n' ' '; echo; grep -E '^(Sig|Shd)(Q|B|I|C)' /proc/self/status";
    let out = std::env::temp_dir().join(format!("lanner-around-{}", std::process::id()));
    let to = format!("exec >{} </dev/null 2>/dev/null; {list}", out.display());
    let lines = |text: &str| {
        text.lines()
            .filter(|line| !line.starts_with("SigQ"))
            // posix_spawn(3) ignores signals 32 and 33, which the C library uses itself
            .map(|line| match line.strip_prefix("SigIgn:\t") {
                Some(hex) => {
                    let set = u64::from_str_radix(hex, 16).expect("a signal set");
                    format!("{:x}", set & !0x1_8000_0000)
                }
                None => line.to_owned(),
            })
            .collect::<Vec<_>>()
    };
    let (_, status) = watch(shell(&to), &["openat"]);
    assert_eq!(exit_code(status), 0);
    let under = std::fs::read_to_string(&out).expect("what it saw");
    Command::new("/bin/sh")
        .args(["-c", &to])
        .stdin(Stdio::null())
        .status()
        .expect("runs");
    let alone = std::fs::read_to_string(&out).expect("what it saw");
    assert_eq!(lines(&under), lines(&alone));
    std::fs::remove_file(out).expect("the file");
}

#[test]
fn children_of_other_threads_and_of_this_one_do_not_disturb() {
    // a child of this thread that outlives the capture, and a child of another thread that ends meanwhile
    let mut own = Command::new("sleep").arg("60").spawn().expect("runs");
    let other = std::thread::spawn(|| {
        let mut child = Command::new("sh")
            .args(["-c", "sleep 0.2; exit 6"])
            .spawn()
            .expect("runs");
        child.wait().expect("not reaped by anybody else").code()
    });
    let (events, status) = watch(shell("sleep 0.4; exit 2"), &["execve"]);
    assert_eq!(exit_code(status), 2);
    lives_are_whole(&events);
    assert_eq!(other.join().expect("a thread"), Some(6));
    own.kill().expect("still there");
    own.wait().expect("not reaped by anybody else");
}
