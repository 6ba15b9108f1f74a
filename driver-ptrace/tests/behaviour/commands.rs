//! Commands that are followed from their first call to the end of the last descendant.

use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use driver_api::driver::{Flow, OpenError, Polled};
use driver_api::error::Chain;
#[cfg(target_arch = "x86_64")]
use driver_api::event::Abi;
use driver_api::event::{Encoding, EventKind, Fact, Status};
use driver_api::predicate::{ArgTest, Clause, Predicate};
use driver_api::selection::Selection;
use driver_api::table;
use driver_ptrace::Ptrace;

use crate::stage::*;

#[test]
fn a_shell_and_its_children_are_followed() {
    let folder = std::env::temp_dir().join(format!("lanner-shell-{}", std::process::id()));
    let file = folder.join("x").display().to_string();
    let folder_text = folder.display().to_string();
    let script = format!(
        "mkdir {folder_text}; cat /etc/hosts >/dev/null; ls /nonexistent 2>/dev/null; touch {file}; rm {file}; \
         rmdir {folder_text}; exit 9"
    );
    let (events, status) = watch(
        shell(&script),
        &["openat", "execve", "unlinkat", "unlink", "rmdir"],
    );
    assert_eq!(exit_code(status), 9);
    lives_are_whole(&events);
    let hosts = named(&events, "openat")
        .into_iter()
        .find(|event| event.text(1) == "/etc/hosts")
        .expect("cat opens its file");
    let path = hosts.event().fact(Fact::Path).expect("the resolved path");
    let truth = std::fs::canonicalize("/etc/hosts").expect("/etc/hosts");
    assert_eq!(&*path.text(), truth.as_os_str().as_encoded_bytes());
    assert!(
        events
            .iter()
            .any(|event| event.name().starts_with("unlink") && event.header().ret == 0)
    );
    let programs: Vec<String> = of_kind(&events, EventKind::Exec)
        .iter()
        .map(|event| {
            let event = event.event();
            let argv = event.fact(Fact::Argv).expect("argv");
            String::from_utf8_lossy(argv.strings().next().unwrap_or_default()).into_owned()
        })
        .collect();
    for program in ["cat", "ls", "touch", "rm", "rmdir"] {
        assert!(
            programs.iter().any(|name| name == program),
            "{program} in {programs:?}"
        );
    }
}

#[test]
fn a_pipeline_of_a_thousand_processes_is_followed_to_its_end() {
    let script = "i=0; while [ $i -lt 500 ]; do /bin/true | /bin/true; i=$((i+1)); done";
    let begin = Instant::now();
    let (events, status) = watch(shell(script), &["execve"]);
    assert_eq!(exit_code(status), 0);
    lives_are_whole(&events);
    assert_eq!(of_kind(&events, EventKind::Exec).len(), 1001);
    println!("1000 processes in {:?}", begin.elapsed());
}

#[test]
fn threads_are_followed() {
    let (events, status) = watch(actor(&["threads", "16"]), &["open", "openat", "close"]);
    assert_eq!(exit_code(status), 0);
    lives_are_whole(&events);
    let opens = events
        .iter()
        .filter(|event| {
            event.name().starts_with("open")
                && (event.text(0) == "/dev/null" || event.text(1) == "/dev/null")
        })
        .count();
    assert_eq!(opens, 16 * 20);
    let forks = of_kind(&events, EventKind::Fork);
    assert_eq!(forks.len(), 16);
    let leader = events[0].header().tgid;
    assert!(
        forks
            .iter()
            .all(|event| event.header().args[1] == u64::from(leader))
    );
}

#[test]
fn exec_by_a_thread_takes_the_leaders_id() {
    let (events, status) = watch(actor(&["exec-thread"]), &["execve", "exit_group"]);
    assert_eq!(exit_code(status), 0);
    lives_are_whole(&events);
    let execs = of_kind(&events, EventKind::Exec);
    assert_eq!(execs.len(), 2);
    let (first, second) = (execs[0].header(), execs[1].header());
    assert_eq!((second.tgid, second.tid), (first.tgid, first.tgid));
    assert_eq!(execs[1].text(0), "/bin/true");
    // the first thread and the sleeping one; then the first again, at the end of the new program
    let ends: Vec<u32> = of_kind(&events, EventKind::Exit)
        .iter()
        .map(|event| event.header().tid)
        .collect();
    assert_eq!(ends.len(), 3, "{ends:?}");
    assert_eq!(ends.iter().filter(|tid| **tid == first.tgid).count(), 2);
    // the kernel reports no status of the first thread; the sleeping one's says what it would be
    let statuses: Vec<i64> = of_kind(&events, EventKind::Exit)
        .iter()
        .map(|event| event.header().ret)
        .collect();
    assert_eq!(statuses, [0, 0, 0]);
}

#[test]
fn a_leader_may_leave_before_its_threads() {
    let (events, status) = watch(actor(&["leader-leaves"]), &["open", "openat"]);
    assert_eq!(exit_code(status), 0);
    assert_eq!(of_kind(&events, EventKind::Exit).len(), 2);
}

#[test]
fn every_birth_has_its_end_whoever_is_killed_when() {
    let (events, status) = watch(actor(&["kill-storm", "150"]), &["execve"]);
    assert_eq!(exit_code(status), 0);
    lives_are_whole(&events);
}

#[test]
fn long_argument_vectors_are_cut_where_the_limit_says() {
    let (events, _) = watch(actor(&["wide-exec", "600"]), &["execve"]);
    let exec = of_kind(&events, EventKind::Exec)[1].event();
    let said = exec.argument(1).expect("argv as the program said it");
    assert_eq!(said.status, Status::Truncated);
    assert_eq!(said.encoding, Encoding::Strings);
    assert!(said.bytes.len() <= 4096 && said.bytes.len() > 4000);
    for (at, string) in said.strings().enumerate().skip(1).take(200) {
        assert_eq!(string, format!("argument-{at}").as_bytes());
    }
    let (events, _) = watch(actor(&["wide-exec", "100"]), &["execve"]);
    let exec = of_kind(&events, EventKind::Exec)[1].event();
    let said = exec.argument(1).expect("argv as the program said it");
    assert_eq!((said.status, said.strings().count()), (Status::Whole, 101));
    let has = exec.fact(Fact::Argv).expect("argv as the kernel has it");
    assert_eq!(said.bytes, has.bytes);
}

#[test]
fn a_changed_user_shows_in_the_next_event() {
    if host().capabilities == 0 {
        println!("only a privileged process can change its user: nothing to test");
        return;
    }
    let (events, _) = watch(actor(&["setuid"]), &["openat", "open"]);
    let last = events
        .iter()
        .rfind(|event| event.kind() == EventKind::Syscall)
        .expect("the last open");
    assert_eq!((last.header().uid, last.header().gid), (4242, 4242));
}

#[test]
fn both_ends_of_a_connection_are_captured() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    for scene in ["connect", "connect-later"] {
        let (events, status) = watch(actor(&[scene, &port.to_string()]), &["connect"]);
        assert_eq!(exit_code(status), 0, "{scene}");
        let connect = named(&events, "connect")[0].event();
        let tuple = connect.tuple().expect("both ends");
        assert_eq!(i32::from(tuple.family), libc::AF_INET, "{scene}");
        assert_eq!(i32::from(tuple.protocol), libc::IPPROTO_TCP, "{scene}");
        assert_eq!(tuple.remote_port, port, "{scene}");
        assert_eq!(
            (&tuple.local[..4], &tuple.remote[..4]),
            (&[127, 0, 0, 1][..], &[127, 0, 0, 1][..])
        );
        let (_, peer) = listener.accept().expect("the connection");
        assert_eq!(tuple.local_port, peer.port(), "{scene}");
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn a_32_bit_programs_call_that_a_handler_ends_is_told_from_one_that_is_made_again() {
    let (events, status) = watch(command(interrupted_path(), &[]), &["read"]);
    assert_eq!(exit_code(status), 0);
    let reads: Vec<i64> = events
        .iter()
        .filter(|event| event.event().abi() == Abi::I386 && event.name() == "read")
        .map(|event| event.event().header().ret)
        .collect();
    let eintr = -i64::from(libc::EINTR);
    assert_eq!(reads, [eintr, eintr, 1]);
}

#[test]
#[cfg(target_arch = "x86_64")]
fn a_32_bit_program_is_captured_with_its_own_abi() {
    let (events, status) = watch(
        command(narrow_path(), &[]),
        &["open", "writev", "execve", "exit_group"],
    );
    assert_eq!(exit_code(status), 0);
    let of_narrow: Vec<&Kept> = events
        .iter()
        .filter(|event| event.event().abi() == Abi::I386)
        .collect();
    let names: Vec<&str> = of_narrow.iter().map(|event| event.name()).collect();
    assert_eq!(names, ["open", "writev", "execve"]);
    assert_eq!(of_narrow[0].text(0), "/dev/null");
    assert_eq!(of_narrow[1].text(1), "narrow words");
    let exec = of_narrow[2].event();
    let argv: Vec<&[u8]> = exec.argument(1).expect("argv").strings().collect();
    assert_eq!(argv, [&b"true"[..], b"narrow"]);
}

#[test]
fn a_wider_selection_takes_effect_at_once() {
    let mut capture = open(actor(&["opens", "2000"]), &["close"]).expect("the driver opens");
    let mut closes = 0;
    until(capture.as_mut(), |event| {
        closes += u32::from(event.name() == "close");
        closes > 500
    })
    .expect("the capture goes on");
    capture
        .select(&calls(&["openat", "open"]).into())
        .expect("a wider selection");
    let (events, status) = until(capture.as_mut(), |_| false).expect("the capture goes on");
    assert_eq!(exit_code(status.flatten().expect("a wait status")), 0);
    let opens = events
        .iter()
        .filter(|event| event.name().starts_with("open"))
        .count();
    // the dynamic loader opens some files, too
    assert!((1490..=1510).contains(&opens), "{opens} opens");
    assert!(named(&events, "close").len() <= 1);
}

#[test]
fn a_sink_that_stops_gets_no_further_event() {
    let mut capture = open(actor(&["exec-thread"]), &["execve"]).expect("the driver opens");
    let mut kinds = Vec::new();
    let begin = Instant::now();
    loop {
        assert!(begin.elapsed() < PATIENCE);
        let mut delivered = 0;
        let polled = capture
            .poll(Duration::from_millis(50), &mut |event| {
                delivered += 1;
                kinds.push(event.kind());
                Flow::Stop
            })
            .expect("the capture goes on");
        assert!(delivered <= 1, "{delivered} events after Stop: {kinds:?}");
        if let Polled::Ended(_) = polled {
            break;
        }
    }
    assert_eq!(
        kinds
            .iter()
            .filter(|kind| **kind == EventKind::Exec)
            .count(),
        2
    );
    assert_eq!(
        kinds
            .iter()
            .filter(|kind| **kind == EventKind::Fork)
            .count(),
        2
    );
    assert_eq!(
        kinds
            .iter()
            .filter(|kind| **kind == EventKind::Exit)
            .count(),
        3
    );
}

#[test]
fn a_program_that_cannot_be_executed_is_named_with_its_reason() {
    // a folder, which cannot be executed
    let mut capture = open(command(Path::new("/etc"), &[]), &["openat"]).expect("opens");
    let error = until(capture.as_mut(), |_| false).err().expect("an error");
    let error = Chain(&error).to_string();
    assert!(
        error.contains("/etc") && error.contains("denied"),
        "{error}"
    );
    assert!(matches!(
        capture.poll(Duration::ZERO, &mut |_| Flow::Continue),
        Ok(Polled::Ended(_))
    ));
}

#[test]
fn a_process_that_does_not_exist_is_named() {
    let error =
        open(driver_api::request::Target::Pids(vec![4_194_303]), &[]).expect_err("no such process");
    assert!(
        matches!(&error, OpenError::Target(why) if why.to_string().contains("4194303")),
        "{error}"
    );
}

#[test]
fn a_dropped_capture_ends_its_command_and_all_descendants() {
    let count = std::env::temp_dir().join(format!("lanner-forks-{}", std::process::id()));
    for _ in 0..10 {
        let mut capture = open(
            actor(&["forks", &count.display().to_string()]),
            &["execve", "getpid"],
        )
        .expect("opens");
        let mut forks = 0;
        let (events, _) = until(capture.as_mut(), |event| {
            forks += u32::from(event.kind() == EventKind::Fork);
            forks > 20
        })
        .expect("the capture goes on");
        let begin = Instant::now();
        drop(capture);
        assert!(
            begin.elapsed() < Duration::from_secs(3),
            "dropping takes {:?}",
            begin.elapsed()
        );
        let pid = events[0].header().tgid;
        assert!(
            !Path::new(&format!("/proc/{pid}/task")).exists(),
            "{pid} lives"
        );
    }
    std::fs::remove_file(count).expect("the count");
}

#[test]
fn a_command_that_was_not_run_ends_with_its_capture() {
    for widened in [false, true] {
        let mut capture = open(actor(&["group-stop"]), &["execve"]).expect("opens");
        if widened {
            capture
                .select(&calls(&["getpid"]).into())
                .expect("a wider selection");
        }
        let begin = Instant::now();
        drop(capture);
        assert!(
            begin.elapsed() < Duration::from_secs(1),
            "{:?}",
            begin.elapsed()
        );
    }
}

/// The selection of fcntl(2) with one command.
fn fcntl_with(command: i32) -> Selection {
    let call = table::by_name("fcntl").expect("a call of the table");
    let test = ArgTest {
        param: 1,
        mask: 0xffff_ffff,
        value: u64::from(command.unsigned_abs()),
        equal: true,
    };
    let predicate = Predicate::of(call, &[Clause::test(test)]).expect("fcntl has a command");
    let mut selection = Selection::default();
    selection.add(call, &predicate);
    selection
}

#[test]
fn a_call_that_no_predicate_wants_does_not_stop() {
    const CALLS: usize = 1000;
    let watch = |selection: Selection, then: Option<&Selection>| {
        let target = actor(&["stops", &CALLS.to_string()]);
        let mut capture = open_selected(&Ptrace, &host(), target, selection).expect("opens");
        if let Some(then) = then {
            capture.select(then).expect("another selection");
        }
        let (events, end) = until(capture.as_mut(), |_| false).expect("the capture goes on");
        let asked = named(&events, "fcntl")
            .iter()
            .filter(|event| event.header().args[1] == libc::F_GETFD as u64)
            .count();
        (asked, exit_code(end.flatten().expect("a status")))
    };
    let (wanted, unwanted) = (fcntl_with(libc::F_GETFD), fcntl_with(libc::F_SETFD));
    assert_eq!(watch(unwanted.clone(), None), (0, 0));
    assert_eq!(watch(wanted.clone(), None), (CALLS, 1));
    // the filter stays: every call has to stop
    assert_eq!(watch(unwanted.clone(), Some(&wanted)), (CALLS, 1));
    // what the filter stops for the first selection alone is not delivered
    assert_eq!(watch(wanted, Some(&unwanted)), (0, 1));
}

#[test]
fn getpid_loop_for_its_speed() {
    let calls = 20_000;
    actor_path();
    let alone = Instant::now();
    std::process::Command::new(actor_path())
        .args(["getpid", &calls.to_string()])
        .status()
        .expect("runs");
    let alone = alone.elapsed();
    for (what, names) in [("selected", &["getpid"][..]), ("not selected", &["unlink"])] {
        let begin = Instant::now();
        let (events, _) = watch(actor(&["getpid", &calls.to_string()]), names);
        println!(
            "{calls} getpid, {what}: {:?} (alone {alone:?}), {} events",
            begin.elapsed(),
            events.len()
        );
    }
}
