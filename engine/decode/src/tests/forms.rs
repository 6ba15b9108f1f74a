//! The JSON and Falco forms, and text that the test against strace does not cover.

use driver_api::event::{
    Abi, Encoding, EventBuilder, EventKind, Fact, Flags, Header, Ids, Part, Status, Tuple,
};

use super::Arg::{M, N, S, V};
use super::{Arg, altered, event, line, neg};
use crate::{falco, json, text};

use as_written::bytes_of;

/// The bytes of the structures in facts, in the order of `event.h`.
mod as_written {
    use super::{Ids, Tuple};

    /// Facts as drivers write them.
    pub(super) trait Fields {
        fn bytes(&self) -> Vec<u8>;
    }

    impl Fields for Ids {
        fn bytes(&self) -> Vec<u8> {
            [
                self.ppid,
                self.pgid,
                self.sid,
                self.loginuid,
                self.uid,
                self.euid,
                self.gid,
                self.egid,
                self.tty,
                self.memfd,
            ]
            .iter()
            .flat_map(|field| field.to_ne_bytes())
            .collect()
        }
    }

    impl Fields for Tuple {
        fn bytes(&self) -> Vec<u8> {
            let mut all: Vec<u8> = [
                self.family,
                self.protocol,
                self.local_port,
                self.remote_port,
            ]
            .iter()
            .flat_map(|field| field.to_ne_bytes())
            .collect();
            all.extend(self.local);
            all.extend(self.remote);
            all
        }
    }

    pub(super) fn bytes_of(fields: &impl Fields) -> Vec<u8> {
        fields.bytes()
    }
}

fn fact(builder: &mut EventBuilder, fact: Fact, encoding: Encoding, bytes: &[u8]) {
    let full = bytes.len() as u64;
    builder.attach(fact as u8, Part::None, Status::Whole, encoding, full, bytes);
}

fn json_of(builder: &mut EventBuilder) -> String {
    let mut out = String::new();
    let context = json::Context {
        epoch_ns: 1000,
        ppid: Some(9),
        comm: b"cat",
    };
    json::event(&mut out, &builder.finish().expect("an event"), &context);
    out
}

/// The `params` of a call.
fn params(name: &str, args: &[Arg], ret: i64) -> String {
    let (mut builder, call) = event(name, args, ret);
    let mut out = String::new();
    json::params(&mut out, &builder.finish().expect("an event"), call);
    out
}

fn string(bytes: &[u8]) -> String {
    let mut out = String::new();
    json::string(&mut out, bytes);
    out
}

fn hosts() -> Vec<Arg> {
    vec![neg(-100), S(b"/etc/hosts"), N(0x80000), N(0o7777)]
}

#[test]
fn an_open_reads_as_the_documentation_says() {
    let (mut builder, _) = event("openat", &hosts(), 3);
    fact(&mut builder, Fact::Path, Encoding::Parts, b"hosts\0etc\0");
    assert_eq!(
        json_of(&mut builder),
        r#"{"time":1005,"pid":10,"tid":11,"ppid":9,"comm":"cat","cpu":0,"abi":"x86_64","type":"openat","params":{"dirfd":-100,"path":"/etc/hosts","flags":"O_RDONLY|O_CLOEXEC","mode":0},"ret":3,"error":null,"facts":{"path":"/etc/hosts"}}"#
    );
    assert_eq!(
        line("openat", &hosts(), -2),
        "openat(AT_FDCWD, \"/etc/hosts\", O_RDONLY|O_CLOEXEC) = -1 ENOENT (No such file or directory)"
    );
}

#[test]
fn what_is_missing_or_cut_is_said() {
    let (mut builder, _) = event("write", &[N(1), N(0x1000), N(9)], -14);
    assert!(json_of(&mut builder).contains(
        r#""params":{"fd":1,"data":null,"size":9},"ret":-14,"error":"EFAULT","incomplete":["data"],"facts":{}"#
    ));
    let (mut builder, _) = event("write", &[N(1), N(0x1000), N(90)], 90);
    builder.attach(1, Part::None, Status::Truncated, Encoding::Raw, 90, b"abc");
    assert!(
        json_of(&mut builder)
            .contains(r#""data":"abc","size":90},"ret":90,"error":null,"truncated":["data"]"#)
    );
    let mut out = String::new();
    text::line(&mut out, &builder.finish().expect("an event"));
    assert_eq!(out, "write(1, \"abc\"..., 90) = 90");
    // What a failed call did not write is not missing.
    let (mut builder, _) = event("read", &[N(1), N(0x1000), N(9)], -9);
    assert!(!json_of(&mut builder).contains("incomplete"));
    assert_eq!(
        line("read", &[N(1), N(0x1000), N(9)], -9),
        "read(1, 0x1000, 9) = -1 EBADF (Bad file descriptor)"
    );
}

#[test]
fn a_fact_that_is_cut_is_said() {
    let (mut builder, _) = event("execve", &[S(b"ls"), N(0x2000), N(0)], 0);
    let mut builder = altered(&mut builder, |header| header.kind = EventKind::Exec as u8);
    builder.attach(
        Fact::Argv as u8,
        Part::None,
        Status::Truncated,
        Encoding::Strings,
        0,
        b"a\0",
    );
    assert!(json_of(&mut builder).contains(r#""truncated":["argv","facts.argv"]"#));
    let mut out = String::new();
    text::line(&mut out, &builder.finish().expect("an event"));
    assert_eq!(out, r#"execve("ls", ["a", ...], NULL) = 0"#);
}

#[test]
fn nothing_is_lost_of_a_string() {
    assert_eq!(string("aé\n\"\\".as_bytes()), r#""aé\n\"\\""#);
    assert_eq!(string(b"a\xff\\"), r#""a\\xff\\\\""#);
    assert_eq!(string(b"\\xff"), r#""\\\\xff""#);
    assert_eq!(string(b"\0\x7f"), r#""\u0000\u007f""#);
}

#[test]
fn parameters_have_types_in_json() {
    assert_eq!(
        params(
            "connect",
            &[
                N(3),
                M(vec![2, 0, 0, 80, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
                N(16)
            ],
            0
        ),
        r#"{"fd":3,"addr":{"family":"AF_INET","ip":"127.0.0.1","port":80},"addrlen":16}"#
    );
    assert_eq!(
        params("connect", &[N(3), M(b"\x01\0/run/x".to_vec()), N(8)], 0),
        r#"{"fd":3,"addr":{"family":"AF_UNIX","path":"/run/x"},"addrlen":8}"#
    );
    assert_eq!(
        params("execve", &[S(b"/bin/ls"), V(vec!["ls", ""]), N(0)], 0),
        r#"{"path":"/bin/ls","argv":["ls",""],"envp":null}"#
    );
    assert_eq!(
        params(
            "pipe2",
            &[
                M([3u32, 4].iter().flat_map(|n| n.to_ne_bytes()).collect()),
                N(0)
            ],
            0
        ),
        r#"{"fds":[3,4],"flags":"0"}"#
    );
    assert_eq!(
        params("mmap", &[N(0), N(1), N(0), N(0x80_0002), neg(-1), N(0)], 0),
        r#"{"addr":null,"length":1,"prot":"PROT_NONE","flags":"MAP_PRIVATE|0x800000","fd":-1,"offset":0}"#
    );
    assert_eq!(
        params("fchown", &[N(3), neg(-1), N(5)], 0),
        r#"{"fd":3,"uid":-1,"gid":5}"#
    );
    assert_eq!(
        params("kill", &[N(5), N(15)], 0),
        r#"{"pid":5,"sig":"SIGTERM"}"#
    );
    assert_eq!(
        params("socket", &[N(77), N(1), N(0)], 0),
        r#"{"domain":"0x4d","type":"SOCK_STREAM","proto":0}"#
    );
    assert_eq!(
        params(
            "setsockopt",
            &[N(3), N(1), N(2), M(vec![1, 0, 0, 0]), N(4)],
            0
        ),
        r#"{"fd":3,"level":"SOL_SOCKET","optname":"SO_REUSEADDR","val":1,"optlen":4}"#
    );
    let how = [0o100u64, 0o644, 8]
        .iter()
        .flat_map(|n| n.to_ne_bytes())
        .collect();
    assert_eq!(
        params("openat2", &[neg(-100), S(b"x"), M(how), N(24)], 3),
        r#"{"dirfd":-100,"path":"x","how":{"flags":"O_RDONLY|O_CREAT","mode":420,"resolve":"RESOLVE_BENEATH"},"usize":24}"#
    );
}

#[test]
fn an_address_of_any_family_is_text_that_a_rule_can_compare() {
    let mut machine = 40_u16.to_ne_bytes().to_vec();
    machine.extend([0, 0]);
    machine.extend(1234_u32.to_ne_bytes());
    machine.extend(2_u32.to_ne_bytes());
    machine.extend([0; 4]);
    let mut any = machine.clone();
    any[4..12].fill(0xff);
    any[12] = 1;
    let mut netlink = 16_u16.to_ne_bytes().to_vec();
    netlink.extend([0, 0]);
    netlink.extend(77_u32.to_ne_bytes());
    netlink.extend(5_u32.to_ne_bytes());
    let mut packet = 17_u16.to_ne_bytes().to_vec();
    packet.extend(0x0806_u16.to_be_bytes());
    packet.extend(2_i32.to_ne_bytes());
    packet.extend([1, 0, 0, 0]);
    packet.extend([0; 8]);
    for (address, as_falco) in [
        (&machine, "vsock:2:1234"),
        (&any, "vsock:4294967295:4294967295"),
        (&netlink, "netlink:77:0x5"),
        (&packet, "packet:2:0x806"),
        (&machine[..12].to_vec(), "family 40"),
    ] {
        let len = address.len() as u64;
        let (mut builder, call) = event("connect", &[N(3), M(address.clone()), N(len)], 0);
        let event = builder.finish().expect("an event");
        let mut out = String::new();
        assert!(falco::arg(&mut out, &event, call, "addr"));
        assert_eq!(out, as_falco);
    }
    let connect = |address: &[u8]| line("connect", &[N(3), M(address.to_vec()), N(16)], 0);
    assert_eq!(
        connect(&machine),
        "connect(3, {sa_family=AF_VSOCK, svm_cid=VMADDR_CID_HOST, svm_port=0x4d2, svm_flags=0}, 16) = 0"
    );
    assert_eq!(
        connect(&any),
        "connect(3, {sa_family=AF_VSOCK, svm_cid=VMADDR_CID_ANY, svm_port=VMADDR_PORT_ANY, \
         svm_flags=VMADDR_FLAG_TO_HOST}, 16) = 0"
    );
    assert_eq!(
        params("connect", &[N(3), M(machine), N(16)], 0),
        r#"{"fd":3,"addr":{"family":"AF_VSOCK","cid":2,"port":1234},"addrlen":16}"#
    );
}

#[test]
fn a_value_with_several_names_in_falco_has_all_of_them() {
    for (family, short, long) in [
        (1, "AF_LOCAL|AF_UNIX", "1(AF_LOCAL|AF_UNIX)"),
        (16, "AF_ROUTE|AF_NETLINK", "16(AF_ROUTE|AF_NETLINK)"),
        (2, "AF_INET", "2(AF_INET)"),
    ] {
        let (mut builder, call) = event("socket", &[N(family), N(1), N(0)], 3);
        let event = builder.finish().expect("an event");
        let mut out = String::new();
        assert!(falco::arg(&mut out, &event, call, "domain"));
        assert_eq!(out, short);
        out.clear();
        falco::args(&mut out, &event, call);
        assert!(out.contains(long), "{out}");
    }
}

#[test]
fn messages_that_were_not_captured_are_missing() {
    let with = |ret: i64, captured: u8| {
        let (mut builder, _) = event("sendmmsg", &[N(3), N(0x1000), N(20), N(0)], ret);
        for index in 0..captured {
            builder.attach(
                1,
                Part::Data.of(index),
                Status::Whole,
                Encoding::Raw,
                1,
                b"x",
            );
        }
        let event = builder.finish().expect("an event");
        let short = crate::fell_short(&event, crate::Short::Truncated);
        short.map(|(_, name)| name).collect::<Vec<_>>()
    };
    assert_eq!(with(20, 16), ["data"]);
    assert_eq!(with(16, 16), [""; 0]);
    // it failed, and how many it should have sent is known
    assert_eq!(with(-11, 16), ["data"]);
}

#[test]
fn a_message_has_parts() {
    let (mut builder, call) = event("sendmsg", &[N(3), N(0x1000), N(0)], 2);
    builder.attach(1, Part::Name, Status::Whole, Encoding::Raw, 4, b"\x01\0/x");
    builder.attach(1, Part::Data, Status::Whole, Encoding::Raw, 2, b"hi");
    let event = builder.finish().expect("an event");
    let mut out = String::new();
    json::params(&mut out, &event, call);
    assert_eq!(
        out,
        r#"{"fd":3,"msg":{"name":{"family":"AF_UNIX","path":"/x"},"data":"hi","control":null},"flags":"0"}"#
    );
    out.clear();
    text::line(&mut out, &event);
    assert_eq!(
        out,
        r#"sendmsg(3, {msg_name={sa_family=AF_UNIX, sun_path="/x"}, msg_iov="hi"}, 0) = 2"#
    );
}

#[test]
fn the_vectors_of_an_exec_are_facts() {
    let (mut builder, _) = event("execve", &[S(b"ls"), N(0x2000), N(0x3000)], 0);
    let mut builder = altered(&mut builder, |header| header.kind = EventKind::Exec as u8);
    fact(&mut builder, Fact::Exe, Encoding::Parts, b"ls\0bin\0usr\0");
    fact(&mut builder, Fact::Argv, Encoding::Strings, b"ls\0-l\0");
    fact(&mut builder, Fact::Env, Encoding::Strings, b"A=1\0");
    let ids = Ids {
        ppid: 1,
        pgid: 2,
        sid: 3,
        loginuid: u32::MAX,
        ..Ids::default()
    };
    fact(&mut builder, Fact::Ids, Encoding::Raw, &bytes_of(&ids));
    let json = json_of(&mut builder);
    assert!(json.contains(r#""params":{"path":"ls","argv":["ls","-l"],"envp":["A=1"]},"ret":0,"error":null,"facts":{"exe":"/usr/bin/ls","argv":["ls","-l"],"env":["A=1"],"ids":{"ppid":1,"pgid":2,"sid":3,"loginuid":-1,"uid":0,"#), "{json}");
    let mut out = String::new();
    text::line(&mut out, &builder.finish().expect("an event"));
    assert_eq!(out, r#"execve("ls", ["ls", "-l"], 0x3000 /* 1 var */) = 0"#);
}

#[test]
fn a_tuple_names_both_ends() {
    let (mut builder, _) = event("accept4", &[N(3), N(0), N(0), N(0)], 4);
    let mut tuple = Tuple {
        family: 2,
        protocol: 6,
        local_port: 80,
        remote_port: 1234,
        ..Tuple::default()
    };
    tuple.local[..4].copy_from_slice(&[127, 0, 0, 1]);
    tuple.remote[..4].copy_from_slice(&[10, 0, 0, 2]);
    fact(&mut builder, Fact::Tuple, Encoding::Raw, &bytes_of(&tuple));
    assert!(json_of(&mut builder).ends_with(
        r#""facts":{"tuple":{"family":"AF_INET","protocol":"tcp","local":"127.0.0.1:80","remote":"10.0.0.2:1234"}}}"#
    ));
}

fn other(kind: EventKind, ret: i64, args: [u64; 3]) -> (String, String) {
    let mut header = Header {
        kind: kind as u8,
        abi: Abi::X86_64 as u8,
        ret,
        ..Header::default()
    };
    header.args[..3].copy_from_slice(&args);
    let mut builder = EventBuilder::new();
    builder.begin(&header);
    let mut out = String::new();
    text::line(&mut out, &builder.finish().expect("an event"));
    let json = json_of(&mut builder);
    (
        out,
        json[json.find("\"type\"").expect("a type")..].to_owned(),
    )
}

#[test]
fn other_kinds_have_their_own_form() {
    let (text, json) = other(EventKind::Exit, 9 | 0x80, [0; 3]);
    assert_eq!(text, "+++ killed by SIGKILL (core dumped) +++");
    assert_eq!(
        json,
        r#""type":"procexit","params":{"status":137,"exit_code":null,"signal":"SIGKILL"},"facts":{}}"#
    );
    let (text, json) = other(EventKind::Exit, 3 << 8, [0; 3]);
    assert_eq!(text, "+++ exited with 3 +++");
    assert!(json.contains(r#"{"status":768,"exit_code":3,"signal":null}"#));
    let (text, json) = other(EventKind::Fork, 0, [5, 4, 0x1_0011]);
    assert_eq!(text, "+++ started thread 5 +++");
    assert!(json.contains(r#"{"tid":5,"pid":4,"flags":"CLONE_THREAD|SIGCHLD"}"#));
    let (_, json) = other(EventKind::Lost, 0, [12, 0, 0]);
    assert_eq!(json, r#""type":"lost","count":12,"cause":"buffer-full"}"#);
    let (_, json) = other(EventKind::Signal, 0, [15, 7, 0]);
    assert!(json.contains(r#""params":{"spid":7,"sig":"SIGTERM"}"#));
}

#[test]
fn results_are_those_of_strace() {
    assert_eq!(line("exit_group", &[N(0)], 0), "exit_group(0) = ?");
    assert_eq!(
        line("read", &[N(0), N(0x1000), N(1)], -512),
        "read(0, 0x1000, 1) = ? ERESTARTSYS (To be restarted if SA_RESTART is set)"
    );
    assert_eq!(
        line("fcntl", &[N(1), N(3)], 0x8001),
        "fcntl(1, F_GETFL) = 0x8001 (flags O_WRONLY|O_LARGEFILE)"
    );
    assert_eq!(
        line("fcntl", &[N(3), N(1025)], 2),
        "fcntl(3, F_GETLEASE) = 0x2 (F_UNLCK)"
    );
    assert_eq!(
        line(
            "mmap",
            &[N(0), N(4096), N(3), N(0x22), neg(-1), N(0)],
            0x7f00_0000_0000
        ),
        "mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f0000000000"
    );
    assert_eq!(
        line(
            "clone",
            &[N(0x120_0011), N(0), N(0), N(0x7f00_0a10), N(5)],
            42
        ),
        "clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD, child_tidptr=0x7f000a10) = 42"
    );
    let (mut builder, _) = event("getpid", &[N(1), N(2), N(3), N(4096)], -38);
    let mut builder = altered(&mut builder, |header| header.nr = 500);
    let mut out = String::new();
    text::line(&mut out, &builder.finish().expect("an event"));
    assert_eq!(
        out,
        "syscall_0x1f4(0x1, 0x2, 0x3, 0x1000, 0, 0) = -1 ENOSYS (Function not implemented)"
    );
    let (mut builder, _) = event("close", &[N(1)], 0);
    let mut builder = altered(&mut builder, |header| header.flags = Flags::NORETURN);
    assert!(json_of(&mut builder).contains(r#""ret":null,"error":null"#));
}

#[test]
fn a_call_that_was_seen_at_its_entry_has_no_result() {
    let made = |name: &str, args: &[Arg]| {
        let (mut builder, call) = event(name, args, 0);
        let builder = altered(&mut builder, |header| header.flags = Flags::ENTRY);
        (builder, call)
    };
    let (mut builder, call) = made("openat", &hosts());
    let json = json_of(&mut builder);
    assert!(json.contains(r#""ret":null,"error":null"#), "{json}");
    let seen = builder.finish().expect("an event");
    let mut out = String::new();
    text::line(&mut out, &seen);
    assert!(out.ends_with("O_RDONLY|O_CLOEXEC) = ?"), "{out}");
    out.clear();
    assert!(!falco::res(&mut out, &seen));
    assert!(!falco::arg(&mut out, &seen, call, "fd"));
    // what the kernel has not written is not missing
    let (mut builder, _) = made("read", &[N(3), N(0x1000), N(64)]);
    let json = json_of(&mut builder);
    assert!(!json.contains("incomplete"), "{json}");
    // nor is a thread's status, where the driver could not read it
    let mut builder = altered(&mut builder, |header| header.kind = EventKind::Exit as u8);
    let json = json_of(&mut builder);
    assert!(
        json.contains(r#"{"status":null,"exit_code":null,"signal":null}"#),
        "{json}"
    );
}

#[test]
fn falco_reads_its_own_words() {
    let (mut builder, call) = event("openat", &[neg(-100), S(b"/x"), N(0x80241), N(0o640)], -2);
    let event = builder.finish().expect("an event");
    let arg = |name| {
        let mut out = String::new();
        falco::arg(&mut out, &event, call, name).then_some(out)
    };
    assert_eq!(arg("name").as_deref(), Some("/x"));
    assert_eq!(arg("path").as_deref(), Some("/x"));
    assert_eq!(
        arg("flags").as_deref(),
        Some("O_WRONLY|O_CREAT|O_TRUNC|O_CLOEXEC")
    );
    assert_eq!(arg("mode").as_deref(), Some("S_IRGRP|S_IWUSR|S_IRUSR"));
    assert_eq!(arg("fd").as_deref(), Some("ENOENT"));
    assert_eq!(arg("nonesuch"), None);
    let mut out = String::new();
    assert!(falco::res(&mut out, &event));
    assert_eq!(out, "ENOENT");
    out.clear();
    falco::args(&mut out, &event, call);
    assert_eq!(
        out,
        "fd=-2(ENOENT) dirfd=-100(AT_FDCWD) path=/x flags=4358(O_WRONLY|O_CREAT|O_TRUNC|O_CLOEXEC) mode=0640(S_IRGRP|S_IWUSR|S_IRUSR)"
    );
    let (mut builder, call) = self::event("close", &[N(3)], 0);
    out.clear();
    falco::args(&mut out, &builder.finish().expect("an event"), call);
    assert_eq!(out, "res=0 fd=3");
}

/// The numbers that clock_getcpuclockid(3), pthread_getcpuclockid(3) and clock_gettime(2), "Dynamic clocks",
/// make; strace names them so where it is built with the kernel's macros.
#[test]
fn a_dynamic_clock_says_whose_it_is() {
    let clock = |owner: i64, kind: i64| neg(!owner << 3 | kind);
    for (number, name) in [
        (clock(1234, 0), "MAKE_PROCESS_CPUCLOCK(1234, CPUCLOCK_PROF)"),
        (
            clock(1234, 2),
            "MAKE_PROCESS_CPUCLOCK(1234, CPUCLOCK_SCHED)",
        ),
        (clock(7, 6), "MAKE_THREAD_CPUCLOCK(7, CPUCLOCK_SCHED)"),
        (clock(5, 3), "FD_TO_CLOCKID(5)"),
        (N(1), "CLOCK_MONOTONIC"),
    ] {
        let args = [number, N(0)];
        assert_eq!(
            line("clock_getres", &args, 0),
            format!("clock_getres({name}, NULL) = 0")
        );
        assert_eq!(
            params("clock_getres", &args, 0),
            format!(r#"{{"which_clock":"{name}","tp":null}}"#)
        );
    }
}

#[test]
fn the_newest_options_of_prctl_have_names() {
    assert_eq!(
        line("prctl", &[N(79), N(2), N(1), N(0), N(0)], 0),
        "prctl(PR_RSEQ_SLICE_EXTENSION, PR_RSEQ_SLICE_EXTENSION_SET, PR_RSEQ_SLICE_EXT_ENABLE) = 0"
    );
    assert_eq!(
        line("prctl", &[N(78), N(1), N(16), N(0), N(0)], 0),
        "prctl(PR_FUTEX_HASH, PR_FUTEX_HASH_SET_SLOTS, 16) = 0"
    );
    assert_eq!(
        line("prctl", &[N(77), N(2), N(0), N(0), N(0)], 1),
        "prctl(PR_TIMER_CREATE_RESTORE_IDS, PR_TIMER_CREATE_RESTORE_IDS_GET) = 1"
    );
}
