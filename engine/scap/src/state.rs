//! The lists in front of the events, as events that make the same state: what the head of a recording of lanner's is
//! ([`inspect::Inspector::synthesize`]). They are marked as unselected, so that rules do not see them.

use std::collections::{HashMap, HashSet};

use decode::program::UNKNOWN_CAPABILITIES;
use driver_api::event::{
    Encoding, EventBuilder, EventKind, Fact, Flags, Header, Ids, Layer, Part, Program,
};
use driver_api::table::by_name;
use inspect::Recorded;
use zerocopy::IntoBytes;

use super::encode::{Who, attach, finish};
use super::lists::{DescriptorEntry, End, Opened, ProgramEntry, ThreadEntry};
use super::process::{Process, Processes, UNKNOWN, id};
use super::socket::{self, Address};

const CLONE_FS: u64 = 0x200;
const CLONE_FILES: u64 = 0x400;
const CLONE_THREAD: u64 = 0x1_0000;
const CLONE_NEWPID: u64 = 0x2000_0000;
const PR_SET_NAME: u64 = 15;
const O_DIRECTORY: u64 = 0o200_000;
const AF_UNIX: u64 = 1;
const AF_INET: u64 = 2;
const AF_INET6: u64 = 10;
const AF_NETLINK: u64 = 16;

/// The lists of a capture.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    pub(crate) threads: Vec<ThreadEntry>,
    pub(crate) descriptors: HashMap<i64, Vec<DescriptorEntry>>,
}

impl Lists {
    /// The ports on which processes of the list wait for connections.
    fn served_ports(&self) -> HashSet<u16> {
        let all = self.descriptors.values().flatten();
        all.filter_map(|entry| match &entry.what {
            Opened::Bound(_, own) => Some(own.port()),
            _ => None,
        })
        .collect()
    }
}

/// What a program is started with: its facts.
#[derive(Debug, Default)]
pub(crate) struct Facts<'a> {
    pub(crate) comm: &'a [u8],
    pub(crate) exe: &'a [u8],
    pub(crate) cwd: &'a [u8],
    pub(crate) argv: Vec<u8>,
    pub(crate) env: &'a [u8],
    pub(crate) program: Option<Program>,
}

/// Writes the events of a state.
#[derive(Debug)]
pub(crate) struct StateWriter<'a> {
    pub(crate) builder: &'a mut EventBuilder,
    pub(crate) out: &'a mut Vec<u8>,
    /// The time of the state.
    pub(crate) time_ns: u64,
}

/// The arguments of a program: the first, then the others.
pub(crate) fn argv(first: &[u8], others: &[u8]) -> Vec<u8> {
    let mut all = Vec::with_capacity(first.len() + others.len() + 2);
    if !first.is_empty() || !others.is_empty() {
        all.extend_from_slice(first);
        all.push(0);
    }
    all.extend_from_slice(others);
    if !others.is_empty() && !others.ends_with(b"\0") {
        all.push(0);
    }
    all
}

/// Cgroups in the form of `/proc/PID/cgroup`, from `controllers=path` each with its NUL. Empty: the capture has none.
pub(crate) fn cgroup_text(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes.len() + 16);
    let groups = bytes.split(|&byte| byte == 0).filter(|one| !one.is_empty());
    for (at, group) in groups.enumerate() {
        let group = group.strip_prefix(b"name=").unwrap_or(group);
        let mut halves = group.splitn(2, |&byte| byte == b'=');
        let (Some(controllers), Some(path)) = (halves.next(), halves.next()) else {
            continue;
        };
        // the number of the hierarchy means nothing, except that 0 is that of cgroup v2
        text.extend_from_slice(
            if controllers.is_empty() {
                b"0".to_vec()
            } else {
                (at + 1).to_string().into_bytes()
            }
            .as_slice(),
        );
        text.push(b':');
        text.extend_from_slice(controllers);
        text.push(b':');
        text.extend_from_slice(path);
        text.push(b'\n');
    }
    text
}

/// The fact about a program's file. Its owner is unknown, so its mode says only whether the process can write to it. None:
/// nothing is known.
pub(crate) fn program(entry: &ProgramEntry) -> Option<Program> {
    let has_file = entry.has_file();
    if !has_file && entry.capabilities.is_none() {
        return None;
    }
    let [cap_inheritable, cap_permitted, cap_effective] =
        entry.capabilities.unwrap_or([UNKNOWN_CAPABILITIES; 3]);
    let layer = match (entry.upper, entry.lower) {
        (true, _) => Layer::Upper as u32,
        (false, true) => Layer::Lower as u32,
        (false, false) if has_file => Layer::None as u32,
        (false, false) => Layer::UNKNOWN,
    };
    Some(Program {
        inode: entry.inode.unwrap_or(0),
        ctime_ns: entry.ctime_ns,
        mtime_ns: entry.mtime_ns,
        cap_inheritable,
        cap_permitted,
        cap_effective,
        mode: match (has_file, entry.writable) {
            (false, _) => 0,
            (true, true) => 0o100_777,
            (true, false) => 0o100_555,
        },
        uid: UNKNOWN,
        gid: UNKNOWN,
        layer,
    })
}

/// The fact about the ids of a process. The list has no effective ids of their own.
fn ids(entry: &ThreadEntry, parent: i64) -> Ids {
    Ids {
        ppid: id(parent).unwrap_or(0),
        pgid: entry.pgid.and_then(id).unwrap_or(UNKNOWN),
        sid: entry.sid.and_then(id).unwrap_or(UNKNOWN),
        loginuid: entry.loginuid.unwrap_or(UNKNOWN),
        uid: entry.uid,
        euid: entry.uid,
        gid: entry.gid,
        egid: entry.gid,
        tty: entry.tty,
        memfd: entry.program.is_some_and(|program| program.memfd).into(),
    }
}

impl StateWriter<'_> {
    /// Writes the state that the lists describe, parents before children, and notes the processes.
    pub(crate) fn lists(&mut self, lists: &Lists, processes: &mut Processes, recorded: &Recorded) {
        let mut threads: HashMap<i64, Vec<&ThreadEntry>> = HashMap::new();
        let mut pid_of: HashMap<i64, i64> = HashMap::new();
        for thread in &lists.threads {
            threads.entry(thread.pid).or_default().push(thread);
            pid_of.insert(thread.tid, thread.pid);
        }
        let leader = |pid: i64| {
            let of = threads.get(&pid)?;
            of.iter().find(|one| one.tid == pid).or(of.first()).copied()
        };
        // a parent is a thread; if the list does not have it, it is taken to be its process's first one
        let parent = |of: &ThreadEntry| pid_of.get(&of.ptid).copied().unwrap_or(of.ptid);
        let served = lists.served_ports();
        let mut done = HashSet::new();
        for thread in &lists.threads {
            let mut line = Vec::new();
            let mut next = Some(thread.pid);
            while let Some(entry) = next.filter(|pid| done.insert(*pid)).and_then(leader) {
                line.push(entry);
                next = Some(parent(entry));
            }
            for entry in line.into_iter().rev() {
                let others = threads.get(&entry.pid).map_or(&[][..], Vec::as_slice);
                let descriptors = others
                    .iter()
                    .filter_map(|thread| lists.descriptors.get(&thread.tid))
                    .flatten();
                self.process(
                    entry,
                    parent(entry),
                    others,
                    (descriptors, &served),
                    processes,
                    recorded,
                );
            }
        }
    }

    fn process<'a>(
        &mut self,
        entry: &ThreadEntry,
        parent: i64,
        threads: &[&ThreadEntry],
        (descriptors, served): (impl Iterator<Item = &'a DescriptorEntry>, &HashSet<u16>),
        processes: &mut Processes,
        recorded: &Recorded,
    ) {
        let Some(pid) = id(entry.pid).filter(|pid| *pid != 0) else {
            return;
        };
        let ids = ids(entry, parent);
        let text = cgroup_text(&entry.cgroups);
        let cgroup = if text.is_empty() {
            0
        } else {
            recorded.cgroup_id(&text)
        };
        let who = Who {
            time_ns: self.time_ns,
            tgid: pid,
            tid: pid,
            uid: ids.uid,
            gid: ids.gid,
            cgroup,
            flags: Flags::UNSELECTED,
            ..Who::default()
        };
        if let Some(above) = processes.get(ids.ppid).filter(|_| ids.ppid != pid) {
            let vpid = entry.vtid.and_then(id).unwrap_or(0);
            let other_namespace = vpid != 0 && vpid != pid;
            let by = Who {
                tgid: ids.ppid,
                tid: ids.ppid,
                uid: above.ids.uid,
                gid: above.ids.gid,
                cgroup: 0,
                // the capture does not say when it was
                time_ns: 0,
                ..who
            };
            let flags = if other_namespace { CLONE_NEWPID } else { 0 };
            self.fork(by, pid, pid, flags, vpid);
        }
        let facts = Facts {
            comm: &entry.comm,
            exe: &entry.exepath,
            cwd: &entry.cwd,
            argv: argv(&entry.exe, &entry.args),
            env: &entry.env,
            program: entry.program.as_ref().and_then(program),
        };
        self.exec(who, &ids, &facts);
        // closes the descriptors that it inherited
        self.call(who, "close_range", &[0, u32::MAX.into(), 0], 0, &[]);
        for thread in threads {
            let Some(tid) = id(thread.tid) else { continue };
            processes.add(tid, pid, || Process::new(ids, cgroup));
            if tid == pid {
                continue;
            }
            self.fork(who, tid, pid, CLONE_THREAD | CLONE_FILES | CLONE_FS, 0);
            if thread.comm != entry.comm {
                let own = Who { tid, ..who };
                self.named(own, &thread.comm);
            }
        }
        for descriptor in descriptors {
            self.descriptor(who, descriptor, served);
        }
    }

    /// A thread or process was born.
    pub(crate) fn fork(&mut self, by: Who, tid: u32, pid: u32, flags: u64, vpid: u32) {
        let header = Header {
            args: [tid.into(), pid.into(), flags, vpid.into(), 0, 0],
            ..by.header(EventKind::Fork)
        };
        self.builder.begin(&header);
        finish(self.builder, self.out);
    }

    /// A thread has this name.
    pub(crate) fn named(&mut self, who: Who, name: &[u8]) {
        self.call(who, "prctl", &[PR_SET_NAME, 1], 0, &[(1, name)]);
    }

    /// A process has this program.
    pub(crate) fn exec(&mut self, who: Who, ids: &Ids, facts: &Facts<'_>) {
        let nr = by_name("execve").and_then(|call| call.number(driver_api::event::Abi::X86_64));
        let header = Header {
            nr: nr.unwrap_or(0),
            ..who.header(EventKind::Exec)
        };
        self.builder.begin(&header);
        let raw = |fact: Fact, bytes| (fact, Encoding::Raw, bytes);
        let program = facts.program.as_ref().map(IntoBytes::as_bytes);
        let all = [
            Some(raw(Fact::Ids, ids.as_bytes())),
            program.map(|program| raw(Fact::Program, program)),
            Some(raw(Fact::Comm, facts.comm)),
            Some(raw(Fact::Exe, facts.exe)),
            Some(raw(Fact::Cwd, facts.cwd)),
            Some((Fact::Argv, Encoding::Strings, &facts.argv)),
            Some((Fact::Env, Encoding::Strings, facts.env)),
        ];
        for (fact, encoding, bytes) in all.into_iter().flatten() {
            attach(
                self.builder,
                fact as u8,
                Part::None,
                encoding,
                bytes,
                bytes.len() as u64,
            );
        }
        finish(self.builder, self.out);
    }

    /// A call succeeded.
    fn call(&mut self, who: Who, name: &str, args: &[u64], ret: i64, attached: &[(u8, &[u8])]) {
        let Some((abi, nr)) = by_name(name).and_then(super::table::abi_of) else {
            return;
        };
        let mut header = Header {
            abi: abi as u8,
            nr,
            ret,
            cgroup: 0,
            ..who.header(EventKind::Syscall)
        };
        for (to, from) in header.args.iter_mut().zip(args) {
            *to = *from;
        }
        self.builder.begin(&header);
        for (what, bytes) in attached {
            attach(
                self.builder,
                *what,
                Part::None,
                Encoding::Raw,
                bytes,
                bytes.len() as u64,
            );
        }
        finish(self.builder, self.out);
    }

    fn descriptor(&mut self, who: Who, entry: &DescriptorEntry, served: &HashSet<u16>) {
        let Ok(fd) = i32::try_from(entry.fd) else {
            return;
        };
        let Ok(number) = u64::try_from(fd) else {
            return;
        };
        let ret = i64::from(fd);
        match &entry.what {
            Opened::File(name) | Opened::Directory(name) => {
                let is_file = matches!(entry.what, Opened::File(_));
                let flags = if is_file { 0 } else { O_DIRECTORY };
                let path = [(1, name.as_slice()), (Fact::Path as u8, name.as_slice())];
                self.call(who, "openat", &[0, 1, flags], ret, &path);
            }
            Opened::Memfd(name) => {
                let name = name.strip_prefix(b"/memfd:").unwrap_or(name);
                self.call(who, "memfd_create", &[1], ret, &[(0, name)]);
            }
            Opened::Unix(name) => {
                self.call(who, "socket", &[AF_UNIX, 1], ret, &[]);
                if !name.is_empty() {
                    let address = Address::Unix(name.clone()).to_sockaddr();
                    self.call(who, "bind", &[number, 1], 0, &[(1, &address)]);
                }
            }
            Opened::Connected(protocol, own, other) => {
                self.socket(who, ret, *protocol, own);
                let ends = (Address::Inet(*own), Address::Inet(*other));
                if let Some(tuple) = socket::tuple(&ends.0, &ends.1) {
                    let fact = (Fact::Tuple as u8, tuple.as_bytes());
                    // the list does not say who connected; as in Falco's library, a port that a process of the list serves
                    // is the server's, and sockets of IPv6 are clients
                    if own.is_ipv4() && served.contains(&own.port()) {
                        self.call(who, "accept4", &[number], ret, &[fact]);
                    } else {
                        self.call(who, "connect", &[number], 0, &[fact]);
                    }
                }
            }
            Opened::Bound(protocol, own) => {
                self.socket(who, ret, *protocol, own);
                let address = Address::Inet(*own).to_sockaddr();
                self.call(who, "bind", &[number, 1], 0, &[(1, &address)]);
                self.call(who, "listen", &[number], 0, &[]);
            }
            Opened::Pipe(name) => {
                let twice = [fd.to_ne_bytes(), fd.to_ne_bytes()].concat();
                let path = (Fact::Path as u8, name.as_slice());
                self.call(who, "pipe2", &[1], 0, &[(0, &twice), path]);
            }
            // a capture does not say the protocol
            Opened::Made("socket") => {
                self.call(who, "socket", &[AF_NETLINK, 3, u64::MAX], ret, &[]);
            }
            Opened::Made(call) => self.call(who, call, &[], ret, &[]),
            Opened::Other => {}
        }
    }

    fn socket(&mut self, who: Who, ret: i64, protocol: u16, own: &End) {
        let family = if own.is_ipv4() { AF_INET } else { AF_INET6 };
        let sort = match protocol {
            6 => 1,
            17 => 2,
            _ => 3,
        };
        self.call(who, "socket", &[family, sort, protocol.into()], ret, &[]);
    }
}
