//! strace as the oracle: a program makes the same calls under the real strace, and its lines must equal
//! lanner's. Needs cc and strace.

use std::fmt::Write as _;
use std::{fs, process::Command};

use driver_api::event::Abi;
use driver_api::table;

use super::Arg::{self, M, N, S, V};
use super::{line, neg};

fn words(words: &[u64]) -> Arg {
    M(words.iter().flat_map(|w| w.to_ne_bytes()).collect())
}

fn halves(halves: &[u32]) -> Arg {
    M(halves.iter().flat_map(|w| w.to_ne_bytes()).collect())
}

fn cwd() -> Arg {
    neg(-100)
}

/// An ioctl with a number.
fn set(request: u64, number: u64) -> (&'static str, Vec<Arg>) {
    ("ioctl", vec![neg(-1), N(request), N(number)])
}

/// An ioctl with memory.
fn give(request: u64, bytes: Arg) -> (&'static str, Vec<Arg>) {
    ("ioctl", vec![neg(-1), N(request), bytes])
}

fn requests() -> Vec<(&'static str, Vec<Arg>)> {
    let interface = |rest: &[u8]| M([b"lo\0\0\0\0\0\0\0\0\0\0\0\0\0\0", rest, &[0; 20]].concat());
    vec![
        // consoles: KDSETMODE, KDSKBMODE, KDSKBLED, KDKBDREP
        set(0x4b3a, 1),
        set(0x4b45, 3),
        set(0x4b65, 5),
        give(0x4b52, halves(&[250, 33])),
        // network block devices: NBD_SET_FLAGS
        set(0xab0a, 0x102),
        // SIOCSIFMETRIC, SIOCSIFTXQLEN
        give(0x891e, interface(&[7, 0, 0, 0])),
        give(0x8943, interface(&[9, 0, 0, 0])),
        // SECCOMP_IOCTL_NOTIF_SEND, SECCOMP_IOCTL_NOTIF_ADDFD
        give(0xc018_2101, words(&[5, 6, 1 << 32])),
        give(0x4018_2103, halves(&[5, 0, 1, 4, 9, 0x80000])),
        // UFFDIO_COPY, UFFDIO_ZEROPAGE
        give(0xc028_aa03, words(&[0x1000, 0x2000, 0x1000, 1, 0])),
        give(0xc020_aa04, words(&[0x1000, 0x2000, 1, 0])),
        // PTP_EXTTS_REQUEST
        give(0x4010_3d02, halves(&[3, 7, 0, 0])),
        // BLKDISCARD
        give(0x1277, words(&[512, 4096])),
    ]
}

/// A call with a socket address.
fn bind(bytes: &[u8]) -> (&'static str, Vec<Arg>) {
    (
        "bind",
        vec![neg(-1), M(bytes.to_vec()), N(bytes.len() as u64)],
    )
}

fn padded(bytes: &[u8], len: usize) -> Vec<u8> {
    let mut all = bytes.to_vec();
    all.resize(len, 0);
    all
}

fn files() -> Vec<(&'static str, Vec<Arg>)> {
    let mut calls = vec![
        (
            "mkdirat",
            vec![
                neg(-1),
                S(b"x\x1b3\x018\x029\x03\xff\"\\\n\t\r\x0b\x0c\x7f"),
                N(0o1777),
            ],
        ),
        ("chmod", vec![S(b"/nonexistent"), N(0o4755)]),
        ("chmod", vec![S(b"/nonexistent"), N(0)]),
        ("chmod", vec![S(b"/nonexistent"), N(7)]),
        ("chmod", vec![S(b"/nonexistent"), N(0o70)]),
        (
            "fchownat",
            vec![cwd(), S(b"/nonexistent"), N(0), neg(-1), N(0x100)],
        ),
        (
            "linkat",
            vec![cwd(), S(b"/nonexistent"), neg(-1), S(b"b"), N(0x400)],
        ),
        ("unlinkat", vec![cwd(), S(b"/nonexistent"), N(0x200)]),
        ("unlinkat", vec![cwd(), S(b"/nonexistent"), N(0x4)]),
        ("renameat2", vec![neg(-1), S(b"a"), neg(-1), S(b"b"), N(1)]),
        ("close", vec![neg(-1)]),
        ("write", vec![neg(-1), S(b"hello\0world"), N(11)]),
        ("pwrite64", vec![neg(-1), S(b"ab"), N(2), N(77)]),
        ("dup3", vec![neg(-1), neg(-1), N(0x80000)]),
        ("open", vec![S(b"/nonexistent/new"), N(0x8042), N(0o600)]),
        ("creat", vec![S(b"/nonexistent/x"), N(0o644)]),
        (
            "openat2",
            vec![cwd(), S(b"/nonexistent"), words(&[0x80000, 0, 8]), N(24)],
        ),
        (
            "mount",
            vec![
                S(b"a"),
                S(b"/nonexistent"),
                S(b"c"),
                N(0xc0ed_0001 | 0x400),
                N(0),
            ],
        ),
        ("umount2", vec![S(b"/nonexistent"), N(2)]),
        (
            "splice",
            vec![neg(-1), N(0), neg(-1), words(&[7]), N(5), N(3)],
        ),
        ("sendfile", vec![neg(-1), neg(-1), N(0), N(5)]),
        ("ioctl", vec![neg(-1), N(0x5451)]),
        ("ioctl", vec![neg(-1), N(0x1234), N(1)]),
        ("ioctl", vec![neg(-1), N(0xdead_beef), N(1)]),
        ("finit_module", vec![neg(-1), S(b"x=1"), N(3)]),
        ("memfd_create", vec![S(b"m"), N(0x5400_0105)]),
    ];
    for flags in [
        0u64,
        1,
        2,
        3,
        0x80000,
        0x101_000,
        0x1000,
        0x410_002,
        0x10_000,
        0x8241,
        0x4000,
        0x200_000,
        0xff80_003c,
        0x40c2,
    ] {
        calls.push((
            "openat",
            vec![cwd(), S(b"/nonexistent/x"), N(flags), N(0o640)],
        ));
    }
    for (command, arg) in [
        (1, 0),
        (2, 1),
        (2, 0),
        (3, 0),
        (4, 0x800),
        (0, 10),
        (1030, 10),
        (10, 9),
        (1033, 3),
        (99, 5),
        (8, 5),
        (9, 0),
        (1024, 2),
    ] {
        calls.push(("fcntl", vec![neg(-1), N(command), N(arg)]));
    }
    calls.push(("fcntl", vec![N(0), N(3)]));
    calls.push(("fcntl", vec![N(0), N(1)]));
    calls
}

fn processes() -> Vec<(&'static str, Vec<Arg>)> {
    vec![
        (
            "execve",
            vec![
                S(b"/nonexistent"),
                V(vec!["ls", "-l", ""]),
                V(vec!["A=1", "B=2"]),
            ],
        ),
        (
            "execve",
            vec![S(b"/nonexistent"), V(vec![]), V(vec!["A=1"])],
        ),
        (
            "execveat",
            vec![
                cwd(),
                S(b"/nonexistent"),
                V(vec!["x"]),
                V(vec![]),
                N(0x1000),
            ],
        ),
        ("kill", vec![neg(-1_000_000), N(9)]),
        ("kill", vec![neg(-1_000_000), N(34)]),
        ("kill", vec![neg(-1_000_000), N(65)]),
        ("tgkill", vec![N(1), N(2_000_000), N(0)]),
        ("ptrace", vec![N(0x4206), neg(-1), N(0), N(0x100010)]),
        ("ptrace", vec![N(7), neg(-1), N(0), N(9)]),
        ("ptrace", vec![N(16), neg(-1)]),
        ("ptrace", vec![N(0x7777), neg(-1), N(0), N(9)]),
        ("prctl", vec![N(1), N(9)]),
        ("prctl", vec![N(4), N(1)]),
        ("prctl", vec![N(38), N(1), N(0), N(0), N(0)]),
        ("prctl", vec![N(23), N(2)]),
        ("prctl", vec![N(7)]),
        ("prctl", vec![N(999), N(2), N(0), N(3), N(0)]),
        ("setresuid", vec![neg(-1), neg(-1), neg(-1)]),
        ("setns", vec![neg(-1), N(0)]),
        ("setns", vec![neg(-1), N(0x4002_0000)]),
        ("unshare", vec![N(1)]),
        (
            "clone3",
            vec![
                words(&[0x3d_0f00, 0, 8, 16, 17, 0x7000, 0x100, 9, 0, 0, 0]),
                N(88),
            ],
        ),
        (
            "capset",
            vec![halves(&[0x2008_0522, 999_999]), halves(&[1, 2, 3, 4, 5, 0])],
        ),
        (
            "mmap",
            vec![
                N(0),
                N(4096),
                N(3),
                N(0x22 | 0x40000 | 21 << 26),
                neg(-1),
                N(0x1000),
            ],
        ),
        ("mmap", vec![N(0), N(0), N(0), N(0x32), neg(-1), N(0)]),
        ("mmap", vec![N(0), N(0), N(0x40), N(0x4), neg(-1), N(0)]),
        ("mprotect", vec![N(1), N(0), N(7)]),
        ("userfaultfd", vec![N(0x4000_0001)]),
        ("bpf", vec![N(200), N(0), N(0)]),
        ("getpid", vec![]),
    ]
}

fn clocks() -> Vec<(&'static str, Vec<Arg>)> {
    [N(1), N(99)]
        .map(|clock| ("clock_gettime", vec![clock, N(0)]))
        .to_vec()
}

fn sockets() -> Vec<(&'static str, Vec<Arg>)> {
    let inet = padded(&[2, 0, 0, 80, 127, 0, 0, 1], 16);
    let mut inet6 = padded(&[10, 0, 1, 187, 0, 0, 0, 9], 28);
    inet6[23] = 1;
    inet6[24] = 3;
    let mut v4mapped = padded(&[10, 0, 1, 187], 28);
    v4mapped[18..24].copy_from_slice(&[255, 255, 1, 2, 3, 4]);
    vec![
        ("socket", vec![N(99), N(1), N(0)]),
        ("socket", vec![N(2), N(0x80802), N(300)]),
        ("socket", vec![N(2), N(7), N(6)]),
        ("socket", vec![N(16), N(0), N(15)]),
        ("socket", vec![N(17), N(0), N(0x300)]),
        ("socket", vec![N(1), N(0), N(0)]),
        ("accept4", vec![neg(-1), N(0), N(0), N(0x80800)]),
        ("connect", vec![neg(-1), M(inet.clone()), N(16)]),
        (
            "sendto",
            vec![neg(-1), S(b"ab"), N(2), N(0x4040), M(inet), N(16)],
        ),
        (
            "sendto",
            vec![neg(-1), N(0), N(0), N(0x3bf0_0001), N(0), N(0)],
        ),
        ("listen", vec![neg(-1), N(128)]),
        ("shutdown", vec![neg(-1), N(2)]),
        ("shutdown", vec![neg(-1), N(5)]),
        ("setsockopt", vec![neg(-1), N(1), N(2), halves(&[1]), N(4)]),
        (
            "setsockopt",
            vec![neg(-1), N(1), N(13), halves(&[5, 1]), N(8)],
        ),
        ("setsockopt", vec![neg(-1), N(6), N(200), S(b"\0\0"), N(2)]),
        ("setsockopt", vec![neg(-1), N(999), N(200), S(b"ab"), N(2)]),
        bind(&inet6),
        bind(&inet6[..24]),
        bind(&inet6[..20]),
        bind(&v4mapped),
        bind(b"\x01\0"),
        bind(b"\x01\0/run/x\0"),
        bind(b"\x01\0/run/x\0abc"),
        bind(b"\x01\0\0a\0b"),
        bind(&[16, 0, 0, 0, 5, 0, 0, 0, 3, 0, 0, 0]),
        bind(&[16, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]),
        bind(&[
            17, 0, 0, 3, 99, 0, 0, 0, 1, 0, 4, 6, 0xaa, 0, 1, 0, 0, 0, 0, 0,
        ]),
        bind(&[99, 0, 1, 2, 3]),
        bind(&[0, 0]),
        bind(&[0; 16]),
    ]
}

/// C for an argument: a declaration and an expression.
fn c(arg: &Arg, name: &str, declarations: &mut String) -> String {
    let bytes = |bytes: &[u8]| -> String {
        let all: Vec<String> = bytes.iter().map(u8::to_string).collect();
        all.join(",")
    };
    let _ = match arg {
        N(number) => return format!("{number}ul"),
        M(memory) => writeln!(
            declarations,
            "static unsigned char {name}[] = {{{}}};",
            bytes(memory)
        ),
        S(text) => writeln!(
            declarations,
            "static unsigned char {name}[] = {{{},0}};",
            bytes(text)
        ),
        V(strings) => {
            let all: String = strings.iter().map(|s| format!("\"{s}\",")).collect();
            writeln!(declarations, "static char *{name}[] = {{{all}0}};")
        }
    };
    format!("(unsigned long){name}")
}

/// Replaces the address before `/* N vars */`.
fn without_addresses(line: &str) -> String {
    match (line.find(" /* "), line.rfind("0x")) {
        (Some(remark), Some(address)) if line.contains(" var") && address < remark => {
            format!("{}ENV{}", &line[..address], &line[remark..])
        }
        _ => line.to_owned(),
    }
}

#[test]
fn lines_are_those_of_strace() {
    let calls: Vec<_> = [files(), processes(), sockets(), clocks(), requests()].concat();
    let (mut declarations, mut body) = (String::new(), String::new());
    for (at, (name, args)) in calls.iter().enumerate() {
        let nr = table::by_name(name).and_then(|call| call.number(Abi::X86_64));
        let mut list = nr.expect("a number").to_string();
        for (place, arg) in args.iter().enumerate() {
            let _ = write!(
                list,
                ", {}",
                c(arg, &format!("a{at}_{place}"), &mut declarations)
            );
        }
        let _ = writeln!(
            body,
            "\tr[{at}] = syscall({list}); if (r[{at}] < 0) r[{at}] = -errno;"
        );
    }
    let count = calls.len();
    let source = format!(
        "#include <unistd.h>\n#include <errno.h>\n#include <stdio.h>\n#include <sys/syscall.h>\n{declarations}\n\
         int main(void) {{\n\tstatic long r[{count}];\n\tsyscall(SYS_getppid);\n{body}\
         \tfor (int i = 0; i < {count}; i++) printf(\"%ld\\n\", r[i]);\n\treturn 0;\n}}\n"
    );
    let dir = std::env::temp_dir().join(format!("lanner-decode-{}", std::process::id()));
    fs::create_dir_all(&dir).expect("a directory");
    let (text, program, trace) = (dir.join("calls.c"), dir.join("calls"), dir.join("trace"));
    fs::write(&text, source).expect("source");
    let built = Command::new("cc")
        .args(["-w", "-o"])
        .arg(&program)
        .arg(&text)
        .status();
    assert!(built.expect("cc").success());
    let ran = Command::new("strace")
        .args(["-a1", "-s200", "-e", "signal=none", "-o"])
        .arg(&trace)
        .arg(&program)
        .stdin(fs::File::open("/dev/null").expect("/dev/null"))
        .output()
        .expect("strace");
    let results: Vec<i64> = String::from_utf8_lossy(&ran.stdout)
        .lines()
        .map(|line| line.parse().expect("a number"))
        .collect();
    assert_eq!(results.len(), count);
    let traced = fs::read_to_string(&trace).expect("a trace");
    fs::remove_dir_all(&dir).expect("to clean up");
    let theirs = traced
        .lines()
        .skip_while(|line| !line.starts_with("getppid("))
        .skip(1);
    let mut different = String::new();
    for (((name, args), ret), theirs) in calls.iter().zip(results).zip(theirs) {
        let ours = without_addresses(&line(name, args, ret));
        let theirs = without_addresses(theirs);
        if ours != theirs {
            let _ = writeln!(different, "strace: {theirs}\nlanner: {ours}\n");
        }
    }
    assert!(different.is_empty(), "{different}");
}
