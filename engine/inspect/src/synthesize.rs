//! Synthesizes events that produce the current state. A recording begins with them, so that a replay knows the
//! processes that existed before. The events are marked [`Flags::UNSELECTED`].
//!
//! Left out: kinds of descriptors that no single call here makes (BPF programs), and the id of a process in its own pid
//! namespace if its parent is not known.

use std::collections::HashSet;
use std::net::SocketAddr;

use driver_api::event::{
    Abi, Encoding, Event, EventBuilder, EventKind, Fact, Flags, Header, Ids, Part, Status, Tuple,
};
use driver_api::table;
use zerocopy::IntoBytes;

use super::attributes::{PR_SET_KEEPCAPS, UNCHANGED};
use super::descriptor::{Descriptor, DescriptorKind, Role, Socket};
use super::fill::O_DIRECTORY;
use super::process::{Credentials, Process, Thread};
use super::process_table::ProcessKey;
use super::report::Report;
use super::sockets::{
    AF_INET, AF_INET6, AF_NETLINK, AF_UNIX, ICMP, ICMP6, MPTCP, SCTP, TCP, UDP, UDP_LITE,
};
use super::{Inspector, clock, program};

const CLONE_FS: u64 = 0x200;
const CLONE_FILES: u64 = 0x400;
/// What makes a thread that shares everything with its creator.
const CLONE_THREAD: u64 = 0x1_0000 | CLONE_FS | CLONE_FILES;
const CLONE_NEWPID: u64 = 0x2000_0000;
const F_SETFD: u64 = 2;
const PR_SET_NAME: u64 = 15;
const SOCK_STREAM: u64 = 1;
const SOCK_DGRAM: u64 = 2;
const SOCK_RAW: u64 = 3;

/// An attachment of an event: what it is, its encoding, its bytes.
type Attached<'a> = (u8, Encoding, &'a [u8]);

struct Synthesizer<'a> {
    inspector: &'a Inspector,
    sink: &'a mut dyn FnMut(&Event<'_>),
    builder: EventBuilder,
    now: u64,
}

impl Inspector {
    /// The time of events that say what the state is.
    pub(super) fn now(&self) -> u64 {
        match self.proc_fs {
            // what follows from events alone is as old as the last of them
            None if self.number > 0 => self.before_ns,
            _ => clock::monotonic_ns(),
        }
    }

    /// Gives `sink` events that turn an empty state into one like this: the living processes and their ancestors,
    /// parents before children, with threads and descriptors.
    pub fn synthesize(&self, sink: &mut dyn FnMut(&Event<'_>)) {
        let mut synthesizer = Synthesizer {
            inspector: self,
            sink,
            builder: EventBuilder::new(),
            now: self.now(),
        };
        for (id, group) in self.cgroups_with_ids() {
            synthesizer.cgroups(0, id, &group.text);
        }
        let mut done = HashSet::new();
        for key in self.processes.living_keys() {
            // begin with the oldest ancestor that is not done yet
            let mut line: Vec<ProcessKey> = Vec::new();
            let mut next = Some(key);
            while let Some(key) = next.filter(|key| done.insert(*key)) {
                line.push(key);
                next = self.processes.get(key).and_then(|process| process.parent);
            }
            for key in line.into_iter().rev() {
                if let Some(process) = self.processes.get(key).filter(|process| process.known) {
                    synthesizer.process(process);
                }
            }
        }
    }
}

impl Synthesizer<'_> {
    fn emit(&mut self, header: &Header, attached: &[Attached<'_>]) {
        self.builder.begin(&Header {
            flags: Flags::UNSELECTED,
            abi: Abi::NATIVE as u8,
            ..*header
        });
        for (what, encoding, bytes) in attached {
            let full = bytes.len() as u64;
            self.builder
                .attach(*what, Part::None, Status::Whole, *encoding, full, bytes);
        }
        if let Ok(event) = self.builder.finish() {
            (self.sink)(&event);
        }
    }

    fn cgroups(&mut self, pid: u32, id: u64, text: &[u8]) {
        let report = Report {
            fact: Fact::Cgroups,
            text,
            pid,
            cgroup: id,
            time_ns: self.now,
        };
        if !text.is_empty()
            && let Some(event) = report.event(&mut self.builder)
        {
            (self.sink)(&event);
        }
    }

    fn call(
        &mut self,
        who: &Header,
        name: &str,
        args: &[u64],
        ret: i64,
        attached: &[Attached<'_>],
    ) {
        let number = table::by_name(name).and_then(|call| call.number(Abi::NATIVE));
        let Some(nr) = number else { return };
        let mut header = Header {
            kind: EventKind::Syscall as u8,
            nr,
            ret,
            ..*who
        };
        for (to, from) in header.args.iter_mut().zip(args) {
            *to = *from;
        }
        self.emit(&header, attached);
    }

    fn process(&mut self, process: &Process) {
        let who = Header {
            tgid: process.pid,
            tid: process.pid,
            uid: process.main_credentials.uid,
            gid: process.main_credentials.gid,
            time_ns: self.now,
            ..Header::default()
        };
        let parent = process
            .parent
            .and_then(|parent| self.inspector.process(parent));
        if let Some(parent) = parent.filter(|parent| parent.known) {
            // 0: not known
            let vpid = process.vpid.unwrap_or(0);
            let other_namespace = vpid != 0 && vpid != process.pid;
            let flags = if other_namespace { CLONE_NEWPID } else { 0 };
            let pid = u64::from(process.pid);
            let birth = Header {
                kind: EventKind::Fork as u8,
                tgid: parent.pid,
                tid: parent.pid,
                uid: parent.main_credentials.uid,
                gid: parent.main_credentials.gid,
                time_ns: process.start_ns.min(self.now),
                args: [pid, pid, flags, vpid.into(), 0, 0],
                ..Header::default()
            };
            self.emit(&birth, &[]);
        }
        self.program(process, &who);
        self.cgroups(process.pid, process.cgroup_id, &process.cgroups.text);
        // closes the descriptors that it inherited
        self.call(&who, "close_range", &[0, u64::from(u32::MAX), 0], 0, &[]);
        for thread in process
            .threads
            .iter()
            .filter(|thread| thread.tid != process.pid)
        {
            let birth = Header {
                kind: EventKind::Fork as u8,
                // 0: not known
                args: [
                    thread.tid.into(),
                    process.pid.into(),
                    CLONE_THREAD,
                    thread.vtid.unwrap_or(0).into(),
                    0,
                    0,
                ],
                ..who
            };
            self.emit(&birth, &[]);
            if let Some(name) = &thread.name {
                let who = Header {
                    tid: thread.tid,
                    ..who
                };
                self.call(
                    &who,
                    "prctl",
                    &[PR_SET_NAME],
                    0,
                    &[(1, Encoding::Raw, name)],
                );
            }
            self.separate(process, thread, &who);
        }
        if !process.ended {
            for (fd, descriptor, cloexec) in self.inspector.files.entries(process.files) {
                self.descriptor(&who, fd, descriptor, cloexec);
            }
        }
    }

    /// What a thread does not share with the first thread.
    fn separate(&mut self, process: &Process, thread: &Thread, who: &Header) {
        let credentials = process.credentials(thread.tid);
        let who = Header {
            tid: thread.tid,
            uid: credentials.uid,
            gid: credentials.gid,
            ..*who
        };
        if thread.credentials.is_some() {
            self.credentials(&who, &credentials);
        }
        if let Some(directory) = thread.directory {
            let path = self.inspector.directories.path(directory);
            self.call(&who, "unshare", &[CLONE_FS], 0, &[]);
            self.call(&who, "chdir", &[], 0, &[(0, Encoding::Raw, path)]);
        }
        if let Some(files) = thread.files {
            self.call(&who, "unshare", &[CLONE_FILES], 0, &[]);
            self.call(&who, "close_range", &[0, u64::from(u32::MAX), 0], 0, &[]);
            for (fd, descriptor, cloexec) in self.inspector.files.entries(files) {
                self.descriptor(&who, fd, descriptor, cloexec);
            }
        }
    }

    /// The ids and capabilities of a thread that differ from those of the program that it runs.
    fn credentials(&mut self, who: &Header, own: &Credentials) {
        let same = u64::from(UNCHANGED);
        let saved = own.saved_uid.map_or(same, u64::from);
        if own.keeps_capabilities {
            self.call(who, "prctl", &[PR_SET_KEEPCAPS, 1], 0, &[]);
        }
        self.call(who, "setresuid", &[same, own.euid.into(), saved], 0, &[]);
        self.call(who, "setresgid", &[same, own.egid.into(), same], 0, &[]);
        if let Some(sets) = own.capabilities {
            let data = sets.for_capset();
            let data = (1, Encoding::Raw, data.as_bytes());
            self.call(who, "capset", &[1, 2], 0, &[data]);
        }
    }

    fn program(&mut self, process: &Process, who: &Header) {
        let credentials = process.main_credentials;
        let ids = Ids {
            ppid: process.ppid,
            pgid: process.pgid,
            sid: process.sid,
            loginuid: process.loginuid,
            uid: credentials.uid,
            euid: credentials.euid,
            gid: credentials.gid,
            egid: credentials.egid,
            tty: process.tty,
            memfd: process.memfd.into(),
        };
        let execve = table::by_name("execve").and_then(|call| call.number(Abi::NATIVE));
        let header = Header {
            kind: EventKind::Exec as u8,
            nr: execve.unwrap_or(0),
            ..*who
        };
        let program = program::fact(process);
        let about_program = program.as_ref().map_or(&[][..], IntoBytes::as_bytes);
        let facts = [
            (Fact::Program as u8, Encoding::Raw, about_program),
            (Fact::Ids as u8, Encoding::Raw, ids.as_bytes()),
            (Fact::Comm as u8, Encoding::Raw, &*process.name),
            (Fact::Exe as u8, Encoding::Raw, &*process.exe),
            (
                Fact::Cwd as u8,
                Encoding::Raw,
                self.inspector.cwd(process, process.pid),
            ),
            (Fact::Argv as u8, Encoding::Strings, &*process.args),
            (Fact::Env as u8, Encoding::Strings, &*process.env),
        ];
        let first = usize::from(program.is_none());
        self.emit(&header, &facts[first..]);
        let saved_as_usual = credentials
            .saved_uid
            .is_none_or(|saved| saved == credentials.euid);
        if credentials.keeps_capabilities || !saved_as_usual {
            self.credentials(who, &credentials);
        }
        let root = self.inspector.directories.root(process.directory);
        if !root.is_empty() {
            let fact = (Fact::Root as u8, Encoding::Raw, root);
            self.call(who, "chroot", &[], 0, &[fact]);
        }
        let in_namespace = process.vpid.is_some_and(|vpid| vpid != process.pid);
        if let Some(group) = process.vpgid.filter(|group| *group != 0 && in_namespace) {
            self.call(who, "setpgid", &[0, group.into()], 0, &[]);
        }
    }

    fn descriptor(&mut self, who: &Header, fd: i32, what: &Descriptor, cloexec: bool) {
        let ret = i64::from(fd);
        let number = u64::try_from(fd).unwrap_or(0);
        let pair = [fd, fd];
        let twice = pair.as_bytes();
        match what.kind {
            DescriptorKind::File | DescriptorKind::Directory => {
                let flags = if what.kind == DescriptorKind::Directory {
                    O_DIRECTORY
                } else {
                    0
                };
                let path = (Fact::Path as u8, Encoding::Raw, &*what.name);
                let said = (1, Encoding::Raw, what.raw_name());
                self.call(who, "openat", &[0, 0, flags], ret, &[said, path]);
            }
            DescriptorKind::Memfd => {
                let name = what.name.strip_prefix(b"/memfd:").unwrap_or(&what.name);
                self.call(who, "memfd_create", &[], ret, &[(0, Encoding::Raw, name)]);
            }
            DescriptorKind::Pipe => {
                let ends = (0, Encoding::Raw, twice);
                let path = (Fact::Path as u8, Encoding::Raw, &*what.name);
                let said = if what.name.is_empty() {
                    &[ends][..]
                } else {
                    &[ends, path]
                };
                self.call(who, "pipe2", &[], 0, said);
            }
            DescriptorKind::Ipv4 | DescriptorKind::Ipv6 => self.inet(who, fd, what),
            DescriptorKind::Unix => {
                self.call(who, "socket", &[AF_UNIX.into(), SOCK_STREAM], ret, &[]);
                if !what.name.is_empty() {
                    let mut address = AF_UNIX.to_ne_bytes().to_vec();
                    match what.name.strip_prefix(b"@") {
                        Some(name) => address.extend([b"\0", name].concat()),
                        None => address.extend_from_slice(&what.name),
                    }
                    self.call(who, "bind", &[number], 0, &[(1, Encoding::Raw, &address)]);
                }
            }
            DescriptorKind::Netlink => {
                // what is not known is no protocol
                let protocol = what.netlink.unwrap_or(u16::MAX).into();
                let args = [AF_NETLINK.into(), SOCK_RAW, protocol];
                self.call(who, "socket", &args, ret, &[]);
            }
            DescriptorKind::Event => self.call(who, "eventfd2", &[], ret, &[]),
            DescriptorKind::Signal => self.call(who, "signalfd4", &[], ret, &[]),
            DescriptorKind::Epoll => self.call(who, "epoll_create1", &[], ret, &[]),
            DescriptorKind::Inotify => self.call(who, "inotify_init1", &[], ret, &[]),
            DescriptorKind::Timer => self.call(who, "timerfd_create", &[], ret, &[]),
            DescriptorKind::Userfault => self.call(who, "userfaultfd", &[], ret, &[]),
            DescriptorKind::IoUring => self.call(who, "io_uring_setup", &[], ret, &[]),
            DescriptorKind::Pidfd => self.call(who, "pidfd_open", &[], ret, &[]),
            DescriptorKind::Bpf | DescriptorKind::Other => return,
        }
        let on = if cloexec { 1 } else { 0 };
        self.call(who, "fcntl", &[number, F_SETFD, on], 0, &[]);
    }

    fn inet(&mut self, who: &Header, fd: i32, what: &Descriptor) {
        let family = if what.kind == DescriptorKind::Ipv6 {
            AF_INET6
        } else {
            AF_INET
        };
        let socket = what.socket.unwrap_or_default();
        let made_for = if socket.is_v6 { AF_INET6 } else { family };
        let number = u64::try_from(fd).unwrap_or(0);
        let socket_type = match socket.protocol {
            TCP | MPTCP | SCTP => SOCK_STREAM,
            UDP | UDP_LITE | ICMP | ICMP6 => SOCK_DGRAM,
            _ => SOCK_RAW,
        };
        let args = [made_for.into(), socket_type, socket.protocol.into()];
        self.call(who, "socket", &args, fd.into(), &[]);
        if let Some(tuple) = tuple(family, &socket) {
            let fact = (Fact::Tuple as u8, Encoding::Raw, tuple.as_bytes());
            if socket.role == Role::Server {
                self.call(who, "accept4", &[number], fd.into(), &[fact]);
            } else {
                self.call(who, "connect", &[number], 0, &[fact]);
            }
            return;
        }
        if let Some(remote) = socket.remote {
            let said = sockaddr(remote);
            self.call(who, "connect", &[number], 0, &[(1, Encoding::Raw, &said)]);
        }
        if let Some(local) = socket.local {
            let address = sockaddr(local);
            self.call(who, "bind", &[number], 0, &[(1, Encoding::Raw, &address)]);
        }
        if socket.role == Role::Server {
            self.call(who, "listen", &[number], 0, &[]);
        }
    }
}

/// The fact with both ends. None: one of them is not known.
fn tuple(family: u16, socket: &Socket) -> Option<Tuple> {
    let bytes = |end: SocketAddr| {
        let mut bytes = [0; 16];
        match end.ip() {
            std::net::IpAddr::V4(ip) => bytes[..4].copy_from_slice(&ip.octets()),
            std::net::IpAddr::V6(ip) => bytes = ip.octets(),
        }
        bytes
    };
    let (local, remote) = socket.local.zip(socket.remote)?;
    Some(Tuple {
        family,
        protocol: socket.protocol,
        local_port: local.port(),
        remote_port: remote.port(),
        local: bytes(local),
        remote: bytes(remote),
    })
}

/// The address as a `struct sockaddr_in` or `sockaddr_in6`.
fn sockaddr(address: SocketAddr) -> Vec<u8> {
    let mut out = Vec::with_capacity(28);
    match address {
        SocketAddr::V4(v4) => {
            out.extend(AF_INET.to_ne_bytes());
            out.extend(v4.port().to_be_bytes());
            out.extend(v4.ip().octets());
        }
        SocketAddr::V6(v6) => {
            out.extend(AF_INET6.to_ne_bytes());
            out.extend(v6.port().to_be_bytes());
            out.extend([0; 4]);
            out.extend(v6.ip().octets());
            out.extend([0; 4]);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use driver_api::event::Program;

    use super::super::testing::{Ev, feed};
    use super::super::{Inspector, Options};
    use super::*;

    fn empty() -> Inspector {
        Inspector::new(&Options {
            proc_root: None,
            containers: None,
            ..Options::default()
        })
    }

    /// The visible state, as lines in a fixed order.
    fn seen(inspector: &Inspector) -> Vec<String> {
        let mut lines = Vec::new();
        for key in inspector.processes.living_keys() {
            let process = inspector.process(key).unwrap();
            let lineage: Vec<u32> = inspector.lineage(key).map(|one| one.pid).collect();
            lines.push(format!(
                "{} {lineage:?} {:?} {:?} {:?} {:?} {:?} {:?} {} {} {} {:?}",
                process.pid,
                process.vpid,
                process.file,
                process.name.escape_ascii().to_string(),
                process.exe.escape_ascii().to_string(),
                process.args.escape_ascii().to_string(),
                inspector
                    .cwd(process, process.pid)
                    .escape_ascii()
                    .to_string(),
                process.main_credentials.euid,
                process.sid,
                process.loginuid,
                process.threads.len(),
            ));
            for thread in process.threads.iter() {
                let files = inspector.files.entries(process.files_of(thread.tid));
                let mut files: Vec<_> = files.map(|entry| format!("{entry:?}")).collect();
                files.sort();
                lines.push(format!(
                    "{} {} {:?} {:?} {} {files:?}",
                    process.pid,
                    thread.tid,
                    thread.name,
                    process.credentials(thread.tid),
                    inspector.cwd(process, thread.tid).escape_ascii(),
                ));
            }
            for (fd, descriptor, cloexec) in inspector.files.entries(process.files) {
                lines.push(format!("{} {fd} {cloexec} {descriptor:?}", process.pid));
            }
        }
        lines.sort();
        lines
    }

    #[test]
    fn a_state_made_of_its_own_events_is_the_same() {
        let mut first = empty();
        let ids = Ids {
            ppid: 7,
            sid: 7,
            loginuid: 1000,
            ..Ids::default()
        };
        let program = Program {
            inode: 77,
            mtime_ns: 5,
            mode: 0o100_755,
            uid: 3,
            gid: 4,
            cap_effective: 1,
            layer: driver_api::event::Layer::Upper as u32,
            ..Program::default()
        };
        let address = |port: u16| {
            let mut bytes = AF_INET.to_ne_bytes().to_vec();
            bytes.extend(port.to_be_bytes());
            bytes.extend([192, 0, 2, 1]);
            bytes
        };
        feed(
            &mut first,
            &[
                Ev::exec(7, "/bin/sh", &["sh", "-c", "x"], ids),
                Ev::fork(7, 8, 8, 0),
                Ev::exec(8, "/usr/bin/server", &["server"], ids),
                Ev::fork(8, 8, 9, CLONE_THREAD),
                Ev::fork(8, 8, 10, CLONE_THREAD),
                Ev::call(8, "unshare", &[0x600], 0).thread(10),
                Ev::call(8, "chdir", &[1], 0).thread(10).said(0, b"/other"),
                Ev::call(8, "setresuid", &[5, 6, 7], 0).thread(10).uid(5),
                Ev::call(8, "openat", &[0, 0, 0], 3)
                    .thread(10)
                    .uid(5)
                    .said(1, b"/etc/y")
                    .fact(Fact::Path, b"/etc/y"),
                Ev::call(8, "prctl", &[15], 0).thread(9).said(1, b"worker"),
                Ev::call(8, "openat", &[0, 0, 0o2_000_000], 3)
                    .said(1, b"../etc/x")
                    .fact(Fact::Path, b"/etc/x"),
                Ev::call(8, "socket", &[2, 1, 0], 4),
                Ev::call(8, "bind", &[4], 0).said(1, &address(80)),
                Ev::call(8, "listen", &[4], 0),
                Ev::call(8, "socket", &[2, 2, 0], 5),
                Ev::call(8, "connect", &[5], 0).said(1, &address(53)),
                Ev::call(8, "memfd_create", &[0, 0], 6).said(0, b"secret"),
                Ev::call(8, "eventfd2", &[0, 0], 7),
                // in a pid namespace of its own, where its id is known, and a child whose id there is not known
                Ev::fork(8, 20, 20, CLONE_NEWPID).fork_vpid(3),
                Ev::exec(20, "/usr/bin/inner", &["inner"], ids)
                    .fact(Fact::Program, program.as_bytes()),
                Ev::fork(20, 21, 21, 0),
            ],
        );
        let vpid = |pid| first.process_by_pid(pid).unwrap().vpid;
        assert_eq!((vpid(8), vpid(20), vpid(21)), (None, Some(3), None));
        let mut second = empty();
        first.synthesize(&mut |event| {
            assert!(event.has(Flags::UNSELECTED));
            second.update(event);
        });
        assert_eq!(seen(&second), seen(&first));
        assert!(seen(&first).len() > 6);
    }
}
