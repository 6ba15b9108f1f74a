//! Raw system calls, without a library: every register is known.

use std::arch::asm;

use driver_api::event::Abi;
#[cfg(target_arch = "x86_64")]
use driver_api::table::X32_BIT;

/// Makes a call and returns what the kernel left in the return register.
///
/// # Safety
///
/// The caller is responsible for what the call does to this process.
#[cfg(target_arch = "x86_64")]
pub(crate) unsafe fn call(abi: Abi, nr: u32, args: &[u64; 6]) -> i64 {
    match abi {
        Abi::I386 => {
            let narrow = args.map(|arg| arg as u32);
            let ret: i64;
            // SAFETY: the registers that the compiler reserves are restored; the caller is responsible for memory.
            unsafe {
                asm!(
                    "push rbx", "push rbp",
                    "mov ebx, [r15]", "mov ecx, [r15 + 4]", "mov edx, [r15 + 8]",
                    "mov esi, [r15 + 12]", "mov edi, [r15 + 16]", "mov ebp, [r15 + 20]",
                    "int 0x80",
                    "pop rbp", "pop rbx",
                    inout("rax") u64::from(nr) => ret, in("r15") narrow.as_ptr(),
                    out("rcx") _, out("rdx") _, out("rsi") _, out("rdi") _,
                    out("r8") _, out("r9") _, out("r10") _, out("r11") _,
                );
            }
            ret
        }
        _ => {
            let nr = if abi == Abi::X32 { nr | X32_BIT } else { nr };
            let ret: i64;
            // SAFETY: as above.
            unsafe {
                asm!(
                    "syscall",
                    inout("rax") u64::from(nr) => ret,
                    in("rdi") args[0], in("rsi") args[1], in("rdx") args[2],
                    in("r10") args[3], in("r8") args[4], in("r9") args[5],
                    out("rcx") _, out("r11") _,
                );
            }
            ret
        }
    }
}

/// Makes a call that may return twice. The child ends at once with the status 0, inside this function:
/// it may share our stack.
///
/// # Safety
///
/// As for [`call`].
#[cfg(target_arch = "x86_64")]
pub(crate) unsafe fn birth(abi: Abi, nr: u32, args: &[u64; 6]) -> i64 {
    let ret: i64;
    if abi == Abi::I386 {
        let narrow = args.map(|arg| arg as u32);
        // SAFETY: as in `call`; the child touches nothing before it ends, not even the stack.
        unsafe {
            asm!(
                "mov r12, rbx", "mov r13, rbp",
                "mov ebx, [r15]", "mov ecx, [r15 + 4]", "mov edx, [r15 + 8]",
                "mov esi, [r15 + 12]", "mov edi, [r15 + 16]", "mov ebp, [r15 + 20]",
                "int 0x80",
                "mov rbx, r12", "mov rbp, r13",
                "test rax, rax", "jnz 2f",
                "xor edi, edi", "mov eax, 231", "syscall",
                "2:",
                inout("rax") u64::from(nr) => ret, in("r15") narrow.as_ptr(),
                out("r12") _, out("r13") _,
                out("rcx") _, out("rdx") _, out("rsi") _, out("rdi") _,
                out("r8") _, out("r9") _, out("r10") _, out("r11") _,
            );
        }
    } else {
        // SAFETY: as above.
        unsafe {
            asm!(
                "syscall",
                "test rax, rax", "jnz 2f",
                "xor edi, edi", "mov eax, 231", "syscall",
                "2:",
                inout("rax") u64::from(nr) => ret,
                inout("rdi") args[0] => _, in("rsi") args[1], in("rdx") args[2],
                in("r10") args[3], in("r8") args[4], in("r9") args[5],
                out("rcx") _, out("r11") _,
            );
        }
    }
    ret
}

/// As above.
///
/// # Safety
///
/// The caller is responsible for what the call does to this process.
#[cfg(target_arch = "aarch64")]
pub(crate) unsafe fn call(_: Abi, nr: u32, args: &[u64; 6]) -> i64 {
    let ret: i64;
    // SAFETY: the kernel changes only the first register; the caller is responsible for memory.
    unsafe {
        asm!(
            "svc 0",
            in("x8") u64::from(nr), inlateout("x0") args[0] => ret,
            in("x1") args[1], in("x2") args[2], in("x3") args[3], in("x4") args[4], in("x5") args[5],
        );
    }
    ret
}

/// As above.
///
/// # Safety
///
/// As for [`call`].
#[cfg(target_arch = "aarch64")]
pub(crate) unsafe fn birth(_: Abi, nr: u32, args: &[u64; 6]) -> i64 {
    let ret: i64;
    // SAFETY: as in `call`; the child touches nothing before it ends, by exit_group(0).
    unsafe {
        asm!(
            "svc 0",
            "cbnz x0, 2f",
            "mov x8, #94", "svc 0",
            "2:",
            inlateout("x8") u64::from(nr) => _, inlateout("x0") args[0] => ret,
            in("x1") args[1], in("x2") args[2], in("x3") args[3], in("x4") args[4], in("x5") args[5],
        );
    }
    ret
}

/// The first argument of the call that precedes each call of the script.
pub(crate) const MARK: u64 = 0x6c61_6e6e;

/// Announces the next call of the script by `ioprio_get(MARK, case, step)`, which fails.
pub(crate) fn mark(case: usize, step: usize) {
    // SAFETY: ioprio_get(2) of a kind that does not exist has no effect.
    unsafe {
        let marked = [MARK, case as u64, step as u64, 0, 0, 0];
        call(Abi::NATIVE, libc::SYS_ioprio_get as u32, &marked);
    }
}
