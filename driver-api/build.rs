//! Turns the tables into Rust statics; a fault in a table stops the build at its line.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::{env, fs, path::Path, process};

#[path = "src/table/parse/mod.rs"]
mod parse;

use parse::{Kind, Layout, Len, LenFrom, Param, Row, Structure, SymbolSet, Variant};

const TABLES: [&str; 4] = ["syscalls.tbl", "symbols.tbl", "structs.tbl", "variants.tbl"];

fn main() {
    for file in TABLES {
        println!("cargo::rerun-if-changed={file}");
    }
    println!("cargo::rerun-if-changed=src/table/parse");
    println!("cargo::rerun-if-changed=build.rs");
    let rows = read("syscalls.tbl", parse::syscalls);
    let sets = read("symbols.tbl", parse::symbols);
    let structs = read("structs.tbl", parse::structs);
    let variants = read("variants.tbl", |text| parse::variants(text, &sets));
    let names = Names {
        sets: sets.iter().map(|s| s.name.as_str()).collect(),
        structs: structs.iter().map(|s| s.name.as_str()).collect(),
        variants: variants.iter().map(|v| v.name.as_str()).collect(),
    };
    let mut out = String::new();
    symbol_statics(&mut out, &sets);
    struct_statics(&mut out, &structs, &names);
    variant_statics(&mut out, &variants, &names);
    syscall_statics(&mut out, &rows, &names);
    number_tables(&mut out, &rows);
    let target = env::var("OUT_DIR").map(|dir| Path::new(&dir).join("table.rs"));
    if let Err(error) = target
        .map_err(|e| e.to_string())
        .and_then(|path| fs::write(path, out).map_err(|e| e.to_string()))
    {
        fail(&format!("cannot write the generated table: {error}"));
    }
}

fn fail(message: &str) -> ! {
    println!("cargo::error={message}");
    process::exit(1);
}

fn read<T>(file: &str, parser: impl Fn(&str) -> Result<T, String>) -> T {
    let text = fs::read_to_string(file).unwrap_or_else(|error| fail(&format!("{file}: {error}")));
    parser(&text).unwrap_or_else(|error| fail(&format!("{file}:{error}")))
}

/// What there is to refer to.
struct Names<'a> {
    sets: BTreeSet<&'a str>,
    structs: BTreeSet<&'a str>,
    variants: BTreeSet<&'a str>,
}

impl Names<'_> {
    /// A kind as a Rust expression, or what is wrong with it.
    fn kind(&self, kind: &Kind) -> Result<String, String> {
        Ok(match kind {
            Kind::Plain(word) => format!("Kind::{}", camel(word)),
            Kind::Symbols(word, set) => {
                known(&self.sets, set, "symbols.tbl")?;
                format!("Kind::{}(&SYMBOLS_{})", camel(word), set.to_uppercase())
            }
            Kind::As(width, of) => {
                format!("Kind::As(Width::{}, &{})", camel(width), self.kind(of)?)
            }
            Kind::Path(at) => format!("Kind::Path({at:?})"),
            Kind::Sized(word, len) => format!("Kind::{}({})", camel(word), length(len)),
            Kind::Struct(name, len) => {
                known(&self.structs, name, "structs.tbl")?;
                let len = match len {
                    Some(len) => format!("Some({})", length(len)),
                    None => "None".to_owned(),
                };
                format!("Kind::Struct(&STRUCT_{}, {len})", name.to_uppercase())
            }
            Kind::Array(of, len) => format!("Kind::Array(&{}, {})", self.kind(of)?, length(len)),
            Kind::Pointers(name, len) => {
                known(&self.structs, name, "structs.tbl")?;
                format!(
                    "Kind::Pointers(&Kind::Struct(&STRUCT_{}, None), {})",
                    name.to_uppercase(),
                    length(len)
                )
            }
            Kind::Inline(word, bytes) => format!("Kind::{}({bytes})", camel(word)),
            Kind::By(name, selectors) => {
                known(&self.variants, name, "variants.tbl")?;
                format!("Kind::By(&VARIANT_{}, &{selectors:?})", name.to_uppercase())
            }
        })
    }
}

fn known(names: &BTreeSet<&str>, name: &str, file: &str) -> Result<(), String> {
    if names.contains(name) {
        Ok(())
    } else {
        Err(format!("names {name}, which {file} lacks"))
    }
}

fn length(len: &Len) -> String {
    let from = match len.from {
        LenFrom::Const(n) => format!("LenFrom::Const({n})"),
        LenFrom::Arg(at) => format!("LenFrom::Arg({at})"),
        LenFrom::At(at) => format!("LenFrom::At({at})"),
        LenFrom::Ret => "LenFrom::Ret".to_owned(),
    };
    format!("Len {{ from: {from}, add: {:?} }}", len.add)
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
    let names: Vec<String> = sets
        .iter()
        .map(|s| format!("&SYMBOLS_{}", s.name.to_uppercase()))
        .collect();
    let _ = writeln!(
        out,
        "/// Every set of symbols.\npub static SYMBOL_SETS: &[&SymbolSet] = &[{}];",
        names.join(", ")
    );
}

/// Prints a slice as a reference, so that it can stand in a static.
struct Slice<'a>(&'a [(u64, String)]);

impl std::fmt::Debug for Slice<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "&{:?}", self.0)
    }
}

fn struct_statics(out: &mut String, structs: &[Structure], names: &Names<'_>) {
    let layout = |name: &str, layout: &Layout| {
        let fields: Vec<String> = layout
            .fields
            .iter()
            .map(|field| {
                let kind = names.kind(&field.kind).unwrap_or_else(|e| {
                    fail(&format!("structs.tbl: {} in {name} {e}", field.name))
                });
                format!(
                    "Field {{ name: {:?}, kind: {kind}, offset: {}, only_if: {:?} }}",
                    field.name, field.offset, field.only_if
                )
            })
            .collect();
        format!(
            "Layout {{ size: {}, fields: &[{}] }}",
            layout.size,
            fields.join(", ")
        )
    };
    for structure in structs {
        let layouts: Vec<String> = structure
            .layouts
            .iter()
            .map(|l| layout(&structure.name, l))
            .collect();
        let _ = writeln!(
            out,
            "static STRUCT_{}: Structure = Structure {{ name: {:?}, layouts: [{}] }};",
            structure.name.to_uppercase(),
            structure.name,
            layouts.join(", ")
        );
    }
    let all: Vec<String> = structs
        .iter()
        .map(|s| format!("&STRUCT_{}", s.name.to_uppercase()))
        .collect();
    let _ = writeln!(
        out,
        "/// Every structure of `structs.tbl`.\npub static STRUCTURES: &[&Structure] = &[{}];",
        all.join(", ")
    );
}

fn variant_statics(out: &mut String, variants: &[Variant], names: &Names<'_>) {
    for (id, variant) in variants.iter().enumerate() {
        let kind = |kind: &Kind| {
            names.kind(kind).unwrap_or_else(|e| {
                fail(&format!(
                    "variants.tbl:{}: {} {e}",
                    variant.line, variant.name
                ))
            })
        };
        let rows: Vec<String> = variant
            .rows
            .iter()
            .map(|row| {
                format!(
                    "VariantRow {{ key: ({}, {}), meaning: Meaning {{ kind: {}, written: Written::{} }} }}",
                    row.first,
                    row.second,
                    kind(&row.kind),
                    row.written
                )
            })
            .collect();
        let _ = writeln!(
            out,
            "static VARIANT_{}: Variant = Variant {{ id: {id}, name: {:?}, mask: {}, rows: &[{}], other: Meaning {{ kind: {}, written: Written::{} }} }};",
            variant.name.to_uppercase(),
            variant.name,
            variant.mask,
            rows.join(", "),
            kind(&variant.other.1),
            variant.other.0
        );
    }
    let all: Vec<String> = variants
        .iter()
        .map(|v| format!("&VARIANT_{}", v.name.to_uppercase()))
        .collect();
    let _ = writeln!(
        out,
        "/// Every variant of `variants.tbl`, in the order of their ids.\npub static VARIANTS: &[&Variant] = &[{}];",
        all.join(", ")
    );
}

fn syscall_statics(out: &mut String, rows: &[Row], names: &Names<'_>) {
    out.push_str("/// Every system call of `syscalls.tbl`, in its order.\npub static SYSCALLS: &[Syscall] = &[\n");
    for row in rows {
        let param = |param: &Param| {
            let kind = names.kind(&param.kind).unwrap_or_else(|e| {
                fail(&format!("syscalls.tbl:{}: {} {e}", row.line, param.name))
            });
            format!(
                "Param {{ name: {:?}, aliases: &{:?}, kind: {kind}, written: Written::{}, only_if: {:?}, backwards: {:?} }}",
                param.name, param.aliases, param.written, param.only_if, param.backwards
            )
        };
        let params: Vec<String> = row.params.iter().map(param).collect();
        let facts: Vec<String> = row
            .facts
            .iter()
            .map(|(fact, of)| format!("FactOf {{ fact: Fact::{}, of: {of:?} }}", camel(fact)))
            .collect();
        let _ = writeln!(
            out,
            "Syscall {{ name: {:?}, numbers: {:?}, category: {:?}, returns: Returns::{}, facts: &[{}], params: &[{}] }},",
            row.name,
            row.numbers,
            row.category,
            camel(&row.returns),
            facts.join(", "),
            params.join(", ")
        );
    }
    out.push_str("];\n");
}

fn camel(name: &str) -> String {
    let mut word = String::new();
    for part in name.split('_') {
        let mut letters = part.chars();
        word.extend(letters.next().map(|c| c.to_ascii_uppercase()));
        word.extend(letters);
    }
    match word.as_str() {
        "Sockaddr" => "SockAddr",
        "Dirfd" => "DirFd",
        "Filetype" => "FileType",
        "Ipckey" => "IpcKey",
        "Fdset" => "FdSet",
        "Cpuset" => "CpuSet",
        "Nodemask" => "NodeMask",
        "Msgbuf" => "MsgBuf",
        "Sigarg" => "SigArg",
        "Capset" => "CapSet",
        "Offpair" => "OffPair",
        "Opt" => "Option",
        _ => return word,
    }
    .to_owned()
}

fn number_tables(out: &mut String, rows: &[Row]) {
    for (abi, name) in ["X86_64", "I386", "AARCH64", "X32", "ARM"]
        .into_iter()
        .enumerate()
    {
        let mut table = [u16::MAX; 1024];
        for (index, row) in rows.iter().enumerate() {
            let Ok(nr) = usize::try_from(row.numbers[abi]) else {
                continue;
            };
            let Some(slot) = table.get_mut(nr) else {
                fail(&format!(
                    "syscalls.tbl:{}: {} has a number beyond 1023",
                    row.line, row.name
                ));
            };
            if *slot != u16::MAX {
                fail(&format!(
                    "syscalls.tbl:{}: {} has a number that another call has",
                    row.line, row.name
                ));
            }
            *slot = u16::try_from(index).unwrap_or(u16::MAX);
        }
        let _ = writeln!(out, "static BY_NUMBER_{name}: [u16; 1024] = {table:?};");
    }
}
