//! Checks that Linux 4.14 would load the programs. It needs no such kernel: a model of its verifier goes through each
//! program, refuses what that verifier refuses, and compares the work with its limits.
#![expect(clippy::expect_used, reason = "a test that cannot go on fails")]

mod bounds;
mod helpers;
mod memory;
#[path = "../objects/mod.rs"]
mod objects;
mod state;
mod walk;

use std::collections::BTreeMap;

use object::{Object, ObjectSection, ObjectSymbol, RelocationTarget, SymbolKind};
use objects::objects;
use walk::{Effort, Insn, Map, follow};

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// The maps of an object in the order of their definitions, and its programs by name.
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
            let at = usize::try_from(at / 8).expect("an index");
            code[at].map = usize::try_from(map).ok();
        }
        programs.insert(function.name().expect("a name").to_owned(), code);
    }
    (maps, programs)
}

#[test]
fn every_program_passes_the_verifier_of_the_oldest_kernel() {
    let mut refused = Vec::new();
    for (object, bytes) in objects() {
        let (maps, programs) = parse(bytes);
        assert!(!programs.is_empty());
        for (name, code) in programs {
            match follow(&code, &maps) {
                Ok(Effort {
                    processed,
                    states,
                    pending,
                    stack,
                }) => println!(
                    "{object}, {name}: {} instructions, {processed} processed, {states} states, {pending} pending, {stack} bytes of stack",
                    code.len()
                ),
                Err((at, why, effort)) => {
                    refused.push(format!("{object}, {name}: at {at}: {why} ({effort:?})"));
                }
            }
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

/// Verifies `code` after a beginning that has looked up a value of 64 bytes. R0 points to the value, and R6 is an unknown
/// number.
fn verify(code: &[(u8, usize, usize, i16, i32)]) -> Result<(), String> {
    let begin = [
        (0x85, 0, 0, 0, 5),   // R0 = ktime_get_ns()
        (0xbf, 6, 0, 0, 0),   // R6 = R0
        (0x62, 10, 0, -4, 0), // the key
        (0xbf, 2, 10, 0, 0),
        (0x07, 2, 0, 0, -4),
        (0x18, 1, 1, 0, 0), // R1 = the map
        (0, 0, 0, 0, 0),
        (0x85, 0, 0, 0, 1), // R0 = map_lookup_elem()
        (0x55, 0, 0, 1, 0),
        (0x95, 0, 0, 0, 0),
    ];
    let insn = |&(code, dst, src, off, imm)| Insn {
        code,
        dst,
        src,
        off,
        imm,
        map: (code == 0x18).then_some(0),
    };
    let end = [(0xb7, 0, 0, 0, 0), (0x95, 0, 0, 0, 0)];
    let code: Vec<Insn> = begin.iter().chain(code).chain(&end).map(insn).collect();
    let map = Map { key: 4, value: 64 };
    follow(&code, &[map]).map(|_| ()).map_err(|(_, why, _)| why)
}

#[test]
fn a_bound_is_known_only_in_the_register_that_was_compared() {
    const STORE: (u8, usize, usize, i16, i32) = (0x72, 0, 0, 0, 1);
    let masked = (0x57, 6, 0, 0, 63);
    let sum = (0x0f, 0, 6, 0, 0);
    assert_eq!(verify(&[masked, sum, STORE]), Ok(()));
    assert!(verify(&[(0x57, 6, 0, 0, 127), sum, STORE]).is_err());
    // exits if R6 > 63
    let compared = (0x25, 6, 0, 2, 63);
    assert_eq!(verify(&[compared, sum, STORE]), Ok(()));
    // the bound of a number does not survive the stack
    let (to_stack, from_stack) = ((0x7b, 10, 6, -16, 0), (0x79, 6, 10, -16, 0));
    let spilled = verify(&[masked, to_stack, from_stack, sum, STORE]);
    assert!(spilled.is_err_and(|why| why.contains("a pointer moves")));
}

#[test]
fn a_size_that_may_be_0_is_refused() {
    let call = [
        (0xbf, 1, 0, 0, 0),
        (0xbf, 2, 6, 0, 0),
        (0xb7, 3, 0, 0, 0),
        (0x85, 0, 0, 0, 4),
    ];
    let with = |before: &[_]| verify(&[before, &call].concat());
    assert!(with(&[(0x57, 6, 0, 0, 63)]).is_err_and(|why| why.contains("may be 0")));
    assert_eq!(with(&[(0x57, 6, 0, 0, 63), (0x07, 6, 0, 0, 1)]), Ok(()));
}
