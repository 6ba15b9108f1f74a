//! What a program does to hide from its tracer is seen.

use driver_api::driver::Driver;
use driver_api::event::{Abi, EventKind, Status};
use driver_api::host::{Host, capability};
use driver_ptrace::{Notify, Ptrace};
use test_support::skipped;

use crate::stage::*;

fn scene(name: &str) -> driver_api::request::Target {
    command(scenes_path(), &[name])
}

/// This host, for a lanner that may not read everything.
fn without_privilege() -> Host {
    let host = host();
    Host {
        capabilities: host.capabilities & !(1 << capability::SYS_PTRACE),
        ..host
    }
}

#[test]
fn a_call_that_its_thread_is_killed_in_has_its_result_and_its_data() {
    for names in [&["write", "read"][..], &everything()] {
        let (events, status) = watch(scene("killed-in-a-call"), names);
        assert_eq!(exit_code(status), 0);
        lives_are_whole(&events);
        let parent = events[0].header().tid;
        let writes = named(&events, "write");
        let killed = writes.iter().find(|event| event.header().tid != parent);
        let killed = killed.expect("the write of the child that was killed");
        // a pipe holds that much (pipe(7)), and the parent has read a little
        assert!(
            (4096..1 << 20).contains(&killed.header().ret),
            "{:?}",
            killed.header()
        );
        assert!(
            killed.text(1).starts_with("the first words"),
            "{:?}",
            killed.text(1)
        );
    }
}

#[test]
fn filters_of_a_programs_own_hide_none_of_its_calls() {
    for names in [&["openat"][..], &everything()] {
        let (events, status) = watch(scene("hidden-by-filters"), names);
        assert_eq!(exit_code(status), 0);
        lives_are_whole(&events);
        let result = |path: &str| {
            let opens = named(&events, "openat");
            let mut of_path = opens.iter().filter(|event| event.text(1) == path);
            let result = of_path.next().map(|event| event.header().ret);
            assert!(of_path.next().is_none(), "{path} is told twice");
            result
        };
        assert_eq!(result("/refused-a"), Some(-i64::from(libc::EXDEV)));
        assert_eq!(result("/refused-b"), Some(-i64::from(libc::EXDEV)));
        assert!(result("/dev/null").is_some_and(|fd| fd >= 0));
        assert!(result("/dev/zero").is_some_and(|fd| fd >= 0), "in a child");
    }
}

#[test]
fn a_program_cannot_close_its_memory_to_a_lanner_without_privilege() {
    let modes: [&dyn Driver; 2] = [&Ptrace, &Notify];
    for driver in modes {
        for names in [&["openat"][..], &["openat", "prctl"], &everything()] {
            let target = scene("closed-memory");
            let (events, status) = watch_on(driver, &without_privilege(), target, names);
            assert_eq!(exit_code(status), 61, "{driver:?}");
            let opens = named(&events, "openat");
            assert!(opens.iter().any(|event| event.text(1) == "/dev/null"));
            // the event has what the program asked for
            let asked = named(&events, "prctl");
            let asked = asked.iter().map(|event| event.header().args);
            let hides = asked.filter(|args| args[..2] == [4, 0]).count();
            assert_eq!(hides, usize::from(names.contains(&"prctl")), "{driver:?}");
        }
        let privileged = watch_on(driver, &host(), scene("closed-memory"), &["openat"]);
        if host().has(capability::SYS_PTRACE) {
            assert_eq!(exit_code(privileged.1), 60, "{driver:?}");
        }
    }
}

#[test]
fn a_capture_keeps_others_out_of_its_process_and_not_out_of_its_command() {
    let modes: [&dyn Driver; 2] = [&Ptrace, &Notify];
    for driver in modes {
        let target = shell("exec 3</proc/self/environ && exit 4");
        let (_, status) = watch_on(driver, &host(), target, &["openat"]);
        assert_eq!(exit_code(status), 4, "{driver:?}");
        // SAFETY: this operation takes numbers.
        let dumpable = unsafe { libc::prctl(libc::PR_GET_DUMPABLE, 0, 0, 0, 0) };
        assert_eq!(dumpable, 0, "{driver:?}");
    }
}

#[test]
fn a_page_that_never_comes_is_a_fault_and_holds_nobody_up() {
    let modes: [&dyn Driver; 2] = [&Ptrace, &Notify];
    for driver in modes {
        for names in [&["write"][..], &everything()] {
            let target = scene("withheld-memory");
            let (events, status) = watch_on(driver, &host(), target, names);
            if exit_code(status) == 63 {
                skipped("this user may not use userfaultfd(2)");
                return;
            }
            assert_eq!(exit_code(status), 0, "{driver:?}");
            let writes = named(&events, "write");
            let write = writes.iter().find(|event| event.header().args[2] == 16);
            let write = write.expect("the call").event();
            let data = write.argument(1).expect("its memory");
            assert_eq!(data.status, Status::Fault, "{driver:?}");
        }
    }
}

/// The call `write` of a scene whose memory lanner cannot have. None: this user may not run the scene.
fn write_of_late_memory(driver: &dyn Driver, name: &str, names: &[&str]) -> Option<Status> {
    let (events, status) = watch_on(driver, &host(), scene(name), names);
    if exit_code(status) == 63 {
        skipped("this user may not mount a FUSE file system");
        return None;
    }
    assert_eq!(exit_code(status), 0, "{driver:?} {name}");
    let writes = named(&events, "write");
    let late = |event: &&&Kept| {
        let args = event.header().args;
        (args[0] as i32, args[2]) == (-1, 16)
    };
    let write = writes.iter().find(late).expect("the call").event();
    Some(write.argument(1).expect("its memory").status)
}

#[test]
fn a_page_of_a_file_system_that_never_answers_is_a_fault_and_holds_nobody_up() {
    let modes: [&dyn Driver; 2] = [&Ptrace, &Notify];
    for driver in modes {
        for names in [&["write", "execve"][..], &everything()] {
            let Some(status) = write_of_late_memory(driver, "late-memory", names) else {
                return;
            };
            assert_eq!(status, Status::Fault, "{driver:?}");
        }
    }
}

#[test]
fn memory_that_its_process_keeps_locked_is_a_fault_and_holds_nobody_up() {
    let modes: [&dyn Driver; 2] = [&Ptrace, &Notify];
    for driver in modes {
        let Some(status) = write_of_late_memory(driver, "locked-memory", &["write"]) else {
            return;
        };
        assert_eq!(status, Status::Fault, "{driver:?}");
    }
}

/// A program whose file this user may not read, run by nobody: only CAP_SYS_PTRACE could read its memory.
#[test]
fn events_of_a_program_that_may_not_be_read_are_counted_as_lost() {
    // SAFETY: these calls take numbers.
    if unsafe { libc::geteuid() } != 0 {
        skipped("only root can make itself a user who may not read a program");
        return;
    }
    let folder = std::env::temp_dir().join(format!("lanner-closed-{}", std::process::id()));
    std::fs::create_dir(&folder).expect("a folder");
    let program = folder.join("closed");
    std::fs::copy(actor_path(), &program).expect("a program");
    for (path, mode) in [(&folder, 0o755), (&program, 0o711)] {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(path, mode).expect("its mode");
    }
    // a process of its own: no thread of this one must change its user
    // SAFETY: the child runs the capture and ends; the test process has other threads, whose locks it does not need
    // once it has changed its user.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: these calls take numbers.
        let changed = unsafe { libc::setgid(65534) == 0 && libc::setuid(65534) == 0 };
        let mut capture = open_on(
            &Ptrace,
            &without_privilege(),
            command(&program, &["vfork"]),
            &["openat"],
        )
        .expect("the driver opens");
        let (events, _) = until(capture.as_mut(), |_| false).expect("the capture goes on");
        let lost = capture.stats().lost_total();
        let told: u64 = of_kind(&events, EventKind::Lost)
            .iter()
            .map(|event| event.header().args[0])
            .sum();
        let good = changed && lost > 0 && told > 0 && told <= lost;
        eprintln!("lost {lost}, told {told}");
        // SAFETY: ends the child without the exit handlers of the test.
        unsafe { libc::_exit(i32::from(!good)) };
    }
    let mut status = 0;
    // SAFETY: the kernel writes one int.
    unsafe { libc::waitpid(child, &raw mut status, 0) };
    std::fs::remove_dir_all(&folder).expect("the folder");
    assert_eq!(exit_code(status), 0);
}

/// Has every PTRACE_GET_SYSCALL_INFO of this thread fail as before Linux 5.3.
fn as_an_old_kernel() {
    const GET_SYSCALL_INFO: u32 = 0x420e;
    let op = |code: u32, jt, jf, k| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let give = libc::BPF_RET | libc::BPF_K;
    let mut code = [
        op(load, 0, 0, 0),
        op(equal, 0, 3, libc::SYS_ptrace as u32),
        op(load, 0, 0, 16),
        op(equal, 0, 1, GET_SYSCALL_INFO),
        op(give, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EIO as u32),
        op(give, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: code.len() as u16,
        filter: code.as_mut_ptr(),
    };
    // SAFETY: the kernel reads the program, which outlives the call; prctl takes numbers.
    unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        let set = libc::syscall(libc::SYS_seccomp, 1, 0, &raw const program);
        assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
    }
}

fn sees_the_abi_of_each_call() {
    let (events, status) = watch(scene("by-another-number"), &["open", "fstat"]);
    if exit_code(status) == 62 {
        return;
    }
    let opens = named(&events, "open");
    let open = opens.iter().find(|event| event.text(0) == "/dev/null");
    let open = open.expect("the call by the number of 32-bit programs");
    assert_eq!(open.event().abi(), Abi::I386);
    let stats = named(&events, "fstat");
    assert!(stats.iter().any(|event| {
        event.event().abi() == Abi::X86_64 && event.header().ret == -i64::from(libc::EFAULT)
    }));
}

#[test]
fn a_call_by_the_number_of_32_bit_programs_is_told_as_what_it_is() {
    sees_the_abi_of_each_call();
}

#[test]
fn a_kernel_that_does_not_tell_the_abi_of_a_call_is_not_needed_for_it() {
    let old = std::thread::spawn(|| {
        as_an_old_kernel();
        sees_the_abi_of_each_call();
        // where every call stops, the filter's answer does not help
        let (events, status) = watch(scene("by-another-number"), &everything());
        if exit_code(status) == 0 {
            let opens = named(&events, "open");
            assert!(opens.iter().any(|event| event.text(0) == "/dev/null"));
        }
    });
    old.join().expect("the thread with the filter");
}
