//! Numbers: the words for them, how wide each is, and how each is read.

words! {
    /// How wide a number is, and whether it has a sign.
    Width {
        /// 8 bits, signed.
        I8 = "i8",
        /// 8 bits.
        U8 = "u8",
        /// 16 bits, signed.
        I16 = "i16",
        /// 16 bits.
        U16 = "u16",
        /// 32 bits, signed.
        I32 = "i32",
        /// 32 bits.
        U32 = "u32",
        /// 64 bits, signed.
        I64 = "i64",
        /// 64 bits.
        U64 = "u64",
        /// As wide as a pointer, signed.
        Long = "long",
        /// As wide as a pointer.
        Ulong = "ulong",
        /// 16 bits in network order.
        Be16 = "be16",
        /// 32 bits in network order.
        Be32 = "be32",
        /// 64 bits in network order.
        Be64 = "be64",
        /// 64 bits; two registers where registers have 32 bits.
        Loff = "loff",
        /// 16 bits where pointers have 32, else 32: ids of calls that have a successor with 32-bit ids on those
        /// ABIs (kernel/uid16.c). All ones mean "unchanged" in either width.
        OldId = "oldid",
    }
}

impl Width {
    /// Bytes in memory. `narrow`: pointers have 32 bits.
    pub const fn bytes(self, narrow: bool) -> usize {
        match self {
            Self::I8 | Self::U8 => 1,
            Self::I16 | Self::U16 | Self::Be16 => 2,
            Self::I32 | Self::U32 | Self::Be32 => 4,
            Self::I64 | Self::U64 | Self::Loff | Self::Be64 => 8,
            Self::Long | Self::Ulong => {
                if narrow {
                    4
                } else {
                    8
                }
            }
            Self::OldId => {
                if narrow {
                    2
                } else {
                    4
                }
            }
        }
    }

    /// Whether it has a sign.
    pub const fn is_signed(self) -> bool {
        match self {
            Self::I8 | Self::I16 | Self::I32 | Self::I64 | Self::Long | Self::Loff => true,
            Self::U8
            | Self::U16
            | Self::U32
            | Self::U64
            | Self::Ulong
            | Self::Be16
            | Self::Be32
            | Self::Be64
            | Self::OldId => false,
        }
    }

    /// The value of a register as the kernel takes it: in this width, with its sign extended. `narrow`: pointers
    /// have 32 bits.
    pub const fn cut(self, register: u64, narrow: bool) -> u64 {
        let unused = 64 - 8 * self.bytes(narrow) as u32;
        let cut = register << unused >> unused;
        if self.is_signed() {
            ((register << unused).cast_signed() >> unused).cast_unsigned()
        } else if matches!(self, Self::OldId) && narrow && cut == 0xffff {
            // "unchanged" has all bits set (low2highuid() in include/linux/highuid.h)
            0xffff_ffff
        } else {
            cut
        }
    }
}

words! {
    /// A number, as a parameter or as a field of a structure.
    Number {
        /// A descriptor.
        Fd = "fd",
        /// A directory's descriptor or `AT_FDCWD`.
        DirFd = "dirfd",
        /// A signed 8-bit number.
        I8 = "i8",
        /// An unsigned 8-bit number.
        U8 = "u8",
        /// A signed 16-bit number.
        I16 = "i16",
        /// An unsigned 16-bit number.
        U16 = "u16",
        /// A signed 32-bit number.
        I32 = "i32",
        /// An unsigned 32-bit number.
        U32 = "u32",
        /// A signed 64-bit number.
        I64 = "i64",
        /// An unsigned 64-bit number.
        U64 = "u64",
        /// A signed number as wide as a pointer.
        Long = "long",
        /// An unsigned number as wide as a pointer.
        Ulong = "ulong",
        /// A count of bytes or elements, as wide as a pointer.
        Size = "size",
        /// A count of bytes, 32 bits wide.
        Size32 = "size32",
        /// An offset in a file, in one register.
        Off = "off",
        /// A signed 64-bit number; two registers where registers have 32 bits.
        Loff = "loff",
        /// An offset in a file in two registers on every ABI, the low half first.
        OffPair = "offpair",
        /// An offset in a file in two registers, the high half first.
        HighLow = "highlow",
        /// An offset in a file, in pages of 4096 bytes.
        PageOff = "pageoff",
        /// Permission bits of a new file.
        Mode = "mode",
        /// Permission bits to set on a file.
        Chmod = "chmod",
        /// Permission bits and the type of a file.
        FileType = "filetype",
        /// A user id; all ones: unchanged.
        Uid = "uid",
        /// A group id; all ones: unchanged.
        Gid = "gid",
        /// A process, group or thread id.
        Pid = "pid",
        /// A signal number.
        Signal = "signal",
        /// An address that is not followed.
        Ptr = "ptr",
        /// A number best read in base 16.
        Hex = "hex",
        /// A device number, as `stat` has it.
        Dev = "dev",
        /// A 16-bit number in network order.
        Be16 = "be16",
        /// A 32-bit number in network order.
        Be32 = "be32",
        /// A 16-bit number in network order, shown with its order.
        Net16 = "net16",
        /// A 32-bit number in network order, shown with its order.
        Net32 = "net32",
        /// A 64-bit number in network order, shown with its order.
        Net64 = "net64",
        /// A key of System V IPC.
        IpcKey = "ipckey",
        /// A resource limit; all ones: none.
        Limit = "limit",
        /// An I/O priority.
        Ioprio = "ioprio",
        /// A clock; a negative number is the CPU clock of a process or thread, or a device's.
        ClockId = "clockid",
        /// A wait status.
        Wstatus = "wstatus",
        /// An IPv4 address.
        Ip4 = "ip4",
    }
}

/// How a number is read: what its value means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// A signed number in base 10.
    Signed,
    /// An unsigned number in base 10.
    Unsigned,
    /// A number best read in base 16.
    Hex,
    /// A number of pages of 4096 bytes, shown in bytes.
    Pages,
    /// An address.
    Address,
    /// A directory's descriptor or `AT_FDCWD`.
    DirFd,
    /// A user or group id; all ones: unchanged.
    Id,
    /// Permission bits.
    Mode,
    /// Permission bits and a file's type.
    FileType,
    /// A signal.
    Signal,
    /// A major and a minor device number.
    Device,
    /// A key of System V IPC.
    IpcKey,
    /// A resource limit; all ones: none.
    Limit,
    /// Class and level of an I/O priority.
    Ioprio,
    /// A clock, or whose CPU clock or device clock it is.
    ClockId,
    /// How a process ended or stopped.
    WaitStatus,
    /// An IPv4 address.
    Ip4,
    /// A number in network order, shown with its order.
    Network,
}

impl Number {
    /// Its width, unless the table gives another one in parentheses.
    pub const fn width(self) -> Width {
        match self {
            Self::I8 => Width::I8,
            Self::U8 => Width::U8,
            Self::I16 => Width::I16,
            // umode_t
            Self::U16 | Self::Mode | Self::Chmod => Width::U16,
            Self::Fd
            | Self::DirFd
            | Self::I32
            | Self::Pid
            | Self::Signal
            | Self::IpcKey
            | Self::ClockId => Width::I32,
            Self::U32
            | Self::Size32
            | Self::FileType
            | Self::Uid
            | Self::Gid
            | Self::Dev
            | Self::Ioprio
            | Self::Wstatus => Width::U32,
            Self::I64 | Self::Off => Width::I64,
            Self::Loff | Self::OffPair | Self::HighLow => Width::Loff,
            Self::U64 => Width::U64,
            Self::Long => Width::Long,
            Self::Ulong | Self::Size | Self::Ptr | Self::Hex | Self::Limit | Self::PageOff => {
                Width::Ulong
            }
            Self::Be16 | Self::Net16 => Width::Be16,
            Self::Be32 | Self::Net32 | Self::Ip4 => Width::Be32,
            Self::Net64 => Width::Be64,
        }
    }

    /// How it is read.
    pub const fn reading(self) -> Reading {
        match self {
            Self::Fd
            | Self::I8
            | Self::I16
            | Self::I32
            | Self::I64
            | Self::Long
            | Self::Off
            | Self::Loff
            | Self::OffPair
            | Self::HighLow
            | Self::Pid => Reading::Signed,
            Self::U8
            | Self::U16
            | Self::U32
            | Self::U64
            | Self::Ulong
            | Self::Size
            | Self::Size32
            | Self::Be16
            | Self::Be32 => Reading::Unsigned,
            Self::DirFd => Reading::DirFd,
            Self::Mode | Self::Chmod => Reading::Mode,
            Self::FileType => Reading::FileType,
            Self::Uid | Self::Gid => Reading::Id,
            Self::Signal => Reading::Signal,
            Self::Ptr => Reading::Address,
            Self::Hex => Reading::Hex,
            Self::PageOff => Reading::Pages,
            Self::Dev => Reading::Device,
            Self::IpcKey => Reading::IpcKey,
            Self::Limit => Reading::Limit,
            Self::Ioprio => Reading::Ioprio,
            Self::ClockId => Reading::ClockId,
            Self::Wstatus => Reading::WaitStatus,
            Self::Ip4 => Reading::Ip4,
            Self::Net16 | Self::Net32 | Self::Net64 => Reading::Network,
        }
    }
}
