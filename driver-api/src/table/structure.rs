//! A structure of `structs.tbl`, laid out for each family of ABIs.

use super::Kind;

/// Index of the layout for 32-bit pointers in [`Structure::layouts`].
pub const NARROW: usize = 1;
/// Index of aarch64's layout.
pub const AARCH64: usize = 2;
/// Index of arm's layout, whose pointers have 32 bits as well.
pub const ARM: usize = 3;

/// Whether pointers have 32 bits in the layout with this index in [`Structure::layouts`].
pub const fn has_narrow_pointers(layout: usize) -> bool {
    matches!(layout, NARROW | ARM)
}

/// A structure.
#[derive(Debug)]
pub struct Structure {
    /// Its name in `structs.tbl`.
    pub name: &'static str,
    /// The field that says how long the structure is, and its length where that field is 0.
    pub sized: Option<(u8, u32)>,
    /// Its layouts: with 64-bit pointers, with 32-bit pointers, on aarch64, on arm.
    pub layouts: [Layout; 4],
}

impl Structure {
    /// Its fields that point to arrays: each with the element, and with the field that counts the elements.
    pub fn pointers(
        &self,
        layout: usize,
    ) -> impl Iterator<Item = (&'static Field, &'static Kind, &'static Field)> {
        let fields = self.layouts[layout].fields;
        fields.iter().filter_map(move |field| match field.kind {
            Kind::To(of, count, _) => Some((field, of, fields.get(usize::from(count))?)),
            _ => None,
        })
    }

    /// Whether its last field is all that follows.
    pub fn has_rest(&self, layout: usize) -> bool {
        let last = self.layouts[layout].fields.last();
        last.is_some_and(|field| matches!(field.kind, Kind::Rest))
    }
}

/// Where a structure's fields are.
#[derive(Debug)]
pub struct Layout {
    /// Bytes of the whole structure.
    pub size: u32,
    /// The fields.
    pub fields: &'static [Field],
}

/// A field of a structure.
#[derive(Debug)]
pub struct Field {
    /// Its name. The fields of a field named `_` belong to the structure itself; a field whose name begins
    /// with `__` is not shown.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Bytes before it.
    pub offset: u32,
    /// It is shown only when that field has one of these bits.
    pub only_if: Option<(u8, u64)>,
    /// It is shown only when that field has none of these bits.
    pub unless: Option<(u8, u64)>,
}
