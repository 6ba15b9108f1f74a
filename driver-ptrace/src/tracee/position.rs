//! Where in a call a stopped thread is: PTRACE_GET_SYSCALL_INFO from Linux 5.3 on, the registers before.

use std::mem::MaybeUninit;

use super::{Gone, stop::Stopped};

/// Not in every libc: linux/ptrace.h.
const PTRACE_GET_SYSCALL_INFO: super::Request = 0x420e;
const SYSCALL_INFO_ENTRY: u8 = 1;
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

/// An entry or an exit of a call.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Boundary {
    /// About to make it.
    Entry(EnteredCall),
    /// It has returned.
    Exit {
        /// What it returns.
        ret: i64,
    },
}

/// A call that a thread is about to make.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EnteredCall {
    /// AUDIT_ARCH_* (linux/audit.h).
    pub(crate) arch: u32,
    /// As the register has it: an x32 call has its bit.
    pub(crate) nr: u64,
    /// As the registers have them.
    pub(crate) args: [u64; 6],
    /// The low 16 bits of the answer of the filter that stopped it, if a filter did (`SECCOMP_RET_DATA`).
    pub(crate) filter_data: Option<u16>,
}

/// Where in a call a thread is; `expects_entry` and, for a 64-bit program, `narrow` decide for kernels that cannot
/// say: whether it is an entry, and whether the call comes by the numbers of 32-bit programs.
pub(super) fn of(
    stopped: &Stopped,
    expects_entry: bool,
    narrow: impl Fn() -> bool,
) -> Result<Boundary, Gone> {
    let in_registers = || stopped.boundary_in_registers(expects_entry, expects_entry && narrow());
    let mut info = MaybeUninit::<SyscallInfo>::zeroed();
    // SAFETY: the kernel writes at most the given number of bytes, which is the size of `info`.
    let result = unsafe {
        libc::ptrace(
            PTRACE_GET_SYSCALL_INFO,
            stopped.tid(),
            size_of::<SyscallInfo>(),
            info.as_mut_ptr(),
        )
    };
    if result <= 0 {
        return match std::io::Error::last_os_error().raw_os_error() {
            Some(libc::ESRCH) => Err(Gone),
            _ => in_registers(),
        };
    }
    // SAFETY: zeroed, and partly written by the kernel; all bit patterns are valid.
    let info = unsafe { info.assume_init() };
    let d = info.data;
    match info.op {
        SYSCALL_INFO_EXIT => Ok(Boundary::Exit {
            ret: d[0].cast_signed(),
        }),
        op @ (SYSCALL_INFO_ENTRY | SYSCALL_INFO_SECCOMP) => Ok(Boundary::Entry(EnteredCall {
            arch: info.arch,
            nr: d[0],
            args: [d[1], d[2], d[3], d[4], d[5], d[6]],
            filter_data: (op == SYSCALL_INFO_SECCOMP).then_some(d[7] as u16),
        })),
        // the kernel names no call: the members of the union are not set
        _ => in_registers(),
    }
}
