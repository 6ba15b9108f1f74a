//! The syscall table and the symbols of its flags, made from `syscalls.tbl` and `symbols.tbl` at build time.

use crate::event::{Abi, Fact};

mod generated {
    #![expect(clippy::unreadable_literal, reason = "made by the build script")]
    use super::{Fact, FactOf, Kind, Len, Param, Returns, SymbolSet, Syscall};
    include!(concat!(env!("OUT_DIR"), "/table.rs"));

    pub(super) fn by_number(abi: usize) -> &'static [u16; 1024] {
        match abi {
            0 => &BY_NUMBER_X86_64,
            1 => &BY_NUMBER_I386,
            _ => &BY_NUMBER_AARCH64,
        }
    }
}

pub use generated::{SYMBOL_SETS, SYSCALLS};

/// The bit that marks an x32 call (`__X32_SYSCALL_BIT` in arch/x86/include/uapi/asm/unistd.h).
pub const X32_BIT: u32 = 0x4000_0000;

/// A system call.
#[derive(Debug)]
pub struct Syscall {
    /// The kernel's name.
    pub name: &'static str,
    /// Numbers on x86_64, i386 and aarch64; -1: there is none.
    pub numbers: [i32; 3],
    /// What it is about: file, net, process, ...
    pub category: &'static str,
    /// What the return value means.
    pub returns: Returns,
    /// What the kernel is asked beyond the parameters.
    pub facts: &'static [FactOf],
    /// The parameters, in the order of the arguments.
    pub params: &'static [Param],
}

impl Syscall {
    /// Its place in [`SYSCALLS`], and in a [`SyscallSet`](crate::request::SyscallSet).
    pub fn index(&self) -> usize {
        (std::ptr::from_ref(self) as usize - SYSCALLS.as_ptr() as usize) / size_of::<Self>()
    }

    /// Its number in an ABI.
    pub fn number(&self, abi: Abi) -> Option<u32> {
        u32::try_from(self.numbers[abi_column(abi)?]).ok()
    }

    /// The parameter with this name or alias, and its place.
    pub fn param(&self, name: &str) -> Option<(usize, &'static Param)> {
        self.params
            .iter()
            .enumerate()
            .find(|(_, p)| p.name == name || p.alias == Some(name))
    }
}

/// A fact and what it is about.
#[derive(Debug)]
pub struct FactOf {
    /// The fact.
    pub fact: Fact,
    /// The argument that is the descriptor; none: the returned one.
    pub of: Option<u8>,
}

/// A parameter.
#[derive(Debug)]
pub struct Param {
    /// Falco's name where Falco has one, else the kernel's.
    pub name: &'static str,
    /// The other name.
    pub alias: Option<&'static str>,
    /// What it is.
    pub kind: Kind,
    /// The kernel writes it: captured only when the call succeeds.
    pub output: bool,
    /// It means something only when that argument has one of these bits.
    pub only_if: Option<(u8, u64)>,
}

/// What a parameter is. See the head of `syscalls.tbl`.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// A descriptor.
    Fd,
    /// A directory's descriptor or `AT_FDCWD`.
    DirFd,
    /// A signed 32-bit number.
    I32,
    /// An unsigned 32-bit number.
    U32,
    /// A signed 64-bit number.
    I64,
    /// An unsigned 64-bit number.
    U64,
    /// A number of bytes or elements, as wide as a pointer.
    Size,
    /// A number of bytes, 32 bits wide.
    Size32,
    /// An offset in a file.
    Off,
    /// Permission bits of a new file.
    Mode,
    /// Permission bits to set on a file.
    Chmod,
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
    /// Bits with names.
    Flags(&'static SymbolSet),
    /// A number with names for its values.
    Enum(&'static SymbolSet),
    /// A string that is not a path.
    Str,
    /// A path, relative to the working directory or to the descriptor in that argument.
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
    /// A named structure.
    Struct(&'static str, Len),
    /// A pointer to so many scalars.
    Array(&'static Kind, Len),
}

/// Where a length is found.
#[derive(Debug, Clone, Copy)]
pub enum Len {
    /// Here.
    Const(u32),
    /// In that argument.
    Arg(u8),
    /// In the 32-bit number that argument points to.
    At(u8),
    /// In the return value.
    Ret,
}

/// What a return value means, beside an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Returns {
    /// 0.
    Errno,
    /// A new descriptor.
    Fd,
    /// A count of bytes.
    Size,
    /// A process id.
    Pid,
    /// A child's id; in the child 0.
    Child,
    /// An address.
    Ptr,
    /// Depends on the command of fcntl(2).
    Fcntl,
    /// A number.
    I64,
    /// The call does not return.
    None,
}

/// Names of bits and values.
#[derive(Debug)]
pub struct SymbolSet {
    /// As `symbols.tbl` has it.
    pub name: &'static str,
    /// What stands for a value without a name, as `AF_???`; empty: nothing.
    pub unknown: &'static str,
    /// How many of the fields are printed before the bits; the rest comes after them.
    pub leading: usize,
    /// Bits that together are a number: mask, values.
    pub fields: &'static [(u64, &'static [(u64, &'static str)])],
    /// Values, or single bits.
    pub values: &'static [(u64, &'static str)],
}

fn abi_column(abi: Abi) -> Option<usize> {
    match abi {
        Abi::X86_64 | Abi::X32 => Some(0),
        Abi::I386 => Some(1),
        Abi::Aarch64 => Some(2),
        Abi::Arm => None,
    }
}

/// The call with this number. An x32 number may carry its bit.
pub fn by_number(abi: Abi, nr: u32) -> Option<&'static Syscall> {
    let nr = if abi == Abi::X32 { nr & !X32_BIT } else { nr };
    let index = *generated::by_number(abi_column(abi)?).get(usize::try_from(nr).ok()?)?;
    SYSCALLS.get(usize::from(index))
}

/// The call with this name.
pub fn by_name(name: &str) -> Option<&'static Syscall> {
    SYSCALLS.iter().find(|call| call.name == name)
}
