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

#endif
