/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The maps of the legacy driver, and how programs claim the memory in them. Map definitions are of the
 * old kind (section "maps"): kernels without BTF know no other.
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

#define LAST 23552
#define CHUNK 8448
#define NAME_ROOM 272 /* a component, " (deleted)" and NUL */
#define ROOM (LAST + HEAD + CHUNK + NAME_ROOM)

_Static_assert(ROOM <= LANNER_EVENT_MAX, "an event larger than LANNER_EVENT_MAX");

/* Set before anything is attached; settings.rs has the same struct. */
struct settings {
	__u32 self_tgid; /* lanner itself: never captured */
	__u32 execve_nr; /* for an exec whose entry was not seen */
	__u32 tree;	 /* capture only threads in `followed` */
};

enum follow {
	FOLLOW_ARMED = 1, /* from its next exec on */
	FOLLOW_ACTIVE = 2,
};

/*
 * An event that is being written, handed from program to program by tail calls. A program can be
 * preempted (since 5.11) and then another one runs on the same CPU: there are SLOTS of them for each.
 */
struct slot {
	__u64 claims;	     /* 1: somebody's */
	__u64 owner;	     /* bpf_get_current_pid_tgid() of whoever has claimed it */
	__u32 plan;	     /* its place in `plans` */
	__u32 at;	     /* the operation that comes next */
	__u32 stage;	     /* the next fact of an exec event; 0: a plan is followed */
	__u32 then;	     /* the program that ends it; 0: output */
	struct lanner_op op; /* the operation that runs */
	__u32 run;	     /* strings taken, components walked */
	/* a path that is being walked */
	__u64 dentry, mnt, root;
	__u32 limit;
	__u8 what, memfd;
	struct lanner_event event;
	__u8 rest[ROOM - sizeof(struct lanner_event)];
};

#define SLOTS 4

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
/* SLOTS a CPU: load.rs says how many. */
MAP(slots, ARRAY, 4, sizeof(struct slot), SLOTS);
MAP(exec_calls, ARRAY, 4, sizeof(struct exec_call), EXEC_CALLS);
MAP(tails, PROG_ARRAY, 4, 4, 24);

static __always_inline void lose(__u32 cause)
{
	__u64 *count = bpf_map_lookup_elem(&losses, &cause);

	if (count)
		*count += 1;
}

/* XADD gives no old value before 5.12: add, then look. Two that meet both step back. */
static __always_inline int claim(__u64 *claims)
{
	__sync_fetch_and_add(claims, 1);
	if (*(volatile __u64 *)claims == 1)
		return 1;
	__sync_fetch_and_add(claims, -1ULL);
	return 0;
}

static __always_inline struct slot *claim_slot(__u64 id)
{
	__u32 first = bpf_get_smp_processor_id() * SLOTS;

#pragma unroll
	for (int k = 0; k < SLOTS; k++) {
		__u32 key = first + k;
		struct slot *slot = bpf_map_lookup_elem(&slots, &key);

		if (slot && claim(&slot->claims)) {
			slot->owner = id;
			slot->at = 0;
			slot->stage = 0;
			slot->then = 0;
			slot->run = 0;
			slot->memfd = 0;
			return slot;
		}
	}
	lose(LANNER_LOSS_NESTED);
	return NULL;
}

/* The slot that the program before the tail call has claimed. */
static __always_inline struct slot *my_slot(void)
{
	__u64 id = bpf_get_current_pid_tgid();
	__u32 first = bpf_get_smp_processor_id() * SLOTS;

#pragma unroll
	for (int k = 0; k < SLOTS; k++) {
		__u32 key = first + k;
		struct slot *slot = bpf_map_lookup_elem(&slots, &key);

		if (slot && slot->owner == id)
			return slot;
	}
	return NULL;
}

static __always_inline void release_slot(struct slot *slot)
{
	*(volatile __u64 *)&slot->owner = 0;
	__sync_fetch_and_add(&slot->claims, -1ULL);
}

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
		__sync_fetch_and_add(&call->claims, -1ULL);
	}
}

#endif
