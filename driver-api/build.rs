//! Turns `syscalls.tbl` and `symbols.tbl` into Rust statics; a fault in a table stops the build at its line.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::{env, fs, path::Path, process};

#[path = "src/table/parse.rs"]
mod parse;

use parse::{Len, Param, Row, SymbolSet};

fn main() {
    for file in ["syscalls.tbl", "symbols.tbl", "src/table/parse.rs"] {
        println!("cargo::rerun-if-changed={file}");
    }
    let rows = read("syscalls.tbl", parse::syscalls);
    let sets = read("symbols.tbl", parse::symbols);
    let mut out = String::new();
    let known = symbol_statics(&mut out, &sets);
    for row in &rows {
        for param in &row.params {
            if let Some(set) = param
                .set
                .as_ref()
                .filter(|s| !known.contains_key(s.as_str()))
            {
                fail(&format!(
                    "syscalls.tbl:{}: {} names the symbol set {set}, which symbols.tbl lacks",
                    row.line, row.name
                ));
            }
        }
    }
    syscall_statics(&mut out, &rows);
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

fn read<T>(file: &str, parser: fn(&str) -> Result<T, String>) -> T {
    let text = fs::read_to_string(file).unwrap_or_else(|error| fail(&format!("{file}: {error}")));
    parser(&text).unwrap_or_else(|error| fail(&format!("{file}:{error}")))
}

fn symbol_statics<'a>(out: &mut String, sets: &'a [SymbolSet]) -> BTreeMap<&'a str, ()> {
    for set in sets {
        let _ = writeln!(
            out,
            "static {}: SymbolSet = SymbolSet {{ name: {:?}, unknown: {:?}, leading: {}, fields: &{:?}, values: &{:?} }};",
            static_name(&set.name),
            set.name,
            set.unknown,
            set.leading,
            set.fields
                .iter()
                .map(|(mask, values)| (*mask, Slice(values)))
                .collect::<Vec<_>>(),
            set.values
        );
    }
    let names: Vec<String> = sets
        .iter()
        .map(|s| format!("&{}", static_name(&s.name)))
        .collect();
    let _ = writeln!(
        out,
        "/// Every set of symbols.\npub static SYMBOL_SETS: &[&SymbolSet] = &[{}];",
        names.join(", ")
    );
    sets.iter().map(|s| (s.name.as_str(), ())).collect()
}

/// Prints a slice as a reference, so that it can stand in a static.
struct Slice<'a>(&'a [(u64, String)]);

impl std::fmt::Debug for Slice<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "&{:?}", self.0)
    }
}

fn static_name(name: &str) -> String {
    format!("SYMBOLS_{}", name.to_uppercase())
}

fn syscall_statics(out: &mut String, rows: &[Row]) {
    out.push_str("/// Every system call of `syscalls.tbl`, in its order.\npub static SYSCALLS: &[Syscall] = &[\n");
    for row in rows {
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

fn param(param: &Param) -> String {
    format!(
        "Param {{ name: {:?}, alias: {:?}, kind: {}, output: {}, only_if: {:?} }}",
        param.name,
        param.alias,
        kind(param),
        param.output,
        param.only_if
    )
}

fn kind(param: &Param) -> String {
    let len = match param.len {
        None => "Len::Const(1)".to_owned(),
        Some(Len::Const(n)) => format!("Len::Const({n})"),
        Some(Len::Arg(at)) => format!("Len::Arg({at})"),
        Some(Len::At(at)) => format!("Len::At({at})"),
        Some(Len::Ret) => "Len::Ret".to_owned(),
    };
    if let Some(element) = param.kind.strip_suffix('*') {
        return format!("Kind::Array(&Kind::{}, {len})", camel(element));
    }
    match (param.kind.as_str(), &param.set) {
        ("flags", Some(set)) => format!("Kind::Flags(&{})", static_name(set)),
        ("enum", Some(set)) => format!("Kind::Enum(&{})", static_name(set)),
        ("path", _) => format!("Kind::Path({:?})", param.at),
        ("bytes" | "sockaddr" | "iovec", _) => format!("Kind::{}({len})", camel(&param.kind)),
        _ => match &param.structure {
            Some(name) => format!("Kind::Struct({name:?}, {len})"),
            None => format!("Kind::{}", camel(&param.kind)),
        },
    }
}

fn camel(name: &str) -> String {
    let mut word = String::new();
    for part in name.split('_') {
        let mut letters = part.chars();
        word.extend(letters.next().map(|c| c.to_ascii_uppercase()));
        word.extend(letters);
    }
    match word.as_str() {
        "Sockaddr" => "SockAddr".to_owned(),
        "Dirfd" => "DirFd".to_owned(),
        _ => word,
    }
}

fn number_tables(out: &mut String, rows: &[Row]) {
    for (abi, name) in ["X86_64", "I386", "AARCH64"].into_iter().enumerate() {
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
