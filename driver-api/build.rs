//! Turns the tables into Rust statics. A fault in a table stops the build, with the line and what is expected.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io, process};

#[path = "src/table/parse/mod.rs"]
mod parse;
#[path = "src/table/words/mod.rs"]
#[expect(
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "the library uses and exports what the build script does not"
)]
mod words;

use parse::{
    Attributes, Fault, IO_URING, IOCTLS, Kind, Layout, Len, LenFrom, MULTIPLEXED, Multiplexed,
    NETLINK, NETLINK_NAMES, Param, Protocol, Row, STRUCTS, SYMBOLS, SYSCALLS, Structure, SymbolSet,
    TableError, VARIANTS, Value, ValueRow, Variant,
};

/// The row for all calls whose numbers the table does not have.
const UNKNOWN: &str = "unknown";

/// Numbers that an ABI can have: `plan::NUMBERS`.
const NUMBERS: usize = 1024;

fn main() {
    if let Err(error) = generate() {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let _ = write!(text, ": {cause}");
            source = cause.source();
        }
        println!("cargo::error={text}");
        process::exit(1);
    }
}

#[derive(Debug, thiserror::Error)]
enum BuildError {
    #[error("cannot read {path}")]
    Read {
        path: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("cannot write {}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cargo has not set OUT_DIR")]
    OutDir(#[from] env::VarError),
    #[error(transparent)]
    Table(#[from] TableError),
}

fn generate() -> Result<(), BuildError> {
    for file in [
        SYSCALLS,
        IO_URING,
        SYMBOLS,
        IOCTLS,
        STRUCTS,
        VARIANTS,
        MULTIPLEXED,
        NETLINK,
        NETLINK_NAMES,
    ] {
        println!("cargo::rerun-if-changed={file}");
    }
    for source in ["build.rs", "src/table/parse", "src/table/words"] {
        println!("cargo::rerun-if-changed={source}");
    }
    let mut rows = parse::syscalls(&read(SYSCALLS)?)?;
    let operations = parse::operations(&read(IO_URING)?, &rows)?;
    rows.extend(operations);
    let mut sets = parse::symbols(SYMBOLS, &read(SYMBOLS)?)?;
    for file in [IOCTLS, NETLINK_NAMES] {
        sets.extend(parse::symbols(file, &read(file)?)?);
    }
    let structs = parse::structs(&read(STRUCTS)?)?;
    let variants = parse::variants(&read(VARIANTS)?, &sets)?;
    let multiplexed = parse::multiplexed(&read(MULTIPLEXED)?, &sets)?;
    let (protocols, attributes) = parse::netlink(&read(NETLINK)?, &sets)?;
    let names = Names {
        sets: sets.iter().map(|s| s.name.as_str()).collect(),
        structs: structs.iter().map(|s| s.name.as_str()).collect(),
        variants: variants.iter().map(|v| v.name.as_str()).collect(),
        attributes: attributes.iter().map(|a| a.name.as_str()).collect(),
    };
    let mut out = String::new();
    symbol_statics(&mut out, &sets);
    struct_statics(&mut out, &structs, &names)?;
    variant_statics(&mut out, &variants, &names)?;
    syscall_statics(&mut out, &rows, &names)?;
    number_tables(&mut out, &rows)?;
    multiplexed_static(&mut out, &multiplexed, &rows)?;
    netlink_statics(&mut out, &protocols, &attributes, &names)?;
    let path = Path::new(&env::var("OUT_DIR")?).join("table.rs");
    fs::write(&path, out).map_err(|source| BuildError::Write { path, source })
}

fn read(path: &'static str) -> Result<String, BuildError> {
    fs::read_to_string(path).map_err(|source| BuildError::Read { path, source })
}

/// What kinds can refer to.
struct Names<'a> {
    sets: BTreeSet<&'a str>,
    structs: BTreeSet<&'a str>,
    variants: BTreeSet<&'a str>,
    attributes: BTreeSet<&'a str>,
}

impl Names<'_> {
    /// A kind as a Rust expression.
    fn kind(&self, kind: &Kind) -> Result<String, Fault> {
        Ok(match kind {
            Kind::Number(number, width) => {
                format!("Kind::Number(Number::{number:?}, Width::{width:?})")
            }
            Kind::Symbols(named, set, width) => {
                known(&self.sets, "set of symbols", set, SYMBOLS)?;
                let set = set.to_uppercase();
                format!("Kind::{named:?}(&SYMBOLS_{set}, Width::{width:?})")
            }
            Kind::Word(variant) => format!("Kind::{variant}"),
            Kind::Path(of) => format!("Kind::Path({of:?})"),
            Kind::Buffer(buffer, len) => {
                format!("Kind::Buffer(Buffer::{buffer:?}, {})", length(*len))
            }
            Kind::Struct(name, len) => {
                let of = self.structure(name)?;
                let len = match len {
                    Some(len) => format!("Some({})", length(*len)),
                    None => "None".to_owned(),
                };
                format!("Kind::Struct({of}, {len})")
            }
            Kind::Array(of, len) => format!("Kind::Array(&{}, {})", self.kind(of)?, length(*len)),
            Kind::Pointers(name, len) => format!(
                "Kind::Pointers(&Kind::Struct({}, None), {})",
                self.structure(name)?,
                length(*len)
            ),
            Kind::To(of, count, width) => {
                format!("Kind::To(&{}, {count}, Width::{width:?})", self.kind(of)?)
            }
            Kind::Chars(bytes) => format!("Kind::Chars({bytes})"),
            Kind::Raw(bytes) => format!("Kind::Raw({bytes})"),
            Kind::By(name, selectors) => {
                known(&self.variants, "variant", name, VARIANTS)?;
                format!("Kind::By(&VARIANT_{}, &{selectors:?})", name.to_uppercase())
            }
        })
    }

    fn structure(&self, name: &str) -> Result<String, Fault> {
        known(&self.structs, "structure", name, STRUCTS)?;
        Ok(format!("&STRUCT_{}", name.to_uppercase()))
    }
}

impl Names<'_> {
    /// A set of symbols as a Rust expression.
    fn set(&self, name: &str) -> Result<String, Fault> {
        known(&self.sets, "set of symbols", name, SYMBOLS)?;
        Ok(format!("&SYMBOLS_{}", name.to_uppercase()))
    }

    /// The same, where there may be none.
    fn set_or_none(&self, name: Option<&String>) -> Result<String, Fault> {
        name.map_or(Ok("None".to_owned()), |name| {
            Ok(format!("Some({})", self.set(name)?))
        })
    }

    fn space(&self, name: &str) -> Result<String, Fault> {
        known(&self.attributes, "space of attributes", name, NETLINK)?;
        Ok(format!("&ATTRIBUTES_{}", name.to_uppercase()))
    }

    /// A value of a netlink message as a Rust expression.
    fn value(&self, value: &Value) -> Result<String, Fault> {
        let inside = match value {
            Value::Str => "Str".to_owned(),
            Value::HwAddr => "HwAddr".to_owned(),
            Value::Ip => "Ip".to_owned(),
            Value::Bytes => "Bytes".to_owned(),
            Value::Xint => "Xint".to_owned(),
            Value::Plain(kind) => format!("Plain({})", self.kind(kind)?),
            Value::Uint(set) => format!("Uint({})", self.set_or_none(set.as_ref())?),
            Value::Nest(name) => format!("Nest({})", self.space(name)?),
            Value::List(kind, set) => format!(
                "List({}, {})",
                self.kind(kind)?,
                self.set_or_none(set.as_ref())?
            ),
            Value::Then(kind, name) => {
                format!("Then({}, {})", self.kind(kind)?, self.space(name)?)
            }
            Value::Hops(kind, name) => {
                format!("Hops({}, {})", self.kind(kind)?, self.space(name)?)
            }
        };
        Ok(format!("NetlinkValue::{inside}"))
    }

    fn value_rows(&self, rows: &[ValueRow]) -> Result<String, Fault> {
        let rows = rows.iter().map(|row| {
            let values = row.values.iter().map(|value| self.value(value));
            let values: Vec<String> = values.collect::<Result<_, Fault>>()?;
            Ok(format!(
                "NetlinkRow {{ types: &{:?}, subsystem: {:?}, family: {:?}, request: {:?}, behind: {:?}, values: &[{}] }}",
                row.types,
                row.subsystem,
                row.family,
                row.request,
                row.behind,
                values.join(", ")
            ))
        });
        let rows: Vec<String> = rows.collect::<Result<_, Fault>>()?;
        Ok(rows.join(", "))
    }
}

/// Netlink's protocols and spaces of attributes.
fn netlink_statics(
    out: &mut String,
    protocols: &[Protocol],
    attributes: &[Attributes],
    names: &Names<'_>,
) -> Result<(), TableError> {
    for space in attributes {
        let at = |fault: Fault| fault.at(NETLINK, space.line);
        let _ = writeln!(
            out,
            "static ATTRIBUTES_{}: NetlinkAttributes = NetlinkAttributes {{ types: {}, rows: &[{}] }};",
            space.name.to_uppercase(),
            names.set_or_none(space.types.as_ref()).map_err(at)?,
            names.value_rows(&space.rows).map_err(at)?
        );
    }
    out.push_str("/// The attributes of the answer to a message that failed.\npub static NETLINK_ERROR: &NetlinkAttributes = &ATTRIBUTES_ERROR;\n");
    out.push_str("/// The protocols of netlink whose messages are known.\npub static NETLINK_PROTOCOLS: &[NetlinkProtocol] = &[\n");
    for protocol in protocols {
        let at = |fault: Fault| fault.at(NETLINK, protocol.line);
        let named = protocol
            .named
            .iter()
            .map(|(number, set)| Ok(format!("({number}, {})", names.set(set)?)));
        let named: Vec<String> = named.collect::<Result<_, Fault>>().map_err(at)?;
        let _ = writeln!(
            out,
            "NetlinkProtocol {{ number: {}, types: {}, asks: {}, subsystems: {}, named: &[{}], rows: &[{}] }},",
            protocol.number,
            names.set_or_none(protocol.types.as_ref()).map_err(at)?,
            protocol.asks,
            names
                .set_or_none(protocol.subsystems.as_ref())
                .map_err(at)?,
            named.join(", "),
            names.value_rows(&protocol.rows).map_err(at)?
        );
    }
    out.push_str("];\n");
    Ok(())
}

fn known(names: &BTreeSet<&str>, what: &'static str, name: &str, file: &str) -> Result<(), Fault> {
    if names.contains(name) {
        Ok(())
    } else {
        Err(Fault::no_such(what, name, file))
    }
}

fn length(len: Len) -> String {
    let from = match len.from {
        LenFrom::Const(n) => format!("LenFrom::Const({n})"),
        LenFrom::Arg(at) => format!("LenFrom::Arg({at})"),
        LenFrom::At(at) => format!("LenFrom::At({at})"),
        LenFrom::Ret => "LenFrom::Ret".to_owned(),
    };
    format!(
        "Len {{ from: {from}, add: {:?}, most: {:?} }}",
        len.add, len.most
    )
}

fn symbol_statics(out: &mut String, sets: &[SymbolSet]) {
    let mut symbol_static = |suffix: &str, set: &SymbolSet, values: &[(u64, String)], arm: &str| {
        let _ = writeln!(
            out,
            "pub(super) static SYMBOLS_{}{suffix}: SymbolSet = SymbolSet {{ name: {:?}, unknown: {:?}, leading: {}, mode: {}, fields: &{:?}, values: &{values:?}, arm: {arm} }};",
            set.name.to_uppercase(),
            set.name,
            set.unknown,
            set.leading,
            set.mode,
            set.fields
                .iter()
                .map(|(mask, values)| (*mask, Slice(values)))
                .collect::<Vec<_>>(),
        );
    };
    for set in sets {
        if set.arm.is_empty() {
            symbol_static("", set, &set.values, "None");
        } else {
            symbol_static("_ARM", set, &set.arm, "None");
            let arm = format!("Some(&SYMBOLS_{}_ARM)", set.name.to_uppercase());
            symbol_static("", set, &set.values, &arm);
        }
    }
    let names = sets.iter().map(|set| set.name.as_str());
    let doc = "Every set of symbols, in the order of `symbols.tbl`.";
    index(out, doc, ("SYMBOL_SETS", "SymbolSet", "SYMBOLS"), names);
}

/// Prints a slice as a reference, so that a static can contain it.
struct Slice<'a>(&'a [(u64, String)]);

impl std::fmt::Debug for Slice<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "&{:?}", self.0)
    }
}

/// A static that lists the statics with these names: its own name, their type, their prefix.
fn index<'a>(
    out: &mut String,
    doc: &str,
    (name, of, prefix): (&str, &str, &str),
    names: impl Iterator<Item = &'a str>,
) {
    let all: Vec<String> = names
        .map(|name| format!("&{prefix}_{}", name.to_uppercase()))
        .collect();
    let all = all.join(", ");
    let _ = writeln!(out, "/// {doc}\npub static {name}: &[&{of}] = &[{all}];");
}

fn struct_statics(
    out: &mut String,
    structs: &[Structure],
    names: &Names<'_>,
) -> Result<(), TableError> {
    let layout = |layout: &Layout| -> Result<String, Fault> {
        let fields = layout.fields.iter().map(|field| {
            Ok(format!(
                "Field {{ name: {:?}, kind: {}, offset: {}, only_if: {:?}, unless: {:?} }}",
                field.name,
                names.kind(&field.kind)?,
                field.offset,
                field.only_if,
                field.unless
            ))
        });
        let fields: Vec<String> = fields.collect::<Result<_, Fault>>()?;
        Ok(format!(
            "Layout {{ size: {}, fields: &[{}] }}",
            layout.size,
            fields.join(", ")
        ))
    };
    for structure in structs {
        let layouts: Vec<String> = structure
            .layouts
            .iter()
            .map(layout)
            .collect::<Result<_, Fault>>()
            .map_err(|fault| fault.at(STRUCTS, structure.line))?;
        let _ = writeln!(
            out,
            "static STRUCT_{}: Structure = Structure {{ name: {:?}, sized: {:?}, layouts: [{}] }};",
            structure.name.to_uppercase(),
            structure.name,
            structure.sized,
            layouts.join(", ")
        );
    }
    let all = structs.iter().map(|structure| structure.name.as_str());
    let doc = "Every structure, in the order of `structs.tbl`.";
    index(out, doc, ("STRUCTURES", "Structure", "STRUCT"), all);
    Ok(())
}

fn variant_statics(
    out: &mut String,
    variants: &[Variant],
    names: &Names<'_>,
) -> Result<(), TableError> {
    let meaning = |kind: &Kind, written: words::Written| -> Result<String, Fault> {
        let kind = names.kind(kind)?;
        Ok(format!(
            "Meaning {{ kind: {kind}, written: Written::{written:?} }}"
        ))
    };
    for (id, variant) in variants.iter().enumerate() {
        let at = |fault: Fault| fault.at(VARIANTS, variant.line);
        let rows = variant.rows.iter().map(|row| {
            Ok(format!(
                "VariantRow {{ key: ({}, {}), meaning: {} }}",
                row.first,
                row.second,
                meaning(&row.kind, row.written)?
            ))
        });
        let rows: Vec<String> = rows.collect::<Result<_, Fault>>().map_err(at)?;
        let (written, kind) = &variant.other;
        let _ = writeln!(
            out,
            "static VARIANT_{}: Variant = Variant {{ id: {id}, name: {:?}, mask: {}, rows: &[{}], other: {} }};",
            variant.name.to_uppercase(),
            variant.name,
            variant.mask,
            rows.join(", "),
            meaning(kind, *written).map_err(at)?
        );
    }
    let all = variants.iter().map(|variant| variant.name.as_str());
    let doc = "Every variant, in the order of `variants.tbl` and of their ids.";
    index(out, doc, ("VARIANTS", "Variant", "VARIANT"), all);
    Ok(())
}

fn syscall_statics(out: &mut String, rows: &[Row], names: &Names<'_>) -> Result<(), TableError> {
    out.push_str("/// Every system call, in the order of `syscalls.tbl`, and then every operation of io_uring.\npub static SYSCALLS: &[Syscall] = &[\n");
    let param = |param: &Param| -> Result<String, Fault> {
        Ok(format!(
            "Param {{ name: {:?}, aliases: &{:?}, kind: {}, written: Written::{:?}, only_if: {:?}, last_link: LastLink::{:?}, backwards: {:?} }}",
            param.name,
            param.aliases,
            names.kind(&param.kind)?,
            param.written,
            param.only_if,
            param.last_link,
            param.backwards
        ))
    };
    for row in rows {
        let params: Vec<String> = row
            .params
            .iter()
            .map(param)
            .collect::<Result<_, Fault>>()
            .map_err(|fault| fault.at(SYSCALLS, row.line))?;
        let facts: Vec<String> = row
            .facts
            .iter()
            .map(|fact| format!("FactOf {{ fact: Fact::{}, of: {:?} }}", fact.fact, fact.of))
            .collect();
        let _ = writeln!(
            out,
            "Syscall {{ name: {:?}, acts_as: {:?}, numbers: {:?}, category: Category::{:?}, returns: Returns::{:?}, unfailing: {}, event_type: {:?}, paths: {:?}, behind: {}, facts: &[{}], params: &[{}], sqe: [{}] }},",
            row.name,
            row.acts_as,
            row.numbers,
            row.category,
            row.returns,
            row.unfailing,
            row.event_type,
            row.paths,
            row.behind,
            facts.join(", "),
            params.join(", "),
            row.sqe
                .map(|field| format!("SqeField::{field:?}"))
                .join(", ")
        );
    }
    out.push_str("];\n");
    let unknown = (rows.iter().position(|row| row.name == UNKNOWN))
        .ok_or_else(|| Fault::no_such("call", UNKNOWN, SYSCALLS).at(SYSCALLS, 0))?;
    let _ = writeln!(out, "pub(super) const UNKNOWN_AT: usize = {unknown};");
    Ok(())
}

/// The calls that are made through others.
fn multiplexed_static(
    out: &mut String,
    all: &[Multiplexed],
    rows: &[Row],
) -> Result<(), TableError> {
    const I386: usize = 1;
    out.push_str("pub(super) static MULTIPLEXED: &[Multiplexed] = &[\n");
    for one in all {
        let at = |name: &str| {
            let found = rows.iter().position(|row| row.name == name);
            found.ok_or_else(|| Fault::no_such("call", name, SYSCALLS).at(MULTIPLEXED, one.line))
        };
        let through = at(&one.through)?;
        let _ = writeln!(
            out,
            "Multiplexed {{ through: {through}, through_nr: {}, value: {}, version: {:?}, call: {}, base: {}, words: {}, sources: &{:?} }},",
            rows[through].numbers[I386],
            one.value,
            one.version,
            at(&one.call)?,
            one.base,
            one.words,
            one.sources
        );
    }
    out.push_str("];\n");
    Ok(())
}

/// For each column of numbers, the index of the call with that number.
fn number_tables(out: &mut String, rows: &[Row]) -> Result<(), TableError> {
    let mut tables = [[u16::MAX; NUMBERS]; 6];
    for (index, row) in (0_u16..).zip(rows) {
        for (table, number) in tables.iter_mut().zip(row.numbers) {
            let Ok(nr) = usize::try_from(number) else {
                continue;
            };
            let slot = table.get_mut(nr).ok_or_else(|| {
                let fault = Fault::Large {
                    found: number.to_string(),
                    most: NUMBERS as u64 - 1,
                };
                fault.at(SYSCALLS, row.line)
            })?;
            if *slot != u16::MAX {
                let fault = Fault::Twice {
                    what: "number",
                    name: number.to_string(),
                };
                return Err(fault.at(SYSCALLS, row.line));
            }
            *slot = index;
        }
    }
    let _ = writeln!(
        out,
        "pub(super) static BY_NUMBER: [[u16; {NUMBERS}]; 6] = {tables:?};"
    );
    Ok(())
}
