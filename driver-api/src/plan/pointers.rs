//! The pointers in structures that interpreters of plans follow.

use super::{Op, Pointer, Pointers};
use crate::request::Limits;
use crate::table::{self, Field, Kind, NARROW, STRUCTURES, Structure};

/// The pointers of all structures that have some, with 64-bit and with 32-bit pointers.
/// [`Op::entries`] says which ones belong to an operation.
pub fn pointers(limits: &Limits) -> Vec<[Pointers; 2]> {
    let with = STRUCTURES.iter().filter(|of| has_pointers(of));
    with.map(|of| [WIDE, NARROW].map(|layout| pointers_of(of, layout, limits)))
        .collect()
}

/// Index of the layout for 64-bit pointers.
const WIDE: usize = 0;

fn has_pointers(of: &Structure) -> bool {
    of.pointers(WIDE).next().is_some()
}

fn pointers_of(of: &Structure, layout: usize, limits: &Limits) -> Pointers {
    let narrow = table::has_narrow_pointers(layout);
    let bytes = |field: &Field| {
        let width = field.kind.width();
        width.map_or(0, |width| width.bytes(narrow) as u8)
    };
    let mut all = Pointers::default();
    for (to, (field, element, count)) in all.of.iter_mut().zip(of.pointers(layout)) {
        *to = Pointer {
            at: field.offset as u16,
            count_at: count.offset as u16,
            bytes: bytes(field),
            count_bytes: bytes(count),
            unit: element.size(layout).unwrap_or(1) as u16,
            limit: limits.arrays,
        };
    }
    all
}

/// The value of [`Op::entries`] for a structure. 0: it has no pointers that are followed.
pub(super) fn index(of: &Structure) -> u8 {
    if !has_pointers(of) {
        return 0;
    }
    let mut with = STRUCTURES.iter().filter(|of| has_pointers(of));
    let at = with.position(|one| std::ptr::eq(*one, of));
    at.map_or(0, |at| at as u8 + 1)
}

/// The pointers of the structure of a [`code::BYTES`](super::code::BYTES), for the interpreter in user space.
pub fn pointers_at(op: &Op, narrow: bool, limits: &Limits) -> Option<Pointers> {
    let at = usize::from(op.entries).checked_sub(1)?;
    let of = STRUCTURES.iter().filter(|of| has_pointers(of)).nth(at)?;
    Some(pointers_of(of, if narrow { NARROW } else { WIDE }, limits))
}

/// Whether a parameter can be a structure whose pointers are followed.
pub(super) fn can_be_in(kind: &Kind) -> bool {
    let has = |kind: &Kind| matches!(kind, Kind::Struct(of, _) if has_pointers(of));
    if let Kind::By(variant, _) = kind {
        let mut rows = variant.rows.iter();
        return has(&variant.other.kind) || rows.any(|row| has(&row.meaning.kind));
    }
    has(kind)
}
