//! What parameters and fields can be. The head of `syscalls.tbl` explains the words.
//!
//! A kind is described once; everything else follows from its description. These files know single kinds:
//!
//! | a new | touches |
//! |---|---|
//! | number that reads like another one | `words/number.rs`, the head of `syscalls.tbl` |
//! | number that reads in its own way | these two and the decoder's `number.rs`, which has its text, JSON and Falco form |
//! | number that rule tests can give by name | these three and the rule tests' `script/value.rs` |
//! | memory with a length | `words/buffer.rs`, this file, the head of `syscalls.tbl`, the decoder's `value.rs` and its file for the forms |
//! | anything else: a variant of [`Kind`] | this file, `parse/kind.rs`, `plan/build.rs`, the decoder's `value.rs`, the head of `syscalls.tbl` |
//!
//! A line of a table that uses the kind, and the test of it, come on top. The compiler points to each place:
//! no match over [`Kind`], [`Number`], [`Reading`](super::Reading) or [`Buffer`] outside the tests has a wildcard
//! that a new variant should not fall into.

use std::fmt;

use super::words::{Buffer, Number, Width};
use super::{Structure, SymbolSet, Variant};

/// What a parameter, or a field of a structure, is. What a parameter points to, a field contains.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// A number.
    Number(Number, Width),
    /// Bits with names.
    Flags(&'static SymbolSet, Width),
    /// A number with names for its values.
    Enum(&'static SymbolSet, Width),
    /// A string that is not a path.
    Str,
    /// A path, relative to the working directory or to the descriptor in that parameter.
    Path(Option<u8>),
    /// An array of strings, ended by NULL.
    Strv,
    /// Memory with a length.
    Buffer(Buffer, Len),
    /// A `struct msghdr`.
    Msghdr,
    /// A pointer to a signal set and its size, as the last parameter of pselect6(2).
    SigArg,
    /// A structure; of the second length where it is not the structure's own.
    Struct(&'static Structure, Option<Len>),
    /// A pointer to an array; the length counts elements.
    Array(&'static Self, Len),
    /// A pointer to an array of pointers to structures; the length counts pointers.
    Pointers(&'static Self, Len),
    /// In a structure: a pointer to an array, and the field that counts the elements.
    To(&'static Self, u8, Width),
    /// In a structure: that many bytes that hold a string ended by NUL.
    Chars(u32),
    /// In a structure: that many bytes.
    Raw(u32),
    /// In a structure: the bytes up to the end of what was captured.
    Rest,
    /// In a structure: one of the three sets of `struct __user_cap_data_struct[2]`, its halves 12 bytes apart.
    CapSet,
    /// In a structure: an IPv6 address.
    Ip6,
    /// The values of these other parameters or fields decide what it is.
    By(&'static Variant, &'static [u8]),
    /// A buffer as an ioctl request describes it.
    Ioc,
    /// Nothing: neither this parameter nor those after it mean anything.
    None,
}

impl Kind {
    /// The width of a number; none: it is no number.
    pub const fn width(&self) -> Option<Width> {
        match self {
            Self::Number(_, width)
            | Self::Flags(_, width)
            | Self::Enum(_, width)
            | Self::To(_, _, width) => Some(*width),
            Self::Str
            | Self::Path(_)
            | Self::Strv
            | Self::Buffer(..)
            | Self::Msghdr
            | Self::SigArg
            | Self::Struct(..)
            | Self::Array(..)
            | Self::Pointers(..)
            | Self::Chars(_)
            | Self::Raw(_)
            | Self::Rest
            | Self::CapSet
            | Self::Ip6
            | Self::By(..)
            | Self::Ioc
            | Self::None => None,
        }
    }

    /// Whether a parameter of this kind, if it is not NULL, points to memory that can be captured. A kind that
    /// other parameters decide ([`By`](Self::By)) does not itself.
    pub const fn is_memory(&self) -> bool {
        self.width().is_none() && !matches!(self, Self::None | Self::By(..))
    }

    /// Bytes of one in memory, where the table alone says how many.
    pub fn size(&self, layout: usize) -> Option<usize> {
        match self {
            Self::Number(_, width)
            | Self::Flags(_, width)
            | Self::Enum(_, width)
            | Self::To(_, _, width) => Some(width.bytes(super::has_narrow_pointers(layout))),
            Self::Struct(of, None) => Some(of.layouts[layout].size as usize),
            Self::CapSet => Some(4),
            Self::Ip6 => Some(16),
            Self::Chars(n) | Self::Raw(n) => Some(*n as usize),
            Self::Array(of, len) => Some(len.constant()? * of.size(layout)?),
            Self::Buffer(_, len) => len.constant(),
            Self::Struct(_, Some(_))
            | Self::Str
            | Self::Path(_)
            | Self::Strv
            | Self::Msghdr
            | Self::SigArg
            | Self::Pointers(..)
            | Self::Rest
            | Self::By(..)
            | Self::Ioc
            | Self::None => None,
        }
    }

    /// How a person describes a value of this kind.
    pub const fn input(&self) -> Input {
        match self {
            Self::Number(number, _) => Input::Number(*number),
            Self::Flags(set, _) | Self::Enum(set, _) => Input::Names(set),
            Self::Str
            | Self::Path(_)
            | Self::Buffer(Buffer::Bytes | Buffer::Name | Buffer::Iovec, _) => Input::Text,
            Self::Strv => Input::Texts,
            Self::Struct(of, _) => Input::Fields(of),
            Self::Buffer(Buffer::SockAddr, _) => Input::Address,
            Self::Array(..) => Input::None,
            Self::Buffer(
                Buffer::Mmsghdr
                | Buffer::Sigset
                | Buffer::FdSet
                | Buffer::CpuSet
                | Buffer::NodeMask
                | Buffer::Pages
                | Buffer::MsgBuf
                | Buffer::HwAddr
                | Buffer::SockOption
                | Buffer::Dirents
                | Buffer::Dirents64,
                _,
            )
            | Self::Msghdr
            | Self::SigArg
            | Self::Pointers(..)
            | Self::To(..)
            | Self::Chars(_)
            | Self::Raw(_)
            | Self::Rest
            | Self::CapSet
            | Self::Ip6
            | Self::By(..)
            | Self::Ioc
            | Self::None => Input::Pointer,
        }
    }
}

/// What it is, in words for people.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number, _) => f.write_str(number.word()),
            Self::Flags(set, _) => write!(f, "flags {}", set.name),
            Self::Enum(set, _) => write!(f, "one of {}", set.name),
            Self::Buffer(buffer, _) => f.write_str(buffer.title()),
            Self::Struct(of, _) => write!(f, "struct {}", of.name),
            Self::Array(element, len) if len.constant() == Some(1) => {
                write!(f, "pointer to {element}")
            }
            Self::Array(element, _) => write!(f, "array of {element}"),
            Self::Pointers(element, _) => write!(f, "array of pointers to {element}"),
            Self::To(element, ..) => write!(f, "pointer to an array of {element}"),
            Self::By(variant, _) => write!(f, "by {}", variant.name),
            Self::Str => f.write_str("str"),
            Self::Path(_) => f.write_str("path"),
            Self::Strv => f.write_str("strv"),
            Self::Msghdr => f.write_str("msghdr"),
            Self::SigArg => f.write_str("signals"),
            Self::Chars(n) => write!(f, "chars({n})"),
            Self::Raw(n) => write!(f, "raw({n})"),
            Self::Rest => f.write_str("rest"),
            Self::CapSet => f.write_str("capset"),
            Self::Ip6 => f.write_str("ip6"),
            Self::Ioc => f.write_str("ioc"),
            Self::None => f.write_str("none"),
        }
    }
}

/// How a person describes a value, such as in the test of a rule.
#[derive(Debug, Clone, Copy)]
pub enum Input {
    /// By the bytes of a text.
    Text,
    /// By several texts.
    Texts,
    /// By the values of fields.
    Fields(&'static Structure),
    /// As a socket address.
    Address,
    /// By names of bits or values.
    Names(&'static SymbolSet),
    /// As a number of this kind.
    Number(Number),
    /// As an address in memory, without what is there.
    Pointer,
    /// There is no way yet.
    None,
}

/// A length: where it is, and what is added to it.
#[derive(Debug, Clone, Copy)]
pub struct Len {
    /// Where it is.
    pub from: LenFrom,
    /// Bytes to add; none: the size of a long.
    pub add: Option<u16>,
    /// With a return value: no more than this parameter says. The call can return more than it wrote.
    pub most: Option<u8>,
}

impl Len {
    /// The length, where it is a constant of the table.
    pub const fn constant(&self) -> Option<usize> {
        match self.from {
            LenFrom::Const(n) => Some(n as usize),
            LenFrom::Arg(_) | LenFrom::At(_) | LenFrom::Ret => None,
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
    /// In the 32-bit number that the parameter points to.
    At(u8),
    /// In the return value.
    Ret,
}
