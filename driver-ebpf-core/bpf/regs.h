/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Number, ABI and arguments of a call, from the saved registers. GET reads a field: PLAIN where the verifier knows the
 * type of the pointer, else FOLLOW.
 */
#ifndef LANNER_REGS_H
#define LANNER_REGS_H

#ifdef NO_TYPES
#define PLAIN(ptr, field) READ_FIELD((struct pt_regs *)(ptr), field)
#else
#define PLAIN(ptr, field) ((ptr)->field)
#endif

#if defined(__TARGET_ARCH_x86)

#define NR_OF(GET, regs) GET(regs, orig_ax)

/* Bit 1 of the status is TS_COMPAT (arch/x86/include/asm/thread_info.h): a 32-bit call. */
#define ABI_OF(GET, regs, task, nr)                                                                                    \
	(KNOWN(task, thread_info.status) & 2 ? LANNER_ABI_I386 : (nr)&0x40000000 ? LANNER_ABI_X32 : LANNER_ABI_X86_64)

#define IS_NEW_PROGRAM(regs, abi, nr, ret) 0

#define READ_ARGS(GET, regs, abi, args)                                                                                \
	do {                                                                                                           \
		if ((abi) == LANNER_ABI_I386) {                                                                        \
			(args)[0] = (__u32)GET(regs, bx), (args)[1] = (__u32)GET(regs, cx);                            \
			(args)[2] = (__u32)GET(regs, dx), (args)[3] = (__u32)GET(regs, si);                            \
			(args)[4] = (__u32)GET(regs, di), (args)[5] = (__u32)GET(regs, bp);                            \
		} else {                                                                                               \
			(args)[0] = GET(regs, di), (args)[1] = GET(regs, si), (args)[2] = GET(regs, dx);               \
			(args)[3] = GET(regs, r10), (args)[4] = GET(regs, r8), (args)[5] = GET(regs, r9);              \
		}                                                                                                      \
	} while (0)

#elif defined(__TARGET_ARCH_arm64)

#define NR_OF(GET, regs) ((__u32)GET(regs, syscallno))

/* On arm64 a program has one ABI until its next exec. */
#define ABI_OF(GET, regs, task, nr) (PSTATE_COMPAT(GET(regs, pstate)) ? LANNER_ABI_ARM : LANNER_ABI_AARCH64)

#define IS_NEW_PROGRAM(regs, abi, nr, ret)                                                                             \
	NEW_PROGRAM(PLAIN(regs, orig_x0), PLAIN(regs, regs[1]),                                                        \
		    (abi) == LANNER_ABI_ARM ? PLAIN(regs, regs[7]) : PLAIN(regs, regs[8]), nr, ret)

#define READ_ARGS(GET, regs, abi, args)                                                                                \
	do {                                                                                                           \
		__u64 mask_ = (abi) == LANNER_ABI_ARM ? 0xffffffffull : ~0ull;                                         \
                                                                                                                       \
		(args)[0] = GET(regs, orig_x0) & mask_, (args)[1] = GET(regs, regs[1]) & mask_;                        \
		(args)[2] = GET(regs, regs[2]) & mask_, (args)[3] = GET(regs, regs[3]) & mask_;                        \
		(args)[4] = GET(regs, regs[4]) & mask_, (args)[5] = GET(regs, regs[5]) & mask_;                        \
	} while (0)

#endif

#endif
