/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What differs from architecture to architecture and is no struct of the kernel's: ABIs, how a number shows its
 * own, which addresses are a program's.
 */
#ifndef LANNER_ARCH_H
#define LANNER_ARCH_H

#if defined(__TARGET_ARCH_x86)

#define ABI_NATIVE LANNER_ABI_X86_64
#define ABI_COMPAT LANNER_ABI_I386
/* A number without what marks it as x32. */
#define PLAIN_NR(nr) ((__u32)(nr) & ~0x40000000u)
#define USER_BITS 56

#elif defined(__TARGET_ARCH_arm64)

#define ABI_NATIVE LANNER_ABI_AARCH64
#define ABI_COMPAT LANNER_ABI_ARM
#define PLAIN_NR(nr) ((__u32)(nr))
/* The highest byte of a program's address is its own (Documentation/arch/arm64/tagged-pointers.rst). */
#define USER_BITS 55
#define USER_TAGS

/* Of a saved pstate: from a 32-bit program (compat_user_mode() in arch/arm64/include/asm/ptrace.h). */
#define PSTATE_COMPAT(pstate) (((pstate)&0x1f) == 0x10)

/*
 * Whether a call that returns is an exec that has succeeded: the number is that of the old program's ABI, and all
 * registers are the new program's, zero (start_thread_common() in arch/arm64/include/asm/processor.h). `number`:
 * the register that a call's number comes in, which every other call leaves as it is.
 */
#define NEW_PROGRAM(arg0, arg1, number, nr, ret) (!(ret) && !(arg0) && !(arg1) && !(number) && (nr))

#else
#error "an architecture that the programs do not know"
#endif

#endif
