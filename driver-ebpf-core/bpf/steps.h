/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The loops over the components of a path, which run in every call that opens a file, and over vectors. Most verifiers
 * follow each of their steps in turn. From Linux 6.9 (MAY_GOTO: an object of its own) a loop may hold
 * an instruction that could end it at any time (bpf_may_goto, kernel/bpf/verifier.c). Then the verifier follows the
 * body once, if a second step begins in the same state as the first. So the counter begins with a 0 from memory, of
 * which the verifier knows nothing, and the body never compares it with a constant.
 */
#ifndef LANNER_STEPS_H
#define LANNER_STEPS_H

#ifdef MAY_GOTO
/* BPF_JMP | BPF_JCOND as bytes, because older compilers have no name for it. In practice it is never taken. */
#define MAY_END                                                                                                        \
	({                                                                                                             \
		__label__ end, on;                                                                                     \
		int ends = 1;                                                                                          \
		asm volatile goto("1: .byte 0xe5, 0\n\t"                                                               \
				  ".long ((%l[end] - 1b - 8) / 8) & 0xffff\n\t"                                        \
				  ".short 0" :: ::end);                                                                \
		ends = 0;                                                                                              \
		goto on;                                                                                               \
	end:;                                                                                                          \
	on:;                                                                                                           \
		ends;                                                                                                  \
	})
#define STEPS(i, zero, most) for (__u64 i = (zero); i < (most) && !MAY_END; i++)
#endif

#endif
