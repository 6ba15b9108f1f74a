/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The maps of the legacy driver, and how programs claim memory in them. slot.h has the maps for output. The definitions
 * are of the old kind (section "maps"), because the new kind needs BTF.
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

#define EXEC_ROOM 16384
#define EXEC_CALLS 256
#define EXEC_TRIES 3

/* The arguments of an exec, from its entry until it succeeds or fails: an event that has been begun. */
struct exec_call {
	__u64 claims; /* 1: in use */
	__u64 owner;  /* thread id */
	struct lanner_event event;
	__u8 rest[EXEC_ROOM - sizeof(struct lanner_event)];
};

MAP(settings, ARRAY, 4, sizeof(struct settings), 1);
MAP(offsets, ARRAY, 4, sizeof(struct offsets), 1);
MAP(events, PERF_EVENT_ARRAY, 4, 4, 0);
/*
 * By call number, those of 32-bit calls behind those of 64-bit calls; then those of calls made through others, and last
 * those of the operations of io_uring by code.
 */
#define OPERATION_PLANS (2 * LANNER_PLAN_NRS + LANNER_MULTIPLEXED)
MAP(plans, ARRAY, 4, sizeof(struct lanner_plan), OPERATION_PLANS + LANNER_PLAN_OPERATIONS);
/* What the arguments of calls must fulfil, by the index in their plans. */
MAP(conditions, ARRAY, 4, sizeof(struct lanner_condition), LANNER_PREDICATES);
/* Where the requests of each operation of io_uring hold its arguments, by code. */
MAP(sqe_args, ARRAY, 4, sizeof(struct lanner_sqe_args), LANNER_PLAN_OPERATIONS);
/* The calls that are made through others (multiplexed.h has the keys). */
MAP(multiplexed, HASH, 4, sizeof(struct lanner_multiplexed), 2 * LANNER_MULTIPLEXED);
/* The operations of variants, by the parameter and the value that choose them. */
MAP(variants, HASH, sizeof(struct lanner_variant_key), sizeof(struct lanner_op), 4096);
/* The pointers in structures that are followed: two for each structure, the second one for 32-bit pointers. */
MAP(pointers, ARRAY, 4, sizeof(struct lanner_pointers), 2 * LANNER_POINTING);
/* How much room programs have in the calls that they are in, by thread id. Beyond its size, it is not known. */
MAP(rooms, HASH, 4, sizeof(struct seen_rooms), 2048);
/* By thread id; one entry where the times of calls are not asked for. */
MAP(timed, HASH, 4, sizeof(struct timed_call), TIMED_THREADS);
/* Thread id to enum follow. */
MAP(followed, HASH, 4, 1, 65536);
/* Lost events, by cause. Those that found the perf buffer full are counted by the buffer, too. */
MAP(losses, PERCPU_ARRAY, 4, 8, LANNER_LOSS_CAUSES);
/* By call number: the flags of its plans in both ABIs. Most calls need no other look-up. */
MAP(interest, ARRAY, 4, 1, LANNER_PLAN_NRS);
MAP(exec_calls, ARRAY, 4, sizeof(struct exec_call), EXEC_CALLS);
MAP(tails, PROG_ARRAY, 4, 4, 24);
/* The same for programs at functions, because an array holds programs of one type. */
MAP(entry_tails, PROG_ARRAY, 4, 4, 24);

static __always_inline void count_losses(__u32 cause, __u64 many)
{
	__u64 *count = bpf_map_lookup_elem(&losses, &cause);

	if (count)
		*count += many;
}

static __always_inline void count_loss(__u32 cause) { count_losses(cause, 1); }

/*
 * Claims memory for one program. Before Linux 5.12 XADD returns no old value, so the counter is read after the
 * addition. If two programs claim at once, both give up.
 */
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
