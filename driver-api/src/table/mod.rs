//! The table of system calls, made from `syscalls.tbl`, `io_uring.tbl`, `symbols.tbl`, `structs.tbl`, `variants.tbl`,
//! `multiplexed.tbl` and `netlink.tbl` at build time, and look-ups in it by number and by name.

mod kind;
mod multiplexed;
mod netlink;
mod structure;
mod symbols;
mod syscall;
mod variant;
mod words;

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::event::Abi;

pub use kind::{Input, Kind, Len, LenFrom};
pub use multiplexed::{FIRST_WORD, MULTIPLEXED_BIT, Multiplexed};
pub use netlink::{NetlinkAttributes, NetlinkProtocol, NetlinkRow, NetlinkValue};
pub use structure::{AARCH64, ARM, Field, Layout, NARROW, Structure, has_narrow_pointers};
pub use symbols::SymbolSet;
pub use syscall::{FactOf, Param, Syscall};
pub use variant::{Meaning, Variant, VariantRow};
pub use words::{
    Buffer, Category, Counts, Fetch, LastLink, Number, Reading, Returns, Room, SqeField, Width,
    Written,
};

mod generated {
    #![expect(clippy::unreadable_literal, reason = "made by the build script")]
    use super::{
        Buffer, Category, FactOf, Field, Kind, LastLink, Layout, Len, LenFrom, Meaning,
        Multiplexed, NetlinkAttributes, NetlinkProtocol, NetlinkRow, NetlinkValue, Number, Param,
        Returns, SqeField, Structure, SymbolSet, Syscall, Variant, VariantRow, Width, Written,
    };
    use crate::event::Fact;
    include!(concat!(env!("OUT_DIR"), "/table.rs"));
}

pub use generated::{
    NETLINK_ERROR, NETLINK_PROTOCOLS, STRUCTURES, SYMBOL_SETS, SYSCALLS, VARIANTS,
};

/// The bit that marks an x32 call (`__X32_SYSCALL_BIT` in arch/x86/include/uapi/asm/unistd.h).
pub const X32_BIT: u32 = 0x4000_0000;

/// The first of the numbers that x32 alone has.
pub const X32_FIRST: u32 = 512;

/// Index in [`Syscall::numbers`] of the number that x32 alone has.
const X32_COLUMN: usize = 3;

/// Index in [`Syscall::numbers`] of an ABI's numbers; x32 shares most with x86_64.
fn abi_column(abi: Abi) -> usize {
    match abi {
        Abi::X86_64 | Abi::X32 => 0,
        Abi::I386 => 1,
        Abi::Aarch64 => 2,
        Abi::Arm => 4,
        Abi::IoUring => 5,
    }
}

/// Whether a call's memory is laid out with 32-bit pointers. An x32 number may carry its bit.
pub fn is_narrow(abi: Abi, nr: u32) -> bool {
    match abi {
        Abi::I386 | Abi::Arm => true,
        Abi::X32 => (nr & !X32_BIT) >= X32_FIRST,
        // a request has 64-bit pointers even in a 32-bit program
        Abi::X86_64 | Abi::Aarch64 | Abi::IoUring => false,
    }
}

/// The index in [`Structure::layouts`] for a call.
pub fn layout(abi: Abi, nr: u32) -> usize {
    if abi == Abi::Arm {
        ARM
    } else if is_narrow(abi, nr) {
        NARROW
    } else if abi == Abi::Aarch64 || (abi == Abi::IoUring && Abi::NATIVE == Abi::Aarch64) {
        AARCH64
    } else {
        0
    }
}

/// The name in the table of a call that the table does not have.
const UNKNOWN: &str = "unknown";

/// The call with this number; if the table has none, the row for all unknown calls
/// ([`Syscall::is_unknown`]). An x32 number may carry its bit.
pub fn of_number(abi: Abi, nr: u32) -> &'static Syscall {
    by_number(abi, nr).unwrap_or(unknown())
}

/// The row for all calls whose numbers the table does not have, because the kernel got them later.
pub fn unknown() -> &'static Syscall {
    &SYSCALLS[generated::UNKNOWN_AT]
}

/// The call with this number. An x32 number may carry its bit; a call that was made through another one has the number
/// that [`Multiplexed::number`] gives it.
pub fn by_number(abi: Abi, nr: u32) -> Option<&'static Syscall> {
    if abi == Abi::I386 && nr & MULTIPLEXED_BIT != 0 {
        return Multiplexed::with_number(nr).map(Multiplexed::call);
    }
    let nr = if abi == Abi::X32 { nr & !X32_BIT } else { nr };
    let column = if abi == Abi::X32 && nr >= X32_FIRST {
        X32_COLUMN
    } else {
        abi_column(abi)
    };
    let index = *generated::BY_NUMBER[column].get(usize::try_from(nr).ok()?)?;
    SYSCALLS.get(usize::from(index))
}

/// The calls with this name, or with events of this type ([`Syscall::event_type`]).
pub fn of_type(name: &str) -> impl Iterator<Item = &'static Syscall> {
    let of = by_name(name);
    let same = move |call: &&Syscall| {
        of.is_some_and(|of| std::ptr::eq(call.event_type(), of.event_type()))
    };
    SYSCALLS.iter().filter(same)
}

/// The call with this name.
pub fn by_name(name: &str) -> Option<&'static Syscall> {
    static NAMES: LazyLock<HashMap<&str, &Syscall>> = LazyLock::new(|| {
        // of two calls with a name, the first
        let named = SYSCALLS.iter().rev().map(|call| (call.name, call));
        named.collect()
    });
    NAMES.get(name).copied()
}
