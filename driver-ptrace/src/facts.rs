//! What the kernel did, read from /proc and from duplicated descriptors while the thread stands still:
//! nothing can change under our hands, except by other threads of the same process.

use std::ffi::CString;
use std::fs;
use std::io::{BufRead, BufReader};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use driver_api::event::{Encoding, EventBuilder, Fact, Ids, Layer, Part, Program, Status, Tuple};
use zerocopy::IntoBytes;

use crate::memory::Memory;
use crate::proc_dir::{self, Link, ProcDir};

fn attach_raw(event: &mut EventBuilder, what: u8, bytes: &[u8]) {
    event.attach(what, Part::None, Status::Whole, Encoding::Raw, 0, bytes);
}

fn attach_text(event: &mut EventBuilder, what: u8, limit: usize, text: &[u8]) {
    let (status, text) = if text.len() > limit {
        (Status::Truncated, &text[..limit])
    } else {
        (Status::Whole, text)
    };
    event.attach(what, Part::None, status, Encoding::Raw, 0, text);
}

fn attach_link(event: &mut EventBuilder, what: u8, limit: usize, link: Option<&Link>) {
    if let Some(path) = link.and_then(Link::path) {
        attach_text(event, what, limit, path);
    }
}

/// The resolved path behind a descriptor.
pub(crate) fn path(event: &mut EventBuilder, what: u8, limit: usize, tid: u32, fd: i64) {
    attach_link(event, what, limit, proc_dir::descriptor(tid, fd).as_ref());
}

/// Who a thread is, by real and effective ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    euid: u32,
    egid: u32,
}

/// What /proc/TID/stat says (proc(5)).
struct Stat<'a> {
    comm: &'a [u8],
    /// The fields behind the name, from the third on.
    behind: &'a str,
}

impl<'a> Stat<'a> {
    /// The name stands in parentheses and may hold anything.
    fn parse(text: &'a [u8]) -> Option<Self> {
        let begin = text.iter().position(|b| *b == b'(')? + 1;
        let end = text.iter().rposition(|b| *b == b')')?;
        Some(Self {
            comm: text.get(begin..end)?,
            behind: std::str::from_utf8(text.get(end + 2..)?).ok()?,
        })
    }

    /// Some fields by their numbers in proc(5), which count from 1 and ascend here.
    fn fields<const N: usize>(&self, numbers: [usize; N]) -> [i64; N] {
        let mut words = self.behind.split_ascii_whitespace();
        let mut at = 3;
        numbers.map(|number| {
            let word = words.nth(number - at);
            at = number + 1;
            word.and_then(|word| word.parse().ok()).unwrap_or(0)
        })
    }
}

/// All facts of a new program; `owner` is who runs it.
pub(crate) fn exec(event: &mut EventBuilder, tid: u32, dir: &ProcDir, owner: Owner, limit: usize) {
    let exe = dir.link(c"exe");
    attach_link(event, Fact::Exe as u8, limit, exe.as_ref());
    attach_link(event, Fact::Cwd as u8, limit, dir.link(c"cwd").as_ref());
    let mut room = [0; 1024];
    let Some(stat) = dir.read(c"stat", &mut room).and_then(Stat::parse) else {
        return;
    };
    let [ppid, pgid, sid, tty, argv, argv_end, env, env_end] =
        stat.fields([4, 5, 6, 7, 48, 49, 50, 51]);
    let ids = Ids {
        uid: owner.uid,
        gid: owner.gid,
        euid: owner.euid,
        egid: owner.egid,
        ppid: ppid as u32,
        pgid: pgid as u32,
        sid: sid as u32,
        tty: tty as u32,
        loginuid: loginuid(dir),
        memfd: u32::from(exe.is_some_and(|exe| exe.text().starts_with(b"/memfd:"))),
    };
    attach_raw(event, Fact::Ids as u8, ids.as_bytes());
    if stat.comm.contains(&b'\\') {
        // kernels before 4.18 escape it here
        comm(event, dir, limit);
    } else {
        attach_text(event, Fact::Comm as u8, limit, stat.comm);
    }
    let memory = Memory::new(tid as i32, false);
    for (fact, file, from, to) in [
        (Fact::Argv, "cmdline", argv, argv_end),
        (Fact::Env, "environ", env, env_end),
    ] {
        attach_strings(event, fact, limit, &memory, from..to)
            .unwrap_or_else(|| attach_file(event, fact, limit, tid, file));
    }
    if let Some(program) = program(tid, dir) {
        attach_raw(event, Fact::Program as u8, program.as_bytes());
    }
}

/// The file of a new program, and what the program is capable of.
fn program(tid: u32, dir: &ProcDir) -> Option<Program> {
    let file = dir.status(c"exe")?;
    let ns = |s: i64, ns: i64| s.saturating_mul(1_000_000_000).saturating_add(ns);
    let [cap_effective, cap_permitted, cap_inheritable] = capabilities(tid)?;
    Some(Program {
        inode: file.st_ino,
        ctime_ns: ns(file.st_ctime, file.st_ctime_nsec).cast_unsigned(),
        mtime_ns: ns(file.st_mtime, file.st_mtime_nsec).cast_unsigned(),
        cap_inheritable,
        cap_permitted,
        cap_effective,
        mode: file.st_mode,
        uid: file.st_uid,
        gid: file.st_gid,
        layer: layer(tid, file.st_dev),
    })
}

/// What a thread is capable of: effective, permitted, inheritable (capget(2)).
fn capabilities(tid: u32) -> Option<[u64; 3]> {
    /// `_LINUX_CAPABILITY_VERSION_3`
    const VERSION: u32 = 0x2008_0522;
    let header = [VERSION, tid];
    let mut halves = [[0_u32; 3]; 2];
    // SAFETY: the kernel reads two words, and writes six.
    let error = unsafe { libc::syscall(libc::SYS_capget, &raw const header, &raw mut halves) };
    let [low, high] = halves;
    let whole = |at: usize| u64::from(high[at]) << 32 | u64::from(low[at]);
    (error == 0).then(|| [whole(0), whole(1), whole(2)])
}

/// Whether a program's file, on that device, is of an overlay file system; of which layer is not to be seen from here.
fn layer(tid: u32, device: libc::dev_t) -> u32 {
    if libc::major(device) != 0 {
        return Layer::None as u32;
    }
    let Ok(name) = CString::new(format!("/proc/{tid}/exe")) else {
        return Layer::UNKNOWN;
    };
    let mut found = MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: the path is a C string; the kernel writes one struct statfs, of which all bit patterns are valid.
    let (error, found) = unsafe {
        let error = libc::statfs(name.as_ptr(), found.as_mut_ptr());
        (error, found.assume_init())
    };
    if error == 0 && found.f_type != libc::OVERLAYFS_SUPER_MAGIC {
        Layer::None as u32
    } else {
        Layer::UNKNOWN
    }
}

/// The task's name.
pub(crate) fn comm(event: &mut EventBuilder, dir: &ProcDir, limit: usize) {
    let mut room = [0; 64];
    let comm = dir.read(c"comm", &mut room).unwrap_or_default();
    let comm = comm.strip_suffix(b"\n").unwrap_or(comm);
    attach_text(event, Fact::Comm as u8, limit, comm);
}

/// A new program's vector, where the kernel put it. None: it did not say where, or it cannot be read.
fn attach_strings(
    event: &mut EventBuilder,
    fact: Fact,
    limit: usize,
    memory: &Memory,
    place: std::ops::Range<i64>,
) -> Option<()> {
    let full = usize::try_from(place.end - place.start).ok()?;
    let at = u64::try_from(place.start).ok().filter(|at| *at != 0)?;
    let mut room = [0; 4096];
    let shown = room.get_mut(..full.min(limit))?;
    if memory.read(at, shown) < shown.len() {
        return None;
    }
    let status = if full > limit {
        Status::Truncated
    } else {
        Status::Whole
    };
    event.attach(
        fact as u8,
        Part::None,
        status,
        Encoding::Strings,
        full as u64,
        shown,
    );
    Some(())
}

/// A vector as /proc gives it.
fn attach_file(event: &mut EventBuilder, fact: Fact, limit: usize, tid: u32, name: &str) {
    let Ok(strings) = fs::read(format!("/proc/{tid}/{name}")) else {
        return;
    };
    let (status, shown) = if strings.len() > limit {
        (Status::Truncated, &strings[..limit])
    } else {
        (Status::Whole, &strings[..])
    };
    event.attach(
        fact as u8,
        Part::None,
        status,
        Encoding::Strings,
        strings.len() as u64,
        shown,
    );
}

/// Unset, or a kernel without auditing: all ones.
fn loginuid(dir: &ProcDir) -> u32 {
    let mut room = [0; 32];
    dir.read(c"loginuid", &mut room)
        .and_then(|text| std::str::from_utf8(text).ok()?.trim().parse().ok())
        .unwrap_or(u32::MAX)
}

/// The number behind a key of /proc/TID/status.
fn status_number(tid: u32, key: &str) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{tid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.trim().parse().ok()
}

/// The process of a thread.
pub(crate) fn tgid(tid: u32) -> Option<u32> {
    status_number(tid, "Tgid:")
}

/// The process that made a thread, as long as it lives: its own, where it is not the first.
pub(crate) fn parent(tid: u32) -> Option<u32> {
    match tgid(tid)? {
        group if group == tid => status_number(tid, "PPid:"),
        group => Some(group),
    }
}

/// Whether a thread has the same ids for others as we have. A thread stays in its namespace for life.
pub(crate) fn is_in_our_pid_namespace(tid: u32) -> bool {
    let namespace = |tid| {
        let status = ProcDir::open(tid)?.status(c"ns/pid")?;
        Some((status.st_dev, status.st_ino))
    };
    let own = namespace(std::process::id());
    own.is_some() && own == namespace(tid)
}

/// Whether a thread has a handler for a signal.
pub(crate) fn catches(tid: u32, signal: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{tid}/status")).unwrap_or_default();
    let caught = status
        .lines()
        .find_map(|line| line.strip_prefix("SigCgt:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    caught.is_some_and(|caught| caught >> (signal - 1) & 1 == 1)
}

/// Why a thread cannot be attached to.
#[derive(Debug)]
pub(crate) struct TracingState {
    /// It has ended.
    pub(crate) gone: bool,
    /// Its tracer's thread; 0: none.
    pub(crate) tracer: i32,
}

pub(crate) fn tracing_state(tid: u32) -> TracingState {
    let status = fs::read_to_string(format!("/proc/{tid}/status")).unwrap_or_default();
    let word = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        line.and_then(|line| line.split_whitespace().next())
    };
    TracingState {
        gone: word("State:").is_none_or(|state| matches!(state, "Z" | "X")),
        tracer: word("TracerPid:")
            .and_then(|tracer| tracer.parse().ok())
            .unwrap_or(0),
    }
}

/// The ids of a thread, from /proc.
pub(crate) fn owner(tid: u32) -> Owner {
    let mut owner = Owner {
        uid: u32::MAX,
        gid: u32::MAX,
        euid: u32::MAX,
        egid: u32::MAX,
    };
    let status = fs::read_to_string(format!("/proc/{tid}/status")).unwrap_or_default();
    for line in status.lines() {
        let mut words = line.split_whitespace();
        let (key, mut numbers) = (words.next(), words.map_while(|word| word.parse().ok()));
        let mut next = || numbers.next().unwrap_or(u32::MAX);
        match key {
            Some("Uid:") => (owner.uid, owner.euid) = (next(), next()),
            Some("Gid:") => (owner.gid, owner.egid) = (next(), next()),
            _ => {}
        }
    }
    owner
}

/// The ids behind an exec. They are those before it, unless the program's file has the set-user-id or
/// set-group-id bit: such a process has a folder that belongs to root (proc(5)), whatever has become of
/// the file meanwhile. All of its status would be dear.
pub(crate) fn owner_after_exec(tid: u32, dir: &ProcDir, before: Owner) -> Owner {
    let unchanged = dir
        .status(c"exe")
        .is_some_and(|file| file.st_mode & (libc::S_ISUID | libc::S_ISGID) == 0)
        && dir
            .status(c"")
            .is_some_and(|own| (own.st_uid, own.st_gid) == (before.euid, before.egid));
    if unchanged { before } else { owner(tid) }
}

/// Both ends of a socket.
pub(crate) fn tuple(event: &mut EventBuilder, what: u8, tgid: u32, tid: u32, fd: i64) {
    let Ok(fd) = i32::try_from(fd) else { return };
    let Some((tuple, local, peer)) = duplicate(tgid, fd)
        .and_then(|socket| ends(&socket))
        .or_else(|| from_proc(tid, fd))
    else {
        return;
    };
    let tuple = if incomplete(&tuple) {
        from_proc(tid, fd).map_or(tuple, |(found, ..)| found)
    } else {
        tuple
    };
    attach_raw(event, what, tuple.as_bytes());
    for (fact, name) in [(Fact::Local, local), (Fact::Peer, peer)] {
        if !name.is_empty() {
            attach_raw(event, fact as u8, &name);
        }
    }
}

/// A connection that is still being made has a peer, but getpeername(2) does not tell it.
fn incomplete(tuple: &Tuple) -> bool {
    matches!(i32::from(tuple.family), libc::AF_INET | libc::AF_INET6) && tuple.remote_port == 0
}

/// The tracee's descriptor as one of ours: Linux 5.6, and where no profile forbids it.
fn duplicate(tgid: u32, fd: i32) -> Option<OwnedFd> {
    // SAFETY: both calls take numbers and give a new descriptor or an error.
    unsafe {
        let pidfd = libc::syscall(libc::SYS_pidfd_open, tgid, 0);
        let pidfd = OwnedFd::from_raw_fd(i32::try_from(pidfd).ok().filter(|fd| *fd >= 0)?);
        let got = libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), fd, 0);
        i32::try_from(got)
            .ok()
            .filter(|fd| *fd >= 0)
            .map(|fd| OwnedFd::from_raw_fd(fd))
    }
}

/// A tuple, and the names of a Unix socket's ends.
type Ends = (Tuple, Vec<u8>, Vec<u8>);

fn ends(socket: &OwnedFd) -> Option<Ends> {
    let local = name(socket, libc::getsockname)?;
    let remote = name(socket, libc::getpeername).unwrap_or_default();
    let mut tuple = Tuple {
        family: u16::from_ne_bytes([*local.first()?, *local.get(1)?]),
        ..Tuple::default()
    };
    tuple.protocol = protocol(socket);
    let (mut from, mut to) = (Vec::new(), Vec::new());
    match i32::from(tuple.family) {
        libc::AF_UNIX => (from, to) = (unix_name(&local), unix_name(&remote)),
        libc::AF_INET | libc::AF_INET6 => {
            (tuple.local_port, tuple.local) = inet(&local);
            (tuple.remote_port, tuple.remote) = inet(&remote);
        }
        _ => {}
    }
    Some((tuple, from, to))
}

type Getter = unsafe extern "C" fn(i32, *mut libc::sockaddr, *mut libc::socklen_t) -> i32;

fn name(socket: &OwnedFd, get: Getter) -> Option<Vec<u8>> {
    let mut bytes = vec![0_u8; 128];
    let mut len = 128;
    // SAFETY: the kernel writes at most `len` bytes, which there are.
    let error = unsafe { get(socket.as_raw_fd(), bytes.as_mut_ptr().cast(), &raw mut len) };
    bytes.truncate(len as usize);
    (error == 0 && bytes.len() >= 2).then_some(bytes)
}

fn protocol(socket: &OwnedFd) -> u16 {
    let mut protocol: i32 = 0;
    let mut len = 4;
    // SAFETY: SO_PROTOCOL is an int.
    unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PROTOCOL,
            (&raw mut protocol).cast(),
            &raw mut len,
        );
    }
    u16::try_from(protocol).unwrap_or(0)
}

fn unix_name(address: &[u8]) -> Vec<u8> {
    match address.get(2..) {
        None | Some([]) => Vec::new(),
        Some(name @ [0, ..]) => name.to_vec(),
        Some(name) => name.split(|b| *b == 0).next().unwrap_or_default().to_vec(),
    }
}

fn inet(address: &[u8]) -> (u16, [u8; 16]) {
    let mut bytes = [0; 16];
    let port = address
        .get(2..4)
        .map_or(0, |port| u16::from_be_bytes([port[0], port[1]]));
    if address.len() >= 28 {
        bytes.copy_from_slice(&address[8..24]);
    } else if address.len() >= 8 {
        bytes[..4].copy_from_slice(&address[4..8]);
    }
    (port, bytes)
}

/// By the socket's inode, from the tables of the tracee's network namespace.
fn from_proc(tid: u32, fd: i32) -> Option<Ends> {
    let link = fs::read_link(format!("/proc/{tid}/fd/{fd}")).ok()?;
    let inode = link
        .to_str()?
        .strip_prefix("socket:[")?
        .strip_suffix(']')?
        .to_owned();
    let tables = [
        ("tcp", libc::AF_INET, libc::IPPROTO_TCP),
        ("tcp6", libc::AF_INET6, libc::IPPROTO_TCP),
        ("udp", libc::AF_INET, libc::IPPROTO_UDP),
        ("udp6", libc::AF_INET6, libc::IPPROTO_UDP),
    ];
    for (table, family, protocol) in tables {
        let Ok(file) = fs::File::open(format!("/proc/{tid}/net/{table}")) else {
            continue;
        };
        for line in BufReader::new(file).lines().skip(1).map_while(Result::ok) {
            let words: Vec<&str> = line.split_whitespace().collect();
            if words.get(9) == Some(&inode.as_str()) {
                let (local, local_port) = hex_address(words[1])?;
                let (remote, remote_port) = hex_address(words[2])?;
                let tuple = Tuple {
                    family: u16::try_from(family).unwrap_or(0),
                    protocol: u16::try_from(protocol).unwrap_or(0),
                    local_port,
                    remote_port,
                    local,
                    remote,
                };
                return Some((tuple, Vec::new(), Vec::new()));
            }
        }
    }
    let unix = fs::read_to_string(format!("/proc/{tid}/net/unix")).ok()?;
    let line = unix
        .lines()
        .find(|line| line.split_whitespace().nth(6) == Some(&inode))?;
    let name = line.split_whitespace().nth(7).unwrap_or_default();
    let name = if let Some(hidden) = name.strip_prefix('@') {
        format!("\0{hidden}")
    } else {
        name.to_owned()
    };
    Some((
        Tuple {
            family: u16::try_from(libc::AF_UNIX).unwrap_or(0),
            ..Tuple::default()
        },
        name.into_bytes(),
        Vec::new(),
    ))
}

/// "0100007F:1F90": words in host order, the port as a number.
fn hex_address(text: &str) -> Option<([u8; 16], u16)> {
    let (address, port) = text.split_once(':')?;
    let mut bytes = [0; 16];
    for (at, word) in bytes.chunks_mut(4).enumerate() {
        if let Some(digits) = address.get(at * 8..at * 8 + 8) {
            word.copy_from_slice(&u32::from_str_radix(digits, 16).ok()?.to_ne_bytes());
        }
    }
    Some((bytes, u16::from_str_radix(port, 16).ok()?))
}
