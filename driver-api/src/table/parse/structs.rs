//! Reads `structs.tbl`, and lays the structures out as compilers do.

use std::collections::BTreeMap;

use super::kind::{Kind, LenFrom};
use super::{lines, number};

/// A structure and its layouts on 64-bit ABIs, on those with 32-bit pointers, on aarch64, and on arm.
#[derive(Debug)]
pub(crate) struct Structure {
    pub(crate) name: String,
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
}

/// As it is written.
#[derive(Debug, Clone, Default)]
struct Written {
    line: usize,
    union: bool,
    packed: bool,
    /// Wide, narrow.
    sizes: Option<[u32; 2]>,
    words: Vec<String>,
}

const ABIS: [&str; 4] = ["", "narrow", "aarch64", "arm"];
const NARROW: usize = 1;
const ARM: usize = 3;

pub(crate) fn structs(text: &str) -> Result<Vec<Structure>, String> {
    let mut order: Vec<String> = Vec::new();
    let mut written: BTreeMap<(String, usize), Written> = BTreeMap::new();
    let mut current = None;
    for (line, text) in lines(text) {
        let words: Vec<&str> = text.split_whitespace().collect();
        if text.starts_with(char::is_whitespace) {
            let key = current
                .clone()
                .ok_or_else(|| format!("{line}: a field before the first structure"))?;
            if let Some(found) = written.get_mut(&key) {
                found.words.extend(words.iter().map(|w| (*w).to_owned()));
            }
            continue;
        }
        let [what @ ("struct" | "union"), name, rest @ ..] = words.as_slice() else {
            return Err(format!(
                "{line}: expected `struct NAME` or `union NAME`, found {text:?}"
            ));
        };
        let mut new = Written {
            line,
            union: *what == "union",
            ..Written::default()
        };
        let mut abi = 0;
        for word in rest {
            match *word {
                "packed" => new.packed = true,
                "narrow" => abi = 1,
                "aarch64" => abi = 2,
                "arm" => abi = ARM,
                size => {
                    let (wide, narrow) = size.split_once('/').unwrap_or((size, size));
                    let both = (number(wide), number(narrow));
                    let (Ok(wide), Ok(narrow)) = both else {
                        return Err(format!("{line}: {size:?} is no size"));
                    };
                    new.sizes = Some([wide, narrow].map(|n| u32::try_from(n).unwrap_or(0)));
                }
            }
        }
        let key = ((*name).to_owned(), abi);
        if abi == 0 {
            order.push((*name).to_owned());
        }
        if written.insert(key.clone(), new).is_some() {
            return Err(format!("{line}: {name} stands here a second time"));
        }
        current = Some(key);
    }
    let mut done: BTreeMap<String, [Layout; 4]> = BTreeMap::new();
    for name in &order {
        let mut layouts = [const { None }; 4];
        for (abi, layout) in layouts.iter_mut().enumerate() {
            // what is not arm's own is as on other 32-bit machines, if those have it otherwise
            let abis: &[usize] = if abi == ARM {
                &[ARM, NARROW, 0]
            } else {
                &[abi, 0]
            };
            let own = abis
                .iter()
                .find_map(|abi| written.get(&(name.clone(), *abi)))
                .ok_or_else(|| format!("1: {name} is never begun"))?;
            *layout = Some(
                lay_out(own, abi, &done)
                    .map_err(|e| format!("{}: {name} {}: {e}", own.line, ABIS[abi]))?,
            );
        }
        done.insert(name.clone(), layouts.map(Option::unwrap_or_default));
    }
    Ok(order
        .into_iter()
        .map(|name| Structure {
            layouts: done.remove(&name).unwrap_or_default(),
            name,
        })
        .collect())
}

fn lay_out(
    from: &Written,
    abi: usize,
    done: &BTreeMap<String, [Layout; 4]>,
) -> Result<Layout, String> {
    let names: Vec<&str> = from
        .words
        .iter()
        .map(|w| w.split(':').next().unwrap_or(w))
        .collect();
    let position = |name: &str| {
        names
            .iter()
            .position(|n| *n == name)
            .and_then(|at| u8::try_from(at).ok())
            .ok_or_else(|| format!("there is no field {name:?}"))
    };
    let (mut end, mut size, mut align) = (0_u32, 0, 1);
    let mut fields = Vec::new();
    for word in &from.words {
        let (name, rest) = word
            .split_once(':')
            .ok_or_else(|| format!("{word:?} has no kind"))?;
        let (rest, only_if) = match rest.split_once('?') {
            Some((rest, condition)) => {
                let (of, mask) = match condition.split_once('&') {
                    Some((of, mask)) => (of, number(mask)?),
                    None => (condition, u64::MAX),
                };
                (rest, Some((position(of)?, mask)))
            }
            None => (rest, None),
        };
        let kind = Kind::parse(rest, &position)?;
        let (bytes, natural) = extent(&kind, abi, done)?;
        let natural = if from.packed { 1 } else { natural };
        let offset = if from.union {
            0
        } else {
            end.next_multiple_of(natural)
        };
        end = offset + bytes;
        size = size.max(end);
        align = align.max(natural);
        fields.push(Field {
            name: name.to_owned(),
            kind,
            offset,
            only_if,
        });
    }
    let size = match from.sizes {
        Some(sizes) => sizes[usize::from(matches!(abi, NARROW | ARM))],
        None => size.next_multiple_of(align),
    };
    Ok(Layout {
        size,
        align,
        fields,
    })
}

/// Bytes and alignment of a kind in place.
fn extent(
    kind: &Kind,
    abi: usize,
    done: &BTreeMap<String, [Layout; 4]>,
) -> Result<(u32, u32), String> {
    let narrow = matches!(abi, NARROW | ARM);
    // i386 aligns numbers of 64 bits to 4 bytes (the System V ABI's supplement)
    let plain = |bytes: u32| (bytes, if abi == NARROW { bytes.min(4) } else { bytes });
    Ok(match kind {
        Kind::Plain(word) | Kind::As(word, _) => match width(word, narrow) {
            Some(0) => (0, 1),
            Some(16) => (16, 4),
            Some(bytes) => plain(bytes),
            None => return Err(format!("{word:?} has no size in a structure")),
        },
        Kind::Symbols(..) => (4, 4),
        Kind::Inline(_, bytes) => (*bytes, 1),
        Kind::Sized(_, len) => match len.from {
            LenFrom::Const(bytes) => (
                bytes,
                if bytes % 8 == 0 {
                    if narrow { 4 } else { 8 }
                } else {
                    1
                },
            ),
            _ => return Err("a length in a structure is a constant".to_owned()),
        },
        Kind::Struct(name, None) => done
            .get(name)
            .map(|layouts| (layouts[abi].size, layouts[abi].align))
            .ok_or_else(|| format!("struct {name} does not stand before this"))?,
        Kind::Array(of, len) => match len.from {
            LenFrom::Const(count) => {
                let (bytes, align) = extent(of, abi, done)?;
                (bytes * count, align)
            }
            _ => return Err("a length in a structure is a constant".to_owned()),
        },
        // what it is is known later: a number, or all that is left
        Kind::By(name, _) if name.starts_with("si_code") => (4, 4),
        Kind::By(..) => (0, if narrow { 4 } else { 8 }),
        _ => return Err("this kind cannot stand in a structure".to_owned()),
    })
}

/// Bytes of a number.
pub(crate) fn width(word: &str, narrow: bool) -> Option<u32> {
    Some(match word {
        "rest" => 0,
        "i8" | "u8" => 1,
        "i16" | "u16" | "be16" => 2,
        "fd" | "dirfd" | "i32" | "u32" | "size32" | "mode" | "chmod" | "filetype" | "uid"
        | "gid" | "pid" | "signal" | "dev" | "be32" | "ipckey" | "ioprio" | "wstatus"
        | "capset" | "ip4" => 4,
        "i64" | "u64" | "off" | "loff" => 8,
        "long" | "ulong" | "size" | "ptr" | "hex" | "limit" => {
            if narrow {
                4
            } else {
                8
            }
        }
        "ip6" => 16,
        _ => return None,
    })
}
