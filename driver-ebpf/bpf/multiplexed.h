/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Calls that 32-bit x86 programs make through another one: socketcall(2) and ipc(2) (driver-api/multiplexed.tbl). An
 * event is delivered as the call that the program means, with the registers that this call would have. Drivers define a
 * hash map `multiplexed` from keys to struct lanner_multiplexed, and the map `plans`.
 */
#ifndef LANNER_MULTIPLEXED_H
#define LANNER_MULTIPLEXED_H

#include "attachment.h"

/* The call that is meant by call `nr` with this first register. NULL: none. */
static __always_inline const struct lanner_multiplexed *meant(__u64 nr, __u64 first)
{
	__u32 key = nr << 24 | (first & 0xffff) | (__u32) !!(first & 0xffff0000) << 16;

	return bpf_map_lookup_elem(&multiplexed, &key);
}

/* The index in `plans` of the plan of a call that is meant. */
static __always_inline __u32 plan_of_meant(const struct lanner_multiplexed *call)
{
	return 2 * LANNER_PLAN_NRS + call->plan;
}

/*
 * Makes the event, which has no attachments yet, one of the call that is meant. 0: its arguments cannot be read. The
 * sources lie in memory behind the event, where old verifiers accept an index that they do not know.
 */
static __always_inline int become_meant(const struct out *o, const struct lanner_multiplexed *call)
{
	volatile __u64 *sources = (void *)((__u8 *)o->event + sizeof(struct lanner_event));
	__u64 size = 4 * call->words;
	__u32 words[8] = {}; /* 6, and room for what SIZED could add */
	void *from;

	from = USER(arg_at(o, call->base));
	OPAQUE(from);
	if (WITHIN(size, 24) && READ_USER(words, SIZED(size, 31), from) != 0)
		return 0;
#pragma unroll
	for (int i = 0; i < 6; i++) {
		sources[i] = o->event->args[i];
		sources[6 + i] = words[i];
	}
#pragma unroll
	for (int i = 0; i < 6; i++) {
		__u64 at = call->sources[i];

		OPAQUE(at);
		o->event->args[i] = at < 12 ? sources[at] : 0;
	}
	o->event->nr = call->nr;
	return 1;
}

#endif
