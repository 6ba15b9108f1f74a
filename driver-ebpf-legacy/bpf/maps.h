/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The maps of the legacy driver, and how programs claim memory in them (more of both is in slot.h). Map definitions are
 * of the old kind (section "maps"): kernels without BTF know no other.
 */
#ifndef LANNER_MAPS_H
#define LANNER_MAPS_H

struct bpf_map_def {
	__u32 type, key_size, value_size, max_entries, map_flags;
};

#define MAP(name, kind, key, value, entries)                                                                           \
	struct bpf_map_def name SEC("maps") = {                                                                        \
	    .type = BPF_MAP_TYPE_##kind,                                                                               \
	    .key_size = key,                                                                                           \
	    .value_size = value,                                                                                       \
	    .max_entries = entries,                                                                                    \
	}

/* Set before anything is attached; settings.rs has the same struct. */
struct settings {
	__u32 self_tgid; /* lanner itself: never captured */
	__u32 execve_nr; /* for an exec whose entry was not seen */
	__u32 tree;	 /* capture only threads in `followed` */
	__u32 late;	 /* entries are looked at as late as the scheduler's tracepoints */
};

#define EXEC_ROOM 16384
#define EXEC_CALLS 256
#define EXEC_TRIES 3

/* What an exec was called with, from its entry until it has succeeded or failed: an event begun. */
struct exec_call {
	__u64 claims;
	__u64 owner; /* thread id */
	struct lanner_event event;
	__u8 rest[EXEC_ROOM - sizeof(struct lanner_event)];
};

MAP(settings, ARRAY, 4, sizeof(struct settings), 1);
MAP(offsets, ARRAY, 4, sizeof(struct offsets), 1);
MAP(events, PERF_EVENT_ARRAY, 4, 4, 0);
MAP(plans, ARRAY, 4, sizeof(struct lanner_plan), 2 * LANNER_PLAN_NRS);
/* Operations of variants by what chooses them. */
MAP(variants, HASH, sizeof(struct lanner_variant_key), sizeof(struct lanner_op), 2048);
/* Thread id to enum follow. */
MAP(followed, HASH, 4, 1, 65536);
/* By cause, and last: outputs that found the perf buffer full, which the buffer counts as well. */
MAP(losses, PERCPU_ARRAY, 4, 8, LANNER_LOSS_CAUSES);
/* Flags of all plans with a number, in either ABI: what most calls need to be looked at. */
MAP(interest, ARRAY, 4, 1, LANNER_PLAN_NRS);
MAP(exec_calls, ARRAY, 4, sizeof(struct exec_call), EXEC_CALLS);
MAP(tails, PROG_ARRAY, 4, 4, 24);
/* The same for programs at functions: an array holds programs of one type. */
MAP(entry_tails, PROG_ARRAY, 4, 4, 24);

static __always_inline void lose_many(__u32 cause, __u64 many)
{
	__u64 *count = bpf_map_lookup_elem(&losses, &cause);

	if (count)
		*count += many;
}

static __always_inline void lose(__u32 cause) { lose_many(cause, 1); }

/* XADD gives no old value before 5.12: add, then look. Two that meet both step back. */
static __always_inline int claim(__u64 *claims)
{
	__sync_fetch_and_add(claims, 1);
	if (*(volatile __u64 *)claims == 1)
		return 1;
	__sync_fetch_and_add(claims, -1ULL);
	return 0;
}

static __always_inline void unclaim(__u64 *claims) { __sync_fetch_and_add(claims, -1ULL); }

static __always_inline __u32 exec_key(__u32 tid, int attempt) { return (tid * 7 + attempt * 89) % EXEC_CALLS; }

static __always_inline struct exec_call *claim_exec(__u32 tid)
{
#pragma unroll
	for (int k = 0; k < EXEC_TRIES; k++) {
		__u32 key = exec_key(tid, k);
		struct exec_call *call = bpf_map_lookup_elem(&exec_calls, &key);

		if (call && claim(&call->claims))
			return call;
	}
	return NULL;
}

static __always_inline struct exec_call *find_exec(__u32 tid)
{
#pragma unroll
	for (int k = 0; k < EXEC_TRIES; k++) {
		__u32 key = exec_key(tid, k);
		struct exec_call *call = bpf_map_lookup_elem(&exec_calls, &key);

		if (call && call->owner == tid)
			return call;
	}
	return NULL;
}

static __always_inline void release_exec(struct exec_call *call)
{
	if (call) {
		*(volatile __u64 *)&call->owner = 0;
		unclaim(&call->claims);
	}
}

#endif
