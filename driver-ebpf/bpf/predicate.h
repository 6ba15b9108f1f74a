/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Whether the event of a call is wanted: what the rules and the state say of its result and its arguments. */
#ifndef LANNER_PREDICATE_H
#define LANNER_PREDICATE_H

/* Whether a result is an error (IS_ERR_VALUE in include/linux/err.h). */
static __always_inline int is_error(__s64 ret) { return (__u64)ret >= (__u64)-4095; }

/* Whether the result rules the event out. */
static __always_inline int rejects_result(__u8 flags, __s64 ret)
{
	return flags & LANNER_PLAN_OK_ONLY && is_error(ret);
}

/*
 * Whether a register passes a test. The mask is 0 at all other registers, so that no index has to be read, which old
 * verifiers could not follow.
 */
static __always_inline int passes(const struct lanner_register_test *test, const __u64 *args)
{
	__u64 bits = 0;

#pragma unroll
	for (int i = 0; i < 6; i++)
		bits |= args[i] & test->mask[i];
	return (bits == test->value) == (test->equal == 1);
}

/* Whether the registers fulfil a condition. */
static __always_inline int fulfils(const struct lanner_condition *condition, const __u64 *args, __s64 ret)
{
#pragma unroll
	for (int i = 0; i < LANNER_CLAUSES; i++) {
		const struct lanner_alternative *one = &condition->alternative[i];

		if (one->outcome > (__u64)is_error(ret) && passes(&one->test[0], args) && passes(&one->test[1], args))
			return 1;
	}
	return 0;
}

#endif
