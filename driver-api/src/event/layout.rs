//! The layout of an event in memory. `bpf/event.h` says the same in C; it is generated from this file (`make header`).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, TryFromBytes};

/// Version of the layout; an event of another version is malformed.
pub const VERSION: u8 = 1;
/// The largest event in bytes, header and attachments.
pub const MAX: usize = 32768;

/// In a fork's fifth argument: the driver has determined what parent and child share.
pub const FORK_SEEN: u64 = 0x8000_0000_0000_0000;
/// In the third argument of [`EventKind::Lost`]: only calls are missing, and no birth, exec or end.
pub const LOST_CALLS: u64 = 1;

/// In [`OpenedFile::flags`]: not known.
pub const FLAGS_UNKNOWN: u32 = 0xffff_ffff;

/// In [`AttachmentHeader::what`]: ignore this attachment, a better one follows.
pub const REPLACED: u8 = 255;

/// The fixed part of an event.
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Header {
    /// Bytes of header and attachments, a multiple of 8.
    pub len: u32,
    /// [`VERSION`].
    pub version: u8,
    /// One of [`EventKind`].
    pub kind: u8,
    /// An [`Abi`].
    pub abi: u8,
    /// How many attachments follow.
    pub attachments: u8,
    /// The CPU the event happened on.
    pub cpu: u16,
    /// [`Flags`].
    pub flags: u16,
    /// Syscall number in its ABI.
    pub nr: u32,
    /// `CLOCK_MONOTONIC`, nanoseconds.
    pub time_ns: u64,
    /// Thread-group id: the process.
    pub tgid: u32,
    /// Thread id.
    pub tid: u32,
    /// Real user id.
    pub uid: u32,
    /// Real group id.
    pub gid: u32,
    /// cgroup v2 id; 0: not known.
    pub cgroup: u64,
    /// Return value, a negative errno on failure.
    pub ret: i64,
    /// The six arguments as the registers held them.
    pub args: [u64; 6],
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, TryFromBytes)]
#[repr(u8)]
pub enum EventKind {
    /// A call returned or, with [`Flags::NORETURN`] or [`Flags::ENTRY`], was entered.
    Syscall = 1,
    /// A process has a new program; `nr` says by which call.
    Exec = 2,
    /// A thread or process was born. `args`: its tid, its tgid, the clone flags (0: not known), its tid in its own
    /// PID namespace (0: not known), and [`FORK_SEEN`] with those of the flags `CLONE_FS`, `CLONE_FILES`,
    /// `CLONE_PARENT` and `CLONE_NEWPID` that the driver saw take effect (0: the driver did not look).
    Fork = 3,
    /// A thread ended. `ret` is its wait status (wait(2)).
    Exit = 4,
    /// A signal was delivered. `args`: signal, sender's tgid (0: the kernel or unknown).
    Signal = 5,
    /// Events are missing here. `args`: how many, the [`Loss`], and [`LOST_CALLS`] if only calls are missing (0: births,
    /// execs and ends may be, too).
    Lost = 6,
}

impl EventKind {
    /// The kind with this number.
    pub fn from_u8(value: u8) -> Option<Self> {
        Self::try_read_from_bytes(&[value]).ok()
    }
}

/// The application binary interface a call was made through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, TryFromBytes)]
#[repr(u8)]
pub enum Abi {
    /// 64-bit x86.
    X86_64 = 0,
    /// 32-bit x86: `int 0x80` and compatibility mode.
    I386 = 1,
    /// x32: 64-bit registers, 32-bit pointers.
    X32 = 2,
    /// 64-bit ARM.
    Aarch64 = 3,
    /// 32-bit ARM.
    Arm = 4,
    /// No system call, but an operation that was submitted to an io_uring; its code is the number.
    IoUring = 5,
}

impl Abi {
    /// The ABI of 64-bit programs on the machine this is compiled for.
    pub const NATIVE: Self = if cfg!(target_arch = "aarch64") {
        Self::Aarch64
    } else {
        Self::X86_64
    };

    /// The ABI of 32-bit programs on that machine.
    pub const COMPAT: Self = if cfg!(target_arch = "aarch64") {
        Self::Arm
    } else {
        Self::I386
    };

    /// The ABI with this number.
    pub fn from_u8(value: u8) -> Option<Self> {
        Self::try_read_from_bytes(&[value]).ok()
    }

    /// The name as uname(2) or the kernel's documentation spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::I386 => "i386",
            Self::X32 => "x32",
            Self::Aarch64 => "aarch64",
            Self::Arm => "arm",
            Self::IoUring => "io_uring",
        }
    }
}

/// Bits of [`Header::flags`].
#[derive(Debug)]
#[repr(C)]
pub struct Flags;

impl Flags {
    /// Captured at the entry of a call that does not return: `ret` has no meaning.
    pub const NORETURN: u16 = 1;
    /// The call is not selected. The event is delivered for the process state only.
    pub const UNSELECTED: u16 = 2;
    /// An attachment was left out, because the event would have been larger than [`MAX`].
    pub const INCOMPLETE: u16 = 4;
    /// Captured at the entry of a call that does return: `ret` has no meaning, and the event has neither what the
    /// kernel writes into memory nor facts, except where its paths begin. On an exit: the thread's wait status could not be determined.
    pub const ENTRY: u16 = 8;

    /// The call opened a file, and the file was created by that.
    pub const CREATED: u16 = 16;
    /// The call opened a file that existed before. With neither flag, this is not known.
    pub const EXISTED: u16 = 32;

    /// What the kernel wrote into a buffer for an address, or for a socket's option, ends where the buffer ends: its size
    /// was seen when the call was entered. Without this flag, the end may be other memory of the program, because the
    /// kernel says how long all would have been.
    pub const ROOM_SEEN: u16 = 64;

    /// With either flag `ret` has no meaning. For [`Event::has`](super::Event::has).
    pub const NO_RESULT: u16 = Self::NORETURN | Self::ENTRY;
}

/// Why events are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Loss {
    /// The consumer was too slow.
    BufferFull = 0,
    /// A program was interrupted by another run of itself: the kernel skipped that run, or every scratch slot
    /// of the CPU was in use.
    Nested = 1,
    /// A kernel map had no room (processes followed, exec calls in flight).
    TableFull = 2,
    /// The kernel refused a read or an output for another reason.
    Fault = 3,
}

impl Loss {
    /// How many causes there are.
    pub const CAUSES: usize = 4;

    /// Every cause, in the order of its number.
    pub const ALL: [Self; Self::CAUSES] =
        [Self::BufferFull, Self::Nested, Self::TableFull, Self::Fault];

    /// The cause with this number; an unknown one counts as [`Loss::Fault`].
    pub fn from_u64(value: u64) -> Self {
        *usize::try_from(value)
            .ok()
            .and_then(|at| Self::ALL.get(at))
            .unwrap_or(&Self::Fault)
    }

    /// The name of the cause in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::BufferFull => "buffer-full",
            Self::Nested => "nested",
            Self::TableFull => "table-full",
            Self::Fault => "fault",
        }
    }
}

/// What the kernel did: facts that a program cannot forge or change after the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, TryFromBytes)]
#[repr(u8)]
pub enum Fact {
    /// Resolved path of a descriptor.
    Path = 16,
    /// Both ends of a socket, a [`Tuple`].
    Tuple = 17,
    /// Resolved path of the executable.
    Exe = 18,
    /// Resolved working directory.
    Cwd = 19,
    /// Arguments as the new program has them.
    Argv = 20,
    /// Environment as the new program has it.
    Env = 21,
    /// The ids of the process, an [`Ids`].
    Ids = 22,
    /// The task's name.
    Comm = 23,
    /// Local name of a Unix socket.
    Local = 24,
    /// Peer's name of a Unix socket.
    Peer = 25,
    /// The program's file and the process's capabilities, a [`Program`].
    Program = 26,
    /// Resolved path of the directory that the first path of a call begins at, if that path is relative.
    Base = 27,
    /// The same for the second path of a call.
    Base2 = 28,
    /// Resolved path of the thread's root directory, where an absolute path of the call begins, if it is not the root of
    /// the mount namespace. Of chroot(2): the new root directory.
    Root = 29,
    /// [`OpenedFile`]: the file that was opened.
    File = 30,
    /// What `/proc/PID/cgroup` said about the event's process. No driver delivers it: recordings have events of their own
    /// for it, marked [`Flags::UNSELECTED`]. The header's `cgroup` is the id of the cgroup v2 among these; a `tgid` of 0
    /// means that only this is said.
    Cgroups = 31,
    /// What a runtime said about a container, as the JSON of Falco's event `container`. No driver delivers it: recordings
    /// have events of their own for it, marked [`Flags::UNSELECTED`], with a `tgid` of 0.
    Container = 32,
    /// Users of the host, as lines of `/etc/passwd`. No driver delivers it: recordings begin with events of their own for it,
    /// marked [`Flags::UNSELECTED`], with a `tgid` of 0.
    Users = 33,
    /// The same for groups, as lines of `/etc/group`.
    Groups = 34,
    /// How long the call took, in nanoseconds, a `u64`. Only where the consumer has asked for it, and where it is known.
    Took = 35,
}

impl Fact {
    /// The name `trace --json` uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Tuple => "tuple",
            Self::Exe => "exe",
            Self::Cwd => "cwd",
            Self::Argv => "argv",
            Self::Env => "env",
            Self::Ids => "ids",
            Self::Comm => "comm",
            Self::Local => "local",
            Self::Peer => "peer",
            Self::Program => "program",
            Self::Base => "base",
            Self::Base2 => "base2",
            Self::Root => "root",
            Self::File => "file",
            Self::Cgroups => "cgroups",
            Self::Container => "container",
            Self::Users => "users",
            Self::Groups => "groups",
            Self::Took => "took",
        }
    }

    /// The fact with this attachment number.
    pub fn from_u8(value: u8) -> Option<Self> {
        Self::try_read_from_bytes(&[value]).ok()
    }
}

/// How much of the memory an attachment holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// All of it.
    Whole = 0,
    /// The beginning: the rest is beyond a limit.
    Truncated = 1,
    /// What could be read before an address that is not mapped.
    Fault = 2,
}

/// How the bytes of an attachment are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Encoding {
    /// As they are; a string without its NUL.
    Raw = 0,
    /// Path components, leaf first, each ended by NUL.
    Parts = 1,
    /// Strings, each ended by NUL.
    Strings = 2,
}

/// Which part of a `msghdr` an attachment holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Part {
    /// The whole argument. With an index N above 0: what pointer N-1 in the argument's structure points to.
    None = 0,
    /// `msg_name`.
    Name = 1,
    /// The gathered bytes of `msg_iov`.
    Data = 2,
    /// `msg_control`.
    Control = 3,
}

/// A part of one message of an array: the index in the upper six bits, the part in the lower two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartAt(pub u8);

impl Part {
    /// This part of the message at `index` of an array.
    pub const fn of(self, index: u8) -> PartAt {
        PartAt(index << 2 | self as u8)
    }
}

impl PartAt {
    /// Whether it is this part, of whatever message.
    pub const fn is(self, part: Part) -> bool {
        self.0 & 3 == part as u8
    }
}

impl From<Part> for PartAt {
    fn from(part: Part) -> Self {
        part.of(0)
    }
}

/// The head of an attachment; its bytes follow, padded to a multiple of 8.
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct AttachmentHeader {
    /// 0 to 5: that argument; from 16 on a [`Fact`].
    pub what: u8,
    /// A [`Part`].
    pub part: u8,
    /// A [`Status`].
    pub status: u8,
    /// An [`Encoding`].
    pub encoding: u8,
    /// Bytes that follow.
    pub captured: u32,
    /// How many bytes there were to capture; 0: not known.
    pub full: u64,
}

/// Both ends of an internet socket. Of another socket only the family is set.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Tuple {
    /// `AF_*`.
    pub family: u16,
    /// `IPPROTO_*`.
    pub protocol: u16,
    /// In host byte order.
    pub local_port: u16,
    /// In host byte order.
    pub remote_port: u16,
    /// Address; the first 4 bytes for `AF_INET`.
    pub local: [u8; 16],
    /// Address; the first 4 bytes for `AF_INET`.
    pub remote: [u8; 16],
}

/// The ids of a process that runs a new program.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Ids {
    /// Parent's thread-group id.
    pub ppid: u32,
    /// Process group.
    pub pgid: u32,
    /// Session.
    pub sid: u32,
    /// Login user id; `u32::MAX`: none.
    pub loginuid: u32,
    /// Real user id.
    pub uid: u32,
    /// Effective user id.
    pub euid: u32,
    /// Real group id.
    pub gid: u32,
    /// Effective group id.
    pub egid: u32,
    /// Device number of the controlling terminal as /proc/PID/stat has it; 0: none.
    pub tty: u32,
    /// 1: the executable is a memfd.
    pub memfd: u32,
}

/// A new program: its file, and the capabilities of its process.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Program {
    /// The file's inode.
    pub inode: u64,
    /// When the file or its inode was changed, in nanoseconds since the epoch.
    pub ctime_ns: u64,
    /// When the file's contents were changed, in nanoseconds since the epoch.
    pub mtime_ns: u64,
    /// Bits of `1 << CAP_*`.
    pub cap_inheritable: u64,
    /// Bits of `1 << CAP_*`.
    pub cap_permitted: u64,
    /// Bits of `1 << CAP_*`.
    pub cap_effective: u64,
    /// The file's permissions and type.
    pub mode: u32,
    /// The file's owner.
    pub uid: u32,
    /// The file's group.
    pub gid: u32,
    /// A [`Layer`], or [`Layer::UNKNOWN`].
    pub layer: u32,
}

/// A file that was opened.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct OpenedFile {
    /// The inode's number, as the file system that has the file counts it.
    pub inode: u64,
    /// The device of the file system, major number in the upper 12 of 32 bits, minor number in the lower 20.
    pub device: u32,
    /// The file's permissions and type; 0: not known.
    pub mode: u32,
    /// The flags that the file was opened with, `O_*`; all ones: not known.
    pub flags: u32,
    /// 0.
    pub unused: u32,
}

impl OpenedFile {
    /// The device number in the form of `device`.
    pub const fn device(major: u32, minor: u32) -> u32 {
        major << 20 | minor & 0xf_ffff
    }

    /// The major and the minor number of the device.
    pub const fn device_numbers(&self) -> (u32, u32) {
        (self.device >> 20, self.device & 0xf_ffff)
    }

    /// Whether it is a directory.
    pub const fn is_directory(&self) -> bool {
        self.mode & 0o170_000 == 0o040_000
    }
}

/// The layer of an overlay file system that a file is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, TryFromBytes)]
#[repr(u32)]
pub enum Layer {
    /// The file is not in an overlay file system.
    #[default]
    None = 0,
    /// The file is as the image has it.
    Lower = 1,
    /// The file was written since the container started.
    Upper = 2,
}

impl Layer {
    /// In [`Program::layer`]: the file is in an overlay file system, but the driver does not know in which layer.
    pub const UNKNOWN: u32 = 3;

    /// The layer with this number. None: not known.
    pub fn from_u32(value: u32) -> Option<Self> {
        Self::try_read_from_bytes(&value.to_ne_bytes()).ok()
    }
}
