//! Descriptors: what each number of a process refers to, through open, dup, fork and exec.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use driver_api::event::OpenedFile;

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

    /// The kind of an anonymous inode, by its name in /proc.
    #[must_use]
    pub fn of_anonymous(name: &[u8]) -> Self {
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

    /// The name in /proc of an anonymous inode of this kind. None: it has another name, or several.
    #[must_use]
    pub fn anonymous_name(self) -> Option<&'static [u8]> {
        match self {
            Self::Event => Some(b"[eventfd]"),
            Self::Signal => Some(b"[signalfd]"),
            Self::Epoll => Some(b"[eventpoll]"),
            Self::Inotify => Some(b"inotify"),
            Self::Timer => Some(b"[timerfd]"),
            Self::Userfault => Some(b"[userfaultfd]"),
            Self::IoUring => Some(b"[io_uring]"),
            Self::Pidfd => Some(b"[pidfd]"),
            Self::File
            | Self::Directory
            | Self::Ipv4
            | Self::Ipv6
            | Self::Unix
            | Self::Netlink
            | Self::Pipe
            | Self::Memfd
            | Self::Bpf
            | Self::Other => None,
        }
    }

    /// Whether it is an internet socket.
    #[must_use]
    pub fn is_inet(self) -> bool {
        matches!(self, Self::Ipv4 | Self::Ipv6)
    }
}

/// Which end of a connection a socket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Role {
    /// Not connected.
    #[default]
    None,
    /// The end that connected.
    Client,
    /// The end that accepted or listens.
    Server,
}

/// Whether a socket is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Connection {
    /// Not connected.
    #[default]
    None,
    /// connect(2) is in progress (`EINPROGRESS`).
    Pending,
    /// Connected.
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
    /// Whether the program has chosen the local port (bind(2)).
    pub bound: bool,
    /// Whether it was made for IPv6. Its ends may be IPv4 addresses nevertheless.
    pub is_v6: bool,
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

    /// Appends Falco's `fd.name`: `client:port->server:port`, or the only known end.
    fn append_name(&self, name: &mut Vec<u8>) {
        let (from, to) = match self.role {
            Role::Server => (self.remote, self.local),
            Role::None | Role::Client => (self.local, self.remote),
        };
        let unspecified = |a: &SocketAddr| a.port() == 0 && a.ip().is_unspecified();
        // writing to a Vec cannot fail
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

/// What a descriptor refers to. Duplicates and children share it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// Its kind.
    pub kind: DescriptorKind,
    /// The path, or the ends of a socket. Empty: it has no name.
    pub name: Vec<u8>,
    /// The path that the program passed. Empty: the same as `name`.
    pub raw: Vec<u8>,
    /// What is known of an internet socket.
    pub socket: Option<Socket>,
    /// The protocol of a netlink socket (`NETLINK_*`), if it is known.
    pub netlink: Option<u16>,
    /// The file that it refers to, as the kernel had it when the file was opened.
    pub file: Option<FileId>,
    /// The number of the terminal, `/dev/pts/N`, whose controlling side (`/dev/ptmx`) this is.
    pub(super) terminal: Option<u32>,
    /// For a socket: when /proc was asked about it.
    pub(super) looked_up: Option<LookedUp>,
}

/// Which socket /proc was asked about, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LookedUp {
    pub(super) inode: u64,
    /// In nanoseconds of event time.
    pub(super) time_ns: u64,
}

/// Identifies a file on this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileId {
    /// The inode's number.
    pub inode: u64,
    /// The device's major number.
    pub major: u32,
    /// The device's minor number.
    pub minor: u32,
}

impl FileId {
    /// The file that a call opened.
    pub(super) fn of(opened: &OpenedFile) -> Self {
        let (major, minor) = opened.device_numbers();
        Self {
            inode: opened.inode,
            major,
            minor,
        }
    }
}

impl Descriptor {
    /// A descriptor without a name.
    pub(super) fn bare(kind: DescriptorKind) -> Self {
        Self {
            kind,
            name: Vec::new(),
            raw: Vec::new(),
            socket: None,
            netlink: None,
            file: None,
            terminal: None,
            looked_up: None,
        }
    }

    /// A descriptor with a name.
    pub(super) fn named(kind: DescriptorKind, name: &[u8]) -> Self {
        Self {
            name: name.into(),
            ..Self::bare(kind)
        }
    }

    /// An internet socket. IPv4-mapped IPv6 addresses become IPv4 addresses.
    pub(super) fn socket(kind: DescriptorKind, socket: Socket) -> Self {
        let mut descriptor = Self::bare(kind);
        descriptor.become_socket(kind, socket);
        descriptor
    }

    /// Makes this descriptor an internet socket, as [`socket`](Self::socket) does.
    pub(super) fn become_socket(&mut self, kind: DescriptorKind, mut socket: Socket) {
        let canonical = |end: SocketAddr| SocketAddr::new(end.ip().to_canonical(), end.port());
        socket.local = socket.local.map(canonical);
        socket.remote = socket.remote.map(canonical);
        self.kind = match socket.remote.or(socket.local).map(|end| end.ip()) {
            Some(IpAddr::V4(_)) => DescriptorKind::Ipv4,
            Some(IpAddr::V6(_)) => DescriptorKind::Ipv6,
            None => kind,
        };
        socket.is_v6 |= self.kind == DescriptorKind::Ipv6;
        self.name.clear();
        socket.append_name(&mut self.name);
        self.raw.clear();
        self.socket = Some(socket);
        self.netlink = None;
        self.file = None;
        self.terminal = None;
    }

    /// The path that the program passed.
    #[must_use]
    pub fn raw_name(&self) -> &[u8] {
        if self.raw.is_empty() {
            &self.name
        } else {
            &self.raw
        }
    }
}

/// One number in a descriptor table.
#[derive(Debug, Clone)]
pub(super) struct TableEntry {
    pub(super) descriptor: Arc<Descriptor>,
    /// Whether exec closes it.
    pub(super) close_on_exec: bool,
}

/// Identifies a descriptor table. Processes may share a table (`CLONE_FILES`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FilesId(u32);

impl FilesId {
    /// No table: the process has ended.
    pub(super) const NONE: Self = Self(u32::MAX);
}

#[derive(Debug, Default)]
struct Files {
    users: u32,
    entries: IdMap<i32, TableEntry>,
}

/// The largest capacity that a free table keeps.
const KEPT_CAPACITY: usize = 256;
/// The initial capacity of a table: what a map of 32 buckets holds. Most processes have no more descriptors.
const USUAL: usize = 28;

/// All descriptor tables.
#[derive(Debug)]
pub(super) struct FileTables {
    slots: Vec<Files>,
    free: Vec<u32>,
    /// The most descriptors of one table. More are not followed.
    limit: usize,
    /// The descriptors of all tables, and the most that there may be.
    total: usize,
    total_limit: usize,
    /// Closed descriptors to use again.
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

    /// Whether a table has more than one user. The threads of a process are one.
    pub(super) fn is_shared(&self, id: FilesId) -> bool {
        let slot = self.slots.get(id.0 as usize);
        slot.is_some_and(|files| files.users > 1)
    }

    /// Adds a user to a table.
    pub(super) fn share(&mut self, id: FilesId) -> FilesId {
        match self.at(id) {
            Some(files) => {
                files.users += 1;
                id
            }
            None => self.create(),
        }
    }

    /// A new table with the same descriptors. If that would exceed the limit for all tables, the new table is empty,
    /// and its descriptors are looked up when they are used.
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
                // the existing allocation is large enough, and is kept
                let entries = from.entries.iter();
                to.entries
                    .extend(entries.map(|(fd, entry)| (*fd, entry.clone())));
            }
            self.total += count;
        }
        copy
    }

    /// A copy of the table if it is shared, otherwise the table itself.
    pub(super) fn unshare(&mut self, id: FilesId) -> FilesId {
        if self.at(id).is_none_or(|files| files.users < 2) {
            return id;
        }
        let own = self.copy(id);
        self.release(id);
        own
    }

    /// Removes a user from a table, and frees the table with its last user.
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
            // a large table gives its memory back
            if files.entries.capacity() > KEPT_CAPACITY {
                files.entries = IdMap::default();
            }
            self.free.push(id.0);
        }
    }

    /// The table after exec: not shared, and without the descriptors that are marked close-on-exec.
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

    pub(super) fn get(&self, id: FilesId, fd: i32) -> Option<&TableEntry> {
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
                TableEntry {
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

    pub(super) fn remove(&mut self, id: FilesId, fd: i32) -> Option<TableEntry> {
        let removed = self.at(id)?.entries.remove(&fd)?;
        self.total -= 1;
        Some(removed)
    }

    pub(super) fn set_close_on_exec(&mut self, id: FilesId, fd: i32, on: bool) {
        if let Some(entry) = self.at(id).and_then(|files| files.entries.get_mut(&fd)) {
            entry.close_on_exec = on;
        }
    }

    /// Gives all numbers that refer to `old`, in all tables, another descriptor: a socket and its duplicates change
    /// together. The search begins in the table `first`, and ends when no reference is left.
    pub(super) fn replace_all(
        &mut self,
        first: FilesId,
        old: &Arc<Descriptor>,
        new: &Arc<Descriptor>,
    ) {
        let at = self.slots.len().min(first.0 as usize);
        let mut left = Arc::strong_count(old).saturating_sub(1);
        let (before, rest) = self.slots.split_at_mut(at);
        for files in rest.iter_mut().chain(before.iter_mut().rev()) {
            if left == 0 {
                break;
            }
            for entry in files.entries.values_mut() {
                if Arc::ptr_eq(&entry.descriptor, old) {
                    entry.descriptor = Arc::clone(new);
                    left = left.saturating_sub(1);
                }
            }
        }
    }

    /// close_range(2). `mark`: with `CLOSE_RANGE_CLOEXEC`, which only marks them close-on-exec.
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

    /// The number of descriptors in all tables.
    pub(super) fn total(&self) -> usize {
        self.total
    }

    pub(super) fn iter(&self, id: FilesId) -> impl Iterator<Item = (i32, &Descriptor)> {
        let files = self.slots.get(id.0 as usize);
        files
            .into_iter()
            .flat_map(|f| f.entries.iter().map(|(fd, e)| (*fd, &*e.descriptor)))
    }

    /// Number, descriptor, and whether exec closes it.
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
