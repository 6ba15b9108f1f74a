/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The operation on an array of pointers to strings: the arguments and the environment of exec. */
#ifndef LANNER_STRING_ARRAYS_H
#define LANNER_STRING_ARRAYS_H

#include "bytes.h"

/* The entries of an array that one run reads. */
#ifndef STRINGS
#define STRINGS 128
#endif

/* What a run over an array compares with. It is kept behind the data, as in op_iov. */
struct strings {
	__u64 ptr, limit;
};

static __always_inline volatile struct strings *strings_at(const struct out *o, __u8 *at)
{
	return (void *)(at + HEAD + o->chunk / 2);
}

/* Captures the string of entry `i` of a run. 1: the run ends here. */
static __always_inline int strv_one(const struct out *o, __u8 *at, __u32 i)
{
	volatile struct strings *from = strings_at(o, at);
	__u64 have = DONE(at), room = from->limit - have;
	__u32 half = o->chunk / 2;
	__u8 *into = at + HEAD;
	__u64 string;
	void *text;
	long n;

	if (read_word(o, from->ptr + i * word_size(o), &string) != 0) {
		STATUS(at) = LANNER_FAULT;
		return 1;
	}
	if (!string)
		return 1;
	if (!room) {
		STATUS(at) = LANNER_TRUNCATED;
		return 1;
	}
	text = USER(string);
	OPAQUE(text);
	OPAQUE(have);
	if (have > half)
		return 1;
	OPAQUE(have);
	if (!WITHIN(room, half))
		return 1;
	ADVANCE(into, have, HALF_MASK);
	n = READ_USER_STR(into, SIZED(room, HALF_MASK), text);
	if (n == -EFAULT) {
		STATUS(at) = LANNER_FAULT;
		return 1;
	}
	if (n == 0) {
		/* an empty string, whose NUL Linux 5.10 does not count */
		*into = 0;
		n = 1;
	}
	if (n <= 0)
		return 1;
	DONE(at) = have + n;
	if (n >= (long)room) {
		/* either cut off, or an exact fit with no room behind it */
		STATUS(at) = LANNER_TRUNCATED;
		return 1;
	}
	return 0;
}

#ifdef STRINGS_LOOP
#include "loop.h"
#endif

/*
 * Captures up to STRINGS strings of an array of pointers that ends with NULL, beginning with entry `first`. It writes
 * them one after another, each with its NUL, behind those that are captured already. 1: there are more.
 */
static __always_inline int strv_run(const struct out *o, __u8 *at, __u32 first, __u32 limit, __u64 ptr)
{
	volatile struct strings *from = strings_at(o, at);
	__u32 half = o->chunk / 2;

	from->ptr = (__u64)USER(ptr + first * word_size(o));
	from->limit = limit > half ? half : limit;
#ifdef STRINGS_LOOP
	if (HAVE_LOOP)
		return strings_loop(o, at);
#endif
#ifdef UNROLL_LOOPS
#pragma unroll
#endif
	for (__u32 i = 0; i < STRINGS; i++) {
		if (strv_one(o, at, i))
			return 0;
	}
	return 1;
}

/* All strings of an array of pointers that one run captures. */
static __always_inline void op_strv(const struct out *o, __u8 what, __u32 limit, __u64 ptr)
{
	__u8 *at;

	if (!ptr)
		return;
	at = begin_attachment(o);
	if (!at)
		return;
	begin_loop(at);
	if (strv_run(o, at, 0, limit, ptr))
		STATUS(at) = LANNER_TRUNCATED;
	finish_attachment(o, at, what, 0, STATUS(at), LANNER_STRINGS, DONE(at), 0);
}

#endif
