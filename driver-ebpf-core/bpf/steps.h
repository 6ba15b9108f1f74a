/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The loop over the components of a path, on the way of every call that opens. Most verifiers follow each of its steps
 * in turn, which was most of what loading cost. From Linux 6.9 on (MAY_GOTO: an object for such kernels alone) a loop
 * may hold an instruction that could end it at any time (bpf_may_goto, kernel/bpf/verifier.c), and the verifier follows
 * a step once, if the next begins with nothing that was not known before. So the count begins with a 0 out of memory,
 * of which it knows nothing, and no step asks which one it is.
 */
#ifndef LANNER_STEPS_H
#define LANNER_STEPS_H

#ifdef MAY_GOTO
/* BPF_JMP | BPF_JCOND, in bytes, as older compilers have no name for it: as good as never taken. */
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
#define IS_FIRST(i, done) (!(done))
#else
/* At most so many steps; `zero` is a 0 that was just written to memory. */
#define STEPS(i, zero, most) for (int i = 0; i < (most); i++)
/* Whether a step is the first that has something to do. */
#define IS_FIRST(i, done) ((i) == 0)
#endif

#endif
