//! Structures and arrays, as `structs.tbl` lays them out.

use std::fmt::Write as _;

use driver_api::event::{Event, Status};
use driver_api::plan::POINTERS;
use driver_api::table::{Field, Kind, STRUCTURES, Structure, has_narrow_pointers};

use super::buffer::{is_cut, quote};
use super::forms::{Forms, Style, and_more, list};
use super::json::Members;
use super::number;
use super::value::{Value, in_place};

/// A structure in the bytes of an event.
#[derive(Debug, Clone, Copy)]
pub struct Struct<'a> {
    of: &'static Structure,
    layout: usize,
    bytes: &'a [u8],
    /// The structure goes on behind what was captured.
    cut: bool,
    /// What its pointers point to, in the order of the fields.
    pointed: [Option<Pointed<'a>>; POINTERS],
}

/// What a pointer in a structure points to.
#[derive(Debug, Clone, Copy)]
struct Pointed<'a> {
    bytes: &'a [u8],
    cut: bool,
}

/// An array in the bytes of an event.
#[derive(Debug, Clone, Copy)]
pub struct Array<'a> {
    kind: &'static Kind,
    layout: usize,
    bytes: &'a [u8],
    /// The table has a pointer to one element here, not to an array.
    pub single: bool,
    /// There are more elements than were captured.
    pub cut: bool,
}

/// A field that was captured.
#[derive(Debug, Clone, Copy)]
pub struct FieldValue<'a> {
    /// Its name.
    pub name: &'static str,
    /// Its value.
    pub value: Value<'a>,
    /// Whether it means something; other fields decide.
    pub counts: bool,
}

impl<'a> Struct<'a> {
    pub(super) fn new(of: &'static Structure, layout: usize, bytes: &'a [u8], cut: bool) -> Self {
        let mut new = Self {
            of,
            layout,
            bytes,
            cut,
            pointed: [None; POINTERS],
        };
        if let Some((field, first)) = of.sized
            && let Some(said) = new.number(field)
        {
            let said = if said == 0 { first.into() } else { said };
            let all = bytes.len() as u64;
            new.cut = said > all;
            // the field is always there: even a length that the kernel refuses is shown
            let end = new.end_of(field).max(said.min(all) as usize);
            new.bytes = bytes.get(..end).unwrap_or(bytes);
        }
        new
    }

    /// The same, for the structure that this register of an event points to.
    pub(super) fn of_event(mut self, event: &Event<'a>, register: usize) -> Self {
        let fields = self.of.pointers(self.layout).zip(&mut self.pointed);
        for (at, (_, to)) in fields.enumerate() {
            let attached = event.pointed(register, at);
            let attached = attached.filter(|a| a.status != Status::Fault || !a.bytes.is_empty());
            *to = attached.map(|attached| Pointed {
                bytes: attached.bytes,
                cut: is_cut(&attached),
            });
        }
        self
    }

    /// What a field points to; none: it is no pointer that is followed, or the event does not have it.
    fn pointed(&self, field: &Field) -> Option<Value<'a>> {
        let Kind::To(of, ..) = field.kind else {
            return None;
        };
        let mut pointers = self.of.pointers(self.layout).zip(&self.pointed);
        let Pointed { bytes, cut } = pointers
            .find(|((one, ..), _)| one.offset == field.offset)?
            .1
            .as_ref()?;
        Array::new(of, self.layout, bytes, false, *cut).map(Value::Array)
    }

    /// The same, for the structure with this name in `structs.tbl`.
    pub(super) fn named(name: &str, layout: usize, bytes: &'a [u8], cut: bool) -> Option<Self> {
        let of = STRUCTURES.iter().find(|of| of.name == name)?;
        Some(Self::new(of, layout, bytes, cut))
    }

    /// Where a field ends.
    fn end_of(&self, at: u8) -> usize {
        self.fields_of().get(usize::from(at)).map_or(0, |field| {
            field.offset as usize + field.kind.size(self.layout).unwrap_or(0)
        })
    }

    /// What was captured behind the last field that is known, where it is not 0, and where it begins: a newer
    /// version of the structure has fields there.
    fn unknown(&self) -> Option<(usize, &'a [u8])> {
        let last = self.fields_of().last()?;
        if matches!(last.kind, Kind::Rest) {
            return None;
        }
        let of_last = self.kind_of(last).and_then(|kind| kind.size(self.layout));
        let end = last.offset as usize + of_last.unwrap_or(0);
        let size = end.max(self.of.layouts[self.layout].size as usize);
        let rest = self.bytes.get(size..)?;
        rest.iter().any(|byte| *byte != 0).then_some((size, rest))
    }

    /// The name of the structure.
    pub fn name(&self) -> &'static str {
        self.of.name
    }

    /// The bytes that were captured.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    fn fields_of(&self) -> &'static [Field] {
        self.of.layouts[self.layout].fields
    }

    /// Calls `sink` with every field that was captured whole, in order, and with the fields of a field named
    /// `_` in its place. True: some fields were not captured.
    pub fn fields(&self, sink: &mut dyn FnMut(FieldValue<'a>)) -> bool {
        let mut cut = self.cut && self.bytes.len() >= self.of.layouts[self.layout].size as usize;
        for field in self.fields_of() {
            if field.name.starts_with("__") {
                continue;
            }
            let counts = field
                .only_if
                .is_none_or(|(of, mask)| self.number(of).is_some_and(|n| n & mask != 0))
                && field
                    .unless
                    .is_none_or(|(of, mask)| self.number(of).unwrap_or(0) & mask == 0);
            match (field.name, self.value(field)) {
                ("_", Some(Value::Struct(inner))) => cut |= inner.fields(sink),
                ("_", _) => {}
                (name, Some(value)) => sink(FieldValue {
                    name,
                    value,
                    counts,
                }),
                // a field after the end of a shorter version of the structure is not missing, half a field is
                (_, None) => {
                    cut |= counts && (self.cut || (field.offset as usize) < self.bytes.len());
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

    /// What a field is in this structure; none: the fields that decide were not captured.
    fn kind_of(&self, field: &Field) -> Option<Kind> {
        let Kind::By(variant, selectors) = field.kind else {
            return Some(field.kind);
        };
        let value = |at: usize| -> Option<u32> {
            match selectors.get(at) {
                Some(of) => Some((self.number(*of)? & 0xffff_ffff) as u32),
                None => Some(0),
            }
        };
        Some(variant.meaning(value(0)?, value(1)?).kind)
    }

    fn value(&self, field: &Field) -> Option<Value<'a>> {
        let bytes = self.bytes.get(field.offset as usize..)?;
        if let Some(value) = self.pointed(field) {
            return Some(value);
        }
        let value = in_place(&self.kind_of(field)?, self.layout, bytes)?;
        Some(match value {
            // where the program's structure ends early, what is inside it ends, too
            Value::Struct(inner) if !self.cut => Value::Struct(Struct {
                cut: false,
                ..inner
            }),
            value => value,
        })
    }
}

impl<'a> Array<'a> {
    /// None: not even the first element was captured whole.
    pub(super) fn new(
        kind: &'static Kind,
        layout: usize,
        bytes: &'a [u8],
        single: bool,
        cut: bool,
    ) -> Option<Self> {
        let array = Self {
            kind,
            layout,
            bytes,
            single,
            cut,
        };
        (!cut || array.iter().next().is_some()).then_some(array)
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

impl Forms for Struct<'_> {
    fn text(&self, out: &mut String) {
        out.push('{');
        let mut first = true;
        let cut = self.fields(&mut |field| {
            if !field.counts {
                return;
            }
            if !first {
                out.push_str(", ");
            }
            first = false;
            out.push_str(field.name);
            out.push('=');
            field.value.text(out);
        });
        if let Some((at, bytes)) = self.unknown() {
            let last = self.bytes.len() - 1;
            let _ = write!(out, ", /* bytes {at}..{last} */ ");
            quote(out, bytes);
        }
        if cut {
            out.push_str(if first { "..." } else { ", ..." });
        }
        out.push('}');
    }

    fn json(&self, out: &mut String) {
        let mut inside = Members::object(out);
        self.fields(&mut |field| field.value.json(inside.key(field.name)));
        inside.end();
    }
}

impl Forms for Array<'_> {
    fn text(&self, out: &mut String) {
        // strace prints a single structure behind a pointer without brackets
        if self.single
            && let Some(Value::Struct(only)) = self.iter().next()
        {
            return only.text(out);
        }
        list(out, self.iter(), |out, value| value.text(out));
        if self.cut {
            and_more(out);
        }
    }

    fn json(&self, out: &mut String) {
        if self.single {
            match self.iter().next() {
                Some(value) => value.json(out),
                None => out.push_str("null"),
            }
            return;
        }
        let mut inside = Members::array(out);
        self.iter().for_each(|value| value.json(inside.item()));
        inside.end();
    }

    fn falco(&self, out: &mut String, style: Style) -> bool {
        for (at, value) in self.iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            value.falco(out, style);
        }
        true
    }
}
