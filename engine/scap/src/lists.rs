//! The lists in front of the events: processes, their descriptors, users. Every version of their blocks is read. What
//! lanner has no place for (the machine's size, network interfaces) is skipped.
//!
//! The versions and the order of fields are those of `userspace/libscap/engine/savefile/scap_savefile.c` in
//! falcosecurity/libs.

use decode::program::UNKNOWN_CAPABILITIES;
use inspect::{DescriptorKind, User};

use super::bytes::{Bytes, text};
use super::error::Fault;

/// A thread of the list of processes. Texts end before their NUL.
#[derive(Debug, Default)]
pub(crate) struct ThreadEntry {
    pub(crate) tid: i64,
    pub(crate) pid: i64,
    /// The thread that is the parent.
    pub(crate) ptid: i64,
    pub(crate) sid: Option<i64>,
    pub(crate) pgid: Option<i64>,
    pub(crate) comm: Vec<u8>,
    /// The first argument of the program.
    pub(crate) exe: Vec<u8>,
    pub(crate) exepath: Vec<u8>,
    /// The other arguments, each with its NUL.
    pub(crate) args: Vec<u8>,
    pub(crate) env: Vec<u8>,
    pub(crate) cwd: Vec<u8>,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) loginuid: Option<u32>,
    pub(crate) tty: u32,
    pub(crate) vtid: Option<i64>,
    /// As `controllers=path`, each with its NUL.
    pub(crate) cgroups: Vec<u8>,
    pub(crate) program: Option<ProgramEntry>,
}

/// What the list or an event says about a program's file and capabilities.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct ProgramEntry {
    pub(crate) writable: bool,
    /// Inheritable, permitted, effective. None: not known.
    pub(crate) capabilities: Option<[u64; 3]>,
    pub(crate) upper: bool,
    pub(crate) lower: bool,
    pub(crate) memfd: bool,
    /// None: the capture is older than this parameter. 0: the file is not known.
    pub(crate) inode: Option<u64>,
    pub(crate) ctime_ns: u64,
    pub(crate) mtime_ns: u64,
}

impl ProgramEntry {
    /// Whether the file is known. Falco, too, writes zeros about a file that it could not look at.
    pub(crate) fn has_file(&self) -> bool {
        self.inode != Some(0) || self.writable || self.upper || self.lower
    }
}

/// The sets of capabilities, inheritable first. None: not known.
pub(crate) fn known_capabilities(sets: [Option<u64>; 3]) -> Option<[u64; 3]> {
    let [inheritable, permitted, effective] = sets;
    let sets = [inheritable?, permitted?, effective?];
    let unknown = |set: &u64| set & UNKNOWN_CAPABILITIES != 0;
    (!sets.iter().any(unknown)).then_some(sets)
}

/// A descriptor of the list.
#[derive(Debug)]
pub(crate) struct DescriptorEntry {
    pub(crate) fd: i64,
    pub(crate) what: Opened,
}

/// One end of a connection.
pub(crate) type End = std::net::SocketAddr;

/// What a descriptor refers to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Opened {
    File(Vec<u8>),
    Directory(Vec<u8>),
    /// A connection: protocol, local end, remote end.
    Connected(u16, End, End),
    /// A socket that listens, or is bound.
    Bound(u16, End),
    Unix(Vec<u8>),
    Memfd(Vec<u8>),
    /// One end of a pipe, with its name in /proc: `pipe:[INODE]`, or the path of a FIFO.
    Pipe(Vec<u8>),
    /// Another one, which the call of this name makes.
    Made(&'static str),
    /// Anything else.
    Other,
}

/// What a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BlockKind {
    Section,
    /// Processes, with the version of the block.
    Processes(u8),
    Descriptors {
        /// Each entry begins with its length.
        sized: bool,
    },
    Users {
        /// Each entry begins with its length.
        sized: bool,
    },
    Event {
        /// The header has the number of parameters.
        counted: bool,
        /// Flags come before the header.
        flagged: bool,
    },
    /// Machine, interfaces, and what a later version may add.
    Other,
}

impl BlockKind {
    /// The kind of a block with this type. Types with the top bit were used before the first release.
    pub(crate) fn of(kind: u32) -> Self {
        match kind {
            super::blocks::SECTION => Self::Section,
            0x202 | 0x8000_abcd => Self::Processes(1),
            0x207 | 0x8013_abcd => Self::Processes(2),
            0x209 | 0x8014_abcd => Self::Processes(3),
            0x210 => Self::Processes(4),
            0x211 => Self::Processes(5),
            0x212 => Self::Processes(6),
            0x213 => Self::Processes(7),
            0x214 => Self::Processes(8),
            0x215 => Self::Processes(9),
            0x203 | 0x8001_abcd => Self::Descriptors { sized: false },
            0x218 => Self::Descriptors { sized: true },
            0x206 | 0x8012_abcd => Self::Users { sized: false },
            0x220 => Self::Users { sized: true },
            0x204 | 0x8010_abcd => Self::Event {
                counted: false,
                flagged: false,
            },
            0x208 => Self::Event {
                counted: false,
                flagged: true,
            },
            0x216 | 0x221 => Self::Event {
                counted: true,
                flagged: false,
            },
            0x217 | 0x222 => Self::Event {
                counted: true,
                flagged: true,
            },
            _ => Self::Other,
        }
    }
}

/// Hands out the entries of a list. An entry with a length is read within that length, and what is left of it is from a
/// later version. The last bytes of a block are padding.
fn entries<'a>(
    body: &mut Bytes<'a>,
    sized: bool,
    what: &'static str,
    mut each: impl FnMut(&mut Bytes<'a>) -> Option<()>,
) -> Result<(), Fault> {
    /// Fewer bytes than this are padding.
    const PADDING: usize = 4;
    let fault = || Fault::Entry(what);
    while body.left() >= PADDING {
        if sized {
            // the length counts its own four bytes
            let len = body.u32().ok_or_else(fault)? as usize;
            let inner = len.checked_sub(4).ok_or_else(fault)?;
            let mut entry = Bytes::new(body.take(inner).ok_or_else(fault)?);
            each(&mut entry).ok_or_else(fault)?;
        } else {
            each(body).ok_or_else(fault)?;
        }
    }
    Ok(())
}

/// Reads a list of processes.
pub(crate) fn processes(body: &[u8], version: u8, to: &mut Vec<ThreadEntry>) -> Result<(), Fault> {
    let sized = version >= 9;
    entries(&mut Bytes::new(body), sized, "processes", |from| {
        to.push(process(from, version)?);
        Some(())
    })
}

fn process(from: &mut Bytes<'_>, version: u8) -> Option<ThreadEntry> {
    let mut entry = ThreadEntry {
        tid: from.i64()?,
        pid: from.i64()?,
        ptid: from.i64()?,
        ..ThreadEntry::default()
    };
    if version >= 6 {
        entry.sid = Some(from.i64()?);
    }
    if version >= 8 {
        // the group's id in the process's own namespace
        from.i64()?;
    }
    entry.comm = text(from.string()?).to_vec();
    entry.exe = text(from.string()?).to_vec();
    if version >= 7 {
        entry.exepath = text(from.string()?).to_vec();
    }
    entry.args = from.string()?.to_vec();
    entry.cwd = text(from.string()?).to_vec();
    // the limit of descriptors, and flags
    from.u64()?;
    from.u32()?;
    entry.uid = from.u32()?;
    entry.gid = from.u32()?;
    if version >= 2 {
        // sizes of memory, page faults
        from.take(3 * 4 + 2 * 8)?;
    }
    if version >= 3 {
        entry.env = from.string()?.to_vec();
    }
    if version >= 4 {
        entry.vtid = Some(from.i64()?);
        from.i64()?;
        entry.cgroups = from.string()?.to_vec();
    }
    if version >= 5 {
        // the root directory
        from.string()?;
    }
    if version >= 9 {
        later(from, &mut entry);
    }
    Some(entry)
}

/// The fields that version 9 gained with time. An older file ends before them.
fn later(from: &mut Bytes<'_>, entry: &mut ThreadEntry) {
    /// Bytes of the fields before version 0.10 of Falco's libraries, which put two fields in front of them.
    const BEFORE_0_10: usize = 4 + 1 + 3 * 8;
    if from.left() > BEFORE_0_10 {
        // when its pid namespace began
        let _ = from.u64();
        entry.tty = from.u32().unwrap_or(0);
    }
    entry.loginuid = from.u32();
    let Some(writable) = from.u8() else { return };
    let mut program = ProgramEntry {
        writable: writable != 0,
        ..ProgramEntry::default()
    };
    program.capabilities = known_capabilities([(); 3].map(|()| from.u64()));
    program.upper = from.u8().is_some_and(|upper| upper != 0);
    program.inode = from.u64();
    program.ctime_ns = from.u64().unwrap_or(0);
    program.mtime_ns = from.u64().unwrap_or(0);
    program.memfd = from.u8().is_some_and(|memfd| memfd != 0);
    program.lower = from.u8().is_some_and(|lower| lower != 0);
    entry.pgid = from.i64();
    entry.program = Some(program);
}

/// Reads a list of one thread's descriptors. Returns the thread.
pub(crate) fn descriptors(
    body: &[u8],
    sized: bool,
    to: &mut Vec<DescriptorEntry>,
) -> Result<i64, Fault> {
    let mut body = Bytes::new(body);
    let tid = body.i64().ok_or(Fault::Entry("descriptors"))?;
    entries(&mut body, sized, "descriptors", |from| {
        let fd = from.i64()?;
        from.u64()?;
        let kind = from.u8()?;
        let what = opened(kind, from)?;
        to.push(DescriptorEntry { fd, what });
        Some(())
    })?;
    Ok(tid)
}

/// The type of a descriptor that the writer has no type for (`scap_fd_type`).
pub(crate) const UNSUPPORTED: u8 = 10;
/// How the name of an inode without a path begins in /proc.
pub(crate) const ANONYMOUS: &[u8] = b"anon_inode:";

/// The rest of a descriptor of this type (`scap_fd_type`).
fn opened(kind: u8, from: &mut Bytes<'_>) -> Option<Opened> {
    Some(match kind {
        1 => Opened::File(name(from)?),
        2 => Opened::Directory(name(from)?),
        3 | 4 => {
            let wide = kind == 4;
            let (source, target) = (address(from, wide)?, address(from, wide)?);
            let (source_port, target_port) = (from.u16()?, from.u16()?);
            let protocol = protocol(from.u8()?);
            Opened::Connected(
                protocol,
                (source, source_port).into(),
                (target, target_port).into(),
            )
        }
        5 | 6 => {
            let ip = address(from, kind == 6)?;
            let port = from.u16()?;
            Opened::Bound(protocol(from.u8()?), (ip, port).into())
        }
        8 => {
            // the kernel's addresses of both ends
            from.take(16)?;
            Opened::Unix(name(from)?)
        }
        16 => {
            from.u32()?;
            Opened::File(name(from)?)
        }
        7 => Opened::Pipe(name(from)?),
        20 => Opened::Memfd(name(from)?),
        UNSUPPORTED => {
            let name = name(from)?;
            let anonymous = name.strip_prefix(ANONYMOUS);
            match anonymous.map(DescriptorKind::of_anonymous) {
                _ if name.starts_with(b"/memfd:") => Opened::Memfd(name),
                Some(DescriptorKind::Userfault) => Opened::Made("userfaultfd"),
                Some(DescriptorKind::IoUring) => Opened::Made("io_uring_setup"),
                Some(DescriptorKind::Pidfd) => Opened::Made("pidfd_open"),
                _ => Opened::Other,
            }
        }
        9..=15 | 17..=19 | 21 => {
            name(from)?;
            match kind {
                9 => Opened::Made("eventfd2"),
                11 => Opened::Made("signalfd4"),
                12 => Opened::Made("epoll_create1"),
                13 => Opened::Made("inotify_init1"),
                14 => Opened::Made("timerfd_create"),
                18 => Opened::Made("userfaultfd"),
                19 => Opened::Made("io_uring_setup"),
                21 => Opened::Made("pidfd_open"),
                15 => Opened::Made("socket"),
                _ => Opened::Other,
            }
        }
        _ => Opened::Other,
    })
}

fn name(from: &mut Bytes<'_>) -> Option<Vec<u8>> {
    Some(text(from.string()?).to_vec())
}

/// An address in network byte order, of IPv6 if it is wide.
pub(crate) fn address(from: &mut Bytes<'_>, wide: bool) -> Option<std::net::IpAddr> {
    if wide {
        let bytes: [u8; 16] = from.take(16)?.try_into().ok()?;
        return Some(bytes.into());
    }
    let bytes: [u8; 4] = from.take(4)?.try_into().ok()?;
    Some(bytes.into())
}

/// `IPPROTO_*` of a `scap_l4_proto`. 0: not known.
fn protocol(kind: u8) -> u16 {
    match kind {
        2 => 6,
        3 => 17,
        4 => 1,
        5 => 255,
        _ => 0,
    }
}

/// Users and groups, each with its id.
#[derive(Debug, Default)]
pub(crate) struct UserList {
    pub(crate) users: Vec<(u32, User)>,
    pub(crate) groups: Vec<(u32, Box<[u8]>)>,
}

/// Reads a list of users and groups.
pub(crate) fn users(body: &[u8], sized: bool, to: &mut UserList) -> Result<(), Fault> {
    /// The type of an entry that is a user.
    const USER: u8 = 0;
    entries(&mut Bytes::new(body), sized, "users", |from| {
        if from.u8()? == USER {
            let id = from.u32()?;
            from.u32()?;
            let user = User {
                name: text(from.string()?).into(),
                home: text(from.string()?).into(),
                shell: text(from.string()?).into(),
            };
            to.users.push((id, user));
        } else {
            let id = from.u32()?;
            to.groups.push((id, text(from.string()?).into()));
        }
        Some(())
    })
}
