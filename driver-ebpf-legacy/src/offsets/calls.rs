//! The call that a task is in: where its registers are, and whether it is a 32-bit one.

use super::layout::{Offsets, have};
use super::peek::{Peek, pointers, word_at};
#[cfg(target_arch = "x86_64")]
use super::peek::{half_at, show, show_compat};
use super::tasks::offset;
#[cfg(target_arch = "x86_64")]
use super::tasks::{fork, wait};

/// No task_struct has more bytes before the floating-point state at its end.
#[cfg(target_arch = "x86_64")]
const TASK_END: usize = 12288;
/// Set in `status` during a call of a 32-bit program (arch/x86/include/asm/thread_info.h).
#[cfg(target_arch = "x86_64")]
const TS_COMPAT: u32 = 2;

/// `stack`, and where the registers of a call are in it: near its top, those of the very call that looks.
pub(super) fn registers(peek: &mut Peek, off: &mut Offsets, me: u64, task: &[u8]) -> Option<()> {
    const PAGE: usize = 4096;
    const SIZES: [usize; 4] = [8192, 16384, 32768, 65536];
    let magic = u64::from(peek.magic);
    for (at, stack) in pointers(task).filter(|&(_, to)| to.is_multiple_of(PAGE as u64)) {
        for size in SIZES {
            let top = size - PAGE;
            let Some(bytes) = peek.read(stack + top as u64, PAGE) else {
                break;
            };
            let found = (0..PAGE)
                .step_by(8)
                .find(|&regs| is_look(&bytes[regs..], magic));
            // the same again: what is left of earlier calls does not stay
            if let Some(regs) = found
                && peek
                    .read(stack + (top + regs) as u64, REGS)
                    .is_some_and(|bytes| is_look(&bytes, magic))
                && peek.word(me + at as u64) == Some(stack)
            {
                off.task_stack = offset(at);
                off.stack_regs = offset(top + regs);
                off.have |= have::REGS;
                return Some(());
            }
        }
    }
    None
}

/// Bytes of a struct pt_regs that are looked at.
const REGS: usize = if cfg!(target_arch = "x86_64") {
    168
} else {
    288
};

/// Whether these are the registers of a call getpgid(magic): di, orig_ax, and the code segment of a program.
#[cfg(target_arch = "x86_64")]
fn is_look(bytes: &[u8], magic: u64) -> bool {
    const USER_CS: u64 = 0x33;
    word_at(bytes, 112) == Some(magic)
        && word_at(bytes, 120) == u64::try_from(libc::SYS_getpgid).ok()
        && word_at(bytes, 136).is_some_and(|cs| cs & 0xffff == USER_CS)
}

/// Whether these are the registers of a call getpgid(magic): the first argument as it was, the number, and a state
/// (pstate) of a 64-bit program (arch/arm64/include/asm/ptrace.h).
#[cfg(target_arch = "aarch64")]
fn is_look(bytes: &[u8], magic: u64) -> bool {
    const MODE: u64 = 0x1f;
    word_at(bytes, 272) == Some(magic)
        && word_at(bytes, 280).map(|nr| nr & 0xffff_ffff) == u64::try_from(libc::SYS_getpgid).ok()
        && word_at(bytes, 264).is_some_and(|state| state & MODE == 0)
}

/// `thread_info.status` (in Linux 4.9 to 4.15 `thread.status`, at the end of the task), by a child that makes a call
/// through the 32-bit gate. Where there is no such gate the child dies, and nobody can make such calls: then the code
/// segment tells all there is to tell.
#[cfg(target_arch = "x86_64")]
pub(super) fn compat(peek: &mut Peek, off: &mut Offsets) -> Option<()> {
    const STEP: usize = 2048;
    const NATIVE: &[Gate] = &[show];
    const COMPAT: &[Gate] = &[show_compat];
    const NATIVE_AGAIN: &[Gate] = &[show_compat, show];
    for from in (0..TASK_END).step_by(STEP) {
        let mut looks = Vec::new();
        for (gates, status) in [NATIVE, COMPAT, NATIVE_AGAIN, COMPAT]
            .into_iter()
            .zip([0, TS_COMPAT, 0, TS_COMPAT])
        {
            looks.push((through(peek, from, STEP, gates)?, status));
        }
        let found = (0..STEP).step_by(4).find(|&at| {
            looks
                .iter()
                .all(|(bytes, status)| half_at(bytes, at) == Some(*status))
        });
        if let Some(at) = found {
            off.task_status = offset(from + at);
            off.have |= have::COMPAT;
            return Some(());
        }
    }
    None
}

/// Makes a call that shows who makes it.
#[cfg(target_arch = "x86_64")]
type Gate = fn(u32, u8);

/// This part of the task of a child that makes such calls, at the last of them.
#[cfg(target_arch = "x86_64")]
fn through(peek: &mut Peek, from: usize, len: usize, gates: &[Gate]) -> Option<Vec<u8>> {
    let magic = peek.magic;
    peek.read_of_looker(from, len, || {
        // SAFETY: system calls and nothing else. Not dumpable: a child that dies leaves no core.
        let pid = unsafe {
            fork(|| {
                libc::prctl(libc::PR_SET_DUMPABLE, 0);
                for gate in gates {
                    gate(magic, 0);
                }
                0
            })
        };
        libc::WIFEXITED(wait(pid)).then_some(())
    })
}

/// Elsewhere the saved registers tell all there is to tell.
#[cfg(not(target_arch = "x86_64"))]
#[expect(
    clippy::unnecessary_wraps,
    reason = "as where there is something to find"
)]
pub(super) fn compat(_: &mut Peek, off: &mut Offsets) -> Option<()> {
    off.have |= have::COMPAT;
    Some(())
}
