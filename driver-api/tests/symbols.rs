//! The values of `symbols.tbl` are those of the system's headers: a C compiler compares each name
//! that they define. Needs cc and the headers of libc and the kernel; for aarch64 a cross compiler.
#![expect(
    clippy::expect_used,
    reason = "a test stops where the compiler cannot be run"
)]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use driver_api::table::{AARCH64, SYMBOL_SETS};

/// The units to compile: headers that contradict each other are in different ones.
const UNITS: &[&[&str]] = &[
    &[
        "fcntl.h",
        "sys/socket.h",
        "netinet/in.h",
        "netinet/tcp.h",
        "sys/mman.h",
        "sys/mount.h",
        "signal.h",
        "errno.h",
        "sched.h",
        "sys/ptrace.h",
        "sys/prctl.h",
        "sys/ioctl.h",
    ],
    &[
        "asm/fcntl.h",
        "asm/termbits.h",
        "asm/socket.h",
        "linux/fs.h",
        "linux/sockios.h",
        "linux/random.h",
        "linux/loop.h",
        "linux/if_tun.h",
        "linux/perf_event.h",
        "linux/nsfs.h",
        "linux/userfaultfd.h",
        "linux/vt.h",
        "linux/kd.h",
        "linux/rtc.h",
        "linux/seccomp.h",
        "linux/dm-ioctl.h",
        "linux/fscrypt.h",
        "linux/fsverity.h",
        "linux/hdreg.h",
        "linux/vm_sockets.h",
        "linux/watchdog.h",
        "linux/prctl.h",
        "linux/capability.h",
        "linux/memfd.h",
        "linux/module.h",
        "linux/openat2.h",
        "linux/sched.h",
        "linux/netlink.h",
        "linux/if_packet.h",
        "linux/if_ether.h",
        "linux/if_arp.h",
        "linux/udp.h",
        "linux/filter.h",
    ],
    &["linux/in.h", "linux/in6.h", "linux/tcp.h"],
    &[
        "linux/bpf.h",
        "linux/io_uring.h",
        "linux/aio_abi.h",
        "linux/keyctl.h",
        "linux/landlock.h",
        "linux/magic.h",
        "linux/mempolicy.h",
        "linux/membarrier.h",
        "linux/futex.h",
        "linux/kcmp.h",
        "linux/kexec.h",
        "linux/reboot.h",
        "linux/rseq.h",
        "linux/securebits.h",
        "linux/timex.h",
        "linux/xattr.h",
        "linux/fanotify.h",
        "linux/elf.h",
        "linux/ioprio.h",
        "linux/personality.h",
        "linux/mount.h",
        "linux/falloc.h",
        "linux/close_range.h",
        "linux/if.h",
        "asm/prctl.h",
    ],
    &[
        "sys/epoll.h",
        "sys/eventfd.h",
        "sys/inotify.h",
        "sys/ipc.h",
        "sys/msg.h",
        "sys/personality.h",
        "sys/reboot.h",
        "sys/resource.h",
        "sys/sem.h",
        "sys/shm.h",
        "sys/signalfd.h",
        "sys/stat.h",
        "sys/statvfs.h",
        "sys/swap.h",
        "sys/time.h",
        "sys/timerfd.h",
        "sys/timex.h",
        "sys/wait.h",
        "sys/xattr.h",
        "sys/file.h",
        "poll.h",
        "termios.h",
        "time.h",
        "unistd.h",
        "signal.h",
    ],
    &["asm/ptrace.h", "linux/ptrace.h"],
];

/// Every name with its value in a layout, the names of fields included.
fn symbols(layout: usize) -> BTreeSet<(&'static str, u64)> {
    let single = SYMBOL_SETS.iter().flat_map(|set| set.of(layout).values);
    let fields = SYMBOL_SETS.iter().flat_map(|set| set.fields);
    single
        .chain(fields.flat_map(|(_, values)| *values))
        .map(|(value, name)| (*name, *value))
        // `21<<MAP_HUGE_SHIFT` is no C name; glibc's O_LARGEFILE and locks depend on its own ABI, and O_DIRECTORY is part
        // of its __O_TMPFILE.
        .filter(|(name, _)| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'))
        .filter(|(name, _)| !matches!(*name, "O_LARGEFILE" | "__O_TMPFILE" | "SIGRTMIN"))
        .filter(|(name, _)| !matches!(*name, "F_GETLK64" | "F_SETLK64" | "F_SETLKW64"))
        .collect()
}

/// What a compiler says about a unit.
fn compile(cc: &str, source: &str) -> String {
    let mut cc = Command::new(cc)
        .args(["-x", "c", "-fsyntax-only", "-w", "-fmax-errors=0", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("cc runs");
    let mut input = cc.stdin.take().expect("a pipe");
    input.write_all(source.as_bytes()).expect("cc reads");
    drop(input);
    let output = cc.wait_with_output().expect("cc ends");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The errors that count. A request of ioctl(2) has the size of a structure in it, which these
/// headers need not define; such a name is left alone, like an enumerator that is too new.
fn wrong(errors: &str) -> Vec<String> {
    errors
        .lines()
        // gcc's words and clang's
        .filter(|line| {
            line.contains("static assertion failed")
                || line.contains("static_assert failed")
                || line.contains("fatal error")
        })
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_wrong_value_is_found() {
    let errors = compile(
        "cc",
        "#include <errno.h>\n_Static_assert(ENOENT == 3, \"ENOENT\");\n",
    );
    assert_eq!(wrong(&errors).len(), 1, "{errors}");
}

/// Headers that one architecture alone has.
const OF_X86: &[&str] = &["asm/prctl.h"];

#[test]
#[cfg(target_arch = "x86_64")]
fn values_are_those_of_the_headers() {
    compare("cc", 0, &[]);
}

/// The compiler that `tools/arm64/setup` makes, or Debian's.
fn cross_compiler() -> Option<String> {
    let ours = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/arm64/cc");
    [ours, "aarch64-linux-gnu-gcc"]
        .into_iter()
        .find(|cc| Command::new(cc).arg("--version").output().is_ok())
        .map(str::to_owned)
}

#[test]
fn values_of_aarch64_are_those_of_its_headers() {
    let Some(cc) = cross_compiler() else {
        println!("skipped: no compiler for aarch64 (tools/arm64/setup fetches one)");
        return;
    };
    compare(&cc, AARCH64, OF_X86);
}

fn compare(cc: &str, layout: usize, without: &[&str]) {
    let symbols = symbols(layout);
    assert!(symbols.len() > 1000, "symbols.tbl has lost its symbols");
    for unit in UNITS {
        let mut source = String::from("#define _GNU_SOURCE\n");
        for header in unit.iter().filter(|header| !without.contains(header)) {
            let _ = writeln!(source, "#include <{header}>");
        }
        for (name, value) in &symbols {
            // Bit 31 of an int is the sign of the number that a wider type would have.
            let width = if *value > u64::from(u32::MAX) {
                "unsigned long"
            } else {
                "unsigned"
            };
            // a name that this unit does not have is another error, which does not count: `#ifdef` would
            // not see enumerators
            let _ = writeln!(
                source,
                "_Static_assert(({width})({name}) == {value}u, \"{name}\");"
            );
        }
        let wrong = wrong(&compile(cc, &source));
        assert!(wrong.is_empty(), "{unit:?}:\n{}", wrong.join("\n"));
    }
}

#[test]
fn no_set_names_a_value_twice() {
    for set in SYMBOL_SETS {
        let values: BTreeSet<u64> = set.values.iter().map(|(value, _)| *value).collect();
        assert_eq!(values.len(), set.values.len(), "{}", set.name);
        assert!(
            !set.values.is_empty() || !set.fields.is_empty(),
            "{} is empty",
            set.name
        );
    }
}
