//! The seccomp filter of a command: it stops at the selected calls and lets all others pass untouched.
//!
//! A binary search over call numbers, one tree for each ABI; a foreign ABI is never killed. Compiled by
//! hand, since a linear chain costs more the more calls are selected (seccomp(2), linux/filter.h).

use driver_api::event::Abi;
use driver_api::table::{SYSCALLS, X32_BIT};
use libc::sock_filter;

/// What tells the stops of this filter from those of a filter that the program has made itself.
pub(crate) const OURS: u16 = 0x1a7e;
/// `SECCOMP_RET_TRACE`: stop for the tracer. `SECCOMP_RET_ALLOW`: go on.
pub(crate) const TRACE: u32 = libc::SECCOMP_RET_TRACE | OURS as u32;
const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
/// linux/audit.h
const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
const AUDIT_ARCH_I386: u32 = 0x4000_0003;
const AUDIT_ARCH_AARCH64: u32 = 0xc000_00b7;
const AUDIT_ARCH_ARM: u32 = 0x4000_0028;
/// The ABIs of this machine.
const ARCHES: [(u32, Abi); 2] = if cfg!(target_arch = "aarch64") {
    [
        (AUDIT_ARCH_AARCH64, Abi::Aarch64),
        (AUDIT_ARCH_ARM, Abi::Arm),
    ]
} else {
    [
        (AUDIT_ARCH_X86_64, Abi::X86_64),
        (AUDIT_ARCH_I386, Abi::I386),
    ]
};
/// Offsets in `struct seccomp_data`.
const NR: u32 = 0;
const ARCH: u32 = 4;

/// The ABI that an audit architecture stands for.
pub(crate) fn abi_of(arch: u32) -> Option<Abi> {
    match arch {
        AUDIT_ARCH_X86_64 => Some(Abi::X86_64),
        AUDIT_ARCH_I386 => Some(Abi::I386),
        AUDIT_ARCH_AARCH64 => Some(Abi::Aarch64),
        AUDIT_ARCH_ARM => Some(Abi::Arm),
        _ => None,
    }
}

fn op(code: u32, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter {
        code: u16::try_from(code).unwrap_or(0),
        jt,
        jf,
        k,
    }
}

fn load(offset: u32) -> sock_filter {
    op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, offset)
}

fn give(value: u32) -> sock_filter {
    op(libc::BPF_RET | libc::BPF_K, 0, 0, value)
}

/// The filter that stops at the calls for which `wanted` holds.
pub(crate) fn program(
    wanted: impl Fn(&'static driver_api::table::Syscall) -> bool,
) -> Vec<sock_filter> {
    let mut filter = vec![load(ARCH)];
    for (arch, abi) in &ARCHES {
        let mut numbers: Vec<u32> = SYSCALLS
            .iter()
            .filter(|call| wanted(call))
            .flat_map(|call| {
                // x32 has no architecture of its own, only its bit
                let x32 = call.number(Abi::X32).map(|nr| nr | X32_BIT);
                [call.number(*abi), x32.filter(|_| *abi == Abi::X86_64)]
            })
            .flatten()
            .collect();
        numbers.sort_unstable();
        let mut block = vec![load(NR)];
        tree(&mut block, &segments(&numbers));
        // the comparison jumps over one long jump into the block
        filter.push(op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, 0, *arch));
        filter.push(op(
            libc::BPF_JMP | libc::BPF_JA,
            0,
            0,
            u32::try_from(block.len()).unwrap_or(0),
        ));
        filter.extend(block);
    }
    filter.push(give(ALLOW));
    filter
}

/// Runs of numbers with the same answer: first number, answer.
fn segments(numbers: &[u32]) -> Vec<(u32, u32)> {
    let mut segments: Vec<(u32, u32)> = vec![(0, ALLOW)];
    for &number in numbers {
        match segments.last_mut() {
            // directly behind the run before
            Some(last) if *last == (number, ALLOW) => *last = (number, TRACE),
            _ => segments.push((number, TRACE)),
        }
        segments.push((number + 1, ALLOW));
    }
    segments.dedup_by_key(|segment| segment.1);
    segments
}

fn tree(out: &mut Vec<sock_filter>, segments: &[(u32, u32)]) {
    if let [(_, answer)] = segments {
        out.push(give(*answer));
        return;
    }
    let (low, high) = segments.split_at(segments.len() / 2);
    let mut left = Vec::new();
    tree(&mut left, low);
    let jump = libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K;
    match u8::try_from(left.len()) {
        Ok(over) => out.push(op(jump, over, 0, high[0].0)),
        Err(_) => {
            out.push(op(jump, 0, 1, high[0].0));
            out.push(op(
                libc::BPF_JMP | libc::BPF_JA,
                0,
                0,
                u32::try_from(left.len()).unwrap_or(0),
            ));
        }
    }
    out.extend(left);
    tree(out, high);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel's interpreter would answer.
    fn answer(filter: &[sock_filter], arch: u32, nr: u32) -> u32 {
        let (mut at, mut a) = (0, 0);
        for _ in 0..filter.len() {
            let i = filter[at];
            at += 1;
            match u32::from(i.code) {
                c if c == libc::BPF_LD | libc::BPF_W | libc::BPF_ABS => {
                    a = if i.k == NR { nr } else { arch }
                }
                c if c == libc::BPF_RET | libc::BPF_K => return i.k,
                c if c == libc::BPF_JMP | libc::BPF_JA => at += i.k as usize,
                c if c == libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K => {
                    at += usize::from(if a == i.k { i.jt } else { i.jf });
                }
                c if c == libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K => {
                    at += usize::from(if a >= i.k { i.jt } else { i.jf });
                }
                other => panic!("instruction {other:#x}"),
            }
        }
        panic!("no answer");
    }

    #[test]
    fn exactly_the_wanted_calls_stop() {
        for step in [1, 2, 3, 7, 1000] {
            let wanted =
                |call: &'static driver_api::table::Syscall| call.index().is_multiple_of(step);
            let filter = program(wanted);
            for (arch, abi) in ARCHES {
                for nr in 0..1100 {
                    let stops = driver_api::table::by_number(abi, nr).is_some_and(wanted);
                    assert_eq!(
                        answer(&filter, arch, nr),
                        if stops { TRACE } else { ALLOW },
                        "{abi:?} {nr} step {step}"
                    );
                }
            }
            assert_eq!(answer(&filter, 0x1234, 59), ALLOW, "a foreign ABI passes");
            let x32 = if Abi::NATIVE == Abi::X86_64 {
                0..1100
            } else {
                0..0
            };
            for nr in x32.map(|nr| nr | X32_BIT) {
                let stops = driver_api::table::by_number(Abi::X32, nr)
                    .filter(|call| call.number(Abi::X32) == Some(nr & !X32_BIT))
                    .is_some_and(wanted);
                let answer = answer(&filter, AUDIT_ARCH_X86_64, nr);
                assert_eq!(answer == TRACE, stops, "x32 {nr:#x} step {step}");
            }
        }
    }
}
