//! What parameters and fields can be. The head of `syscalls.tbl` explains each.

use super::{Structure, SymbolSet, Variant};

/// What a parameter, or a field of a structure, is. What points to memory as a parameter is in place
/// as a field.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// A descriptor.
    Fd,
    /// A directory's descriptor or `AT_FDCWD`.
    DirFd,
    /// A signed 8-bit number.
    I8,
    /// An unsigned 8-bit number.
    U8,
    /// A signed 16-bit number.
    I16,
    /// An unsigned 16-bit number.
    U16,
    /// A signed 32-bit number.
    I32,
    /// An unsigned 32-bit number.
    U32,
    /// A signed 64-bit number.
    I64,
    /// An unsigned 64-bit number.
    U64,
    /// A signed number as wide as a pointer.
    Long,
    /// An unsigned number as wide as a pointer.
    Ulong,
    /// A number of bytes or elements, as wide as a pointer.
    Size,
    /// A number of bytes, 32 bits wide.
    Size32,
    /// An offset in a file, in one register.
    Off,
    /// A signed 64-bit number; two registers where those have 32 bits.
    Loff,
    /// An offset in a file in two registers, the low half first.
    OffPair,
    /// Permission bits of a new file.
    Mode,
    /// Permission bits to set on a file.
    Chmod,
    /// Permission bits and the type of a file.
    FileType,
    /// A user id; all ones: unchanged.
    Uid,
    /// A group id; all ones: unchanged.
    Gid,
    /// A process, group or thread id.
    Pid,
    /// A signal number.
    Signal,
    /// An address that is not followed.
    Ptr,
    /// A number best read in base 16.
    Hex,
    /// A device number, as `stat` has it.
    Dev,
    /// A 16-bit number in network order.
    Be16,
    /// A 32-bit number in network order.
    Be32,
    /// A key of System V IPC.
    IpcKey,
    /// A resource limit; all ones: none.
    Limit,
    /// A priority of input and output.
    Ioprio,
    /// A wait status.
    Wstatus,
    /// One of the three sets of `struct __user_cap_data_struct[2]`, its halves 12 bytes apart.
    CapSet,
    /// An IPv4 address.
    Ip4,
    /// An IPv6 address.
    Ip6,
    /// A number of another width.
    As(Width, &'static Self),
    /// Bits with names.
    Flags(&'static SymbolSet),
    /// A number with names for its values.
    Enum(&'static SymbolSet),
    /// A string that is not a path.
    Str,
    /// A path, relative to the working directory or to the descriptor in that parameter.
    Path(Option<u8>),
    /// An array of strings, ended by NULL.
    Strv,
    /// A socket address.
    SockAddr(Len),
    /// A buffer.
    Bytes(Len),
    /// An array of `struct iovec`, its bytes gathered.
    Iovec(Len),
    /// A `struct msghdr`.
    Msghdr,
    /// An array of `struct mmsghdr`.
    Mmsghdr(Len),
    /// A set of signals.
    Sigset(Len),
    /// Bits of descriptors; the length is how many bits.
    FdSet(Len),
    /// A byte for each page of memory; the length is how much memory.
    Pages(Len),
    /// Bits of CPUs.
    CpuSet(Len),
    /// Bits of NUMA nodes; the length is how many bits.
    NodeMask(Len),
    /// A pointer to a signal set and its size, as the last parameter of pselect6(2).
    SigArg,
    /// A `struct msgbuf` of System V: a long, and text.
    MsgBuf(Len),
    /// A socket option: a number if it is 4 bytes long, else bytes.
    Option(Len),
    /// Entries of a directory in their old form.
    Dirents(Len),
    /// Entries of a directory.
    Dirents64(Len),
    /// A structure; of the second length where it is not the structure's own.
    Struct(&'static Structure, Option<Len>),
    /// A pointer to so many.
    Array(&'static Self, Len),
    /// A pointer to so many pointers to structures.
    Pointers(&'static Self, Len),
    /// So many bytes that hold a string ended by NUL.
    Chars(u32),
    /// So many bytes.
    Raw(u32),
    /// Bytes up to the end of what was captured.
    Rest,
    /// It depends on these other parameters or fields.
    By(&'static Variant, &'static [u8]),
    /// A buffer as an ioctl request describes it.
    Ioc,
    /// Nothing: neither this parameter nor those behind it mean anything.
    None,
}

/// How wide a number is, and how it is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    /// 8 bits, signed.
    I8,
    /// 8 bits.
    U8,
    /// 16 bits, signed.
    I16,
    /// 16 bits.
    U16,
    /// 32 bits, signed.
    I32,
    /// 32 bits.
    U32,
    /// 64 bits, signed.
    I64,
    /// 64 bits.
    U64,
    /// As wide as a pointer, signed.
    Long,
    /// As wide as a pointer.
    Ulong,
    /// 16 bits in network order.
    Be16,
    /// 32 bits in network order.
    Be32,
    /// 64 bits; two registers where those have 32 bits.
    Loff,
}

impl Width {
    /// Bytes in memory.
    pub const fn bytes(self, narrow: bool) -> usize {
        match self {
            Self::I8 | Self::U8 => 1,
            Self::I16 | Self::U16 | Self::Be16 => 2,
            Self::I32 | Self::U32 | Self::Be32 => 4,
            Self::I64 | Self::U64 | Self::Loff => 8,
            Self::Long | Self::Ulong => {
                if narrow {
                    4
                } else {
                    8
                }
            }
        }
    }
}

impl Kind {
    /// The width of a number of this kind; none: it is no number.
    pub const fn width(&self) -> Option<Width> {
        Some(match self {
            Self::I8 => Width::I8,
            Self::U8 => Width::U8,
            Self::I16 => Width::I16,
            Self::U16 => Width::U16,
            Self::Fd | Self::DirFd | Self::I32 | Self::Pid | Self::Signal | Self::IpcKey => {
                Width::I32
            }
            Self::U32
            | Self::Size32
            | Self::Mode
            | Self::Chmod
            | Self::FileType
            | Self::Uid
            | Self::Gid
            | Self::Dev
            | Self::Ioprio
            | Self::Wstatus
            | Self::CapSet
            | Self::Flags(_)
            | Self::Enum(_) => Width::U32,
            Self::I64 | Self::Off => Width::I64,
            Self::Loff | Self::OffPair => Width::Loff,
            Self::U64 => Width::U64,
            Self::Long => Width::Long,
            Self::Ulong | Self::Size | Self::Ptr | Self::Hex | Self::Limit => Width::Ulong,
            Self::Be16 => Width::Be16,
            Self::Be32 | Self::Ip4 => Width::Be32,
            Self::As(width, _) => *width,
            _ => return None,
        })
    }

    /// Bytes of one in memory, where that is known without looking at it.
    pub fn size(&self, layout: usize) -> Option<usize> {
        Some(match self {
            Self::Struct(of, None) => of.layouts[layout].size as usize,
            Self::Ip6 => 16,
            Self::Chars(n) | Self::Raw(n) => *n as usize,
            Self::Array(of, len) => len.constant()? * of.size(layout)?,
            Self::Sigset(len) | Self::SockAddr(len) => len.constant()?,
            other => other.width()?.bytes(super::has_narrow_pointers(layout)),
        })
    }
}

/// A length: where it is, and what is added to it.
#[derive(Debug, Clone, Copy)]
pub struct Len {
    /// Where it is.
    pub from: LenFrom,
    /// Bytes to add; none: those of a long.
    pub add: Option<u16>,
}

impl Len {
    /// The length, where it stands in the table.
    pub const fn constant(&self) -> Option<usize> {
        match self.from {
            LenFrom::Const(n) => Some(n as usize),
            _ => None,
        }
    }
}

/// Where a length is found.
#[derive(Debug, Clone, Copy)]
pub enum LenFrom {
    /// Here.
    Const(u32),
    /// In that parameter.
    Arg(u8),
    /// In the 32-bit number that parameter points to.
    At(u8),
    /// In the return value.
    Ret,
}
