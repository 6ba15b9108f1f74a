/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Operations that gather bytes from several places: vectors of iovecs, messages. */
#ifndef LANNER_VECTORS_H
#define LANNER_VECTORS_H

#include "bytes.h"
#include "room.h"

/* Reads a struct iovec (readv(2)). `small`: see narrow. For `at`, see read_word. */
static __always_inline long read_iovec(__u64 small, __u64 at, __u64 *base, __u64 *len)
{
	__u64 pair[2] = {};
	long error = READ_USER(pair, SIZED(16 - 8 * small, 15), (void *)at);

	*base = pair[0] & (~0ULL >> (32 * small));
	*len = (pair[0] >> 32) * small + pair[1] * (1 - small);
	return error;
}

/* The most entries of a vector that are read. The bytes of later entries count as not captured. */
#ifndef IOVECS
#define IOVECS 16
#endif

/* A vector, and how it is gathered. */
struct gather {
	__u64 ptr;
	__u32 limit;	 /* capture at most this many bytes */
	__u16 entries;	 /* read at most this many entries */
	__u16 unit;	 /* 0: entries are struct iovec; else they are pointers to this many bytes each */
	__u64 count;	 /* entries of the vector */
	__s64 most;	 /* bytes of data, as the kernel says: it can say more than there is room for; negative: all */
	__u8 received;	 /* the kernel has written it */
	__u8 what, part; /* names the attachment */
};

/* The most bytes of an address in a message. */
#define NAME_LIMIT 128

/* How an operation of a plan gathers. */
static __always_inline struct gather gathering(const struct lanner_op *op, __u64 ptr, __u64 count, __s64 most)
{
	struct gather g = {
	    .ptr = ptr,
	    .what = op->what,
	    .limit = op->limit,
	    .entries = op->entries,
	    .unit = op->unit,
	    .count = count,
	    .most = most,
	    .received = op->when == LANNER_WHEN_SUCCESS,
	};

	return g;
}

/* Reads the address and the length of entry `at` of a vector. */
static __always_inline long read_entry(__u64 small, __u16 unit, __u64 ptr, __u32 at, __u64 *base, __u64 *len)
{
	__u64 word = 8 - 4 * small;

	if (unit) {
		*len = unit;
		*base = 0;
		return READ_USER(base, SIZED(word, 7), (void *)(ptr + at * word));
	}
	return read_iovec(small, ptr + at * 2 * word, base, len);
}

/*
 * What the loop over a vector compares with, and what is needed after it. It is kept in memory, behind the data: see
 * struct out for why. Registers are scarce in the loop.
 */
struct vector_loop {
	__u64 ptr, count, limit, small;
	__s64 most;
	__u16 entries, unit;
	__u8 what, part;
};

static __always_inline void begin_vector(const struct out *o, const struct gather *g, __u32 limit, __u8 *at,
					 volatile struct vector_loop *to)
{
	begin_loop(at);
	to->ptr = (__u64)USER(g->ptr);
	to->count = g->ptr ? g->count : 0;
	to->limit = limit;
	to->small = narrow(o);
	to->most = g->most;
	to->entries = g->entries;
	to->unit = g->unit;
	to->what = g->what;
	to->part = g->part;
	if (to->count > IOVECS)
		STATUS(at) = LANNER_TRUNCATED;
}

/* The bytes that a vector points to, one entry after another. */
static __always_inline int op_iov_inline(const struct out *o, const struct gather *g)
{
	__u32 limit = g->limit;
	__u32 half = o->chunk / 2;
	volatile struct vector_loop *to;
	__u8 *at;

	if (!g->ptr && g->most <= 0)
		return 0;
	at = begin_attachment(o);
	if (!at)
		return 0;
	if (limit > half) {
		incomplete(o);
		limit = half;
	}
	to = (void *)(at + HEAD + half);
	begin_vector(o, g, limit, at, to);
#ifdef UNROLL_LOOPS
#pragma unroll
#endif
	STEPS(i, DONE(at), IOVECS)
	{
		__u64 base, len, total = TOTAL(at), done = DONE(at), room, take;
		void *from;
		__u8 *into;
		__s64 cap = to->most;

		if (i >= to->count)
			break;
		if (i >= to->entries) {
			STATUS(at) = LANNER_TRUNCATED;
			break;
		}
		if (read_entry(to->small & 1, to->unit, to->ptr, i, &base, &len) != 0) {
			STATUS(at) = LANNER_FAULT;
			break;
		}
		if (cap >= 0 && total + len > cap)
			len = cap - total;
		TOTAL(at) = total + len;
		if (!len)
			continue;
		room = to->limit - done;
		take = len;
		if (len > room) {
			STATUS(at) = LANNER_TRUNCATED;
			take = room;
		}
		if (!take)
			continue;
		from = USER(base);
		OPAQUE(from);
		OPAQUE(done);
		if (done > half)
			continue;
		OPAQUE(done); /* keeps the sum behind the comparison and close to it: old verifiers forget bounds */
		into = at + HEAD;
		ADVANCE(into, done, HALF_MASK);
		OPAQUE(into);
		if (!WITHIN(take, half))
			continue;
		if (READ_USER(into, SIZED(take, HALF_MASK), from) != 0) {
			STATUS(at) = LANNER_FAULT;
			break;
		}
		DONE(at) = done + take;
	}
	finish_attachment(o, at, to->what, to->part, STATUS(at), LANNER_RAW, DONE(at),
			  to->most >= 0 ? to->most : TOTAL(at));
	return 0;
}

PART(op_iov, const struct gather)

/* Names a part of message `index` of an array. */
#define PART_OF(index, part) ((index) << 2 | (part))

/* A struct msghdr (recvmsg(2)): its name, its data, its control messages. `index`: its place in an array, or 0. */
static __always_inline void op_msg(const struct out *o, __u8 index, struct gather *g)
{
	__u64 name, iov, iovs, control, control_len, size, m[8] = {}; /* 6 words, and room for what SIZED could add */
	__u64 name_room = NAME_LIMIT, ptr = g->ptr;
	__u8 what = g->what;
	__s32 name_len;

	if (!ptr)
		return;
	size = 6 * word_size(o);
	if (!WITHIN(size, sizeof(m)) || READ_USER(m, SIZED(size, sizeof(m) - 1), USER(ptr)) != 0)
		goto fault;
	if (narrow(o)) {
		name = (__u32)m[0], name_len = m[0] >> 32, iov = (__u32)m[1], iovs = m[1] >> 32;
		control = (__u32)m[2], control_len = m[2] >> 32;
	} else {
		name = m[0], name_len = m[1], iov = m[2], iovs = m[3], control = m[4], control_len = m[5];
	}
	if (g->received && name && name_len > 0) {
		/* the number of the first message of the array, behind msg_name */
		name_room = room_at(o, ptr - index * MMSGHDR(word_size(o)) + word_size(o), index);
		if (name_room > NAME_LIMIT)
			name_room = NAME_LIMIT;
	}
	take_bytes(o, what, PART_OF(index, LANNER_PART_NAME), name_room, name_len > 0 ? name : 0, name_len, 0);
	g->ptr = iov;
	g->count = iovs;
	g->part = PART_OF(index, LANNER_PART_DATA);
	op_iov(o, g);
	take_bytes(o, what, PART_OF(index, LANNER_PART_CONTROL), 256, control_len ? control : 0, control_len, 0);
	return;
fault:;
	__u8 *at = begin_attachment(o);

	if (at)
		finish_attachment(o, at, what, PART_OF(index, LANNER_PART_DATA), LANNER_FAULT, LANNER_RAW, 0, 0);
}

/* Message `index` of an array of struct mmsghdr (recvmmsg(2)): a struct msghdr and the length of its data. */
static __always_inline void op_mmsg_one(const struct out *o, const struct lanner_op *op, __u32 index)
{
	__u64 ptr = arg_at(o, op->arg) + index * 8 * word_size(o);
	struct gather g = gathering(op, ptr, 0, -1);
	__u32 len = 0;

	if (o->event->ret >= 0 && READ_USER(&len, sizeof(len), USER(ptr + 7 * word_size(o))) == 0)
		g.most = len;
	op_msg(o, index, &g);
}

/* Whether message `index` of an array is to be captured: it was sent or received. */
static __always_inline int mmsg_due(const struct out *o, const struct lanner_op *op, __u32 index)
{
	__s64 count = o->event->ret >= 0 ? o->event->ret : (__s64)(__u32)arg_at(o, op->len_arg);

	return arg_at(o, op->arg) && index < op->entries && index < count;
}

#endif
