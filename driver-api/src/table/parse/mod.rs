//! Reads the tables, for the build script.

mod error;
mod io_uring;
mod kind;
mod multiplexed;
mod netlink;
mod structs;
mod symbols;
mod syscalls;
mod variants;

pub(crate) use error::{Fault, TableError};
pub(crate) use io_uring::operations;
pub(crate) use kind::{Kind, Len, LenFrom};
pub(crate) use multiplexed::{Multiplexed, multiplexed};
pub(crate) use netlink::{Attributes, Protocol, Value, ValueRow, netlink};
pub(crate) use structs::{Layout, Structure, structs};
pub(crate) use symbols::{SymbolSet, symbols};
pub(crate) use syscalls::{Param, Row, syscalls};
pub(crate) use variants::{Variant, variants};

/// The files.
pub(crate) const SYSCALLS: &str = "syscalls.tbl";
pub(crate) const IO_URING: &str = "io_uring.tbl";
pub(crate) const SYMBOLS: &str = "symbols.tbl";
pub(crate) const IOCTLS: &str = "ioctls.tbl";
pub(crate) const STRUCTS: &str = "structs.tbl";
pub(crate) const VARIANTS: &str = "variants.tbl";
pub(crate) const MULTIPLEXED: &str = "multiplexed.tbl";
pub(crate) const NETLINK: &str = "netlink.tbl";
pub(crate) const NETLINK_NAMES: &str = "netlink-names.tbl";

/// The lines that are not empty, with their numbers from 1 on, without comments.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(at, line)| (at + 1, line.split('#').next().unwrap_or(line)))
        .filter(|(_, line)| !line.trim().is_empty())
}

/// A number in base 10, or in base 16 after `0x`.
fn number(text: &str) -> Result<u64, Fault> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    }
    .map_err(|source| Fault::Number {
        found: text.to_owned(),
        source,
    })
}

/// A number that fits into a narrower type.
fn narrow_number<T: TryFrom<u64>>(text: &str, most: T) -> Result<T, Fault>
where
    u64: From<T>,
{
    let number = number(text)?;
    T::try_from(number).map_err(|_| Fault::Large {
        found: text.to_owned(),
        most: most.into(),
    })
}

/// A number, or the value of a name in a set of symbols, that fits into a narrower type.
fn value_of<T: TryFrom<u64>>(sets: &[SymbolSet], set: &str, name: &str, most: T) -> Result<T, Fault>
where
    u64: From<T>,
{
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        return narrow_number(name, most);
    }
    let found = sets
        .iter()
        .find(|of| of.name == set)
        .ok_or_else(|| Fault::no_such("set of symbols", set, "symbols.tbl"))?;
    let (value, _) = found
        .values
        .iter()
        .find(|(_, of)| of == name)
        .ok_or_else(|| Fault::no_such("symbol", name, &format!("the set {set}")))?;
    T::try_from(*value).map_err(|_| Fault::Large {
        found: name.to_owned(),
        most: most.into(),
    })
}

/// The words of one of the tables' vocabularies, for a message.
fn list<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.collect::<Vec<_>>().join(" ")
}
