//! A set of `symbols.tbl`: names of bits and values.

use super::{AARCH64, ARM};

/// Names of bits and values.
#[derive(Debug)]
pub struct SymbolSet {
    /// Its name in `symbols.tbl`.
    pub name: &'static str,
    /// What strace prints for a value without a name, such as `AF_???`. Empty: the number alone in base 16;
    /// `%d`: in base 10.
    pub unknown: &'static str,
    /// How many of the fields are printed before the bits; the others are printed after them.
    pub leading: usize,
    /// Bits that are permissions.
    pub mode: u64,
    /// Bits that together are a number: the mask, and the number's values.
    pub fields: &'static [(u64, &'static [(u64, &'static str)])],
    /// Values, or single bits.
    pub values: &'static [(u64, &'static str)],
    /// The set on arm and aarch64, where it differs.
    pub arm: Option<&'static Self>,
}

impl SymbolSet {
    /// The set in calls whose memory has this layout, an index in [`Structure::layouts`](super::Structure::layouts).
    pub fn of(&'static self, layout: usize) -> &'static Self {
        match self.arm {
            Some(arm) if matches!(layout, AARCH64 | ARM) => arm,
            _ => self,
        }
    }
}
