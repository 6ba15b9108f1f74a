//! The syscall table and the symbols of its flags, made from `syscalls.tbl` and `symbols.tbl` at build time.

mod kind;

use crate::event::{Abi, Fact};

pub use kind::{Kind, Len, LenFrom, Width};

mod generated {
    #![expect(clippy::unreadable_literal, reason = "made by the build script")]
    use super::{
        ARM_COLUMN, Fact, FactOf, Field, Kind, Layout, Len, LenFrom, Meaning, Param, Returns,
        Structure, SymbolSet, Syscall, Variant, VariantRow, Width, Written,
    };
    include!(concat!(env!("OUT_DIR"), "/table.rs"));

    pub(super) fn by_number(abi: usize) -> &'static [u16; 1024] {
        match abi {
            0 => &BY_NUMBER_X86_64,
            1 => &BY_NUMBER_I386,
            2 => &BY_NUMBER_AARCH64,
            ARM_COLUMN => &BY_NUMBER_ARM,
            _ => &BY_NUMBER_X32,
        }
    }
}

pub use generated::{STRUCTURES, SYMBOL_SETS, SYSCALLS, VARIANTS};

/// The bit that marks an x32 call (`__X32_SYSCALL_BIT` in arch/x86/include/uapi/asm/unistd.h).
pub const X32_BIT: u32 = 0x4000_0000;

/// A system call.
#[derive(Debug)]
pub struct Syscall {
    /// The kernel's name.
    pub name: &'static str,
    /// Numbers on x86_64, i386 and aarch64, the one that x32 alone has, and on arm; -1: there is none.
    pub numbers: [i32; 5],
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

    /// Its number in an ABI, an x32 number without its bit.
    pub fn number(&self, abi: Abi) -> Option<u32> {
        let own = || u32::try_from(self.numbers[X32_COLUMN]).ok();
        let other = || u32::try_from(self.numbers[abi_column(abi)?]).ok();
        if abi == Abi::X32 {
            own().or_else(other)
        } else {
            other()
        }
    }

    /// The register of a parameter: others before it can take two, and some ABIs exchange some.
    pub fn register(&self, abi: Abi, at: usize) -> usize {
        let backwards = matches!(abi, Abi::I386 | Abi::Aarch64 | Abi::Arm);
        if let Some(register) = self.params.get(at).and_then(|p| p.backwards)
            && backwards
        {
            return register.into();
        }
        let narrow = matches!(abi, Abi::I386 | Abi::Arm);
        // the procedure call standard of arm: 64 bits begin in an even register
        let aligned =
            |p: &Param| abi == Abi::Arm && p.is_pair(true) && !matches!(p.kind, Kind::OffPair);
        let mut register = 0;
        for (place, param) in self.params.iter().enumerate() {
            if aligned(param) {
                register += register % 2;
            }
            if place == at {
                break;
            }
            register += 1 + usize::from(param.is_pair(narrow));
        }
        register
    }

    /// The parameter with this name or alias, and its place.
    pub fn param(&self, name: &str) -> Option<(usize, &'static Param)> {
        self.params
            .iter()
            .enumerate()
            .find(|(_, p)| p.name == name || p.aliases.contains(&name))
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
    /// Other names.
    pub aliases: &'static [&'static str],
    /// What it is.
    pub kind: Kind,
    /// Who fills what it points to, and when.
    pub written: Written,
    /// It means something only when that parameter has one of these bits.
    pub only_if: Option<(u8, u64)>,
    /// Its register where the kernel is configured with `CLONE_BACKWARDS`.
    pub backwards: Option<u8>,
}

impl Param {
    /// Whether it takes two registers.
    pub fn is_pair(&self, narrow: bool) -> bool {
        match self.kind {
            Kind::OffPair => true,
            Kind::Loff | Kind::As(Width::Loff, _) => narrow,
            _ => false,
        }
    }
}

/// When the memory a parameter points to is worth a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// The program filled it.
    Always,
    /// The kernel fills it if the call succeeds.
    Success,
    /// The kernel fills it if a signal interrupts the call.
    Interrupted,
}

/// Place of the layout for 32-bit pointers in [`Structure::layouts`].
pub const NARROW: usize = 1;
/// Place of the one on aarch64.
pub const AARCH64: usize = 2;
/// Place of the one on arm, whose pointers have 32 bits as well.
pub const ARM: usize = 3;

/// Whether pointers have 32 bits in the layout at this place in [`Structure::layouts`].
pub const fn has_narrow_pointers(layout: usize) -> bool {
    matches!(layout, NARROW | ARM)
}

/// A structure.
#[derive(Debug)]
pub struct Structure {
    /// As `structs.tbl` has it.
    pub name: &'static str,
    /// Its layout with 64-bit pointers, with 32-bit pointers, on aarch64, and on arm.
    pub layouts: [Layout; 4],
}

/// Where a structure's fields are.
#[derive(Debug)]
pub struct Layout {
    /// Bytes of all of it.
    pub size: u32,
    /// The fields.
    pub fields: &'static [Field],
}

/// A field of a structure.
#[derive(Debug)]
pub struct Field {
    /// Its name; `_`: its own fields belong to the structure; one that begins with `__` is not shown.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Bytes before it.
    pub offset: u32,
    /// It is shown only when that field has one of these bits.
    pub only_if: Option<(u8, u64)>,
}

/// What something is, and who fills it.
#[derive(Debug, Clone, Copy)]
pub struct Meaning {
    /// What it is.
    pub kind: Kind,
    /// Who fills what it points to.
    pub written: Written,
}

/// Something whose meaning other parameters or fields decide.
#[derive(Debug)]
pub struct Variant {
    /// Its place in [`VARIANTS`].
    pub id: u16,
    /// As `variants.tbl` has it.
    pub name: &'static str,
    /// The bits of the first selector that count.
    pub mask: u32,
    /// By the selectors' values, in their order.
    pub rows: &'static [VariantRow],
    /// For all other values.
    pub other: Meaning,
}

/// What it is for one value of the selectors.
#[derive(Debug)]
pub struct VariantRow {
    /// Values of the first and the second selector (0 where there is none).
    pub key: (u32, u32),
    /// What it is then.
    pub meaning: Meaning,
}

impl Variant {
    /// What it is for these values.
    pub fn meaning(&self, first: u32, second: u32) -> Meaning {
        let key = (first & self.mask, second);
        match self.rows.binary_search_by_key(&key, |row| row.key) {
            Ok(at) => self.rows[at].meaning,
            Err(_) => self.other,
        }
    }
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
    /// An offset in a file.
    Off,
    /// Permission bits.
    Mode,
    /// A user id.
    Uid,
    /// A group id.
    Gid,
    /// A number best read in base 16.
    Hex,
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
    /// What stands for a value without a name, as `AF_???`; empty: nothing; `%d`: the value in base 10.
    pub unknown: &'static str,
    /// How many of the fields are printed before the bits; the rest comes after them.
    pub leading: usize,
    /// Bits that are permissions.
    pub mode: u64,
    /// Bits that together are a number: mask, values.
    pub fields: &'static [(u64, &'static [(u64, &'static str)])],
    /// Values, or single bits.
    pub values: &'static [(u64, &'static str)],
    /// The set on arm and aarch64, where that is another one.
    pub arm: Option<&'static Self>,
}

impl SymbolSet {
    /// The set in calls whose memory has the layout at this place in [`Structure::layouts`].
    pub fn of(&'static self, layout: usize) -> &'static Self {
        match self.arm {
            Some(arm) if matches!(layout, AARCH64 | ARM) => arm,
            _ => self,
        }
    }
}

/// Places in [`Syscall::numbers`] of the number that x32 alone has, and of arm's.
const X32_COLUMN: usize = 3;
const ARM_COLUMN: usize = 4;

fn abi_column(abi: Abi) -> Option<usize> {
    match abi {
        Abi::X86_64 | Abi::X32 => Some(0),
        Abi::I386 => Some(1),
        Abi::Aarch64 => Some(2),
        Abi::Arm => Some(ARM_COLUMN),
    }
}

/// Whether a call's memory is laid out with 32-bit pointers: the number, of x32, may carry its bit.
pub fn is_narrow(abi: Abi, nr: u32) -> bool {
    match abi {
        Abi::I386 | Abi::Arm => true,
        Abi::X32 => (nr & !X32_BIT) >= X32_FIRST,
        Abi::X86_64 | Abi::Aarch64 => false,
    }
}

/// The first of the numbers that x32 alone has.
pub const X32_FIRST: u32 = 512;

/// The place in [`Structure::layouts`] for a call.
pub fn layout(abi: Abi, nr: u32) -> usize {
    if abi == Abi::Arm {
        ARM
    } else if is_narrow(abi, nr) {
        NARROW
    } else if abi == Abi::Aarch64 {
        AARCH64
    } else {
        0
    }
}

/// The call with this number. An x32 number may carry its bit.
pub fn by_number(abi: Abi, nr: u32) -> Option<&'static Syscall> {
    let nr = if abi == Abi::X32 { nr & !X32_BIT } else { nr };
    let column = if abi == Abi::X32 && nr >= X32_FIRST {
        X32_COLUMN
    } else {
        abi_column(abi)?
    };
    let index = *generated::by_number(column).get(usize::try_from(nr).ok()?)?;
    SYSCALLS.get(usize::from(index))
}

/// The call with this name.
pub fn by_name(name: &str) -> Option<&'static Syscall> {
    SYSCALLS.iter().find(|call| call.name == name)
}
