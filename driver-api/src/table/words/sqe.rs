//! Where a request of an io_uring (`struct io_uring_sqe`) holds a parameter.

words! {
    /// A field of a request, as `io_uring.tbl` names it.
    SqeField {
        /// None.
        None = "-",
        /// The descriptor, unless it is an index of the ring's registered files.
        Fd = "fd",
        /// The descriptor, unless the request names a registered file in `file_index`.
        Closed = "closed",
        /// The bytes of the descriptor, as a number.
        Int = "int",
        /// `off`, `addr2`, `cmd_op`.
        Off = "off",
        /// `addr`, `splice_off_in`.
        Addr = "addr",
        /// `len`.
        Len = "len",
        /// `rw_flags`, `open_flags` and the like.
        Flags = "flags",
        /// `splice_fd_in`, `file_index`, `addr_len`.
        More = "more",
        /// `addr3`.
        Addr3 = "addr3",
    }
}

impl SqeField {
    /// Its offset and its size in bytes.
    pub const fn place(self) -> (u8, u8) {
        match self {
            Self::None => (0, 0),
            Self::Fd | Self::Closed | Self::Int => (4, 4),
            Self::Off => (8, 8),
            Self::Addr => (16, 8),
            Self::Len => (24, 4),
            Self::Flags => (28, 4),
            Self::More => (44, 4),
            Self::Addr3 => (48, 8),
        }
    }
}
