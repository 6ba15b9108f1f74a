/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Whether the event of a call is wanted: what the rules and the state say of its result and its arguments. */
#ifndef LANNER_PREDICATE_H
#define LANNER_PREDICATE_H

/*
 * How a call ended that returned `ret`: one of LANNER_OUTCOME_*. The verifier is to learn nothing about `ret` from it,
 * as it would follow the rest of the program for each range.
 */
static __always_inline __u64 outcome_of(__s64 ret)
{
	__u64 error = -(__u64)ret;

	asm volatile("" : "+r"(error));
	/* IS_ERR_VALUE in include/linux/err.h */
	if (error - 1 >= 4095)
		return LANNER_OUTCOME_OK;
	if (error == ENOENT)
		return LANNER_OUTCOME_NOT_FOUND;
	if (error == EPERM || error == EACCES || error == EROFS)
		return LANNER_OUTCOME_REFUSED;
	if (error == EINPROGRESS)
		return LANNER_OUTCOME_BEGUN;
	return LANNER_OUTCOME_OTHER_ERROR;
}

/* Whether the result rules the event out. `rejected` is that of a plan. */
static __always_inline int rejects_result(__u8 rejected, __s64 ret) { return rejected && rejected & outcome_of(ret); }

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
	__u64 outcome = outcome_of(ret);

#pragma unroll
	for (int i = 0; i < LANNER_CLAUSES; i++) {
		const struct lanner_alternative *one = &condition->alternative[i];

		if (one->outcome & outcome && passes(&one->test[0], args) && passes(&one->test[1], args))
			return 1;
	}
	return 0;
}

#endif
