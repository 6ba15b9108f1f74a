//! Structures that calls take by address, as include/uapi/linux has them.

use super::sockaddr::bytes_at;

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    bytes_at(bytes, at).map(u64::from_ne_bytes)
}

fn half(bytes: &[u8], at: usize) -> Option<u32> {
    bytes_at(bytes, at).map(u32::from_ne_bytes)
}

/// A structure of the table's `struct(NAME)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Struct<'a> {
    /// `struct open_how` (openat2.h).
    OpenHow {
        /// `O_*`.
        flags: u64,
        /// Mode of a new file.
        mode: u64,
        /// `RESOLVE_*`.
        resolve: u64,
    },
    /// `struct clone_args` (sched.h).
    CloneArgs(CloneArgs),
    /// `struct __user_cap_header_struct` (capability.h).
    CapHeader {
        /// `_LINUX_CAPABILITY_VERSION_*`.
        version: u32,
        /// Thread, 0: the caller.
        pid: i32,
    },
    /// `struct __user_cap_data_struct[2]` (capability.h), both halves joined.
    CapData {
        /// Bits of `1 << CAP_*`.
        effective: u64,
        /// Bits of `1 << CAP_*`.
        permitted: u64,
        /// Bits of `1 << CAP_*`.
        inheritable: u64,
    },
    /// Too short, or of a name unknown here.
    Raw(&'a [u8]),
}

/// `struct clone_args` up to where it was captured; what is beyond counts as 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CloneArgs {
    /// `CLONE_*`.
    pub flags: u64,
    /// Where the pidfd goes.
    pub pidfd: u64,
    /// Where the child's id goes in the child.
    pub child_tid: u64,
    /// Where the child's id goes in the parent.
    pub parent_tid: u64,
    /// Signal at the child's end.
    pub exit_signal: u64,
    /// Lowest byte of the stack.
    pub stack: u64,
    /// Its size.
    pub stack_size: u64,
    /// Thread-local storage.
    pub tls: u64,
    /// Array of thread ids.
    pub set_tid: u64,
    /// How many.
    pub set_tid_size: u64,
    /// Descriptor of a cgroup.
    pub cgroup: u64,
}

impl<'a> Struct<'a> {
    /// Reads the structure of this name.
    pub fn parse(name: &str, bytes: &'a [u8]) -> Self {
        let known = match name {
            "open_how" => open_how(bytes),
            "clone_args" => clone_args(bytes),
            "cap_header" => cap_header(bytes),
            "cap_data" => cap_data(bytes),
            _ => None,
        };
        known.unwrap_or(Self::Raw(bytes))
    }
}

fn open_how<'a>(bytes: &[u8]) -> Option<Struct<'a>> {
    Some(Struct::OpenHow {
        flags: word(bytes, 0)?,
        mode: word(bytes, 8)?,
        resolve: word(bytes, 16)?,
    })
}

fn clone_args<'a>(bytes: &[u8]) -> Option<Struct<'a>> {
    bytes.get(..64)?; // CLONE_ARGS_SIZE_VER0
    let at = |place: usize| word(bytes, place * 8).unwrap_or_default();
    Some(Struct::CloneArgs(CloneArgs {
        flags: at(0),
        pidfd: at(1),
        child_tid: at(2),
        parent_tid: at(3),
        exit_signal: at(4),
        stack: at(5),
        stack_size: at(6),
        tls: at(7),
        set_tid: at(8),
        set_tid_size: at(9),
        cgroup: at(10),
    }))
}

fn cap_header<'a>(bytes: &[u8]) -> Option<Struct<'a>> {
    Some(Struct::CapHeader {
        version: half(bytes, 0)?,
        pid: half(bytes, 4)?.cast_signed(),
    })
}

fn cap_data<'a>(bytes: &[u8]) -> Option<Struct<'a>> {
    // Version 1 has one element only.
    let set = |at: usize| {
        half(bytes, at)
            .map(|low| u64::from(low) | u64::from(half(bytes, at + 12).unwrap_or_default()) << 32)
    };
    Some(Struct::CapData {
        effective: set(0)?,
        permitted: set(4)?,
        inheritable: set(8)?,
    })
}
