/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What differs between architectures, apart from the kernel's structs: the ABIs, how a call number shows its ABI, which
 * addresses belong to a program.
 */
#ifndef LANNER_ARCH_H
#define LANNER_ARCH_H

#if defined(__TARGET_ARCH_x86)

#define ABI_NATIVE LANNER_ABI_X86_64
#define ABI_COMPAT LANNER_ABI_I386
/* A call number without the bit that marks x32. */
#define PLAIN_NR(nr) ((__u32)(nr) & ~0x40000000u)
/* Bits of a program's address. */
#define USER_BITS 56

#elif defined(__TARGET_ARCH_arm64)

#define ABI_NATIVE LANNER_ABI_AARCH64
#define ABI_COMPAT LANNER_ABI_ARM
#define PLAIN_NR(nr) ((__u32)(nr))
/* A program may use the highest byte of an address for itself (Documentation/arch/arm64/tagged-pointers.rst). */
#define USER_BITS 55
#define USER_TAGS

/* Whether a saved pstate is that of a 32-bit program (compat_user_mode() in arch/arm64/include/asm/ptrace.h). */
#define PSTATE_COMPAT(pstate) (((pstate)&0x1f) == 0x10)

/*
 * Whether a call that returns is an exec that has succeeded. Then the number is of the old program's ABI, and all
 * registers are zero, because they are the new program's (start_thread_common() in
 * arch/arm64/include/asm/processor.h). `number`: the register that holds a call's number, which other calls keep.
 */
#define NEW_PROGRAM(arg0, arg1, number, nr, ret) (!(ret) && !(arg0) && !(arg1) && !(number) && (nr))

#else
#error "the BPF programs do not support this architecture"
#endif

/*
 * The index in an array by call number: the last one is for all numbers that it has no room for. From 512 on it has the
 * numbers that only x32 has, which carry x32's bit.
 */
static __attribute__((always_inline)) inline __u64 index_of(__u64 nr)
{
	__u64 index = PLAIN_NR(nr);

	if (index >= 512 && !(nr & 0x40000000))
		return LANNER_PLAN_NRS - 1;
	return index < LANNER_PLAN_NRS ? index : LANNER_PLAN_NRS - 1;
}

#endif
