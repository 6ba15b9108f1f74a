//! Reads the tables. Used by the build script alone; errors begin with the line.

mod kind;
mod structs;
mod symbols;
mod syscalls;
mod variants;

pub(crate) use kind::{Kind, Len, LenFrom};
pub(crate) use structs::{Layout, Structure, structs};
pub(crate) use symbols::{SymbolSet, symbols};
pub(crate) use syscalls::{Param, Row, syscalls};
pub(crate) use variants::{Variant, variants};

/// The lines that say something, with their numbers, without comments.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(at, line)| (at + 1, line.split('#').next().unwrap_or(line)))
        .filter(|(_, line)| !line.trim().is_empty())
}

fn number(text: &str) -> Result<u64, String> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    }
    .map_err(|_| format!("{text:?} is no number"))
}
