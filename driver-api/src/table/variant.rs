//! A variant of `variants.tbl`: what a parameter or field is where others decide.

use super::words::Written;
use super::{Kind, SYSCALLS, Syscall};

/// What something is, and when its memory is captured.
#[derive(Debug, Clone, Copy)]
pub struct Meaning {
    /// What it is.
    pub kind: Kind,
    /// When the memory it points to is captured.
    pub written: Written,
}

/// A parameter or field whose meaning other parameters or fields decide: its selectors.
#[derive(Debug)]
pub struct Variant {
    /// Its index in [`VARIANTS`](super::VARIANTS).
    pub id: u16,
    /// Its name in `variants.tbl`.
    pub name: &'static str,
    /// The bits of the first selector that count.
    pub mask: u32,
    /// By the selectors' values, in ascending order.
    pub rows: &'static [VariantRow],
    /// For all other values.
    pub other: Meaning,
}

/// What it is for one value of the selectors.
#[derive(Debug)]
pub struct VariantRow {
    /// Values of the first and the second selector; 0 where there is no second one.
    pub key: (u32, u32),
    /// What it is then.
    pub meaning: Meaning,
}

impl Variant {
    /// What it is for these values of the selectors.
    pub fn meaning(&self, first: u32, second: u32) -> Meaning {
        let key = (first & self.mask, second);
        match self.rows.binary_search_by_key(&key, |row| row.key) {
            Ok(at) => self.rows[at].meaning,
            Err(_) => self.other,
        }
    }

    /// The first call that uses it. All calls that do give its registers the same widths.
    pub(crate) fn user(&self) -> Option<&'static Syscall> {
        SYSCALLS.iter().find(|call| self.is_used_by(call))
    }

    /// Whether a parameter of the call is of this kind.
    pub fn is_used_by(&self, call: &Syscall) -> bool {
        call.params
            .iter()
            .any(|param| matches!(param.kind, Kind::By(variant, _) if variant.id == self.id))
    }

    /// Whether it points to memory for any value.
    pub fn has_memory(&self) -> bool {
        self.other.kind.is_memory() || self.rows.iter().any(|row| row.meaning.kind.is_memory())
    }
}
