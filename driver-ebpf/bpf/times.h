/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How long calls take, where that is asked for. A program at the entry of calls keeps the time in the map `timed` by
 * thread id. The return of the same call makes the difference of it, and each entry counts once: if an entry was
 * missed, the time of its call is not known, whatever is left in the map.
 */
#ifndef LANNER_TIMES_H
#define LANNER_TIMES_H

#include "attachment.h"

#define TIME_UNKNOWN (~0ull)
/* Bytes that the fact takes in an event. */
#define TOOK_ROOM (HEAD + 8)

/* A call was entered. */
static __always_inline void time_entry(__u32 tid, __u32 nr)
{
	struct timed_call *call = bpf_map_lookup_elem(&timed, &tid);
	__u64 now = bpf_ktime_get_ns();

	if (call) {
		call->nr = nr;
		call->entered = now;
	} else {
		struct timed_call first = {.entered = now, .took = TIME_UNKNOWN, .nr = nr};

		bpf_map_update_elem(&timed, &tid, &first, BPF_ANY);
	}
}

/*
 * A call has returned. An entry from before `since` does not count: the calls that are selected were others, and so
 * returns may have been missed.
 */
static __always_inline void time_return(__u32 tid, __u32 nr, __u64 since, __u64 now)
{
	struct timed_call *call = bpf_map_lookup_elem(&timed, &tid);

	if (!call)
		return;
	call->took = call->entered > since && call->nr == nr ? now - call->entered : TIME_UNKNOWN;
	call->entered = 0;
}

/* Adds to the event how long the thread's call took that has returned, if that is known. */
static __always_inline void say_took(const struct out *o, __u32 tid)
{
	const struct timed_call *call = bpf_map_lookup_elem(&timed, &tid);
	__u8 *at;

	if (!call || call->took == TIME_UNKNOWN)
		return;
	at = begin_attachment(o);
	if (!at)
		return;
	*(__u64 *)(at + HEAD) = call->took;
	finish_attachment(o, at, LANNER_FACT_TOOK, 0, LANNER_WHOLE, LANNER_RAW, sizeof(call->took), sizeof(call->took));
}

#endif
