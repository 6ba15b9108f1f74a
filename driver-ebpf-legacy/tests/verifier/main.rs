//! Would Linux 4.14 load the programs? It cannot be booted here, so its verifier is followed: what it refuses is refused,
//! and what it would take to look at each program is counted against its limits.
#![expect(clippy::expect_used, reason = "a test that cannot go on fails")]

mod bounds;
mod helpers;
mod state;
mod walk;

use std::collections::BTreeMap;

use object::{Object, ObjectSection, ObjectSymbol, RelocationTarget, SymbolKind};
use walk::{Effort, Insn, MOST, Map, follow};

const OBJECTS: [&[u8]; 2] = [
    include_bytes!(concat!(env!("OUT_DIR"), "/legacy.o")),
    include_bytes!(concat!(env!("OUT_DIR"), "/peek.o")),
];

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// Maps by where they are defined, and programs by name.
fn parse(bytes: &[u8]) -> (Vec<Map>, BTreeMap<String, Vec<Insn>>) {
    let file = object::File::parse(bytes).expect("an ELF object");
    let section = file.section_by_name("maps").expect("maps");
    let maps = section.data().expect("definitions").chunks_exact(20);
    let maps = maps
        .map(|definition| Map {
            key: number(definition, 4),
            value: number(definition, 8),
        })
        .collect();
    let mut programs = BTreeMap::new();
    for section in file.sections() {
        let symbols = file.symbols();
        let mut functions = symbols
            .filter(|s| s.section_index() == Some(section.index()) && s.kind() == SymbolKind::Text);
        let Some(function) = functions.next() else {
            continue;
        };
        let data = section.data().expect("code").chunks_exact(8);
        let mut code: Vec<Insn> = data
            .map(|bytes| Insn {
                code: bytes[0],
                dst: usize::from(bytes[1] & 15),
                src: usize::from(bytes[1] >> 4),
                off: i16::from_le_bytes([bytes[2], bytes[3]]),
                imm: number(bytes, 4).cast_signed(),
                map: None,
            })
            .collect();
        for (at, relocation) in section.relocations() {
            let RelocationTarget::Symbol(symbol) = relocation.target() else {
                continue;
            };
            let map = file.symbol_by_index(symbol).expect("a symbol").address() / 20;
            let at = usize::try_from(at / 8).expect("a place");
            code[at].map = usize::try_from(map).ok();
        }
        programs.insert(function.name().expect("a name").to_owned(), code);
    }
    (maps, programs)
}

#[test]
fn every_program_passes_the_verifier_of_the_oldest_kernel() {
    let mut refused = Vec::new();
    for object in OBJECTS {
        let (maps, programs) = parse(object);
        assert!(!programs.is_empty());
        for (name, code) in programs {
            match follow(&code, &maps) {
                Ok(Effort {
                    processed,
                    states,
                    pending,
                    stack,
                }) => println!(
                    "{name}: {} instructions, {processed} looked at, {states} states, {pending} pending, {stack} bytes of stack",
                    code.len()
                ),
                Err((at, why, effort)) => {
                    refused.push(format!("{name}: at {at}: {why} ({effort:?})"))
                }
            }
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
    assert!(MOST > 0);
}
