/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Bounds that every verifier recognizes. */
#ifndef LANNER_BOUNDS_H
#define LANNER_BOUNDS_H

/*
 * Makes the compiler forget what it knows of a variable, so that it compares the very register that it then uses. The
 * verifier recognizes a bound only there. Sizes are 64 bits wide for the same reason: old verifiers forget the bounds
 * of a number that is narrowed.
 */
#define OPAQUE(var) asm volatile("" : "+r"(var))

/*
 * Whether a size is from 1 to `most`. Verifiers before 4.15 refuse a size that could be 0. They learn nothing from a
 * comparison with "not 0", only from a signed "more than 0". The compiler would merge two adjacent comparisons into one
 * of a difference, which OPAQUE prevents.
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
 * Bounds that no verifier misses. Before 5.16 a verifier forgets what it knows of a number that the compiler spills to
 * the stack, and what the compiler spills changes with every change of a program. So here the bound and its use are one
 * piece. The mask changes no value that the checks before it let pass.
 *
 * ADVANCE moves a pointer by 0 to `mask`. SIZED limits a size to 1 to `mask` + 1, immediately before the call that
 * takes it. The memory must be large enough for the masks. Where it is not (the core driver, which has newer
 * verifiers), FIXED_BOUNDS is not defined, and only the checks bound.
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
