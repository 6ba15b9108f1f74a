/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Operations on one piece of the program's memory: a string, bytes, strings in a row. */
#ifndef LANNER_BYTES_H
#define LANNER_BYTES_H

#include "attachment.h"

/* A NUL-terminated string of at most `limit` bytes. */
static __always_inline void op_str(const struct out *o, __u8 what, __u32 limit, __u64 ptr)
{
	__u8 status = LANNER_WHOLE;
	__u64 room = (__u64)limit + 2; /* in 64 bits, so that the verifier sees that it is never 0 */
	__u32 len = 0;
	void *from;
	__u8 *at;
	long n;

	if (!ptr)
		return;
	at = begin_attachment(o);
	if (!at)
		return;
	from = USER(ptr);
	OPAQUE(from);
	OPAQUE(room);
	if (room > o->chunk)
		room = o->chunk;
	n = READ_USER_STR(at + HEAD, SIZED(room, CHUNK_MASK), from);
	if (n == -EFAULT) {
		/* all that the limit allows can be there, and nothing behind it: a path of 4096 bytes without an end */
		status = LANNER_FAULT;
		room = limit;
		OPAQUE(room); /* what is compared is what is used, so that verifiers before 5.11 see the bound */
		if (room <= o->chunk && READ_USER(at + HEAD, SIZED(room, CHUNK_MASK), from) == 0) {
			len = limit;
			status = LANNER_TRUNCATED;
		}
	} else if (n > 0) {
		len = n - 1;
		if (len > limit) {
			len = limit;
			status = LANNER_TRUNCATED;
		} else if (n >= (long)room) {
			/* the string exceeds the chunk, not the limit */
			incomplete(o);
			status = LANNER_TRUNCATED;
		}
	}
	finish_attachment(o, at, what, 0, status, LANNER_RAW, len, 0);
}

/* The size of the smallest pages. */
#define PAGE 4096

/*
 * `len` bytes; at most `limit` of them are captured. `first_page` is a constant: 1: if the end is not mapped, what is
 * on the first page is captured. Programs that capture several pieces have no room for that on old kernels.
 */
static __always_inline void take_bytes(const struct out *o, __u8 what, __u8 part, __u32 limit, __u64 ptr, __u64 len,
				       int first_page)
{
	__u8 status = LANNER_TRUNCATED;
	__u64 take = limit;
	void *from;
	__u8 *at;

	if (!ptr)
		return;
	at = begin_attachment(o);
	if (!at)
		return;
	/* what the verifier knows of them is forgotten, so that it follows what comes once */
	DONE(at) = limit;
	TOTAL(at) = len;
	take = DONE(at);
	len = TOTAL(at);
	if (len <= take) {
		take = len;
		status = LANNER_WHOLE;
	}
	from = USER(ptr);
	OPAQUE(from);
	OPAQUE(take);
	if (take > o->chunk) {
		incomplete(o);
		take = o->chunk;
	}
	OPAQUE(take);
	if ((__s64)take > 0 && READ_USER(at + HEAD, SIZED(take, CHUNK_MASK), from) != 0) {
		__u64 first = PAGE - (ptr & (PAGE - 1));

		status = LANNER_FAULT;
		take = first_page && take > first ? first : 0;
		OPAQUE(take);
		if (!first_page || !WITHIN(take, PAGE) || READ_USER(at + HEAD, SIZED(take, CHUNK_MASK), from) != 0)
			take = 0;
	}
	finish_attachment(o, at, what, part, status, LANNER_RAW, take, len);
}

static __always_inline void op_bytes(const struct out *o, __u8 what, __u8 part, __u32 limit, __u64 ptr, __u64 len)
{
	take_bytes(o, what, part, limit, ptr, len, 1);
}

/* Strings one after another: an area of arguments or of environment variables. */
static __always_inline void op_strings(const struct out *o, __u8 what, __u64 start, __s64 len)
{
	__u8 *at = begin_attachment(o);

	if (!at || !start)
		return;
	take_bytes(o, what, 0, 4096, start, len < 0 ? 0 : len, 0);
	((struct lanner_attachment *)at)->encoding = LANNER_STRINGS;
}

/*
 * Reads a word, as wide as a pointer of the program, from the program's memory. `at` is in an array whose beginning has
 * passed USER: the array is too short to reach the kernel's memory, so its entries need no check of their own.
 */
static __always_inline long read_word(const struct out *o, __u64 at, __u64 *word)
{
	*word = 0;
	return READ_USER(word, SIZED(word_size(o), 7), (void *)at);
}

#endif
