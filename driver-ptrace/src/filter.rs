//! The seccomp filter of a command: the selected calls stop, all others pass untouched.
//!
//! A program checks the architecture and searches the call number in a binary tree, about ten comparisons for the
//! whole table. What a selection says of arguments is tested behind it ([`arguments`]). It is compiled here, not with the crate `seccompiler`: that one compares a number with each
//! selected one in turn, makes a filter for one architecture that kills the programs of all others, and has no
//! answer for user notification (seccomp(2), linux/filter.h).

mod arguments;

use driver_api::event::Abi;
use driver_api::selection::Selection;
use driver_api::table::{self, SYSCALLS, Syscall, X32_BIT};
use libc::sock_filter;

use arguments::Condition;

/// Audit architectures (linux/audit.h).
pub(crate) mod arch {
    pub(crate) const X86_64: u32 = 0xc000_003e;
    pub(crate) const I386: u32 = 0x4000_0003;
    pub(crate) const AARCH64: u32 = 0xc000_00b7;
    pub(crate) const ARM: u32 = 0x4000_0028;
}

/// The data of this filter's stops (`SECCOMP_RET_DATA`). A filter that the program has made itself has other data.
const OURS: u16 = 0x1a7e;
/// The data of its stops at calls of 32-bit programs: kernels before Linux 5.3 tell a tracer nothing else about a call's
/// ABI.
pub(crate) const OURS_NARROW: u16 = 0x1a7f;
/// The ABIs of this machine, the native one first.
const ARCHES: [(u32, Abi); 2] = if cfg!(target_arch = "aarch64") {
    [(arch::AARCH64, Abi::Aarch64), (arch::ARM, Abi::Arm)]
} else {
    [(arch::X86_64, Abi::X86_64), (arch::I386, Abi::I386)]
};
/// Offsets in `struct seccomp_data` (linux/seccomp.h).
const NR: u32 = 0;
const ARCH: u32 = 4;
const FIRST_ARG: u32 = 16;

/// What a filter does with a selected call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// It stops the thread for its tracer.
    Trace,
    /// It asks the filter's listener.
    Notify,
}

impl Action {
    /// What the filter returns for a call of this architecture.
    fn answer(self, arch: u32) -> u32 {
        match self {
            Self::Trace if arch == ARCHES[0].0 => libc::SECCOMP_RET_TRACE | u32::from(OURS),
            Self::Trace => libc::SECCOMP_RET_TRACE | u32::from(OURS_NARROW),
            Self::Notify => libc::SECCOMP_RET_USER_NOTIF,
        }
    }
}

/// The ABI of a call: that of its architecture, or x32, which has only a bit in the number.
pub(crate) fn abi_of(arch: u32, nr: u32) -> Option<Abi> {
    match arch {
        arch::X86_64 if nr & X32_BIT != 0 => Some(Abi::X32),
        arch::X86_64 => Some(Abi::X86_64),
        arch::I386 => Some(Abi::I386),
        arch::AARCH64 => Some(Abi::Aarch64),
        arch::ARM => Some(Abi::Arm),
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

/// Compares; if it is not equal, skips the next `over` instructions.
fn equal_or_skip(value: u32, over: u8) -> sock_filter {
    op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, over, value)
}

fn skip(over: usize) -> sock_filter {
    op(
        libc::BPF_JMP | libc::BPF_JA,
        0,
        0,
        u32::try_from(over).unwrap_or(0),
    )
}

/// The most instructions that the kernel takes (BPF_MAXINSNS, linux/bpf_common.h).
const MOST: usize = libc::BPF_MAXINSNS as usize;

/// What a filter does with a call.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    /// The same, whatever its arguments are.
    Always(u32),
    /// It stops if the arguments fulfil a condition.
    If(Condition),
}

/// Which arguments a filter tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tested {
    OfAllCalls,
    OfNativeCalls,
    None,
}

/// The filter for the calls of a selection, behind a `prologue`. A call that the selection wants stops. Where arguments alone
/// show that it does not, a call passes, unless there are more tests than a filter has room for.
pub(crate) fn program(
    prologue: &[sock_filter],
    wanted: &Selection,
    action: Action,
) -> Vec<sock_filter> {
    let of = |tested| {
        let mut filter = prologue.to_vec();
        filter.extend(body(wanted, action, tested));
        filter
    };
    let fits = |filter: &Vec<sock_filter>| filter.len() <= MOST;
    let mut tries = [Tested::OfAllCalls, Tested::OfNativeCalls]
        .into_iter()
        .map(of);
    tries.find(fits).unwrap_or_else(|| of(Tested::None))
}

fn body(wanted: &Selection, action: Action, tested: Tested) -> Vec<sock_filter> {
    let pass = libc::SECCOMP_RET_ALLOW;
    let mut filter = vec![load(ARCH)];
    for (arch, abi) in ARCHES {
        let stop = action.answer(arch);
        let answer = |call: &'static Syscall, abi, nr| {
            let tests = match tested {
                Tested::OfAllCalls => true,
                Tested::OfNativeCalls => abi == Abi::NATIVE,
                Tested::None => false,
            };
            if !wanted.contains(call) {
                return Answer::Always(pass);
            }
            let condition = Condition::of(&wanted.predicate(call), call, abi, nr);
            match condition.filter(|_| tests) {
                Some(condition) => Answer::If(condition),
                None => Answer::Always(stop),
            }
        };
        let mut answers: Vec<(u32, Answer)> = Vec::new();
        for call in SYSCALLS {
            // x32 calls come with the architecture of x86_64
            let x32 = call.number(Abi::X32).map(|nr| (Abi::X32, nr | X32_BIT));
            let own = call.number(abi).map(|nr| (abi, nr));
            let numbers = [own, x32.filter(|_| abi == Abi::X86_64)];
            for (abi, nr) in numbers.into_iter().flatten() {
                answers.push((nr, answer(call, abi, nr)));
            }
        }
        answers.sort_by_key(|(nr, _)| *nr);
        let unknown = answer(table::unknown(), abi, u32::MAX);
        let mut block = vec![load(NR)];
        tree(&mut block, &ranges(&answers, &unknown), stop);
        // over the jump that skips this block
        filter.push(op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, 0, arch));
        filter.push(skip(block.len()));
        filter.extend(block);
    }
    filter.push(give(pass));
    filter
}

/// A prologue for another filter: `action` for a call by its native number and by that of 32-bit programs, else on to
/// what follows. With `arg`, only for calls whose argument at that place has this lower half; the kernel ignores the
/// upper half of a number of 32 bits.
pub(crate) fn if_call(call: &Syscall, arg: Option<(u32, u32)>, action: Action) -> Vec<sock_filter> {
    let mut filter = Vec::new();
    for (arch, abi) in ARCHES {
        let Some(nr) = call.number(abi) else {
            continue;
        };
        let mut found = vec![give(action.answer(arch))];
        if let Some((at, value)) = arg {
            // the lower half comes first on these machines
            let lower = load(FIRST_ARG + 8 * at);
            found.splice(0..0, [lower, equal_or_skip(value, 1)]);
        }
        filter.extend([load(NR), equal_or_skip(nr, 2 + found.len() as u8)]);
        filter.extend([load(ARCH), equal_or_skip(arch, found.len() as u8)]);
        filter.extend(found);
    }
    filter
}

/// Whether the data of a stop is that of this filter.
pub(crate) fn is_ours(data: Option<u16>) -> bool {
    matches!(data, Some(OURS | OURS_NARROW))
}

/// Ranges of numbers with the same answer: first number, answer. `answers` has the answers to the numbers that are known,
/// in ascending order; `other` is the answer to all others.
fn ranges(answers: &[(u32, Answer)], other: &Answer) -> Vec<(u32, Answer)> {
    let mut ranges: Vec<(u32, Answer)> = vec![(0, other.clone())];
    for (number, answer) in answers {
        match ranges.last_mut() {
            // directly behind the range before
            Some(last) if last.0 == *number => last.1 = answer.clone(),
            _ => ranges.push((*number, answer.clone())),
        }
        ranges.push((number + 1, other.clone()));
    }
    ranges.dedup_by(|later, one| later.1 == one.1);
    ranges
}

/// Appends a search for the range of the number. `stop`: the answer to a call that fulfils a condition.
fn tree(out: &mut Vec<sock_filter>, ranges: &[(u32, Answer)], stop: u32) {
    if let [(_, answer)] = ranges {
        match answer {
            Answer::Always(answer) => out.push(give(*answer)),
            Answer::If(condition) => {
                out.extend(condition.program(stop, libc::SECCOMP_RET_ALLOW));
            }
        }
        return;
    }
    let (low, high) = ranges.split_at(ranges.len() / 2);
    let mut left = Vec::new();
    tree(&mut left, low, stop);
    let jump = libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K;
    match u8::try_from(left.len()) {
        Ok(over) => out.push(op(jump, over, 0, high[0].0)),
        // a conditional jump skips at most 255 instructions
        Err(_) => {
            out.push(op(jump, 0, 1, high[0].0));
            out.push(skip(left.len()));
        }
    }
    out.extend(left);
    tree(out, high, stop);
}

/// Lets the calling thread install a filter: without CAP_SYS_ADMIN, the kernel demands no_new_privs (seccomp(2)). For
/// use between fork and exec: it does not allocate.
///
/// # Errors
///
/// The errno of prctl(2).
pub(crate) fn allow_filters(privileged: bool) -> Result<(), i32> {
    // SAFETY: this operation takes numbers.
    if !privileged && unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } != 0 {
        return Err(errno());
    }
    Ok(())
}

/// Puts a filter into the calling thread and returns what seccomp(2) does. For use between fork and exec: it does not
/// allocate.
///
/// # Errors
///
/// The errno of seccomp(2).
pub(crate) fn install(filter: &[sock_filter], flags: libc::c_ulong) -> Result<libc::c_long, i32> {
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).map_err(|_| libc::E2BIG)?,
        filter: filter.as_ptr().cast_mut(),
    };
    // SAFETY: the kernel reads the program, which outlives the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const program,
        )
    };
    if result < 0 { Err(errno()) } else { Ok(result) }
}

/// The errno of the calling thread, without an allocation.
pub(crate) fn errno() -> i32 {
    // SAFETY: the pointer is to this thread's errno.
    unsafe { *libc::__errno_location() }
}

#[cfg(test)]
#[path = "filter/tests.rs"]
mod tests;
