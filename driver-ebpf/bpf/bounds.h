/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Bounds that every verifier sees. */
#ifndef LANNER_BOUNDS_H
#define LANNER_BOUNDS_H

/*
 * Makes the compiler forget what it knows of a variable, so that the comparison that follows is made
 * on the very register that is then used: that is all the verifier sees of a bound. Sizes are 64 bits
 * wide for the same reason: narrowing one costs old verifiers its bounds.
 */
#define OPAQUE(var) asm volatile("" : "+r"(var))

/*
 * Whether a size is from 1 to `most`. Verifiers before 4.15 refuse a size that could be 0, and learn
 * nothing from "not 0", only from "more than 0" with a sign; and of two comparisons side by side the
 * compiler would make one, of a difference.
 */
#define WITHIN(var, most)                                                                                              \
	(({                                                                                                            \
		 OPAQUE(var);                                                                                          \
		 1;                                                                                                    \
	 }) &&                                                                                                         \
	 (__s64)(var) > 0 && ({                                                                                        \
		 OPAQUE(var);                                                                                          \
		 1;                                                                                                    \
	 }) &&                                                                                                         \
	 (var) <= (most))

/*
 * Bounds that no verifier can miss. Before 5.16 one forgets what it knows of a number that the compiler keeps on the
 * stack for a while, and where it keeps one it decides anew with every change of a program. So the bound and its use
 * are one piece here: the mask changes no value that the checks before have let pass.
 *
 * ADVANCE: a pointer moves by 0 to `mask`. SIZED: a size is 1 to `mask` + 1, immediately before the call that takes it.
 * The memory has to be large enough for the masks. Where it is not (core, which has newer verifiers), FIXED_BOUNDS is
 * not defined, and the checks alone bound.
 */
#ifdef FIXED_BOUNDS
#define ADVANCE(pointer, by, mask)                                                                                     \
	({                                                                                                             \
		__u64 by_ = (by);                                                                                      \
		asm volatile("%1 &= %2\n\t%0 += %1" : "+r"(pointer), "+r"(by_) : "i"(mask));                           \
	})
#define SIZED(size, mask)                                                                                              \
	({                                                                                                             \
		__u64 size_ = (size);                                                                                  \
		asm volatile("%0 += -1\n\t%0 &= %1\n\t%0 += 1" : "+r"(size_) : "i"(mask));                             \
		size_;                                                                                                 \
	})
#else
#define ADVANCE(pointer, by, mask) ((pointer) += (by))
#define SIZED(size, mask) (size)
#endif

#endif
