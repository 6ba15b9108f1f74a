//! A stopped thread: only one that is stopped can be read or resumed, and resuming consumes it. A thread
//! that vanished meanwhile (SIGKILL can take it from any stop) is a value, not an error.

use std::mem::MaybeUninit;

#[cfg(target_arch = "x86_64")]
use driver_api::event::Abi;
use libc::{c_long, c_uint, c_void, pid_t};

use crate::memory::Memory;
use crate::restart::Interrupted;

/// A register of a 32-bit program: its set is r0 to r15, cpsr and the first argument as it was, 32 bits each.
#[cfg(target_arch = "aarch64")]
fn narrow(set: &libc::user_regs_struct, at: usize) -> u64 {
    set.regs[at / 2] >> (32 * (at % 2)) & 0xffff_ffff
}

/// The thread is gone; its end will be waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gone;

/// What ptrace options an attached process has (ptrace(2)). Not TRACESECCOMP: a filter of its own with
/// SECCOMP_RET_TRACE goes on to answer ENOSYS.
pub(crate) const ATTACHED: c_long = (libc::PTRACE_O_TRACESYSGOOD
    | libc::PTRACE_O_TRACEFORK
    | libc::PTRACE_O_TRACEVFORK
    | libc::PTRACE_O_TRACECLONE
    | libc::PTRACE_O_TRACEEXEC) as c_long;

/// What a command has beyond them: its filter's stops, and its end with ours, since under the filter it
/// could not go on.
pub(crate) const STARTED: c_long =
    ATTACHED | (libc::PTRACE_O_TRACESECCOMP | libc::PTRACE_O_EXITKILL) as c_long;

/// Not in libc: ptrace(2), linux/ptrace.h.
const PTRACE_GET_SYSCALL_INFO: c_uint = 0x420e;
/// The code segment of 32-bit programs (arch/x86/include/asm/segment.h).
#[cfg(target_arch = "x86_64")]
const NARROW_CODE: u64 = 0x23;
const SYSCALL_INFO_EXIT: u8 = 2;
const SYSCALL_INFO_SECCOMP: u8 = 3;

/// `struct ptrace_syscall_info` of linux/ptrace.h, with the largest member of its union.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct SyscallInfo {
    op: u8,
    pad: [u8; 3],
    arch: u32,
    ip: u64,
    sp: u64,
    data: [u64; 8],
}

/// Where in a call a thread stands.
#[derive(Debug, Clone, Copy)]
pub(crate) enum At {
    /// About to make it. `data` is what the filter says that stopped it, where a filter did.
    Entry {
        arch: u32,
        nr: u64,
        args: [u64; 6],
        data: Option<u16>,
    },
    /// It has returned.
    Exit { ret: i64 },
}

/// A thread in a ptrace-stop.
#[derive(Debug)]
pub(crate) struct Stopped {
    tid: pid_t,
}

/// Attaches to a thread without stopping it.
pub(crate) fn seize(tid: pid_t, options: c_long) -> std::io::Result<()> {
    request(libc::PTRACE_SEIZE, tid, 0, options as usize)
}

/// Asks a running tracee to stop.
pub(crate) fn interrupt(tid: pid_t) -> Result<(), Gone> {
    request(libc::PTRACE_INTERRUPT, tid, 0, 0).map_err(|_| Gone)
}

fn request(what: c_uint, tid: pid_t, addr: usize, data: usize) -> std::io::Result<()> {
    // SAFETY: the requests made here pass numbers, no pointers; the kernel checks that tid is a tracee.
    let result = unsafe { libc::ptrace(what, tid, addr as *mut c_void, data as *mut c_void) };
    if result == -1 {
        Err(std::io::Error::last_os_error())
    } else {
        Ok(())
    }
}

impl Stopped {
    /// To be made from what waitpid(2) says, and nowhere else.
    pub(crate) fn new(tid: pid_t) -> Self {
        Self { tid }
    }

    pub(crate) fn tid(&self) -> pid_t {
        self.tid
    }

    /// The number that came with the event: a new thread's id, a former one's.
    pub(crate) fn message(&self) -> Result<u32, Gone> {
        let mut message: libc::c_ulong = 0;
        // SAFETY: the kernel writes one unsigned long.
        let result = unsafe {
            libc::ptrace(
                libc::PTRACE_GETEVENTMSG,
                self.tid,
                0_usize,
                &raw mut message,
            )
        };
        if result == -1 {
            Err(Gone)
        } else {
            Ok(u32::try_from(message).unwrap_or(0))
        }
    }

    /// Where in a call the thread stands; `entry` is what the caller knows, for kernels that cannot say.
    pub(crate) fn call(&self, entry: bool) -> Result<At, Gone> {
        let mut info = MaybeUninit::<SyscallInfo>::zeroed();
        // SAFETY: the kernel writes at most as many bytes as it is told there are.
        let result = unsafe {
            libc::ptrace(
                PTRACE_GET_SYSCALL_INFO,
                self.tid,
                size_of::<SyscallInfo>(),
                info.as_mut_ptr(),
            )
        };
        if result <= 0 {
            return match std::io::Error::last_os_error().raw_os_error() {
                Some(libc::ESRCH) => Err(Gone),
                _ => self.registers(entry),
            };
        }
        // SAFETY: zeroed, all bit patterns are valid, and partly written by the kernel.
        let info = unsafe { info.assume_init() };
        if info.op == SYSCALL_INFO_EXIT {
            return Ok(At::Exit {
                ret: info.data[0].cast_signed(),
            });
        }
        let d = info.data;
        Ok(At::Entry {
            arch: info.arch,
            nr: d[0],
            args: [d[1], d[2], d[3], d[4], d[5], d[6]],
            data: (info.op == SYSCALL_INFO_SECCOMP).then_some(d[7] as u16),
        })
    }

    /// The call that has just ended with EINTR, if one has: the thread is on its way out of the kernel.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn interrupted(&self) -> Option<Interrupted> {
        let mut regs = MaybeUninit::<libc::user_regs_struct>::zeroed();
        // SAFETY: the kernel writes one user_regs_struct.
        if unsafe { libc::ptrace(libc::PTRACE_GETREGS, self.tid, 0_usize, regs.as_mut_ptr()) } == -1
        {
            return None;
        }
        // SAFETY: written by the kernel.
        let r = unsafe { regs.assume_init() };
        // -1 where the thread has come into the kernel in another way than by a call
        if r.rax.cast_signed() != i64::from(-libc::EINTR) || r.orig_rax.cast_signed() < 0 {
            return None;
        }
        let (abi, args) = if r.cs == NARROW_CODE {
            (Abi::I386, [r.rbx, r.rcx, r.rdx, r.rsi, r.rdi, r.rbp])
        } else {
            (Abi::X86_64, [r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9])
        };
        Some(Interrupted {
            abi,
            nr: r.orig_rax,
            args,
        })
    }

    /// At a handler's first instruction: what the call that it interrupted returns when the handler does. In a 64-bit
    /// program the frame begins with the return address, a `ucontext_t` is next; in a 32-bit one with the signal's
    /// number, and, of a handler that takes three arguments, with pointers to what follows (struct `rt_sigframe`,
    /// `sigframe_ia32` and `rt_sigframe_ia32` of arch/x86/include/asm/sigframe.h).
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn result_behind_handler(&self) -> Option<i64> {
        let frame = self.peek_user(std::mem::offset_of!(libc::user_regs_struct, rsp))?;
        let memory = Memory::new(self.tid, false);
        let native =
            self.peek_user(std::mem::offset_of!(libc::user_regs_struct, cs)) != Some(NARROW_CODE);
        if native {
            let registers = std::mem::offset_of!(libc::ucontext_t, uc_mcontext.gregs);
            let result = 8 + registers + libc::REG_RAX as usize * 8;
            return memory
                .exactly(frame.checked_add(result as u64)?)
                .map(i64::from_ne_bytes);
        }
        // eax is the twelfth word of struct sigcontext_32, which stands behind return address and number, or
        // behind these, two pointers, a siginfo of 128 bytes, and 20 bytes of a ucontext
        const EAX: u64 = 11 * 4;
        let word = |at: u64| {
            memory
                .exactly(frame.checked_add(at)?)
                .map(i32::from_ne_bytes)
        };
        let info = u64::from(word(8)?.cast_unsigned());
        let place = if info == frame + 16 {
            16 + 128 + 20 + EAX
        } else {
            8 + EAX
        };
        word(place).map(i64::from)
    }

    /// At a handler's first instruction: what the call that it interrupted returns when the handler does. A 64-bit
    /// program's frame has a siginfo and a `ucontext_t` (struct `rt_sigframe`, arch/arm64/kernel/signal.c); a 32-bit one
    /// has its ucontext alone, or, of a handler that takes three arguments, behind a siginfo, to which the second
    /// argument points (struct `compat_sigframe`, arch/arm64/kernel/signal32.c).
    #[cfg(target_arch = "aarch64")]
    pub(crate) fn result_behind_handler(&self) -> Option<i64> {
        const INFO: u64 = 128;
        let (regs, len) = self.register_set()?;
        let memory = Memory::new(self.tid, false);
        if len >= size_of::<libc::user_regs_struct>() {
            let x0 = std::mem::offset_of!(libc::ucontext_t, uc_mcontext.regs) as u64;
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

    #[cfg(target_arch = "x86_64")]
    fn peek_user(&self, place: usize) -> Option<u64> {
        let mut word: c_long = 0;
        // SAFETY: the system call itself, unlike ptrace(3), writes the word to where data points.
        let error = unsafe {
            libc::syscall(
                libc::SYS_ptrace,
                libc::PTRACE_PEEKUSER,
                self.tid,
                place,
                &raw mut word,
            )
        };
        (error == 0).then_some(word.cast_unsigned())
    }

    /// Goes on with a signal, to the first instruction of its handler.
    pub(crate) fn step(self, signal: i32) {
        // a thread that is gone needs no resuming
        let _ = request(
            libc::PTRACE_SINGLESTEP,
            self.tid,
            0,
            signal.unsigned_abs() as usize,
        );
    }

    /// What the call that has ended returns.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn set_result(&self, result: i64) {
        let place = std::mem::offset_of!(libc::user_regs_struct, rax);
        // a thread that is gone has no use for it
        let _ = request(
            libc::PTRACE_POKEUSER,
            self.tid,
            place,
            result.cast_unsigned() as usize,
        );
    }

    /// Here the kernel has decided whether a call is made again before it stops, and a tracer cannot change it
    /// (arch/arm64/kernel/signal.c, do_signal): such a call ends with EINTR.
    #[cfg(target_arch = "aarch64")]
    pub(crate) fn interrupted(&self) -> Option<Interrupted> {
        None
    }

    /// See [`Stopped::interrupted`].
    #[cfg(target_arch = "aarch64")]
    pub(crate) fn set_result(&self, _: i64) {}

    /// Before Linux 5.3: the registers themselves.
    #[cfg(target_arch = "x86_64")]
    fn registers(&self, entry: bool) -> Result<At, Gone> {
        let mut regs = MaybeUninit::<libc::user_regs_struct>::zeroed();
        // SAFETY: the kernel writes one user_regs_struct.
        if unsafe { libc::ptrace(libc::PTRACE_GETREGS, self.tid, 0_usize, regs.as_mut_ptr()) } == -1
        {
            return Err(Gone);
        }
        // SAFETY: written by the kernel.
        let r = unsafe { regs.assume_init() };
        if !entry {
            return Ok(At::Exit {
                ret: r.rax.cast_signed(),
            });
        }
        let (arch, args) = if r.cs == NARROW_CODE {
            (
                0x4000_0003,
                [r.rbx, r.rcx, r.rdx, r.rsi, r.rdi, r.rbp].map(|arg| arg & 0xffff_ffff),
            )
        } else {
            (0xc000_003e, [r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9])
        };
        Ok(At::Entry {
            arch,
            nr: r.orig_rax,
            args,
            data: None,
        })
    }

    /// The registers, and how many bytes of them there are: a 32-bit program has a shorter set.
    #[cfg(target_arch = "aarch64")]
    fn register_set(&self) -> Option<(libc::user_regs_struct, usize)> {
        let mut regs = MaybeUninit::<libc::user_regs_struct>::zeroed();
        let mut into = libc::iovec {
            iov_base: regs.as_mut_ptr().cast(),
            iov_len: size_of::<libc::user_regs_struct>(),
        };
        // SAFETY: the kernel writes at most as many bytes as the vector says there are.
        let result = unsafe {
            libc::ptrace(
                libc::PTRACE_GETREGSET,
                self.tid,
                libc::NT_PRSTATUS as usize,
                &raw mut into,
            )
        };
        // SAFETY: zeroed, all bit patterns are valid, and written by the kernel.
        (result != -1).then(|| (unsafe { regs.assume_init() }, into.iov_len))
    }

    /// Before Linux 5.3: the registers themselves.
    #[cfg(target_arch = "aarch64")]
    fn registers(&self, entry: bool) -> Result<At, Gone> {
        let (regs, len) = self.register_set().ok_or(Gone)?;
        if len < size_of::<libc::user_regs_struct>() {
            return Ok(if entry {
                At::Entry {
                    arch: 0x4000_0028,
                    nr: narrow(&regs, 7),
                    args: [0, 1, 2, 3, 4, 5].map(|at| narrow(&regs, at)),
                    data: None,
                }
            } else {
                At::Exit {
                    ret: i64::from((narrow(&regs, 0) as u32).cast_signed()),
                }
            });
        }
        let r = regs.regs;
        if !entry {
            return Ok(At::Exit {
                ret: r[0].cast_signed(),
            });
        }
        Ok(At::Entry {
            arch: 0xc000_00b7,
            nr: r[8],
            args: [r[0], r[1], r[2], r[3], r[4], r[5]],
            data: None,
        })
    }

    /// Has the call that is about to be made fail with ENOSYS: number -1 is none (seccomp(2), `SECCOMP_RET_TRACE`).
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn refuse(&self) {
        // struct user_regs_struct of sys/user.h; the kernel has set the return value to ENOSYS already
        let number = std::mem::offset_of!(libc::user_regs_struct, orig_rax);
        // a thread that is gone makes no call
        let _ = request(libc::PTRACE_POKEUSER, self.tid, number, usize::MAX);
    }

    /// Has the call that is about to be made fail with ENOSYS: number -1 is none (seccomp(2), `SECCOMP_RET_TRACE`).
    #[cfg(target_arch = "aarch64")]
    pub(crate) fn refuse(&self) {
        // linux/elf.h
        const NT_ARM_SYSTEM_CALL: usize = 0x404;
        let mut none: i32 = -1;
        let mut regs = MaybeUninit::<libc::user_regs_struct>::zeroed();
        let vector = |base: *mut c_void, len| libc::iovec {
            iov_base: base,
            iov_len: len,
        };
        let mut number = vector((&raw mut none).cast(), size_of::<i32>());
        let mut all = vector(
            regs.as_mut_ptr().cast(),
            size_of::<libc::user_regs_struct>(),
        );
        let status = libc::NT_PRSTATUS as usize;
        // SAFETY: the kernel reads and writes as many bytes as the vectors say there are; zeroed registers
        // are valid, and x0 is their first. A thread that is gone makes no call.
        unsafe {
            if libc::ptrace(libc::PTRACE_GETREGSET, self.tid, status, &raw mut all) == 0 {
                (*regs.as_mut_ptr()).regs[0] = i64::from(-libc::ENOSYS).cast_unsigned();
                libc::ptrace(libc::PTRACE_SETREGSET, self.tid, status, &raw mut all);
            }
            libc::ptrace(
                libc::PTRACE_SETREGSET,
                self.tid,
                NT_ARM_SYSTEM_CALL,
                &raw mut number,
            );
        }
    }

    /// Goes on; `to_exit` stops again at the next end of a call (or entry, behind such an end).
    pub(crate) fn resume(self, to_exit: bool, signal: i32) {
        let what = if to_exit {
            libc::PTRACE_SYSCALL
        } else {
            libc::PTRACE_CONT
        };
        // a thread that is gone needs no resuming
        let _ = request(what, self.tid, 0, signal.unsigned_abs() as usize);
    }

    /// Stays in its group-stop, but lets SIGCONT through.
    pub(crate) fn listen(self) {
        let _ = request(libc::PTRACE_LISTEN, self.tid, 0, 0);
    }

    /// Lets it go for good, with the signal that was about to be delivered.
    pub(crate) fn detach(self, signal: i32) {
        let _ = request(
            libc::PTRACE_DETACH,
            self.tid,
            0,
            signal.unsigned_abs() as usize,
        );
    }
}
