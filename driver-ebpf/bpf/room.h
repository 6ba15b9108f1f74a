/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How much room a program has where the kernel writes memory and replaces its length by what there would have been
 * (accept(2), recvmsg(2), getsockopt(2)). It is read when the call is entered, and kept in the map `rooms` until the
 * call returns. No more than that is captured then, nor more than the length at the return.
 */
#ifndef LANNER_ROOM_H
#define LANNER_ROOM_H

#include "attachment.h"
#include "multiplexed.h"

/* The room of a call whose entry was not seen. */
#define ROOM_UNKNOWN 0xffffffffu
/* Bytes of a struct mmsghdr. */
#define MMSGHDR(word) (8 * (word))

/* Value `at` of six. 0: there is none. There is no index, because old verifiers accept none on the stack. */
static __always_inline __u64 pick(const __u64 *values, __u64 at)
{
	__u64 value = 0;

#pragma unroll
	for (int i = 0; i < 6; i++) {
		if (at == i)
			value = values[i];
		OPAQUE(at);
	}
	return value;
}

/* A call that was entered. */
struct entered {
	const __u64 *args;
	const struct lanner_multiplexed *through; /* how the call is made through another one; NULL: it is not */
};

/* A register of a call that was entered. */
static __always_inline __u64 entered_arg(const struct entered *call, __u64 at)
{
	__u64 source = at, base;
	__u32 word = 0;

	if (!call->through)
		return pick(call->args, at);
	source = 255;
#pragma unroll
	for (int i = 0; i < 6; i++) {
		if (at == i)
			source = call->through->sources[i];
		OPAQUE(at);
	}
	if (source < 6)
		return pick(call->args, source);
	base = pick(call->args, call->through->base);
	if (source >= 12 || READ_USER(&word, sizeof(word), USER(base + 4 * (source - 6))) != 0)
		return 0;
	return word;
}

/* Keeps how much room a call has that was entered. `word`: bytes of its pointers. */
static __always_inline void keep_rooms(const struct entered *call, const struct lanner_plan *plan, __u64 word)
{
	__u32 tid = bpf_get_current_pid_tgid();
	__u64 of = 6, before = 0, counted_by = 6, count = 1, from;
	struct seen_rooms seen = {};

#pragma unroll
	for (int i = 0; i < LANNER_PLAN_OPS; i++) {
		const struct lanner_op *op = &plan->op[i];

		if (i >= plan->ops || of < 6)
			continue;
		if (op->code == LANNER_OP_VARIANT && op->entries) {
			of = op->entries - 1;
		} else if (op->when != LANNER_WHEN_SUCCESS) {
			continue;
		} else if (op->code == LANNER_OP_BYTES && op->len_from == LANNER_LEN_U32_AT) {
			of = op->len_arg;
		} else if (op->code == LANNER_OP_MSG || op->code == LANNER_OP_MMSG) {
			of = op->arg;
			before = word; /* msg_name, which msg_namelen follows */
			if (op->code == LANNER_OP_MMSG)
				counted_by = op->len_arg;
		}
	}
	seen.at = entered_arg(call, of);
	if (!seen.at)
		return;
	seen.at += before;
	if (counted_by < 6)
		count = (__u32)entered_arg(call, counted_by);
	from = (__u64)USER(seen.at);
#pragma unroll
	for (int i = 0; i < LANNER_ROOMS; i++) {
		if (i < count &&
		    READ_USER(&seen.room[i], sizeof(seen.room[i]), (void *)(from + i * MMSGHDR(word))) != 0)
			goto unknown;
	}
	if (bpf_map_update_elem(&rooms, &tid, &seen, BPF_ANY) == 0)
		return;
unknown:
	bpf_map_delete_elem(&rooms, &tid);
}

/* The room whose number is at an address, or that of message `index`. Notes in the event that it is known. */
static __always_inline __u64 room_at(const struct out *o, __u64 at, __u64 index)
{
	__u32 tid = bpf_get_current_pid_tgid();
	const struct seen_rooms *seen = bpf_map_lookup_elem(&rooms, &tid);
	const __u8 *room;

	if (!seen || seen->at != at || index >= LANNER_ROOMS)
		return ROOM_UNKNOWN;
	o->event->flags |= LANNER_FLAG_ROOM_SEEN;
	room = (const __u8 *)seen->room;
	OPAQUE(index); /* so that the mask stays, which every verifier understands */
	index = (index & (LANNER_ROOMS - 1)) * sizeof(seen->room[0]);
	ADVANCE(room, index, sizeof(seen->room) - sizeof(seen->room[0]));
	return *(const __u32 *)room;
}

/* Forgets the room of the current thread's call. */
static __always_inline void forget_rooms(void)
{
	__u32 tid = bpf_get_current_pid_tgid();

	bpf_map_delete_elem(&rooms, &tid);
}

#endif
