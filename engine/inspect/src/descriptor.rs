//! Descriptors: what is open, under which number. Followed through open, dup, fork and exec; answers
//! `fd.*`.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::hash::IdMap;
use super::pool::Pool;

/// What a descriptor refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DescriptorKind {
    /// A file or device.
    File,
    /// A directory.
    Directory,
    /// An IPv4 socket.
    Ipv4,
    /// An IPv6 socket.
    Ipv6,
    /// A Unix socket.
    Unix,
    /// A netlink socket.
    Netlink,
    /// A pipe.
    Pipe,
    /// eventfd(2)
    Event,
    /// signalfd(2)
    Signal,
    /// epoll_create(2)
    Epoll,
    /// inotify_init(2)
    Inotify,
    /// timerfd_create(2)
    Timer,
    /// memfd_create(2)
    Memfd,
    /// A BPF program, map or link.
    Bpf,
    /// userfaultfd(2)
    Userfault,
    /// io_uring_setup(2)
    IoUring,
    /// pidfd_open(2)
    Pidfd,
    /// Anything else.
    Other,
}

impl DescriptorKind {
    /// Falco's `fd.type`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.words().0
    }

    /// Falco's `fd.typechar`.
    #[must_use]
    pub fn letter(self) -> &'static str {
        self.words().1
    }

    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::File => ("file", "f"),
            Self::Directory => ("directory", "d"),
            Self::Ipv4 => ("ipv4", "4"),
            Self::Ipv6 => ("ipv6", "6"),
            Self::Unix => ("unix", "u"),
            Self::Netlink => ("netlink", "n"),
            Self::Pipe => ("pipe", "p"),
            Self::Event => ("event", "e"),
            Self::Signal => ("signalfd", "s"),
            Self::Epoll => ("eventpoll", "l"),
            Self::Inotify => ("inotify", "i"),
            Self::Timer => ("timerfd", "t"),
            Self::Memfd => ("memfd", "m"),
            Self::Bpf => ("bpf", "b"),
            Self::Userfault => ("userfaultfd", "u"),
            Self::IoUring => ("io_uring", "r"),
            Self::Pidfd => ("pidfd", "P"),
            Self::Other => ("other", "o"),
        }
    }

    /// The kind of an anonymous inode, by the name that /proc gives it.
    pub(super) fn of_anonymous(name: &[u8]) -> Self {
        match name {
            b"[eventfd]" => Self::Event,
            b"[signalfd]" => Self::Signal,
            b"[eventpoll]" => Self::Epoll,
            b"inotify" => Self::Inotify,
            b"[timerfd]" => Self::Timer,
            b"bpf-prog" | b"bpf-map" | b"bpf_link" => Self::Bpf,
            b"[userfaultfd]" => Self::Userfault,
            b"[io_uring]" => Self::IoUring,
            b"[pidfd]" => Self::Pidfd,
            _ => Self::Other,
        }
    }

    /// Whether it is an internet socket.
    #[must_use]
    pub fn is_inet(self) -> bool {
        matches!(self, Self::Ipv4 | Self::Ipv6)
    }
}

/// Which end of a connection a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Role {
    /// Not connected.
    #[default]
    None,
    /// It connected.
    Client,
    /// It accepted, or listens.
    Server,
}

/// Whether a socket is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Connection {
    /// It is not.
    #[default]
    None,
    /// connect(2) has not ended yet (`EINPROGRESS`).
    Pending,
    /// It is.
    Made,
}

/// What is known of an internet socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Socket {
    /// `IPPROTO_*`; 0: not known.
    pub protocol: u16,
    /// This end.
    pub local: Option<SocketAddr>,
    /// The other end.
    pub remote: Option<SocketAddr>,
    /// Which end this is.
    pub role: Role,
    /// Whether it is connected.
    pub connection: Connection,
}

impl Socket {
    /// The end that connected.
    #[must_use]
    pub fn client(&self) -> Option<SocketAddr> {
        match self.role {
            Role::None => None,
            Role::Client => self.local,
            Role::Server => self.remote,
        }
    }

    /// The end that accepted.
    #[must_use]
    pub fn server(&self) -> Option<SocketAddr> {
        match self.role {
            Role::None => None,
            Role::Client => self.remote,
            Role::Server => self.local,
        }
    }

    /// Appends Falco's `fd.name`: `client:port->server:port`, or the one end there is.
    fn append_name(&self, name: &mut Vec<u8>) {
        let (from, to) = match self.role {
            Role::Server => (self.remote, self.local),
            Role::None | Role::Client => (self.local, self.remote),
        };
        let unspecified = |a: &SocketAddr| a.port() == 0 && a.ip().is_unspecified();
        // to a Vec, writing cannot fail
        let _ = match (from, to) {
            (Some(from), Some(to)) => {
                let (from_port, to_port) = (from.port(), to.port());
                write!(name, "{}:{from_port}->{}:{to_port}", from.ip(), to.ip())
            }
            (Some(one), None) | (None, Some(one)) if !unspecified(&one) => {
                write!(name, "{}:{}", one.ip(), one.port())
            }
            _ => Ok(()),
        };
    }
}

/// What a descriptor refers to, and under which name. Shared by duplicates and children.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// What it is.
    pub kind: DescriptorKind,
    /// Path, or the ends of a socket. Empty where there is no name.
    pub name: Vec<u8>,
    /// The path as the program said it, where that differs; else empty.
    pub raw: Vec<u8>,
    /// Of internet sockets.
    pub socket: Option<Socket>,
}

impl Descriptor {
    /// Something without a name.
    pub(super) fn bare(kind: DescriptorKind) -> Self {
        Self {
            kind,
            name: Vec::new(),
            raw: Vec::new(),
            socket: None,
        }
    }

    /// Something with a name.
    pub(super) fn named(kind: DescriptorKind, name: &[u8]) -> Self {
        Self {
            name: name.into(),
            ..Self::bare(kind)
        }
    }

    /// An internet socket. An IPv4 address in the guise of IPv6 is taken for what it is.
    pub(super) fn socket(kind: DescriptorKind, socket: Socket) -> Self {
        let mut descriptor = Self::bare(kind);
        descriptor.become_socket(kind, socket);
        descriptor
    }

    /// The same, in the place of another one.
    pub(super) fn become_socket(&mut self, kind: DescriptorKind, mut socket: Socket) {
        let plain = |end: SocketAddr| SocketAddr::new(end.ip().to_canonical(), end.port());
        socket.local = socket.local.map(plain);
        socket.remote = socket.remote.map(plain);
        self.kind = match socket.remote.or(socket.local).map(|end| end.ip()) {
            Some(IpAddr::V4(_)) => DescriptorKind::Ipv4,
            Some(IpAddr::V6(_)) => DescriptorKind::Ipv6,
            None => kind,
        };
        self.name.clear();
        socket.append_name(&mut self.name);
        self.raw.clear();
        self.socket = Some(socket);
    }

    /// The path as the program said it.
    #[must_use]
    pub fn raw_name(&self) -> &[u8] {
        if self.raw.is_empty() {
            &self.name
        } else {
            &self.raw
        }
    }
}

/// A descriptor's number refers to this.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) descriptor: Arc<Descriptor>,
    /// It does not survive exec.
    pub(super) close_on_exec: bool,
}

/// Place of a descriptor table; tables may be shared (`CLONE_FILES`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FilesId(u32);

impl FilesId {
    /// No table: that of a process that has ended.
    pub(super) const NONE: Self = Self(u32::MAX);
}

#[derive(Debug, Default)]
struct Files {
    users: u32,
    entries: IdMap<i32, Entry>,
}

/// Descriptors for which a table that is free keeps room.
const ROOM: usize = 256;
/// Most processes have no more: so much room a table has at least, all that a map of 32 buckets takes.
const USUAL: usize = 28;

/// All descriptor tables.
#[derive(Debug)]
pub(super) struct FileTables {
    slots: Vec<Files>,
    free: Vec<u32>,
    /// Descriptors a table may have; more are not followed.
    limit: usize,
    /// Descriptors of all tables, and how many of them there may be.
    total: usize,
    total_limit: usize,
    /// Room of what was closed.
    pub(super) pool: Pool,
}

impl FileTables {
    pub(super) fn new(limit: usize, total_limit: usize) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            limit,
            total: 0,
            total_limit,
            pool: Pool::default(),
        }
    }

    /// An empty table with one user.
    pub(super) fn create(&mut self) -> FilesId {
        if let Some(at) = self.free.pop() {
            self.slots[at as usize].users = 1;
            return FilesId(at);
        }
        let mut files = Files {
            users: 1,
            ..Files::default()
        };
        files.entries.reserve(USUAL);
        self.slots.push(files);
        FilesId(u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX))
    }

    fn at(&mut self, id: FilesId) -> Option<&mut Files> {
        self.slots.get_mut(id.0 as usize)
    }

    /// Another process uses the same table from now on.
    pub(super) fn share(&mut self, id: FilesId) -> FilesId {
        match self.at(id) {
            Some(files) => {
                files.users += 1;
                id
            }
            None => self.create(),
        }
    }

    /// A table of its own with the same descriptors. Where there are too many already, it begins without: what it has is
    /// looked up when it matters.
    pub(super) fn copy(&mut self, id: FilesId) -> FilesId {
        let count = self.at(id).map_or(0, |files| files.entries.len());
        let copy = self.create();
        if self.total + count > self.total_limit {
            return copy;
        }
        let of = |id: FilesId| id.0 as usize;
        if let Ok([from, to]) = self.slots.get_disjoint_mut([of(id), of(copy)]) {
            if to.entries.capacity() < count {
                to.entries.clone_from(&from.entries);
            } else {
                // what is larger than it has to be is kept
                let entries = from.entries.iter();
                to.entries
                    .extend(entries.map(|(fd, entry)| (*fd, entry.clone())));
            }
            self.total += count;
        }
        copy
    }

    /// A table of its own for one that shared it; a process that has ended gets none.
    pub(super) fn unshare(&mut self, id: FilesId) -> FilesId {
        if self.at(id).is_none_or(|files| files.users < 2) {
            return id;
        }
        let own = self.copy(id);
        self.release(id);
        own
    }

    /// One user less.
    pub(super) fn release(&mut self, id: FilesId) {
        let Some(files) = self.slots.get_mut(id.0 as usize) else {
            return;
        };
        files.users = files.users.saturating_sub(1);
        if files.users == 0 {
            self.total -= files.entries.len();
            for (_, entry) in files.entries.drain() {
                self.pool.keep(entry.descriptor);
            }
            // a table that was large gives its room back
            if files.entries.capacity() > ROOM {
                files.entries = IdMap::default();
            }
            self.free.push(id.0);
        }
    }

    /// What exec does: a table of its own, without what is marked close-on-exec.
    pub(super) fn exec(&mut self, id: FilesId) -> FilesId {
        let shared = self.at(id).is_some_and(|files| files.users > 1);
        let own = if shared { self.copy(id) } else { id };
        if shared {
            self.release(id);
        }
        if let Some(files) = self.slots.get_mut(own.0 as usize) {
            for (_, entry) in files.entries.extract_if(|_, entry| entry.close_on_exec) {
                self.pool.keep(entry.descriptor);
                self.total -= 1;
            }
        }
        own
    }

    pub(super) fn get(&self, id: FilesId, fd: i32) -> Option<&Entry> {
        self.slots.get(id.0 as usize)?.entries.get(&fd)
    }

    pub(super) fn insert(
        &mut self,
        id: FilesId,
        fd: i32,
        descriptor: Arc<Descriptor>,
        close_on_exec: bool,
    ) {
        let full = self.total >= self.total_limit;
        let limit = if full { 0 } else { self.limit };
        if let Some(files) = self.at(id)
            && fd >= 0
            && (files.entries.len() < limit || files.entries.contains_key(&fd))
        {
            let former = files.entries.insert(
                fd,
                Entry {
                    descriptor,
                    close_on_exec,
                },
            );
            match former {
                Some(former) => self.pool.keep(former.descriptor),
                None => self.total += 1,
            }
        }
    }

    pub(super) fn remove(&mut self, id: FilesId, fd: i32) -> Option<Entry> {
        let removed = self.at(id)?.entries.remove(&fd)?;
        self.total -= 1;
        Some(removed)
    }

    pub(super) fn set_close_on_exec(&mut self, id: FilesId, fd: i32, on: bool) {
        if let Some(entry) = self.at(id).and_then(|files| files.entries.get_mut(&fd)) {
            entry.close_on_exec = on;
        }
    }

    /// close_range(2); with `mark`, its `CLOSE_RANGE_CLOEXEC`.
    pub(super) fn close_range(&mut self, id: FilesId, first: u32, last: u32, mark: bool) {
        let Some(files) = self.at(id) else { return };
        let before = files.entries.len();
        files.entries.retain(|fd, entry| {
            let inside = (first..=last).contains(&fd.cast_unsigned());
            entry.close_on_exec |= inside && mark;
            !inside || mark
        });
        let closed = before - files.entries.len();
        self.total -= closed;
    }

    /// Descriptors of all tables.
    pub(super) fn total(&self) -> usize {
        self.total
    }

    pub(super) fn iter(&self, id: FilesId) -> impl Iterator<Item = (i32, &Descriptor)> {
        let files = self.slots.get(id.0 as usize);
        files
            .into_iter()
            .flat_map(|f| f.entries.iter().map(|(fd, e)| (*fd, &*e.descriptor)))
    }

    /// Number, descriptor, and whether it is closed on exec.
    pub(super) fn entries(&self, id: FilesId) -> impl Iterator<Item = (i32, &Descriptor, bool)> {
        let entries = self.slots.get(id.0 as usize).map(|files| &files.entries);
        entries.into_iter().flat_map(|entries| {
            entries
                .iter()
                .map(|(fd, entry)| (*fd, &*entry.descriptor, entry.close_on_exec))
        })
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}
