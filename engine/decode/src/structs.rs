//! Structures and arrays, as `structs.tbl` lays them out.

use driver_api::table::{Buffer, Field, Kind, Structure, has_narrow_pointers};

use super::sockaddr::SockAddr;
use super::value::Value;
use super::{number, value};

/// A structure in the bytes of an event.
#[derive(Debug, Clone, Copy)]
pub struct Struct<'a> {
    of: &'static Structure,
    layout: usize,
    bytes: &'a [u8],
}

/// An array in the bytes of an event.
#[derive(Debug, Clone, Copy)]
pub struct Array<'a> {
    kind: &'static Kind,
    layout: usize,
    bytes: &'a [u8],
    /// The table says that it is one, not an array.
    pub single: bool,
    /// There is more than was captured.
    pub cut: bool,
}

/// A field that was captured.
#[derive(Debug, Clone, Copy)]
pub struct FieldValue<'a> {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub value: Value<'a>,
    /// Other fields say that it means something.
    pub counts: bool,
}

impl<'a> Struct<'a> {
    pub(super) fn new(of: &'static Structure, layout: usize, bytes: &'a [u8]) -> Self {
        Self { of, layout, bytes }
    }

    /// The name of the structure.
    pub fn name(&self) -> &'static str {
        self.of.name
    }

    /// What was captured of it.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    fn fields_of(&self) -> &'static [Field] {
        self.of.layouts[self.layout].fields
    }

    /// Calls `sink` with every field that was captured whole, in order; those of `_` are its own.
    /// True: some were not captured.
    pub fn fields(&self, sink: &mut dyn FnMut(FieldValue<'a>)) -> bool {
        let mut cut = false;
        for field in self.fields_of() {
            if field.name.starts_with("__") {
                continue;
            }
            let counts = field
                .only_if
                .is_none_or(|(of, mask)| self.number(of).is_some_and(|n| n & mask != 0));
            match (field.name, self.value(field)) {
                ("_", Some(Value::Struct(inner))) => cut |= inner.fields(sink),
                ("_", _) => {}
                (name, Some(value)) => sink(FieldValue {
                    name,
                    value,
                    counts,
                }),
                // what a version of the structure that is shorter does not have is not missing
                (_, None) => {
                    cut |= counts && self.bytes.len() < self.of.layouts[self.layout].size as usize;
                }
            }
        }
        cut
    }

    /// The field of this name.
    pub fn field(&self, name: &str) -> Option<Value<'a>> {
        let field = self.fields_of().iter().find(|field| field.name == name)?;
        self.value(field)
    }

    /// A field as a number.
    fn number(&self, at: u8) -> Option<u64> {
        let field = self.fields_of().get(usize::from(at))?;
        number::of_memory(
            self.bytes,
            field.offset as usize,
            field.kind.width()?,
            has_narrow_pointers(self.layout),
        )
    }

    fn value(&self, field: &Field) -> Option<Value<'a>> {
        let mut kind = field.kind;
        if let Kind::By(variant, selectors) = kind {
            let value = |at: usize| -> Option<u32> {
                match selectors.get(at) {
                    Some(of) => Some((self.number(*of)? & 0xffff_ffff) as u32),
                    None => Some(0),
                }
            };
            kind = variant.meaning(value(0)?, value(1)?).kind;
        }
        in_place(&kind, self.layout, self.bytes.get(field.offset as usize..)?)
    }
}

impl<'a> Array<'a> {
    pub(super) fn new(
        kind: &'static Kind,
        layout: usize,
        bytes: &'a [u8],
        single: bool,
        cut: bool,
    ) -> Self {
        Self {
            kind,
            layout,
            bytes,
            single,
            cut,
        }
    }

    /// The elements that were captured whole.
    pub fn iter(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let (kind, layout) = (self.kind, self.layout);
        let size = kind.size(layout).unwrap_or(1).max(1);
        self.bytes
            .chunks_exact(size)
            .filter_map(move |chunk| in_place(kind, layout, chunk))
    }
}

/// What stands at the beginning of these bytes.
fn in_place<'a>(kind: &Kind, layout: usize, bytes: &'a [u8]) -> Option<Value<'a>> {
    let narrow = has_narrow_pointers(layout);
    match kind {
        Kind::CapSet => {
            let half = |at| number::of_memory(bytes, at, driver_api::table::Width::U32, narrow);
            // version 1 has one half only
            return Some(Value::Capabilities(half(0)? | half(12).unwrap_or(0) << 32));
        }
        Kind::Ip6 => {
            let ip: [u8; 16] = *bytes.first_chunk()?;
            return Some(Value::Ip(std::net::Ipv6Addr::from(ip).into()));
        }
        Kind::Rest => return Some(Value::Raw(bytes)),
        _ => {}
    }
    if let Some(width) = kind.width() {
        return number::meaning(kind, number::of_memory(bytes, 0, width, narrow)?, layout);
    }
    let size = kind.size(layout)?;
    // a structure can be captured in part
    let own = bytes.get(..size);
    Some(match kind {
        Kind::Struct(of, _) => Value::Struct(Struct::new(of, layout, own.unwrap_or(bytes))),
        Kind::Chars(_) => {
            let all = own?;
            Value::Text(all.split(|b| *b == 0).next().unwrap_or(all))
        }
        Kind::Raw(_) => Value::Raw(own?),
        Kind::Buffer(Buffer::Sigset, _) => Value::Signals(value::bits(own?)),
        Kind::Buffer(Buffer::SockAddr, _) => Value::SockAddr(SockAddr::parse(own?)?),
        Kind::Array(of, _) => Value::Array(Array::new(of, layout, own?, false, false)),
        _ => return None,
    })
}
