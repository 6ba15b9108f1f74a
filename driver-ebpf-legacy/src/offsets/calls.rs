//! The system call that a task is in: where its registers are, and whether it is a 32-bit call.

use super::offset;
use super::peek::{Peek, pointers, u64_at};
#[cfg(target_arch = "x86_64")]
use super::peek::{identify, identify_compat, u32_at};
#[cfg(target_arch = "x86_64")]
use super::tasks::{fork_or_log, wait};
use crate::layout::{Offsets, have};

/// The most bytes that a task_struct has before the floating-point state at its end.
#[cfg(target_arch = "x86_64")]
const TASK_END: usize = 12288;
/// Set in `status` during a call of a 32-bit program (arch/x86/include/asm/thread_info.h).
#[cfg(target_arch = "x86_64")]
const TS_COMPAT: u32 = 2;

/// Finds `stack`, and in it, near its top, the registers of a call. They are those of the call that makes the program
/// read.
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
            // The last one: the kernel puts them at the top, and the record of a perf-event tracepoint has a copy of them
            // below, which is elsewhere at each call.
            let found = (0..PAGE)
                .step_by(8)
                .rfind(|&regs| is_identify(&bytes[regs..], magic));
            // a second time, because what an earlier call left does not stay
            if let Some(regs) = found
                && peek
                    .read(stack + (top + regs) as u64, REGS)
                    .is_some_and(|bytes| is_identify(&bytes, magic))
                && peek.read_u64(me + at as u64) == Some(stack)
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

/// Bytes of a struct pt_regs.
const REGS: usize = if cfg!(target_arch = "x86_64") {
    168
} else {
    288
};

/// Whether these are the registers of a call getpgid(magic): di, orig_ax, and the code segment of user space.
#[cfg(target_arch = "x86_64")]
fn is_identify(bytes: &[u8], magic: u64) -> bool {
    const USER_CS: u64 = 0x33;
    u64_at(bytes, 112) == Some(magic)
        && u64_at(bytes, 120) == u64::try_from(libc::SYS_getpgid).ok()
        && u64_at(bytes, 136).is_some_and(|cs| cs & 0xffff == USER_CS)
}

/// Whether these are the registers of a call getpgid(magic): orig_x0, the number, and the pstate of a 64-bit program
/// (arch/arm64/include/asm/ptrace.h).
#[cfg(target_arch = "aarch64")]
fn is_identify(bytes: &[u8], magic: u64) -> bool {
    const MODE: u64 = 0x1f;
    u64_at(bytes, 272) == Some(magic)
        && u64_at(bytes, 280).map(|nr| nr & 0xffff_ffff) == u64::try_from(libc::SYS_getpgid).ok()
        && u64_at(bytes, 264).is_some_and(|state| state & MODE == 0)
}

/// Finds `thread_info.status` (in Linux 4.9 to 4.15 `thread.status`, at the end of the task), by a child that makes a call
/// through the 32-bit gate. If the kernel has no such gate, the child dies. No program can make such calls then, and the
/// code segment shows whether a call is a 32-bit one.
#[cfg(target_arch = "x86_64")]
pub(super) fn compat(peek: &mut Peek, off: &mut Offsets) -> Option<()> {
    const STEP: usize = 2048;
    const NATIVE: &[Gate] = &[identify];
    const COMPAT: &[Gate] = &[identify_compat];
    const NATIVE_AGAIN: &[Gate] = &[identify_compat, identify];
    for from in (0..TASK_END).step_by(STEP) {
        let mut samples = Vec::new();
        for (gates, status) in [NATIVE, COMPAT, NATIVE_AGAIN, COMPAT]
            .into_iter()
            .zip([0, TS_COMPAT, 0, TS_COMPAT])
        {
            samples.push((task_of_child(peek, from, STEP, gates)?, status));
        }
        let found = (0..STEP).step_by(4).find(|&at| {
            samples
                .iter()
                .all(|(bytes, status)| u32_at(bytes, at) == Some(*status))
        });
        if let Some(at) = found {
            off.task_status = offset(from + at);
            off.have |= have::COMPAT;
            return Some(());
        }
    }
    None
}

/// A function that makes a call through one of the gates into the kernel.
#[cfg(target_arch = "x86_64")]
type Gate = fn(u32, u8);

/// Reads a part of the task_struct of a child that makes calls through these gates, during the last of them.
#[cfg(target_arch = "x86_64")]
fn task_of_child(peek: &mut Peek, from: usize, len: usize, gates: &[Gate]) -> Option<Vec<u8>> {
    let magic = peek.magic;
    peek.read_task_of_caller(from, len, || {
        // SAFETY: the child makes system calls alone. It is not dumpable, so that it leaves no core if it dies.
        let pid = unsafe {
            fork_or_log(|| {
                libc::prctl(libc::PR_SET_DUMPABLE, 0);
                for gate in gates {
                    gate(magic, 0);
                }
                0
            })
        }?;
        libc::WIFEXITED(wait(pid)).then_some(())
    })
}

/// Elsewhere the saved registers show whether a call is a 32-bit one.
#[cfg(not(target_arch = "x86_64"))]
#[expect(
    clippy::unnecessary_wraps,
    reason = "the signature is that of x86_64, where the search can fail"
)]
pub(super) fn compat(_: &mut Peek, off: &mut Offsets) -> Option<()> {
    off.have |= have::COMPAT;
    Some(())
}
