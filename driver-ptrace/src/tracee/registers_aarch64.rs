//! Registers of aarch64, and of 32-bit programs on it.

use std::mem::{MaybeUninit, offset_of};

use driver_api::event::Abi;
use libc::{c_void, iovec, user_regs_struct};

use super::Gone;
use super::position::{Boundary, EnteredCall};
use super::stop::Stopped;
use crate::filter::arch;
use crate::memory::Memory;

/// The register set of system call numbers (linux/elf.h).
const NT_ARM_SYSTEM_CALL: usize = 0x404;

/// A register of a 32-bit program. Its set is r0 to r15, cpsr and the original first argument, 32 bits each.
fn narrow(set: &user_regs_struct, at: usize) -> u64 {
    set.regs[at / 2] >> (32 * (at % 2)) & 0xffff_ffff
}

/// A call that has ended with EINTR, as the registers of its thread have it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InterruptedCall {
    pub(crate) abi: Abi,
    pub(crate) nr: u64,
    pub(crate) args: [u64; 6],
}

impl Stopped {
    /// The registers, and the length of the set in bytes: that of a 32-bit program is shorter.
    fn register_set(&self) -> Option<(user_regs_struct, usize)> {
        let mut regs = MaybeUninit::<user_regs_struct>::zeroed();
        let mut into = iovec {
            iov_base: regs.as_mut_ptr().cast(),
            iov_len: size_of::<user_regs_struct>(),
        };
        // SAFETY: the kernel writes at most as many bytes as the vector says there are.
        let result = unsafe {
            libc::ptrace(
                libc::PTRACE_GETREGSET,
                self.tid(),
                libc::NT_PRSTATUS as usize,
                &raw mut into,
            )
        };
        // SAFETY: zeroed, and written by the kernel; all bit patterns are valid.
        (result != -1).then(|| (unsafe { regs.assume_init() }, into.iov_len))
    }

    /// Writes a register set from memory of the given length.
    fn set_register_set(&self, which: usize, from: *mut c_void, len: usize) {
        let mut vector = iovec {
            iov_base: from,
            iov_len: len,
        };
        // SAFETY: the callers pass memory of this length; the kernel only reads it. A thread that is gone needs no
        // registers.
        unsafe {
            libc::ptrace(libc::PTRACE_SETREGSET, self.tid(), which, &raw mut vector);
        }
    }

    /// A 64-bit program cannot make the calls of 32-bit programs.
    pub(super) fn is_narrow_instruction(&self) -> bool {
        false
    }

    /// The entry or exit that the thread is at, by its registers.
    pub(super) fn boundary_in_registers(&self, entry: bool, _: bool) -> Result<Boundary, Gone> {
        let (regs, len) = self.register_set().ok_or(Gone)?;
        let r = regs.regs;
        let is_narrow = len < size_of::<user_regs_struct>();
        Ok(match (entry, is_narrow) {
            (true, true) => Boundary::Entry(EnteredCall {
                arch: arch::ARM,
                nr: narrow(&regs, 7),
                args: [0, 1, 2, 3, 4, 5].map(|at| narrow(&regs, at)),
                filter_data: None,
            }),
            (true, false) => Boundary::Entry(EnteredCall {
                arch: arch::AARCH64,
                nr: r[8],
                args: [r[0], r[1], r[2], r[3], r[4], r[5]],
                filter_data: None,
            }),
            (false, true) => Boundary::Exit {
                ret: i64::from((narrow(&regs, 0) as u32).cast_signed()),
            },
            (false, false) => Boundary::Exit {
                ret: r[0].cast_signed(),
            },
        })
    }

    /// None: this kernel decides before the stop whether a call is made again, and a tracer cannot change that
    /// (arch/arm64/kernel/signal.c, do_signal). The call ends with EINTR.
    pub(super) fn interrupted_call(&self) -> Option<InterruptedCall> {
        None
    }

    /// Has no effect: see [`Stopped::interrupted_call`].
    pub(super) fn set_result(&self, _: i64) {}

    /// Skips the call that the thread is about to make: it returns `result`.
    pub(super) fn skip_call(&self, result: i64) {
        if let Some((mut regs, len)) = self.register_set() {
            regs.regs[0] = result.cast_unsigned();
            let status = libc::NT_PRSTATUS as usize;
            self.set_register_set(status, (&raw mut regs).cast(), len);
        }
        let mut none: i32 = -1;
        self.set_register_set(NT_ARM_SYSTEM_CALL, (&raw mut none).cast(), size_of::<i32>());
    }

    /// At a handler's first instruction: what the call that the handler has interrupted returns afterwards.
    ///
    /// The frame of a 64-bit program has a siginfo and a `ucontext_t` (struct `rt_sigframe`,
    /// arch/arm64/kernel/signal.c). That of a 32-bit program has a ucontext; for a handler that takes three
    /// arguments a siginfo comes before it, to which the second argument points (struct `compat_sigframe`,
    /// arch/arm64/kernel/signal32.c).
    pub(super) fn result_behind_handler(&self) -> Option<i64> {
        const INFO: u64 = 128;
        let (regs, len) = self.register_set()?;
        let memory = Memory::new(self.tid(), false);
        if len >= size_of::<user_regs_struct>() {
            let x0 = offset_of!(libc::ucontext_t, uc_mcontext.regs) as u64;
            return memory
                .exactly(regs.sp.checked_add(INFO + x0)?)
                .map(i64::from_ne_bytes);
        }
        // flags, link, stack, and the three words before r0 in struct compat_sigcontext
        const R0: u64 = 4 + 4 + 12 + 12;
        let frame = narrow(&regs, 13);
        let info = if narrow(&regs, 1) == frame { INFO } else { 0 };
        memory
            .exactly(frame.checked_add(info + R0)?)
            .map(|word| i64::from(i32::from_ne_bytes(word)))
    }
}
