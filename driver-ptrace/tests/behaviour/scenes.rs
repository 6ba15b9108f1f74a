//! Programs that judge themselves (`scenes/`): alone, under a filter that stops few calls, where every call stops, and
//! in a process that was attached to.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use driver_api::event::EventKind;
use driver_api::request::Target;

use crate::stage::*;

/// Plays a scene in all these ways; it must succeed in each.
fn holds_everywhere(scene: &[&str]) {
    let alone = Command::new(scenes_path())
        .args(scene)
        .status()
        .expect("runs");
    assert_eq!(alone.code(), Some(0), "{scene:?} alone");
    for names in [&["execve"][..], &everything()] {
        let (events, status) = watch(command(scenes_path(), scene), names);
        assert_eq!(exit_code(status), 0, "{scene:?} with {} calls", names.len());
        lives_are_whole(&events);
    }
    widened(scene);
    attached(scene, 0);
}

/// Plays a scene under a filter for few calls, and then has every call stop.
fn widened(scene: &[&str]) {
    let mut capture = open(command(scenes_path(), scene), &["execve"]).expect("the driver opens");
    let (_, end) = until(capture.as_mut(), |event| event.kind() == EventKind::Exec)
        .expect("the capture goes on");
    assert_eq!(end, None);
    capture
        .select(&calls(&everything()).into())
        .expect("all calls");
    let (_, end) = until(capture.as_mut(), |_| false).expect("the capture goes on");
    assert_eq!(end, Some(Some(0)), "{scene:?} with a wider selection");
}

/// Attaches to a shell and has it execute the scene.
fn attached(scene: &[&str], code: i32) {
    let mut shell = Command::new("/bin/sh")
        .args(["-c", "read line; exec \"$@\"", "sh"])
        .arg(scenes_path())
        .args(scene)
        .stdin(Stdio::piped())
        .spawn()
        .expect("runs");
    let mut capture = open(Target::Pids(vec![shell.id()]), &everything()).expect("attached");
    let mut input = shell.stdin.take().expect("a pipe");
    input.write_all(b"go\n").expect("it reads");
    drop(input);
    let (events, end) = until(capture.as_mut(), |_| false).expect("the capture goes on");
    assert_eq!(end, Some(None));
    assert_eq!(
        of_kind(&events, EventKind::Exec)[0].header().tgid,
        shell.id()
    );
    // as its tracer, the capture has waited for it
    let _ = shell.wait();
    let last = of_kind(&events, EventKind::Exit)
        .into_iter()
        .rfind(|event| event.header().tid == shell.id())
        .map(|event| event.header().ret);
    assert_eq!(last, Some(i64::from(code << 8)), "{scene:?} attached");
}

#[test]
fn real_time_signals_come_in_order_with_their_values() {
    holds_everywhere(&["real-time-signals"]);
}

#[test]
fn calls_that_a_handler_interrupts_end_or_go_on_as_alone() {
    holds_everywhere(&["interrupted-calls"]);
}

/// Each call that ends with EINTR for the scene has one event; a call that goes on has one when it ends.
#[test]
fn calls_that_end_with_eintr_have_an_event() {
    for names in [
        &[
            "clock_nanosleep",
            "poll",
            "ppoll",
            "epoll_wait",
            "futex",
            "pause",
            "read",
        ][..],
        &everything(),
    ] {
        let (events, status) = watch(command(scenes_path(), &["interrupted-calls"]), names);
        assert_eq!(exit_code(status), 0);
        let leader = events[0].header().tid;
        let ended = |name: &str| {
            named(&events, name)
                .iter()
                .filter(|event| event.header().tid == leader && event.header().ret == -4)
                .count()
        };
        for (name, times) in [
            ("clock_nanosleep", 4),
            ("poll", 2),
            ("ppoll", 2),
            ("epoll_wait", 2),
            ("futex", 3),
            ("pause", 2),
            ("read", 1),
        ] {
            assert_eq!(ended(name), times, "{name} among {} calls", names.len());
        }
    }
    // a call that goes on after a stop ends under its own name, though the kernel makes it as restart_syscall
    let names = &["clock_nanosleep", "poll", "futex", "read"];
    let (events, status) = watch(command(scenes_path(), &["restarted-calls"]), names);
    assert_eq!(exit_code(status), 0);
    let leader = events[0].header().tid;
    let of_leader = |name: &str, ret: i64| {
        named(&events, name)
            .iter()
            .filter(|event| event.header().tid == leader && event.header().ret == ret)
            .count()
    };
    assert_eq!(of_leader("clock_nanosleep", 0), 2);
    assert_eq!((of_leader("poll", 0), of_leader("poll", 1)), (1, 1));
    assert_eq!(of_leader("futex", -i64::from(libc::ETIMEDOUT)), 1);
    assert_eq!(of_leader("read", 1), 2);
    for name in names {
        assert_eq!(of_leader(name, -4), 0, "{name}");
    }
}

#[test]
fn signals_that_are_ignored_disturb_no_call() {
    holds_everywhere(&["ignored-signals"]);
}

#[test]
fn calls_go_on_behind_a_stop_and_wait_no_shorter() {
    holds_everywhere(&["restarted-calls"]);
}

#[test]
fn all_threads_of_a_process_stop_and_go_on_together() {
    holds_everywhere(&["group-stops"]);
}

#[test]
fn a_real_stop_ends_the_calls_that_it_ends_without_a_tracer() {
    holds_everywhere(&["stopped-calls"]);
}

#[test]
fn storms_of_forks_threads_and_signals_come_to_their_end() {
    holds_everywhere(&["storm", "10"]);
}

#[test]
fn children_of_every_kind_are_born_and_waited_for() {
    holds_everywhere(&["births"]);
}

#[test]
fn a_thread_that_executes_a_program_takes_over_a_busy_process_again_and_again() {
    holds_everywhere(&["exec-again", "12"]);
}

#[test]
fn thousands_of_threads_live_at_once() {
    holds_everywhere(&["crowd", "2000"]);
}

#[test]
fn thousands_of_children_come_and_go() {
    holds_everywhere(&["quick-children", "2000"]);
}

#[test]
fn faults_and_breakpoints_of_its_own_reach_a_program() {
    holds_everywhere(&["faults"]);
}

#[test]
fn filters_of_its_own_answer_a_program() {
    holds_everywhere(&["own-filters"]);
}

#[test]
fn a_program_may_listen_to_the_calls_of_its_child() {
    holds_everywhere(&["own-listener"]);
}

#[test]
fn a_program_that_wants_to_trace_is_refused_and_goes_on() {
    let scene = &["own-tracer"];
    for names in [&["execve"][..], &everything()] {
        let (events, status) = watch(command(scenes_path(), scene), names);
        assert_eq!(exit_code(status), 51);
        lives_are_whole(&events);
    }
    attached(scene, 51);
}

/// By another process, at any moment: in stops of every kind, and between them.
#[test]
fn a_command_may_be_killed_at_any_moment() {
    for round in 0..120_u32 {
        let names = if round % 2 == 0 {
            &["execve", "kill"][..]
        } else {
            &everything()
        };
        let mut capture =
            open(command(scenes_path(), &["every-state"]), names).expect("the driver opens");
        let mut seen = 0;
        let (mut events, end) = until(capture.as_mut(), |_| {
            seen += 1;
            seen > 30 + 7 * round
        })
        .expect("the capture goes on");
        assert_eq!(end, None, "round {round}");
        let pid = events[0].header().tgid.cast_signed();
        let killer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_micros(u64::from(round) * 97 % 3000));
            // SAFETY: kill(2) takes numbers; the process was not waited for, so that the id is its own.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        });
        let begin = Instant::now();
        let mut last = Vec::new();
        let mut status = None;
        // its children may stay in a stop for ever: they end with the capture
        while status.is_none() {
            assert!(begin.elapsed() < PATIENCE, "round {round}: no end");
            let (more, end) = until(capture.as_mut(), |event| {
                event.kind() == EventKind::Exit && event.header().tid == pid.unsigned_abs()
            })
            .expect("the capture goes on");
            status = more
                .iter()
                .rfind(|event| {
                    event.kind() == EventKind::Exit && event.header().tid == pid.unsigned_abs()
                })
                .map(|event| event.header().ret);
            last.extend(more);
            assert!(end.is_none() || status.is_some(), "round {round}");
        }
        killer.join().expect("the killer");
        events.extend(last);
        assert_eq!(status, Some(i64::from(libc::SIGKILL)), "round {round}");
        drop(capture);
    }
}
