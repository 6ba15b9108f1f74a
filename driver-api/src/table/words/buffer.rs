//! Memory with a length in brackets: the words for it, and how drivers fetch each.

words! {
    /// What a pointer with a length points to.
    Buffer {
        /// A string; the kernel looks at no more than that many bytes of it.
        Name = "name",
        /// Bytes that mean nothing to the kernel.
        Bytes = "bytes",
        /// A socket address.
        SockAddr = "sockaddr",
        /// An array of `struct iovec`; its bytes are gathered.
        Iovec = "iovec",
        /// An array of `struct mmsghdr`.
        Mmsghdr = "mmsghdr",
        /// A set of signals.
        Sigset = "sigset",
        /// One bit for each descriptor; the length counts bits.
        FdSet = "fdset",
        /// One bit for each CPU.
        CpuSet = "cpuset",
        /// One bit for each NUMA node; the length counts bits, and one more.
        NodeMask = "nodemask",
        /// One byte for each page of memory; the length is that of the memory.
        Pages = "pages",
        /// A `struct msgbuf` of System V: a long, and text.
        MsgBuf = "msgbuf",
        /// A hardware address.
        HwAddr = "hwaddr",
        /// A socket option: a number if it is 4 bytes long, else bytes.
        SockOption = "opt",
        /// Directory entries as getdents(2) writes them.
        Dirents = "dirents",
        /// Directory entries as getdents64(2) writes them.
        Dirents64 = "dirents64",
    }
}

/// How drivers fetch a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fetch {
    /// The bytes at the address.
    Bytes(Counts, Room),
    /// A string, up to its end or to the length.
    Name,
    /// The bytes that an array of `struct iovec` refers to, gathered.
    Vector,
    /// The names, bytes and control messages of an array of `struct mmsghdr`.
    Messages,
}

/// What the length of a buffer counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counts {
    /// Bytes.
    Bytes,
    /// Bits, in whole longs.
    Bits,
    /// One more than the bits, in whole longs (`get_nodes()` in mm/mempolicy.c).
    BitsAndOne,
    /// Bytes of memory; the buffer has one byte for each of its pages.
    PagesOf,
}

/// How many bytes of a buffer are captured at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// As many as the longest socket address has.
    Address,
    /// As many as a set of 1024 bits has.
    Set,
    /// The user's limit for data.
    Data,
    /// The user's limit for arrays.
    Array,
}

impl Buffer {
    /// How drivers fetch it.
    pub const fn fetch(self) -> Fetch {
        match self {
            Self::Bytes | Self::MsgBuf | Self::HwAddr | Self::SockOption => {
                Fetch::Bytes(Counts::Bytes, Room::Data)
            }
            Self::Dirents | Self::Dirents64 => Fetch::Bytes(Counts::Bytes, Room::Array),
            Self::SockAddr => Fetch::Bytes(Counts::Bytes, Room::Address),
            Self::Sigset | Self::CpuSet => Fetch::Bytes(Counts::Bytes, Room::Set),
            Self::FdSet => Fetch::Bytes(Counts::Bits, Room::Set),
            Self::NodeMask => Fetch::Bytes(Counts::BitsAndOne, Room::Set),
            Self::Pages => Fetch::Bytes(Counts::PagesOf, Room::Data),
            Self::Name => Fetch::Name,
            Self::Iovec => Fetch::Vector,
            Self::Mmsghdr => Fetch::Messages,
        }
    }

    /// What it is, in words for people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Bytes | Self::Pages => "bytes",
            Self::SockAddr => "socket address",
            Self::Iovec => "bytes of iovecs",
            Self::Mmsghdr => "messages",
            Self::Sigset => "signals",
            Self::FdSet => "descriptors",
            Self::CpuSet => "cpus",
            Self::NodeMask => "nodes",
            Self::MsgBuf => "message",
            Self::HwAddr => "hardware address",
            Self::SockOption => "socket option",
            Self::Dirents | Self::Dirents64 => "directory entries",
        }
    }
}
