//! Reads `structs.tbl`, and lays the structures out as compilers do.

use std::collections::BTreeMap;

use super::kind::{Kind, Len};
use super::{Fault, STRUCTS, TableError, lines, narrow_number, number};
use crate::words::Buffer;

/// A structure and its layouts on 64-bit ABIs, on those with 32-bit pointers, on aarch64, and on arm.
#[derive(Debug)]
pub(crate) struct Structure {
    pub(crate) line: usize,
    pub(crate) name: String,
    /// The field that says how long the structure is, and its length where that is 0.
    pub(crate) sized: Option<(u8, u32)>,
    pub(crate) layouts: [Layout; 4],
}

/// Where the fields are.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layout {
    pub(crate) size: u32,
    align: u32,
    pub(crate) fields: Vec<Field>,
}

/// A field.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) offset: u32,
    pub(crate) only_if: Option<(u8, u64)>,
    pub(crate) unless: Option<(u8, u64)>,
}

/// A structure as the table writes it for one ABI.
#[derive(Debug, Clone, Default)]
struct Written {
    union: bool,
    packed: bool,
    /// With 64-bit and with 32-bit pointers.
    sizes: Option<[u32; 2]>,
    /// The field that says how long the structure is, and its length where that is 0.
    sized: Option<(String, u32)>,
    /// The fields, with their lines.
    fields: Vec<(usize, String)>,
}

/// Indices of the layouts.
const WIDE: usize = 0;
const NARROW: usize = 1;
const AARCH64: usize = 2;
const ARM: usize = 3;

type Layouts = BTreeMap<String, [Layout; 4]>;

pub(crate) fn structs(text: &str) -> Result<Vec<Structure>, TableError> {
    let mut order: Vec<(usize, String)> = Vec::new();
    let mut written: BTreeMap<(String, usize), Written> = BTreeMap::new();
    let mut current = None;
    for (line, text) in lines(text) {
        let fault = |fault: Fault| fault.at(STRUCTS, line);
        if text.starts_with(char::is_whitespace) {
            let block = current.as_ref().and_then(|key| written.get_mut(key));
            let block = block.ok_or_else(|| fault(Fault::NoBlock("`struct NAME`")))?;
            let fields = text.split_whitespace().map(|word| (line, word.to_owned()));
            block.fields.extend(fields);
            continue;
        }
        let (name, abi, new) = begin(text).map_err(fault)?;
        if abi == WIDE {
            order.push((line, name.clone()));
        }
        let key = (name.clone(), abi);
        if written.insert(key.clone(), new).is_some() {
            return Err(fault(Fault::Twice {
                what: "structure",
                name,
            }));
        }
        current = Some(key);
    }
    let mut done = Layouts::new();
    for (line, name) in &order {
        let mut layouts: [Layout; 4] = Default::default();
        for (abi, layout) in layouts.iter_mut().enumerate() {
            // arm is like other 32-bit machines where it has no layout of its own
            let abis: &[usize] = if abi == ARM {
                &[ARM, NARROW, WIDE]
            } else {
                &[abi, WIDE]
            };
            let own = abis
                .iter()
                .find_map(|abi| written.get(&(name.clone(), *abi)))
                .ok_or_else(|| Fault::no_such("structure", name, "").at(STRUCTS, *line))?;
            *layout = lay_out(own, abi, &done)?;
        }
        done.insert(name.clone(), layouts);
    }
    order
        .into_iter()
        .map(|(line, name)| {
            let layouts: [Layout; 4] = done.remove(&name).unwrap_or_default();
            let said = written
                .get(&(name.clone(), WIDE))
                .and_then(|block| block.sized.as_ref());
            let sized = match said {
                Some((field, first)) => {
                    let at = layouts[WIDE].fields.iter().position(|of| of.name == *field);
                    let at = at.and_then(|at| u8::try_from(at).ok()).ok_or_else(|| {
                        Fault::no_such("field", field, "this structure").at(STRUCTS, line)
                    })?;
                    Some((at, *first))
                }
                None => None,
            };
            Ok(Structure {
                line,
                name,
                sized,
                layouts,
            })
        })
        .collect()
}

/// Reads the line that begins a structure: its name, and the ABI whose layout follows.
fn begin(text: &str) -> Result<(String, usize, Written), Fault> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let [what @ ("struct" | "union"), name, rest @ ..] = words.as_slice() else {
        return Err(Fault::syntax("`struct NAME` or `union NAME`", text));
    };
    let mut new = Written {
        union: *what == "union",
        ..Written::default()
    };
    let mut abi = WIDE;
    for word in rest {
        match *word {
            "packed" => new.packed = true,
            "narrow" => abi = NARROW,
            "aarch64" => abi = AARCH64,
            "arm" => abi = ARM,
            sized if sized.starts_with("sized(") => {
                let inside = sized
                    .strip_prefix("sized(")
                    .and_then(|rest| rest.strip_suffix(')'))
                    .and_then(|inside| inside.split_once(','));
                let (field, first) =
                    inside.ok_or_else(|| Fault::syntax("`sized(FIELD,BYTES)`", sized))?;
                new.sized = Some((field.to_owned(), narrow_number(first, u32::MAX)?));
            }
            size => {
                let (wide, narrow) = size.split_once('/').unwrap_or((size, size));
                new.sizes = Some([
                    narrow_number(wide, u32::MAX)?,
                    narrow_number(narrow, u32::MAX)?,
                ]);
            }
        }
    }
    Ok(((*name).to_owned(), abi, new))
}

fn lay_out(from: &Written, abi: usize, done: &Layouts) -> Result<Layout, TableError> {
    let mut layout = Layout {
        align: 1,
        ..Layout::default()
    };
    let mut end = 0_u32;
    for (line, word) in &from.fields {
        let at = |fault: Fault| fault.at(STRUCTS, *line);
        let mut field = field(from, word).map_err(at)?;
        let (bytes, natural) = extent(&field.kind, abi, done).map_err(at)?;
        let natural = if from.packed { 1 } else { natural };
        if word.starts_with('|') {
            field.offset = layout.fields.last().map_or(0, |before| before.offset);
        } else if !from.union {
            field.offset = end.next_multiple_of(natural);
        }
        end = end.max(field.offset + bytes);
        layout.size = layout.size.max(end);
        layout.align = layout.align.max(natural);
        layout.fields.push(field);
    }
    layout.size = match from.sizes {
        Some(sizes) => sizes[usize::from(is_narrow(abi))],
        None => layout.size.next_multiple_of(layout.align),
    };
    Ok(layout)
}

/// Reads `[|]NAME:KIND[?FIELD[&MASK]]` or `...?FIELD!MASK`.
fn field(from: &Written, word: &str) -> Result<Field, Fault> {
    let position = |name: &str| {
        from.fields
            .iter()
            .position(|(_, word)| word.split(':').next() == Some(name))
            .and_then(|at| u8::try_from(at).ok())
            .ok_or_else(|| Fault::no_such("field", name, "this structure"))
    };
    let (name, rest) = word
        .split_once(':')
        .ok_or_else(|| Fault::syntax("`FIELD:KIND`", word))?;
    let (rest, condition) = match rest.split_once('?') {
        Some((rest, condition)) => (rest, Some(condition)),
        None => (rest, None),
    };
    let unless = match condition.and_then(|condition| condition.split_once('!')) {
        Some((of, mask)) => Some((position(of)?, number(mask)?)),
        None => None,
    };
    let only_if = match condition.filter(|_| unless.is_none()) {
        Some(condition) => {
            let (of, mask) = match condition.split_once('&') {
                Some((of, mask)) => (of, number(mask)?),
                None => (condition, u64::MAX),
            };
            Some((position(of)?, mask))
        }
        None => None,
    };
    Ok(Field {
        name: name.strip_prefix('|').unwrap_or(name).to_owned(),
        kind: Kind::parse(rest, &position)?,
        offset: 0,
        only_if,
        unless,
    })
}

fn is_narrow(abi: usize) -> bool {
    matches!(abi, NARROW | ARM)
}

/// Bytes and alignment of a kind in place.
fn extent(kind: &Kind, abi: usize, done: &Layouts) -> Result<(u32, u32), Fault> {
    let long = if is_narrow(abi) { 4 } else { 8 };
    let constant = |len: &Len| {
        len.constant()
            .ok_or_else(|| Fault::syntax("a constant length in a structure", &format!("{len:?}")))
    };
    Ok(match kind {
        Kind::Number(_, width) | Kind::Symbols(_, _, width) | Kind::To(_, _, width) => {
            let bytes = u32::try_from(width.bytes(is_narrow(abi))).unwrap_or_default();
            // i386 aligns 64-bit numbers to 4 bytes (the System V ABI's supplement)
            (bytes, if abi == NARROW { bytes.min(4) } else { bytes })
        }
        Kind::Word("Rest") => (0, 1),
        Kind::Word("CapSet") => (4, 4),
        Kind::Word("Ip6") => (16, 4),
        Kind::Chars(bytes) | Kind::Raw(bytes) => (*bytes, 1),
        Kind::Buffer(buffer, len) => {
            let bytes = constant(len)?;
            let words = bytes % 8 == 0 && !matches!(buffer, Buffer::HwAddr);
            (bytes, if words { long } else { 1 })
        }
        Kind::Struct(name, None) => done
            .get(name)
            .map(|layouts| (layouts[abi].size, layouts[abi].align))
            .ok_or_else(|| Fault::no_such("structure", name, "the lines above"))?,
        Kind::Array(of, len) => {
            let (bytes, align) = extent(of, abi, done)?;
            (bytes * constant(len)?, align)
        }
        // a number
        Kind::By(name, _) if name.starts_with("si_code") => (4, 4),
        Kind::By(name, _) if name == "perf_config" => (8, if abi == NARROW { 4 } else { 8 }),
        // all that is left
        Kind::By(..) => (0, long),
        Kind::Struct(_, Some(_)) | Kind::Word(_) | Kind::Path(_) | Kind::Pointers(..) => {
            return Err(Fault::NotInPlace(format!("{kind:?}")));
        }
    })
}
