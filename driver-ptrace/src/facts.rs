//! What the kernel did, read from /proc and from duplicated descriptors while the thread stands still:
//! nothing can change under our hands, except by other threads of the same process.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use driver_api::event::{Encoding, EventBuilder, Fact, Ids, Part, Status, Tuple};
use zerocopy::IntoBytes;

fn attach_text(event: &mut EventBuilder, what: u8, limit: usize, text: &[u8]) {
    let (status, text) = if text.len() > limit {
        (Status::Truncated, &text[..limit])
    } else {
        (Status::Whole, text)
    };
    event.attach(what, Part::None, status, Encoding::Raw, 0, text);
}

fn attach_link(event: &mut EventBuilder, what: u8, limit: usize, link: impl AsRef<Path>) {
    // pipes, sockets and anonymous inodes have links that are no paths
    if let Ok(path) = fs::read_link(link)
        && path.as_os_str().as_bytes().starts_with(b"/")
    {
        attach_text(event, what, limit, path.as_os_str().as_bytes());
    }
}

/// The resolved path behind a descriptor.
pub(crate) fn path(event: &mut EventBuilder, what: u8, limit: usize, tid: u32, fd: i64) {
    attach_link(event, what, limit, format!("/proc/{tid}/fd/{fd}"));
}

/// All facts of a new program.
pub(crate) fn exec(event: &mut EventBuilder, tid: u32, limit: usize) {
    let file = |name: &str| format!("/proc/{tid}/{name}");
    attach_link(event, Fact::Exe as u8, limit, file("exe"));
    attach_link(event, Fact::Cwd as u8, limit, file("cwd"));
    event.attach(
        Fact::Ids as u8,
        Part::None,
        Status::Whole,
        Encoding::Raw,
        0,
        ids(tid).as_bytes(),
    );
    if let Ok(comm) = fs::read(file("comm")) {
        attach_text(
            event,
            Fact::Comm as u8,
            limit,
            comm.strip_suffix(b"\n").unwrap_or(&comm),
        );
    }
    for (fact, name) in [(Fact::Argv, "cmdline"), (Fact::Env, "environ")] {
        if let Ok(strings) = fs::read(file(name)) {
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
    }
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

/// Real user and group id of a thread, from /proc.
pub(crate) fn owner(tid: u32) -> (u32, u32) {
    let ids = status_ids(tid);
    (ids.uid, ids.gid)
}

fn status_ids(tid: u32) -> Ids {
    let mut ids = Ids {
        uid: u32::MAX,
        gid: u32::MAX,
        ..Ids::default()
    };
    let status = fs::read_to_string(format!("/proc/{tid}/status")).unwrap_or_default();
    for line in status.lines() {
        let mut words = line.split_whitespace();
        let (key, mut numbers) = (words.next(), words.map_while(|word| word.parse().ok()));
        match key {
            Some("PPid:") => ids.ppid = numbers.next().unwrap_or(0),
            Some("Uid:") => (ids.uid, ids.euid) = real_and_effective(numbers),
            Some("Gid:") => (ids.gid, ids.egid) = real_and_effective(numbers),
            _ => {}
        }
    }
    ids
}

fn real_and_effective(mut numbers: impl Iterator<Item = u32>) -> (u32, u32) {
    let mut next = || numbers.next().unwrap_or(u32::MAX);
    (next(), next())
}

fn ids(tid: u32) -> Ids {
    let mut ids = status_ids(tid);
    // proc(5): the fields behind the name, which stands in parentheses and may hold anything
    let stat = fs::read_to_string(format!("/proc/{tid}/stat")).unwrap_or_default();
    let behind = stat.rsplit_once(") ").map_or("", |(_, behind)| behind);
    let number = |at: usize| {
        behind
            .split(' ')
            .nth(at)
            .and_then(|word| word.parse::<i64>().ok())
            .unwrap_or(0)
    };
    (ids.pgid, ids.sid, ids.tty) = (number(2) as u32, number(3) as u32, number(4) as u32);
    ids.loginuid = fs::read_to_string(format!("/proc/{tid}/loginuid"))
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(u32::MAX);
    let exe = fs::read_link(format!("/proc/{tid}/exe"));
    ids.memfd =
        u32::from(exe.is_ok_and(|path| path.as_os_str().as_bytes().starts_with(b"/memfd:")));
    ids
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
    event.attach(
        what,
        Part::None,
        Status::Whole,
        Encoding::Raw,
        0,
        tuple.as_bytes(),
    );
    for (fact, name) in [(Fact::Local, local), (Fact::Peer, peer)] {
        if !name.is_empty() {
            event.attach(
                fact as u8,
                Part::None,
                Status::Whole,
                Encoding::Raw,
                0,
                &name,
            );
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
