//! Checks that the compiled objects use nothing that kernels before Linux 5.0 lack. It needs none of these kernels: the
//! tests search the instructions for what their verifiers refuse.
#![expect(clippy::expect_used, reason = "a test that cannot go on fails")]

mod objects;

use std::collections::BTreeSet;

use object::{Object, ObjectSection, ObjectSymbol, RelocationTarget, SymbolKind};
use objects::objects;

/// Prefixes of the names of sections with programs: raw tracepoints (used from Linux 4.17 on), tracepoints, kprobes.
const TYPES: [&str; 3] = ["raw_tracepoint/", "tracepoint/", "kprobe/"];
/// BPF_MAXINSNS before Linux 5.2.
const INSTRUCTIONS: usize = 4096;
/// Helpers of Linux 4.14 that the programs use (include/uapi/linux/bpf.h): lookup, update, delete, probe_read,
/// ktime_get_ns, get_smp_processor_id, tail_call, get_current_pid_tgid, get_current_uid_gid,
/// get_current_comm, perf_event_output, get_current_task, probe_read_str.
const HELPERS: [i32; 13] = [1, 2, 3, 4, 5, 8, 12, 14, 15, 16, 25, 35, PROBE_READ_STR];
const PROBE_READ_STR: i32 = 45;
/// Types of maps that the programs may use: hash, array, prog_array, perf_event_array, percpu_array, lru_hash.
const MAP_TYPES: [u32; 6] = [1, 2, 3, 4, 6, 9];

/// One instruction (kernel: `struct bpf_insn`).
#[derive(Clone, Copy)]
struct Insn {
    code: u8,
    dst: u8,
    src: u8,
    off: i16,
    imm: i32,
}

impl Insn {
    fn of(bytes: &[u8]) -> Self {
        Self {
            code: bytes[0],
            dst: bytes[1] & 15,
            src: bytes[1] >> 4,
            off: i16::from_le_bytes([bytes[2], bytes[3]]),
            imm: i32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        }
    }

    fn class(self) -> u8 {
        self.code & 7
    }

    fn is_call(self) -> bool {
        self.code == 0x85
    }

    fn is_exit(self) -> bool {
        self.code == 0x95
    }

    /// A jump, also of a kind that is newer than Linux 4.14.
    fn is_jump(self) -> bool {
        matches!(self.class(), 5 | 6) && !self.is_call() && !self.is_exit()
    }

    /// A 64-bit constant, which takes two slots.
    fn is_wide(self) -> bool {
        self.code == 0x18
    }

    fn op(self) -> u8 {
        self.code & 0xf0
    }
}

/// The programs of an object, by name.
fn programs(bytes: &[u8]) -> Vec<(String, Vec<Insn>)> {
    let file = object::File::parse(bytes).expect("an ELF object");
    let programs: Vec<_> = file
        .sections()
        .filter(|section| {
            section
                .name()
                .is_ok_and(|name| TYPES.iter().any(|kind| name.starts_with(kind)))
        })
        .map(|section| {
            let functions: Vec<_> = file
                .symbols()
                .filter(|s| {
                    s.section_index() == Some(section.index()) && s.kind() == SymbolKind::Text
                })
                .collect();
            assert_eq!(
                functions.len(),
                1,
                "one program a section: {:?}",
                section.name()
            );
            let name = functions[0].name().expect("a name").to_owned();
            (
                name,
                section
                    .data()
                    .expect("code")
                    .chunks_exact(8)
                    .map(Insn::of)
                    .collect(),
            )
        })
        .collect();
    assert!(!programs.is_empty());
    programs
}

/// Runs a check on every instruction. The second half of a wide one is none.
fn each_instruction(check: impl Fn(&str, usize, Insn)) {
    for (object, bytes) in objects() {
        for (name, code) in programs(bytes) {
            let mut at = 0;
            while at < code.len() {
                check(&format!("{object}: {name}"), at, code[at]);
                at += if code[at].is_wide() { 2 } else { 1 };
            }
        }
    }
}

#[test]
fn no_program_has_more_instructions_than_old_kernels_take() {
    for (object, bytes) in objects() {
        for (name, code) in programs(bytes) {
            println!("{object}, {name}: {} instructions", code.len());
            assert!(
                code.len() <= INSTRUCTIONS,
                "{object}: {name} has {} instructions",
                code.len()
            );
        }
    }
}

#[test]
fn no_helper_is_newer_than_the_oldest_kernel() {
    each_instruction(|name, at, insn| {
        if insn.is_call() {
            assert_eq!(
                insn.src, 0,
                "{name} calls a program's function or a kernel's at {at}"
            );
            assert!(
                HELPERS.contains(&insn.imm),
                "{name} calls helper {} at {at}",
                insn.imm
            );
        }
    });
}

/// The instructions that can follow the one at `at`.
fn successors(code: &[Insn], at: usize) -> Vec<usize> {
    let insn = code[at];
    if insn.is_exit() {
        return Vec::new();
    }
    let next = at + if insn.is_wide() { 2 } else { 1 };
    let target = at.wrapping_add_signed(insn.off as isize + 1);
    match insn.is_jump() {
        false => vec![next],
        true if insn.op() == 0 => vec![target],
        true => vec![next, target],
    }
}

/// Old verifiers refuse a program with an unreachable instruction (check_cfg() in kernel/bpf/verifier.c).
#[test]
fn every_instruction_is_reached() {
    for (object, bytes) in objects() {
        for (name, code) in programs(bytes) {
            let mut reached = vec![false; code.len()];
            let mut work = vec![0];
            while let Some(at) = work.pop() {
                if !std::mem::replace(&mut reached[at], true) {
                    work.extend(successors(&code, at));
                }
            }
            let mut at = 0;
            while at < code.len() {
                assert!(
                    reached[at],
                    "{object}: {name}: the instruction at {at} cannot be reached"
                );
                at += if code[at].is_wide() { 2 } else { 1 };
            }
        }
    }
}

/// Whether there is a loop, as check_cfg() in kernel/bpf/verifier.c finds it: a path that comes back to an instruction of
/// its own. A jump backwards is not always a loop, because the compiler may put a common end anywhere.
fn has_loop(code: &[Insn]) -> bool {
    const NEW: u8 = 0;
    const OPEN: u8 = 1;
    const DONE: u8 = 2;
    let next = |at: usize| successors(code, at);
    let mut state = vec![NEW; code.len()];
    let mut stack = vec![(0, next(0))];
    state[0] = OPEN;
    while let Some((at, open)) = stack.last_mut() {
        let Some(to) = open.pop() else {
            state[*at] = DONE;
            stack.pop();
            continue;
        };
        match state[to] {
            OPEN => return true,
            NEW => {
                state[to] = OPEN;
                stack.push((to, next(to)));
            }
            _ => {}
        }
    }
    false
}

#[test]
fn no_program_has_a_loop() {
    for (object, bytes) in objects() {
        for (name, code) in programs(bytes) {
            assert!(!has_loop(&code), "{object}: {name} has a loop");
        }
    }
}

#[test]
fn no_instruction_is_newer_than_the_oldest_kernel() {
    each_instruction(|name, at, insn| {
        // JLT, JLE, JSLT and JSLE came with Linux 4.14, 32-bit jumps with 5.1, atomics except XADD with 5.12; sign extension,
        // signed division and BPF_JA32 with 6.6
        assert_ne!(insn.class(), 6, "{name} has a 32-bit jump at {at}");
        if insn.class() == 3 && insn.code & 0xe0 == 0xc0 {
            assert_eq!(insn.imm, 0, "{name} has an atomic other than XADD at {at}");
        }
        if matches!(insn.class(), 4 | 7) {
            assert_eq!(insn.off, 0, "{name} has a signed operation at {at}");
            assert!(
                insn.op() != 0xd0 || insn.class() == 4,
                "{name} has a byte swap at {at}"
            );
        }
        assert!(
            insn.class() != 1 || insn.code & 0xe0 != 0x80,
            "{name} has a signed load at {at}"
        );
    });
}

#[test]
fn maps_are_of_types_that_the_oldest_kernel_has() {
    for (object, bytes) in objects() {
        let file = object::File::parse(bytes.as_slice()).expect("an ELF object");
        let section = file
            .section_by_name("maps")
            .expect("map definitions of the old kind");
        let data = section.data().expect("definitions");
        assert_eq!(data.len() % 20, 0, "{object}: definitions of five numbers");
        for definition in data.chunks_exact(20) {
            let kind = u32::from_le_bytes(definition[..4].try_into().expect("four bytes"));
            assert!(
                MAP_TYPES.contains(&kind),
                "{object} has a map of type {kind}"
            );
        }
    }
}

#[test]
fn the_objects_have_neither_type_information_nor_data() {
    for (object, bytes) in objects() {
        let file = object::File::parse(bytes.as_slice()).expect("an ELF object");
        for section in file.sections().filter(|section| section.size() > 0) {
            let name = section.name().unwrap_or_default();
            let unwanted = [".BTF", ".data", ".rodata", ".bss", ".debug"];
            assert!(
                !unwanted.iter().any(|u| name.starts_with(u)),
                "{object} has a section {name}"
            );
            for (_, relocation) in section.relocations() {
                let RelocationTarget::Symbol(symbol) = relocation.target() else {
                    continue;
                };
                let target = file.symbol_by_index(symbol).expect("a symbol");
                let to = target
                    .section_index()
                    .and_then(|at| file.section_by_index(at).ok());
                let to = to
                    .and_then(|s| s.name().ok().map(str::to_owned))
                    .unwrap_or_default();
                assert!(
                    to == "maps" || name.starts_with(".eh"),
                    "{object}: {name} refers to {to}"
                );
            }
        }
    }
}

/// The signed jumps that test the sign of the value that a string helper returned. It follows every path from the call
/// on, and every copy of the value in registers and on the stack.
fn signed_tests(code: &[Insn]) -> Vec<usize> {
    type Holders = BTreeSet<i32>; // registers 0 to 10; stack slots by their negative offset
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    let mut work: Vec<(usize, Holders)> = (0..code.len())
        .filter(|&at| code[at].is_call() && code[at].imm == PROBE_READ_STR)
        .map(|at| (at + 1, Holders::from([0])))
        .collect();
    while let Some((at, mut holders)) = work.pop() {
        if at >= code.len() || holders.is_empty() || !seen.insert((at, holders.clone())) {
            continue;
        }
        let insn = code[at];
        let (dst, src) = (i32::from(insn.dst), i32::from(insn.src));
        if insn.is_exit() {
            continue;
        }
        if insn.is_jump() {
            // JSGT 0x60, JSGE 0x70, JSLT 0xc0, JSLE 0xd0: jumps whose outcome is known if the verifier takes the value for
            // one that is not negative
            let decided = match insn.op() {
                0x70 | 0xc0 => insn.imm <= 0,
                0x60 | 0xd0 => insn.imm < 0,
                _ => false,
            };
            if decided && insn.code & 8 == 0 && holders.contains(&dst) {
                found.push(at);
            }
            let target = at.wrapping_add_signed(insn.off as isize + 1);
            work.push((target, holders.clone()));
            if insn.op() == 0 {
                continue; // JA
            }
        } else if insn.is_call() {
            for register in 0..6 {
                holders.remove(&register);
            }
        } else {
            let moves = matches!(insn.code, 0xbf | 0xbc);
            match insn.class() {
                // ALU: a copy holds the value if its source does; shifts (sign extension) keep it
                4 | 7 if moves => {
                    let held = holders.contains(&src);
                    if held {
                        holders.insert(dst)
                    } else {
                        holders.remove(&dst)
                    };
                }
                4 | 7 if matches!(insn.op(), 0x60 | 0x70 | 0xc0) => {}
                4 | 7 => {
                    holders.remove(&dst);
                }
                0 | 1 => {
                    let spilled =
                        insn.class() == 1 && src == 10 && holders.contains(&i32::from(insn.off));
                    if spilled {
                        holders.insert(dst)
                    } else {
                        holders.remove(&dst)
                    };
                }
                3 if dst == 10 => {
                    let slot = i32::from(insn.off);
                    if holders.contains(&src) {
                        holders.insert(slot)
                    } else {
                        holders.remove(&slot)
                    };
                }
                _ => {}
            }
        }
        work.push((at + if insn.is_wide() { 2 } else { 1 }, holders));
    }
    found
}

/// The verifiers of Linux 4.19.19 to 4.19.133 and 5.0 to 5.6 took the branch after such a test for dead code, and replaced
/// it by an endless loop.
#[test]
fn no_result_of_a_string_helper_is_tested_for_its_sign() {
    let mut calls = 0;
    for (object, bytes) in objects() {
        for (name, code) in programs(bytes) {
            calls += code
                .iter()
                .filter(|insn| insn.is_call() && insn.imm == PROBE_READ_STR)
                .count();
            assert_eq!(signed_tests(&code), Vec::<usize>::new(), "{object}: {name}");
        }
    }
    assert!(calls > 0, "the programs read strings");
}

#[test]
fn the_sign_test_is_found_where_there_is_one() {
    let call = Insn {
        code: 0x85,
        dst: 0,
        src: 0,
        off: 0,
        imm: PROBE_READ_STR,
    };
    let copy = Insn {
        code: 0xbf,
        dst: 6,
        src: 0,
        off: 0,
        imm: 0,
    };
    let test = Insn {
        code: 0xc5,
        dst: 6,
        src: 0,
        off: 1,
        imm: 0,
    };
    let exit = Insn {
        code: 0x95,
        dst: 0,
        src: 0,
        off: 0,
        imm: 0,
    };
    assert_eq!(signed_tests(&[call, copy, test, exit, exit]), [2]);
    let exact = Insn {
        code: 0x15,
        imm: -14,
        ..test
    };
    assert!(signed_tests(&[call, copy, exact, exit, exit]).is_empty());
}
