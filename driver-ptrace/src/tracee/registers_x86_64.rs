//! Registers of x86_64, and of 32-bit programs on it.

use std::mem::{MaybeUninit, offset_of};

use driver_api::event::Abi;
use libc::{c_long, user_regs_struct};

use super::position::{Boundary, EnteredCall};
use super::stop::Stopped;
use super::{Gone, request};
use crate::filter::arch;
use crate::memory::Memory;

/// The code segment of 32-bit programs (arch/x86/include/asm/segment.h).
const NARROW_CODE: u64 = 0x23;

/// A call that has ended with EINTR, as the registers of its thread have it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InterruptedCall {
    pub(crate) abi: Abi,
    pub(crate) nr: u64,
    pub(crate) args: [u64; 6],
}

impl Stopped {
    fn registers(&self) -> Option<user_regs_struct> {
        let mut regs = MaybeUninit::<user_regs_struct>::zeroed();
        // SAFETY: the kernel writes one user_regs_struct.
        let result =
            unsafe { libc::ptrace(libc::PTRACE_GETREGS, self.tid(), 0_usize, regs.as_mut_ptr()) };
        // SAFETY: zeroed or written by the kernel; all bit patterns are valid.
        (result != -1).then(|| unsafe { regs.assume_init() })
    }

    /// Reads one register; `place` is its offset in user_regs_struct.
    fn register(&self, place: usize) -> Option<u64> {
        let mut word: c_long = 0;
        // SAFETY: the system call itself, unlike ptrace(3), writes one word to where `data` points.
        let error = unsafe {
            libc::syscall(
                libc::SYS_ptrace,
                libc::PTRACE_PEEKUSER,
                self.tid(),
                place,
                &raw mut word,
            )
        };
        (error == 0).then_some(word.cast_unsigned())
    }

    fn set_register(&self, place: usize, value: u64) {
        // a thread that is gone has no use for it
        let _ = request(libc::PTRACE_POKEUSER, self.tid(), place, value as usize);
    }

    /// Whether the thread has come into the kernel by `int 0x80`, with which a 64-bit program makes the calls of 32-bit
    /// programs. The instruction is behind the thread.
    pub(super) fn is_narrow_instruction(&self) -> bool {
        const INT_80: [u8; 2] = [0xcd, 0x80];
        let place = self.register(offset_of!(user_regs_struct, rip));
        let before = place.and_then(|place| place.checked_sub(INT_80.len() as u64));
        let memory = Memory::new(self.tid(), false);
        before.and_then(|at| memory.exactly(at)) == Some(INT_80)
    }

    /// The entry or exit that the thread is at, by its registers. `narrow`: the thread of a 64-bit program makes a call
    /// of 32-bit programs.
    pub(super) fn boundary_in_registers(
        &self,
        entry: bool,
        narrow: bool,
    ) -> Result<Boundary, Gone> {
        let r = self.registers().ok_or(Gone)?;
        if !entry {
            return Ok(Boundary::Exit {
                ret: r.rax.cast_signed(),
            });
        }
        let (arch, args) = if narrow || r.cs == NARROW_CODE {
            (
                arch::I386,
                [r.rbx, r.rcx, r.rdx, r.rsi, r.rdi, r.rbp].map(|arg| arg & 0xffff_ffff),
            )
        } else {
            (arch::X86_64, [r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9])
        };
        Ok(Boundary::Entry(EnteredCall {
            arch,
            nr: r.orig_rax,
            args,
            filter_data: None,
        }))
    }

    /// The call that has just ended with EINTR, if one has.
    pub(super) fn interrupted_call(&self) -> Option<InterruptedCall> {
        let r = self.registers()?;
        // orig_rax is -1 if the thread has entered the kernel in another way than by a call
        if r.rax.cast_signed() != i64::from(-libc::EINTR) || r.orig_rax.cast_signed() < 0 {
            return None;
        }
        let (abi, args) = if r.cs == NARROW_CODE {
            (Abi::I386, [r.rbx, r.rcx, r.rdx, r.rsi, r.rdi, r.rbp])
        } else {
            (Abi::X86_64, [r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9])
        };
        Some(InterruptedCall {
            abi,
            nr: r.orig_rax,
            args,
        })
    }

    /// Changes what the call that has ended returns.
    pub(super) fn set_result(&self, result: i64) {
        self.set_register(offset_of!(user_regs_struct, rax), result.cast_unsigned());
    }

    /// Skips the call that the thread is about to make: it returns `result`.
    pub(super) fn skip_call(&self, result: i64) {
        self.set_register(offset_of!(user_regs_struct, orig_rax), u64::MAX);
        self.set_result(result);
    }

    /// At a handler's first instruction: what the call that the handler has interrupted returns afterwards.
    ///
    /// In a 64-bit program the frame begins with the return address, and a `ucontext_t` follows. In a 32-bit program it
    /// begins with the return address and the signal's number. Then come the registers or, for a handler that takes three
    /// arguments, pointers to what follows them. See struct `rt_sigframe`, `sigframe_ia32` and `rt_sigframe_ia32` of
    /// arch/x86/include/asm/sigframe.h.
    pub(super) fn result_behind_handler(&self) -> Option<i64> {
        let frame = self.register(offset_of!(user_regs_struct, rsp))?;
        let memory = Memory::new(self.tid(), false);
        if self.register(offset_of!(user_regs_struct, cs)) != Some(NARROW_CODE) {
            let registers = offset_of!(libc::ucontext_t, uc_mcontext.gregs);
            let result = 8 + registers + libc::REG_RAX as usize * 8;
            return memory
                .exactly(frame.checked_add(result as u64)?)
                .map(i64::from_ne_bytes);
        }
        // eax is the twelfth word of struct sigcontext_32. That comes behind the return address and the number,
        // or behind these, two pointers, a siginfo of 128 bytes, and 20 bytes of a ucontext.
        const EAX: u64 = 11 * 4;
        let word = |at: u64| {
            memory
                .exactly(frame.checked_add(at)?)
                .map(i32::from_ne_bytes)
        };
        let info = u64::from(word(8)?.cast_unsigned());
        let place = if Some(info) == frame.checked_add(16) {
            16 + 128 + 20 + EAX
        } else {
            8 + EAX
        };
        word(place).map(i64::from)
    }
}
